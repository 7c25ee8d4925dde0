//! Apache Kafka: one node in KRaft mode that is broker and controller; or the mock cluster where its jars are not there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fs};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::mock::Mock;
use crate::guarded::{Guarded, Signal};
use crate::{patience, port};

/// How long one call to a broker that answers may take.
const CALL: Duration = Duration::from_secs(30);

/// A small heap and a compiler that starts fast: the broker lives for seconds.
const JAVA: [&str; 4] =
    ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"];

/// Sixteen bytes in base64; each cluster is alone in its folder.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// A broker that can go away and come back, with its data, at the same address.
#[derive(Debug)]
pub struct Kafka(Kind);

#[derive(Debug)]
enum Kind {
    Real(Broker),
    Mock(Mock),
}

#[derive(Debug)]
struct Broker {
    jars: PathBuf,
    folder: TempDir,
    port: u16,
    server: Option<Guarded>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its time, in milliseconds since 1970.
    pub time: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Option<Vec<u8>>,
}

impl Kafka {
    /// Starts a broker for a test that stops it; others use [`Kafka::shared`].
    ///
    /// # Panics
    /// It does not start, with the reason; or its jars are missing although real servers are
    /// [required](super::required).
    pub fn start() -> Self {
        match env::var_os("MILLRACE_KAFKA_JARS") {
            Some(jars) => Self(Kind::Real(Broker::start(jars.into()))),
            None => {
                assert!(!super::required(), "MILLRACE_KAFKA_JARS is not set: run `make test`");
                Self(Kind::Mock(Mock::start()))
            }
        }
    }

    /// The broker that the tests of this process share: give topics names that no other test has.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    pub fn shared() -> &'static Self {
        // Never dropped; the guard ends it with the process.
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Whether it is Apache Kafka, so that transactions can be tested.
    pub fn is_real(&self) -> bool {
        matches!(self.0, Kind::Real(_))
    }

