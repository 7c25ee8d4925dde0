//! Fakes whose rows say themselves what goes wrong with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array as _, AsArray as _, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::engine::aggregate::Updated;
use crate::engine::udf::Meter;

/// What a value does to the call that holds it: its remainder by 8.
const TRAPS: i64 = 1;
const REFUSES: i64 = 2;
/// Needs [`PATIENCE`] times the limit, and a call to itself.
const SLOW: i64 = 3;
const ENDLESS: i64 = 4;
const REJECTED: i64 = 5;
const FILTERED: i64 = 6;
const DOUBLED: i64 = 7;

#[derive(Default)]
struct Fake {
    granted: u32,
}

impl Fake {
    /// The values, unless one of them spoils the call.
    fn take(&mut self, input: &Columns) -> Result<Vec<i64>, CallError> {
        let patient = std::mem::take(&mut self.granted) >= PATIENCE && input.rows == 1;
        let values = input.columns[0].as_primitive::<Int64Type>().values().to_vec();
        for value in &values {
            match value.rem_euclid(8) {
                TRAPS => return Err(CallError::Trap(format!("at {value}"))),
                REFUSES => return Err(CallError::Refused(format!("not {value}"))),
                SLOW if !patient => return Err(CallError::TimedOut("1s".into())),
                ENDLESS => return Err(CallError::TimedOut("1s".into())),
                _ => {}
            }
        }
        Ok(values)
    }
}

fn rejected(values: &[i64]) -> Vec<Rejection> {
    let rows = (0..).zip(values).filter(|(_, value)| value.rem_euclid(8) == REJECTED);
    rows.map(|(row, value)| Rejection { row, reason: format!("never {value}") }).collect()
}

fn column(values: impl IntoIterator<Item = i64>) -> Columns {
    let array = Int64Array::from_iter_values(values);
    Columns { rows: array.len(), columns: vec![Arc::new(array)] }
}

fn values(columns: &Columns) -> Vec<i64> {
    assert_eq!(columns.rows, columns.columns[0].len());
    columns.columns[0].as_primitive::<Int64Type>().values().to_vec()
}

fn fields() -> Vec<FieldRef> {
    vec![Arc::new(Field::new("x", DataType::Int64, false))]
}

impl Transform for Fake {
    fn apply(&mut self, input: &Columns) -> Result<Transformed, CallError> {
        let values = self.take(input)?;
        let rejected = rejected(&values);
        if values.iter().all(|value| value.rem_euclid(8) < FILTERED) {
            return Ok(Transformed { output: column(values.iter().map(|value| -value)), origin: None, rejected });
        }
        let (origin, output): (Vec<u32>, Vec<i64>) = (0..)
            .zip(&values)
            .flat_map(|(row, value)| {
                let times = match value.rem_euclid(8) {
                    REJECTED | FILTERED => 0,
                    DOUBLED => 2,
                    _ => 1,
                };
                std::iter::repeat_n((row, -value), times)
            })
            .unzip();
        Ok(Transformed { output: column(output), origin: Some(origin), rejected })
    }

    fn grant_time(&mut self, grant: Grant) {
        self.granted = grant.times / grant.of;
    }
}

/// Folds in a way that tells one order from another.
fn folded(state: i64, value: i64) -> i64 {
    state.wrapping_mul(31).wrapping_add(value)
}

impl Aggregate for Fake {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        self.take(&column([i64::try_from(rows).unwrap()]))?;
        Ok(column(std::iter::repeat_n(0, rows)))
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        assert_eq!(groups.len(), input.rows);
        let input = self.take(input)?;
        let mut state = values(&state);
        for (group, value) in groups.iter().zip(&input) {
            if value.rem_euclid(8) != REJECTED {
                state[*group as usize] = folded(state[*group as usize], *value);
            }
        }
        Ok(Updated { state: column(state), rejected: rejected(&input) })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        self.update(state, groups, partial).map(|updated| updated.state)
    }

    fn evaluate(&mut self, state: &Columns, since: &[Micros], until: &[Micros]) -> Result<Columns, CallError> {
        let windows = since.iter().zip(until);
        Ok(column(self.take(state)?.into_iter().zip(windows).map(|(value, (since, until))| value + since + until)))
    }

    fn grant_time(&mut self, grant: Grant) {
        self.granted = grant.times / grant.of;
    }
}

