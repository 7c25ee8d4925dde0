//! What came out against what was expected: the same rows in the same order, and where not, which.

use serde_json::Value;

/// At most so many rows are told.
const TOLD: usize = 20;

/// Beyond so many pairs, rows are held against one another by their place alone.
const PAIRS: usize = 4_000_000;

/// Whether two values say the same: numbers by their value, within the tolerance; objects whatever their order.
pub(super) fn same(expected: &Value, got: &Value, tolerance: f64) -> bool {
    match (expected, got) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64(), a.as_f64(), b.as_f64()) {
            (Some(a), Some(b), ..) => a == b,
            (.., Some(a), Some(b)) => {
                (a == b && (a != 0.0 || a.is_sign_negative() == b.is_sign_negative()))
                    || (a - b).abs() <= tolerance * a.abs().max(b.abs()) && tolerance > 0.0
            }
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, tolerance)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b, tolerance)))
        }
        _ => expected == got,
    }
}

/// How the rows differ, for people; none where they do not.
pub(super) fn difference(expected: &[Value], got: &[Value], tolerance: f64) -> Option<String> {
    let changes = changes(expected, got, tolerance);
    if changes.is_empty() {
        return None;
    }
    let mut text = String::new();
    for change in changes.iter().take(TOLD) {
        tell(change, tolerance, &mut text);
    }
    let more = changes.len().saturating_sub(TOLD);
    if more > 0 {
        text.push_str(&format!("    … and {more} more\n"));
    }
    text.push_str(&format!(
        "    {} of {} expected rows; {} came out\n",
        if changes.len() == 1 { "1 row differs".to_owned() } else { format!("{} rows differ", changes.len()) },
        expected.len(),
        got.len()
    ));
    Some(text)
}

fn tell((expected, got): &(Option<&Value>, Option<&Value>), tolerance: f64, text: &mut String) {
    for (sign, row) in [('-', expected), ('+', got)] {
        if let Some(row) = row {
            text.push_str(&format!("    {sign} {row}\n"));
        }
    }
    let (Some(Value::Object(expected)), Some(Value::Object(got))) = (expected, got) else { return };
    let names = expected.keys().chain(got.keys().filter(|name| !expected.contains_key(*name)));
    for name in names {
        let (a, b) = (expected.get(name).unwrap_or(&Value::Null), got.get(name).unwrap_or(&Value::Null));
        if !same(a, b, tolerance) {
            text.push_str(&format!("        {name}: {a} expected, {b} came\n"));
        }
    }
}

/// Rows of which there is only one, or two that stand at the same place and differ.
type Change<'a> = (Option<&'a Value>, Option<&'a Value>);

/// The changes along a longest common subsequence.
fn changes<'a>(expected: &'a [Value], got: &'a [Value], tolerance: f64) -> Vec<Change<'a>> {
    let (n, m) = (expected.len(), got.len());
    let equal = |i: usize, j: usize| {
        expected.get(i).zip(got.get(j)).is_some_and(|(expected, got)| same(expected, got, tolerance))
    };
    if n.saturating_mul(m) > PAIRS {
        let pairs = (0..n.max(m)).filter(|at| !equal(*at, *at));
        return pairs.map(|at| (expected.get(at), got.get(at))).collect();
    }
    // How long the longest common subsequence of what is left is, by what is left.
    let mut longest = vec![vec![0_u32; m + 1]; n + 1];
    let at =
        |longest: &Vec<Vec<u32>>, i: usize, j: usize| longest.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            let best = if equal(i, j) {
                at(&longest, i + 1, j + 1) + 1
            } else {
                at(&longest, i + 1, j).max(at(&longest, i, j + 1))
            };
            if let Some(cell) = longest.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut changes = Vec::new();
    // What lacks and what is too much between two rows that agree, in pairs.
    let (mut lacking, mut extra): (Vec<&Value>, Vec<&Value>) = (Vec::new(), Vec::new());
    let mut pair = |lacking: &mut Vec<&'a Value>, extra: &mut Vec<&'a Value>| {
        for at in 0..lacking.len().max(extra.len()) {
            changes.push((lacking.get(at).copied(), extra.get(at).copied()));
        }
        lacking.clear();
        extra.clear();
    };
    while i < n || j < m {
        if i < n && j < m && equal(i, j) {
            pair(&mut lacking, &mut extra);
            (i, j) = (i + 1, j + 1);
        } else if j >= m || (i < n && at(&longest, i + 1, j) >= at(&longest, i, j + 1)) {
            lacking.extend(expected.get(i));
            i += 1;
        } else {
            extra.extend(got.get(j));
            j += 1;
        }
    }
    pair(&mut lacking, &mut extra);
    changes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_by_value_and_within_a_tolerance() {
        assert!(same(&json!({"a": 1, "b": 2}), &json!({"b": 2.0, "a": 1.0}), 0.0));
        assert!(!same(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64), 0.5));
        assert!(!same(&json!(0.1), &json!(0.100_000_000_1), 0.0));
        assert!(same(&json!([0.1]), &json!([0.100_000_000_1]), 1e-6));
        assert!(!same(&json!(0.0), &json!(-0.0), 0.0));
        assert!(!same(&json!({"a": null}), &json!({}), 0.0));
    }

    #[test]
    fn a_difference_names_the_row_and_the_column() {
        let expected = [json!({"a": 1}), json!({"a": 2}), json!({"a": 3})];
        assert_eq!(difference(&expected, &expected, 0.0), None);
        let got = [json!({"a": 1}), json!({"a": 7}), json!({"a": 3}), json!({"a": 4})];
        assert_eq!(
            difference(&expected, &got, 0.0).unwrap(),
            "    - {\"a\":2}\n    + {\"a\":7}\n        a: 2 expected, 7 came\n    + {\"a\":4}\n    2 rows differ of 3 expected rows; 4 came out\n"
        );
        assert_eq!(
            difference(&expected, &got[..1], 0.0).unwrap(),
            "    - {\"a\":2}\n    - {\"a\":3}\n    2 rows differ of 3 expected rows; 1 came out\n"
        );
    }
}
