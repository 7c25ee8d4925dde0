//! The plan: a project whose names are looked up, whose SQL is compiled and whose UDFs are loaded and bound; what the
//! topology runs.

mod components;
mod features;
mod file_columns;
mod format;
mod steps;
mod version;
mod view;

use std::sync::Arc;

use super::diagnostics::{Diagnostics, SourceText, Span};
use super::project;
use crate::engine::decode::{DecodeField, Decoding, EventTime, TimeFormat};
use crate::engine::front::FrontPlan;
use crate::engine::latest::LatestPlan;
use crate::engine::window::plan::WindowPlan;
use crate::source::registry;
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
}

/// A source, resolved.
#[derive(Clone)]
pub struct SourcePlan {
    /// Its name.
    pub name: String,
    /// Where its events come from.
    pub kind: project::SourceKind,
    /// How its events become rows.
    pub decoding: Decoding,
    /// Where the schemas are that its events name, if they do.
    pub registry: Option<registry::Options>,
    /// Its event time.
    pub event_time: EventTime,
    /// The timestamp among its columns that orders rows of equal event time.
    pub created: Option<String>,
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
    /// Whether its rows go to the offline log.
    pub offline: bool,
    /// Whether provisional rows do too.
    pub log_updates: bool,
    /// How many of its columns are keys: the first ones.
    pub keys: usize,
    /// Further outputs.
    pub outputs: Vec<project::Output>,
    /// The digests of its UDFs.
    pub digests: Vec<String>,
    /// The hash of its resolved definition, its UDFs and the engine's semantics.
    pub version: String,
}

/// Plans a project: loads its components, binds its UDFs and compiles its SQL.
///
/// # Errors
/// Everything that does not fit, each with its place.
pub fn plan(project: &project::Project, text: &SourceText, engine: &crate::wasm::Engine) -> Result<Plan, Diagnostics> {
    let mut errors = Diagnostics::new(text.clone());
    let Some(project) = &file_columns::with_schemas(project, &mut errors) else { return Err(errors) };
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
    errors.finish(Plan { name: project.name.value.clone(), sources, views })
}

fn source_plan(source: &project::Source, errors: &mut Diagnostics) -> Option<SourcePlan> {
    let mut fields = Vec::new();
    for field in &source.schema {
        let time = field.time_format.as_ref().map(|format| time_format(format, field.name.span, errors));
        fields.push(DecodeField {
            name: field.name.value.clone(),
            kind: field.kind.value.clone(),
            time: time.flatten(),
            path: field.path.as_ref().map(|path| path.value.clone()),
        });
    }
    let (format, registry) = format::of(source, errors)?;
    let decoding = Decoding { fields, format };
    let format = time_format(&source.event_time.format, source.event_time.format.span, errors)?;
    let event_time = EventTime::new(&source.event_time.column, Some(&format), &decoding.schema());
    let event_time = event_time.map_err(|message| errors.error(source.event_time.column.span, message)).ok()?;
    Some(SourcePlan {
        name: source.name.value.clone(),
        kind: source.kind.clone(),
        decoding,
        registry,
        event_time,
        created: source.created.as_ref().map(|column| column.value.clone()),
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
