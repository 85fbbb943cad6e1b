//! An adapter for a contract that is still to come, in a world that is.

wit_bindgen::generate!({
    inline: "
        package agent-host:persistence@0.2.0;

        interface futures {
            foresee: func() -> string;
        }

        interface lifecycle {
            health: func() -> string;
        }

        world persistence {
            import futures;
            export lifecycle;
        }
    ",
});

struct Newer;

impl exports::agent_host::persistence::lifecycle::Guest for Newer {
    fn health() -> String {
        agent_host::persistence::futures::foresee()
    }
}

export!(Newer);
