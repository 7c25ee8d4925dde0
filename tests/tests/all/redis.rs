//! The online store in Redis: Feast's bytes, read back over HTTP; and a Redis that goes away and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use millrace_tests::http::post;
use millrace_tests::patience::{START, wait_for};
use millrace_tests::servers::redis::Redis;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::project::{FRAUD_VIEW, Project, Served, counter, serve};

/// Views of all the keys, fields, types and times of `feast_redis_vectors.json`, filled from one file.
const VECTORS: &str = r#"
[project]
name = "feast_demo_local"

[entities]
driver = { keys = { driver_id = "int64" } }
customer = { keys = { customer_id = "utf8" } }
both = { keys = { driver_id = "int64", customer_id = "utf8" } }
za = { keys = { z = "utf8", a = "int64" } }
id = { keys = { id = "int32" } }

[sources.rows]
type = "file"
path = "rows.jsonl"
event-time = { column = "at", format = "epoch-millis" }

[sources.rows.schema]
view = "utf8"
at = "timestamp"
driver_id = "int64"
customer_id = "utf8"
z = "utf8"
a = "int64"
id = "int32"
bool = "boolean"
int32 = "int32"
int64 = "int64"
float = "float32"
double = "float64"
unix_timestamp = "timestamp"
string = "utf8"
bytes = "binary"

[views.driver_hourly_stats]
entity = "driver"
from = "rows"
where = "view = 'driver'"
features = { conv_rate = { expr = "float" }, acc_rate = { expr = "double" } }

[views.by_customer]
entity = "customer"
from = "rows"
where = "view = 'customer'"
features = { a = { expr = "int64" } }

[views.by_both]
entity = "both"
from = "rows"
where = "view = 'both'"
features = { a = { expr = "int64" } }

[views.by_za]
entity = "za"
from = "rows"
where = "view = 'za'"
features = { v = { expr = "int64" } }

[views.by_id]
entity = "id"
from = "rows"
where = "view = 'id'"

[views.by_id.features]
bool = { expr = "bool" }
int32 = { expr = "int32" }
int64 = { expr = "int64" }
float = { expr = "float" }
double = { expr = "double" }
unix_timestamp = { expr = "unix_timestamp" }
string = { expr = "string" }
bytes = { expr = "bytes" }
"#;

/// A hash of Redis.
type Hash = BTreeMap<Vec<u8>, Vec<u8>>;

/// What Feast itself wrote.
struct Vectors(Value);

impl Vectors {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/feast_redis_vectors.json");
        Self(serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
    }

    fn key(&self, project: &str, join_keys: &Value, version: u8) -> Vec<u8> {
        let keys = self.0["keys"].as_array().unwrap();
        let found = keys.iter().find(|key| key["project"] == project && key["join_keys"] == *join_keys);
        unhex(&found.unwrap()[format!("redis_key_v{version}_hex")])
    }

    fn value(&self, value: &str) -> Vec<u8> {
        let values = self.0["values"].as_array().unwrap();
        unhex(&values.iter().find(|known| known["value"] == value).unwrap_or_else(|| panic!("{value}"))["value_hex"])
    }

    /// The bytes of a time in milliseconds.
    fn time(&self, millis: i64) -> Vec<u8> {
        let times = self.0["timestamps"].as_array().unwrap();
        let found = times.iter().find(|time| {
            time["seconds"] == millis.div_euclid(1000) && time["nanos"] == millis.rem_euclid(1000) * 1_000_000
        });
        unhex(&found.unwrap()["hex"])
    }
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// murmur3_x86_32 with the seed 0, little-endian, as its author publishes it.
fn field(name: &str) -> Vec<u8> {
    let mut hash = 0_u32;
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, rest) = name.as_bytes().as_chunks::<4>();
    for word in words {
        hash = (hash ^ mix(u32::from_le_bytes(*word))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    hash ^= mix(rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)));
    hash ^= u32::try_from(name.len()).unwrap();
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    (hash ^ hash >> 16).to_le_bytes().to_vec()
}

