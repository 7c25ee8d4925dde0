use millrace_sdk::testing::{self, json};

use super::*;

#[test]
fn reads_the_names_as_networks_write_them() {
    for (name, category) in [
        ("  SHELL OIL #5744-12 ", "fuel"),
        ("Shell", "fuel"),
        ("AMZN*Mktp US*1A2B3", "shopping"),
        ("AMAZON.COM", "shopping"),
        ("McDonald's F1234", "restaurants"),
        ("MCDONALD’S", "restaurants"),
        ("Wal-Mart #100", "shopping"),
        ("7-ELEVEN 23817", "groceries"),
        ("BÄCKEREI Müller", "restaurants"),
        ("CAFÉ de Flore", "restaurants"),
        ("UBER   TRIP", "transport"),
        ("rossmann1234", "health"),
        ("Zzyzx Holdings 42", "other"),
        ("12345", "other"),
        ("", "other"),
        ("***", "other"),
    ] {
        assert_eq!(classify(name), category, "{name:?}");
    }
}

#[test]
fn the_first_word_that_is_known_counts() {
    assert_eq!(classify("Hotel Bar"), "travel");
    assert_eq!(classify("Bar Hotel"), "restaurants");
}

#[test]
fn part_of_a_word_is_not_the_word() {
    assert_eq!(classify("Barcelona Inntal"), "other");
    assert_eq!(classify(&format!("{}shell", "x".repeat(1_000))), "other");
    // Cut off after the longest keyword's bytes, and in the middle of a letter.
    assert_eq!(classify("supermarketsupermarkets"), "other");
    assert_eq!(classify("xxxxxxxxxxxxxxxéé shell"), "fuel");
}

#[test]
fn goes_through_a_component() {
    let rows = json!([{ "name": "ESSO 17" }, { "name": null }, { "name": "?" }]);
    let got = testing::transform::<merchant_category>().run(rows).unwrap();
    assert_eq!(
        got.rows,
        [json!({ "category": "fuel" }), json!({ "category": "other" }), json!({ "category": "other" })]
    );
    assert!(got.rejected.is_empty());
}

#[test]
fn says_what_does_not_fit() {
    let test = testing::transform::<merchant_category>();
    assert_eq!(
        test.without("name").column("nam", "utf8").run(json!([])).unwrap_err(),
        "no column `name` (utf8) among `nam`: map one to it, as in { name = \"nam\" }"
    );
    let options = testing::transform::<merchant_category>().options(json!({ "language": "de" })).run(json!([]));
    assert!(options.unwrap_err().contains("unknown field `language`"));
}
