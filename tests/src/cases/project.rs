//! A case as a project file.
//!
//! | in the case | in the project |
//! |---|---|
//! | a source | a source of type file, or kafka; its time column is text, so that rows can show it as it came |
//! | a sliding view | a view with the window of the shortest step; features whose windows differ have their own |
//! | a derived view with over-features | a view with `window = { over = … }` |
//! | a derived view without | `latest`; within another view it is no view of its own: its joins and columns are that one's |
//! | a join feature | `join`, and a column where its expression is more than a name |
//! | an expr feature | a column, or `expr` where it is over an over-feature |
//! | a window of no length | `over = "unbounded"` |
//!
//! A joined view whose windows give no empty rows counts as empty where its newest row is older than a step: `within`,
//! and 0 for counts and sums.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use super::{Case, Feature, FeatureKind, Input, ROWS, Source, Topics, View, ViewKind};

/// The project's text.
pub(super) fn text(case: &Case, topics: Option<&Topics>) -> Result<String, String> {
    let mut project = Project { case, entities: BTreeMap::new(), views: String::new(), written: BTreeMap::new() };
    for name in case.joined_views.keys() {
        project.joined(name)?;
    }
    project.view(&case.view.name, &case.view, Some(()))?;
    let mut text = "[project]\nname = \"case\"\n".to_owned();
    for (name, keys) in &project.entities {
        let keys: Vec<String> = keys.iter().map(|(key, kind)| format!("{} = {}", quoted(key), quoted(kind))).collect();
        line(&mut text, format_args!("\n[entities.{}]\nkeys = {{ {} }}", quoted(name), keys.join(", ")));
    }
    for (name, source) in &case.sources {
        source_text(&mut text, name, source, topics)?;
    }
    text.push_str(&project.views);
    Ok(text)
}

fn source_text(text: &mut String, name: &str, source: &Source, topics: Option<&Topics>) -> Result<(), String> {
    line(text, format_args!("\n[sources.{}]", quoted(name)));
    match topics {
        None => line(text, format_args!("type = \"file\"\npath = {}", quoted(&format!("{name}.jsonl")))),
        Some(topics) => line(
            text,
            format_args!(
                "type = \"kafka\"\nbrokers = {}\ntopic = {}\nbounded = {}",
                quoted(&topics.brokers),
                quoted(&topics.of(name)),
                source.bounded
            ),
        ),
    }
    let mut columns = Vec::new();
    for (column, kind) in &source.schema {
        let kind = kind.as_str().ok_or_else(|| format!("source {name}: the type of {column} is no text"))?;
        columns.push(format!("{} = {}", quoted(column), quoted(&column_type(kind))));
    }
    line(text, format_args!("schema = {{ {} }}", columns.join(", ")));
    let format = time_format(&source.timestamp_format);
    let column = quoted(&source.timestamp_field);
    line(text, format_args!("event-time = {{ column = {column}, format = {} }}", quoted(&format)));
    line(text, format_args!("watermark-delay = \"{}ms\"\nmax-ahead = \"off\"", source.max_out_of_orderness_ms));
    Ok(())
}

/// Features: names, and what stands behind them.
type Features = Vec<(String, String)>;

/// A join as the project file has it.
#[derive(Clone)]
struct Join {
    table: String,
    keys: Vec<String>,
    /// What a column is called, and what it is in the table.
    columns: Vec<(String, String)>,
    within_ms: Option<u64>,
}

/// The rows that a view's features are made of.
#[derive(Clone)]
struct Rows {
    from: String,
    joins: Vec<Join>,
    /// Names and expressions, in order.
    columns: Vec<(String, String)>,
    /// The columns that whoever keeps all of them keeps.
    fields: Vec<String>,
    /// What the time is called, how it is written, and in which zone.
    time: (String, String, String),
}

struct Project<'a> {
    case: &'a Case,
    /// Keys and their types by the name of the entity.
    entities: BTreeMap<String, Vec<(String, String)>>,
    views: String,
    /// The joined views that are written, and what reads them.
    written: BTreeMap<String, Rows>,
}