fn hash(redis: &mut redis::Connection, key: &[u8]) -> Hash {
    redis::cmd("HGETALL").arg(key).query(redis).unwrap()
}

/// A view's part of a hash: its time, and its features by their names' hashes; and nothing else but our fence.
fn assert_hash(hash: &Hash, view: &str, time: &[u8], features: &[(&str, Vec<u8>)]) {
    let fence = format!("_mr:{view}").into_bytes();
    assert!(hash.contains_key(&fence), "{view}: {hash:?}");
    let mut wanted: Hash =
        features.iter().map(|(name, value)| (field(&format!("{view}:{name}")), value.clone())).collect();
    wanted.insert(format!("_ts:{view}").into_bytes(), time.to_vec());
    let given: Hash = hash.iter().filter(|(name, _)| **name != fence).map(|(k, v)| (k.clone(), v.clone())).collect();
    assert_eq!(given, wanted, "{view}");
}

#[test]
fn the_names_of_fields_are_those_of_feast() {
    for known in Vectors::read().0["hash_fields"].as_array().unwrap() {
        assert_eq!(field(known["name"].as_str().unwrap()), unhex(&known["field_hex"]), "{known}");
    }
}

/// Every vector, written by the binary and read with a plain client.
#[test]
fn redis_holds_what_feast_would_have_written() {
    let vectors = Vectors::read();
    let server = Redis::start();
    let project = Project::new(VECTORS);
    let all = json!({
        "view": "id", "id": 3, "at": 0, "bool": true, "int32": 7, "int64": -2, "float": 0.25, "double": 1.5,
        "unix_timestamp": "2023-11-14T22:13:20Z", "string": "ab", "bytes": "AP8=",
    });
    let rows = [
        json!({"view": "driver", "driver_id": 1001, "at": 1_641_081_599_999_i64, "float": 9.0, "double": 9.0}),
        json!({"view": "driver", "driver_id": 1001, "at": 1_647_266_400_000_i64, "float": 0.25, "double": 1.5}),
        json!({"view": "driver", "driver_id": -5, "at": 1_767_225_600_123_i64, "float": 0.25}),
        json!({"view": "customer", "customer_id": "c1", "at": 1_641_081_599_999_i64, "int64": 0}),
        json!({"view": "both", "driver_id": 7, "customer_id": "käse", "at": 0, "int64": -2}),
        json!({"view": "za", "z": "1", "a": 2, "at": 0, "int64": 0}),
        all,
    ];
    project.write_lines("rows.jsonl", rows.map(|row| row.to_string()));
    let store = format!("online.store={}", server.url());
    project.run([&store]);

    let mut redis = server.connect();
    let demo = "feast_demo_local";
    let mut wanted_keys = BTreeSet::new();
    let mut read = |project: &str, join_keys: Value| {
        let key = vectors.key(project, &join_keys, 3);
        let found = hash(&mut redis, &key);
        wanted_keys.insert(key);
        found
    };
    let [half, quarter, null] =
        [vectors.value("double 1.5"), vectors.value("float 0.25"), vectors.value("null (unset)")];
    assert_hash(
        &read(demo, json!([["driver_id", 1001]])),
        "driver_hourly_stats",
        &vectors.time(1_647_266_400_000),
        &[("conv_rate", quarter.clone()), ("acc_rate", half.clone())],
    );
    assert_hash(
        &read(demo, json!([["driver_id", -5]])),
        "driver_hourly_stats",
        &vectors.time(1_767_225_600_123),
        &[("conv_rate", quarter.clone()), ("acc_rate", null.clone())],
    );
    let (zero, minus) = (vectors.value("int64 0"), vectors.value("int64 -2"));
    let customer = read(demo, json!([["customer_id", "c1"]]));
    assert_hash(&customer, "by_customer", &vectors.time(1_641_081_599_999), &[("a", zero.clone())]);
    let both = read(demo, json!([["driver_id", 7], ["customer_id", "käse"]]));
    assert_hash(&both, "by_both", &vectors.time(0), &[("a", minus.clone())]);
    let za = read(demo, json!([["z", "1"], ["a", 2]]));
    assert_hash(&za, "by_za", &vectors.time(0), &[("v", zero)]);
    // The key of the type int32 is known for the project `p`, whose name ends it.
    let mut id = vectors.key("p", &json!([["id", "int32:3"]]), 3);
    id.pop();
    id.extend(demo.as_bytes());
    let of_all_types = hash(&mut redis, &id);
    assert_hash(
        &of_all_types,
        "by_id",
        &vectors.time(0),
        &[
            ("bool", vectors.value("bool true")),
            ("int32", vectors.value("int32 7")),
            ("int64", minus),
            ("float", quarter),
            ("double", half),
            ("unix_timestamp", vectors.value("unix_timestamp 1700000000")),
            ("string", vectors.value("string 'ab'")),
            ("bytes", vectors.value("bytes 00ff")),
        ],
    );
    // Beside the entities there are only the term of the project's owner, and its mark.
    wanted_keys.insert(id.clone());
    wanted_keys.extend(["term", "mark"].map(|key| format!("millrace:feast_demo_local:{key}").into_bytes()));
    let keys: BTreeSet<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut redis).unwrap();
    assert_eq!(keys, wanted_keys);

    // The rest of the values: an empty text is no null.
    let rest = json!({"view": "id", "id": 3, "at": 1, "bool": false, "string": ""});
    project.write("rows.jsonl", rest.to_string());
    project.run([&store]);
    let of_all_types = hash(&mut redis, &id);
    for (name, value) in [("bool", "bool false"), ("string", "string ''")] {
        assert_eq!(of_all_types[&field(&format!("by_id:{name}"))], vectors.value(value), "{name}");
    }
    assert_eq!(of_all_types[&field("by_id:double")], null);
}

