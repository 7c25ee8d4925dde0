//! The work of `udfs/bench_transform`, as a guest of the crate arrow-udf-runtime.

use arrow_udf::function;
use arrow_udf::types::StructType;

/// What becomes of a row.
#[derive(StructType)]
struct Out {
    value: f64,
    flag: bool,
    text: String,
}

#[function("row_closure(float64, boolean, string) -> struct Out")]
fn row_closure(value: f64, flag: bool, text: &str) -> Out {
    Out { value: value * 1.5 + 1.0, flag: !flag, text: text.to_lowercase() }
}
