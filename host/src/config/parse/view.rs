//! `[views.NAME]`

use std::path::Path;

use super::super::diagnostics::Spanned;
use super::super::project::{Emit, Feature, JsonObject, Named, TransformUse, View, Window};
use super::super::section::{Section, Value};
use super::{check_name, feature, join, output, udf, window};

pub(super) fn read(name: Spanned<String>, value: Value<'_>, folder: &Path) -> Option<View> {
    let mut section = value.section()?;
    let entity = section.get("entity").and_then(|value| value.string());
    let from = section.require("from").map(|value| strings(&value)).unwrap_or_default();
    let joins = section.get("join").map(|value| value.one_or_items()).unwrap_or_default();
    let joins = joins.iter().filter_map(join::read).collect();
    let filter = section.get("where").and_then(|value| value.string());
    let transforms = section.get("transform").map(|value| transforms(&value)).unwrap_or_default();
    let columns = section.get("columns").map(|value| expressions(&value)).unwrap_or_default();
    let written = section.get("window");
    let window = written.as_ref().and_then(window::read);
    let has_window = written.is_some();
    let kind = window.as_ref().map(|window| window.value);
    let emit = emit(&mut section, has_window);
    let emit_empty = sliding(&mut section, "emit-empty", has_window, kind).and_then(|value| value.boolean());
    let skip_unchanged = sliding(&mut section, "skip-unchanged", has_window, kind).and_then(|value| value.boolean());
    let lateness = sliding(&mut section, "allowed-lateness", has_window, kind).and_then(|value| value.duration());
    let ttl = section.get("ttl").and_then(|value| value.positive_duration());
    let online = section.get("online").and_then(|value| value.boolean());
    let offline = section.get("offline").and_then(|value| value.boolean());
    let log_updates = log_updates(&mut section, emit);
    let outputs = output::read(&mut section, folder);
    let features = features(&mut section, kind, has_window);
    section.finish();
    Some(View {
        name,
        entity,
        from,
        joins,
        filter,
        transforms,
        columns,
        window,
        emit,
        emit_empty: emit_empty.unwrap_or(true),
        skip_unchanged: skip_unchanged.unwrap_or(true),
        allowed_lateness: lateness.unwrap_or_default(),
        ttl,
        online: online.unwrap_or(true),
        offline: offline.unwrap_or(true),
        log_updates,
        outputs,
        features,
    })
}

/// One text or several.
fn strings(value: &Value<'_>) -> Vec<Spanned<String>> {
    let items = value.one_or_items();
    if items.is_empty() {
        value.error(format!("`{}` is empty", value.name));
    }
    items.iter().filter_map(Value::string).collect()
}

/// A key that only a view with a window has.
fn windowed<'a>(section: &mut Section<'a>, key: &'static str, has_window: bool) -> Option<Value<'a>> {
    let value = section.get(key)?;
    if !has_window {
        section.reports.error(value.key, format!("`{key}` needs a `window`: without one every row is emitted at once"));
        return None;
    }
    Some(value)
}

/// A key that only a view with sliding or tumbling windows has.
fn sliding<'a>(
    section: &mut Section<'a>,
    key: &'static str,
    has_window: bool,
    window: Option<Window>,
) -> Option<Value<'a>> {
    let value = windowed(section, key, has_window)?;
    if matches!(window, Some(Window::Session { .. } | Window::Over { .. })) {
        let message =
            format!("`{key}` is for sliding and tumbling windows: there is no other row to leave out or correct");
        section.reports.error(value.key, message);
        return None;
    }
    Some(value)
}

/// SQL expressions by the name of what they give, in the order written.
pub(super) fn expressions(value: &Value<'_>) -> Vec<Named> {
    let Some(section) = value.section() else { return Vec::new() };
    let named = |(name, value): (Spanned<String>, Value<'_>)| {
        check_name(&section, &name, "a column's name");
        Some(Named { name, expression: value.string()? })
    };
    section.entries().into_iter().filter_map(named).collect()
}

/// `transform`: a UDF, or a list of them.
pub(super) fn transforms(value: &Value<'_>) -> Vec<TransformUse> {
    value.one_or_items().iter().filter_map(transform).collect()
}

fn transform(value: &Value<'_>) -> Option<TransformUse> {
    if value.is_string() {
        let udf = value.string()?;
        let options = Spanned::new(JsonObject::new(), udf.span);
        return Some(TransformUse { udf, input: None, output: None, options });
    }
    let mut section = value.section()?;
    let udf = section.require("udf").and_then(|value| value.string());
    let input = section.get("input").map(|value| expressions(&value));
    let output = section.get("output").and_then(|value| value.section()).map(|table| {
        let renamed = |(name, value): (Spanned<String>, Value<'_>)| {
            let renamed = value.string()?;
            check_name(&table, &renamed, "a column's name");
            Some((name, renamed))
        };
        table.entries().into_iter().filter_map(renamed).collect()
    });
    let options = udf::options(&mut section);
    section.finish();
    Some(TransformUse { udf: udf?, input, output, options })
}

fn emit(section: &mut Section<'_>, has_window: bool) -> Emit {
    const CLOSE: Emit = Emit { close: true, update: false };
    const UPDATE: Emit = Emit { close: false, update: true };
    let Some(value) = windowed(section, "emit", has_window) else { return CLOSE };
    let items = value.one_or_items();
    if items.is_empty() {
        value.error("`emit` is empty: \"close\", \"update\" or both");
    }
    let chosen: Vec<Emit> =
        items.iter().filter_map(|item| item.choice(&[("close", CLOSE), ("update", UPDATE)])).collect();
    Emit { close: chosen.iter().any(|emit| emit.close), update: chosen.iter().any(|emit| emit.update) }
}

fn log_updates(section: &mut Section<'_>, emit: Emit) -> bool {
    let Some(value) = section.get("log-updates") else { return false };
    let wanted = value.boolean() == Some(true);
    if wanted && !emit.update {
        section.reports.error(value.key, "`log-updates` needs `emit` to name \"update\"");
    }
    wanted
}

fn features(section: &mut Section<'_>, window: Option<Window>, has_window: bool) -> Vec<Feature> {
    let Some(table) = section.require("features").and_then(|value| value.section()) else { return Vec::new() };
    let entries = table.entries();
    if entries.is_empty() {
        table.reports.error(table.span, format!("{} has no features", section.path()));
    }
    let read = |(name, value): (Spanned<String>, Value<'_>)| {
        check_name(&table, &name, "a feature's name");
        feature::read(name, &value, window, has_window)
    };
    entries.into_iter().filter_map(read).collect()
}
