//! Every guest of `udfs/hostile`: what is said of it, that the next call works, and that only the bad row is lost.

use std::time::Duration;

use arrow::array::AsArray as _;

use super::*;
use crate::engine::guard::{GuardedAggregate, GuardedTransform};
use crate::engine::udf::{CallError, Grant};
use crate::record::DeadReason;
use crate::wasm::{ComponentError, Limits};

const UNREACHABLE: &str = "the UDF trapped: wasm `unreachable` instruction executed";
const SLOWER: &str = "the UDF ran longer than its limit of 50ms";
const TOO_MUCH: &str = "the UDF broke its contract: what it hands over cannot be read within 20971520 bytes: too much data \
    is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted";

/// What is said of a call with the rows `good`, `poison`, `fine`.
const TRANSFORMS: &[(&str, &str)] = &[
    ("endless_loop", SLOWER),
    ("slow", SLOWER),
    ("memory_bomb", "the UDF wanted more memory than its limit of 67108864 bytes"),
    ("deep_recursion", "the UDF trapped: call stack exhausted"),
    ("trap", UNREACHABLE),
    ("out_of_bounds", "the UDF trapped: out of bounds memory access"),
    ("error", "the UDF says: the UDF will not"),
    ("error_giant", TOO_MUCH),
    ("log_flood", "the UDF broke its contract: it logs more than 16384 lines in a call"),
    ("log_giant", TOO_MUCH),
    ("rows_too_few", "the UDF broke its contract: 2 rows without an origin where it was given 3"),
    ("rows_too_many", "the UDF broke its contract: 4 rows without an origin where it was given 3"),
    ("rows_without_values", "the UDF broke its contract: 4294967295 rows without an origin where it was given 3"),
    ("columns_missing", "the UDF broke its contract: 0 columns where its signature has 1"),
    ("columns_extra", "the UDF broke its contract: 2 columns where its signature has 1"),
    ("buffers_missing", "the UDF broke its contract: column `copied`: 2 buffers where utf8 has 3"),
    ("buffers_extra", "the UDF broke its contract: column `copied`: 4 buffers where utf8 has 3"),
    (
        "offsets_short",
        "the UDF broke its contract: column `copied`: its offsets buffer has 12 bytes where 4 of them take 16",
    ),
    (
        "offsets_ragged",
        "the UDF broke its contract: column `copied`: its offsets buffer has 15 bytes where 4 of them take 16",
    ),
    ("offsets_backwards", "the UDF broke its contract: column `copied`: its offsets do not begin at 0"),
    ("offsets_negative", "the UDF broke its contract: column `copied`: its offsets decrease"),
    (
        "offsets_beyond",
        "the UDF broke its contract: column `copied`: its offsets end at 1014 where its values have 14 bytes",
    ),
    ("offsets_not_from_zero", "the UDF broke its contract: column `copied`: its offsets do not begin at 0"),
    ("utf8_invalid", "the UDF broke its contract: column `copied`: its text is not UTF-8"),
    ("utf8_split", "the UDF broke its contract: column `copied`: its text is not UTF-8"),
    ("null_where_none_may_be", "the UDF broke its contract: column `copied`: a null where its signature has none"),
    ("origin_out_of_range", "the UDF broke its contract: origin names row 3 of 3"),
    ("origin_decreasing", "the UDF broke its contract: origin decreases"),
    ("origin_short", "the UDF broke its contract: origin has 8 bytes where 3 output rows take 12"),
    ("origin_ragged", "the UDF broke its contract: origin has 11 bytes where 3 output rows take 12"),
    ("origin_holds_rejected", "the UDF broke its contract: row 0 is rejected and yet in origin"),
    ("rejected_out_of_range", "the UDF broke its contract: it rejects row 3 of 3"),
    ("rejected_twice", "the UDF broke its contract: its rejections are not ascending: row 0 comes late"),
    ("rejected_descending", "the UDF broke its contract: its rejections are not ascending: row 0 comes late"),
    ("reason_giant", TOO_MUCH),
    ("output_giant", TOO_MUCH),
    ("output_rows_giant", "the UDF broke its contract: 2097152 rows where its limit is 65536"),
];

/// Guests with nothing wrong in a call.
const WELL_BEHAVED: &[&str] = &["honest"];

