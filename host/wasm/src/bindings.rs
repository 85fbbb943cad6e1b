//! The contract as Rust: generated from `wit/0.1`, a world for what the host gives and what a component gives: an adapter, or (in [`hook`]) an event hook.

#![expect(missing_docs, reason = "generated; the WIT files are the documentation")]

wasmtime::component::bindgen!({
    path: ["../../wit/0.1/types", "../../wit/0.1/sql", "../../wit/0.1/http", "../../wit/0.1/logging", "../../wit/0.1/persistence"],
    inline: "
        package agent-host:host;

        world adapter {
            import agent-host:sql/sql@0.1.0;
            import agent-host:http/http@0.1.0;
            import wasi:logging/logging@0.1.0-draft;
            include agent-host:persistence/persistence@0.1.0;
        }
    ",
    world: "agent-host:host/adapter",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "agent-host:sql/sql.connection": crate::sql::host::Connection,
        "agent-host:sql/sql.rows": crate::sql::host::Rows,
        "agent-host:sql/sql.transaction": crate::sql::host::Transaction,
    },
});

/// The optional interface of adapters, as a world of its own.
pub(crate) mod leases {
    wasmtime::component::bindgen!({
        path: ["../../wit/0.1/types", "../../wit/0.1/persistence"],
        inline: "
            package agent-host:host;

            world leases {
                export agent-host:persistence/leases@0.1.0;
            }
        ",
        world: "agent-host:host/leases",
        exports: { default: async },
        with: { "agent-host:types/types": crate::bindings::agent_host::types::types },
    });
}

/// The world of event hooks. What it has in common with that of adapters is the same.
pub(crate) mod hook {
    wasmtime::component::bindgen!({
        path: ["../../wit/0.1/types", "../../wit/0.1/sql", "../../wit/0.1/http", "../../wit/0.1/logging", "../../wit/0.1/hooks"],
        inline: "
            package agent-host:host;

            world hook {
                import agent-host:sql/sql@0.1.0;
                import agent-host:http/http@0.1.0;
                import wasi:logging/logging@0.1.0-draft;
                include agent-host:hooks/hook@0.1.0;
            }
        ",
        world: "agent-host:host/hook",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "agent-host:types/types": crate::bindings::agent_host::types::types,
            "agent-host:sql/sql": crate::bindings::agent_host::sql::sql,
            "agent-host:http/http": crate::bindings::agent_host::http::http,
            "wasi:logging/logging": crate::bindings::wasi::logging::logging,
        },
    });
}
