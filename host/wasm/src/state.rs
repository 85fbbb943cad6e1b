//! What the host keeps for one instance.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::bindings::agent_host::types::types;
use crate::grants::{Access, Grants};
use crate::limits::MemoryLimit;
use crate::output::{Output, Stream};
use crate::sql::host::Databases;

/// Streams, files, results and transactions that an instance may have open at once: many times what an honest one needs, little for the host.
const MAX_RESOURCES: usize = 1000;

/// What the host keeps for one instance.
pub(crate) struct State {
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimit,
    pub(crate) databases: Databases,
    pub(crate) output: Arc<Output>,
    /// Ticks of computing that are left to the call that runs.
    pub(crate) ticks: u64,
}

impl State {
    /// With the grants, and nothing else.
    ///
    /// # Errors
    /// If a granted directory cannot be opened.
    pub(crate) fn new(grants: &Arc<Grants>, memory_limit: usize, output: &Arc<Output>) -> wasmtime::Result<Self> {
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(Stream::stdout(output))
            .stderr(Stream::stderr(output))
            // These are the defaults today; that a component has no network must not depend on it.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(|_, _| Box::pin(async { false }));
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
        table.set_max_capacity(MAX_RESOURCES);
        let databases = Databases::new(Arc::clone(grants));
        let memory = MemoryLimit::new(memory_limit);
        Ok(Self { wasi: builder.build(), table, memory, databases, output: Arc::clone(output), ticks: 0 })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Types only: there is nothing to implement.
impl types::Host for State {}
