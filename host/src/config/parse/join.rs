//! `join` of a view.

use super::super::diagnostics::Spanned;
use super::super::project::{Join, JoinKey, Named, OnMiss, Wait};
use super::super::section::Value;
use super::check_name;

pub(super) fn read(value: &Value<'_>) -> Option<Join> {
    let mut section = value.section()?;
    let source = section.require("source").and_then(|value| value.string());
    let on = section.require("on").map(|value| pairs(&value)).unwrap_or_default();
    let columns = section.require("columns").map(|value| pairs(&value)).unwrap_or_default();
    let within = section.get("within").and_then(|value| value.positive_duration());
    let miss = [("null", OnMiss::Null), ("drop", OnMiss::Drop)];
    let on_miss = section.get("on-miss").map_or(Some(OnMiss::Null), |value| value.choice(&miss));
    let wait = section.get("wait").map_or(Some(Wait::Watermark), |value| wait(&value));
    for (name, _) in &columns {
        check_name(&section, name, "a column's name");
    }
    section.finish();
    if on.is_empty() || columns.is_empty() {
        return None;
    }
    Some(Join {
        source: source?,
        on: on.into_iter().map(|(left, right)| JoinKey { left, right }).collect(),
        columns: columns.into_iter().map(|(name, expression)| Named { name, expression }).collect(),
        within,
        on_miss: on_miss?,
        wait: wait?,
    })
}

/// A table, or a list of names that are the same on both sides.
fn pairs(value: &Value<'_>) -> Vec<(Spanned<String>, Spanned<String>)> {
    if value.is_table() {
        let entries = value.section().map(|section| section.entries()).unwrap_or_default();
        if entries.is_empty() {
            value.error(format!("`{}` is empty: a join needs at least one", value.name));
        }
        return entries.into_iter().filter_map(|(name, value)| Some((name, value.string()?))).collect();
    }
    let items = value.one_or_items();
    if items.is_empty() {
        value.error(format!("`{}` is empty: a join needs at least one", value.name));
    }
    items.iter().filter_map(Value::string).map(|name| (name.clone(), name)).collect()
}

fn wait(value: &Value<'_>) -> Option<Wait> {
    match value.string()?.as_str() {
        "watermark" => Some(Wait::Watermark),
        "none" => Some(Wait::None),
        word if word.starts_with(|first: char| first.is_ascii_digit()) => value.positive_duration().map(Wait::AtMost),
        other => {
            value.error(format!("`wait` is \"watermark\", \"none\" or a duration such as \"5s\", not `{other}`"));
            None
        }
    }
}
