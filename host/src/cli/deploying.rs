//! Has other versions of UDFs take over in a run: finds the component, plans with it, makes the instances beside the
//! stream, and goes over at the next barrier; and goes back by itself where a version is to be withdrawn.
//!
//! Always true: one at a time; a version that is gone back from is not on trial again, and neither is the one that is gone
//! back to, so nothing goes to and fro by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use millrace::config::diagnostics::SourceText;
use millrace::config::plan::{Choice, Choices, plan_with};
use millrace::config::project::Project;
use millrace::engine::checkpoint::Active;
use millrace::engine::verdict::Verdict;
use millrace::serve::admin::{ActivateReport, Activating, Refused};
use millrace::store::registry::{Activation, Digest, Registry};
use millrace::suggest::suggestion;
use millrace::time::Clock;
use millrace::topology::activation::{Activated, ActivationError, Activator, Current};
use millrace::wasm::Engine;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::choosing::Chosen;

/// How often it is looked for versions that are to be withdrawn; how long after a failure it is tried again.
const LOOK: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_secs(1);

/// Who goes back by himself.
const MILLRACE: &str = "millrace";

/// Activates versions in one run.
#[derive(Clone)]
pub(super) struct Deployer(Arc<Inner>);

struct Inner {
    project: Project,
    text: SourceText,
    engine: Engine,
    registry: Registry,
    activator: Activator,
    clock: Arc<dyn Clock>,
    /// Where it is said of UDFs that they are to be withdrawn.
    verdicts: Mutex<BTreeMap<String, Arc<Verdict>>>,
    /// One at a time.
    busy: tokio::sync::Mutex<()>,
}

/// What takes over.
struct Wanted {
    udf: String,
    digest: Digest,
    by: String,
    why: String,
    /// Whether the version that runs now can take its place again.
    on_trial: bool,
}

impl Deployer {
    pub(super) fn new(
        (project, text): (Project, SourceText),
        engine: Engine,
        chosen: &Chosen,
        activator: Activator,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let verdict = |(name, choice): (&String, &Choice)| Some((name.clone(), choice.verdict.clone()?));
        let verdicts = Mutex::new(chosen.choices.iter().filter_map(verdict).collect());
        let registry = chosen.registry.clone();
        let busy = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { project, text, engine, registry, activator, clock, verdicts, busy }))
    }

    /// Looks for versions that are to be withdrawn, and goes back from them, until it is aborted.
    pub(super) fn watch(&self) -> JoinHandle<()> {
        let deployer = self.clone();
        tokio::spawn(async move {
            loop {
                sleep(LOOK).await;
                let Some((udf, verdict)) = deployer.0.to_withdraw() else { continue };
                let reason = verdict.given().unwrap_or_default().to_owned();
                tracing::error!(udf, "the version is withdrawn: {reason}");
                if let Err(error) = deployer.back(udf.clone(), MILLRACE.into(), reason, Some(verdict)).await {
                    tracing::error!(
                        udf,
                        "it cannot be gone back to the version before, its rows go to the dead letters: {error}"
                    );
                    sleep(AGAIN).await;
                }
            }
        })
    }

    /// Goes back to the version before; with a verdict only from the version that it is on.
    async fn back(
        &self,
        udf: String,
        by: String,
        why: String,
        verdict: Option<Arc<Verdict>>,
    ) -> Result<ActivateReport, Refused> {
        let inner = &self.0;
        let _turn = inner.busy.lock().await;
        let active = inner.active(&udf)?;
        if verdict.is_some_and(|verdict| !inner.verdict(&udf).is_some_and(|now| Arc::ptr_eq(&now, &verdict))) {
            let digest = active.digest;
            return Ok(ActivateReport { udf, digest, epoch: active.epoch, already: true, ..ActivateReport::default() });
        }
        let Some(former) = active.former else {
            let versions = "`millrace activate` takes any version that `millrace versions` lists";
            return Err(Refused::Conflict(format!(
                "UDF {udf} has no version before {:.12}: {versions}",
                active.digest
            )));
        };
        let digest = Digest::parse(&former).map_err(|error| Refused::Conflict(error.to_string()))?;
        inner.clone().go_over(Wanted { udf, digest, by, why, on_trial: false }).await
    }
}

impl Activating for Deployer {
    fn activate(
        &self,
        udf: String,
        version: String,
        by: String,
        why: String,
    ) -> BoxFuture<'_, Result<ActivateReport, Refused>> {
        async move {
            let inner = &self.0;
            let _turn = inner.busy.lock().await;
            inner.active(&udf)?;
            let digest = inner.registry.resolve(&udf, &version).map_err(|error| Refused::Unknown(error.to_string()))?;
            inner.clone().go_over(Wanted { udf, digest, by, why, on_trial: true }).await
        }
        .boxed()
    }

    fn rollback(&self, udf: String, by: String, why: String) -> BoxFuture<'_, Result<ActivateReport, Refused>> {
        self.back(udf, by, why, None).boxed()
    }
}

