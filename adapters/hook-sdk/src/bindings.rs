//! What `wit-bindgen` generates from `wit/0.1`. Hooks use the names that the crate's root gives them.
#![allow(missing_docs, reason = "generated: what the WIT documents is documented, the rest is plumbing")]
#![allow(unsafe_code, reason = "generated: the component ABI is made of pointers and lengths")]
#![allow(unused_qualifications, reason = "generated")]

wit_bindgen::generate!({
    path: ["../../wit/0.1/types", "../../wit/0.1/sql", "../../wit/0.1/http", "../../wit/0.1/logging", "../../wit/0.1/hooks"],
    // Imports that a hook does not use are not in its component.
    inline: "
        package agent-host:hook;

        world hook {
            include agent-host:sql/imports@0.1.0;
            include agent-host:http/imports@0.1.0;
            include wasi:logging/imports@0.1.0-draft;
            include agent-host:hooks/hook@0.1.0;
        }
    ",
    world: "agent-host:hook/hook",
    // What is given to the host is passed where it is, without a copy.
    ownership: Borrowing { duplicate_if_necessary: true },
    additional_derives: [PartialEq],
    pub_export_macro: true,
    default_bindings_module: "agent_host_hook::bindings",
    generate_all,
});
