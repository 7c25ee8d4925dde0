use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::buffer::ScalarBuffer;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};

use super::*;
use crate::error::Blame;
use crate::record::{EVENT_TIMESTAMP, timestamps};

const PARTITIONS: i32 = 3;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(topic: &str) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(topic, PARTITIONS, 1).unwrap();
    cluster
}

fn options(cluster: &Cluster, topic: &str, key: &[&str]) -> Options {
    Options {
        id: format!("v/{topic}"),
        delivery: Delivery::AtLeastOnce,
        brokers: cluster.bootstrap_servers(),
        topic: topic.into(),
        key: key.iter().map(|&name| name.to_owned()).collect(),
        form: RowForm::default(),
        properties: BTreeMap::new(),
    }
}

fn rows(users: Vec<Option<&str>>) -> RecordBatch {
    let numbers: Vec<i64> = (0..).take(users.len()).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("user", Arc::new(StringArray::from(users))),
        (EVENT_TIMESTAMP, timestamps(&ScalarBuffer::from(numbers.clone()))),
        ("n", Arc::new(Int64Array::from(numbers))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// Partition, key and value of everything in the topic.
fn read(cluster: &Cluster, topic: &str, records: usize) -> Vec<(i32, Option<String>, Option<String>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    let mut read: Vec<_> = (0..records)
        .map(|_| {
            let message = consumer.poll(Duration::from_secs(10)).expect("a record").unwrap();
            (message.partition(), text(message.key()), text(message.payload()))
        })
        .collect();
    read.sort();
    read
}

fn send(sink: &mut KafkaSink, batch: &RecordBatch, deleted: Option<Vec<bool>>) {
    sink.write(batch, deleted.map(BooleanArray::from).as_ref()).unwrap();
    sink.drain().unwrap();
    sink.flush().unwrap();
}

#[test]
fn rows_are_keyed_and_what_is_gone_has_no_value() {
    let cluster = cluster("keyed");
    let mut sink = KafkaSink::open(options(&cluster, "keyed", &["user"])).unwrap();
    send(&mut sink, &rows(vec![Some("a \"b\""), Some("c"), None, Some("c")]), Some(vec![false, false, false, true]));
    let read = read(&cluster, "keyed", 4);
    let mut keyed: Vec<_> = read.iter().map(|(_, key, value)| (key.as_deref(), value.as_deref())).collect();
    keyed.sort_unstable();
    let row = |user: &str, n: u8| format!(r#"{{"user":{user},"event_timestamp":"1970-01-01T00:00:00.000Z","n":{n}}}"#);
    let (none, quoted, plain) = (row("null", 2), row(r#""a \"b\"""#, 0), row(r#""c""#, 1));
    let expected =
        [(None, Some(&*none)), (Some("a \"b\""), Some(&*quoted)), (Some("c"), None), (Some("c"), Some(&*plain))];
    assert_eq!(keyed, expected);
    let homes: std::collections::BTreeSet<_> =
        read.iter().filter(|(_, key, _)| key.as_deref() == Some("c")).map(|(home, ..)| *home).collect();
    assert_eq!(homes.len(), 1, "a key keeps its partition");
}

#[test]
fn several_keys_are_an_object_and_none_is_no_key() {
    let cluster = cluster("objects");
    let batch = rows(vec![Some("a")]);
    send(&mut KafkaSink::open(options(&cluster, "objects", &["n", "user"])).unwrap(), &batch, Some(vec![true]));
    send(&mut KafkaSink::open(options(&cluster, "objects", &[])).unwrap(), &batch, Some(vec![true]));
    send(&mut KafkaSink::open(options(&cluster, "objects", &[])).unwrap(), &batch, None);
    let keys: Vec<_> = read(&cluster, "objects", 2).into_iter().map(|(_, key, value)| (key, value.is_some())).collect();
    assert!(keys.contains(&(Some(r#"{"n":0,"user":"a"}"#.to_owned()), false)), "{keys:?}");
    assert!(keys.contains(&(None, true)), "{keys:?}");
}

#[test]
fn more_than_the_producer_has_room_for_goes_out_in_order() {
    let cluster = cluster("many");
    let mut options = options(&cluster, "many", &["user"]);
    options.properties.insert("queue.buffering.max.messages".into(), "100".into());
    // Ours, whatever the project says.
    options.properties.insert("partitioner".into(), "random".into());
    let mut sink = KafkaSink::open(options).unwrap();
    send(&mut sink, &rows(vec![Some("same"); 5_000]), None);
    let read = read(&cluster, "many", 5_000);
    assert!(read.iter().all(|(home, ..)| *home == read[0].0));
    sink.flush().unwrap();
}

#[test]
fn brokers_that_are_away_are_waited_for_and_nothing_is_lost() {
    let cluster = cluster("away");
    let mut sink = KafkaSink::open(options(&cluster, "away", &["user"])).unwrap();
    send(&mut sink, &rows(vec![Some("before")]), None);
    cluster.broker_down(1).unwrap();
    sink.write(&rows(vec![Some("while"); 10]), None).unwrap();
    sink.drain().unwrap();
    let error = sink.flush().unwrap_err();
    assert!(error.retry_helps(), "{error}");
    assert!(error.to_string().contains("10 records are not acknowledged"), "{error}");
    cluster.broker_up(1).unwrap();
    while let Err(error) = sink.flush() {
        assert!(error.retry_helps(), "{error}");
    }
    assert_eq!(read(&cluster, "away", 11).len(), 11);
}

#[test]
fn a_topic_that_is_not_there_is_waited_for() {
    let cluster = MockCluster::new(1).unwrap();
    let mut unknown = options(&cluster, "later", &["user"]);
    // A port that nobody listens on.
    unknown.brokers = "127.0.0.1:9".into();
    let mut sink = KafkaSink::open(unknown).unwrap();
    sink.write(&rows(vec![Some("a")]), None).unwrap();
    let error = sink.drain().unwrap_err();
    assert!(
        error.retry_helps() && error.to_string().starts_with("topic later at 127.0.0.1:9 is not available"),
        "{error}"
    );
}

#[test]
fn properties_that_librdkafka_does_not_know_are_refused() {
    let cluster = MockCluster::new(1).unwrap();
    let mut options = options(&cluster, "t", &[]);
    options.properties.insert("linger".into(), "5".into());
    let error = KafkaSink::open(options).unwrap_err();
    assert!(!error.retry_helps() && error.to_string().contains("linger"), "{error}");
}
