//! The purchases example, as its README shows it: from files at any number of shards, and from topic to topic.

use std::fs;

use millrace_tests::servers::kafka::Kafka;

use crate::project::{Project, repository};

fn example(name: &str) -> String {
    fs::read_to_string(repository().join("examples/purchases").join(name)).unwrap()
}

/// The rows that the README shows.
fn shown() -> Vec<String> {
    example("README.md").lines().filter(|line| line.starts_with("{\"user_id\"")).map(ToOwned::to_owned).collect()
}

#[test]
fn files_give_what_its_readme_shows_at_any_number_of_shards() {
    for (shards, rows) in [(1, 1024), (2, 1), (5, 7)] {
        let project = Project::new(&example("purchases.toml"));
        for file in ["purchases.jsonl", "prices.jsonl"] {
            project.write(file, example(file));
        }
        project.run([format!("runtime.shards={shards}"), format!("runtime.batch-rows={rows}")]);
        let text = fs::read_to_string(project.path("user_online_features.jsonl")).unwrap();
        let mut given: Vec<&str> = text.lines().collect();
        let mut shown = shown();
        // Rows of one time are of several shards, which come in no order.
        given.sort_unstable();
        shown.sort_unstable();
        assert_eq!(given, shown, "{shards} shards");
    }
}

#[test]
fn topics_give_the_rows_whose_time_has_come() {
    // Each run has a topic of its own to write to, and topics that others do not write to.
    for (end, rows) in [("true", 5), ("false", 3)] {
        let kafka = Kafka::shared();
        let topic = |name: &str| format!("purchases_{end}_{name}");
        let mut text = example("kafka.toml");
        for name in ["purchase_events", "item_price_events", "user_online_features"] {
            text = text.replace(&format!("topic = \"{name}\""), &format!("topic = \"{}\"", topic(name)));
            kafka.create_topic(&topic(name), 1);
        }
        kafka.produce(&topic("purchase_events"), 0, example("purchases.jsonl").lines());
        kafka.produce(&topic("item_price_events"), 0, example("prices.jsonl").lines());
        let project = Project::new(&text);
        let http = "serve.http=127.0.0.1:0".to_owned();
        let settings = [format!("KAFKA={}", kafka.brokers()), format!("PRICES_END={end}"), http];
        let run = project.call("run", settings).args(["--until-idle", "4s"]).finish(millrace_tests::patience::START);
        assert!(run.status.success(), "{}", run.stderr);
        let records = kafka.read(&topic("user_online_features"));
        let mut given: Vec<String> =
            records.into_iter().map(|record| String::from_utf8(record.payload.unwrap()).unwrap()).collect();
        let mut shown: Vec<String> = shown().into_iter().take(rows).collect();
        given.sort_unstable();
        shown.sort_unstable();
        assert_eq!(given, shown, "prices end: {end}");
    }
}
