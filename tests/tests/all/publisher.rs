//! The publisher of an outbox against Apache Kafka: every committed message once, whatever is left open and by whom.
//!
//! The mock cluster shows aborted messages to everybody, so nothing of this holds there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use millrace::error::Blame;
use millrace::record::{Message, Messages};
use millrace::sink::SinkError;
use millrace::sink::json_lines::RowForm;
use millrace::sink::kafka::{Delivery, Identity, Options, Publisher};
use millrace_tests::patience::{START, wait_for};
use millrace_tests::servers::kafka::Kafka;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// A topic, and the state whose outbox goes there.
struct Output<'a> {
    kafka: &'a Kafka,
    topic: &'static str,
    state: u64,
}

/// The messages of a chunk.
fn chunk(number: u64) -> Messages {
    let mut messages = Messages::default();
    for message in 0..3 {
        let (key, value) = (format!("{message}"), format!("{number}/{message}"));
        messages.push(Message { key: Some(key.as_bytes()), value: Some(value.as_bytes()) });
    }
    messages
}

fn chunks(range: Range<u64>) -> Vec<Messages> {
    range.map(chunk).collect()
}

impl<'a> Output<'a> {
    fn new(kafka: &'a Kafka, topic: &'static str) -> Self {
        kafka.create_topic(topic, 2);
        Self { kafka, topic, state: 77 }
    }

    fn marker_topic(&self) -> String {
        format!("{}-markers", self.topic)
    }

    fn publisher(&self) -> Publisher {
        let options = Options {
            id: format!("{}/0", self.topic),
            brokers: self.kafka.brokers(),
            topic: self.topic.into(),
            key: vec![],
            form: RowForm::default(),
            properties: BTreeMap::new(),
            delivery: Delivery::ExactlyOnce { marker_topic: self.marker_topic() },
        };
        Publisher::open(&options, &Identity { project: "p".into(), state: self.state }).unwrap()
    }

    /// What consumers of committed messages see: each chunk's messages once, and of a key in order.
    #[track_caller]
    fn holds(&self, range: Range<u64>) {
        let records = self.kafka.read(self.topic);
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
        for key in 0..3 {
            let of_key = records.iter().filter(|record| text(&record.key) == key.to_string());
            let values: Vec<_> = of_key.map(|record| text(&record.payload)).collect();
            let wanted: Vec<_> = range.clone().map(|chunk| format!("{chunk}/{key}")).collect();
            assert_eq!(values, wanted);
        }
    }

    /// A process of the same output, in the middle of a transaction.
    fn half_way(&self) -> BaseProducer {
        let id = format!("millrace.p.{}/0", self.topic);
        let producer: BaseProducer = self.kafka.client().set("transactional.id", id).create().unwrap();
        producer.init_transactions(START).unwrap();
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to(self.topic).key("0").payload("lost")).unwrap();
        let key = format!(r#"{{"project":"p","output":"{}/0"}}"#, self.topic);
        let marker = r#"{"state":77,"epoch":9,"next":99}"#;
        producer.send(BaseRecord::to(&self.marker_topic()).key(&key).payload(marker)).unwrap();
        producer.flush(START).unwrap();
        producer
    }
}

/// Calls until the brokers answer.
fn patiently<T>(mut call: impl FnMut() -> Result<T, SinkError>) -> T {
    wait_for("the brokers", START, || match call() {
        Ok(done) => Some(done),
        Err(error) => {
            assert!(error.retry_helps(), "{error}");
            None
        }
    })
}

fn real() -> Option<&'static Kafka> {
    Some(Kafka::shared()).filter(|kafka| kafka.is_real())
}

#[test]
fn a_restart_goes_on_after_what_was_published() {
    let Some(kafka) = real() else { return };
    let output = Output::new(kafka, "publisher-restart");
    let mut first = output.publisher();
    assert_eq!(patiently(|| first.resume(0)), 0);
    first.publish(1, 0..2, &chunks(0..2)).unwrap();
    first.publish(1, 0..2, &chunks(0..2)).unwrap();
    first.publish(2, 2..3, &chunks(2..3)).unwrap();
    output.holds(0..3);
    drop(first);
    let mut second = output.publisher();
    assert_eq!(patiently(|| second.resume(5)), 3);
    second.publish(4, 1..5, &chunks(1..5)).unwrap();
    output.holds(0..5);

    let error = output.publisher().resume(4).unwrap_err();
    assert!(!error.retry_helps() && error.to_string().contains("messages of epoch 4, which this state"), "{error}");
    let anew = Output { state: 78, ..output };
    assert_eq!(patiently(|| anew.publisher().resume(2)), 0, "another data folder begins anew");
}

