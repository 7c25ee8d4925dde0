//! The project's UDFs and views as operators are told of them, and whether a component may become a version of a UDF.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use millrace::config::diagnostics::SourceText;
use millrace::config::plan::{Choice, Choices, Plan, ViewPlan, plan_with};
use millrace::config::project::{AggregateName, FeatureKind, Project, Udf, View};
use millrace::config::units::format_size;
use millrace::record::ColumnType;
use millrace::serve::admin::{ColumnDetail, Inventory, Judged, UdfUse, ViewDetail};
use millrace::store::registry::{Digest, FOLDER, Registry};
use millrace::store::state::StateStore;
use millrace::suggest::suggestion;
use millrace::topology::activation::{Activator, Current};
use millrace::wasm::{Component, Engine};

use super::choosing::Chosen;
use super::project::ProjectArgs;

/// Opens the registry in a data folder that the caller holds.
pub(super) fn open(data_dir: &Path) -> Result<Registry> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("data-dir {}", data_dir.display()))?;
    Ok(Registry::open(&data_dir.join(FOLDER))?)
}

/// What runs: the plan, and the digest of each UDF's version.
type Look = dyn Fn() -> (Arc<Plan>, BTreeMap<String, String>) + Send + Sync;

/// What the project makes of UDFs and views.
pub(super) struct Workshop {
    project: Project,
    text: SourceText,
    engine: Engine,
    registry: Registry,
    look: Box<Look>,
}

impl Workshop {
    /// Of a project that runs.
    pub(super) fn of_run(
        (project, text): (Project, SourceText),
        engine: Engine,
        chosen: &Chosen,
        activator: Activator,
    ) -> Self {
        let look = move || {
            let Current { plan, udfs } = activator.current();
            (plan, udfs.into_iter().map(|(name, active)| (name, active.digest)).collect())
        };
        Self { project, text, engine, registry: chosen.registry.clone(), look: Box::new(look) }
    }

    /// Of a project that nobody runs, as it would run.
    pub(super) fn of_folder(
        (project, text): (Project, SourceText),
        registry: Registry,
        running: BTreeMap<String, String>,
    ) -> Result<Self> {
        let engine = ProjectArgs::engine_of(&project)?;
        let choices = choices(&registry, &running);
        let plan = Arc::new(plan_with(&project, &text, &engine, &choices)?);
        let look = move || (plan.clone(), running.clone());
        Ok(Self { project, text, engine, registry, look: Box::new(look) })
    }
}

/// The versions that ran last, by the newest commit record of a folder that the caller holds; none where nothing has run.
pub(super) fn running(project: &Project) -> Result<BTreeMap<String, String>> {
    let folder = project.data_dir.join("state");
    if !folder.is_dir() {
        return Ok(BTreeMap::new());
    }
    let commit = StateStore::open(&folder, &project.name.value)?.recover()?.commit;
    let udfs = commit.map(|commit| commit.udfs).unwrap_or_default();
    Ok(udfs.into_iter().map(|(name, active)| (name, active.digest)).collect())
}

/// The components of these versions, as far as the registry has them; the project file's for the others.
fn choices(registry: &Registry, running: &BTreeMap<String, String>) -> Choices {
    let mut choices = Choices::new();
    for (name, digest) in running {
        let component = Digest::parse(digest).ok().and_then(|digest| registry.get(&digest).ok());
        choices.insert(name.clone(), Choice { component: component.map(Into::into), verdict: None });
    }
    choices
}

impl Inventory for Workshop {
    fn udfs(&self) -> Vec<UdfUse> {
        let (_, running) = (self.look)();
        let used = |udf: &Udf| UdfUse {
            name: udf.name.value.clone(),
            component: udf.component.value.display().to_string(),
            digest: running.get(&udf.name.value).cloned(),
            used_by: used_by(&self.project, &udf.name.value),
            limits: limits(udf),
        };
        self.project.udfs.iter().map(used).collect()
    }

    fn views(&self) -> Vec<ViewDetail> {
        let entity = |name: &str| {
            let view = self.project.views.iter().find(|view| view.name.value == name);
            view.and_then(|view| view.entity.as_ref()).map(|entity| entity.value.clone())
        };
        let detail = |view: &ViewPlan| ViewDetail {
            name: view.name.clone(),
            entity: entity(&view.name),
            columns: columns(view),
            online: view.online.is_some(),
            offline: view.offline,
            version: view.version.clone(),
            digests: view.digests.clone(),
        };
        (self.look)().0.views.iter().map(detail).collect()
    }

