//! Going over to other versions of UDFs while the stream runs.
//!
//! ```text
//!   plan of the new versions ─▶ instances of every worker, made beside the stream ─▶ an epoch begins
//!     worker:  events read so far ┃ barrier ┃ events by the new version           (sources, and ways from them)
//!     shard:   rows before it, its state exported ┃ barrier ┃ rows by the new one (aggregates, and ways on)
//!     keeper:  chunks of the log by the old one ┃ all are at the barrier ┃ by the new one
//!     commit record: which version is behind the barrier
//! ```
//! Always true: the plans are of one shape, so nothing but instances is exchanged, and state stays where it is; every row
//! is made by one version, and the point at which they change is one of each partition; a start after a crash runs what
//! the newest commit record says, and reads again from the positions in that very record.

mod desk;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use super::shard::operator_of;
use crate::config::plan::{Operator as OperatorPlan, Plan, ViewPlan};
use crate::engine::checkpoint::Active;
use crate::engine::front::{Front, FrontPlan, SourceSteps, TransformStep};
use crate::engine::operator::Operator;
use crate::engine::udf::CallError;
use crate::engine::window::plan::AggregateUse;
use crate::time::Micros;
pub(super) use desk::Desk;
use desk::Request;

/// What runs.
#[derive(Clone)]
pub struct Current {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The version of each UDF, by its name.
    pub udfs: BTreeMap<String, Active>,
}

/// Why nothing was gone over to. What ran goes on.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The new versions take, keep or give other columns.
    #[error("{0}")]
    Shape(String),
    /// An instance could not be made.
    #[error("an instance of the new version cannot be made: {0}")]
    Instance(#[from] CallError),
    /// A view has stopped, so that nothing can be committed.
    #[error(
        "view {view} has stopped ({reason}), so no epoch counts until the next start: end this run, and start it with \
         --adopt and the version that is to run"
    )]
    Stopped {
        /// The view.
        view: String,
        /// Why it has.
        reason: String,
    },
    /// The epoch at whose barrier they took over does not count.
    #[error("view {0} stopped before the epoch could count: the next start runs the version before")]
    NotKept(String),
    /// The run is ending.
    #[error("the run is ending")]
    Ending,
}

/// What has been gone over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activated {
    /// The epoch at whose barrier it was.
    pub epoch: u64,
    /// How long it took from the barrier's beginning to the commit.
    pub took: Micros,
}

/// Asks a topology to go over to other versions.
#[derive(Clone)]
pub struct Activator {
    requests: mpsc::Sender<Request>,
    current: watch::Receiver<Current>,
    workers: usize,
}

impl Activator {
    /// One for a topology with so many workers, which runs this.
    pub(super) fn new(current: Current, workers: usize) -> (Self, Desk) {
        let (asked, requests) = mpsc::channel(1);
        let (sender, receiver) = watch::channel(current);
        (Self { requests: asked, current: receiver, workers }, Desk::new(requests, sender))
    }

    /// What runs.
    pub fn current(&self) -> Current {
        self.current.borrow().clone()
    }

    /// Makes all instances of the UDFs that are of another version in this plan. For a thread that may block.
    ///
    /// # Errors
    /// The plan is of another shape, or an instance could not be made.
    pub fn prepare(&self, plan: Arc<Plan>, udfs: BTreeMap<String, Active>) -> Result<Activation, ActivationError> {
        let now = self.current().plan;
        fits(&now, &plan).map_err(ActivationError::Shape)?;
        let parts =
            (0..self.workers).map(|_| Parts::new(&now, &plan, self.workers).map(|parts| Mutex::new(Some(parts))));
        Ok(Activation { parts: parts.collect::<Result<_, _>>()?, over: Over { plan, udfs } })
    }

    /// Goes over to what was prepared, at the next barrier, and waits until that is committed.
    ///
    /// # Errors
    /// The run is ending, or no epoch can be committed.
    pub async fn activate(&self, activation: Activation) -> Result<Activated, ActivationError> {
        let (reply, answer) = oneshot::channel();
        let request = Request { activation, reply };
        self.requests.send(request).await.map_err(|_| ActivationError::Ending)?;
        answer.await.unwrap_or(Err(ActivationError::Ending))
    }
}

/// Whether one plan's instances can take the place of the other's.
fn fits(now: &Plan, then: &Plan) -> Result<(), String> {
    let mut views = now.views.iter().zip(&then.views);
    if let Some((now, then)) = views.find(|(now, then)| now.signatures != then.signatures) {
        let only =
            |a: &ViewPlan, b: &ViewPlan| a.signatures.difference(&b.signatures).cloned().collect::<Vec<_>>().join("; ");
        return Err(format!(
            "view {}: the new version {} where the one that runs {}: a version that takes, keeps or gives other columns \
             cannot take over in a running stream; end the run and start it with the new one",
            then.name,
            only(then, now),
            only(now, then)
        ));
    }
    let names = |plan: &Plan| plan.sources.iter().map(|source| source.identity.clone()).collect::<Vec<_>>();
    if now.stage_ids() != then.stage_ids() || names(now) != names(then) {
        return Err("the new versions change what the views are: end the run and start it with them".into());
    }
    Ok(())
}