/// The refusals that `input` must meet with, or the fault that opens the circuit.
fn expected(input: &[i64], rows_are_judged: bool) -> Result<Vec<Refusal>, String> {
    let mut in_a_row = 0;
    let mut refused = Vec::new();
    for (row, value) in (0..).zip(input) {
        let (reason, detail) = match value.rem_euclid(8) {
            TRAPS => (DeadReason::Fault, format!("the UDF trapped: at {value}")),
            ENDLESS => (DeadReason::Fault, "the UDF ran longer than its limit of 1s".into()),
            REFUSES => (DeadReason::Rejected, format!("not {value}")),
            REJECTED if rows_are_judged => (DeadReason::Rejected, format!("never {value}")),
            _ => {
                in_a_row = 0;
                continue;
            }
        };
        in_a_row = if reason == DeadReason::Fault { in_a_row + 1 } else { 0 };
        if in_a_row == FAULTS {
            return Err(detail);
        }
        refused.push(Refusal { row, reason, detail });
    }
    Ok(refused)
}

/// Mostly good values, with stretches of bad ones that are now and then long enough to open the circuit.
fn inputs() -> impl Strategy<Value = Vec<i64>> {
    let stretch = prop_oneof![
        4 => prop::collection::vec((0i64..1000).prop_map(|value| value * 8), 0..40),
        4 => prop::collection::vec(0i64..8000, 0..6),
        1 => prop::collection::vec((0i64..1000).prop_map(|value| value * 8 + TRAPS), 0..20),
        1 => prop::collection::vec((0i64..1000).prop_map(|value| value * 8 + DOUBLED), 0..9),
    ];
    prop::collection::vec(stretch, 0..6).prop_map(|stretches| stretches.concat())
}

fn is_out(refused: &[Refusal], row: u32) -> bool {
    refused.iter().any(|refusal| refusal.row == row)
}

/// Rows of the output with the input row of each, as a caller reads them.
fn with_origin(applied: &Applied) -> Vec<(u32, i64)> {
    let output = values(&applied.output);
    match &applied.origin {
        Some(origin) => {
            assert_eq!(origin.len(), output.len());
            origin.iter().copied().zip(output).collect()
        }
        None => (0..).zip(output).filter(|(row, _)| !is_out(&applied.refused, *row)).collect(),
    }
}

proptest! {
    #[test]
    fn a_transform_gives_what_it_gives_without_the_bad_rows(input in inputs()) {
        let mut guarded = GuardedTransform::new(Box::new(Fake::default()), fields());
        match (guarded.apply(&column(input.clone())), expected(&input, true)) {
            (Ok(applied), Ok(refused)) => {
                let rows = (0u32..).zip(&input).filter(|(row, _)| !is_out(&refused, *row));
                let rows: Vec<_> = rows
                    .flat_map(|(row, value)| {
                        let times = match value.rem_euclid(8) { FILTERED => 0, DOUBLED => 2, _ => 1 };
                        std::iter::repeat_n((row, -value), times)
                    })
                    .collect();
                prop_assert_eq!(with_origin(&applied), rows);
                prop_assert_eq!(applied.refused, refused);
            }
            (result, Err(reason)) => {
                let open = GuardError::CircuitOpen { reason };
                prop_assert_eq!(result.map(|applied| applied.refused), Err(open.clone()));
                prop_assert_eq!(guarded.apply(&column([8])).map(|applied| applied.refused), Err(open));
            }
            (result, Ok(_)) => prop_assert!(false, "{:?}", result),
        }
    }

    #[test]
    fn a_fold_gives_what_it_gives_without_the_bad_rows(input in inputs(), groups in 1u32..7, merge: bool) {
        let mut guarded = GuardedAggregate::new(Box::new(Fake::default()), fields());
        let before = column((0..i64::from(groups)).map(|group| group * 8));
        let group_of: Vec<u32> = (0u32..).zip(&input).map(|(row, _)| row.wrapping_mul(7) % groups).collect();
        let rows = column(input.clone());
        let result = if merge {
            guarded.merge(before.clone(), &group_of, &rows)
        } else {
            guarded.update(before.clone(), &group_of, &rows)
        };
        match (result, expected(&input, !merge)) {
            (Ok(after), Ok(refused)) => {
                let mut state = values(&before);
                for ((row, value), group) in (0u32..).zip(&input).zip(&group_of) {
                    if !is_out(&refused, row) && value.rem_euclid(8) != REJECTED {
                        state[*group as usize] = folded(state[*group as usize], *value);
                    }
                }
                prop_assert_eq!(values(&after.state), state);
                prop_assert_eq!(after.refused, refused);
            }
            (result, Err(reason)) => {
                prop_assert_eq!(result.map(|after| after.refused), Err(GuardError::CircuitOpen { reason }));
            }
            (result, Ok(_)) => prop_assert!(false, "{:?}", result),
        }
    }

    #[test]
    fn state_rows_are_evaluated_without_the_bad_ones(state in inputs()) {
        let mut guarded = GuardedAggregate::new(Box::new(Fake::default()), fields());
        let since: Vec<_> = (0..).zip(&state).map(|(row, _)| row).collect();
        let until: Vec<_> = since.iter().map(|since| since * 100).collect();
        match (guarded.evaluate(&column(state.clone()), &since, &until), expected(&state, false)) {
            (Ok(applied), Ok(refused)) => {
                let rows = (0u32..).zip(&state).filter(|(row, _)| !is_out(&refused, *row));
                let rows: Vec<_> = rows.map(|(row, value)| (row, value + i64::from(row) * 101)).collect();
                prop_assert_eq!(with_origin(&applied), rows);
                prop_assert_eq!(applied.refused, refused);
            }
            (result, Err(reason)) => {
                prop_assert_eq!(result.map(|applied| applied.refused), Err(GuardError::CircuitOpen { reason }));
            }
            (result, Ok(_)) => prop_assert!(false, "{:?}", result),
        }
    }
}

