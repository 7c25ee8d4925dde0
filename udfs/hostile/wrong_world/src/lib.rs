//! A well-made component of some other system: it exports nothing that the host could call.
#![cfg(target_family = "wasm")]

mod bindings {
    #![allow(missing_docs, unsafe_code, reason = "generated")]
    wit_bindgen::generate!({
        inline: r#"
            package hostile:guest;

            interface greeter { greet: func(name: string) -> string; }

            world wrong { export greeter; }
        "#,
    });
    use super::WrongWorld;
    export!(WrongWorld);
}

struct WrongWorld;

impl bindings::exports::hostile::guest::greeter::Guest for WrongWorld {
    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }
}
