//! One shard of one stage: its operator, how far its inputs have come, and the ways on.
//!
//! Always true: the stages behind hear of a watermark after the rows below it. What is said to them: of a join how far
//! both of its sides have come; of windows and sessions a millisecond less than their watermark, since a row is stamped
//! with its window's last one; of all else the watermark itself. Of a join whose rows wait for a time, how far its left
//! side has come, but no further than the rows that still wait.

mod rounds;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::TopologyError;
use super::activation::Parts;
use super::derived::derived_rows;
use super::message::Output;
use super::ways::{self, Hand};
use crate::config::plan::{Operator as OperatorPlan, Plan, StagePlan};
use crate::engine::front::{Front, FrontPlan};
use crate::engine::guard::GuardError;
use crate::engine::join::{JoinOperator, Wait, right_until};
use crate::engine::latest::LatestPlan;
use crate::engine::operator::{self, Horizon, Operator, Side};
use crate::engine::paging::Paged;
use crate::engine::rows::{KeyedBatch, Rows};
use crate::engine::state::{Part, SHARD, Stateful, last_words};
use crate::engine::udf::CallError;
use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL, CombinedWatermark, Progress, combine};
use crate::engine::window::Outcome;
use crate::engine::window::operator::WindowOperator;
use crate::engine::window::over::OverOperator;
use crate::engine::window::session::SessionOperator;
use crate::record::{DeadLetter, Origin};
use crate::time::{Clock, MILLISECOND, Micros, rfc3339};
pub(super) use rounds::Leisure;
use rounds::Rounds;

