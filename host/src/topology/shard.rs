//! One shard of one stage: its operator, how far its inputs have come, and the ways on.
//!
//! Always true: the stages behind hear of a watermark after the rows below it. What is said to them: of a join how far
//! both of its sides have come; of windows and sessions a millisecond less than their watermark, since a row is stamped
//! with its window's last one; of all else the watermark itself. Of a join whose rows wait for a time, how far its left
//! side has come, but no further than the rows that still wait.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::TopologyError;
use super::derived::derived_rows;
use super::message::Output;
use super::ways::{self, Hand};
use crate::config::plan::{Operator as OperatorPlan, Plan, StagePlan};
use crate::engine::front::{Front, FrontPlan};
use crate::engine::guard::GuardError;
use crate::engine::join::{JoinOperator, Wait};
use crate::engine::latest::LatestPlan;
use crate::engine::rows::{KeyedBatch, Rows};
use crate::engine::state::{Part, SHARD, Stateful};
use crate::engine::udf::CallError;
use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL, CombinedWatermark, Progress, combine};
use crate::engine::window::Outcome;
use crate::engine::window::operator::WindowOperator;
use crate::engine::window::over::OverOperator;
use crate::engine::window::session::SessionOperator;
use crate::record::{DeadLetter, Origin};
use crate::time::{Clock, MILLISECOND, Micros, rfc3339};

enum Operator {
    Join(Box<JoinOperator>, Wait),
    Windowed(Box<WindowOperator>),
    Over(Box<OverOperator>),
    Session(Box<SessionOperator>),
    Latest(Arc<LatestPlan>),
}

impl Operator {
    /// What outlives a process; none where nothing is kept.
    fn state(&mut self) -> Option<&mut dyn Stateful> {
        match self {
            Self::Join(join, _) => Some(join.as_mut()),
            Self::Windowed(operator) => Some(operator.as_mut()),
            Self::Over(operator) => Some(operator.as_mut()),
            Self::Session(operator) => Some(operator.as_mut()),
            Self::Latest(_) => None,
        }
    }
}

/// What a shard works with.
pub(super) struct Work<'a> {
    /// For the stages behind.
    pub(super) hand: Hand<'a>,
    /// For the keeper.
    pub(super) outputs: &'a mut Vec<Output>,
}

/// One shard of one stage.
pub(super) struct Shard {
    name: String,
    view: u16,
    worker: usize,
    workers: usize,
    /// The number that rows of this view have as a source.
    source: u16,
    keys: usize,
    lane: usize,
    operator: Operator,
    /// For each input the source that it comes from; none where a stage gives it.
    sources: Vec<Option<usize>>,
    /// How many inputs there are on the main side: all but the last of a join.
    main: usize,
    combined: CombinedWatermark,
    /// The other side of a join.
    other: CombinedWatermark,
    newest: Micros,
    /// For each partition the offset after the last event that has come in here.
    positions: BTreeMap<Origin, i64>,
    fronts: Vec<Front>,
    said: Progress,
    /// The present, for rows that wait for a time.
    clock: Arc<dyn Clock>,
    /// Whether a service combines the view's rows: then the keeper hears of the progress too.
    combined_by_service: bool,
}

impl Shard {
    pub(super) fn new(
        plan: &Plan,
        stage: &StagePlan,
        worker: usize,
        workers: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TopologyError> {
        let operator = match &stage.operator {
            OperatorPlan::Join(join) => Operator::Join(Box::new(JoinOperator::new(join.clone())), join.wait),
            OperatorPlan::Windowed(plan) => Operator::Windowed(Box::new(WindowOperator::new(plan.clone())?)),
            OperatorPlan::Over(plan) => Operator::Over(Box::new(OverOperator::new(plan.clone())?)),
            OperatorPlan::Session(plan) => Operator::Session(Box::new(SessionOperator::new(plan.clone())?)),
            OperatorPlan::Latest(plan) => Operator::Latest(plan.clone()),
        };
        let main = stage.inputs - usize::from(matches!(operator, Operator::Join(..)));
        let own = plan.stages.iter().position(|known| std::ptr::eq(known, stage));
        let source_of = |input: usize| {
            let leads_here =
                |front: &Arc<FrontPlan>| Some(usize::from(front.stage)) == own && usize::from(front.input) == input;
            plan.sources.iter().position(|source| source.fronts.iter().any(leads_here))
        };
        let sources: Vec<Option<usize>> = (0..stage.inputs).map(source_of).collect();
        // The shards of a stage all hear the same; the workers' partitions of a source have nothing in common.
        let of_stage = |input: &usize| sources.get(*input).is_some_and(Option::is_none);
        let echoes = |inputs: Range<usize>| inputs.filter(of_stage).map(|input| input * workers..(input + 1) * workers);
        let combined = CombinedWatermark::new(main * workers).with_echoes(echoes(0..main));
        let other = CombinedWatermark::new(workers).with_echoes(echoes(main..stage.inputs).map(|_| 0..workers));
        let view = plan.views.get(usize::from(stage.view));
        let source = plan.sources.len() + usize::from(stage.view);
        Ok(Self {
            name: view.map(|view| view.name.clone()).unwrap_or_default(),
            view: stage.view,
            worker,
            workers,
            source: u16::try_from(source).unwrap_or(u16::MAX),
            keys: view.map_or(0, |view| view.keys),
            lane: stage.depth,
            operator,
            sources,
            main,
            combined,
            other,
            newest: BEFORE_ALL,
            positions: BTreeMap::new(),
            fronts: stage.fronts.iter().map(|front| Front::new(front.clone(), workers)).collect::<Result<_, _>>()?,
            said: Progress::Active(BEFORE_ALL),
            clock,
            combined_by_service: !matches!(stage.operator, OperatorPlan::Join(_))
                && plan.services.iter().any(|service| service.views.contains(&stage.view)),
        })
    }

    /// Gives out what has changed of the state since the last call, or `whole` all of it.
    pub(super) fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        self.operator.state().map_or(Ok(()), |state| state.export(whole, out))?;
        for part in out.iter_mut().filter(|part| part.is_of_one_shard()) {
            part.number = i64::try_from(self.worker).unwrap_or(i64::MAX);
        }
        Ok(())
    }

