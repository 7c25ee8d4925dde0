//! What every source must do, as tests: [`holds`] runs a source on a [`Stage`] and plays the worker that takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use super::flow::{Flow, SourceTraits};
use super::intake::{Intake, IntakeReceiver, IntakeSender, lanes};
use super::{SourceContext, SourceError};
use crate::engine::lineage::payload;
use crate::record::RawBatch;
use crate::time::{ManualClock, Micros};

/// What the stage's clock shows.
pub(crate) const NOW: Micros = 1_700_000_000_000_000;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A source's surroundings: a worker's lane, a stop, safe positions, a clock.
pub(crate) struct Stage {
    batch_rows: usize,
    sender: IntakeSender,
    receiver: IntakeReceiver,
    pub(crate) flow: Arc<Flow>,
    stop: watch::Sender<bool>,
    pub(crate) safe: watch::Sender<Vec<i64>>,
    running: Mutex<Option<JoinHandle<Result<(), SourceError>>>>,
    seen: Seen,
}

/// What the worker has taken so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) partitions: Option<u32>,
    events: BTreeMap<u32, Vec<(i64, Bytes)>>,
    pub(crate) arrivals: Vec<Micros>,
    pub(crate) batches: usize,
    pub(crate) ended: Vec<u32>,
    /// The lines on which events are, where the source counts them, and the newest heading.
    pub(crate) lines: Vec<u64>,
    pub(crate) heading: Bytes,
    /// The newest batch, whole.
    pub(crate) newest: Option<RawBatch>,
}

impl Seen {
    /// Offset and payload of a partition's events.
    pub(crate) fn events(&self, partition: u32) -> &[(i64, Bytes)] {
        self.events.get(&partition).map_or(&[], Vec::as_slice)
    }

    fn len(&self) -> usize {
        self.events.values().map(Vec::len).sum()
    }

    fn add(&mut self, message: Intake, batch_rows: usize) {
        if let Intake::Partitions { starts, .. } = message {
            assert_eq!(
                self.partitions.replace(u32::try_from(starts.len()).unwrap()),
                None,
                "the partitions are told once"
            );
            return;
        }
        let count = self.partitions.expect("the partitions are told first");
        match message {
            Intake::Data(batch) => {
                assert!(batch.origin.partition < count);
                assert!(!self.ended.contains(&batch.origin.partition), "nothing comes after the end");
                assert!((1..=batch_rows).contains(&batch.len()), "{} events in a batch", batch.len());
                assert_eq!((batch.offsets.len(), batch.arrivals.len()), (batch.len(), batch.len()));
                self.batches += 1;
                let events = self.events.entry(batch.origin.partition).or_default();
                events.extend(batch.offsets.iter().enumerate().map(|(row, offset)| (*offset, payload(&batch, row))));
                self.arrivals.extend(&batch.arrivals);
                self.newest = Some(batch.clone());
                if let Some(beside) = batch.beside {
                    self.lines.extend(beside.lines);
                    self.heading = beside.heading;
                }
            }
            Intake::End(origin) => self.ended.push(origin.partition),
            Intake::Partitions { .. } | Intake::Replay(_) => unreachable!("seen above, or nothing that a source says"),
        }
    }
}

impl Stage {
    pub(crate) fn new(batch_rows: usize) -> Self {
        let (sender, mut receivers) = lanes(1);
        Self {
            batch_rows,
            sender,
            receiver: receivers.remove(0),
            flow: Arc::new(Flow::new(None, vec![SourceTraits::default()], NOW)),
            stop: watch::Sender::new(false),
            safe: watch::Sender::new(Vec::new()),
            running: Mutex::new(None),
            seen: Seen::default(),
        }
    }

    /// What a source on this stage is given.
    pub(crate) fn context(&self) -> SourceContext {
        SourceContext {
            name: "cards".into(),
            index: 0,
            batch_rows: self.batch_rows,
            intake: self.sender.clone(),
            flow: self.flow.clone(),
            stop: self.stop.subscribe(),
            safe: self.safe.subscribe(),
            clock: Arc::new(ManualClock::new(NOW)),
            registry: None,
            journal: None,
        }
    }

    pub(crate) fn run<F>(&self, source: impl FnOnce(SourceContext) -> F)
    where
        F: Future<Output = Result<(), SourceError>> + Send + 'static,
    {
        let running = tokio::spawn(source(self.context()));
        assert!(self.running.lock().unwrap().replace(running).is_none(), "one source a stage");
    }

