//! The plain engine: keeps every row and computes each result from all of them. It shares no code with Millrace.
//!
//! Times are milliseconds. What it knows of a row beside its values is its place and its partition's watermark before
//! it; everything else follows from the events alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::streams::{Event, Stream, key};
use super::views::{Aggregate, Column, Feature, Filter, From, GREAT, Join, View, Window, is_folded};

const BEFORE_ALL: i64 = i64::MIN;

/// A row on its way into a view.
#[derive(Clone, Debug)]
struct Row {
    time: i64,
    /// The watermark that it is judged by.
    before: i64,
    /// Break ties of time, the creation first; then source, partition, place.
    created: Option<u8>,
    place: (usize, usize, usize),
    key: Option<String>,
    columns: BTreeMap<&'static str, Value>,
    /// As of the row of a view that it is.
    optional: bool,
    again: bool,
}

impl Row {
    fn get(&self, column: Column) -> &Value {
        self.columns.get(column.name()).unwrap_or(&Value::Null)
    }
}

/// A row of a view.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) key: String,
    pub(super) time: i64,
    /// What the rows of a view without a window, or with `over`, take from theirs.
    created: Option<u8>,
    pub(super) values: Vec<Value>,
    /// It may be left out: it says what the one before says.
    pub(super) optional: bool,
    /// Rows behind the watermark may have made it come several times.
    pub(super) again: bool,
    /// The watermark that it is judged by where it is read.
    before: i64,
}

/// All that must come out.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) views: Vec<Vec<Given>>,
    pub(super) dead: BTreeMap<&'static str, u64>,
}

impl Expected {
    fn letter(&mut self, reason: &'static str) {
        *self.dead.entry(reason).or_default() += 1;
    }
}

/// Computes all views over both sources.
pub(super) fn expected(sources: &[Stream; 2], views: &[View]) -> Expected {
    let mut expected = Expected::default();
    let rows: Vec<Vec<Row>> = (0..).zip(sources).map(|(number, source)| read(number, source, &mut expected)).collect();
    for (number, view) in views.iter().enumerate() {
        let folded = is_folded(views, number);
        let mut input: Vec<Row> = match view.from {
            From::A => rows[0].clone(),
            From::B => rows[1].clone(),
            From::Both => rows.concat(),
            From::View(other) => {
                (0..).zip(&expected.views[other]).map(|(at, given)| derived(other, at, given)).collect()
            }
        };
        let passing = |row: &Row| view.filter.is_none_or(|filter| passes(filter, row));
        // What is late is told before a join, and else behind the filter.
        input.retain(|row| view.join.is_some() || passing(row));
        let late = |row: &Row| is_late(view, folded, row);
        let (late, mut input): (Vec<Row>, Vec<Row>) = input.into_iter().partition(late);
        late.iter().for_each(|_| expected.letter("late"));
        if let Some(join) = view.join {
            input = input.into_iter().filter_map(|row| joined(row, join, &rows[1])).filter(passing).collect();
        }
        let mut keys: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in input {
            match row.key.clone() {
                None => expected.letter("null-key"),
                Some(key) => keys.entry(key).or_default().push(row),
            }
        }
        let mut given = Vec::new();
        for (key, mut rows) in keys {
            rows.sort_by_key(|row| (row.time, row.created, row.place));
            match view.window {
                Window::Latest => latest(view, &key, &rows, &mut given),
                Window::Session { gap } => session(view, gap, &key, &rows, &mut given),
                Window::Over { .. } => over(view, &key, &rows, &mut given),
                Window::Grid { size, step, offset } => {
                    grid(view, folded, (size, step, offset), &key, &rows, &mut given);
                }
            }
        }
        expected.views.push(given);
    }
    expected
}

fn read(number: usize, source: &Stream, expected: &mut Expected) -> Vec<Row> {
    let partitions = source.partitions.iter().enumerate();
    partitions.flat_map(|(partition, events)| read_one((number, partition), source, events, expected)).collect()
}

fn read_one(
    (number, partition): (usize, usize),
    source: &Stream,
    events: &[Event],
    expected: &mut Expected,
) -> Vec<Row> {
    let mut watermark = BEFORE_ALL;
    let mut rows = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let fields = match event {
            Event::Broken => {
                expected.letter("decode");
                continue;
            }
            Event::Timeless => {
                expected.letter("event-time");
                continue;
            }
            Event::Row(fields) => fields,
        };
        let columns = [
            ("v", json!(fields.v)),
            ("x", json!(fields.float())),
            ("s", json!(fields.text())),
            ("big", json!(fields.big)),
            ("nan", fields.float().map_or(Value::Null, |x| float(if x > GREAT { f64::NAN } else { x }))),
        ];
        rows.push(Row {
            time: fields.at,
            before: watermark,
            created: fields.c.filter(|_| source.created),
            place: (number, partition, at),
            key: fields.key.map(key),
            columns: columns.into(),
            optional: false,
            again: false,
        });
        watermark = watermark.max(fields.at - source.delay);
    }
    rows
}

