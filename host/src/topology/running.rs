//! A topology at work: epochs, the look at how far things have come, and the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::activation::{Activator, Desk};
use super::board::Board;
use super::committing::Committed;
use super::keeper::Summary;
use super::message::{Begin, Control};
use super::rebuilding::Rebuilds;
use super::waits::Waits;
use super::{Entrances, TopologyError};
use crate::engine::watermark::AFTER_ALL;
use crate::room::Reserve;
use crate::source::SourceError;
use crate::source::flow::Flow;
use crate::time::{Clock, Micros, SECOND, micros};

/// How long what runs may take to notice that nothing is waited for any more.
const LEAVE: Duration = Duration::from_secs(5);

/// What is waited for no longer than this is not worth a word.
const SHORT: Micros = SECOND;

/// A topology at work.
pub struct Running {
    pub(super) board: Arc<Board>,
    pub(super) flow: Arc<Flow>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) interval: Duration,
    pub(super) stop_timeout: Duration,
    pub(super) until_idle: Option<Duration>,
    pub(super) sources: JoinSet<Result<(), SourceError>>,
    pub(super) stop_sources: watch::Sender<bool>,
    pub(super) controls: Vec<Sender<Control>>,
    pub(super) threads: Vec<JoinHandle<Result<(), TopologyError>>>,
    pub(super) keeper: JoinHandle<Result<Summary, TopologyError>>,
    /// Dropped to end everything at once.
    pub(super) stop: Arc<Mutex<Option<Sender<()>>>>,
    pub(super) entrances: Entrances,
    pub(super) views: Vec<String>,
    pub(super) source_names: Vec<String>,
    pub(super) waiting: watch::Sender<Vec<String>>,
    pub(super) waits: Arc<Waits>,
    pub(super) rebuilds: Arc<Rebuilds>,
    pub(super) rebuilding: Option<JoinHandle<()>>,
    /// The number of the first epoch.
    pub(super) epoch: u64,
    pub(super) committed: watch::Receiver<Committed>,
    pub(super) reserve: Reserve,
    pub(super) activator: Activator,
    pub(super) desk: Desk,
}

impl Running {
    /// How far things have come.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Where events can be handed in.
    pub fn entrances(&self) -> &Entrances {
        &self.entrances
    }

    /// Where other versions of UDFs are activated.
    pub fn activator(&self) -> &Activator {
        &self.activator
    }

    /// Where the online store is rebuilt.
    pub fn rebuilds(&self) -> &Arc<Rebuilds> {
        &self.rebuilds
    }

    /// What is waited for before this is ready, in words: sources that have not been reached, stores and outputs that are
    /// away; and views that have stopped.
    pub fn waiting_for(&self) -> watch::Receiver<Vec<String>> {
        self.waiting.subscribe()
    }

