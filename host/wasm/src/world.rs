//! What a component can be to the host: the part of running one in which a persistence adapter and an event hook differ.

use std::future::Future;

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use crate::bindings::agent_host::types::types as wit;
use crate::state::State;

/// A world of the contract, implemented by the generated bindings of an instance.
pub(crate) trait World: Sized + Send + Sync + 'static {
    /// A component that is linked, of which instances are made.
    type Pre: Send + Sync + 'static;

    /// What it says of itself when it is opened.
    type Info: Send + 'static;

    /// Gives what the world imports, WASI excepted.
    fn link(linker: &mut Linker<State>) -> wasmtime::Result<()>;

    /// # Errors
    /// If the component does not export what the world exports.
    fn prepare(linked: InstancePre<State>) -> wasmtime::Result<Self::Pre>;

    /// Makes an instance that is not open.
    fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> impl Future<Output = wasmtime::Result<Self>> + Send;

    /// Calls `open`.
    fn open(
        &self,
        store: &mut Store<State>,
        config: &[(String, String)],
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Info, wit::Error>>> + Send;
}