/// What is said when they are bound.
const BINDINGS: &[(&str, &str)] = &[
    ("bind_error", "these columns do not please"),
    ("bind_trap", "binding it failed: the UDF trapped: wasm `unreachable` instruction executed"),
    ("bind_loop", "binding it failed: the UDF ran longer than its limit of 50ms"),
    ("bind_unknown_format", "its signature is wrong: output column `copied` has an unknown format `w:16`"),
    ("bind_unknown_input", "it wants a column `nowhere`, and is given `value`"),
    ("bind_same_output_twice", "its signature is wrong: output column `copied` is there twice"),
];

/// What is said when aggregates are bound.
const AGGREGATE_BINDINGS: &[(&str, &str)] = &[
    ("bind_state_unknown_format", "its signature is wrong: state column `more` has an unknown format `w:16`"),
    ("bind_state_same_twice", "its signature is wrong: state column `count` is there twice"),
];

/// What is said of the aggregates, and by which call.
const AGGREGATES: &[(&str, Step, &str)] = &[
    ("update_trap", Step::Update, UNREACHABLE),
    ("update_loop", Step::Update, SLOWER),
    ("update_error", Step::Update, "the UDF says: the UDF will not"),
    ("update_rejected_out_of_range", Step::Update, "the UDF broke its contract: it rejects row 3 of 3"),
    ("state_rows_too_few", Step::Update, "the UDF broke its contract: 1 rows where it was to return 2"),
    ("state_rows_too_many", Step::Update, "the UDF broke its contract: 3 rows where it was to return 2"),
    (
        "state_of_other_types",
        Step::Update,
        "the UDF broke its contract: column `count`: its values buffer has 1 bytes where 2 of them take 16",
    ),
    ("state_buffers_missing", Step::Update, "the UDF broke its contract: column `count`: 0 buffers where int64 has 2"),
    (
        "state_giant",
        Step::Update,
        "the UDF broke its contract: state row 0 takes 4194317 bytes, more than its limit of 4096",
    ),
    ("initial_trap", Step::Initial, UNREACHABLE),
    ("initial_rows_too_few", Step::Initial, "the UDF broke its contract: 1 rows where it was to return 2"),
    ("merge_trap", Step::Merge, UNREACHABLE),
    ("merge_rows_too_few", Step::Merge, "the UDF broke its contract: 1 rows where it was to return 2"),
    ("evaluate_trap", Step::Evaluate, UNREACHABLE),
    ("evaluate_rows_too_few", Step::Evaluate, "the UDF broke its contract: 1 rows where it was to return 2"),
    (
        "evaluate_of_other_types",
        Step::Evaluate,
        "the UDF broke its contract: column `count`: 3 buffers where int64 has 2",
    ),
];

/// `counts_calls` differs only where the input is cut elsewhere, which no single call shows.
const WELL_BEHAVED_AGGREGATES: &[&str] = &["honest_count", "counts_calls"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Initial,
    Update,
    Merge,
    Evaluate,
}

fn limits(name: &str) -> Limits {
    // Only what never ends is given little time: the rest must be caught for what it does, however slow the machine.
    let time = Duration::from_millis(if name.contains("loop") || name == "slow" { 50 } else { 10_000 });
    Limits { time, bytes: 20 << 20, ..Limits::default() }
}

fn value() -> Vec<FieldRef> {
    vec![field("value", ColumnType::Utf8, false)]
}

fn texts(values: &[&str]) -> Columns {
    columns(vec![Arc::new(StringArray::from(values.to_vec()))])
}

fn read(output: &Columns) -> Vec<&str> {
    output.columns[0].as_string::<i32>().iter().flatten().collect()
}

#[test]
fn every_hostile_guest_has_its_test() {
    let component = component("hostile_faults");
    let mut tested: Vec<_> =
        TRANSFORMS.iter().chain(BINDINGS).map(|(name, _)| *name).chain(WELL_BEHAVED.to_vec()).collect();
    let mut held: Vec<_> = component.transforms().iter().map(String::as_str).collect();
    tested.sort_unstable();
    held.sort_unstable();
    assert_eq!(tested, held);
    let bindings = AGGREGATE_BINDINGS.iter().map(|(name, _)| *name);
    let mut tested: Vec<_> =
        AGGREGATES.iter().map(|(name, ..)| *name).chain(bindings).chain(WELL_BEHAVED_AGGREGATES.to_vec()).collect();
    let mut held: Vec<_> = component.aggregates().iter().map(String::as_str).collect();
    tested.sort_unstable();
    held.sort_unstable();
    assert_eq!(tested, held);
}

