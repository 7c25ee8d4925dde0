//! `tests/config/` holds project files beside exactly what is said about them; `UPDATE=1 cargo test` writes that anew.
//! A file's first lines may say how it is read: `# --set KEY=VALUE`, `# env NAME=VALUE`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::diagnostics::Diagnostics;
use super::project::*;
use super::read_text;
use crate::record::ColumnType;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pairs(text: &str, prefix: &str) -> Vec<(String, String)> {
    let said = text.lines().map_while(|line| line.strip_prefix("# ")).filter_map(|line| line.strip_prefix(prefix));
    said.map(|pair| pair.split_once('=').map(|(key, value)| (key.into(), value.into())).unwrap()).collect()
}

fn read_here(name: &str, text: &str) -> Result<Project, Diagnostics> {
    let variables = pairs(text, "env ");
    let lookup = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let folder = Path::new("/project");
    read_text(name, text.to_owned(), folder, &lookup, &pairs(text, "--set ")).map(|(project, _)| project)
}

#[test]
fn files_in_tests_config_say_what_is_wrong_with_them() {
    let folder = repository().join("tests/config");
    let mut checked = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let said = match read_here(&name, &fs::read_to_string(&path).unwrap()) {
            Ok(_) => "nothing is wrong\n".to_owned(),
            Err(diagnostics) => format!("{diagnostics}\n"),
        };
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        assert_eq!(said, fs::read_to_string(&expected).unwrap_or_default(), "{}", expected.display());
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} files in {}", folder.display());
}

fn fraud(overrides: &[(&str, &str)]) -> Project {
    let path = repository().join("examples/fraud/fraud.toml");
    let overrides: Vec<_> = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    super::read(&path, &|_| None, &overrides).unwrap_or_else(|diagnostics| panic!("{diagnostics}")).0
}

