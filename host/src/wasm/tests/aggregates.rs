use arrow::array::{AsArray as _, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::Float64Type;

use super::*;
use crate::engine::aggregate::Aggregate;
use crate::time::SECOND;
use crate::wasm::{BindError, Limits, MAX_ROWS};

fn fields() -> Vec<FieldRef> {
    vec![field("value", ColumnType::Float64, true), field("time", ColumnType::Timestamp, false)]
}

fn decayed_sum(half_life: &str) -> Box<dyn Aggregate> {
    let options = format!("{{\"half-life\":\"{half_life}\"}}");
    component("decayed_sum").aggregate(None, &fields(), &options, Limits::default()).unwrap().create().unwrap()
}

/// A value of 1 a second, from second 0.
fn ones(rows: usize) -> Columns {
    let seconds = i64::try_from(rows).unwrap();
    columns(vec![
        Arc::new(Float64Array::from(vec![1.0; rows])),
        Arc::new(TimestampMicrosecondArray::from_iter_values((0..seconds).map(|s| s * SECOND)).with_timezone("UTC")),
    ])
}

fn values(output: &Columns) -> Vec<f64> {
    output.columns[0].as_primitive::<Float64Type>().values().to_vec()
}

#[test]
fn an_aggregate_says_what_it_wants_keeps_and_gives() {
    let options = "{\"half-life\":\"5m\"}";
    let factory =
        component("decayed_sum").aggregate(Some("decayed_sum"), &fields(), options, Limits::default()).unwrap();
    let signature = factory.signature();
    assert_eq!(signature.input, ["value", "time"]);
    assert_eq!(signature.state, [field("sum", ColumnType::Float64, false), field("at", ColumnType::Timestamp, false)]);
    assert_eq!(signature.output.len(), 1);
    assert!(!signature.ordered);
    assert_eq!(factory.digest().map(str::len), Some(64));
}

#[test]
fn rows_fold_into_their_groups_and_are_evaluated() {
    let mut sum = decayed_sum("1s");
    let empty = sum.initial(3).unwrap();
    // Seconds 0 and 2 into group 0, second 1 into group 2; nothing into group 1.
    let after = sum.update(empty.clone(), &[0, 2, 0], &ones(3)).unwrap();
    assert_eq!(after.rejected, []);
    let until = [2 * SECOND, 2 * SECOND, 3 * SECOND];
    let output = sum.evaluate(&after.state, &[0; 3], &until).unwrap();
    assert_eq!(values(&output), [1.25, 0.0, 0.25]);
    // Group 0 of the partial into group 2, group 2 into group 0.
    let merged = sum.merge(empty, &[2, 1, 0], &after.state).unwrap();
    let output = sum.evaluate(&merged, &[0; 3], &[2 * SECOND; 3]).unwrap();
    assert_eq!(values(&output), [0.5, 0.0, 1.25]);
}

#[test]
fn a_row_that_is_rejected_is_named_and_folds_into_nothing() {
    let mut sum = decayed_sum("1s");
    let empty = sum.initial(1).unwrap();
    let mut input = ones(3);
    input.columns[0] = Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None]));
    let after = sum.update(empty, &[0, 0, 0], &input).unwrap();
    let rejected: Vec<_> = after.rejected.iter().map(|one| (one.row, one.reason.as_str())).collect();
    assert_eq!(rejected, [(1, "`value` is not a finite number")]);
    assert_eq!(values(&sum.evaluate(&after.state, &[0], &[0]).unwrap()), [1.0]);
}

