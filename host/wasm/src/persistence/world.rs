//! The adapter's world: what every adapter exports, and the leases that it may.

use std::ops::Deref;

use wasmtime::component::{HasSelf, InstancePre, Linker};
use wasmtime::{Result, Store};

use crate::bindings::agent_host::types::types as wit;
use crate::bindings::exports::agent_host::persistence::lifecycle::AdapterInfo;
use crate::bindings::leases::exports::agent_host::persistence::leases::Guest as LeaseExports;
use crate::bindings::leases::{Leases, LeasesPre};
use crate::bindings::{Adapter as Required, AdapterPre};
use crate::state::State;
use crate::world::World;

/// An instance of an adapter.
pub(crate) struct Adapter {
    required: Required,
    leases: Option<Leases>,
}

impl Adapter {
    /// The leases, if the adapter has them.
    pub(super) fn leases(&self) -> Option<&LeaseExports> {
        self.leases.as_ref().map(Leases::agent_host_persistence_leases)
    }
}

impl Deref for Adapter {
    type Target = Required;

    fn deref(&self) -> &Required {
        &self.required
    }
}

/// An adapter that is linked.
pub(crate) struct Pre {
    required: AdapterPre<State>,
    has_leases: bool,
}

impl World for Adapter {
    type Pre = Pre;
    type Info = AdapterInfo;

    fn link(linker: &mut Linker<State>) -> Result<()> {
        Required::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
    }

    fn prepare(linked: InstancePre<State>) -> Result<Pre> {
        // One that exports something else by that name is refused when it is opened, where an instance can say what is wrong with it.
        let has_leases = LeasesPre::new(linked.clone()).is_ok();
        Ok(Pre { required: AdapterPre::new(linked)?, has_leases })
    }

    async fn instantiate(pre: &Pre, store: &mut Store<State>) -> Result<Self> {
        let instance = pre.required.instance_pre().instantiate_async(&mut *store).await?;
        let leases = pre.has_leases.then(|| Leases::new(&mut *store, &instance)).transpose()?;
        Ok(Self { required: Required::new(store, &instance)?, leases })
    }

    async fn open(&self, store: &mut Store<State>, config: &[(String, String)]) -> Result<Result<AdapterInfo, wit::Error>> {
        self.agent_host_persistence_lifecycle().call_open(store, config).await
    }
}
