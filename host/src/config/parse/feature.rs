//! A feature of a view: an aggregate over its window, or an expression.

use super::super::diagnostics::{Spanned, nearest};
use super::super::project::{AggregateName, AggregateUse, Feature, FeatureKind, Of, Window};
use super::super::section::{Section, Value};
use super::super::validate::BUILT_INS;
use super::{udf, view, window};
use crate::engine::aggregate::builtin::{OF_ROWS, OptionKind, options};
use crate::engine::aggregate::newest::MAX_ROWS;
use crate::record::EVENT_TIMESTAMP;

/// What other systems call the built-in aggregates.
const SYNONYMS: [(&str, &str); 17] = [
    ("mean", "avg"),
    ("average", "avg"),
    ("stddev", "stddev_samp"),
    ("std", "stddev_samp"),
    ("variance", "var_samp"),
    ("var", "var_samp"),
    ("total", "sum"),
    ("collect_list", "collect"),
    ("array_agg", "collect"),
    ("distinct_count", "count_distinct"),
    ("approx_distinct", "approx_count_distinct"),
    ("quantile", "approx_quantile"),
    ("median", "approx_quantile"),
    ("percentile", "approx_quantile"),
    ("first_value", "first"),
    ("last_value", "last"),
    ("ratio", "ratio_where"),
];

pub(super) fn read(
    name: Spanned<String>,
    value: &Value<'_>,
    window: Option<Window>,
    has_window: bool,
) -> Option<Feature> {
    let mut section = value.section()?;
    if name.value == EVENT_TIMESTAMP {
        let message = format!("`{EVENT_TIMESTAMP}` is the name of every row's time: give the feature another");
        section.reports.error(name.span, message);
    }
    let cast = section.get("type").and_then(|value| value.column_type());
    let hidden = section.get("hidden").and_then(|value| value.boolean()).unwrap_or(false);
    let aggregate = section.get("aggregate");
    let expr = section.get("expr");
    let own = window::of_feature(&mut section, window);
    let kind = match (aggregate, expr) {
        (Some(aggregate), None) => {
            self::aggregate(&mut section, &aggregate, own, has_window).map(Box::new).map(FeatureKind::Aggregate)
        }
        (None, Some(expr)) => expression(&mut section, &expr).map(FeatureKind::Expr),
        (Some(_), Some(expr)) => {
            AGGREGATE_KEYS.iter().for_each(|key| drop(section.get(key)));
            expr.error("a feature is an `aggregate` or an `expr`, not both");
            None
        }
        (None, None) => {
            AGGREGATE_KEYS.iter().for_each(|key| drop(section.get(key)));
            section.lacks_both("aggregate", "expr");
            None
        }
    };
    section.finish();
    Some(Feature { name, kind: kind?, cast, hidden })
}

/// The keys that go with `aggregate` alone.
const AGGREGATE_KEYS: [&str; 6] = ["of", "where", "rows", "window", "output", "options"];

fn expression(section: &mut Section<'_>, expr: &Value<'_>) -> Option<Spanned<String>> {
    for key in AGGREGATE_KEYS {
        if let Some(value) = section.refuse(key) {
            section.reports.error(value.key, format!("`{key}` goes with `aggregate`, not with `expr`"));
        }
    }
    expr.string()
}

fn aggregate(
    section: &mut Section<'_>,
    aggregate: &Value<'_>,
    window: Option<Spanned<Window>>,
    has_window: bool,
) -> Option<AggregateUse> {
    let of = section.get("of");
    let filter = section.get("where").and_then(|value| value.string());
    let rows = section.get("rows").and_then(|value| value.integer(1..=i64::from(MAX_ROWS)));
    let output = section.get("output");
    let given = section.get("options");
    let name = name(aggregate)?;
    if !has_window {
        aggregate.error("an aggregate needs a `window` of its view; without a window features are `expr`");
    }
    match &name.value {
        AggregateName::BuiltIn(built_in) => {
            if let Some(value) = &output {
                section.reports.error(value.key, format!("`{}` is for UDFs: `{built_in}` has none", value.name));
            }
            if let Some(value) = &given {
                built_in_options(section, built_in, value);
            }
            if of.is_none() && !OF_ROWS.contains(&built_in.as_str()) {
                aggregate.error(format!("`{built_in}` lacks `of`, the expression that it aggregates"));
            }
            if let Some(of) = of.as_ref().filter(|of| of.is_table()) {
                of.error(format!("`{built_in}` takes one expression, not a table"));
            }
        }
        AggregateName::Udf(_) => {}
    }
    if let Some(output) = output.as_ref().filter(|output| output.is_table()) {
        output.not_yet("renaming several outputs of an aggregate is");
    }
    let of = match of {
        None => Of::Rows,
        Some(of) if of.is_table() => Of::Columns(view::expressions(&of)),
        Some(of) => Of::Expression(of.string()?),
    };
    let output = match output {
        Some(output) if output.is_table() => None,
        Some(output) => Some(output.string()?),
        None => None,
    };
    Some(AggregateUse { aggregate: name, of, filter, rows, window, output, options: udf::options(section) })
}

/// Checks the options of a built-in, each at its place.
fn built_in_options(section: &Section<'_>, built_in: &str, value: &Value<'_>) {
    let known = options(built_in);
    if known.is_empty() {
        section.reports.error(value.key, format!("`{built_in}` has no options"));
        return;
    }
    let Some(mut section) = value.section() else { return };
    for option in known {
        let Some(value) = section.get(option.name) else { continue };
        match option.kind {
            OptionKind::Integer(least, most) => drop(value.integer::<i64>(least..=most)),
            OptionKind::Share => drop(value.number(0.0, 1.0)),
        }
    }
    section.finish();
}

fn name(value: &Value<'_>) -> Option<Spanned<AggregateName>> {
    let text = value.string()?;
    let span = text.span;
    if let Some(udf) = text.strip_prefix("udf:") {
        return Some(Spanned::new(AggregateName::Udf(udf.trim().to_owned()), span));
    }
    if BUILT_INS.contains(&text.as_str()) {
        return Some(Spanned::new(AggregateName::BuiltIn(text.value), span));
    }
    let synonyms = SYNONYMS.iter().map(|(name, _)| *name);
    let near = nearest(&text, BUILT_INS.into_iter().chain(synonyms));
    let meant = near.map(|near| SYNONYMS.iter().find(|(name, _)| *name == near).map_or(near, |(_, meant)| *meant));
    let hint = match meant {
        Some(name) => format!("; did you mean `{name}`?"),
        None => format!("; known: {}, and UDFs as `udf:NAME`", BUILT_INS.join(", ")),
    };
    value.error(format!("unknown aggregate `{}`{hint}", text.value));
    None
}
