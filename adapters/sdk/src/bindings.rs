//! What `wit-bindgen` generates from `wit/0.1`. Adapters use the names that the crate's root gives them.
#![allow(missing_docs, reason = "generated: what the WIT documents is documented, the rest is plumbing")]
#![allow(unsafe_code, reason = "generated: the component ABI is made of pointers and lengths")]
#![allow(unused_qualifications, reason = "generated")]

wit_bindgen::generate!({
    path: ["../../wit/0.1/types", "../../wit/0.1/sql", "../../wit/0.1/http", "../../wit/0.1/logging", "../../wit/0.1/persistence"],
    // Imports that an adapter does not use are not in its component.
    inline: "
        package agent-host:adapter;

        world adapter {
            include agent-host:sql/imports@0.1.0;
            include agent-host:http/imports@0.1.0;
            include wasi:logging/imports@0.1.0-draft;
            include agent-host:persistence/persistence@0.1.0;
        }
    ",
    world: "agent-host:adapter/adapter",
    // A statement's parameters are passed to the host where they are, without a copy.
    ownership: Borrowing { duplicate_if_necessary: true },
    additional_derives: [PartialEq],
    pub_export_macro: true,
    default_bindings_module: "agent_host_adapter::bindings",
    generate_all,
});

/// The optional interface, as a world of its own: a component of an adapter without it does not have it.
pub mod leases {
    wit_bindgen::generate!({
        path: ["../../wit/0.1/types", "../../wit/0.1/persistence"],
        inline: "
            package agent-host:adapter-leases;

            world leases {
                export agent-host:persistence/leases@0.1.0;
            }
        ",
        world: "agent-host:adapter-leases/leases",
        with: { "agent-host:types/types@0.1.0": crate::bindings::agent_host::types::types },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        default_bindings_module: "agent_host_adapter::bindings::leases",
    });
}

/// The contract the other way round: what an adapter imports that is put in front of another one.
pub mod inner {
    wit_bindgen::generate!({
        path: ["../../wit/0.1/types", "../../wit/0.1/persistence"],
        inline: "
            package agent-host:adapter-inner;

            world inner {
                import agent-host:persistence/lifecycle@0.1.0;
                import agent-host:persistence/sessions@0.1.0;
                import agent-host:persistence/streams@0.1.0;
                import agent-host:persistence/files@0.1.0;
                import agent-host:persistence/profiles@0.1.0;
                import agent-host:persistence/leases@0.1.0;
            }
        ",
        world: "agent-host:adapter-inner/inner",
        with: { "agent-host:types/types@0.1.0": crate::bindings::agent_host::types::types },
        generate_all,
    });
}