#[test]
fn faults_count_over_calls_until_one_goes_well() {
    let mut guarded = GuardedAggregate::new(Box::new(Fake::default()), fields());
    let fault = |guarded: &mut GuardedAggregate| guarded.update(column([0]), &[0], &column([TRAPS])).map(|_| ());
    for _ in 1..FAULTS {
        assert_eq!(fault(&mut guarded), Ok(()));
    }
    assert!(guarded.update(column([0]), &[0], &column([8])).is_ok());
    for _ in 1..FAULTS {
        assert_eq!(fault(&mut guarded), Ok(()));
        // That other functions go well says nothing of this one.
        assert_eq!(guarded.initial(8).map(|state| state.rows), Ok(8));
        assert!(guarded.merge(column([0]), &[0], &column([8])).is_ok());
        assert!(guarded.evaluate(&column([8]), &[0], &[1]).is_ok());
    }
    let text = "stopped after 16 faults in a row, the last of them: the UDF trapped: at 1";
    assert_eq!(fault(&mut guarded).unwrap_err().to_string(), text);
    assert_eq!(guarded.initial(8).map(|_| ()).unwrap_err().to_string(), text);
}

#[test]
fn a_fault_without_a_row_to_blame_is_returned_and_counted() {
    let mut guarded = GuardedAggregate::new(Box::new(Fake::default()), fields());
    let trap = Err(GuardError::Call(CallError::Trap("at 1".into())));
    for _ in 1..FAULTS {
        assert_eq!(guarded.initial(1).map(|_| ()), trap);
    }
    let open = Err(GuardError::CircuitOpen { reason: "the UDF trapped: at 1".into() });
    assert_eq!(guarded.initial(1).map(|_| ()), open);
}

#[test]
fn the_hosts_own_failure_is_nobodys_row() {
    struct Broken;
    impl Transform for Broken {
        fn apply(&mut self, _: &Columns) -> Result<Transformed, CallError> {
            Err(CallError::Host("no room".into()))
        }
    }
    let mut guarded = GuardedTransform::new(Box::new(Broken), fields());
    let error = guarded.apply(&column([8, 16])).map(|_| ()).unwrap_err();
    assert_eq!(error, GuardError::Call(CallError::Host("no room".into())));
    assert_eq!(error.fault(), Fault::Internal);
}

/// Takes its time, which it counts itself: all that it is given, where a row never ends.
struct Timed {
    ticks: Arc<AtomicU64>,
    grant: Grant,
}

impl Timed {
    fn guarded() -> (GuardedTransform, Arc<AtomicU64>) {
        let ticks = Arc::new(AtomicU64::new(0));
        let timed = Self { ticks: Arc::clone(&ticks), grant: Grant::WHOLE };
        (GuardedTransform::new(Box::new(timed), fields()), ticks)
    }
}

