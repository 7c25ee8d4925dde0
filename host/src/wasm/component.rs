//! A component as it is loaded: checked, compiled, and asked for its names.
//!
//! What it exports is read from its type first, by name, so that another version of the contract or another world is
//! called by its name and not "a missing function". Of its imports only the contract's `log` is provided; an interface
//! that holds nothing but types needs none. Extra exports are nobody's business.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use wasmtime::component::InstancePre;
use wasmtime::component::types::ComponentItem;

use super::aggregate::{self, AggregateInterface};
use super::engine::Engine;
use super::error::{BindError, ComponentError};
use super::instance::{Binding, Interface, Sandbox};
use super::limits::{GuestLog, Host, Limits};
use super::signature;
use super::transform::{self, TransformInterface};
use crate::engine::aggregate::AggregateFactory;
use crate::engine::transform::TransformFactory;
use crate::engine::udf::Grant;

/// The package of the contract, and the version of it that this host serves; any later 0.1 fits.
const PACKAGE: &str = "millrace:feature/";
const SERVED: &str = "0.1";

/// The interface that a component may import, with its functions.
const LOG: (&str, &[&str]) = ("log", &["log"]);

/// The most names that a component may hold, and the longest one, in bytes.
const MAX_NAMES: usize = 1_024;
const MAX_NAME: usize = 256;

/// A component that this host can run. Cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Inner>);

struct Inner {
    engine: Engine,
    digest: String,
    pre: InstancePre<Host>,
    transforms: Held<TransformInterface>,
    aggregates: Held<AggregateInterface>,
}

/// What a component holds of one interface.
struct Held<I: Interface> {
    /// None where it does not export the interface.
    indices: Option<I::Indices>,
    names: Vec<String>,
}

impl Component {
    pub(super) fn load(engine: &Engine, bytes: &[u8]) -> Result<Self, ComponentError> {
        match bytes.get(..8) {
            Some([0, b'a', b's', b'm', _, _, 1, 0]) => {}
            Some([0, b'a', b's', b'm', ..]) => return Err(ComponentError::CoreModule),
            _ => return Err(ComponentError::NotWasm),
        }
        let invalid = |error: wasmtime::Error| ComponentError::Invalid(format!("{error:#}"));
        let (digest, compiled) = engine.compile(bytes).map_err(invalid)?;
        check_imports(engine, &compiled)?;
        check_exports(engine, &compiled)?;
        let pre = engine.linker().instantiate_pre(&compiled).map_err(invalid)?;
        let (transforms, aggregates) = (hold(engine, &pre, &digest)?, hold(engine, &pre, &digest)?);
        Ok(Self(Arc::new(Inner { engine: engine.clone(), digest, pre, transforms, aggregates })))
    }

    /// SHA-256 of the component's bytes, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The transforms that it holds, by name.
    pub fn transforms(&self) -> &[String] {
        &self.0.transforms.names
    }

    /// The aggregates that it holds, by name.
    pub fn aggregates(&self) -> &[String] {
        &self.0.aggregates.names
    }

    /// Binds a transform to the columns and options of a project, once, to learn what it wants and gives. `name` may be
    /// left out where the component holds one alone; `options` is a JSON object.
    ///
    /// # Errors
    /// It holds no such transform, the columns or options do not fit, or its signature is not in order.
    pub fn transform(
        &self,
        name: Option<&str>,
        input: &[FieldRef],
        options: &str,
        limits: Limits,
    ) -> Result<Arc<dyn TransformFactory>, BindError> {
        let binding = self.binding(&self.0.transforms, name, input, options, limits)?;
        Ok(Arc::new(transform::Factory::new(binding, input)?))
    }

    /// Binds an aggregate, as [`Component::transform`] does a transform.
    ///
    /// # Errors
    /// Likewise.
    pub fn aggregate(
        &self,
        name: Option<&str>,
        input: &[FieldRef],
        options: &str,
        limits: Limits,
    ) -> Result<Arc<dyn AggregateFactory>, BindError> {
        let binding = self.binding(&self.0.aggregates, name, input, options, limits)?;
        Ok(Arc::new(aggregate::Factory::new(binding, input)?))
    }

    fn binding<I: Interface>(
        &self,
        held: &Held<I>,
        name: Option<&str>,
        input: &[FieldRef],
        options: &str,
        limits: Limits,
    ) -> Result<Binding<I>, BindError> {
        let Some(indices) = &held.indices else { return Err(BindError::Absent { wanted: I::NAME }) };
        let name = match (name, held.names.as_slice()) {
            (None, [only]) => only.clone(),
            (None, names) => return Err(BindError::Several { wanted: I::NAME, names: names.to_vec() }),
            (Some(name), names) if names.iter().any(|held| held == name) => name.to_owned(),
            (Some(name), names) => {
                return Err(BindError::Unknown { wanted: I::NAME, name: name.to_owned(), names: names.to_vec() });
            }
        };
        Ok(Binding {
            pre: self.0.pre.clone(),
            digest: self.0.digest.clone(),
            indices: indices.clone(),
            input: signature::formats(input)?,
            options: options.to_owned(),
            limits,
            log: GuestLog::new(name.clone(), self.0.engine.ticks()),
            name,
            engine: self.0.engine.clone(),
        })
    }
}

