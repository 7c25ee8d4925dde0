//! The component that a `millrace udf` command is about, loaded with the cache of compiled components that all of these
//! commands share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::datatypes::FieldRef;
use clap::Args;
use millrace::engine::aggregate::AggregateFactory;
use millrace::engine::transform::TransformFactory;
use millrace::wasm::{BindError, Component, Engine, EngineOptions, Limits};
use serde::Deserialize;

use super::sdk::{self, Language};

/// The file that a UDF's project is known by.
pub(super) const MANIFEST: &str = "udf.toml";

/// Which component, and which UDF of it.
#[derive(Clone, Debug, Args)]
pub(super) struct ComponentArgs {
    /// The component's file, with #NAME where it holds several UDFs; or a UDF project's folder
    #[arg(value_name = "COMPONENT", default_value = ".")]
    component: String,
}

/// What a UDF's project says of itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Manifest {
    /// The UDF's name.
    pub(super) name: String,
    /// What it is written in.
    language: String,
    /// The version of the SDK that it was begun with.
    sdk: String,
}

impl Manifest {
    /// Reads that of the project in a folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
                "{} has no {MANIFEST}: go to a UDF's project, or begin one with \
                 `millrace udf new --lang rust --kind transform NAME`",
                folder.display()
            ),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// What it is written in.
    pub(super) fn language(&self) -> Result<Language> {
        Language::parse(&self.language).with_context(|| format!("{MANIFEST}: language"))
    }

    /// Whether this binary's SDK is one that the project can be built with: of the same minor version, or as long as that is
    /// 0 of the same.
    pub(super) fn fits(&self) -> Result<()> {
        let minor = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
        if minor(&self.sdk) == minor(sdk::VERSION) {
            return Ok(());
        }
        bail!(
            "{MANIFEST}: the project was begun with the SDK {}, and this millrace brings {}: read its CHANGELOG, then write \
             `sdk = \"{}\"` there",
            self.sdk,
            sdk::VERSION,
            sdk::VERSION
        );
    }
}

/// A component with an engine that runs it.
pub(super) struct Loaded {
    /// Its file.
    pub(super) file: PathBuf,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// The engine.
    pub(super) engine: Engine,
    /// It.
    pub(super) component: Component,
    /// The UDF that was asked for.
    pub(super) name: Option<String>,
    /// The project's folder, where one was named.
    pub(super) folder: Option<PathBuf>,
}

/// A UDF that is bound to columns.
pub(super) enum Bound {
    /// A transform.
    Transform(Arc<dyn TransformFactory>),
    /// An aggregate.
    Aggregate(Arc<dyn AggregateFactory>),
}

impl Bound {
    /// Makes an instance and lets go of it.
    pub(super) fn start(&self) -> Result<()> {
        match self {
            Self::Transform(factory) => factory.create().map(drop)?,
            Self::Aggregate(factory) => factory.create().map(drop)?,
        }
        Ok(())
    }
}

impl ComponentArgs {
    /// The component of the UDF project in a folder.
    pub(super) fn of_folder(folder: &str) -> Self {
        Self { component: folder.to_owned() }
    }

    /// Finds and loads it.
    pub(super) fn load(&self) -> Result<Loaded> {
        let (path, name) = match self.component.rsplit_once('#') {
            Some((path, name)) if !name.is_empty() => (path, Some(name.to_owned())),
            _ => (self.component.as_str(), None),
        };
        let path = Path::new(path);
        let (file, folder) =
            if path.is_dir() { (built(path)?, Some(path.to_owned())) } else { (path.to_owned(), None) };
        let bytes = fs::read(&file).with_context(|| format!("{}", file.display()))?;
        let engine = engine(true)?;
        let component = engine.load(&bytes).with_context(|| format!("{}", file.display()))?;
        Ok(Loaded { file, bytes, engine, component, name, folder })
    }
}

/// The component of a UDF's project.
fn built(folder: &Path) -> Result<PathBuf> {
    let Manifest { name, .. } = Manifest::read(folder)?;
    let file = folder.join(format!("{name}.wasm"));
    if !file.exists() {
        bail!("{} is not there: `millrace udf build` makes it", file.display());
    }
    Ok(file)
}

/// An engine; `cached` with the compiled components of before.
pub(super) fn engine(cached: bool) -> Result<Engine> {
    let cache = if cached { cache_folder() } else { None };
    Ok(Engine::new(EngineOptions { cache, max_instances: 32 })?)
}

/// Where what is compiled is kept between commands; none where the user has no such place.
fn cache_folder() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    Some(base.join("millrace").join("compiled"))
}

impl Loaded {
    /// The name of the UDF that is meant: the one that was asked for, or `wanted`, or the only one that there is.
    pub(super) fn udf(&self, wanted: Option<&str>) -> Result<(String, bool)> {
        let (transforms, aggregates) = (self.component.transforms(), self.component.aggregates());
        let all = || transforms.iter().map(|name| (name, false)).chain(aggregates.iter().map(|name| (name, true)));
        let file = self.file.display();
        let names = || all().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        match wanted.or(self.name.as_deref()) {
            Some(wanted) => match all().find(|(name, _)| *name == wanted) {
                Some((name, aggregates)) => Ok((name.clone(), aggregates)),
                None => bail!("{file} holds no `{wanted}`; it holds {}", names()),
            },
            None => match all().collect::<Vec<_>>().as_slice() {
                [(name, aggregates)] => Ok(((*name).clone(), *aggregates)),
                _ => bail!("{file} holds several UDFs: say which, as in {file}#NAME; it holds {}", names()),
            },
        }
    }

    /// Binds a UDF.
    pub(super) fn bind(
        &self,
        name: &str,
        aggregates: bool,
        input: &[FieldRef],
        options: &str,
        limits: Limits,
    ) -> Result<Bound, BindError> {
        Ok(if aggregates {
            Bound::Aggregate(self.component.aggregate(Some(name), input, options, limits)?)
        } else {
            Bound::Transform(self.component.transform(Some(name), input, options, limits)?)
        })
    }
}
