//! Whether the rows that came out are those that must.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::Expected;

/// How far a single may be off, as a part of itself; and any other float, whose order of adding is not told.
const SINGLE: f64 = 1e-4;
const DOUBLE: f64 = 1e-9;

/// How many rows a difference shows.
const SHOWN: usize = 3;

/// Compares JSON lines with what is expected; `singles` are the columns that are single-precision.
pub(super) fn compare(lines: &str, expected: &Expected, singles: &[&str]) -> Result<(), String> {
    let mut came = Vec::new();
    for line in lines.lines() {
        let mut row: Map<String, Value> = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        let values = expected.columns.iter().map(|column| row.remove(column).ok_or(column));
        let values = values.collect::<Result<Vec<_>, _>>().map_err(|column| format!("a row lacks {column}: {line}"))?;
        if let Some(more) = row.keys().next() {
            return Err(format!("a row has {more}, which is not expected: {line}"));
        }
        came.push(values);
    }
    let mut wanted = expected.rows.clone();
    let first = expected.sorted_by.iter().flatten();
    let first: Vec<usize> =
        first.filter_map(|name| expected.columns.iter().position(|column| column == name)).collect();
    came.sort_by(|one, other| order(one, other, &first));
    wanted.sort_by(|one, other| order(one, other, &first));
    let same = |(came, wanted): (&Vec<Value>, &Vec<Value>)| {
        let mut cells = came.iter().zip(wanted).zip(&expected.columns);
        cells.all(|((came, wanted), column)| alike(came, wanted, singles.contains(&column.as_str())))
    };
    let first_off = came.iter().zip(&wanted).position(|rows| !same(rows));
    match first_off {
        None if came.len() == wanted.len() => Ok(()),
        None => {
            let from = came.len().min(wanted.len());
            Err(format!("{} rows where {} belong; then {}", came.len(), wanted.len(), shown(&came, &wanted, from)))
        }
        Some(row) => {
            let counts = match came.len() == wanted.len() {
                true => String::new(),
                false => format!("{} rows where {} belong; ", came.len(), wanted.len()),
            };
            Err(format!("{counts}row {}: {}", row + 1, shown(&came, &wanted, row)))
        }
    }
}

fn shown(came: &[Vec<Value>], wanted: &[Vec<Value>], from: usize) -> String {
    let rows = |rows: &[Vec<Value>]| {
        let shown: Vec<String> =
            rows.iter().skip(from).take(SHOWN).map(|row| Value::from(row.clone()).to_string()).collect();
        if shown.is_empty() { "nothing".to_owned() } else { shown.join(" ") }
    };
    format!("came {}, expected {}", rows(came), rows(wanted))
}

/// By the columns that are named, and then by all.
fn order(one: &[Value], other: &[Value], first: &[usize]) -> Ordering {
    let all = first.iter().copied().chain(0..one.len());
    let mut ordered = all.filter_map(|column| Some(cells(one.get(column)?, other.get(column)?)));
    ordered.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn cells(one: &Value, other: &Value) -> Ordering {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => one.to_string().cmp(&other.to_string()),
    }
}

/// Numbers by their value, maps whatever their order.
fn alike(came: &Value, wanted: &Value, single: bool) -> bool {
    match (came, wanted) {
        (Value::Number(came), Value::Number(wanted)) => match (came.as_i64(), wanted.as_i64()) {
            (Some(came), Some(wanted)) => came == wanted,
            _ => match (came.as_f64(), wanted.as_f64()) {
                (Some(came), Some(wanted)) => {
                    (came - wanted).abs() <= wanted.abs() * if single { SINGLE } else { DOUBLE }
                }
                _ => false,
            },
        },
        (Value::Object(came), Value::Object(wanted)) => {
            // The key 100.0 may be written as 100.
            let find = |name: &str| {
                came.iter().find(|(key, _)| *key == name || key.parse::<f64>().is_ok_and(|key| name.parse() == Ok(key)))
            };
            came.len() == wanted.len()
                && wanted.iter().all(|(name, wanted)| find(name).is_some_and(|(_, came)| alike(came, wanted, single)))
        }
        (Value::Array(came), Value::Array(wanted)) => {
            came.len() == wanted.len() && came.iter().zip(wanted).all(|(came, wanted)| alike(came, wanted, single))
        }
        _ => came == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compared(lines: &str, rows: Value) -> Result<(), String> {
        let expected = json!({"sorted_by": ["at"], "columns": ["key", "at", "value"], "rows": rows});
        compare(lines, &serde_json::from_value(expected).unwrap(), &["value"])
    }

    #[test]
    fn rows_are_compared_in_order_and_numbers_by_value() {
        let lines = "{\"at\":2,\"key\":\"b\",\"value\":1.00001}\n{\"key\":\"a\",\"at\":1,\"value\":null}";
        compared(lines, json!([["a", 1, null], ["b", 2.0, 1]])).unwrap();
        let error = compared(lines, json!([["a", 1, null], ["b", 2, 1.1]])).unwrap_err();
        assert_eq!(error, r#"row 2: came ["b",2,1.00001], expected ["b",2,1.1]"#);
        let error = compared(lines, json!([["a", 1, null]])).unwrap_err();
        assert_eq!(error, r#"2 rows where 1 belong; then came ["b",2,1.00001], expected nothing"#);
        let error = compared(lines, json!([["b", 2, 1]])).unwrap_err();
        assert!(error.starts_with("2 rows where 1 belong; row 1: came [\"a\",1,null]"), "{error}");
    }

    #[test]
    fn a_row_has_the_columns_that_are_expected_and_no_others() {
        let error = compared("{\"at\":1,\"key\":\"a\"}", json!([])).unwrap_err();
        assert_eq!(error, "a row lacks value: {\"at\":1,\"key\":\"a\"}");
        let error = compared("{\"at\":1,\"key\":\"a\",\"value\":1,\"more\":1}", json!([])).unwrap_err();
        assert!(error.starts_with("a row has more, which is not expected"), "{error}");
    }

    #[test]
    fn maps_and_lists_are_alike_by_their_parts() {
        assert!(alike(&json!({"200": 2, "100": 1}), &json!({"100.0": 1, "200.0": 2}), false));
        assert!(!alike(&json!({"100": 1}), &json!({"100": 1, "200": 2}), false));
        assert!(!alike(&json!({}), &Value::Null, false));
        assert!(alike(&json!([1, 2.0]), &json!([1.0, 2]), false) && !alike(&json!([1]), &json!([1, 2]), false));
        assert!(!alike(&json!("1"), &json!(1), false));
    }
}
