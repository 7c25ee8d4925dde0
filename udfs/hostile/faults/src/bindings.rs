//! What wit-bindgen makes of the contract, and nothing else.
#![allow(missing_docs, unsafe_code, reason = "generated")]

use crate::Faults;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "udf",
    additional_derives: [Clone],
});

export!(Faults);