#[test]
fn more_rows_than_a_call_takes_fold_as_one() {
    let mut sum = decayed_sum("1h");
    let rows = 2 * MAX_ROWS + 77;
    // In one group after the other, in few, in as many as there are rows, and in more.
    for (states, modulus) in [(1, 1), (100, 97), (rows, rows), (3 * MAX_ROWS, 5)] {
        let groups: Vec<u32> = (0..rows).map(|row| u32::try_from(row * 31 % modulus).unwrap()).collect();
        let input = ones(rows);
        let start = sum.initial(states).unwrap();
        let whole = sum.update(start.clone(), &groups, &input).unwrap();
        let mut state = start.clone();
        for from in (0..rows).step_by(5_000) {
            let count = 5_000.min(rows - from);
            let part = columns(input.columns.iter().map(|column| column.slice(from, count)).collect());
            state = sum.update(state, &groups[from..from + count], &part).unwrap().state;
        }
        assert_eq!((whole.state.rows, &whole.state.columns), (states, &state.columns), "{states} {modulus}");
        let until = vec![0; states];
        assert_eq!(sum.evaluate(&state, &until, &until).unwrap().rows, states);
        let identity: Vec<u32> = (0..states).map(|row| u32::try_from(row).unwrap()).collect();
        let merged = sum.merge(start, &identity, &state).unwrap();
        assert_eq!(merged.columns, state.columns);
    }
    assert_eq!(sum.initial(0).unwrap().columns.len(), 2);
}

#[test]
fn groups_beyond_the_state_do_not_cross() {
    let mut sum = decayed_sum("1s");
    let state = sum.initial(1).unwrap();
    for groups in [&[0, 1][..], &[0], &[0, 0, 0]] {
        let error = sum.update(state.clone(), groups, &ones(2)).map(|_| ()).unwrap_err();
        let text = format!("calling the UDF failed: {} group numbers for 2 rows and 1 state rows", groups.len());
        assert_eq!(error.to_string(), text);
    }
    let error = sum.evaluate(&state, &[0], &[]).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "calling the UDF failed: 1 and 0 window bounds for 1 state rows");
    let other = columns(vec![Arc::new(Int64Array::from(vec![1]))]);
    let error = sum.evaluate(&other, &[0], &[0]).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "calling the UDF failed: 1 columns where it was bound to 2");
}

#[test]
fn a_state_row_that_can_never_fit_is_refused_at_binding() {
    let limits = Limits { state: 15, ..Limits::default() };
    let bound = component("decayed_sum").aggregate(None, &fields(), "{\"half-life\":\"5m\"}", limits).map(|_| ());
    let text = "a state row takes 16 bytes at least, more than its limit of 15";
    assert_eq!(bound, Err(BindError::Signature(text.into())));
}

#[test]
fn the_newest_rows_alone_are_folded_as_if_they_were_all() {
    use crate::engine::aggregate::builtin::Ties;
    use crate::engine::aggregate::newest::newest;

    let options = "{\"half-life\":\"1s\"}";
    let inner = component("decayed_sum").aggregate(None, &fields(), options, Limits::default()).unwrap();
    let factory = newest(Arc::clone(&inner), 2, &fields(), Ties::Position).unwrap();
    assert_eq!(factory.digest(), inner.digest());
    assert_eq!(factory.signature().input[..2], ["value", "time"]);
    let mut kept = factory.create().unwrap();
    let mut input = ones(5);
    input.columns.push(Arc::clone(&input.columns[1]));
    input.columns.push(Arc::new(arrow::array::Int32Array::from(vec![0; 5])));
    input.columns.extend([0, 1].map(|_| Arc::new(Int64Array::from(vec![0; 5])) as ArrayRef));
    let empty = kept.initial(2).unwrap();
    let state = kept.update(empty, &[1, 0, 1, 1, 1], &input).unwrap().state;
    // Seconds 3 and 4 are left of group 1, second 1 of group 0.
    let output = kept.evaluate(&state, &[0; 2], &[4 * SECOND; 2]).unwrap();
    assert_eq!(values(&output), [0.125, 1.5]);
    // What is rejected is told as it comes, and not kept.
    let mut odd = input.clone();
    odd.columns[0] =
        Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), Some(1.0), Some(f64::INFINITY), None]));
    let empty = kept.initial(1).unwrap();
    let updated = kept.update(empty, &[0; 5], &odd).unwrap();
    assert_eq!(updated.rejected.iter().map(|rejection| rejection.row).collect::<Vec<_>>(), [1, 3]);
    // Seconds 2 and 4 are the newest, of which the last is null.
    assert_eq!(values(&kept.evaluate(&updated.state, &[0], &[4 * SECOND]).unwrap()), [0.25]);
    let initial = kept.initial(2).unwrap();
    assert_eq!(values(&kept.evaluate(&initial, &[0; 2], &[4 * SECOND; 2]).unwrap()), [0.0, 0.0]);
}