    /// Takes until `events` events have come in all.
    pub(crate) async fn take(&mut self, events: usize) -> &Seen {
        self.take_until(Duration::ZERO, |seen| seen.len() >= events).await
    }

    /// Takes until `partitions` partitions have ended.
    pub(crate) async fn take_all(&mut self, partitions: usize) -> &Seen {
        self.take_until(Duration::ZERO, |seen| seen.ended.len() >= partitions).await
    }

    /// Takes until the source has said how many partitions it has.
    pub(crate) async fn take_partitions(&mut self) -> &Seen {
        self.take_until(Duration::ZERO, |seen| seen.partitions.is_some()).await
    }

    async fn take_until(&mut self, rest: Duration, enough: impl Fn(&Seen) -> bool) -> &Seen {
        let taking = async {
            while !enough(&self.seen) {
                match self.receiver.channel().try_recv() {
                    Ok(message) => {
                        let message = self.receiver.take(message);
                        self.seen.add(message, self.batch_rows);
                        // Even a rest of nothing takes a timer's millisecond.
                        if rest.is_zero() { yield_now().await } else { sleep(rest).await }
                    }
                    Err(_) => sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let taken = timeout(PATIENCE, taking).await;
        assert!(taken.is_ok(), "{} events and {:?} ended in {PATIENCE:?}", self.seen.len(), self.seen.ended);
        &self.seen
    }

    /// Stops the source, which must end within two seconds.
    pub(crate) async fn stop(&self) -> Result<(), SourceError> {
        self.stop.send_replace(true);
        let running = self.running.lock().unwrap().take().expect("a source runs");
        timeout(Duration::from_secs(2), running).await.expect("the stop is heard").unwrap()
    }

    /// Waits for a source that ends by itself.
    pub(crate) async fn ended(&self) -> Result<(), SourceError> {
        let running = self.running.lock().unwrap().take().expect("a source runs");
        timeout(PATIENCE, running).await.expect("the source ends").unwrap()
    }

    /// Nobody takes any more.
    pub(crate) async fn leave(self) -> Result<(), SourceError> {
        drop(self.receiver);
        let running = self.running.lock().unwrap().take().expect("a source runs");
        timeout(PATIENCE, running).await.expect("the source ends").unwrap()
    }
}

/// Events that are all different.
pub(crate) fn events(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(format!("{{\"n\":{number}}}"))).collect()
}

/// Holds a source to the contract. `start` makes a source on the stage and feeds it these events, as partition 0.
pub(crate) async fn holds(start: impl Fn(&Stage, Vec<Bytes>)) {
    in_order_whatever_the_batch(&start).await;
    a_slow_taker_loses_nothing(&start).await;
    a_stop_is_heard_though_nobody_takes(&start).await;
    takers_that_leave_end_it(&start).await;
}

fn check(seen: &Seen, expected: &[Bytes]) {
    let events = seen.events(0);
    assert_eq!(events.len(), expected.len());
    assert!(events.iter().map(|(_, payload)| payload).eq(expected), "every event once, in order");
    assert!(events.is_sorted_by_key(|(offset, _)| *offset), "positions do not decrease");
}

async fn in_order_whatever_the_batch(start: &impl Fn(&Stage, Vec<Bytes>)) {
    for batch_rows in [1, 7, 1024] {
        let mut stage = Stage::new(batch_rows);
        let expected = events(3_000);
        start(&stage, expected.clone());
        check(stage.take(expected.len()).await, &expected);
        stage.stop().await.unwrap();
    }
}

async fn a_slow_taker_loses_nothing(start: &impl Fn(&Stage, Vec<Bytes>)) {
    let mut stage = Stage::new(1024);
    let expected = events(40_000);
    start(&stage, expected.clone());
    sleep(Duration::from_millis(100)).await;
    let seen = stage.take_until(Duration::from_millis(1), |seen| seen.len() >= 40_000).await;
    check(seen, &expected);
    stage.stop().await.unwrap();
}

async fn a_stop_is_heard_though_nobody_takes(start: &impl Fn(&Stage, Vec<Bytes>)) {
    let stage = Stage::new(1024);
    start(&stage, events(40_000));
    sleep(Duration::from_millis(100)).await;
    stage.stop().await.unwrap();
}

async fn takers_that_leave_end_it(start: &impl Fn(&Stage, Vec<Bytes>)) {
    let mut stage = Stage::new(1024);
    start(&stage, events(40_000));
    stage.take(1).await;
    match stage.leave().await {
        Err(SourceError::Stopped) => {}
        other => panic!("{other:?} though nobody takes"),
    }
}