    fn judge(&self, udf: &str, component: &Path) -> Result<Judged, String> {
        let bytes = std::fs::read(component).map_err(|error| error.to_string())?;
        let loaded = self.engine.load(&bytes).map_err(|error| error.to_string())?;
        let Some(known) = self.project.udf(udf) else { return Err(format!("the project has no UDF {udf}")) };
        holds(&loaded, known)?;
        let (plan, running) = (self.look)();
        let mut choices = choices(&self.registry, &running);
        choices.insert(udf.to_owned(), Choice { component: Some(bytes.into()), verdict: None });
        let planned = plan_with(&self.project, &self.text, &self.engine, &choices);
        let planned = planned.map_err(|errors| format!("it does not fit the project: {errors}"))?;
        same_columns(&plan, &planned)?;
        Ok(Judged { signature: signature(&loaded), limits: limits(known) })
    }
}

/// Whether a component holds what the project takes of it, used or not.
fn holds(component: &Component, udf: &Udf) -> Result<(), String> {
    let Some(export) = &udf.export else { return Ok(()) };
    let names = || component.transforms().iter().chain(component.aggregates()).map(String::as_str);
    if names().any(|name| name == export.value) {
        return Ok(());
    }
    Err(format!(
        "the component holds no `{}`, which the project takes of it{}",
        export.value,
        suggestion(export, names())
    ))
}

/// What a component holds, for people.
fn signature(component: &Component) -> String {
    let transforms = component.transforms().iter().map(|name| format!("transform {name}"));
    let aggregates = component.aggregates().iter().map(|name| format!("aggregate {name}"));
    transforms.chain(aggregates).collect::<Vec<_>>().join(", ")
}

/// What a UDF is allowed, for people.
fn limits(udf: &Udf) -> String {
    let limits = &udf.limits;
    let (memory, state, output) = (format_size(limits.memory), format_size(limits.state), format_size(limits.output));
    format!("memory {memory}, time {:?}, state {state}, output {output}, rows {}", limits.time, limits.rows)
}

/// A version gives the views the columns that they have: whoever reads them goes on.
fn same_columns(now: &Plan, then: &Plan) -> Result<(), String> {
    for view in &now.views {
        let Some(other) = then.views.iter().find(|other| other.name == view.name) else { continue };
        let (have, would) = (columns(view), columns(other));
        let differs = have.iter().zip(&would).find(|(have, would)| have != would);
        if let Some((have, would)) = differs {
            return Err(format!(
                "the column `{}` of view {} is {}, and would become `{}`, {}: deploy it with a project file that says so",
                have.name, view.name, have.kind, would.name, would.kind
            ));
        }
        if have.len() != would.len() {
            return Err(format!("view {} has {} columns, and would get {}", view.name, have.len(), would.len()));
        }
    }
    Ok(())
}

fn columns(view: &ViewPlan) -> Vec<ColumnDetail> {
    let kind = |kind: &arrow::datatypes::DataType| {
        ColumnType::from_arrow(kind).map_or_else(|| kind.to_string(), |kind| kind.to_string())
    };
    let column =
        |field: &arrow::datatypes::FieldRef| ColumnDetail { name: field.name().clone(), kind: kind(field.data_type()) };
    view.schema.fields().iter().map(column).collect()
}

/// The views and sources that use a UDF.
fn used_by(project: &Project, udf: &str) -> Vec<String> {
    let folds = |view: &View| {
        view.features.iter().any(|feature| match &feature.kind {
            FeatureKind::Aggregate(used) => matches!(&used.aggregate.value, AggregateName::Udf(name) if name == udf),
            FeatureKind::Expr(_) => false,
        })
    };
    let sources = project.sources.iter().filter(|source| source.transforms.iter().any(|used| used.udf.value == udf));
    let views = project.views.iter();
    let views = views.filter(|view| folds(view) || view.transforms.iter().any(|used| used.udf.value == udf));
    let sources = sources.map(|source| source.name.value.clone());
    sources.chain(views.map(|view| view.name.value.clone())).collect()
}
