//! The plan: a project whose names are looked up, whose SQL is compiled and whose UDFs are loaded and bound; what the
//! topology runs.

mod components;
mod derived;
mod features;
mod file_columns;
mod format;
mod join;
mod meeting;
mod order;
mod outputs;
mod services;
mod shard;
mod source;
mod state;
mod steps;
mod upstream;
mod version;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::diagnostics::{Diagnostics, SourceText};
use super::project;
use crate::engine::aggregate::builtin::Ties;
use crate::engine::combine::CombinePlan;
use crate::engine::decode::{Decoding, EventTime};
use crate::engine::dedup::DedupPlan;
use crate::engine::front::{FrontPlan, TransformStep};
use crate::engine::join::JoinPlan;
use crate::engine::latest::LatestPlan;
use crate::engine::verdict::Verdict;
use crate::engine::window::over::OverPlan;
use crate::engine::window::plan::WindowPlan;
use crate::engine::window::session::SessionPlan;
use crate::engine::window::spec::WindowSpec;
use crate::sink::json_lines::RowForm;
use crate::sink::kafka;
use crate::source::registry;
use crate::store::online::OnlineView;
use crate::time::Micros;
use components::Components;
use view::ViewPlanner;

/// A project, ready to run.
pub struct Plan {
    /// The project's name.
    pub name: String,
    /// The sources that something reads, by index.
    pub sources: Vec<SourcePlan>,
    /// What is split by key: joins and views, by index; each after what it reads.
    pub stages: Vec<StagePlan>,
    /// The views, by index, in the order of the project file.
    pub views: Vec<ViewPlan>,
    /// The services whose combined rows go somewhere.
    pub services: Vec<ServicePlan>,
    /// The digest of each UDF's component, by its name.
    pub udfs: BTreeMap<String, String>,
}

impl Plan {
    /// How far the longest way through stages goes.
    pub fn depth(&self) -> usize {
        self.stages.iter().map(|stage| stage.depth).max().unwrap_or(0)
    }

    /// The name of a source, or of a view that rows come from: sources are numbered first.
    pub fn origin_name(&self, source: u16) -> &str {
        let index = usize::from(source);
        let view = || self.views.get(index.checked_sub(self.sources.len())?).map(|view| view.name.as_str());
        self.sources.get(index).map(|source| source.name.as_str()).or_else(view).unwrap_or("")
    }
}

/// A source, resolved.
#[derive(Clone)]
pub struct SourcePlan {
    /// Its name.
    pub name: String,
    /// What is read: [`project::SourceKind::identity`].
    pub identity: String,
    /// Where its events come from.
    pub kind: project::SourceKind,
    /// How its events become rows.
    pub decoding: Decoding,
    /// Where the schemas are that its events name, if they do.
    pub registry: Option<registry::Options>,
    /// What its decoded rows go through before their event time is read.
    pub transforms: Arc<[TransformStep]>,
    /// The columns of its rows: those after the transforms, less one that is named as the event timestamp, and the event
    /// timestamp.
    pub schema: SchemaRef,
    /// Its event time.
    pub event_time: EventTime,
    /// The column that says when a row was created, if there is one, by its index before the event timestamp was added.
    pub created: Option<usize>,
    /// Which rows are dropped as repeats; by their columns' index as above.
    pub dedup: Option<DedupPlan>,
    /// How far the watermark stays behind the greatest event time.
    pub delay: Micros,
    /// After how long without a row a partition is idle; none: never.
    pub idle_timeout: Option<Micros>,
    /// Whether the watermark of an idle partition moves on with the clock.
    pub idle_advances: bool,
    /// How far an event time may be ahead of the arrival; none: any distance.
    pub max_ahead: Option<Micros>,
    /// The stateless halves of the views that read it.
    pub fronts: Vec<Arc<FrontPlan>>,
}

/// What a stage does with its keys' rows.
#[derive(Clone)]
pub enum Operator {
    /// Joins them with the rows of its last input.
    Join(Arc<JoinPlan>),
    /// Folds them over windows.
    Windowed(Arc<WindowPlan>),
    /// Gives a row for each, over what came before.
    Over(Arc<OverPlan>),
    /// Folds them over sessions.
    Session(Arc<SessionPlan>),
    /// Passes them on.
    Latest(Arc<LatestPlan>),
}

/// What is split by key, resolved: a join, or a view.
#[derive(Clone)]
pub struct StagePlan {
    /// The view that it is a part of.
    pub view: u16,
    /// What it does.
    pub operator: Operator,
    /// How many inputs it has: ways that lead to it.
    pub inputs: usize,
    /// How many stages lie on the longest way from a source to it, itself included.
    pub depth: usize,
    /// The ways on from here.
    pub fronts: Vec<Arc<FrontPlan>>,
}