    /// Its address, for `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        match &self.0 {
            Kind::Real(broker) => broker.address(),
            Kind::Mock(mock) => mock.brokers.clone(),
        }
    }

    /// A client's settings with its address.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.brokers());
        client
    }

    /// Makes a topic.
    ///
    /// # Panics
    /// The broker refuses, or the topic does not appear.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        match &self.0 {
            Kind::Mock(mock) => mock.create_topic(topic, partitions),
            Kind::Real(_) => self.create_real_topic(topic, partitions),
        }
        let consumer: BaseConsumer = self.client().create().unwrap_or_else(|error| panic!("{error}"));
        patience::wait_for(&format!("the topic {topic}"), CALL, || {
            let metadata = consumer.fetch_metadata(Some(topic), CALL).ok()?;
            let known = metadata.topics().first()?.partitions();
            // A partition without a leader cannot be written to yet.
            (i32::try_from(known.len()) == Ok(partitions) && known.iter().all(|one| one.leader() >= 0)).then_some(())
        });
    }

    fn create_real_topic(&self, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap_or_else(|error| panic!("{error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap_or_else(|error| panic!("{error}"));
        let options = AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(Some(CALL));
        let topics = [NewTopic::new(topic, partitions, TopicReplication::Fixed(1))];
        let results = runtime.block_on(admin.create_topics(&topics, &options));
        for result in results.unwrap_or_else(|error| panic!("{error}")) {
            result.unwrap_or_else(|(topic, error)| panic!("topic {topic}: {error}"));
        }
    }

    /// Makes partitions of a topic that is there until it has so many; the mock cluster cannot.
    ///
    /// # Panics
    /// The broker does not make them.
    pub fn grow(&self, topic: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap_or_else(|error| panic!("{error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap_or_else(|error| panic!("{error}"));
        let options = AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(Some(CALL));
        let new = [NewPartitions::new(topic, partitions)];
        let made = runtime.block_on(admin.create_partitions(&new, &options)).unwrap_or_else(|error| panic!("{error}"));
        made.into_iter().for_each(|made| drop(made.unwrap_or_else(|error| panic!("{topic}: {error:?}"))));
    }

    /// Writes values without keys to one partition, and waits until the broker has them.
    ///
    /// # Panics
    /// It does not take them.
    pub fn produce<T: AsRef<[u8]>>(&self, topic: &str, partition: i32, payloads: impl IntoIterator<Item = T>) {
        let producer: BaseProducer = self
            .client()
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .unwrap_or_else(|error| panic!("{error}"));
        for payload in payloads {
            let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(payload.as_ref());
            producer.send(record).unwrap_or_else(|(error, _)| panic!("{topic}: {error}"));
        }
        producer.flush(CALL).unwrap_or_else(|error| panic!("{topic}: {error}"));
    }

    /// Everything that is in a topic now, but for transactions that are open or were aborted; each partition in its
    /// order, one after the other.
    ///
    /// # Panics
    /// It cannot be read.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .unwrap_or_else(|error| panic!("{error}"));
        let metadata = consumer.fetch_metadata(Some(topic), CALL).unwrap_or_else(|error| panic!("{topic}: {error}"));
        let known = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
        let mut from = TopicPartitionList::new();
        for partition in known {
            from.add_partition_offset(topic, partition.id(), Offset::Beginning)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        consumer.assign(&from).unwrap_or_else(|error| panic!("{topic}: {error}"));
        let (mut records, mut ended) = (Vec::new(), 0);
        while ended < known.len() {
            match consumer.poll(CALL) {
                Some(Ok(message)) => records.push(Record {
                    partition: message.partition(),
                    offset: message.offset(),
                    time: message.timestamp().to_millis(),
                    key: message.key().map(<[u8]>::to_vec),
                    payload: message.payload().map(<[u8]>::to_vec),
                }),
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => panic!("{topic}: {error}"),
                None => panic!("{topic}: nothing came for {CALL:?}"),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Takes the broker away.
    pub fn stop(&mut self) {
        match &mut self.0 {
            Kind::Real(broker) => broker.stop(),
            Kind::Mock(mock) => mock.stop(),
        }
    }

    /// Brings it back with its data.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    pub fn resume(&mut self) {
        match &mut self.0 {
            Kind::Real(broker) => broker.resume(),
            Kind::Mock(mock) => mock.resume(),
        }
    }
}

impl Broker {
    fn start(jars: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let mut broker = Self { jars, folder, port: port::spare(), server: None };
        broker.format();
        broker.resume();
        broker
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn java(&self, main: &str) -> Command {
        let mut java = Command::new("java");
        java.args(JAVA).arg("-cp").arg(self.jars.join("*")).arg(main).current_dir(self.folder.path());
        java
    }

    /// Writes the settings and an empty log.
    fn format(&self) {
        let settings = settings(self.port, port::spare(), &self.folder.path().join("logs"));
        let path = self.settings();
        fs::write(&path, settings).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut format = self.java("kafka.tools.StorageTool");
        format.args(["format", "-t", CLUSTER, "-c"]).arg(&path);
        let mut format = Guarded::spawn(&format, Some(self.folder.path()));
        let status = format.wait(patience::START);
        assert!(status.success(), "Kafka's StorageTool ended with {status}:\n{}", format.said());
    }

    fn resume(&mut self) {
        let mut command = self.java("kafka.Kafka");
        command.arg(self.settings());
        let mut server = Guarded::spawn(&command, Some(self.folder.path()));
        let mut client = ClientConfig::new();
        // Its tries before the broker listens are nothing to tell.
        client.set("bootstrap.servers", self.address()).set("log_level", "0").set("reconnect.backoff.max.ms", "200");
        let client: BaseConsumer = client.create().unwrap_or_else(|error| panic!("{error}"));
        let answers = patience::poll(patience::START, || {
            if let Some(status) = server.ended() {
                panic!("Kafka ended with {status}:\n{}", server.said());
            }
            let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (!metadata.brokers().is_empty()).then_some(())
        });
        assert!(answers.is_some(), "Kafka does not answer; it said:\n{}", server.said());
        self.server = Some(server);
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::Terminate);
            server.wait(patience::START);
        }
    }
}

/// The node's `server.properties`.
fn settings(port: u16, controller: u16, logs: &Path) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
",
        logs = logs.display()
    )
}
