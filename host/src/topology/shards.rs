//! A worker's stateful half: the shards that it owns, one of each view, from keyed rows to feature rows.
//!
//! Always true: a shard's watermark is the least of what the workers say of their partitions; what a barrier follows is
//! given out before the shard says that it is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::board::Board;
use super::message::{Message, Output};
use super::{TopologyError, dead, stop_view};
use crate::config::plan::{Plan, ShardPlan, ViewPlan};
use crate::engine::emission::Emission;
use crate::engine::guard::GuardError;
use crate::engine::ingest::dead_letter;
use crate::engine::keyed::KeyedBatch;
use crate::engine::latest::LatestPlan;
use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL, CombinedWatermark, Progress};
use crate::engine::window::operator::{Refused, WindowOperator};
use crate::engine::window::plan::WindowPlan;
use crate::record::{DeadLetter, Origin};
use crate::time::{Micros, rfc3339};

enum Operator {
    Windowed(Arc<WindowPlan>, Box<WindowOperator>),
    Latest(Arc<LatestPlan>),
}

struct Shard {
    name: String,
    operator: Operator,
    combined: CombinedWatermark,
    newest: Micros,
    positions: BTreeMap<Origin, i64>,
    /// Whether a service combines the view's rows, and what the keeper was last told of the shard's progress.
    combined_by_service: bool,
    told: Option<Progress>,
}

/// The shards of one worker.
pub(super) struct Shards {
    worker: usize,
    views: Vec<Shard>,
    /// How many senders have sent each epoch's barrier.
    barriers: BTreeMap<u64, usize>,
    senders: usize,
    board: Arc<Board>,
}

impl Shards {
    /// The stateful half of worker `worker`, fed by `senders` workers.
    pub(super) fn new(plan: &Plan, worker: usize, senders: usize, board: Arc<Board>) -> Result<Self, TopologyError> {
        let open = |(index, view): (u16, &ViewPlan)| {
            let operator = match &view.shard {
                ShardPlan::Windowed(plan) => {
                    Operator::Windowed(plan.clone(), Box::new(WindowOperator::new(plan.clone())?))
                }
                ShardPlan::Latest(plan) => Operator::Latest(plan.clone()),
            };
            let combined = CombinedWatermark::new(senders);
            Ok(Shard {
                name: view.name.clone(),
                operator,
                combined,
                newest: BEFORE_ALL,
                positions: BTreeMap::new(),
                combined_by_service: plan.services.iter().any(|service| service.views.contains(&index)),
                told: None,
            })
        };
        let views = (0..).zip(&plan.views).map(open).collect::<Result<_, TopologyError>>()?;
        Ok(Self { worker, views, barriers: BTreeMap::new(), senders, board })
    }

    /// Takes a message of one sender; what comes out is added to `outputs`.
    pub(super) fn take(&mut self, sender: usize, message: Message, outputs: &mut Vec<Output>) {
        match message {
            Message::Data { view, batch } => {
                let Some(shard) = self.views.get_mut(usize::from(view)) else { return };
                if self.board.stopped(usize::from(view)).is_some() {
                    return;
                }
                let mut emissions = Vec::new();
                let refused = match shard.fold(&batch, &mut emissions) {
                    Ok(refused) => refused,
                    Err(error) => return stop_view(&self.board, &shard.name, view, &error),
                };
                shard.give(view, emissions, outputs);
                if !refused.is_empty() {
                    let letters: Vec<_> =
                        refused.into_iter().map(|refused| shard.dead_letter(view, &batch, refused)).collect();
                    dead::count(&letters);
                    outputs.push(Output::Dead(letters));
                }
            }
            Message::Progress { view, progress, newest } => {
                let Some(shard) = self.views.get_mut(usize::from(view)) else { return };
                shard.newest = shard.newest.max(newest);
                let moved = shard.combined.update(sender, progress);
                if self.board.stopped(usize::from(view)).is_some() {
                    return;
                }
                if let Some(watermark) = moved {
                    let mut emissions = Vec::new();
                    match shard.advance(watermark, &mut emissions) {
                        Ok(()) => {
                            shard.give(view, emissions, outputs);
                            self.board.view_watermark_is(usize::from(view), self.worker, watermark);
                        }
                        Err(error) => return stop_view(&self.board, &shard.name, view, &error),
                    }
                }
                outputs.extend(shard.tell().map(|progress| Output::Progress { view, shard: self.worker, progress }));
            }
            Message::Barrier(epoch) => {
                let arrived = self.barriers.entry(epoch).or_insert(0);
                *arrived += 1;
                if *arrived == self.senders {
                    self.barriers.remove(&epoch);
                    outputs.push(Output::ShardDone { epoch });
                }
            }
        }
    }
}

impl Shard {
    fn fold(&mut self, batch: &KeyedBatch, out: &mut Vec<Emission>) -> Result<Vec<Refused>, GuardError> {
        let next = batch.offsets.last().map_or(0, |last| last.saturating_add(1));
        let position = self.positions.entry(batch.origin).or_insert(next);
        *position = next.max(*position);
        let mut refused = Vec::new();
        match &mut self.operator {
            Operator::Windowed(_, operator) => operator.update(batch, out, &mut refused)?,
            Operator::Latest(plan) => out.push(plan.emit(batch)?),
        }
        Ok(refused)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Emission>) -> Result<(), GuardError> {
        match &mut self.operator {
            Operator::Windowed(_, operator) => {
                let last = (watermark == AFTER_ALL).then_some(self.newest);
                operator.advance(watermark, last, out)
            }
            Operator::Latest(_) => Ok(()),
        }
    }

    /// What the keeper is to hear of the shard's progress.
    fn tell(&mut self) -> Option<Progress> {
        let progress = self.combined_by_service.then(|| self.combined.progress())?;
        let news = self.told != Some(progress);
        self.told = Some(progress);
        news.then_some(progress)
    }

    fn give(&mut self, view: u16, emissions: Vec<Emission>, outputs: &mut Vec<Output>) {
        self.report_spoiled();
        let positions = || self.positions.iter().map(|(origin, offset)| (*origin, *offset)).collect();
        outputs.extend(emissions.into_iter().map(|emission| Output::Rows {
            view,
            emission: Box::new(emission),
            positions: positions(),
        }));
    }

    fn dead_letter(&self, view: u16, batch: &KeyedBatch, refused: Refused) -> DeadLetter {
        let Refused { refusal, aggregate } = refused;
        let event = batch.events.get(refusal.row as usize).copied().unwrap_or(u32::MAX);
        let udf = match &self.operator {
            Operator::Windowed(plan, _) => plan.aggregates.get(aggregate).and_then(|used| used.factory.digest()),
            Operator::Latest(_) => None,
        };
        DeadLetter {
            view: Some(view),
            udf: udf.map(ToOwned::to_owned),
            ..dead_letter(&batch.raw, event, refusal.reason, refusal.detail)
        }
    }

    /// Says which rows user code would not give.
    fn report_spoiled(&mut self) {
        let Operator::Windowed(_, operator) = &mut self.operator else { return };
        for spoiled in operator.take_spoiled() {
            metrics::counter!("millrace_spoiled_rows_total", "view" => self.name.clone()).increment(1);
            let key = String::from_utf8_lossy(&spoiled.key).into_owned();
            let until = rfc3339(spoiled.until);
            tracing::error!(view = self.name, key, until, "no row for this key and window: {}", spoiled.detail);
        }
    }
}
