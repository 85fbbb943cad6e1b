//! A component that is something else than an adapter.

wit_bindgen::generate!({
    inline: "
        package example:stranger;

        interface greeting {
            hello: func() -> string;
        }

        world stranger {
            export greeting;
        }
    ",
});

struct Stranger;

impl exports::example::stranger::greeting::Guest for Stranger {
    fn hello() -> String {
        "hello".to_owned()
    }
}

export!(Stranger);
