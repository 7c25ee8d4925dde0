//! On librdkafka's mock cluster, which keeps no transactions worth the name: the real brokers are in `tests`.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use tokio::time::sleep;

use super::super::contract::{self, NOW, Stage};
use super::super::flow::{Flow, SourceTraits};
use super::super::intake::{Intake, lanes};
use super::*;

const TOPIC: &str = "cards";

struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    brokers: String,
}

impl Broker {
    fn new(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        if partitions > 0 {
            cluster.create_topic(TOPIC, partitions, 1).unwrap();
        }
        Self { brokers: cluster.bootstrap_servers(), cluster }
    }

    fn produce(&self, partition: i32, payloads: &[Option<Bytes>]) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).set("linger.ms", "1").create().unwrap();
        for payload in payloads {
            let record = BaseRecord::<(), [u8]>::to(TOPIC).partition(partition).timestamp(NOW / 1000);
            let record = match payload {
                Some(payload) => record.payload(&payload[..]),
                None => record,
            };
            producer.send(record).unwrap();
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    fn options(&self) -> Options {
        Options::new(&self.brokers, TOPIC, "millrace")
    }

    fn committed(&self, partitions: i32) -> Vec<Option<i64>> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).set("group.id", "millrace").create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(TOPIC, 0, partitions - 1);
        let list = consumer.committed_offsets(list, Duration::from_secs(5)).unwrap();
        list.elements().iter().map(|element| element.offset().to_raw().filter(|&offset| offset >= 0)).collect()
    }
}

fn some(events: &[Bytes]) -> Vec<Option<Bytes>> {
    events.iter().cloned().map(Some).collect()
}