    /// Takes what the `shards` shards of this stage exported.
    pub(super) fn import(&mut self, parts: &[Part], shards: usize) -> Result<(), GuardError> {
        let (worker, workers) = (self.worker, self.workers);
        // As many as there were: each then has come as far as it had, else as far as all had.
        let other =
            |part: &&Part| shards == workers && part.table == SHARD && usize::try_from(part.number) != Ok(worker);
        let own = parts.iter().filter(|part| !other(part)).map(|part| part.of_shard(worker, workers));
        let own: Vec<Part> = own.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        self.operator.state().map_or(Ok(()), |state| state.import(&own))
    }

    /// How far what came in before this start had been read.
    pub(super) fn had_read(&mut self, positions: impl Iterator<Item = (Origin, i64)>) {
        self.positions.extend(positions);
    }

    /// The lane that what it gives goes out on.
    pub(super) fn lane(&self) -> usize {
        self.lane
    }

    /// Takes rows for one of the inputs.
    pub(super) fn fold(
        &mut self,
        input: u16,
        batch: &KeyedBatch,
        positions: Option<&[(Origin, i64)]>,
        work: &mut Work<'_>,
    ) -> Result<(), GuardError> {
        match positions {
            None => batch.lineage.raise(&mut self.positions),
            Some(positions) => {
                for (origin, next) in positions {
                    let known = self.positions.entry(*origin).or_insert(*next);
                    *known = (*next).max(*known);
                }
            }
        }
        let mut out = Outcome::default();
        let mut rows = Vec::new();
        match &mut self.operator {
            Operator::Join(join, _) if usize::from(input) >= self.main => join.take_right(batch),
            Operator::Join(join, wait) => {
                let now = if matches!(wait, Wait::AtMost(_)) { self.clock.now() } else { 0 };
                join.take_left(batch, now, &mut rows)?;
            }
            Operator::Windowed(operator) => operator.update(batch, &mut out)?,
            Operator::Over(operator) => operator.update(batch, &mut out)?,
            Operator::Session(operator) => operator.update(batch, &mut out)?,
            Operator::Latest(plan) => out.emissions.push(plan.emit(batch)?),
        }
        self.pass_on(&rows, work);
        self.give(out, work)
    }

    /// When a row will have waited for long enough; none where no row waits for a time.
    pub(super) fn due(&self) -> Option<Micros> {
        match &self.operator {
            Operator::Join(join, Wait::AtMost(_)) => join.due(),
            _ => None,
        }
    }

    /// Lets go of rows that have waited for long enough.
    pub(super) fn tick(&mut self, now: Micros, work: &mut Work<'_>) -> Result<(), GuardError> {
        let mut rows = Vec::new();
        if let Operator::Join(join, _) = &mut self.operator {
            join.tick(now, &mut rows)?;
        }
        self.pass_on(&rows, work);
        self.say(work);
        Ok(())
    }

