//! The project's UDFs, loaded from their files and bound to columns.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::datatypes::FieldRef;

use super::Choices;
use crate::config::diagnostics::{Diagnostics, Spanned};
use crate::config::project::{JsonObject, Project, Udf};
use crate::engine::aggregate::AggregateFactory;
use crate::engine::transform::TransformFactory;
use crate::engine::verdict::{OnTrial, Verdict};
use crate::wasm::{Component, Engine, Limits};

/// No component that anybody ships is larger.
const MAX_COMPONENT: u64 = 512 << 20;

/// The components that could be loaded, by the UDF's name.
pub(super) struct Components<'a> {
    loaded: BTreeMap<&'a str, Loaded<'a>>,
}

struct Loaded<'a> {
    udf: &'a Udf,
    component: Component,
    /// Where it is said that it is to be withdrawn; none where nothing can take its place.
    verdict: Option<Arc<Verdict>>,
}

impl<'a> Components<'a> {
    /// Loads all of them; those that cannot be are errors at the place that names the file.
    pub(super) fn load(project: &'a Project, engine: &Engine, choices: &Choices, errors: &mut Diagnostics) -> Self {
        let mut loaded = BTreeMap::new();
        for udf in &project.udfs {
            let choice = choices.get(&udf.name.value).cloned().unwrap_or_default();
            let component = match &choice.component {
                Some(bytes) => engine.load(bytes).map_err(|error| format!("the version that was activated: {error}")),
                None => load(udf, engine),
            };
            match component {
                Ok(component) => {
                    loaded.insert(udf.name.value.as_str(), Loaded { udf, component, verdict: choice.verdict });
                }
                Err(message) => errors.error(udf.component.span, message),
            }
        }
        Self { loaded }
    }

    /// Binds a transform for one use; none where it does not fit, or its component did not load, both of which have
    /// been said.
    pub(super) fn transform(
        &self,
        name: &Spanned<String>,
        input: &[FieldRef],
        options: &Spanned<JsonObject>,
        errors: &mut Diagnostics,
    ) -> Option<Arc<dyn TransformFactory>> {
        let Loaded { udf, component, verdict } = self.loaded.get(name.value.as_str())?;
        let export = udf.export.as_ref().map(|export| export.value.as_str());
        let bound = component.transform(export, input, &laid_over(udf, options), limits(udf));
        let bound = bound.map_err(|error| errors.error(name.span, format!("UDF {}: {error}", name.value))).ok()?;
        Some(match verdict {
            Some(verdict) => Arc::new(OnTrial::<dyn TransformFactory>::new(bound, verdict.clone())),
            None => bound,
        })
    }

    /// Binds an aggregate for one use, likewise.
    pub(super) fn aggregate(
        &self,
        name: &str,
        place: &Spanned<crate::config::project::AggregateName>,
        input: &[FieldRef],
        options: &Spanned<JsonObject>,
        errors: &mut Diagnostics,
    ) -> Option<Arc<dyn AggregateFactory>> {
        let Loaded { udf, component, verdict } = self.loaded.get(name)?;
        let export = udf.export.as_ref().map(|export| export.value.as_str());
        let bound = component.aggregate(export, input, &laid_over(udf, options), limits(udf));
        let bound = bound.map_err(|error| errors.error(place.span, format!("UDF {name}: {error}"))).ok()?;
        Some(match verdict {
            Some(verdict) => Arc::new(OnTrial::<dyn AggregateFactory>::new(bound, verdict.clone())),
            None => bound,
        })
    }

    /// The digest of each.
    pub(super) fn digests(&self) -> BTreeMap<String, String> {
        let digest = |(name, loaded): (&&str, &Loaded<'_>)| ((*name).to_owned(), loaded.component.digest().to_owned());
        self.loaded.iter().map(digest).collect()
    }
}

fn load(udf: &Udf, engine: &Engine) -> Result<Component, String> {
    let path = &udf.component.value;
    let failed = |error: std::io::Error| format!("component {}: {error}", path.display());
    let length = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "component {} is not there; build it, or correct the path, which starts at the project file's folder",
                path.display()
            )
        }
        _ => failed(error),
    })?;
    if length.len() > MAX_COMPONENT {
        return Err(format!("component {} has {} bytes, more than any component", path.display(), length.len()));
    }
    let bytes = fs::read(path).map_err(failed)?;
    engine.load(&bytes).map_err(|error| format!("component {}: {error}", path.display()))
}

/// The options of a use laid over the UDF's, as JSON.
fn laid_over(udf: &Udf, options: &JsonObject) -> String {
    let mut merged = udf.options.value.clone();
    merged.extend(options.iter().map(|(key, value)| (key.clone(), value.clone())));
    serde_json::Value::Object(merged).to_string()
}

fn limits(udf: &Udf) -> Limits {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let limits = &udf.limits;
    Limits {
        time: limits.time,
        memory: bytes(limits.memory),
        rows: limits.rows as usize,
        bytes: bytes(limits.output),
        state: bytes(limits.state),
    }
}
