//! The features of a view as types.

use super::JsonObject;
use super::view::{Named, Window};
use crate::config::diagnostics::Spanned;
use crate::record::ColumnType;

/// One feature of a view.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its name.
    pub name: Spanned<String>,
    /// How it is computed.
    pub kind: FeatureKind,
    /// The type that it is cast to.
    pub cast: Option<Spanned<ColumnType>>,
    /// Whether it is kept out of the view's rows.
    pub hidden: bool,
}

/// How a feature is computed.
#[derive(Clone, Debug)]
pub enum FeatureKind {
    /// Over the rows of a window.
    Aggregate(Box<AggregateUse>),
    /// From other features, and in views without aligned windows from the row.
    Expr(Spanned<String>),
}

/// An aggregate, used by a feature.
#[derive(Clone, Debug)]
pub struct AggregateUse {
    /// Which one.
    pub aggregate: Spanned<AggregateName>,
    /// What it aggregates.
    pub of: Of,
    /// `where`: only rows for which this SQL expression is true.
    pub filter: Option<Spanned<String>>,
    /// A window of its own, of the same kind as the view's; none: the view's.
    pub window: Option<Spanned<Window>>,
    /// Which of a UDF's output fields is the feature.
    pub output: Option<Spanned<String>>,
    /// `rows`: only so many rows of the window, the newest; none for all.
    pub rows: Option<u32>,
    /// Options of this use: of a built-in, or laid over the UDF's.
    pub options: Spanned<JsonObject>,
}

/// Which aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AggregateName {
    /// One of [`BUILT_INS`](crate::config::validate::BUILT_INS).
    BuiltIn(String),
    /// A UDF of the project.
    Udf(String),
}

/// What an aggregate aggregates.
#[derive(Clone, Debug)]
pub enum Of {
    /// Whole rows: `of` was left out.
    Rows,
    /// One expression.
    Expression(Spanned<String>),
    /// A UDF's input columns, in the order written.
    Columns(Vec<Named>),
}