const LIMIT: Duration = Duration::from_millis(800);
const TICK: Duration = Duration::from_millis(10);

impl Transform for Timed {
    fn apply(&mut self, input: &Columns) -> Result<Transformed, CallError> {
        let values = values(input);
        let limit = std::mem::replace(&mut self.grant, Grant::WHOLE).of(LIMIT);
        let spend = |time: Duration| {
            self.ticks.fetch_add(u64::try_from(time.as_millis() / TICK.as_millis()).unwrap(), Ordering::Relaxed)
        };
        if values.contains(&ENDLESS) {
            spend(limit);
            return Err(CallError::TimedOut(format!("{limit:?}")));
        }
        if values.contains(&SLOW) {
            if limit <= LIMIT {
                spend(limit);
                return Err(CallError::TimedOut(format!("{limit:?}")));
            }
            spend(9 * LIMIT);
        }
        if values.contains(&TRAPS) {
            spend(TICK);
            return Err(CallError::Trap("at 1".into()));
        }
        Ok(Transformed { output: column(values), ..Transformed::default() })
    }

    fn grant_time(&mut self, grant: Grant) {
        self.grant = grant;
    }

    fn meter(&self) -> Meter {
        Meter::new(Arc::clone(&self.ticks), TICK, LIMIT)
    }
}

/// A thousand good rows, and a bad one among them.
fn thousand(bad: i64) -> Columns {
    column((0..1_000).map(|row| if row == 300 { bad } else { 8 }))
}

#[test]
fn a_row_that_never_ends_is_found_in_little_more_than_its_patience() {
    let (mut guarded, ticks) = Timed::guarded();
    let applied = guarded.apply(&thousand(ENDLESS)).unwrap();
    assert_eq!(applied.refused.iter().map(|refusal| refusal.row).collect::<Vec<_>>(), [300]);
    assert_eq!(applied.refused[0].detail, "the UDF ran longer than its limit of 8s");
    let limits = TICK * u32::try_from(ticks.load(Ordering::Relaxed)).unwrap();
    assert!(limits <= LIMIT * (PATIENCE + 3), "{limits:?}");
    assert!(guarded.apply(&thousand(8)).is_ok(), "and others go on");
}

#[test]
fn others_wait_for_one_row_that_never_ends_and_not_for_the_next() {
    let (mut guarded, ticks) = Timed::guarded();
    assert!(guarded.apply(&thousand(ENDLESS)).is_ok());
    let spent = ticks.load(Ordering::Relaxed);
    let error = guarded.apply(&thousand(ENDLESS)).map(|_| ()).unwrap_err();
    assert!(matches!(error, GuardError::TooCostly { .. }), "{error}");
    assert_eq!(error.fault(), Fault::User);
    assert_eq!(guarded.apply(&thousand(8)).map(|_| ()).unwrap_err(), error, "it is not called again");
    assert!(TICK * u32::try_from(ticks.load(Ordering::Relaxed) - spent).unwrap() <= 3 * LIMIT, "{error}");
    // Much later it would have been another matter.
    let (mut guarded, ticks) = Timed::guarded();
    for _ in 0..3 {
        assert!(guarded.apply(&thousand(ENDLESS)).is_ok());
        ticks.fetch_add(600 * u64::try_from(LIMIT.as_millis() / TICK.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

#[test]
fn patience_costs_also_where_it_helps() {
    let (mut guarded, _) = Timed::guarded();
    let results: Vec<_> = (0..3).map(|_| guarded.apply(&thousand(SLOW)).map(|applied| applied.output.rows)).collect();
    assert_eq!(results[0], Ok(1_000));
    assert!(matches!(results[2], Err(GuardError::TooCostly { .. })), "{results:?}");
}

#[test]
fn faults_take_a_fiftieth_of_the_time_at_most() {
    let faults = |pause: u64| {
        let (mut guarded, ticks) = Timed::guarded();
        (0..1_000).find(|_| {
            ticks.fetch_add(pause, Ordering::Relaxed);
            guarded.apply(&thousand(TRAPS)).is_err()
        })
    };
    // Eleven ticks go to each.
    assert_eq!(faults(11 * 50), None);
    assert!(faults(11 * 40).is_some_and(|times| times > 100));
    assert!(faults(0).is_some_and(|times| times > 50), "{:?}", faults(0));
}