impl Project<'_> {
    /// Writes a view, after those that it reads; its rows go to a file if there is an `output`.
    fn view(&mut self, name: &str, view: &View, output: Option<()>) -> Result<Rows, String> {
        let mut rows = self.rows(&view.source)?;
        let (features, window) = match view.kind {
            ViewKind::Sliding => {
                let window = view_window(view)?;
                (self.sliding(view, &mut rows, &window)?, Some(window))
            }
            ViewKind::Derived => {
                let features = self.derived(view, &mut rows)?;
                (features, over_window(view))
            }
        };
        let keys = self.keys(view, &rows);
        let entity = self.entity(&keys)?;
        if view.kind == ViewKind::Sliding {
            let field = view.timestamp_field.clone().unwrap_or_else(|| "event_timestamp".to_owned());
            rows.time = (field, view.timestamp_format.clone().unwrap_or_else(|| "iso".to_owned()), "UTC".to_owned());
        }
        let own = self.view_name(name);
        let text = &mut self.views;
        line(text, format_args!("\n[views.{}]\nfrom = {}", quoted(&own), quoted(&rows.from)));
        if let Some(entity) = entity {
            line(text, format_args!("entity = {}", quoted(&entity)));
        }
        if !rows.joins.is_empty() {
            let joins: Vec<String> = rows.joins.iter().map(join_text).collect();
            line(text, format_args!("join = [{}]", joins.join(", ")));
        }
        if !rows.columns.is_empty() {
            let columns = rows.columns.iter().map(|(name, sql)| format!("{} = {}", quoted(name), quoted(sql)));
            line(text, format_args!("columns = {{ {} }}", columns.collect::<Vec<_>>().join(", ")));
        }
        if let Some(window) = &window {
            line(text, format_args!("window = {window}"));
        }
        if view.kind == ViewKind::Sliding && window.as_deref().is_some_and(|window| window.contains("sliding")) {
            line(text, format_args!("emit-empty = {}", view.enable_empty_window_output));
            line(text, format_args!("skip-unchanged = {}", view.skip_same_window_output));
        }
        line(text, format_args!("online = false\noffline = false"));
        if output.is_some() {
            let (name, format, zone) = &rows.time;
            let format = time_format(format);
            let zone = if format.starts_with("epoch") { String::new() } else { format!(", zone = {}", quoted(zone)) };
            let timestamp = format!("{{ name = {}, format = {}{zone} }}", quoted(name), quoted(&format));
            line(text, format_args!("output = {{ type = \"file\", path = \"{ROWS}\", timestamp = {timestamp} }}"));
        }
        line(text, format_args!("[views.{}.features]", quoted(&own)));
        let mut fields = keys.clone();
        for (name, feature) in features.into_iter().filter(|(name, _)| !keys.contains(name)) {
            line(text, format_args!("{} = {feature}", quoted(&name)));
            fields.push(name);
        }
        Ok(Rows { from: own, joins: Vec::new(), columns: Vec::new(), fields, time: rows.time })
    }

    /// A view that joins name, written once.
    fn joined(&mut self, name: &str) -> Result<Rows, String> {
        if let Some(rows) = self.written.get(name) {
            return Ok(rows.clone());
        }
        let view = self.case.joined_views.get(name).ok_or_else(|| format!("there is no source or view {name}"))?;
        let rows = self.view(name, view, None)?;
        self.written.insert(name.to_owned(), rows.clone());
        Ok(rows)
    }

    /// A view's input; views within it are written, or folded into the one that reads them.
    fn rows(&mut self, input: &Input) -> Result<Rows, String> {
        match input {
            Input::Named(name) => {
                if let Some(source) = self.case.sources.get(name) {
                    let fields =
                        source.schema.keys().filter(|field| **field != source.timestamp_field).cloned().collect();
                    let time = (source.timestamp_field.clone(), source.timestamp_format.clone(), zone(source));
                    return Ok(Rows { from: name.clone(), joins: Vec::new(), columns: Vec::new(), fields, time });
                }
                self.joined(name)
            }
            Input::View(view) => {
                let folds = view.features.iter().all(|feature| feature.kind != FeatureKind::Over);
                if view.kind == ViewKind::Sliding || !folds {
                    return self.view(&view.name, view, None);
                }
                let mut rows = self.rows(&view.source)?;
                let features = self.derived(view, &mut rows)?;
                let mut fields = self.keys(view, &rows);
                fields.extend(
                    features
                        .into_iter()
                        .map(|(name, _)| name)
                        .filter(|name| !fields.contains(name))
                        .collect::<Vec<_>>(),
                );
                Ok(Rows { fields, ..rows })
            }
        }
    }

    /// A sliding view's features. What is of single rows goes before the window, and what is over its features behind.
    fn sliding(&self, view: &View, rows: &mut Rows, window: &str) -> Result<Features, String> {
        let mut features: Features = Vec::new();
        for feature in &view.features {
            let given: Vec<&str> = features.iter().map(|(name, _)| name.as_str()).collect();
            let text = match feature.kind {
                FeatureKind::Sliding => aggregate(feature, Some(window))?,
                FeatureKind::Expr if names(&feature.expr).iter().any(|name| given.contains(name)) => {
                    expression(&feature.expr, cast(&feature.dtype))
                }
                FeatureKind::Expr => {
                    rows.columns.push((feature.name.clone(), feature.expr.clone()));
                    continue;
                }
                FeatureKind::Join => {
                    self.join(feature, rows)?;
                    continue;
                }
                FeatureKind::Over => return Err(format!("{}: an over-feature in a sliding view", feature.name)),
            };
            features.push((feature.name.clone(), text));
        }
        Ok(features)
    }

    /// Adds a derived view's joins and columns to its rows; gives its features.
    fn derived(&self, view: &View, rows: &mut Rows) -> Result<Features, String> {
        let mut features = Vec::new();
        if view.keep_source_fields {
            features.extend(rows.fields.iter().map(|field| (field.clone(), expression(field, None))));
        }
        let over: BTreeSet<&str> =
            view.features.iter().filter(|one| one.kind == FeatureKind::Over).map(|one| one.name.as_str()).collect();
        for feature in &view.features {
            let cast = cast(&feature.dtype);
            let text = match feature.kind {
                FeatureKind::Join => {
                    self.join(feature, rows)?;
                    expression(&feature.name, cast)
                }
                FeatureKind::Over => aggregate(feature, over_window(view).as_deref())?,
                FeatureKind::Expr if names(&feature.expr).iter().any(|name| over.contains(name)) => {
                    expression(&feature.expr, cast)
                }
                FeatureKind::Expr => {
                    if feature.expr != feature.name {
                        rows.columns.push((feature.name.clone(), feature.expr.clone()));
                    }
                    expression(&feature.name, cast)
                }
                FeatureKind::Sliding => return Err(format!("{}: a sliding feature in a derived view", feature.name)),
            };
            features.retain(|(name, _)| *name != feature.name);
            features.push((feature.name.clone(), text));
        }
        Ok(features)
    }

    fn join(&self, feature: &Feature, rows: &mut Rows) -> Result<(), String> {
        let lacks = |what: &str| format!("join feature {} lacks {what}", feature.name);
        let table = feature.table_name.as_ref().ok_or_else(|| lacks("table_name"))?;
        let keys = feature.keys.clone().ok_or_else(|| lacks("keys"))?;
        let view = self.case.joined_views.get(table);
        let known: Vec<&str> = match (self.case.sources.get(table), view) {
            (Some(source), _) => source.schema.keys().map(String::as_str).collect(),
            (None, Some(view)) => view.all_features().iter().map(|feature| feature.name.as_str()).collect(),
            (None, None) => return Err(format!("there is no table {table}")),
        };
        let used: Vec<&str> = names(&feature.expr).into_iter().filter(|name| known.contains(name)).collect();
        let plain = used == [feature.expr.as_str()];
        let columns: Vec<(String, String)> = match plain {
            true => vec![(feature.name.clone(), feature.expr.clone())],
            false => used.iter().map(|&name| (name.to_owned(), name.to_owned())).collect(),
        };
        if !plain {
            rows.columns.push((feature.name.clone(), feature.expr.clone()));
        }
        // Where a view gives no rows for empty windows, its last row holds for one step.
        let gaps = view.filter(|view| view.kind == ViewKind::Sliding && !view.enable_empty_window_output);
        let joined = gaps.and_then(|view| view.features.iter().find(|joined| joined.name == feature.expr));
        if joined.is_some_and(|joined| matches!(joined.agg_func.as_deref(), Some("SUM" | "COUNT"))) {
            rows.columns.push((feature.name.clone(), format!("coalesce({}, 0)", feature.name)));
        }
        let within_ms = joined.and_then(|joined| joined.step_ms);
        let table = if view.is_some() { self.view_name(table) } else { table.clone() };
        let known =
            rows.joins.iter_mut().find(|join| join.table == table && join.keys == keys && join.within_ms == within_ms);
        match known {
            Some(join) => join.columns.extend(columns),
            None => rows.joins.push(Join { table, keys, columns, within_ms }),
        }
        Ok(())
    }

    /// What a view's rows are keyed by: what its windows group by, else what its features name, else its source's keys.
    fn keys(&self, view: &View, rows: &Rows) -> Vec<String> {
        let grouped = view.features.iter().find(|one| matches!(one.kind, FeatureKind::Sliding | FeatureKind::Over));
        if let Some(feature) = grouped {
            return feature.group_by_keys.clone().or_else(|| feature.keys.clone()).unwrap_or_default();
        }
        let named = view.features.iter().filter_map(|feature| feature.keys.clone()).find(|keys| !keys.is_empty());
        let source = self.case.sources.get(&rows.from).and_then(|source| source.keys.clone());
        named.or(source).unwrap_or_default()
    }

    /// The entity with these keys; none for no keys.
    fn entity(&mut self, keys: &[String]) -> Result<Option<String>, String> {
        if keys.is_empty() {
            return Ok(None);
        }
        let mut typed = Vec::new();
        for key in keys {
            let kind = self.case.sources.values().find_map(|source| source.schema.get(key)).and_then(Value::as_str);
            typed.push((key.clone(), column_type(kind.ok_or_else(|| format!("no source has the key {key}"))?)));
        }
        let name = keys.join("_");
        self.entities.insert(name.clone(), typed);
        Ok(Some(name))
    }

    /// Sources and views share their names in a project.
    fn view_name(&self, name: &str) -> String {
        if self.case.sources.contains_key(name) { format!("{name}_view") } else { name.to_owned() }
    }
}

