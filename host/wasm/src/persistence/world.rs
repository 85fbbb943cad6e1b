//! The adapter's world.

use wasmtime::component::{HasSelf, InstancePre, Linker};
use wasmtime::{Result, Store};

use crate::bindings::agent_host::types::types as wit;
use crate::bindings::exports::agent_host::persistence::lifecycle::AdapterInfo;
use crate::bindings::{Adapter, AdapterPre};
use crate::state::State;
use crate::world::World;

impl World for Adapter {
    type Pre = AdapterPre<State>;
    type Info = AdapterInfo;

    fn link(linker: &mut Linker<State>) -> Result<()> {
        Self::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
    }

    fn prepare(linked: InstancePre<State>) -> Result<AdapterPre<State>> {
        AdapterPre::new(linked)
    }

    async fn instantiate(pre: &AdapterPre<State>, store: &mut Store<State>) -> Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn open(&self, store: &mut Store<State>, config: &[(String, String)]) -> Result<Result<AdapterInfo, wit::Error>> {
        self.agent_host_persistence_lifecycle().call_open(store, config).await
    }
}