/// What does a shard's work.
enum Held {
    /// All of it in memory.
    Whole(Operator),
    /// In slices, of which some are in memory.
    Paged(Box<Paged>),
    /// Nothing is kept.
    Latest(Arc<LatestPlan>),
    /// The view has stopped.
    Gone,
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
    held: Held,
    /// What a join's rows wait for; none of what is no join.
    wait: Option<Wait>,
    /// By how much the stamps of a view's rows precede the watermark that they come with.
    behind: Micros,
    /// How far the other side of a join is known.
    other_until: Micros,
    /// When slices are worked on.
    rounds: Rounds,
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

/// An operator without state, with instances of its aggregates; none where nothing is kept.
pub(super) fn operator_of(plan: &OperatorPlan) -> Result<Option<Operator>, CallError> {
    Ok(match plan {
        OperatorPlan::Join(join) => Some(Operator::Join(Box::new(JoinOperator::new(join.clone())))),
        OperatorPlan::Windowed(plan) => Some(Operator::Windowed(Box::new(WindowOperator::new(plan.clone())?))),
        OperatorPlan::Over(plan) => Some(Operator::Over(Box::new(OverOperator::new(plan.clone())?))),
        OperatorPlan::Session(plan) => Some(Operator::Session(Box::new(SessionOperator::new(plan.clone())?))),
        OperatorPlan::Latest(_) => None,
    })
}

impl Shard {
    pub(super) fn new(
        plan: &Plan,
        stage: &StagePlan,
        worker: usize,
        workers: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TopologyError> {
        let operator = operator_of(&stage.operator)?;
        let wait = operator.as_ref().and_then(Operator::wait);
        let behind = match operator {
            Some(Operator::Windowed(_) | Operator::Session(_)) => MILLISECOND,
            _ => 0,
        };
        let held = match (operator, &stage.operator) {
            (Some(operator), _) => Held::Whole(operator),
            (None, OperatorPlan::Latest(plan)) => Held::Latest(plan.clone()),
            (None, _) => Held::Gone,
        };
        let main = stage.inputs - usize::from(wait.is_some());
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
            held,
            wait,
            behind,
            other_until: BEFORE_ALL,
            rounds: Rounds::default(),
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

    /// Gives out what has changed of the state since the last call, or `whole` all of it; of one that is in slices see
    /// [`Self::export_step`].
    pub(super) fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        if let Held::Whole(operator) = &mut self.held {
            operator.export(whole, out)?;
        }
        self.number(out);
        Ok(())
    }

    /// Goes over to other versions, as stage `index`: rows that come from now on are theirs.
    pub(super) fn go_over(&mut self, index: usize, parts: &mut Parts) {
        parts.stage(index, &mut self.fronts, |other| match &mut self.held {
            Held::Whole(operator) => operator.go_over(other),
            Held::Paged(paged) => paged.go_over(other),
            Held::Latest(_) | Held::Gone => {}
        });
    }

    /// Says of parts that are of one shard which one that is.
    fn number(&self, parts: &mut [Part]) {
        for part in parts.iter_mut().filter(|part| part.is_of_one_shard()) {
            part.number = i64::try_from(self.worker).unwrap_or(i64::MAX);
        }
    }

    /// Takes what the `shards` shards of this stage exported.
    pub(super) fn import(&mut self, parts: &[Part], shards: usize) -> Result<(), GuardError> {
        let own = last_words(parts).filter(|part| self.concerns(part, shards));
        let own = own.map(|part| part.of_shard(self.worker, self.workers));
        let own: Vec<Part> = own.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if let Held::Whole(operator) = &mut self.held { operator.import(&own) } else { Ok(()) }
    }

    /// Whether a part may be about this shard: where there are as many as there were, each has come as far as it had,
    /// else as far as all had.
    fn concerns(&self, part: &Part, shards: usize) -> bool {
        shards != self.workers || part.table != SHARD || usize::try_from(part.number) == Ok(self.worker)
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
        batch: Box<KeyedBatch>,
        positions: Option<&[(Origin, i64)]>,
        work: &mut Work<'_>,
    ) -> Result<(), GuardError> {
        let seen = if matches!(self.held, Held::Paged(_)) { &mut self.rounds.seen } else { &mut self.positions };
        match positions {
            None => batch.lineage.raise(seen),
            Some(positions) => {
                for (origin, next) in positions {
                    let known = seen.entry(*origin).or_insert(*next);
                    *known = (*next).max(*known);
                }
            }
        }
        let side = if usize::from(input) >= self.main { Side::Other } else { Side::Main };
        let now = if matches!(self.wait, Some(Wait::AtMost(_))) { self.clock.now() } else { 0 };
        let mut given = operator::Given::default();
        match &mut self.held {
            Held::Whole(operator) => operator.take(side, &batch, now, &mut given)?,
            Held::Latest(plan) => given.outcome.emissions.push(plan.emit(&batch)?),
            Held::Paged(paged) => {
                paged.take(side, batch, now);
                self.rounds.waits(self.clock.now());
            }
            Held::Gone => {}
        }
        self.hand_on(given, work)
    }

    /// When a row will have waited for long enough; none where no row waits for a time.
    pub(super) fn due(&self) -> Option<Micros> {
        match &self.held {
            Held::Whole(operator) if matches!(self.wait, Some(Wait::AtMost(_))) => operator.deadline(),
            Held::Paged(paged) => paged.deadline(),
            _ => None,
        }
    }

    /// Lets go of rows that have waited for long enough.
    pub(super) fn tick(&mut self, now: Micros, work: &mut Work<'_>) -> Result<(), GuardError> {
        let mut given = operator::Given::default();
        match &mut self.held {
            Held::Whole(operator) => operator.tick(now, &mut given)?,
            Held::Paged(paged) => {
                paged.tick();
                self.rounds.waits(now);
                return Ok(());
            }
            _ => {}
        }
        self.hand_on(given, work)?;
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
        let watermark = self.combined.current();
        if self.wait.is_some() {
            self.other_until = right_until(self.combined.progress(), self.other.progress(), self.other_until);
        }
        let horizon = self.horizon();
        let mut given = operator::Given::default();
        match &mut self.held {
            Held::Whole(operator) if self.wait.is_some() || moved.is_some() => {
                operator.advance(&horizon, &mut given)?;
            }
            Held::Paged(paged) => {
                paged.advance(horizon);
                self.wait_for_a_round(work);
                return Ok(());
            }
            _ => {}
        }
        self.hand_on(given, work)?;
        if moved.is_some() {
            self.show(watermark, work);
        }
        self.say(work);
        Ok(())
    }

    /// How far its inputs have come.
    fn horizon(&self) -> Horizon {
        let watermark = self.combined.current();
        let last_event = (watermark == AFTER_ALL).then_some(self.newest);
        Horizon { watermark, other: self.other_until, last_event }
    }

    /// Shows how far the view has come.
    fn show(&self, watermark: Micros, work: &Work<'_>) {
        if self.wait.is_none() {
            work.hand.board.view_progress(usize::from(self.view), self.worker, watermark, self.newest);
        }
    }

    /// Tells the stages behind, and the keeper where it combines the rows, how far this one has come.
    fn say(&mut self, work: &mut Work<'_>) {
        self.tell(self.come_to(), work);
    }

    /// How far it has come with all that has come in.
    fn come_to(&self) -> Progress {
        let own = match self.combined.progress() {
            Progress::Active(_) => Progress::Active(self.combined.current()),
            other => other,
        };
        match (self.wait, own) {
            (Some(Wait::Watermark), own) => combine([own, self.other.progress()]),
            (Some(Wait::AtMost(_)), own) => match self.least_waiting() {
                Some(least) => Progress::Active(least.min(self.combined.current())),
                None => own,
            },
            (_, Progress::Active(time)) if time > BEFORE_ALL => Progress::Active(time.saturating_sub(self.behind)),
            (_, own) => own,
        }
    }

    fn least_waiting(&self) -> Option<Micros> {
        match &self.held {
            Held::Whole(operator) => operator.least_waiting(),
            Held::Paged(paged) => paged.least_waiting(),
            _ => None,
        }
    }

    fn tell(&mut self, progress: Progress, work: &mut Work<'_>) {
        if (self.fronts.is_empty() && !self.combined_by_service) || progress == self.said {
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

    /// Gives out what came of rows or of a watermark.
    fn hand_on(&mut self, given: operator::Given, work: &mut Work<'_>) -> Result<(), GuardError> {
        self.pass_on(&given.rows, work);
        self.give(given.outcome, work)
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

    /// Gives out a view's rows.
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
