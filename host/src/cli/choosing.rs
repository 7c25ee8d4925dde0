//! Which version of each UDF a run begins with: the one that ran last, which the newest commit record names, wherever that
//! came from; at the first start the one that the project file names.
//!
//! Always true: what runs is in the registry, so that it can be gone back to; where the project file names another
//! component than the one that runs, both are said.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use millrace::config::plan::{Choice, Choices, Plan};
use millrace::config::project::{Project, Udf};
use millrace::engine::checkpoint::{Active, Commit};
use millrace::engine::verdict::Verdict;
use millrace::store::registry::{Digest, Entry, Registry};
use millrace::time::{Micros, rfc3339};

use super::versions;

/// Who activates what a project file names.
const FILE: &str = "project file";

/// What runs where the project file names another component than the one that ran last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Adopt {
    /// The one that the project file names
    File,
}

/// What a run begins with.
pub(super) struct Chosen {
    /// The components, where they are not those of the project file.
    pub(super) choices: Choices,
    /// The versions.
    pub(super) udfs: BTreeMap<String, Active>,
    /// Where versions are kept.
    pub(super) registry: Registry,
    /// The UDFs that the project file's component is new for, with the version before.
    adopted: Vec<(Udf, Option<Active>)>,
}

/// Chooses, by the newest commit record and what was asked for.
pub(super) fn choose(project: &Project, commit: Option<&Commit>, adopt: Option<Adopt>) -> Result<Chosen> {
    let registry = versions::open(&project.data_dir)?;
    let mut chosen = Chosen { choices: Choices::new(), udfs: BTreeMap::new(), registry, adopted: Vec::new() };
    for udf in &project.udfs {
        let ran = commit.and_then(|commit| commit.udfs.get(&udf.name.value));
        chosen.one(udf, ran, adopt).with_context(|| format!("UDF {}", udf.name.value))?;
    }
    Ok(chosen)
}

impl Chosen {
    fn one(&mut self, udf: &Udf, ran: Option<&Active>, adopt: Option<Adopt>) -> Result<()> {
        let name = &udf.name.value;
        let Some(ran) = ran else {
            self.adopted.push((udf.clone(), None));
            return Ok(());
        };
        // Where it cannot be read planning says so, unless another one runs.
        let digest = fs::read(&udf.component.value).ok().as_deref().map(Digest::of);
        let shown = digest.as_ref().map_or("nothing that can be read", Digest::short);
        let Active { digest: running, by, .. } = ran;
        let as_in_file = digest.as_ref().is_some_and(|digest| digest.as_str() == running);
        if adopt == Some(Adopt::File) && !as_in_file {
            tracing::info!(udf = name, "the project file's {shown} takes the place of {running:.12}, as asked");
            self.adopted.push((udf.clone(), Some(ran.clone())));
            self.choices.insert(name.clone(), Choice { component: None, verdict: Some(Arc::default()) });
            return Ok(());
        }
        let mut component = None;
        if !as_in_file {
            let bytes = match Digest::parse(running).map(|digest| self.registry.get(&digest)) {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(error)) => {
                    bail!("{running:.12} ran last, and cannot be had: {error}; `--adopt file` runs {shown} instead")
                }
                Err(error) => {
                    bail!("the state says that {running:?} ran: {error}; `--adopt file` runs {shown} instead")
                }
            };
            tracing::warn!(
                udf = name,
                "{running:.12} runs, which {by} activated at {}; the project file has {shown}: `millrace run --adopt file` \
                 takes that",
                rfc3339(ran.at)
            );
            component = Some(bytes.into());
        }
        let verdict = ran.former.as_ref().map(|_| Arc::<Verdict>::default());
        self.choices.insert(name.clone(), Choice { component, verdict });
        self.udfs.insert(name.clone(), ran.clone());
        Ok(())
    }

    /// Takes up what has turned out to be good components of the project file.
    pub(super) fn settle(&mut self, plan: &Plan, now: Micros) -> Result<()> {
        for (udf, former) in std::mem::take(&mut self.adopted) {
            let (name, path) = (&udf.name.value, &udf.component.value);
            let Some(planned) = plan.udfs.get(name) else { continue };
            let bytes = fs::read(path).with_context(|| format!("component {}", path.display()))?;
            let entry = Entry {
                udf: name.clone(),
                who: FILE.into(),
                when: now,
                why: path.display().to_string(),
                ..Entry::default()
            };
            let digest = self.registry.put(&bytes, entry).with_context(|| format!("UDF {name}"))?;
            if digest.as_str() != planned {
                bail!("UDF {name}: {} has changed while the run began: start it again", path.display());
            }
            let by = if former.is_some() { "run --adopt file" } else { FILE };
            let former = former.map(|former| former.digest);
            let active = Active { digest: planned.clone(), former, at: now, by: by.into(), ..Active::default() };
            self.udfs.insert(name.clone(), active);
        }
        Ok(())
    }
}
