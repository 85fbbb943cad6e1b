//! The hook's world.

use wasmtime::component::{HasSelf, InstancePre, Linker};
use wasmtime::{Result, Store};

use crate::bindings::agent_host::types::types as wit;
use crate::bindings::hook::exports::agent_host::hooks::event_hook::HookInfo;
use crate::bindings::hook::{Hook, HookPre};
use crate::state::State;
use crate::world::World;

impl World for Hook {
    type Pre = HookPre<State>;
    type Info = HookInfo;

    fn link(linker: &mut Linker<State>) -> Result<()> {
        Self::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
    }

    fn prepare(linked: InstancePre<State>) -> Result<HookPre<State>> {
        HookPre::new(linked)
    }

    async fn instantiate(pre: &HookPre<State>, store: &mut Store<State>) -> Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn open(&self, store: &mut Store<State>, config: &[(String, String)]) -> Result<Result<HookInfo, wit::Error>> {
        self.agent_host_hooks_event_hook().call_open(store, config).await
    }
}