#[test]
fn redis_holds_keys_of_feasts_older_repositories() {
    let vectors = Vectors::read();
    let server = Redis::start();
    let project = Project::new(VECTORS);
    let rows = [
        json!({"view": "driver", "driver_id": 1001, "at": 0, "float": 0.25}),
        json!({"view": "both", "driver_id": 7, "customer_id": "käse", "at": 0, "int64": -2}),
    ];
    project.write_lines("rows.jsonl", rows.map(|row| row.to_string()));
    project.run([&format!("online.store={}", server.url()), "online.key-version=2"]);
    let demo = "feast_demo_local";
    let keys: BTreeSet<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut server.connect()).unwrap();
    for join_keys in [json!([["driver_id", 1001]]), json!([["driver_id", 7], ["customer_id", "käse"]])] {
        assert!(keys.contains(&vectors.key(demo, &join_keys, 2)), "{join_keys}");
    }
}

#[test]
fn what_is_in_redis_is_served() {
    let server = Redis::start();
    let project = Project::new(VECTORS);
    let row = json!({
        "view": "id", "id": 3, "at": 1_767_225_600_123_i64, "bool": true, "int32": 7, "int64": -2, "float": 0.25,
        "double": 1.5, "unix_timestamp": "2023-11-14T22:13:20Z", "string": "käse",
    });
    project.write("rows.jsonl", row.to_string());
    let store = format!("online.store={}", server.url());
    let served = serve(project.call("run", [&store]).args(["--linger"]));
    let features = [
        ("bool", json!(true)),
        ("int32", json!(7)),
        ("int64", json!(-2)),
        ("float", json!(0.25)),
        ("double", json!(1.5)),
        ("unix_timestamp", json!("2023-11-14T22:13:20.000Z")),
        ("string", json!("käse")),
        ("bytes", json!(null)),
    ];
    let names: Vec<_> = features.iter().map(|(name, _)| format!("by_id:{name}")).collect();
    let answer = wait_for("the row", START, || {
        let answer = served.features(&names, json!({"id": [3, 4]}));
        (answer["results"][1]["statuses"][0] == "PRESENT").then_some(answer)
    });
    for (result, (name, value)) in (1..).zip(&features) {
        let result = &answer["results"][result];
        assert_eq!(result["values"], json!([value, null]), "{name}");
        let status = if value.is_null() { "NULL_VALUE" } else { "PRESENT" };
        assert_eq!(result["statuses"], json!([status, "NOT_FOUND"]), "{name}");
        assert_eq!(result["event_timestamps"][0], "2026-01-01T00:00:00.123Z", "{name}");
    }
    served.terminate();
}