/// A view, resolved.
#[derive(Clone)]
pub struct ViewPlan {
    /// Its name.
    pub name: String,
    /// The stage that gives its rows.
    pub stage: u16,
    /// Its columns: keys, event timestamp, features.
    pub schema: SchemaRef,
    /// How long and how far apart its windows are, where it has such.
    pub spec: Option<WindowSpec>,
    /// How the online store knows it; none: its rows do not go there.
    pub online: Option<Arc<OnlineView>>,
    /// Whether its rows of equal event timestamp are told apart by when they were created.
    pub created: bool,
    /// Whether its rows go to the offline log.
    pub offline: bool,
    /// Whether provisional rows do too.
    pub log_updates: bool,
    /// How many of its columns are keys: the first ones.
    pub keys: usize,
    /// Further outputs.
    pub outputs: Vec<OutputPlan>,
    /// The digests of its UDFs.
    pub digests: Vec<String>,
    /// The hash of its resolved definition, its UDFs and the engine's semantics.
    pub version: String,
    /// The same with what its UDFs take, keep and give in place of their digests: what decides whether kept state is its.
    pub definition: String,
    /// What each of its UDFs takes, keeps and gives.
    pub signatures: BTreeSet<String>,
}

/// A service with outputs, resolved.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    /// Its name.
    pub name: String,
    /// The views that it combines, by index; in the order of [`CombinePlan::views`].
    pub views: Vec<u16>,
    /// How they are combined.
    pub combine: Arc<CombinePlan>,
    /// Where the combined rows go.
    pub outputs: Vec<OutputPlan>,
}

/// An output, resolved.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Where rows go.
    pub target: OutputTarget,
    /// How they are written.
    pub form: RowForm,
}

/// Where an output's rows go.
#[derive(Clone, Debug)]
pub enum OutputTarget {
    /// A file of JSON lines.
    File(PathBuf),
    /// A Kafka topic.
    Kafka(kafka::Options),
    /// Whoever listens.
    Subscribers,
}

/// What runs of a UDF in place of what the project file says.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The component; none: the one that the project file names.
    pub component: Option<Arc<[u8]>>,
    /// Where it says that it is to be withdrawn; none where no version can take its place.
    pub verdict: Option<Arc<Verdict>>,
}

/// What runs of UDFs in place of what the project file says, by name.
pub type Choices = BTreeMap<String, Choice>;

/// Plans a project: loads its components, binds its UDFs and compiles its SQL.
///
/// # Errors
/// Everything that does not fit, each with its place.
pub fn plan(project: &project::Project, text: &SourceText, engine: &crate::wasm::Engine) -> Result<Plan, Diagnostics> {
    plan_with(project, text, engine, &Choices::new())
}

/// The same with other components than the project file names.
///
/// # Errors
/// Likewise.
pub fn plan_with(
    project: &project::Project,
    text: &SourceText,
    engine: &crate::wasm::Engine,
    choices: &Choices,
) -> Result<Plan, Diagnostics> {
    let mut errors = Diagnostics::new(text.clone());
    let Some(project) = &file_columns::with_schemas(project, &mut errors) else { return Err(errors) };
    let components = Components::load(project, engine, choices, &mut errors);
    let read = project.sources.iter().filter(|source| project.is_read(&source.name));
    let sources =
        read.map(|source| source::plan(source, &project.folder, &components, &mut errors)).collect::<Vec<_>>();
    let sources: Vec<SourcePlan> = sources.into_iter().flatten().collect();
    let mut graph = Graph { sources, stages: Vec::new(), views: vec![None; project.views.len()] };
    for index in order::upstream_first(&project.views) {
        let Some(view) = project.views.get(usize::from(index)) else { continue };
        let mut planner = ViewPlanner {
            project,
            components: &components,
            errors: &mut errors,
            graph: &mut graph,
            ties: Ties::Position,
        };
        let planned = planner.plan(index, view);
        if let Some(place) = graph.views.get_mut(usize::from(index)) {
            *place = planned;
        }
    }
    let Graph { sources, stages, views } = graph;
    let views: Vec<ViewPlan> = views.into_iter().flatten().collect();
    let services = services::services(project, &views, &mut errors);
    let udfs = components.digests();
    errors.finish(Plan { name: project.name.value.clone(), sources, stages, views, services, udfs })
}

/// The plan as it grows.
struct Graph {
    sources: Vec<SourcePlan>,
    stages: Vec<StagePlan>,
    /// By index; none while it has not been planned, or could not be.
    views: Vec<Option<ViewPlan>>,
}
