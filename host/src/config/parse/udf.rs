//! `[udfs.NAME]`

use std::path::Path;

use super::super::diagnostics::Spanned;
use super::super::project::{JsonObject, Limits, Udf};
use super::super::section::{Section, Value};

pub(super) fn read(name: Spanned<String>, value: Value<'_>, folder: &Path) -> Option<Udf> {
    let mut section = value.section()?;
    let component = section.require("component").and_then(|value| component(&value, folder));
    let options = options(&mut section);
    let limits = limits(&mut section);
    section.finish();
    let (component, export) = component?;
    Some(Udf { name, component, export, options, limits })
}

/// `file.wasm`, or `file.wasm#name`.
fn component(value: &Value<'_>, folder: &Path) -> Option<(Spanned<std::path::PathBuf>, Option<Spanned<String>>)> {
    let text = value.string()?;
    if text.starts_with("sha256:") {
        value.not_yet("a component named by its digest is");
        return None;
    }
    let (file, export) = match text.split_once('#') {
        Some((file, export)) => (file, Some(export)),
        None => (text.as_str(), None),
    };
    if file.is_empty() || export.is_some_and(str::is_empty) {
        value.error(
            "`component` must be a file such as \"distance.wasm\", or \"geo.wasm#distance\" where it holds several",
        );
        return None;
    }
    let export = export.map(|export| Spanned::new(export.to_owned(), text.span));
    Some((Spanned::new(folder.join(file), text.span), export))
}

/// The `options` of a UDF, or of one of its uses.
pub(super) fn options(section: &mut Section<'_>) -> Spanned<JsonObject> {
    let none = Spanned::new(JsonObject::new(), section.span);
    section.get("options").and_then(|value| value.json_object()).unwrap_or(none)
}

fn limits(section: &mut Section<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(mut section) = section.get("limits").and_then(|value| value.section()) else { return limits };
    /// A component's memory is addressed by 32 bits, in pages of this size.
    const PAGE: u64 = 64 << 10;
    let memory = section.get("memory").and_then(|value| value.size(PAGE..=4 << 30));
    limits.memory = memory.unwrap_or(limits.memory);
    let time = section.get("time").and_then(|value| value.positive_duration());
    limits.time = time.unwrap_or(limits.time);
    let state = section.get("state").and_then(|value| value.size(1..=1 << 20));
    limits.state = state.unwrap_or(limits.state);
    let output = section.get("output").and_then(|value| value.size(PAGE..=4 << 30));
    limits.output = output.unwrap_or(limits.output);
    let rows = section.get("rows").and_then(|value| value.integer(1..=i64::from(u32::MAX)));
    limits.rows = rows.unwrap_or(limits.rows);
    section.finish();
    limits
}
