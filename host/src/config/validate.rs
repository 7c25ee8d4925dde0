//! What must hold of a project as a whole.

/// The built-in aggregates of this release.
pub const BUILT_INS: [&str; 11] =
    ["count", "sum", "avg", "min", "max", "var_pop", "var_samp", "stddev_pop", "stddev_samp", "first", "last"];