impl Inner {
    /// The version of a UDF that runs.
    fn active(&self, udf: &str) -> Result<Active, Refused> {
        let current = self.activator.current();
        current.udfs.get(udf).cloned().ok_or_else(|| {
            let names = self.project.udfs.iter().map(|udf| udf.name.value.as_str());
            Refused::Unknown(format!("the project has no UDF {udf}{}", suggestion(udf, names)))
        })
    }

    fn to_withdraw(&self) -> Option<(String, Arc<Verdict>)> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let (udf, verdict) = verdicts.iter().find(|(_, verdict)| verdict.given().is_some())?;
        Some((udf.clone(), verdict.clone()))
    }

    /// Where it is said that the version that runs is to be withdrawn; none where none could take its place.
    fn verdict(&self, udf: &str) -> Option<Arc<Verdict>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(udf).cloned()
    }

    async fn go_over(self: Arc<Self>, wanted: Wanted) -> Result<ActivateReport, Refused> {
        let current = self.activator.current();
        let active = self.active(&wanted.udf)?;
        let report = ActivateReport {
            udf: wanted.udf.clone(),
            digest: wanted.digest.to_string(),
            former: active.digest.clone(),
            ..ActivateReport::default()
        };
        if active.digest == wanted.digest.as_str() {
            return Ok(ActivateReport { epoch: active.epoch, already: true, ..report });
        }
        let inner = self.clone();
        let (prepared, verdict, wanted) = spawn_blocking(move || {
            let prepared = inner.prepare(&current, &wanted);
            prepared.map(|(prepared, verdict)| (prepared, verdict, wanted))
        })
        .await
        .map_err(|error| Refused::Conflict(format!("preparing the version failed: {error}")))??;
        let Activated { epoch, took } = self.activator.activate(prepared).await.map_err(refused)?;
        {
            let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
            verdicts.remove(&wanted.udf);
            verdicts.extend(verdict.map(|verdict| (wanted.udf.clone(), verdict)));
        }
        let Wanted { udf, digest, by, why, .. } = wanted;
        tracing::info!(udf, epoch, by, why, "{} runs in place of {:.12}", digest.short(), report.former);
        metrics::counter!("millrace_activations_total", "udf" => udf.clone()).increment(1);
        let from = Digest::parse(&report.former).ok();
        let record = Activation { udf, digest, from, epoch, who: by, when: self.clock.now(), why };
        let registry = self.registry.clone();
        // What runs is in the commit record; this is for people.
        match spawn_blocking(move || registry.activated(record)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the registry does not name the activation"),
            Err(error) => tracing::warn!(%error, "the registry does not name the activation"),
        }
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let milliseconds = took as f64 / 1e3;
        Ok(ActivateReport { epoch, milliseconds, ..report })
    }

    /// Plans with the version and makes its instances.
    fn prepare(
        &self,
        current: &Current,
        wanted: &Wanted,
    ) -> Result<(millrace::topology::activation::Activation, Option<Arc<Verdict>>), Refused> {
        let unfit = |error: String| Refused::Unfit(error);
        let verdict = wanted.on_trial.then(Arc::<Verdict>::default);
        let mut choices = Choices::new();
        let mut udfs = current.udfs.clone();
        for (name, active) in &mut udfs {
            let digest = if *name == wanted.udf {
                let former = wanted.on_trial.then(|| active.digest.clone());
                let (by, why, at) = (wanted.by.clone(), wanted.why.clone(), self.clock.now());
                *active = Active { digest: wanted.digest.to_string(), former, epoch: 0, at, by, why };
                wanted.digest.clone()
            } else {
                Digest::parse(&active.digest).map_err(|error| unfit(error.to_string()))?
            };
            let component = self.registry.get(&digest).map_err(|error| unfit(error.to_string()))?;
            let verdict = if *name == wanted.udf { verdict.clone() } else { self.verdict(name) };
            choices.insert(name.clone(), Choice { component: Some(component.into()), verdict });
        }
        let plan = plan_with(&self.project, &self.text, &self.engine, &choices);
        let plan = plan.map_err(|errors| unfit(errors.to_string()))?;
        let prepared = self.activator.prepare(Arc::new(plan), udfs).map_err(refused)?;
        Ok((prepared, verdict))
    }
}

fn refused(error: ActivationError) -> Refused {
    match error {
        ActivationError::Shape(_) | ActivationError::Instance(_) => Refused::Unfit(error.to_string()),
        _ => Refused::Conflict(error.to_string()),
    }
}
