//! Speaks version 0.2 of the contract: the host says which versions it speaks, not that a function is missing.
#![cfg(target_family = "wasm")]

mod bindings {
    #![allow(missing_docs, unsafe_code, reason = "generated")]
    wit_bindgen::generate!({
        inline: r#"
            package millrace:feature@0.2.0;

            interface transform {
                names: func() -> list<string>;
                transmute: func(input: list<u8>) -> list<u8>;
            }

            world next { export transform; }
        "#,
    });
    use super::FutureVersion;
    export!(FutureVersion);
}

struct FutureVersion;

impl bindings::exports::millrace::feature::transform::Guest for FutureVersion {
    fn names() -> Vec<String> {
        vec!["future_version".to_owned()]
    }

    fn transmute(input: Vec<u8>) -> Vec<u8> {
        input
    }
}
