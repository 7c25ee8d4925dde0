//! What all commands that take a project have in common: the file, its overrides, the engine and the plan.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use millrace::config::diagnostics::SourceText;
use millrace::config::plan::{Plan, plan};
use millrace::config::project::Project;
use millrace::config::read;
use millrace::wasm::{Engine, EngineOptions};

/// Which project.
#[derive(Clone, Debug, Args)]
pub(super) struct ProjectArgs {
    /// The project file
    #[arg(value_name = "PROJECT")]
    file: PathBuf,

    /// Set a value of the project file (`views.NAME.ttl=1h`), or a variable that it reads (`STREAM=transactions_file`);
    /// may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, as in --set serve.http=127.0.0.1:7000".into()),
    }
}

impl ProjectArgs {
    /// Reads the file.
    pub(super) fn read(&self) -> Result<(Project, SourceText)> {
        Ok(read(&self.file, &|name| std::env::var(name).ok(), &self.overrides)?)
    }

    /// Reads and plans it; compiled components are kept in its data folder.
    pub(super) fn plan(&self) -> Result<(Project, Plan)> {
        let (project, text) = self.read()?;
        let plan = Self::plan_of(&project, &text)?;
        Ok((project, plan))
    }

    /// Plans a project that was read; compiled components are kept in its data folder.
    fn plan_of(project: &Project, text: &SourceText) -> Result<Plan> {
        Ok(plan(project, text, &Self::engine_of(project)?)?)
    }

    /// An engine that keeps what it compiles in the project's data folder.
    pub(super) fn engine_of(project: &Project) -> Result<Engine> {
        let cache = project.data_dir.join("compiled");
        std::fs::create_dir_all(&cache).with_context(|| format!("data-dir {}", project.data_dir.display()))?;
        Ok(Engine::new(EngineOptions { cache: Some(cache), ..EngineOptions::default() })?)
    }
}