#[test]
fn what_a_killed_process_left_open_is_never_seen() {
    let Some(kafka) = real() else { return };
    let output = Output::new(kafka, "publisher-killed");
    let mut first = output.publisher();
    patiently(|| first.publish(1, 0..1, &chunks(0..1)));
    let killed = output.half_way();
    let fenced = first.publish(2, 1..2, &chunks(1..2)).unwrap_err();
    assert!(fenced.retry_helps(), "{fenced}");
    let mut second = output.publisher();
    assert_eq!(patiently(|| second.resume(2)), 1);
    second.publish(2, 1..2, &chunks(1..2)).unwrap();
    assert!(killed.commit_transaction(Duration::from_secs(10)).is_err());
    output.holds(0..2);
}

#[test]
fn of_two_processes_the_first_is_refused() {
    let Some(kafka) = real() else { return };
    let output = Output::new(kafka, "publisher-fenced");
    let mut first = output.publisher();
    patiently(|| first.publish(1, 0..1, &chunks(0..1)));
    let anew = Output { state: 78, ..output };
    let mut second = anew.publisher();
    // What the first did not publish, so that the topic can be looked at as one.
    patiently(|| second.publish(1, 1..2, &chunks(1..2)));
    let error = first.publish(2, 1..2, &chunks(1..2)).unwrap_err();
    assert!(error.retry_helps(), "it may have been one of its own: {error}");
    for _ in 0..2 {
        let error = first.publish(2, 1..2, &chunks(1..2)).unwrap_err();
        assert!(!error.retry_helps() && error.to_string().contains("another process has taken over"), "{error}");
    }
    patiently(|| second.publish(2, 2..3, &chunks(2..3)));
    anew.holds(0..3);
}

#[test]
fn an_open_transaction_of_another_output_is_waited_for() {
    let Some(kafka) = real() else { return };
    let output = Output::new(kafka, "publisher-waits");
    let mut first = output.publisher();
    patiently(|| first.publish(1, 0..1, &chunks(0..1)));
    let other: BaseProducer = kafka.client().set("transactional.id", "another").create().unwrap();
    other.init_transactions(START).unwrap();
    other.begin_transaction().unwrap();
    other.send(BaseRecord::to(&output.marker_topic()).key("other").payload("{}")).unwrap();
    other.flush(START).unwrap();
    first.publish(2, 1..2, &chunks(1..2)).unwrap();
    let mut second = output.publisher();
    let error = second.resume(2).unwrap_err();
    assert!(error.retry_helps() && error.to_string().contains("still open"), "{error}");
    other.abort_transaction(START).unwrap();
    assert_eq!(patiently(|| second.resume(2)), 2, "its marker lies behind that transaction");
}

#[test]
fn brokers_that_go_away_get_every_message_once() {
    let mut kafka = Kafka::start();
    if !kafka.is_real() {
        return;
    }
    let output = Output::new(&kafka, "publisher-away");
    let mut publisher = output.publisher();
    patiently(|| publisher.publish(1, 0..1, &chunks(0..1)));
    kafka.stop();
    let error = publisher.publish(2, 1..3, &chunks(1..3)).unwrap_err();
    assert!(error.retry_helps(), "{error}");
    kafka.resume();
    patiently(|| publisher.publish(2, 1..3, &chunks(1..3)));
    patiently(|| publisher.publish(3, 3..4, &chunks(3..4)));
    let output = Output { kafka: &kafka, topic: "publisher-away", state: 77 };
    output.holds(0..4);
}

#[test]
fn a_topic_that_is_not_there_is_waited_for() {
    let Some(kafka) = real() else { return };
    let output = Output { kafka, topic: "publisher-later", state: 77 };
    let mut publisher = output.publisher();
    let mut missing = || publisher.publish(1, 0..1, &chunks(0..1));
    if let Err(error) = missing() {
        // Else these brokers make topics by themselves.
        assert!(error.retry_helps() && error.to_string().contains("there is no such topic"), "{error}");
        kafka.create_topic(output.topic, 2);
    }
    patiently(missing);
    output.holds(0..1);
}
