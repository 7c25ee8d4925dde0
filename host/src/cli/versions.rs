//! The project's UDFs and views as operators are told of them, and whether a component may become a version of a UDF.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use millrace::config::diagnostics::SourceText;
use millrace::config::plan::{Plan, ViewPlan, plan};
use millrace::config::project::{AggregateName, FeatureKind, Project, Udf, View};
use millrace::config::units::format_size;
use millrace::record::ColumnType;
use millrace::serve::admin::{ColumnDetail, Inventory, Judged, UdfUse, ViewDetail};
use millrace::store::registry::{Digest, Entry, FOLDER, MOST_BYTES, Registry};
use millrace::suggest::suggestion;
use millrace::time::Micros;
use millrace::wasm::{Component, Engine};

use super::project::ProjectArgs;

/// Who put in what the project file names.
const PROJECT_FILE: &str = "project file";

/// Opens the registry in a data folder that the caller holds.
pub(super) fn open(data_dir: &Path) -> Result<Registry> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("data-dir {}", data_dir.display()))?;
    Ok(Registry::open(&data_dir.join(FOLDER))?)
}

/// Puts the components that the project file names into the registry, so that one can go back to them, and gives their
/// digests by UDF. What cannot be put in is left out, with a line in the log.
pub(super) fn put_own(registry: &Registry, project: &Project, now: Micros) -> BTreeMap<String, Digest> {
    let mut digests = BTreeMap::new();
    for udf in &project.udfs {
        match put_one(registry, udf, now) {
            Ok(digest) => drop(digests.insert(udf.name.value.clone(), digest)),
            Err(error) => tracing::warn!(udf = udf.name.value, "its component is not in the registry: {error:#}"),
        }
    }
    digests
}

fn put_one(registry: &Registry, udf: &Udf, now: Micros) -> Result<Digest> {
    let path = &udf.component.value;
    if std::fs::metadata(path)?.len() > MOST_BYTES {
        anyhow::bail!("{} is longer than any that the registry takes", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let entry = Entry {
        udf: udf.name.value.clone(),
        who: PROJECT_FILE.into(),
        when: now,
        why: path.display().to_string(),
        limits: limits(udf),
        ..Entry::default()
    };
    Ok(registry.put(&bytes, entry)?)
}

/// What the project makes of UDFs and views.
pub(super) struct Workshop {
    project: Project,
    text: SourceText,
    plan: Arc<Plan>,
    /// The digests of the components that run, by UDF.
    running: BTreeMap<String, Digest>,
    /// Made when the first component comes: it reserves address space.
    engine: Mutex<Option<Engine>>,
}

impl Workshop {
    /// Of a project as it runs, or would.
    pub(super) fn new(
        project: &Project,
        text: &SourceText,
        plan: &Arc<Plan>,
        running: BTreeMap<String, Digest>,
    ) -> Self {
        let (project, text, plan) = (project.clone(), text.clone(), plan.clone());
        Self { project, text, plan, running, engine: Mutex::new(None) }
    }

    fn engine(&self) -> Result<Engine> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        match &*engine {
            Some(engine) => Ok(engine.clone()),
            None => Ok(engine.insert(ProjectArgs::engine(&self.project)?).clone()),
        }
    }
}

impl Inventory for Workshop {
    fn udfs(&self) -> Vec<UdfUse> {
        let used = |udf: &Udf| UdfUse {
            name: udf.name.value.clone(),
            component: udf.component.value.display().to_string(),
            digest: self.running.get(&udf.name.value).map(ToString::to_string),
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
        self.plan.views.iter().map(detail).collect()
    }

    fn judge(&self, udf: &str, component: &Path) -> Result<Judged, String> {
        let failed = |error: anyhow::Error| format!("{error:#}");
        let engine = self.engine().map_err(failed)?;
        let bytes = std::fs::read(component).map_err(|error| error.to_string())?;
        let loaded = engine.load(&bytes).map_err(|error| error.to_string())?;
        drop(bytes);
        let mut project = self.project.clone();
        let Some(changed) = project.udfs.iter_mut().find(|known| known.name.value == udf) else {
            return Err(format!("the project has no UDF {udf}"));
        };
        holds(&loaded, changed)?;
        let judged = Judged { signature: signature(&loaded), limits: limits(changed) };
        component.clone_into(&mut changed.component.value);
        let planned = plan(&project, &self.text, &engine);
        let planned = planned.map_err(|errors| format!("it does not fit the project: {errors}"))?;
        same_columns(&self.plan, &planned)?;
        Ok(judged)
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