#[test]
fn what_a_transform_does_wrong_is_said_and_the_next_call_works() {
    let component = component("hostile_faults");
    for (name, text) in TRANSFORMS {
        let factory = component.transform(Some(name), &value(), "{}", limits(name)).unwrap();
        let mut instance = factory.create().unwrap();
        for _ in 0..2 {
            let error = instance.apply(&texts(&["good", "poison", "fine"])).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), *text, "{name}");
            let done = instance.apply(&texts(&["good", "fine"])).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(read(&done.output), ["good", "fine"], "{name}");
        }
    }
}

#[test]
fn a_transform_loses_the_bad_row_alone() {
    let component = component("hostile_faults");
    // `slow` may be let through, when it is given ten times the limit: that depends on the machine.
    for (name, _) in TRANSFORMS.iter().filter(|(name, _)| *name != "slow") {
        let factory = component.transform(Some(name), &value(), "{}", limits(name)).unwrap();
        let mut guarded = GuardedTransform::new(factory.create().unwrap(), factory.signature().output.clone());
        let done =
            guarded.apply(&texts(&["a", "b", "c", "poison", "e"])).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read(&done.output), ["a", "b", "c", "e"], "{name}");
        let refused: Vec<_> = done.refused.iter().map(|refusal| (refusal.row, refusal.reason)).collect();
        let reason = if *name == "error" { DeadReason::Rejected } else { DeadReason::Fault };
        assert_eq!(refused, [(3, reason)], "{name}");
    }
}

#[test]
fn a_flood_of_log_lines_harms_nobody() {
    let component = component("hostile_faults");
    for name in WELL_BEHAVED {
        let factory = component.transform(Some(name), &value(), "{}", limits(name)).unwrap();
        let done = factory.create().unwrap().apply(&texts(&["good", "poison"])).unwrap();
        assert_eq!(read(&done.output), ["good", "poison"]);
    }
}

#[test]
fn a_slow_call_is_let_through_where_it_is_granted_time() {
    let factory = component("hostile_faults").transform(Some("slow"), &value(), "{}", limits("slow")).unwrap();
    let mut instance = factory.create().unwrap();
    instance.grant_time(Grant { times: 1_000, of: 1 });
    assert_eq!(read(&instance.apply(&texts(&["poison"])).unwrap().output), ["poison"]);
    // Only that call.
    let error = instance.apply(&texts(&["poison"])).map(|_| ()).unwrap_err();
    assert_eq!(error, CallError::TimedOut("50ms".into()));
    instance.grant_time(Grant { times: 2, of: 1 });
    let error = instance.apply(&texts(&["poison"])).map(|_| ()).unwrap_err();
    assert_eq!(error, CallError::TimedOut("100ms".into()));
}

#[test]
fn time_is_limited_also_when_only_instances_are_left_of_an_engine() {
    let engine = Engine::new(EngineOptions { max_instances: 2, ..EngineOptions::default() }).unwrap();
    let component = engine.load(&bytes("hostile_faults")).unwrap();
    let factory = component.transform(Some("endless_loop"), &value(), "{}", limits("endless_loop")).unwrap();
    drop((engine, component));
    let mut instance = factory.create().unwrap();
    let error = instance.apply(&texts(&["poison"])).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), SLOWER);
}

#[test]
fn what_is_wrong_at_binding_is_said() {
    let component = component("hostile_faults");
    for (name, text) in BINDINGS {
        let bound = component.transform(Some(name), &value(), "{}", limits(name)).map(|_| ());
        assert_eq!(bound.unwrap_err().to_string(), *text, "{name}");
    }
    for (name, text) in AGGREGATE_BINDINGS {
        let bound = component.aggregate(Some(name), &value(), "{}", limits(name)).map(|_| ());
        assert_eq!(bound.unwrap_err().to_string(), *text, "{name}");
    }
}

