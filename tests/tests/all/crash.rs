//! Killed at random moments and started again, at times with other shards: what comes out is what comes out of a run that
//! nobody disturbed. No row lacks, none is there twice, in a Kafka topic, a file, the offline log and Redis.
//!
//! Each round brings events, starts the process on the data folder of the round before, and kills it with SIGKILL after a
//! random while: in the middle of starting, of recovering, of reading, of an epoch. Checkpoints come many times a second,
//! so that few moments are outside of one. `MILLRACE_KILLS` says how often each example is killed, instead of the few
//! times of a short run: `make crash`.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_tests::patience::START;
use millrace_tests::process::Millrace;
use millrace_tests::servers::kafka::Kafka;
use millrace_tests::servers::redis::Redis;
use serde_json::json;

use crate::project::{FRAUD_VIEW, Project, repository};

/// How often each example is killed in a short run.
const KILLS: usize = 10;

/// How many events a round brings.
const EVENTS: i64 = 400;

/// The longest that a process lives before it is killed, in milliseconds.
const LONGEST: u64 = 1_500;

/// 2025-01-01T00:00:00Z, in milliseconds.
const NEW_YEAR: i64 = 1_735_689_600_000;

/// Numbers that look drawn, the same for the same seed: SplitMix64.
struct Drawn(u64);

impl Drawn {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// Everything that a run has left, each kind as a multiset.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    topic: BTreeMap<String, usize>,
    file: BTreeMap<String, usize>,
    log: BTreeMap<String, usize>,
    online: BTreeMap<String, usize>,
}

fn multiset(rows: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    rows.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

/// What is there once, and not in the other.
fn difference(left: &BTreeMap<String, usize>, right: &BTreeMap<String, usize>) -> Vec<String> {
    let other = |(row, count): &(&String, &usize)| right.get(*row) != Some(count);
    left.iter().filter(other).take(5).map(|(row, count)| format!("{count} x {row}")).collect()
}

/// An example, with sources of its own and a place of its own for all it writes.
struct Site {
    project: Project,
    view: &'static str,
    topic: String,
    redis: Redis,
    settings: Vec<String>,
}

impl Site {
    fn new(kafka: &Kafka, text: &str, view: &'static str, topic: String, own: &[String]) -> Self {
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
        Self { project: Project::new(text), view, topic, redis, settings }
    }

    fn command(&self, shards: u64) -> Millrace {
        let shards = format!("runtime.shards={shards}");
        self.project.call("run", self.settings.iter().chain([&shards]))
    }

    /// Runs until nothing comes any more.
    fn finish(&self, shards: u64) {
        let finished = self.command(shards).args(["--until-idle", "3s"]).finish(START);
        assert!(finished.status.success(), "{}", finished.stderr);
    }

    fn left(&self, kafka: &Kafka) -> Left {
        let records = kafka.read(&self.topic);
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
        let log = self.project.call("log", &self.settings).args(["--view", self.view]).finish(START);
        assert!(log.status.success(), "{}", log.stderr);
        let file = std::fs::read_to_string(self.project.path("rows.jsonl")).unwrap();
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
        }
    }
}

