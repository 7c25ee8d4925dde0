//! What wit-bindgen makes of the contract, and nothing else. A module for each interface that a component may export:
//! the linker unites the worlds of those that it does. The types of columns are the same Rust types in both.
#![allow(missing_docs, reason = "generated code has none, and only some compilers say so")]

pub mod transform_udf {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "transform-udf",
        pub_export_macro: true,
        export_macro_name: "export_transforms",
        runtime_path: "::millrace_sdk::__private::wit_bindgen::rt",
        default_bindings_module: "::millrace_sdk::__private::bindings::transform_udf",
        additional_derives: [PartialEq],
    });
}

pub mod aggregate_udf {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "aggregate-udf",
        pub_export_macro: true,
        export_macro_name: "export_aggregates",
        runtime_path: "::millrace_sdk::__private::wit_bindgen::rt",
        default_bindings_module: "::millrace_sdk::__private::bindings::aggregate_udf",
        with: {
            "millrace:feature/columns@0.1.0": crate::bindings::transform_udf::millrace::feature::columns,
            "millrace:feature/log@0.1.0": crate::bindings::transform_udf::millrace::feature::log,
        },
    });
}
