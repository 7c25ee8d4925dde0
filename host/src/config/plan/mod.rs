//! The plan: a project whose names are looked up, whose SQL is compiled and whose UDFs are loaded and bound; what the
//! topology runs.

mod components;
mod features;
mod outputs;
mod services;
mod steps;
mod version;
mod view;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::diagnostics::{Diagnostics, SourceText, Span};
use super::project;
use crate::engine::combine::CombinePlan;
use crate::engine::decode::{DecodeField, EventTime, JsonDecoder, TimeFormat};
use crate::engine::front::FrontPlan;
use crate::engine::latest::LatestPlan;
use crate::engine::window::plan::WindowPlan;
use crate::sink::json_lines::RowForm;
use crate::sink::kafka;
use crate::store::online::OnlineView;
use crate::time::{Micros, micros};
use components::Components;
use view::ViewPlanner;

/// A project, ready to run.
pub struct Plan {
    /// The project's name.
    pub name: String,
    /// The sources that something reads, by index.
    pub sources: Vec<SourcePlan>,
    /// The views, by index.
    pub views: Vec<ViewPlan>,
    /// The services whose combined rows go somewhere.
    pub services: Vec<ServicePlan>,
}

/// A source, resolved.
#[derive(Clone)]
pub struct SourcePlan {
    /// Its name.
    pub name: String,
    /// Where its events come from.
    pub kind: project::SourceKind,
    /// Its columns.
    pub fields: Vec<DecodeField>,
    /// Its event time.
    pub event_time: EventTime,
    /// How far the watermark stays behind the greatest event time.
    pub delay: Micros,
    /// After how long without a row a partition is idle; none: never.
    pub idle_timeout: Option<Micros>,
    /// How far an event time may be ahead of the arrival; none: any distance.
    pub max_ahead: Option<Micros>,
    /// The stateless halves of the views that read it.
    pub fronts: Vec<Arc<FrontPlan>>,
}

/// What a view does with its keys' rows.
#[derive(Clone)]
pub enum ShardPlan {
    /// Folds them over windows.
    Windowed(Arc<WindowPlan>),
    /// Passes them on.
    Latest(Arc<LatestPlan>),
}

/// A view, resolved.
#[derive(Clone)]
pub struct ViewPlan {
    /// Its name.
    pub name: String,
    /// The stateful half.
    pub shard: ShardPlan,
    /// How the online store knows it; none: its rows do not go there.
    pub online: Option<Arc<OnlineView>>,
    /// The columns of its rows: keys, event timestamp, features.
    pub schema: SchemaRef,
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

/// Plans a project: loads its components, binds its UDFs and compiles its SQL.
///
/// # Errors
/// Everything that does not fit, each with its place.
pub fn plan(project: &project::Project, text: &SourceText, engine: &crate::wasm::Engine) -> Result<Plan, Diagnostics> {
    let mut errors = Diagnostics::new(text.clone());
    let components = Components::load(project, engine, &mut errors);
    let read = |source: &&project::Source| {
        project.views.iter().any(|view| view.from.iter().any(|from| from.value == source.name.value))
    };
    let sources =
        project.sources.iter().filter(read).map(|source| source_plan(source, &mut errors)).collect::<Vec<_>>();
    let mut sources: Vec<SourcePlan> = sources.into_iter().flatten().collect();
    let mut views = Vec::new();
    for (index, view) in (0..).zip(&project.views) {
        let mut planner = ViewPlanner { project, components: &components, errors: &mut errors };
        views.extend(planner.plan(index, view, &mut sources));
    }
    let services = services::services(project, &views, &mut errors);
    errors.finish(Plan { name: project.name.value.clone(), sources, views, services })
}

fn source_plan(source: &project::Source, errors: &mut Diagnostics) -> Option<SourcePlan> {
    let mut fields = Vec::new();
    for field in &source.schema {
        let time = field.time_format.as_ref().map(|format| time_format(format, field.name.span, errors));
        fields.push(DecodeField {
            name: field.name.value.clone(),
            kind: field.kind.value.clone(),
            time: time.flatten(),
        });
        if let Some(path) = &field.path {
            errors.error(path.span, "a path into nested JSON is not supported yet");
        }
    }
    let schema = JsonDecoder::new(fields.clone()).schema().clone();
    let format = time_format(&source.event_time.format, source.event_time.format.span, errors)?;
    let event_time = EventTime::new(&source.event_time.column, Some(&format), &schema);
    let event_time = event_time.map_err(|message| errors.error(source.event_time.column.span, message)).ok()?;
    Some(SourcePlan {
        name: source.name.value.clone(),
        kind: source.kind.clone(),
        fields,
        event_time,
        delay: micros(source.watermark_delay),
        idle_timeout: source.idle_timeout.map(micros),
        max_ahead: source.max_ahead.map(micros),
        fronts: Vec::new(),
    })
}

fn time_format(format: &project::TimeFormat, place: Span, errors: &mut Diagnostics) -> Option<TimeFormat> {
    let read = match format {
        project::TimeFormat::EpochSeconds => Ok(TimeFormat::EpochSeconds),
        project::TimeFormat::EpochMillis => Ok(TimeFormat::EpochMillis),
        project::TimeFormat::EpochMicros => Ok(TimeFormat::EpochMicros),
        project::TimeFormat::Iso { zone } => TimeFormat::iso().with_zone(zone),
        project::TimeFormat::Strptime { pattern, zone } => {
            TimeFormat::parse_config(pattern).and_then(|format| format.with_zone(zone))
        }
    };
    read.map_err(|message| errors.error(place, message)).ok()
}