#[test]
fn what_an_aggregate_does_wrong_is_said_and_the_next_call_works() {
    let component = component("hostile_faults");
    for (name, at, text) in AGGREGATES {
        // Only what is asked for no row needs to be told to fail always; and then nothing works.
        let options = if *at == Step::Initial { "{\"when\":\"always\"}" } else { "{}" };
        let factory = component.aggregate(Some(name), &value(), options, limits(name)).unwrap();
        let mut instance = factory.create().unwrap();
        let mut run = |rows: &[&str], groups: &[u32]| -> Result<Vec<i64>, (Step, CallError)> {
            let before = instance.initial(2).map_err(|error| (Step::Initial, error))?;
            let after = instance.update(before.clone(), groups, &texts(rows)).map_err(|error| (Step::Update, error))?;
            let merged = instance.merge(before, &[0, 1], &after.state).map_err(|error| (Step::Merge, error))?;
            let value = instance.evaluate(&merged, &[0, 0], &[1, 1]).map_err(|error| (Step::Evaluate, error))?;
            Ok(value.columns[0].as_primitive::<arrow::datatypes::Int64Type>().values().to_vec())
        };
        for _ in 0..2 {
            let (step, error) = run(&["good", "poison", "fine"], &[0, 0, 1]).unwrap_err();
            assert_eq!((step, error.to_string()), (*at, (*text).to_owned()), "{name}");
            let next = run(&["good", "fine", "fine"], &[1, 0, 1]);
            if *at == Step::Initial {
                assert_eq!(next, Err((step, error)), "{name}");
            } else {
                assert_eq!(next, Ok(vec![1, 2]), "{name}");
            }
        }
    }
    for name in WELL_BEHAVED_AGGREGATES {
        assert!(component.aggregate(Some(name), &value(), "{}", limits(name)).is_ok());
    }
}

#[test]
fn an_aggregate_loses_the_bad_row_alone() {
    let component = component("hostile_faults");
    for (name, at, _) in AGGREGATES.iter().filter(|(_, at, _)| *at != Step::Initial) {
        let factory = component.aggregate(Some(name), &value(), "{}", limits(name)).unwrap();
        let mut guarded = GuardedAggregate::new(factory.create().unwrap(), factory.signature().output.clone());
        let before = guarded.initial(3).unwrap();
        let rows = texts(&["a", "b", "poison", "d", "e", "f"]);
        let after = guarded.update(before.clone(), &[0, 1, 1, 0, 2, 0], &rows).unwrap();
        let merged = guarded.merge(before, &[2, 1, 0], &after.state).unwrap();
        let value = guarded.evaluate(&merged.state, &[0; 3], &[1; 3]).unwrap();
        let values = value.output.columns[0].as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
        let rows = |refused: &[crate::engine::guard::Refusal]| refused.iter().map(|one| one.row).collect::<Vec<_>>();
        let refused = (rows(&after.refused), rows(&merged.refused), rows(&value.refused));
        // Group 1, which holds the bad row, has two rows; merging turns the groups around.
        let expected = match at {
            Step::Merge => (vec![1, 0, 3], (vec![], vec![1], vec![])),
            Step::Evaluate => (vec![1, 3], (vec![], vec![], vec![1])),
            _ => (vec![1, 1, 3], (vec![2], vec![], vec![])),
        };
        assert_eq!((values, refused), expected, "{name}");
    }
}

#[test]
fn what_does_not_belong_here_is_refused_at_load() {
    let refusal = |name: &str| ENGINE.load(&bytes(name)).map(|_| ()).unwrap_err();
    assert_eq!(
        refusal("hostile_forbidden_import"),
        ComponentError::UnknownImports(vec!["hostile:guest/network#connect".into()])
    );
    assert_eq!(
        refusal("hostile_forbidden_import").to_string(),
        "it imports `hostile:guest/network#connect`, which Millrace does not provide: a UDF may import only \
         `millrace:feature/log@0.1.0`"
    );
    assert_eq!(
        refusal("hostile_wrong_world").to_string(),
        "it exports neither `millrace:feature/transform@0.1.0` nor `millrace:feature/aggregate@0.1.0`, but \
         `hostile:guest/greeter`"
    );
    assert_eq!(
        refusal("hostile_future_version").to_string(),
        "it exports `millrace:feature/transform@0.2.0`, and this Millrace serves version 0.1 of the contract: build it \
         against that `feature.wit`"
    );
}
