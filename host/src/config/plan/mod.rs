//! The plan: a project whose names are looked up, whose SQL is compiled and whose UDFs are loaded and bound; what the
//! topology runs.

mod components;
mod features;
mod steps;
mod version;
mod view;

use std::sync::Arc;

use super::diagnostics::{Diagnostics, SourceText};
use super::project;
use components::Components;
use view::ViewPlanner;
use crate::engine::decode::{DecodeField, EventTime};
use crate::engine::front::FrontPlan;
use crate::engine::latest::LatestPlan;
use crate::engine::window::plan::WindowPlan;
use crate::store::online::OnlineView;
use crate::time::Micros;

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
    let components = Components::load(project, engine, &mut errors);
    let read = |source: &&project::Source| project.views.iter().any(|view| view.from.iter().any(|from| from.value == source.name.value));
    let sources = project.sources.iter().filter(read).map(|source| source_plan(source, &mut errors)).collect::<Vec<_>>();
    let mut sources: Vec<SourcePlan> = sources.into_iter().flatten().collect();
    let mut views = Vec::new();
    for (index, view) in (0..).zip(&project.views) {
        let mut planner = ViewPlanner { project, components: &components, errors: &mut errors };
        views.extend(planner.plan(index, view, &mut sources));
    }
    errors.finish(Plan { name: project.name.value.clone(), sources, views })
}

fn source_plan(source: &project::Source, errors: &mut Diagnostics) -> Option<SourcePlan> {
    let fields: Vec<DecodeField> = source.schema.iter().map(decode_field).collect();
    let event_time = match EventTime::new(&source.event_time.column, time_format(&source.event_time.format), &fields) {
        Ok(event_time) => event_time,
        Err(message) => {
            errors.error(source.event_time.column.span, message);
            return None;
        }
    };
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