fn derived(view: usize, at: usize, given: &Given) -> Row {
    let columns = [("f0", given.values[0].clone())].into();
    let Given { time, before, created, optional, again, .. } = *given;
    let key = Some(given.key.clone());
    Row { time, before, created, place: (2 + view, 0, at), key, columns, optional, again }
}

fn joined(mut row: Row, join: Join, versions: &[Row]) -> Option<Row> {
    let fits = |version: &&Row| row.key.is_some() && version.key == row.key && version.time <= row.time;
    let newest = versions.iter().filter(fits).max_by_key(|version| (version.time, version.created, version.place));
    let newest = newest.filter(|version| join.within.is_none_or(|within| row.time - version.time <= within));
    if newest.is_none() && join.drops {
        return None;
    }
    let value = newest.map_or(Value::Null, |version| version.get(Column::V).clone());
    row.columns.insert("jv", value);
    Some(row)
}

fn passes(Filter(column): Filter, row: &Row) -> bool {
    match (column, row.get(column)) {
        (_, Value::Null) => false,
        (Column::S, value) => *value == json!("a"),
        (_, value) => value.as_f64().is_some_and(|value| value > 1.0),
    }
}

/// The last end, of those that are `offset` past a multiple of `step`, that is not after `time`.
fn floor(time: i64, step: i64, offset: i64) -> i64 {
    (time - offset).div_euclid(step) * step + offset
}

fn is_late(view: &View, folded: bool, row: &Row) -> bool {
    match view.window {
        Window::Latest => view.join.is_some() && row.time < row.before,
        Window::Session { .. } | Window::Over { .. } => row.time < row.before,
        Window::Grid { step, offset, .. } if folded => floor(row.time, step, offset) + step <= row.before,
        Window::Grid { size, step, offset } => {
            floor(row.time + size, step, offset) <= row.before.saturating_sub(view.lateness)
        }
    }
}

fn with_double(view: &View, mut values: Vec<Value>) -> Vec<Value> {
    if view.doubled {
        values.push(values[0].as_i64().map_or(Value::Null, |value| json!(value * 2)));
    }
    values
}

fn latest(view: &View, key: &str, rows: &[Row], out: &mut Vec<Given>) {
    for row in rows {
        let values = view.features.iter().map(|feature| row.get(feature.of).clone()).collect();
        let values = with_double(view, values);
        out.push(Given {
            key: key.to_owned(),
            time: row.time,
            created: row.created,
            values,
            optional: row.optional,
            again: row.again,
            before: row.before,
        });
    }
}

fn session(view: &View, gap: i64, key: &str, rows: &[Row], out: &mut Vec<Given>) {
    for rows in rows.chunk_by(|before, after| after.time - before.time < gap) {
        let values = view.features.iter().map(|feature| value(feature, feature.rows, rows.iter())).collect();
        let time = rows[rows.len() - 1].time + gap - 1;
        let values = with_double(view, values);
        let (optional, again, before) = (false, false, BEFORE_ALL);
        out.push(Given { key: key.to_owned(), time, created: None, values, optional, again, before });
    }
}

fn over(view: &View, key: &str, rows: &[Row], out: &mut Vec<Given>) {
    for row in rows {
        let of = |feature: &Feature| {
            let Window::Over { range, rows: most } = feature.window.unwrap_or(view.window) else { unreachable!() };
            let since = range.map_or(BEFORE_ALL, |range| row.time - range);
            let most = [most, feature.rows].into_iter().flatten().min();
            value(feature, most, rows.iter().filter(|other| (since..=row.time).contains(&other.time)))
        };
        let values = with_double(view, view.features.iter().map(of).collect());
        out.push(Given {
            key: key.to_owned(),
            time: row.time,
            created: row.created,
            values,
            optional: false,
            again: false,
            before: BEFORE_ALL,
        });
    }
}

