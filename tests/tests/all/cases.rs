//! The cases of FeatHub's sliding and over windows and its joins: `tests/cases/feathub.json`, each through the binary.

use std::path::Path;

use millrace_tests::cases::{Case, Way, read};

/// Those that are run through Kafka too, though their sources end.
const THROUGH_KAFKA: [&str; 3] =
    ["seed_all_bounded#derived", "test_transform_with_filter_expr#1", "test_transform_without_key#1"];

fn cases() -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/feathub.json");
    read(&file).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn feathubs_cases_come_out_right() {
    let cases = cases();
    assert_eq!(cases.len(), 22);
    let wrong = |case: &Case| case.run(Way::Fitting).err().map(|difference| format!("{}: {difference}", case.id));
    let wrong: Vec<String> = cases.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn they_come_out_the_same_through_kafka() {
    for case in cases().iter().filter(|case| THROUGH_KAFKA.contains(&case.id.as_str())) {
        case.run(Way::Kafka).unwrap_or_else(|difference| panic!("{}: {difference}", case.id));
    }
}