/// What the component holds of one interface: nothing, where it does not export it.
fn hold<I: Interface>(engine: &Engine, pre: &InstancePre<Host>, digest: &str) -> Result<Held<I>, ComponentError> {
    if pre.component().get_export_index(None, I::EXPORT).is_none() {
        return Ok(Held { indices: None, names: Vec::new() });
    }
    let interface = I::NAME;
    let misshapen = |error: wasmtime::Error| ComponentError::WrongShape { interface, reason: format!("{error:#}") };
    let indices = I::indices(pre).map_err(misshapen)?;
    let limits = Limits::for_loading();
    let log = GuestLog::new(digest.to_owned(), engine.ticks());
    let mut sandbox = Sandbox::new(pre, &limits, log).map_err(ComponentError::Names)?;
    let instance = sandbox.instance();
    let guest = I::load(&indices, sandbox.store(), &instance).map_err(misshapen)?;
    let names = sandbox.call(Grant::WHOLE, |store| I::names(&guest, store)).map_err(ComponentError::Names)?;
    check_names(&names).map_err(|reason| ComponentError::BadNames { interface, reason })?;
    Ok(Held { indices: Some(indices), names })
}

fn check_names(names: &[String]) -> Result<(), &'static str> {
    if names.is_empty() {
        return Err("there is none");
    }
    if names.len() > MAX_NAMES || names.iter().any(|name| name.is_empty() || name.len() > MAX_NAME) {
        return Err("one is empty, or they are too many or too long");
    }
    let mut sorted: Vec<_> = names.iter().collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| matches!(pair, [one, next] if one == next)) {
        return Err("one is there twice");
    }
    Ok(())
}

/// Refuses every import that is neither the contract's `log` nor types alone.
fn check_imports(engine: &Engine, component: &wasmtime::component::Component) -> Result<(), ComponentError> {
    let engine = engine.wasmtime();
    let mut unknown = Vec::new();
    for (name, import) in component.component_type().imports(engine) {
        let allowed: &[&str] = if interface(name, LOG.0).is_some_and(served) { LOG.1 } else { &[] };
        match import.ty {
            ComponentItem::Type(_) => {}
            ComponentItem::ComponentInstance(instance) => unknown.extend(
                instance
                    .exports(engine)
                    .filter(|(item, export)| !matches!(export.ty, ComponentItem::Type(_)) && !allowed.contains(item))
                    .map(|(item, _)| format!("{name}#{item}")),
            ),
            _ => unknown.push(name.to_owned()),
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(ComponentError::UnknownImports(unknown)) }
}

/// Refuses a component that exports neither interface in a version that is served.
fn check_exports(engine: &Engine, component: &wasmtime::component::Component) -> Result<(), ComponentError> {
    let ty = component.component_type();
    let names: Vec<_> = ty.exports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect();
    let versions = |name: &str| {
        interface(name, TransformInterface::NAME).or_else(|| interface(name, AggregateInterface::NAME)).map(served)
    };
    if names.iter().any(|name| versions(name) == Some(true)) {
        return Ok(());
    }
    let others: Vec<_> = names.iter().filter(|name| versions(name) == Some(false)).cloned().collect();
    Err(if others.is_empty() { ComponentError::WrongWorld(names) } else { ComponentError::WrongVersion(others) })
}

/// The version in which `name` is the contract's interface `wanted`; empty where it has none.
fn interface<'a>(name: &'a str, wanted: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(PACKAGE)?.strip_prefix(wanted)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('@') }
}

fn served(version: &str) -> bool {
    version.strip_prefix(SERVED).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_0_1_of_the_contract_is_served_and_nothing_else() {
        let of = |name: &str| interface(name, "transform").map(served);
        assert_eq!(of("millrace:feature/transform@0.1.0"), Some(true));
        assert_eq!(of("millrace:feature/transform@0.1.17"), Some(true));
        for other in ["@0.2.0", "@1.1.0", "@0.10.0", "@0.1", ""] {
            assert_eq!(of(&format!("millrace:feature/transform{other}")), Some(false), "{other}");
        }
        for other in ["millrace:feature/transformer@0.1.0", "millrace:other/transform@0.1.0", "transform", "init"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn names_are_few_short_and_each_there_once() {
        let check = |names: &[&str]| check_names(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(check(&["b", "a"]), Ok(()));
        assert_eq!(check(&[]), Err("there is none"));
        assert_eq!(check(&["b", "a", "b"]), Err("one is there twice"));
        for bad in [&[""][..], &["a".repeat(MAX_NAME + 1).as_str()], &["a"; MAX_NAMES + 1]] {
            assert_eq!(check(bad), Err("one is empty, or they are too many or too long"));
        }
    }
}