fn offsets(events: &[(i64, Bytes)]) -> Vec<i64> {
    events.iter().map(|(offset, _)| *offset).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_of_sources() {
    let brokers = RefCell::new(Vec::new());
    contract::holds(|stage, events| {
        let broker = Broker::new(1);
        broker.produce(0, &some(&events));
        stage.run(|context| run(broker.options(), context));
        brokers.borrow_mut().push(broker);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounded_partitions_end_where_they_ended_at_the_start() {
    let broker = Broker::new(3);
    broker.produce(0, &some(&contract::events(100)));
    broker.produce(2, &[Some("x".into()), None, Some("z".into())]);
    let mut stage = Stage::new(16);
    let options = Options { bounded: true, ..broker.options() };
    stage.run(|context| run(options, context));
    let seen = stage.take_all(3).await.clone();
    assert_eq!(seen.partitions, Some(3));
    assert_eq!(seen.events(0).len(), 100);
    assert_eq!(seen.events(1), []);
    assert_eq!(seen.events(2), [(0, "x".into()), (1, "".into()), (2, "z".into())], "a tombstone is an empty event");
    assert!(seen.arrivals.iter().all(|&arrival| arrival == NOW), "arrivals are the records' stamps");
    assert_eq!(broker.committed(3), [None; 3], "nothing is safe yet");
    stage.safe.send_replace(vec![100, 0, 3]);
    stage.ended().await.unwrap();
    assert_eq!(broker.committed(3), [Some(100), None, Some(3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_safe_is_committed_and_where_to_begin_is_the_projects_to_say() {
    let broker = Broker::new(1);
    broker.produce(0, &some(&contract::events(10)));
    let mut stage = Stage::new(16);
    stage.run(|context| run(broker.options(), context));
    stage.take(10).await;
    stage.safe.send_replace(vec![4]);
    stage.stop().await.unwrap();
    assert_eq!(broker.committed(1), [Some(4)], "also what became safe just before the stop");

    let mut stage = Stage::new(16);
    stage.run(|context| run(broker.options(), context));
    assert_eq!(offsets(stage.take(10).await.events(0)), (0..10).collect::<Vec<_>>(), "open windows need them all");
    stage.stop().await.unwrap();

    let mut stage = Stage::new(16);
    let options = Options { positions: [(0, 8)].into(), ..broker.options() };
    stage.run(|context| run(options, context));
    assert_eq!(offsets(stage.take(2).await.events(0)), [8, 9], "a checkpoint goes before the start");
    stage.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latest_begins_after_what_is_there() {
    let broker = Broker::new(1);
    broker.produce(0, &some(&contract::events(10)));
    let mut stage = Stage::new(16);
    let options = Options { start: Start::Latest, ..broker.options() };
    stage.run(|context| run(options, context));
    stage.take_partitions().await;
    broker.produce(0, &[Some("new".into())]);
    assert_eq!(stage.take(1).await.events(0), [(10, "new".into())]);
    stage.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_later_is_waited_for_and_found_again() {
    let broker = Broker::new(1);
    broker.cluster.broker_down(-1).unwrap();
    let mut stage = Stage::new(16);
    stage.run(|context| run(broker.options(), context));
    sleep(Duration::from_millis(500)).await;
    broker.cluster.broker_up(-1).unwrap();
    broker.produce(0, &[Some("a".into())]);
    assert_eq!(stage.take(1).await.events(0), [(0, "a".into())]);

    // It goes away and comes back.
    broker.cluster.broker_down(-1).unwrap();
    sleep(Duration::from_millis(500)).await;
    broker.cluster.broker_up(-1).unwrap();
    broker.produce(0, &[Some("b".into())]);
    assert_eq!(stage.take(2).await.events(0), [(0, "a".into()), (1, "b".into())]);
    stage.stop().await.unwrap();

    let stage = Stage::new(16);
    broker.cluster.broker_down(-1).unwrap();
    stage.run(|context| run(broker.options(), context));
    sleep(Duration::from_millis(100)).await;
    stage.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_comes_later_is_waited_for() {
    let broker = Broker::new(0);
    let mut stage = Stage::new(16);
    stage.run(|context| run(broker.options(), context));
    sleep(Duration::from_millis(300)).await;
    broker.cluster.create_topic(TOPIC, 2, 1).unwrap();
    broker.produce(1, &[Some("a".into())]);
    let seen = stage.take(1).await;
    assert_eq!((seen.partitions, seen.events(1)), (Some(2), &[(0, "a".into())][..]));
    stage.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_the_topic_does_not_hold_stops_the_source() {
    let broker = Broker::new(2);
    broker.produce(1, &some(&contract::events(10)));
    let stage = Stage::new(16);
    let options = Options { positions: [(1, 11)].into(), ..broker.options() };
    stage.run(|context| run(options, context));
    let error = stage.ended().await.unwrap_err().to_string();
    assert!(error.contains("partition 1 of cards was read up to offset 11, but the topic holds 0 to 10"), "{error}");
}

#[tokio::test]
async fn properties_that_are_ours_or_unknown_are_refused() {
    for (name, cause) in [("enable.auto.commit", "Millrace's own"), ("fetch.wait", "No such configuration property")] {
        let stage = Stage::new(16);
        let properties = [(name.to_owned(), "true".to_owned())].into();
        let options = Options { properties, ..Options::new("127.0.0.1:1", TOPIC, "millrace") };
        stage.run(|context| run(options, context));
        let error = stage.ended().await.unwrap_err().to_string();
        assert!(error.contains(cause) && error.contains(name), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_worker_is_slow_holds_up_no_other() {
    let broker = Broker::new(2);
    broker.produce(0, &some(&contract::events(40_000)));
    let (intake, receivers) = lanes(2);
    let stop = tokio::sync::watch::Sender::new(false);
    let safe = tokio::sync::watch::Sender::new(Vec::new());
    let context = SourceContext {
        name: "cards".into(),
        index: 0,
        batch_rows: 1024,
        intake,
        flow: Arc::new(Flow::new(None, Vec::new(), NOW)),
        stop: stop.subscribe(),
        safe: safe.subscribe(),
        clock: Arc::new(crate::time::ManualClock::new(NOW)),
        registry: None,
        journal: None,
    };
    let running = tokio::spawn(run(broker.options(), context));
    // Nobody takes from worker 0, whose lane fills up.
    sleep(Duration::from_millis(500)).await;
    broker.produce(1, &[Some("through".into())]);
    let mut through = false;
    for _ in 0..500 {
        while let Ok(message) = receivers[1].channel().try_recv() {
            through |= matches!(receivers[1].take(message), Intake::Data(batch) if batch.payload(0) == "through");
        }
        sleep(Duration::from_millis(10)).await;
        if through {
            break;
        }
    }
    assert!(through, "partition 1 is read although partition 0 waits");
    stop.send_replace(true);
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_headers_go_beside_the_payloads_that_want_them() {
    let broker = Broker::new(1);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &broker.brokers).create().unwrap();
    let header = |key, value: Option<&'static [u8]>| Header { key, value };
    let headers = OwnedHeaders::new()
        .insert(header("trace", Some(b"old")))
        .insert(header("trace", Some(b"new")))
        .insert(header("bytes", Some(b"\xff")))
        .insert(header("none", None));
    let whole = BaseRecord::to(TOPIC).partition(0).key("key").payload("payload").headers(headers);
    producer.send(whole).unwrap();
    producer.send(BaseRecord::<(), str>::to(TOPIC).partition(0).payload("bare")).unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
    let mut stage = Stage::new(2);
    let options = Options { beside: true, bounded: true, ..broker.options() };
    stage.run(|context| run(options, context));
    let seen = stage.take_all(1).await;
    assert_eq!(seen.events(0), [(0, "payload".into()), (1, "bare".into())]);
    let batch = seen.newest.as_ref().unwrap();
    let piece = |span: Option<(u32, u32)>| span.map(|(start, end)| batch.data.slice(start as usize..end as usize));
    let beside = batch.beside.as_ref().unwrap();
    assert_eq!((beside.topic.as_deref(), batch.len()), (Some(TOPIC), 2));
    assert_eq!((piece(beside.keys[0]).as_deref(), beside.keys[1]), (Some(&b"key"[..]), None));
    let headers = piece(beside.headers[0]).unwrap();
    assert_eq!(headers, r#"{"trace":"new","bytes":{"base64":"/w=="},"none":null}"#);
    assert_eq!(beside.headers[1], None);
    stage.stop().await.unwrap();
}

/// Takes what comes of both partitions until they have `counts`, telling that the second is a thousandth as far as the
/// first; whether the first was held at some time, and all offsets.
async fn take_both(
    flow: &Flow,
    receiver: &super::super::intake::IntakeReceiver,
    seen: &mut [Vec<i64>; 2],
    counts: [usize; 2],
) -> bool {
    let mut held = false;
    for _ in 0..3_000 {
        while let Ok(message) = receiver.channel().try_recv() {
            if let Intake::Data(batch) = receiver.take(message) {
                let partition = batch.origin.partition as usize;
                seen[partition].extend(&batch.offsets);
                let last = batch.offsets.last().unwrap() + 1;
                flow.taken(batch.origin, if partition == 0 { last } else { last * 1_000 });
            }
        }
        held |= flow.held(0) > 0;
        if seen[0].len() >= counts[0] && seen[1].len() >= counts[1] {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_ahead_is_paused_and_nothing_of_it_is_lost() {
    let broker = Broker::new(2);
    broker.produce(0, &some(&contract::events(5_000)));
    broker.produce(1, &some(&contract::events(1)));
    let (intake, mut receivers) = lanes(1);
    let receiver = receivers.remove(0);
    let stop = tokio::sync::watch::Sender::new(false);
    let safe = tokio::sync::watch::Sender::new(Vec::new());
    // The clock stands still, so that nobody ever counts as quiet.
    let traits = SourceTraits { bounded: false, kept: true, meets: vec![0] };
    let flow = Arc::new(Flow::new(Some(500), vec![traits], NOW));
    let context = SourceContext {
        name: "cards".into(),
        index: 0,
        batch_rows: 10,
        intake,
        flow: flow.clone(),
        stop: stop.subscribe(),
        safe: safe.subscribe(),
        clock: Arc::new(crate::time::ManualClock::new(NOW)),
        registry: None,
        journal: None,
    };
    let running = tokio::spawn(run(broker.options(), context));
    let mut seen = [Vec::new(), Vec::new()];
    // Partition 1 is at 1,000, so that partition 0 comes to a little beyond 1,500: what is on its way comes on top.
    let mut taken = [1_500, 1];
    for _ in 0..3 {
        take_both(&flow, &receiver, &mut seen, taken).await;
        // Long enough for a pause.
        let more = [seen[0].len() + 1_000, taken[1]];
        for _ in 0..8 {
            tokio::time::timeout(Duration::from_millis(100), take_both(&flow, &receiver, &mut seen, more)).await.ok();
        }
        assert_eq!(flow.held(0), 1, "partition 0 waits for partition 1");
        assert!(seen[0].len() <= taken[0] + 50, "{} events of partition 0", seen[0].len());
        broker.produce(1, &some(&contract::events(1)));
        taken = [taken[0] + 1_000, taken[1] + 1];
    }
    take_both(&flow, &receiver, &mut seen, taken).await;
    // Then nobody holds it any more.
    flow.out(crate::record::Origin { source: 0, partition: 1 });
    broker.produce(0, &[Some("last".into())]);
    take_both(&flow, &receiver, &mut seen, [5_001, 4]).await;
    assert_eq!(seen[0], (0..5_001).collect::<Vec<_>>(), "each event once and in order");
    assert_eq!(seen[1], [0, 1, 2, 3]);
    assert_eq!(flow.held(0), 0);
    stop.send_replace(true);
    running.await.unwrap().unwrap();
}
