//! Imports `hostile:guest/network`, which no world of the contract has: the host refuses it at load and names the
//! import.
#![cfg(target_family = "wasm")]

mod bindings {
    #![allow(missing_docs, unsafe_code, reason = "generated")]
    wit_bindgen::generate!({
        inline: r#"
            package hostile:guest;

            interface network { connect: func(address: string) -> bool; }

            world forbidden {
                import network;
                import millrace:feature/log@0.1.0;
                export millrace:feature/transform@0.1.0;
            }
        "#,
        path: "../../../wit",
        world: "hostile:guest/forbidden",
        generate_all,
    });
    use super::ForbiddenImport;
    export!(ForbiddenImport);
}

use bindings::exports::millrace::feature::transform::{Guest, Output, Signature};
use bindings::hostile::guest::network;
use bindings::millrace::feature::columns::{Batch, Field};

struct ForbiddenImport;

impl Guest for ForbiddenImport {
    fn names() -> Vec<String> {
        vec!["forbidden_import".to_owned()]
    }

    fn bind(_: String, input: Vec<Field>, _: String) -> Result<Signature, String> {
        Ok(Signature { input: input.into_iter().map(|field| field.name).collect(), output: Vec::new() })
    }

    fn apply(input: Batch) -> Result<Output, String> {
        if network::connect("example.com:443") {
            return Err("out".to_owned());
        }
        Ok(Output { batch: Batch { rows: input.rows, columns: Vec::new() }, origin: None, rejected: Vec::new() })
    }
}