/// A sliding view's window: that of its first feature with the shortest step, of which the others are multiples.
fn view_window(view: &View) -> Result<String, String> {
    let sliding = view.features.iter().filter(|feature| feature.kind == FeatureKind::Sliding);
    let first = sliding.min_by_key(|feature| feature.step_ms);
    Ok(sliding_window(first.ok_or_else(|| format!("view {} has no sliding feature", view.name))?))
}

fn sliding_window(feature: &Feature) -> String {
    match (feature.window_ms.unwrap_or_default(), feature.step_ms.unwrap_or_default()) {
        (0, _) => "{ over = \"unbounded\" }".to_owned(),
        (size, step) => format!("{{ sliding = \"{size}ms\", step = \"{step}ms\" }}"),
    }
}

/// A derived view's window: that of its first over-feature.
fn over_window(view: &View) -> Option<String> {
    view.features.iter().find(|feature| feature.kind == FeatureKind::Over).map(range)
}

fn range(feature: &Feature) -> String {
    match feature.window_ms {
        Some(size) if size > 0 => format!("{{ over = \"{size}ms\" }}"),
        _ => "{ over = \"unbounded\" }".to_owned(),
    }
}

/// An aggregate as a feature of a view with this window.
fn aggregate(feature: &Feature, window: Option<&str>) -> Result<String, String> {
    let function = feature.agg_func.as_deref().ok_or_else(|| format!("feature {} lacks agg_func", feature.name))?;
    let name = match function {
        "FIRST_VALUE" => "first".to_owned(),
        "LAST_VALUE" => "last".to_owned(),
        "COLLECT_LIST" => "collect".to_owned(),
        other => other.to_lowercase(),
    };
    let mut parts = vec![format!("aggregate = {}", quoted(&name))];
    if function != "ROW_NUMBER" {
        parts.push(format!("of = {}", quoted(&feature.expr)));
    }
    let own = if feature.kind == FeatureKind::Over { range(feature) } else { sliding_window(feature) };
    if window != Some(own.as_str()) {
        parts.push(format!("window = {own}"));
    }
    parts.extend(feature.filter_expr.as_ref().map(|filter| format!("where = {}", quoted(filter))));
    parts.extend(feature.limit.map(|rows| format!("rows = {rows}")));
    parts.extend(cast(&feature.dtype).map(|kind| format!("type = {}", quoted(kind))));
    Ok(format!("{{ {} }}", parts.join(", ")))
}