#[test]
fn the_fraud_example_reads() {
    let project = fraud(&[]);
    let folder = repository().join("examples/fraud");
    assert_eq!(project.name.value, "fraud");
    assert_eq!((&project.folder, &project.data_dir), (&folder, &folder.join("data")));
    assert_eq!(project.serve.http.value, SocketAddr::from(([127, 0, 0, 1], 6566)));
    assert_eq!(project.online.store.value, OnlineStore::Embedded);
    let [card] = project.entities.as_slice() else { panic!("{:?}", project.entities) };
    assert_eq!((card.keys[0].name.as_str(), &card.keys[0].kind.value), ("cc_num", &ColumnType::Int64));

    let view = project.view("card_transactions_10m_agg").unwrap();
    assert_eq!(view.from[0].value, "transactions_ws");
    assert_eq!(view.emit, Emit { close: true, update: true });
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let window = Window::Sliding { size: minutes(10), step: minutes(1), offset: Duration::ZERO };
    assert_eq!(view.window.as_ref().unwrap().value, window);
    let transform = &view.transforms[0];
    assert_eq!(transform.input.as_ref().unwrap()[0].expression.value, "merchant");
    let names: Vec<_> = view.features.iter().map(|feature| feature.name.as_str()).collect();
    let written = [
        "num_trans_per_10m",
        "avg_amt_per_10m",
        "stdev_amt_per_10m",
        "spend_decayed_5m",
        "spend_decayed_1m",
        "last_category",
    ];
    assert_eq!(names, written, "in the order written");
    let FeatureKind::Aggregate(decayed) = &view.features[4].kind else { panic!("an aggregate") };
    assert_eq!(decayed.aggregate.value, AggregateName::Udf("decayed_sum".into()));
    let Of::Columns(of) = &decayed.of else { panic!("two columns") };
    assert_eq!(of.iter().map(|named| named.name.as_str()).collect::<Vec<_>>(), ["value", "time"]);
    assert_eq!(serde_json::to_string(&decayed.options.value).unwrap(), r#"{"half-life":"1m"}"#);
    let udf = project.udf("decayed_sum").unwrap();
    assert_eq!(udf.component.value, folder.join("decayed_sum.wasm"));
    assert_eq!(udf.limits, Limits::default());
}

#[test]
fn a_source_takes_what_it_does_not_say_from_the_one_it_is_like() {
    let project = fraud(&[]);
    let kafka = project.source("transactions_kafka").unwrap();
    let SourceKind::Kafka { brokers, topic, start, bounded, group, .. } = &kafka.kind else { panic!("{kafka:?}") };
    assert_eq!((brokers.as_str(), topic.as_str()), ("127.0.0.1:9092", "credit_card_transactions"));
    assert_eq!((*start, *bounded, group.as_str()), (KafkaStart::Earliest, false, "fraud-transactions_kafka"));
    assert_eq!(kafka.schema.len(), 5);
    assert_eq!(kafka.event_time.format.value, TimeFormat::EpochMillis);
    assert_eq!(kafka.watermark_delay, Duration::from_secs(60));
    assert_eq!(kafka.idle_timeout, Some(Duration::from_secs(30)));
    assert_eq!((kafka.idle, project.runtime.max_skew), (Idle::LeaveOut, Some(Duration::from_secs(60))));
    assert_eq!(kafka.max_ahead, Some(Duration::from_secs(3_600)));
    let file = project.source("transactions_file").unwrap();
    assert!(file.kind.is_bounded());
    assert_eq!((file.idle_timeout, file.max_ahead), (None, None));
}

#[test]
fn overrides_set_variables_and_paths() {
    let project = fraud(&[
        ("STREAM", "transactions_file"),
        ("sources.transactions_file.path", "/data/a.jsonl"),
        ("runtime.shards", "2"),
        ("views.card_transactions_10m_agg.emit", r#"["update"]"#),
        ("online.store", "redis://127.0.0.1:6380"),
        ("KAFKA", "broker:9092"),
    ]);
    let view = project.view("card_transactions_10m_agg").unwrap();
    assert_eq!(view.from[0].value, "transactions_file");
    assert_eq!(view.emit, Emit { close: false, update: true });
    assert_eq!(project.runtime.shards, 2);
    assert_eq!(project.online.store.value, OnlineStore::Redis { url: "redis://127.0.0.1:6380".into() });
    let SourceKind::File { path, .. } = &project.source("transactions_file").unwrap().kind else { panic!("a file") };
    assert_eq!(path.value, Path::new("/data/a.jsonl"));
}

#[test]
fn everything_that_can_be_said_is_read() {
    let text = include_str!("../../../tests/config/everything.toml");
    let project = read_here("everything.toml", text).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let folder = Path::new("/project");
    assert_eq!(project.data_dir, folder.join("state"));
    assert_eq!(project.runtime.memory, Some(512 << 20));
    assert_eq!((project.runtime.shards, project.runtime.batch_rows, project.runtime.min_free), (2, 7, 1 << 30));
    assert_eq!(project.checkpoint.interval, Duration::from_secs(5));
    assert_eq!((project.dead_letters.max_age, project.dead_letters.max_size), (Duration::from_secs(86_400), 64 << 20));
    assert_eq!((project.online.key_version, project.online.clock), (2, Some(OnlineClock::Event)));

    let keys: Vec<_> = project.entities[0].keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(keys, ["exchange", "symbol"], "sorted, though written otherwise");

    let SourceKind::Kafka { start, properties, bounded, group, .. } = &project.source("orders").unwrap().kind else {
        panic!("kafka")
    };
    assert_eq!((*start, *bounded, group.as_str()), (KafkaStart::At(1_767_225_600_000_000), true, "mine"));
    let properties: Vec<_> = properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(properties, [("fetch.wait.max.ms", "50"), ("security.protocol", "plaintext")]);
    let dedup = project.source("orders").unwrap().dedup.as_ref().unwrap();
    assert_eq!((dedup.on[1].as_str(), dedup.within), ("at", Duration::from_secs(3_600)));
    let transforms = &project.source("orders").unwrap().transforms;
    assert_eq!((transforms.len(), transforms[1].output.as_ref().unwrap()[0].1.as_str()), (2, "price_km"));
    let trades = project.source("trades").unwrap();
    let SourceKind::WebSocketConnect { headers, send, .. } = &trades.kind else { panic!("websocket") };
    assert_eq!((headers[0].0.as_str(), headers[0].1.as_str()), ("authorization", "Bearer secret"));
    assert_eq!(send, &[r#"{"op":"subscribe"}"#]);
    assert_eq!((trades.idle_timeout, trades.max_ahead), (Some(Duration::from_secs(5)), None));
    assert_eq!((trades.idle, project.runtime.max_skew), (Idle::Advance, Some(Duration::from_secs(90))));
    assert_eq!(trades.schema[3].path.as_ref().unwrap().value.to_string(), "$.quote.price");
    let iso = |zone: &str| TimeFormat::Iso { zone: zone.into() };
    assert_eq!(trades.schema[2].time_format, Some(iso("UTC")));
    assert_eq!(trades.schema[4].time_format, Some(iso("Asia/Shanghai")));
    assert_eq!(trades.event_time.format.value, iso("UTC"));
    let SourceKind::WebSocketListen { path } = &project.source("inbound").unwrap().kind else { panic!("listen") };
    assert_eq!(path.value, "/ingest/inbound");
    let SourceKind::WebSocketConnect { url, send, .. } = &project.source("outbound").unwrap().kind else {
        panic!("`url` stands in for the `listen` of what it is like")
    };
    assert_eq!((url.as_str(), send.len()), ("ws://127.0.0.1:7001/more", 1));
    let pattern = TimeFormat::Strptime { pattern: "%Y-%m-%d %H:%M:%S %z".into(), zone: "UTC".into() };
    assert_eq!(project.source("pushed").unwrap().event_time.format.value, pattern);

    let geo = project.udf("geo").unwrap();
    assert_eq!(geo.export.as_ref().unwrap().value, "distance");
    let limits =
        Limits { memory: 32 << 20, time: Duration::from_millis(100), state: 8 << 10, output: 1 << 20, rows: 9_000 };
    assert_eq!(geo.limits, limits);
    assert_eq!(
        serde_json::to_string(&geo.options.value).unwrap(),
        r#"{"unit":"km","deep":{"list":[1,2.5,true,"x"],"since":"2026-01-01"}}"#
    );

    let latest = project.view("latest").unwrap();
    assert!(latest.window.is_none() && latest.entity.is_none() && !latest.online);
    assert_eq!(latest.from.len(), 2);
    assert!(matches!(&latest.features[0].kind, FeatureKind::Expr(expr) if expr.value == "price * 2"));
    assert_eq!(latest.features[0].cast.as_ref().unwrap().value, ColumnType::Float32);
    let OutputTarget::File { path } = &latest.outputs[0].target else { panic!("a file") };
    assert_eq!(path.value, folder.join("latest.jsonl"));
    assert_eq!(latest.outputs[0].time_name.as_ref().unwrap().value, "t");
    let pattern = TimeFormat::Strptime { pattern: "%H:%M".into(), zone: "Asia/Shanghai".into() };
    assert_eq!(latest.outputs[0].time_format.as_ref().unwrap().value, pattern);

    let hourly = project.view("hourly").unwrap();
    let window = Window::Tumbling { size: Duration::from_secs(3_600), offset: Duration::from_secs(900) };
    assert_eq!(hourly.window.as_ref().unwrap().value, window);
    assert_eq!(hourly.allowed_lateness, Duration::from_secs(60));
    assert_eq!(hourly.ttl, Some(Duration::from_secs(7_200)));
    let OutputTarget::Kafka { brokers: None, topic, key: Some(key), properties, .. } = &hourly.outputs[0].target else {
        panic!("kafka, at the sources' brokers")
    };
    assert_eq!(
        (topic.as_str(), key[0].as_str(), project.brokers().unwrap().as_str()),
        ("hourly", "symbol", "127.0.0.1:9092")
    );
    let properties: Vec<_> = properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(properties, [("linger.ms", "1"), ("security.protocol", "plaintext")]);
    let OutputTarget::Kafka { brokers: Some(brokers), key: None, .. } = &hourly.outputs[1].target else {
        panic!("kafka")
    };
    assert_eq!(brokers.value, "127.0.0.1:9093");
    assert!(matches!(hourly.outputs[2].target, OutputTarget::WebSocket));
    assert_eq!(hourly.outputs[2].time_format.as_ref().unwrap().value, TimeFormat::EpochMillis);
    assert_eq!((project.services[0].outputs.len(), project.services[1].outputs.len()), (0, 2));
    assert!(hourly.log_updates && !hourly.emit_empty && !hourly.skip_unchanged);
    assert!(hourly.transforms[0].input.is_none(), "just a name");
    let output = hourly.transforms[1].output.as_ref().unwrap();
    assert_eq!((output[0].0.as_str(), output[0].1.as_str()), ("km", "away"));
    let FeatureKind::Aggregate(far) = &hourly.features[1].kind else { panic!("an aggregate") };
    assert_eq!(far.output.as_ref().unwrap().value, "max_kmh");
    assert_eq!(far.filter.as_ref().unwrap().value, "away > 1");

    let served = &project.services[0].features;
    assert_eq!((served[0].view.as_str(), served[0].feature.is_none()), ("hourly", true));
    assert_eq!(served[1].alias.as_ref().unwrap().value, "fastest");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = super::read(Path::new("no/such.toml"), &|_| None, &[]).unwrap_err().to_string();
    assert!(error.starts_with("no/such.toml: cannot be read: No such file"), "{error}");
    assert!(error.ends_with("1 error"), "{error}");
}

/// Words that change what a file means when they stand where they should not.
const WORDS: [&str; 24] = [
    "",
    "=",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "\n",
    "like",
    "udf:",
    "0",
    "-1",
    "1.5",
    "inf",
    "true",
    "$",
    "${",
    "${X:-",
    "é",
    "\u{0}",
    "9999999999999999999999",
    "2026-01-01",
    "from",
];

proptest! {
    /// Whatever is written: no panic, and where the project is not given there is a reason, with a place.
    #[test]
    fn a_mangled_file_is_read_or_refused(
        edits in prop::collection::vec((any::<Index>(), 0..40_usize, 0..WORDS.len()), 1..4),
        which in 0..3_usize,
    ) {
        let files = [
            include_str!("../../../tests/config/everything.toml"),
            include_str!("../../../tests/config/several.toml"),
            include_str!("../../../examples/fraud/fraud.toml"),
        ];
        let mut text = files[which].to_owned();
        for (at, length, word) in edits {
            let start = text.floor_char_boundary(at.index(text.len()));
            let end = text.floor_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end.max(start), WORDS[word]);
        }
        if let Err(diagnostics) = read_text("x.toml", text, Path::new("/project"), &|_| Some("7".into()), &[]) {
            prop_assert!(!diagnostics.is_empty());
            prop_assert!(diagnostics.to_string().lines().all(|line| line.starts_with("x.toml:") || line.contains(" error")));
        }
    }
}