    /// Runs epoch after epoch until the input has ended, `stop` becomes true, or the run is idle; then finishes what was
    /// read and makes it safe.
    ///
    /// # Errors
    /// Something failed for good; or `stop` became true, and what is away kept the end up for too long.
    pub async fn wait(mut self, mut stop: watch::Receiver<bool>) -> Result<Summary, TopologyError> {
        let started = self.clock.now();
        let mut epoch = self.epoch;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        let mut failed = None;
        let mut told_ended = false;
        loop {
            tokio::select! {
                ended = self.sources.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()) | Err(SourceError::Stopped))) => {}
                    Some(Ok(Err(error))) => { failed = Some(error.into()); break; }
                    Some(Err(error)) => { failed = Some(TopologyError::Thread(format!("a source died: {error}"))); break; }
                },
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { break },
                _ = ticks.tick() => {
                    // One epoch at a time: while the last one has not been committed there is none to begin. A worker
                    // that is gone is noticed by the next look.
                    if !self.begin(&mut epoch) { break }
                }
                () = self.desk.listen(), if !self.desk.is_busy() => if !self.begin(&mut epoch) { break },
                _ = self.committed.changed(), if self.desk.is_busy() => {
                    let Committed { epoch: over, counted, .. } = *self.committed.borrow_and_update();
                    self.desk.over(over, counted, self.stopped_view(), self.clock.now());
                    if self.desk.waits() && !self.begin(&mut epoch) { break }
                }
                _ = looks.tick() => {
                    self.report();
                    let died = self.threads.iter().any(JoinHandle::is_finished) || self.keeper.is_finished();
                    if died || self.committed.has_changed().is_err() { break }
                    let quiet = self.clock.now().saturating_sub(self.board.last_event().max(started));
                    // A bounded source may wait to hear that all it read is safe.
                    let ended = (0..self.source_names.len()).all(|source| self.board.source_watermark(source) == Some(AFTER_ALL));
                    if ended && !std::mem::replace(&mut told_ended, ended) {
                        ticks.reset_immediately();
                    }
                    // Partitions that are paused have more to give.
                    if self.until_idle.is_some_and(|idle| quiet >= micros(idle)) && !self.flow.holds() { break }
                }
            }
        }
        self.stop_sources.send_replace(true);
        let (patience, end_all, waits) = (self.stop_timeout, self.stop.clone(), self.waits.clone());
        let (committed, reserve) = (self.committed.clone(), self.reserve.clone());
        let mut ending = std::pin::pin!(self.drain(epoch, failed));
        let out_of_patience = async {
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(patience).await;
        };
        tokio::select! {
            ended = &mut ending => return ended,
            () = out_of_patience => {}
        }
        let mut waited_for = waits.told(0);
        waited_for.extend(reserve.look().into_iter().map(|full| full.to_string()));
        tracing::warn!(after = ?patience, "what is away is no longer waited for");
        drop(end_all.lock().unwrap_or_else(PoisonError::into_inner).take());
        reserve.end();
        let ended = timeout(LEAVE, ending).await;
        let epoch_now = committed.borrow().epoch;
        match ended {
            // It came through in the last moment.
            Ok(Ok(summary)) if epoch_now >= epoch => Ok(summary),
            _ => Err(TopologyError::GaveUp { after: patience, waited_for, epoch: epoch_now }),
        }
    }

    /// Waits for the sources and for the epochs that have begun, then makes the last.
    async fn drain(mut self, epoch: u64, failed: Option<TopologyError>) -> Result<Summary, TopologyError> {
        while self.sources.join_next().await.is_some() {}
        // The last epoch says which stages export everything only once the one before it is over.
        while self.committed.borrow().epoch.saturating_add(1) < epoch && self.committed.changed().await.is_ok() {}
        self.finish(epoch, failed).await
    }

    /// Begins the next epoch, if the one before it is over; false if a worker is gone.
    fn begin(&mut self, epoch: &mut u64) -> bool {
        let whole = {
            let committed = self.committed.borrow();
            if committed.epoch.saturating_add(1) < *epoch {
                return true;
            }
            committed.whole.clone()
        };
        let activation = self.desk.begin(*epoch, self.stopped_view(), self.clock.now());
        let begin = Begin { epoch: *epoch, whole, activation };
        *epoch += 1;
        self.controls.iter().all(|worker| worker.try_send(Control::Begin(begin.clone())).is_ok())
    }

    /// A view that has stopped, and why.
    fn stopped_view(&self) -> Option<(String, String)> {
        let stopped = |(index, name): (usize, &String)| Some((name.clone(), self.board.stopped(index)?.to_owned()));
        self.views.iter().enumerate().find_map(stopped)
    }

    /// Sources have ended: lets the workers finish, and gathers what they say.
    async fn finish(self, epoch: u64, failed: Option<TopologyError>) -> Result<Summary, TopologyError> {
        let begin = Begin { epoch, whole: self.committed.borrow().whole.clone(), activation: None };
        let Self { controls, threads, keeper, rebuilding, stop, reserve, .. } = self;
        let finished = tokio::task::spawn_blocking(move || {
            for control in &controls {
                if control.send(Control::Finish(begin.clone())).is_err() {
                    tracing::debug!("a worker is gone already; it says why when it is joined");
                }
            }
            let end_all = || drop(stop.lock().unwrap_or_else(PoisonError::into_inner).take());
            let mut result = Ok(());
            for thread in threads {
                let ended = thread.join().unwrap_or_else(|_| Err(TopologyError::Thread("a worker panicked".into())));
                if ended.is_err() {
                    // The others would wait for it, and for room on the disk.
                    end_all();
                    reserve.end();
                }
                result = more_telling(result, ended);
            }
            let kept = keeper.join().unwrap_or_else(|_| Err(TopologyError::Thread("the keeper panicked".into())));
            end_all();
            if rebuilding.is_some_and(|rebuilding| rebuilding.join().is_err()) {
                result = more_telling(result, Err(TopologyError::Thread("the rebuilder panicked".into())));
            }
            match kept {
                Ok(summary) => result.map(|()| summary),
                Err(error) => more_telling(result, Err(error)).and(Err(TopologyError::Stopped)),
            }
        });
        let finished = finished.await.map_err(|error| TopologyError::Thread(error.to_string()))?;
        match failed {
            Some(error) => Err(error),
            None => finished,
        }
    }

    /// Shows how far views and sources have come, and what is waited for.
    fn report(&self) {
        let away = self.source_names.iter().enumerate().filter(|(index, _)| !self.board.announced(*index));
        let mut waiting: Vec<String> = away.map(|(_, name)| format!("source {name} has not been reached")).collect();
        for (index, name) in self.views.iter().enumerate() {
            waiting.extend(self.board.stopped(index).map(|reason| format!("view {name} has stopped: {reason}")));
        }
        waiting.extend(self.waits.told(SHORT));
        waiting.extend(self.rebuilds.missing());
        self.waits.record();
        waiting.extend(self.reserve.look().into_iter().map(|full| full.to_string()));
        self.waiting.send_if_modified(|known| {
            let changed = *known != waiting;
            *known = waiting;
            changed
        });
        let now = self.clock.now();
        for (index, name) in self.views.iter().enumerate() {
            let label = [("view", name.clone())];
            if let Some(time) = self.board.view_watermark(index) {
                metrics::gauge!("millrace_view_watermark_seconds", &label).set(seconds(time));
                metrics::gauge!("millrace_view_lag_seconds", &label).set(seconds(lag(time, now)));
            }
            if let Some(time) = self.board.view_event_time(index) {
                metrics::gauge!("millrace_view_event_time_seconds", &label).set(seconds(time));
            }
            metrics::counter!("millrace_view_late_rows_total", &label).absolute(self.board.view_late(index));
            let state = self.board.view_state(index);
            metrics::gauge!("millrace_state_bytes", &label).set(state.bytes as f64);
            metrics::gauge!("millrace_state_keys", &label).set(state.keys as f64);
            metrics::gauge!("millrace_state_cold_slices", &label).set(state.cold as f64);
            metrics::gauge!("millrace_state_spilled_bytes", &label).set(state.away as f64);
            metrics::counter!("millrace_state_loads_total", &label).absolute(state.loads);
        }
        for (index, name) in (0..).zip(&self.source_names) {
            let label = [("source", name.clone())];
            if let Some(time) = self.board.source_watermark(usize::from(index)) {
                metrics::gauge!("millrace_source_watermark_seconds", &label).set(seconds(time));
                metrics::gauge!("millrace_source_lag_seconds", &label).set(seconds(lag(time, now)));
            }
            metrics::gauge!("millrace_paused_partitions", &label).set(self.flow.held(index) as f64);
            let partitions = self.board.partitions(index);
            if let Some(time) = partitions.iter().filter_map(|partition| partition.event_time).max() {
                metrics::gauge!("millrace_source_event_time_seconds", &label).set(seconds(time));
            }
            let late = partitions.iter().map(|partition| partition.late).sum();
            metrics::counter!("millrace_source_late_rows_total", &label).absolute(late);
        }
    }
}

/// How far a watermark is behind the clock; one at the end of time is behind nothing.
fn lag(watermark: Micros, now: Micros) -> Micros {
    if watermark == AFTER_ALL { 0 } else { now.saturating_sub(watermark) }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn seconds(time: Micros) -> f64 {
    time as f64 / crate::time::SECOND as f64
}

/// Of two endings the error that says more: "stopped" only says that another one failed.
fn more_telling(a: Result<(), TopologyError>, b: Result<(), TopologyError>) -> Result<(), TopologyError> {
    match (a, b) {
        (Ok(()), other) | (other, Ok(())) => other,
        (Err(TopologyError::Stopped), other) => other,
        (first, _) => first,
    }
}
