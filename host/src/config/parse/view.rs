//! `[views.NAME]`

use std::path::Path;
use std::time::Duration;

use super::super::diagnostics::Spanned;
use super::super::project::{Emit, Feature, JsonObject, Named, TransformUse, View, Window};
use super::super::section::{Section, Value};
use super::{check_name, feature, output, udf};

/// Windows end on whole milliseconds, because a row is stamped with its window's last one.
const TICK: Duration = Duration::from_millis(1);

pub(super) fn read(name: Spanned<String>, value: Value<'_>, folder: &Path) -> Option<View> {
    let mut section = value.section()?;
    let entity = section.get("entity").and_then(|value| value.string());
    let from = section.require("from").map(|value| strings(&value)).unwrap_or_default();
    section.not_yet("join", "joins are");
    let filter = section.get("where").and_then(|value| value.string());
    let transforms = section.get("transform").map(|value| value.one_or_items()).unwrap_or_default();
    let transforms = transforms.iter().filter_map(transform).collect();
    let columns = section.get("columns").map(|value| expressions(&value)).unwrap_or_default();
    let has_window = section.get("window");
    let window = has_window.as_ref().and_then(window);
    let has_window = has_window.is_some();
    let emit = emit(&mut section, has_window);
    let emit_empty = windowed(&mut section, "emit-empty", has_window).and_then(|value| value.boolean());
    let skip_unchanged = windowed(&mut section, "skip-unchanged", has_window).and_then(|value| value.boolean());
    let lateness = windowed(&mut section, "allowed-lateness", has_window).and_then(|value| value.duration());
    let ttl = section.get("ttl").and_then(|value| value.positive_duration());
    let online = section.get("online").and_then(|value| value.boolean());
    let offline = section.get("offline").and_then(|value| value.boolean());
    let log_updates = log_updates(&mut section, emit);
    let outputs = output::read(&mut section, folder);
    let features = features(&mut section, has_window);
    section.finish();
    Some(View {
        name,
        entity,
        from,
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

/// SQL expressions by the name of what they give, in the order written.
pub(super) fn expressions(value: &Value<'_>) -> Vec<Named> {
    let Some(section) = value.section() else { return Vec::new() };
    let named = |(name, value): (Spanned<String>, Value<'_>)| {
        check_name(&section, &name, "a column's name");
        Some(Named { name, expression: value.string()? })
    };
    section.entries().into_iter().filter_map(named).collect()
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

fn window(value: &Value<'_>) -> Option<Spanned<Window>> {
    let mut section = value.section()?;
    let sliding = section.get("sliding");
    let tumbling = section.get("tumbling");
    let step = section.get("step");
    let offset = section.get("offset");
    let refused = [("session", "session windows are"), ("over", "`over` is"), ("rows", "`rows` is")]
        .map(|(key, what)| section.refuse(key).inspect(|value| value.not_yet(what)).is_some());
    section.finish();
    if refused.contains(&true) {
        return None;
    }
    let offset = match offset {
        Some(offset) => whole(&offset, offset.duration()?)?,
        None => Duration::ZERO,
    };
    let span = value.span();
    match (sliding, tumbling) {
        (Some(sliding), None) => {
            let size = size(&sliding)?;
            let Some(step) = step else {
                sliding.error("a sliding window lacks `step`, such as { sliding = \"10m\", step = \"1m\" }");
                return None;
            };
            let length = self::size(&step)?;
            if length > size {
                step.error("`step` is longer than the window: rows between windows would be in none");
                return None;
            }
            check_offset(value, offset, length)?;
            Some(Spanned::new(Window::Sliding { size, step: length, offset }, span))
        }
        (None, Some(tumbling)) => {
            if let Some(step) = step {
                step.error("a tumbling window steps by its own length: leave `step` out, or say `sliding`");
                return None;
            }
            let size = size(&tumbling)?;
            check_offset(value, offset, size)?;
            Some(Spanned::new(Window::Tumbling { size, offset }, span))
        }
        (Some(_), Some(tumbling)) => {
            tumbling.error("a window is sliding or tumbling, not both");
            None
        }
        (None, None) => {
            value.error("`window` lacks `sliding` or `tumbling`; without a window leave it out");
            None
        }
    }
}

fn size(value: &Value<'_>) -> Option<Duration> {
    whole(value, value.positive_duration()?)
}

fn whole(value: &Value<'_>, duration: Duration) -> Option<Duration> {
    if !duration.as_nanos().is_multiple_of(TICK.as_nanos()) {
        value.error(format!("`{}` must be whole milliseconds", value.name));
        return None;
    }
    Some(duration)
}

fn check_offset(window: &Value<'_>, offset: Duration, step: Duration) -> Option<()> {
    if offset >= step {
        window.error("`offset` must be shorter than what it shifts, the step from one window to the next");
        return None;
    }
    Some(())
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

fn features(section: &mut Section<'_>, has_window: bool) -> Vec<Feature> {
    let Some(table) = section.require("features").and_then(|value| value.section()) else { return Vec::new() };
    let entries = table.entries();
    if entries.is_empty() {
        table.reports.error(table.span, format!("{} has no features", section.path()));
    }
    let read = |(name, value): (Spanned<String>, Value<'_>)| {
        check_name(&table, &name, "a feature's name");
        feature::read(name, &value, has_window)
    };
    entries.into_iter().filter_map(read).collect()
}
