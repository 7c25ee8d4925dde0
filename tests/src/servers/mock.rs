//! librdkafka's mock cluster, for machines that Kafka cannot be fetched to: it answers over the network as one broker
//! does, but knows no transactions worth the name.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;

/// What the cluster is told, by the thread that holds it.
type Order =
    Box<dyn FnOnce(&MockCluster<'static, rdkafka::producer::DefaultProducerContext>) -> KafkaResult<()> + Send>;

const BROKER: i32 = 1;

/// A cluster of one broker. rdkafka's type cannot leave its thread, so one of its own holds it.
#[derive(Debug)]
pub(super) struct Mock {
    pub(super) brokers: String,
    /// Taken when it ends.
    orders: Option<Sender<(Order, Sender<KafkaResult<()>>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Mock {
    pub(super) fn start() -> Self {
        let (orders, received) = channel();
        let (tell, told) = channel();
        let thread = thread::spawn(move || hold(&tell, &received));
        let brokers = told.recv().expect("the cluster starts");
        Self { brokers, orders: Some(orders), thread: Some(thread) }
    }

    pub(super) fn create_topic(&self, topic: &str, partitions: i32) {
        let topic = topic.to_owned();
        self.order(Box::new(move |cluster| cluster.create_topic(&topic, partitions, 1)));
    }

    pub(super) fn stop(&self) {
        self.order(Box::new(|cluster| cluster.broker_down(BROKER)));
    }

    pub(super) fn resume(&self) {
        self.order(Box::new(|cluster| cluster.broker_up(BROKER)));
    }

    fn order(&self, order: Order) {
        let (tell, told) = channel();
        let orders = self.orders.as_ref().expect("it has not ended");
        orders.send((order, tell)).expect("its thread runs");
        told.recv().expect("its thread answers").unwrap_or_else(|error| panic!("mock cluster: {error}"));
    }
}

fn hold(tell: &Sender<String>, orders: &Receiver<(Order, Sender<KafkaResult<()>>)>) {
    let cluster = MockCluster::new(BROKER).unwrap_or_else(|error| panic!("mock cluster: {error}"));
    tell.send(cluster.bootstrap_servers()).expect("somebody waits");
    while let Ok((order, told)) = orders.recv() {
        told.send(order(&cluster)).expect("somebody waits");
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || thread::panicking(), "the mock cluster panicked");
        }
    }
}
