//! What the host keeps for one instance.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::bindings::agent_host::types::types;
use crate::capabilities::Capabilities;
use crate::grants::Access;
use crate::limits::MemoryLimit;
use crate::net::Gate;
use crate::output::Stream;
use crate::sql::host::Databases;

/// What the host keeps for one instance.
pub(crate) struct State {
    wasi: WasiCtx,
    capabilities: Arc<Capabilities>,
    gate: Arc<Gate>,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimit,
    pub(crate) databases: Databases,
    /// Ticks of computing that are left to the call that runs.
    pub(crate) ticks: u64,
}

impl State {
    /// With the grants, and nothing else.
    ///
    /// # Errors
    /// If a granted directory cannot be opened.
    pub(crate) fn new(capabilities: &Arc<Capabilities>) -> wasmtime::Result<Self> {
        let Capabilities { grants, limits, output, .. } = &**capabilities;
        let gate = Gate::new(capabilities);
        let check = Arc::clone(&gate);
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(Stream::stdout(output))
            .stderr(Stream::stderr(output))
            .max_random_size(limits.random_bytes)
            // These are the defaults today; that a component has no network but by the gate must not depend on it. Names are looked up by the gate, too.
            .allow_tcp(!grants.network.is_empty())
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(move |address, usage| {
                let admitted = check.admits(address, usage);
                Box::pin(std::future::ready(admitted))
            });
        for (name, value) in &grants.environment {
            builder.env(name, value);
        }
        for directory in &grants.directories {
            let permissions = match directory.access {
                Access::ReadOnly => FsPerms::ReadOnly,
                Access::ReadWrite => FsPerms::ReadWrite,
            };
            builder
                .preopened_dir(&directory.host, &directory.guest, permissions)
                .map_err(|error| wasmtime::format_err!("failed to open the granted directory {}: {error:#}", directory.host.display()))?;
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let memory = MemoryLimit::new(limits.memory);
        let capabilities = Arc::clone(capabilities);
        Ok(Self { wasi: builder.build(), capabilities, gate, table, memory, databases: Databases::default(), ticks: 0 })
    }

    /// What it shares with the other instances of its component.
    pub(crate) fn capabilities(&self) -> Arc<Capabilities> {
        Arc::clone(&self.capabilities)
    }

    /// What it may look up and connect to.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Types only: there is nothing to implement.
impl types::Host for State {}