fn grid(view: &View, folded: bool, own: (i64, i64, i64), key: &str, rows: &[Row], out: &mut Vec<Given>) {
    let spec = |feature: &Feature| match feature.window {
        Some(Window::Grid { size, step, offset }) => (size, step, offset),
        _ => own,
    };
    let mut specs: Vec<(i64, i64, i64)> = view.features.iter().map(spec).collect();
    specs.push(own);
    specs.sort_unstable();
    specs.dedup();
    let (_, step, offset) = own;
    // The ends at which a row enters or leaves a window; or all at which the key lives, or lived a step before.
    let mut ends = BTreeSet::new();
    for row in rows {
        if view.skip_unchanged {
            for (size, step, offset) in &specs {
                ends.insert(floor(row.time, *step, *offset) + step);
                ends.insert(floor(row.time + size, *step, *offset) + step);
            }
        } else {
            let mut end = floor(row.time, step, offset) + step;
            let oldest =
                |end: i64| specs.iter().map(|(size, own, offset)| floor(end - step, *own, *offset) - size).min();
            while oldest(end).is_some_and(|oldest| oldest <= row.time) {
                ends.insert(end);
                end += step;
            }
        }
    }
    let within = |(size, step, offset): (i64, i64, i64), end: i64| {
        let end = floor(end, step, offset);
        rows.iter().filter(move |row| (end - size..end).contains(&row.time))
    };
    let at = |end: i64| -> (Vec<Value>, bool) {
        let values = view.features.iter().map(|feature| value(feature, feature.rows, within(spec(feature), end)));
        (with_double(view, values.collect()), specs.iter().all(|spec| within(*spec, end).next().is_none()))
    };
    let again = !folded && rows.iter().any(|row| row.time < row.before);
    for end in ends {
        let (values, absent) = at(end);
        if absent && !view.emit_empty {
            continue;
        }
        let mut optional = false;
        if view.skip_unchanged {
            let (before, gone) = at(end - step);
            let like = !gone && same_rows(&before, &values);
            if like && !again && before == values && !has_deviation(view) {
                continue;
            }
            optional = like;
        }
        let before = BEFORE_ALL;
        out.push(Given { key: key.to_owned(), time: end - 1, created: None, values, optional, again, before });
    }
}

/// The one aggregate whose last bits depend on the order of folding.
fn has_deviation(view: &View) -> bool {
    view.features.iter().any(|feature| feature.aggregate == Aggregate::Stddev)
}

/// The value of a feature over the rows of its window, which come in order.
fn value<'a>(feature: &Feature, most: Option<usize>, rows: impl Iterator<Item = &'a Row>) -> Value {
    let mut rows: Vec<&Row> = rows.filter(|row| feature.filter.is_none_or(|filter| passes(filter, row))).collect();
    if let Some(most) = most {
        rows.drain(..rows.len().saturating_sub(most));
    }
    let values: Vec<&Value> = rows.iter().map(|row| row.get(feature.of)).filter(|value| !value.is_null()).collect();
    let integers = values.iter().all(|value| value.is_i64()) && !matches!(feature.of, Column::X | Column::Nan);
    let floats = || values.iter().filter_map(|value| if **value == NAN { Some(f64::NAN) } else { value.as_f64() });
    let count = values.len();
    #[expect(clippy::cast_precision_loss, reason = "few rows")]
    let mean = || floats().sum::<f64>() / count as f64;
    match feature.aggregate {
        Aggregate::Rows | Aggregate::RowNumber => json!(rows.len()),
        Aggregate::Count => json!(count),
        Aggregate::Sum if integers => json!(values.iter().filter_map(|value| value.as_i64()).sum::<i64>()),
        Aggregate::Sum => float(floats().fold(0.0, |sum, value| sum + value)),
        Aggregate::Avg if count == 0 => Value::Null,
        Aggregate::Avg => float(mean()),
        Aggregate::Stddev if count < 2 => Value::Null,
        Aggregate::Stddev => {
            let mean = mean();
            let squares: f64 = floats().map(|value| (value - mean).powi(2)).sum();
            #[expect(clippy::cast_precision_loss, reason = "few rows")]
            let variance = squares / (count - 1) as f64;
            float(variance.sqrt())
        }
        Aggregate::Min => values.into_iter().min_by(|a, b| order(a, b)).cloned().unwrap_or(Value::Null),
        Aggregate::Max => values.into_iter().max_by(|a, b| order(a, b)).cloned().unwrap_or(Value::Null),
        Aggregate::First => values.first().map_or(Value::Null, |value| (*value).clone()),
        Aggregate::Last => values.last().map_or(Value::Null, |value| (*value).clone()),
        Aggregate::Distinct => json!(values.iter().map(|value| value.to_string()).collect::<BTreeSet<_>>().len()),
        Aggregate::ValueCounts if count == 0 => Value::Null,
        Aggregate::ValueCounts => {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for value in values {
                *counts.entry(value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)).or_default() += 1;
            }
            Value::Object(counts.into_iter().map(|(value, count)| (value, json!(count))).collect::<Map<_, _>>())
        }
    }
}

/// How NaN is written.
const NAN: &str = "NaN";

/// A number as it is written.
fn float(value: f64) -> Value {
    if value.is_nan() { json!(NAN) } else { json!(value) }
}

/// NaN is the greatest number.
fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::String(_), Value::Number(_)) => std::cmp::Ordering::Greater,
        (Value::Number(_), Value::String(_)) => std::cmp::Ordering::Less,
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(std::cmp::Ordering::Equal),
        },
    }
}

/// Whether two values are the same, floats within 1e-9.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
                _ => false,
            },
        },
        _ => a == b,
    }
}

pub(super) fn same_rows(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}
