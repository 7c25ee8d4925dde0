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
use millrace::config::plan::{Choice, Choices};
use millrace::config::project::{Project, Udf};
use millrace::engine::checkpoint::{Active, Commit};
use millrace::engine::verdict::Verdict;
use millrace::store::registry::{Digest, Entry, FOLDER, Registry};
use millrace::time::{Micros, rfc3339};

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
    /// The components.
    pub(super) choices: Choices,
    /// The versions.
    pub(super) udfs: BTreeMap<String, Active>,
    /// Where versions are kept.
    pub(super) registry: Registry,
}

/// Chooses, by the newest commit record and what was asked for.
pub(super) fn choose(project: &Project, commit: Option<&Commit>, adopt: Option<Adopt>, now: Micros) -> Result<Chosen> {
    let registry = Registry::open(&project.data_dir.join(FOLDER))?;
    let (mut choices, mut udfs) = (Choices::new(), BTreeMap::new());
    for udf in &project.udfs {
        let name = &udf.name.value;
        let ran = commit.and_then(|commit| commit.udfs.get(name));
        let (choice, active) = one(udf, ran, adopt, &registry, now).with_context(|| format!("UDF {name}"))?;
        choices.insert(name.clone(), choice);
        udfs.extend(active.map(|active| (name.clone(), active)));
    }
    Ok(Chosen { choices, udfs, registry })
}

fn one(
    udf: &Udf,
    ran: Option<&Active>,
    adopt: Option<Adopt>,
    registry: &Registry,
    now: Micros,
) -> Result<(Choice, Option<Active>)> {
    let name = &udf.name.value;
    // Where it cannot be read planning says so, unless another one runs.
    let file = fs::read(&udf.component.value).ok();
    let digest = file.as_deref().map(Digest::of);
    let entry = |why: String| Entry { udf: name.clone(), who: FILE.into(), when: now, why, ..Entry::default() };
    let put = |bytes: &[u8]| registry.put(bytes, entry(udf.component.value.display().to_string()));
    let from_file = |former: Option<&Active>, by: &str| -> Result<(Choice, Option<Active>)> {
        let Some((bytes, digest)) = file.as_ref().zip(digest.as_ref()) else {
            return Ok((Choice::default(), None));
        };
        put(bytes)?;
        let former = former.map(|former| former.digest.clone());
        let active = Active { digest: digest.to_string(), former, at: now, by: by.into(), ..Active::default() };
        Ok((chosen(Some(bytes.as_slice().into()), &active), Some(active)))
    };
    let Some(ran) = ran else { return from_file(None, FILE) };
    if digest.as_ref().is_some_and(|digest| digest.as_str() == ran.digest) {
        return Ok((chosen(file.map(Into::into), ran), Some(ran.clone())));
    }
    let shown = digest.as_ref().map_or("nothing that can be read", Digest::short);
    if adopt == Some(Adopt::File) {
        tracing::info!(udf = name, "the project file's {shown} takes the place of {:.12}, as asked", ran.digest);
        return from_file(Some(ran), "run --adopt file");
    }
    let at = rfc3339(ran.at);
    let Active { digest: running, by, .. } = ran;
    let bytes = match Digest::parse(running).map(|digest| registry.get(&digest)) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            bail!("{running:.12} ran last, and cannot be had: {error}; `--adopt file` runs {shown} instead")
        }
        Err(error) => bail!("the state names {running:?} as its version: {error}; `--adopt file` runs {shown} instead"),
    };
    tracing::warn!(
        udf = name,
        "{running:.12} runs, which {by} activated at {at}; the project file has {shown}: `millrace run --adopt file` takes that"
    );
    Ok((chosen(Some(bytes.into()), ran), Some(ran.clone())))
}

/// A component that can be withdrawn if there is one that ran before.
fn chosen(component: Option<Arc<[u8]>>, active: &Active) -> Choice {
    let verdict = active.former.as_ref().map(|_| Arc::<Verdict>::default());
    Choice { component, verdict }
}
