//! The cases of FeatHub's sliding and over windows and its joins: `tests/cases/feathub.json`, each through the binary.

use std::path::Path;

use millrace_tests::cases::{Case, Way, read};

/// What is not there yet. A case that comes out right has to be taken from this list.
const STILL_TO_COME: [&str; 20] = [
    "seed_both_unbounded#README_of_the_seed",
    "seed_price_bounded#expected_output.txt",
    "seed_all_bounded#derived",
    "seed_all_bounded_every_step#derived",
    "seed_derived_feature_view#expected_output.txt",
    "test_join_sliding_feature#1",
    "test_join_sliding_feature#2",
    "test_multiple_window_size_with_same_step#1",
    "test_sliding_feature_join_source#1",
    "test_transform_with_limit#1",
    "test_transform_with_limit#2",
    "test_transform_with_limit#3",
    "test_transform_with_value_counts#1",
    "test_transform_with_zero_window_size#1",
    "test_over_window_on_join_field#1",
    "test_over_window_transform_filter_expr_with_window_size_and_limit#1",
    "test_over_window_transform_first_last_value_with_window_size#1",
    "test_over_window_transform_with_window_size_and_limit#1",
    "test_join_transform#1",
    "test_join_transform_with_map_lookup#1",
];

/// Those that are run through Kafka too, though their sources end.
const THROUGH_KAFKA: [&str; 2] = ["test_transform_with_filter_expr#1", "test_transform_without_key#1"];

fn cases() -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/feathub.json");
    read(&file).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn feathubs_cases_come_out_right_but_for_those_still_to_come() {
    let cases = cases();
    assert_eq!(cases.len(), 22);
    assert!(STILL_TO_COME.iter().all(|id| cases.iter().any(|case| case.id == *id)), "every id is one of a case");
    let mut wrong = Vec::new();
    for case in &cases {
        match (case.run(Way::Fitting), STILL_TO_COME.contains(&case.id.as_str())) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => wrong.push(format!("{} comes out right now: take it from STILL_TO_COME", case.id)),
            (Err(difference), false) => wrong.push(format!("{}: {difference}", case.id)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn they_come_out_the_same_through_kafka() {
    for case in cases().iter().filter(|case| THROUGH_KAFKA.contains(&case.id.as_str())) {
        case.run(Way::Kafka).unwrap_or_else(|difference| panic!("{}: {difference}", case.id));
    }
}