/// Kills one site again and again while `bring` brings events, and holds it against one that nobody disturbs.
fn survives(name: &str, seed: u64, site: impl Fn(&str) -> Site, mut bring: impl FnMut(usize)) {
    let kills = std::env::var("MILLRACE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut drawn = Drawn(seed);
    let killed = site("killed");
    for round in 0..kills {
        bring(round);
        let mut process = killed.command(1 + drawn.next(3)).start();
        wait(Duration::from_millis(drawn.next(LONGEST)));
        assert!(process.ended().is_none(), "it ended by itself: {}", process.said());
        process.kill();
    }
    bring(kills);
    killed.finish(2);
    let straight = site("straight");
    straight.finish(2);
    compare(name, Kafka::shared(), &killed, &straight);
}

/// What both have left has to be the same.
fn compare(name: &str, kafka: &Kafka, killed: &Site, straight: &Site) {
    let (came, wanted) = (killed.left(kafka), straight.left(kafka));
    assert!(wanted.topic.len() > 100 && !wanted.online.is_empty(), "{name}: there is something to compare");
    for (what, came, wanted) in [
        ("topic", &came.topic, &wanted.topic),
        ("file", &came.file, &wanted.file),
        ("log", &came.log, &wanted.log),
        ("Redis", &came.online, &wanted.online),
    ] {
        let (more, less) = (difference(came, wanted), difference(wanted, came));
        assert!(came == wanted, "{name}, {what}: came {more:#?}, wanted {less:#?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "it is killed after a while, whatever it does")]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}

/// A round's card transactions into the two partitions of a topic: in order, and a card's all in one.
fn bring_cards(kafka: &Kafka, topic: &str, drawn: &mut Drawn, round: usize) {
    let first = i64::try_from(round).unwrap() * EVENTS;
    for partition in 0..2_i64 {
        let lines: Vec<String> = (first..first + EVENTS)
            .map(|number| {
                let card = i64::try_from(drawn.next(20)).unwrap() * 2 + partition;
                let merchant = ["LUIGI'S PIZZA", "FRESH VALLEY MARKET"][usize::try_from(drawn.next(2)).unwrap()];
                let amount = drawn.next(10_000) as f64 / 100.0;
                let at = NEW_YEAR + number * 1_500;
                json!({"tid": number.to_string(), "datetime": at, "cc_num": card, "amount": amount, "merchant": merchant})
                    .to_string()
            })
            .collect();
        kafka.produce(topic, i32::try_from(partition).unwrap(), lines);
    }
}

/// The fraud example over that topic; its closed windows alone, since which provisional rows there are is left open.
fn cards(kafka: &Kafka, topic: &str, name: &str) -> Site {
    let text = std::fs::read_to_string(repository().join("examples/fraud/fraud.toml")).unwrap();
    let own = [
        "STREAM=transactions_kafka".to_owned(),
        format!("sources.transactions_kafka.topic={topic}"),
        format!("views.{FRAUD_VIEW}.emit=close"),
    ];
    Site::new(kafka, &text, FRAUD_VIEW, format!("{topic}-{name}"), &own)
}

#[test]
fn the_fraud_example_survives_kills() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    kafka.create_topic("crash-fraud", 2);
    let mut drawn = Drawn(1);
    let bring = |round| bring_cards(kafka, "crash-fraud", &mut drawn, round);
    survives("fraud", 11, |name| cards(kafka, "crash-fraud", name), bring);
}

/// The broker, or Redis, dies while rows are on their way and comes back; and then the process is killed too.
#[test]
fn it_survives_servers_that_go_away() {
    let mut kafka = Kafka::start();
    if !kafka.is_real() {
        return;
    }
    kafka.create_topic("crash-servers", 2);
    let mut drawn = Drawn(3);
    let mut disturbed = cards(&kafka, "crash-servers", "disturbed");
    for round in 0..4 {
        bring_cards(&kafka, "crash-servers", &mut drawn, round);
        let mut process = disturbed.command(1 + drawn.next(3)).start();
        wait(Duration::from_millis(drawn.next(LONGEST)));
        if round % 2 == 0 {
            kafka.stop();
        } else {
            disturbed.redis.stop();
        }
        wait(Duration::from_millis(drawn.next(LONGEST)));
        if round % 2 == 0 {
            kafka.resume();
        } else {
            disturbed.redis.resume();
        }
        wait(Duration::from_millis(drawn.next(LONGEST)));
        assert!(process.ended().is_none(), "it ended by itself: {}", process.said());
        process.kill();
    }
    bring_cards(&kafka, "crash-servers", &mut drawn, 4);
    disturbed.finish(2);
    let straight = cards(&kafka, "crash-servers", "straight");
    straight.finish(2);
    compare("servers", &kafka, &disturbed, &straight);
}

#[test]
fn the_purchases_example_survives_kills() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    kafka.create_topic("crash-purchases", 2);
    kafka.create_topic("crash-prices", 1);
    let mut drawn = Drawn(2);
    let time = |second: i64| {
        let (minute, hour) = (second / 60, second / 3_600);
        format!("2022-01-{:02} {:02}:{:02}:{:02} +0800", 1 + hour / 24, hour % 24, minute % 60, second % 60)
    };
    let bring = |round: usize| {
        let first = i64::try_from(round).unwrap() * EVENTS;
        for partition in 0..2_u64 {
            let lines: Vec<String> = (first..first + EVENTS)
                .map(|number| {
                    let (user, item) = (drawn.next(10) * 2 + partition, drawn.next(5));
                    json!({"user_id": format!("user_{user}"), "item_id": format!("item_{item}"),
                        "item_count": 1 + drawn.next(4), "timestamp": time(number)})
                    .to_string()
                })
                .collect();
            kafka.produce("crash-purchases", i32::try_from(partition).unwrap(), lines);
        }
        // Whole prices, so that sums do not depend on their order.
        let prices = (first..first + EVENTS).filter(|number| number % 7 == 0).map(|number| {
            json!({"item_id": format!("item_{}", drawn.next(5)), "price": drawn.next(100), "timestamp": time(number)})
                .to_string()
        });
        kafka.produce("crash-prices", 0, prices.collect::<Vec<_>>());
    };
    let text = std::fs::read_to_string(repository().join("examples/purchases/kafka.toml")).unwrap();
    let site = |name: &str| {
        let own = [
            "PRICES_END=false".to_owned(),
            "sources.purchase_events.topic=crash-purchases".to_owned(),
            "sources.item_price_events.topic=crash-prices".to_owned(),
        ];
        Site::new(kafka, &text, "user_online_features", format!("crash-purchases-{name}"), &own)
    };
    survives("purchases", 22, site, bring);
}

/// The same where hardly any state is in memory, and some lies on disk as the process is killed.
#[test]
fn it_survives_kills_with_little_memory() {
    let kafka = Kafka::shared();
    if !kafka.is_real() {
        return;
    }
    kafka.create_topic("crash-paged", 2);
    let mut drawn = Drawn(4);
    let bring = |round| bring_cards(kafka, "crash-paged", &mut drawn, round);
    let site = |name: &str| {
        let mut site = cards(kafka, "crash-paged", name);
        if name == "killed" {
            site.settings.push("runtime.memory=64KiB".to_owned());
        }
        site
    };
    survives("paged", 44, site, bring);
}