    /// Takes how far one sender has come with one of the inputs.
    pub(super) fn progress(
        &mut self,
        input: u16,
        sender: usize,
        progress: Progress,
        newest: Micros,
        work: &mut Work<'_>,
    ) -> Result<(), GuardError> {
        let input = usize::from(input);
        let (sources, workers) = (&self.sources, self.workers.max(1));
        let awake = |input: usize, sender: usize| {
            let source = sources.get(input).copied().flatten();
            source.is_some_and(|source| work.hand.board.is_awake(source, sender))
        };
        let moved = if input >= self.main {
            self.other.update_knowing(sender, progress, |sender| awake(input, sender))
        } else {
            self.newest = self.newest.max(newest);
            let at = input * workers + sender;
            self.combined.update_knowing(at, progress, |at| awake(at / workers, at % workers))
        };
        let mut out = Outcome::default();
        let mut rows = Vec::new();
        let watermark = self.combined.current();
        let last = (watermark == AFTER_ALL).then_some(self.newest);
        match &mut self.operator {
            Operator::Join(join, _) => {
                let (left, right) = (self.combined.progress(), self.other.progress());
                join.advance(left, watermark, right, &mut rows)?;
            }
            _ if moved.is_none() => {}
            Operator::Windowed(operator) => operator.advance(watermark, last, &mut out)?,
            Operator::Over(operator) => operator.advance(watermark, &mut out)?,
            Operator::Session(operator) => operator.advance(watermark, &mut out)?,
            Operator::Latest(_) => {}
        }
        self.pass_on(&rows, work);
        self.give(out, work)?;
        if moved.is_some() && !matches!(self.operator, Operator::Join(..)) {
            work.hand.board.view_progress(usize::from(self.view), self.worker, watermark, self.newest);
        }
        self.say(work);
        Ok(())
    }

    /// Tells the stages behind, and the keeper where it combines the rows, how far this one has come.
    fn say(&mut self, work: &mut Work<'_>) {
        if self.fronts.is_empty() && !self.combined_by_service {
            return;
        }
        let own = match self.combined.progress() {
            Progress::Active(_) => Progress::Active(self.combined.current()),
            other => other,
        };
        let progress = match (&self.operator, own) {
            (Operator::Join(_, Wait::Watermark), own) => combine([own, self.other.progress()]),
            (Operator::Join(join, Wait::AtMost(_)), own) => match join.least_waiting() {
                Some(least) => Progress::Active(least.min(self.combined.current())),
                None => own,
            },
            (Operator::Windowed(_) | Operator::Session(_), Progress::Active(time)) if time > BEFORE_ALL => {
                Progress::Active(time.saturating_sub(MILLISECOND))
            }
            (_, own) => own,
        };
        if progress == self.said {
            return;
        }
        self.said = progress;
        if self.combined_by_service {
            work.outputs.push(Output::Progress { view: self.view, shard: self.worker, progress });
        }
        for front in &self.fronts {
            ways::tell(front.plan(), self.workers, progress, self.newest, work.hand.given);
        }
    }

    /// Sends a join's rows on.
    fn pass_on(&mut self, rows: &[Rows], work: &mut Work<'_>) {
        if rows.is_empty() {
            return;
        }
        let positions = self.positions();
        for rows in rows {
            for front in &mut self.fronts {
                ways::send(front, rows, Some(&positions), &mut work.hand);
            }
        }
    }

    fn positions(&self) -> Arc<[(Origin, i64)]> {
        self.positions.iter().map(|(origin, offset)| (*origin, *offset)).collect()
    }

    /// Gives out what came of rows or of a watermark.
    fn give(&mut self, out: Outcome, work: &mut Work<'_>) -> Result<(), GuardError> {
        self.report(&out);
        let letter = |refused: crate::engine::window::Refused| DeadLetter {
            view: Some(self.view),
            udf: refused.udf,
            ..refused.trace.dead_letter(refused.reason, refused.detail)
        };
        work.hand.given.dead.extend(out.refused.into_iter().map(letter));
        if out.emissions.is_empty() {
            return Ok(());
        }
        let positions = self.positions();
        for emission in out.emissions {
            for front in &mut self.fronts {
                if let Some(rows) = derived_rows(&emission, front.plan(), self.source, self.keys)? {
                    ways::send(front, &rows, Some(&positions), &mut work.hand);
                }
            }
            work.outputs.push(Output::Rows {
                view: self.view,
                emission: Box::new(emission),
                positions: positions.clone(),
            });
        }
        Ok(())
    }

    /// Says which rows and values user code, or an expression, would not give.
    fn report(&self, out: &Outcome) {
        for spoiled in &out.spoiled {
            metrics::counter!("millrace_spoiled_rows_total", "view" => self.name.clone()).increment(1);
            let key = String::from_utf8_lossy(&spoiled.key).into_owned();
            let until = rfc3339(spoiled.until);
            tracing::error!(view = self.name, key, until, "no row for this key and window: {}", spoiled.detail);
        }
        for (feature, rows, detail) in &out.failed {
            metrics::counter!("millrace_failed_features_total", "view" => self.name.clone(), "feature" => feature.clone())
                .increment(*rows as u64);
            tracing::warn!(view = self.name, feature, rows, "the feature is null: {detail}");
        }
    }
}