/// What all go over to.
pub(super) struct Over {
    pub(super) plan: Arc<Plan>,
    pub(super) udfs: BTreeMap<String, Active>,
}

/// Instances, made and ready.
pub struct Activation {
    /// By worker; once it has gone over, those that it had before.
    parts: Vec<Mutex<Option<Parts>>>,
    over: Over,
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activation").field("udfs", &self.over.udfs).finish_non_exhaustive()
    }
}

impl Activation {
    /// Says at which epoch's barrier those take over that have not before.
    pub(super) fn begins(&mut self, epoch: u64, now: &BTreeMap<String, Active>) {
        for (name, active) in &mut self.over.udfs {
            if now.get(name).is_none_or(|now| now.digest != active.digest) {
                active.epoch = epoch;
            }
        }
    }

    /// What all go over to.
    pub(super) fn over(&self) -> &Over {
        &self.over
    }

    /// Lets a worker work with its parts, and keeps what it leaves in them, so that it need not take them down itself.
    pub(super) fn with(&self, worker: usize, work: impl FnOnce(&mut Parts)) {
        let Some(parts) = self.parts.get(worker) else { return };
        if let Some(parts) = parts.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            work(parts);
        }
    }

    /// Takes down what was gone over from; for a thread that may take its time.
    pub(super) fn take_down(&self) {
        for parts in &self.parts {
            drop(parts.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// One worker's instances of what is of another version.
pub(super) struct Parts {
    sources: Vec<SourceParts>,
    stages: Vec<StageParts>,
}

struct SourceParts {
    steps: Option<SourceSteps>,
    fronts: Vec<Option<Front>>,
}

struct StageParts {
    operator: Option<Operator>,
    fronts: Vec<Option<Front>>,
}

impl Parts {
    fn new(now: &Plan, then: &Plan, workers: usize) -> Result<Self, CallError> {
        let front = |(now, then): (&Arc<FrontPlan>, &Arc<FrontPlan>)| {
            (digests(now) != digests(then)).then(|| Front::new(then.clone(), workers)).transpose()
        };
        let fronts = |now: &[Arc<FrontPlan>], then: &[Arc<FrontPlan>]| -> Result<Vec<_>, CallError> {
            now.iter().zip(then).map(front).collect()
        };
        let mut sources = Vec::new();
        for (now, then) in now.sources.iter().zip(&then.sources) {
            let digest = |step: &TransformStep| step.factory.digest().to_owned();
            let other = now.transforms.iter().map(digest).ne(then.transforms.iter().map(digest));
            let steps = other.then(|| SourceSteps::new(then.transforms.clone())).transpose()?;
            sources.push(SourceParts { steps, fronts: fronts(&now.fronts, &then.fronts)? });
        }
        let mut stages = Vec::new();
        for (now, then) in now.stages.iter().zip(&then.stages) {
            let other = versions(&now.operator) != versions(&then.operator);
            let operator = if other { operator_of(&then.operator)? } else { None };
            stages.push(StageParts { operator, fronts: fronts(&now.fronts, &then.fronts)? });
        }
        Ok(Self { sources, stages })
    }

    /// Exchanges what a source's rows go through.
    pub(super) fn source(&mut self, index: usize, fronts: &mut [Front], steps: impl FnOnce(&mut SourceSteps)) {
        let Some(parts) = self.sources.get_mut(index) else { return };
        exchange(&mut parts.fronts, fronts);
        if let Some(own) = &mut parts.steps {
            steps(own);
        }
    }

    /// Exchanges what a stage's rows go through, and its aggregates.
    pub(super) fn stage(&mut self, index: usize, fronts: &mut [Front], operator: impl FnOnce(&mut Operator)) {
        let Some(parts) = self.stages.get_mut(index) else { return };
        exchange(&mut parts.fronts, fronts);
        if let Some(own) = &mut parts.operator {
            operator(own);
        }
    }
}

fn exchange(own: &mut [Option<Front>], fronts: &mut [Front]) {
    for (own, front) in own.iter_mut().zip(fronts) {
        if let Some(own) = own {
            std::mem::swap(own, front);
        }
    }
}

fn digests(front: &FrontPlan) -> Vec<String> {
    front.transforms.iter().map(|step| step.factory.digest().to_owned()).collect()
}

/// The digests of a stage's aggregates.
fn versions(operator: &OperatorPlan) -> Vec<Option<String>> {
    let digest = |used: &AggregateUse| used.factory.digest().map(ToOwned::to_owned);
    match operator {
        OperatorPlan::Windowed(plan) => plan.grids.iter().flat_map(|grid| &grid.aggregates).map(digest).collect(),
        OperatorPlan::Over(plan) => plan.aggregates.iter().map(|used| digest(&used.used)).collect(),
        OperatorPlan::Session(plan) => plan.aggregates.iter().map(digest).collect(),
        OperatorPlan::Join(_) | OperatorPlan::Latest(_) => Vec::new(),
    }
}
