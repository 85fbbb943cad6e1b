//! An adapter by its names, but not by its types.

wit_bindgen::generate!({
    inline: "
        package agent-host:persistence@0.1.0;

        interface lifecycle { health: func() -> string; }
        interface sessions { load-session: func(id: u32); }
        interface streams { read: func(); }
        interface files { read-file: func(); }
        interface profiles { list-profiles: func(); }

        world persistence {
            export lifecycle;
            export sessions;
            export streams;
            export files;
            export profiles;
        }
    ",
});

use exports::agent_host::persistence::{files, lifecycle, profiles, sessions, streams};

struct Mistyped;

impl lifecycle::Guest for Mistyped {
    fn health() -> String {
        "well".to_owned()
    }
}

impl sessions::Guest for Mistyped {
    fn load_session(_: u32) {}
}

impl streams::Guest for Mistyped {
    fn read() {}
}

impl files::Guest for Mistyped {
    fn read_file() {}
}

impl profiles::Guest for Mistyped {
    fn list_profiles() {}
}

export!(Mistyped);
