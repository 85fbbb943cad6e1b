//! The contract as Rust: generated from `wit/0.1`, one world for what the host gives and what an adapter gives.

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