/// An event of the fraud example.
fn transaction(card: i64, second: i64, amount: f64) -> String {
    json!({"datetime": 1_735_689_600_000 + second * 1000, "cc_num": card, "amount": amount}).to_string()
}

/// Redis is away when the run begins, and dies in the middle of it, twice: everything comes, once.
#[test]
fn a_redis_that_is_away_is_waited_for() {
    let mut server = Redis::persistent();
    let feed = Feed::start();
    let project = Project::fraud();
    let settings = [
        format!("sources.transactions_ws.url={}", feed.url),
        format!("online.store={}", server.url()),
        "checkpoint.interval=1s".to_owned(),
    ];
    let served = serve(project.call("run", settings));
    let names = ["num_trans_per_10m", "avg_amt_per_10m"].map(|name| format!("{FRAUD_VIEW}:{name}"));
    let events = |served: &Served| counter(&served.metrics(), "millrace_events_total{source=\"transactions_ws\"}");

    let cards: Vec<i64> = (1..=50).collect();
    let send = |second: i64, amount: f64| {
        let lines: Vec<_> = cards.iter().map(|card| transaction(*card, second, amount)).collect();
        feed.send(lines.join("\n"));
    };
    send(1, 10.0);
    send(200, 10.0);
    let said = served.process.line("trying again until it answers", START);
    assert!(said.contains(&server.url().replace("redis://", "")), "it says who is away: {said}");
    let request = json!({"features": names, "entities": {"cc_num": [1]}});
    let away = post(&served.address, "/get-online-features", &request).unwrap();
    assert!(away.status == 503 && away.json()["code"] == "store-unavailable", "{away:?}");

    server.resume();
    let all_cards = json!({"features": names, "entities": {"cc_num": cards}});
    let wait = |served: &Served, end: &str, counts: i64, average: f64| {
        wait_for(&format!("the rows of all cards at {end}"), START, || {
            let answer = post(&served.address, "/get-online-features", &all_cards).unwrap();
            let answer = (answer.status == 200).then_some(answer)?.json();
            let results = &answer["results"];
            let all = |result: usize, column: &str, value: Value| {
                results[result][column].as_array().is_some_and(|values| values.iter().all(|given| *given == value))
            };
            (all(1, "event_timestamps", json!(end))
                && all(1, "values", json!(counts))
                && all(2, "values", json!(average)))
            .then_some(())
        });
    };
    wait(&served, "2025-01-01T00:03:20Z", 2, 10.0);

    for (round, second) in [(1, 300), (2, 400)] {
        server.stop();
        send(second, 10.0);
        wait_for("the events that come while Redis is away", START, || {
            (events(&served) == 100 + 50 * round).then_some(())
        });
        server.resume();
        let end = ["2025-01-01T00:05:00Z", "2025-01-01T00:06:40Z"][usize::try_from(round - 1).unwrap()];
        wait(&served, end, 2 + i64::try_from(round).unwrap(), 10.0);
    }
    // The rows of closed windows, too: what was written before and after it died.
    send(1000, 40.0);
    wait(&served, "2025-01-01T00:16:40Z", 1, 40.0);
    assert!(served.process.said().contains("the online store is back"));
    let said = served.terminate();
    assert!(said.contains("250 events in "), "{said}");
}
