//! Write transforms and aggregates for Millrace in Rust.
//!
//! ```
//! use millrace_sdk::prelude::*;
//!
//! #[options(default)]
//! struct Options { units: f64 }
//! impl Default for Options { fn default() -> Self { Self { units: 100.0 } } }
//!
//! #[derive(Input)]  struct In<'a> { merchant: Option<&'a str>, amount: f64 }
//! #[derive(Output)] struct Out { category: String, cents: i64 }
//!
//! #[transform]
//! fn clean(row: In<'_>, o: &Options) -> Result<Option<Out>, Reject> {          // None = filtered
//!     if row.amount < 0.0 { return Err(Reject::new("negative amount")) }
//!     let category = row.merchant.unwrap_or("unknown").trim().to_lowercase();
//!     Ok(Some(Out { category, cents: (row.amount * o.units) as i64 }))
//! }
//!
//! millrace_sdk::export! { transforms: [clean] }
//! ```
//!
//! Built for `wasm32-unknown-unknown`, a crate like that (`crate-type = ["cdylib"]`) is a component that imports
//! nothing but the host's log. The same crate runs natively in `cargo test`, through [`testing`].
//!
//! Always true: a row costs no allocation but those of the author's own types; nothing is kept between two calls but
//! the options and the columns' widths.

extern crate self as millrace_sdk;

mod aggregate;
mod bind;
#[doc(hidden)]
pub mod bindings;
mod column;
#[doc(hidden)]
pub mod component;
pub mod log;
mod options;
mod record;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod time;
mod transform;
#[doc(hidden)]
pub mod wire;

pub use aggregate::{Aggregate, Verdict};
pub use column::{
    Builder, BuilderIter, Column, ColumnType, FromColumn, IntoColumn, List, Lowercase, Packed, Primitive, Shown,
    TextBuilder, Validity,
};
pub use millrace_sdk_macros::{Input, InputColumns, Output, OutputColumns, State, aggregate, options, transform};
pub use options::{NoOptions, Options};
pub use record::{Input, Output, Reject, Row, State, Wanted};
pub use serde;
pub use time::{Span, Timestamp, Window};
pub use transform::{Emit, InputColumns, IntoMapped, Mapped, OutputColumns, Transform};

/// What an author's crate brings into scope.
pub mod prelude {
    pub use crate::{
        Aggregate, Builder, BuilderIter, Column, Input, InputColumns, List, Lowercase, Mapped, Options, Output,
        OutputColumns, Packed, Reject, Shown, Span, State, Timestamp, Window, aggregate, options, transform,
    };
}

/// What the macros' code names.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::component;
    pub use crate::record::{Absent, column_buffers, column_reader, field};
    pub use crate::transform::{Sink, emitted_fields, finish_mapped, mapped_fields};
    pub use crate::wire;
    pub use wit_bindgen;
}

/// Exports the crate's transforms and aggregates: `export! { transforms: [clean], aggregates: [Decayed] }`.
///
/// Either part may be left out; the component exports the interface only if it has something for it. Natively it
/// expands to nothing.
#[macro_export]
macro_rules! export {
    (transforms: [$($transform:path),+ $(,)?] $(, aggregates: [$($aggregate:path),+ $(,)?])? $(,)?) => {
        $crate::__export_transforms! { $($transform),+ }
        $($crate::__export_aggregates! { $($aggregate),+ })?
    };
    (aggregates: [$($aggregate:path),+ $(,)?] $(, transforms: [$($transform:path),+ $(,)?])? $(,)?) => {
        $crate::__export_aggregates! { $($aggregate),+ }
        $($crate::__export_transforms! { $($transform),+ })?
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_transforms {
    ($($transform:path),+) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::__private::{bindings, component, wire};

            const ENTRIES: &[component::TransformEntry] = &[$(component::TransformEntry::of::<$transform>()),+];

            struct Exported;

            impl bindings::transform_udf::exports::millrace::feature::transform::Guest for Exported {
                fn names() -> Vec<String> {
                    component::transform_names(ENTRIES)
                }

                fn bind(
                    name: String,
                    input: Vec<wire::Field>,
                    options: String,
                ) -> Result<wire::TransformSignature, String> {
                    component::bind_transform_by_name(ENTRIES, &name, &input, &options)
                }

                fn apply(input: wire::Batch) -> Result<wire::TransformOutput, String> {
                    component::apply(input)
                }
            }

            $crate::__private::bindings::transform_udf::export_transforms!(
                Exported with_types_in $crate::__private::bindings::transform_udf
            );
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_aggregates {
    ($($aggregate:path),+) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::__private::{bindings, component, wire};

            const ENTRIES: &[component::AggregateEntry] = &[$(component::AggregateEntry::of::<$aggregate>()),+];

            struct Exported;

            impl bindings::aggregate_udf::exports::millrace::feature::aggregate::Guest for Exported {
                fn names() -> Vec<String> {
                    component::aggregate_names(ENTRIES)
                }

                fn bind(
                    name: String,
                    input: Vec<wire::Field>,
                    options: String,
                ) -> Result<wire::AggregateSignature, String> {
                    component::bind_aggregate_by_name(ENTRIES, &name, &input, &options)
                }

                fn initial(rows: u32) -> Result<wire::Batch, String> {
                    component::with_aggregate(|bound| Ok(bound.initial(rows)))
                }

                fn update(state: wire::Batch, groups: Vec<u8>, input: wire::Batch) -> Result<wire::Updated, String> {
                    component::with_aggregate(|bound| bound.update(&state, &groups, input))
                }

                fn merge(state: wire::Batch, groups: Vec<u8>, partial: wire::Batch) -> Result<wire::Batch, String> {
                    component::with_aggregate(|bound| bound.merge(&state, &groups, &partial))
                }

                fn evaluate(state: wire::Batch, since: Vec<u8>, until: Vec<u8>) -> Result<wire::Batch, String> {
                    component::with_aggregate(|bound| bound.evaluate(&state, &since, &until))
                }
            }

            $crate::__private::bindings::aggregate_udf::export_aggregates!(
                Exported with_types_in $crate::__private::bindings::aggregate_udf
            );
        };
    };
}