fn expression(sql: &str, cast: Option<&str>) -> String {
    let cast = cast.map_or_else(String::new, |kind| format!(", type = {}", quoted(kind)));
    format!("{{ expr = {}{cast} }}", quoted(sql))
}

fn join_text(join: &Join) -> String {
    let keys: Vec<String> = join.keys.iter().map(|key| quoted(key)).collect();
    let columns: Vec<String> =
        join.columns.iter().map(|(name, theirs)| format!("{} = {}", quoted(name), quoted(theirs))).collect();
    let within = join.within_ms.map_or_else(String::new, |within| format!(", within = \"{within}ms\""));
    let (table, keys, columns) = (quoted(&join.table), keys.join(", "), columns.join(", "));
    format!("{{ source = {table}, on = [{keys}], columns = {{ {columns} }}{within} }}")
}

/// The names in an expression, once each; words of SQL among them, which no column is called.
fn names(sql: &str) -> Vec<&str> {
    let mut names = Vec::new();
    // What is quoted is text: every second piece.
    for piece in sql.split('\'').step_by(2) {
        for word in piece.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !names.contains(&word) {
                names.push(word);
            }
        }
    }
    names
}

/// The type of a column.
fn column_type(kind: &str) -> String {
    match kind {
        "string" => "utf8".to_owned(),
        "bool" => "boolean".to_owned(),
        "bytes" => "binary".to_owned(),
        other => other.replace("string", "utf8").replace("bool,", "boolean,"),
    }
}

