//! An example with sources of its own and a place of its own for all it writes; and what that has left, held against
//! what another one has.

use std::collections::BTreeMap;

use millrace_tests::patience::START;
use millrace_tests::process::Millrace;
use millrace_tests::servers::kafka::Kafka;
use millrace_tests::servers::redis::Redis;

use serde_json::Value;

use crate::project::Project;

/// Everything that a run has left, each kind as a multiset.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    topic: BTreeMap<String, usize>,
    file: BTreeMap<String, usize>,
    log: BTreeMap<String, usize>,
    online: BTreeMap<String, usize>,
    dead: BTreeMap<String, usize>,
}

pub(super) fn multiset(rows: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    rows.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

/// What is there once, and not in the other.
pub(super) fn difference(left: &BTreeMap<String, usize>, right: &BTreeMap<String, usize>) -> Vec<String> {
    let other = |(row, count): &(&String, &usize)| right.get(*row) != Some(count);
    left.iter().filter(other).take(5).map(|(row, count)| format!("{count} x {row}")).collect()
}

/// An example, with sources of its own and a place of its own for all it writes.
pub(super) struct Site {
    pub(super) project: Project,
    view: &'static str,
    topic: String,
    pub(super) redis: Redis,
    pub(super) settings: Vec<String>,
    file: &'static str,
}

impl Site {
    pub(super) fn new(kafka: &Kafka, text: &str, view: &'static str, topic: String, own: &[String]) -> Self {
        kafka.create_topic(&topic, 2);
        let mut redis = Redis::persistent();
        redis.resume();
        let mut settings = own.to_vec();
        settings.extend([
            format!("online.store={}", redis.url()),
            format!("KAFKA={}", kafka.brokers()),
            "checkpoint.interval=60ms".to_owned(),
            "serve.http=127.0.0.1:0".to_owned(),
            "serve.admin=127.0.0.1:0".to_owned(),
            format!(
                "views.{view}.output=[{{ type = \"file\", path = \"rows.jsonl\" }}, {{ type = \"kafka\", brokers = \"{}\", \
                 topic = \"{topic}\" }}]",
                kafka.brokers()
            ),
        ]);
        Self { project: Project::new(text), view, topic, redis, settings, file: "rows.jsonl" }
    }

    /// Has its rows in a file of that name.
    pub(super) fn keep_file_at(&mut self, file: &'static str) {
        for setting in &mut self.settings {
            *setting = setting.replace(&format!("path = \"{}\"", self.file), &format!("path = \"{file}\""));
        }
        self.file = file;
    }

    pub(super) fn command(&self, shards: u64) -> Millrace {
        let shards = format!("runtime.shards={shards}");
        self.project.call("run", self.settings.iter().chain([&shards]))
    }

    /// Runs until nothing comes any more.
    pub(super) fn finish(&self, shards: u64) {
        let finished = self.command(shards).args(["--until-idle", "3s"]).finish(START);
        assert!(finished.status.success(), "{}", finished.stderr);
    }

    fn left(&self, kafka: &Kafka) -> Left {
        let records = kafka.read(&self.topic);
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
        let log = self.project.call("log", &self.settings).args(["--view", self.view]).finish(START);
        assert!(log.status.success(), "{}", log.stderr);
        let dead = self.project.call("dead-letters list", &self.settings).args(["--json"]).finish(START);
        assert!(dead.status.success(), "{}", dead.stderr);
        let dead = dead.stdout.lines().map(|line| {
            let letter: Value = serde_json::from_str(line).unwrap();
            ["reason", "source", "partition", "offset", "payload"].map(|field| letter[field].to_string()).join(" ")
        });
        let file = std::fs::read_to_string(self.project.path(self.file)).unwrap();
        let mut redis = self.redis.connect();
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut redis).unwrap();
        let mut online = Vec::new();
        for key in keys {
            // The one that is no hash counts the processes that there were.
            let fields: Result<BTreeMap<Vec<u8>, Vec<u8>>, _> = redis::cmd("HGETALL").arg(&key).query(&mut redis);
            let Ok(fields) = fields else { continue };
            // The fence names the process that wrote it.
            let own = fields.into_iter().filter(|(name, _)| !name.starts_with(b"_mr:"));
            online.extend(own.map(|(name, value)| format!("{key:?} {name:?} {value:?}")));
        }
        Left {
            topic: multiset(records.into_iter().map(|record| format!("{} {}", text(record.key), text(record.payload)))),
            file: multiset(file.lines().map(ToOwned::to_owned)),
            log: multiset(log.stdout.lines().map(ToOwned::to_owned)),
            online: multiset(online),
            dead: multiset(dead),
        }
    }
}

/// What both have left has to be the same.
pub(super) fn compare(name: &str, kafka: &Kafka, killed: &Site, straight: &Site) {
    let (came, wanted) = (killed.left(kafka), straight.left(kafka));
    assert!(
        wanted.topic.len() > 100 && !wanted.online.is_empty() && !wanted.dead.is_empty(),
        "{name}: there is something to compare"
    );
    for (what, came, wanted) in [
        ("topic", &came.topic, &wanted.topic),
        ("file", &came.file, &wanted.file),
        ("log", &came.log, &wanted.log),
        ("Redis", &came.online, &wanted.online),
        ("dead letters", &came.dead, &wanted.dead),
    ] {
        let (more, less) = (difference(came, wanted), difference(wanted, came));
        assert!(came == wanted, "{name}, {what}: came {more:#?}, wanted {less:#?}");
    }
}