/// What a feature is cast to: text and maps are what they are.
fn cast(kind: &str) -> Option<&str> {
    ["int32", "int64", "float32", "float64"].into_iter().find(|known| *known == kind)
}

fn time_format(format: &str) -> String {
    match format {
        "epoch" | "epoch_seconds" => "epoch-seconds".to_owned(),
        "epoch_millis" => "epoch-millis".to_owned(),
        pattern => pattern.to_owned(),
    }
}

/// The zone that a source's times are written in, whole hours from UTC; what the first row says counts.
fn zone(source: &Source) -> String {
    let column = source.schema.keys().position(|column| *column == source.timestamp_field);
    let first = column.and_then(|column| source.rows.first()?.get(column)?.as_str());
    let offset = first.filter(|_| source.timestamp_format.ends_with("%z")).and_then(|time| time.rsplit(' ').next());
    let hours: i32 = offset.and_then(|offset| offset.parse::<i32>().ok()).map_or(0, |offset| offset / 100);
    match hours {
        0 => "UTC".to_owned(),
        // POSIX counts them from east to west.
        hours => format!("Etc/GMT{:+}", -hours),
    }
}

/// A text in quotes: what JSON escapes TOML reads too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").unwrap_or_else(|error| panic!("a String takes everything: {error}"));
}

#[cfg(test)]
mod tests;
