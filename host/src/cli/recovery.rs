//! Where a run goes on: the newest epoch that was committed, held against the project as it is now, and everything that
//! was written after it cut back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use millrace::config::plan::{OutputTarget, Plan};
use millrace::config::project::Project;
use millrace::engine::checkpoint::{Active, Commit, Protocol, Step};
use millrace::failpoint::{self, Point};
use millrace::room::Room;
use millrace::sink::kafka::{Delivery, Identity, Publisher};
use millrace::store::dead_letter::DeadLetterWriter;
use millrace::store::input::InputLog;
use millrace::store::log::LogWriter;
use millrace::store::state::{Outbox, Recovery, StateStore};
use millrace::topology::State;
use millrace::topology::publishing::Publishing;
use millrace::topology::resume::{Differences, Resume, differences};

/// A project's state, and how far what it wrote counts.
pub(super) struct Recovered {
    /// What the topology goes on from.
    pub(super) state: State,
    /// The project's folder.
    folder: PathBuf,
}

/// What a project has kept, as it was found.
pub(super) struct Kept {
    store: StateStore,
    recovery: Recovery,
}

/// Opens the state and finds the epoch to go on from.
pub(super) fn open(project: &Project, room: &Room) -> Result<Kept> {
    let folder = project.data_dir.join("state");
    let store = StateStore::open(&folder, &project.name.value)?.with_retain(project.checkpoint.retain).within(room);
    let recovery = store.recover()?;
    for epoch in &recovery.passed_over {
        tracing::warn!(
            epoch,
            "the epoch was begun and never committed: it is passed over, and its events are read again"
        );
    }
    Ok(Kept { store, recovery })
}

impl Kept {
    /// The record of that epoch.
    pub(super) fn commit(&self) -> Option<&Commit> {
        self.recovery.commit.as_ref()
    }
}

/// Goes on from what was kept, with this plan; nothing is cut back yet. `drop_changed` lets go of what does not fit the
/// project any more.
pub(super) fn recover(
    Kept { mut store, recovery }: Kept,
    project: &Project,
    plan: &Plan,
    drop_changed: bool,
    room: &Room,
) -> Result<Recovered> {
    let epoch = recovery.next_epoch.saturating_sub(1);
    let resume = match &recovery.commit {
        None => Resume { epoch, ..Resume::default() },
        Some(commit) => {
            let found = differences(plan, commit);
            if found.lose_state() && !drop_changed {
                bail!("{}", refusal(project, &found));
            }
            // Read before anything is cut back, since reading verifies it.
            let resume = Resume::from_commit(plan, &store, commit, epoch, streamed_beyond(project))?;
            tell(commit, &found);
            found.unused.iter().for_each(|stage| store.forget(stage));
            resume
        }
    };
    failpoint::reach(Point::StateRead);
    let term = store.next_term()?;
    let keeps = plan.sources.iter().any(|source| !source.kind.is_kept());
    let input = if keeps { Some(InputLog::open(&project.data_dir.join("input"))?.within(room)) } else { None };
    let followed = Some(project.data_dir.join("followed"));
    let state = State { store, term, resume, before: recovery.commit, input, followed };
    Ok(Recovered { state, folder: project.folder.clone() })
}

/// How much state is read whole at a start: as parts, and once more in the operators.
fn streamed_beyond(project: &Project) -> Option<u64> {
    project.runtime.memory.map(|memory| memory / 8)
}

impl Recovered {
    /// Cuts the log back to what was committed.
    pub(super) fn cut_back_log(&self, log: &mut LogWriter) -> Result<()> {
        // A log without a state beside it stays as it is: somebody may have deleted the state alone.
        if let Some(commit) = &self.state.before {
            log.cut_back(&commit.log)?;
        }
        log.flush()?;
        Ok(())
    }

    /// Cuts the dead letters back to what was committed; those of a start from nothing stay.
    pub(super) fn cut_back_dead_letters(&self, letters: &mut DeadLetterWriter) -> Result<()> {
        if let Some(commit) = &self.state.before {
            letters.cut_back(commit.dead_letters)?;
            letters.flush()?;
        }
        Ok(())
    }

    /// The outboxes as they were committed, and who publishes them; none where no output has one.
    pub(super) fn outboxes(&self, plan: &Plan) -> Result<(Option<Outbox>, Option<Publishing>)> {
        let identity = Identity { project: plan.name.clone(), state: self.state.store.id() };
        let views = plan.views.iter().map(|view| &view.outputs);
        let outputs = views.chain(plan.services.iter().map(|service| &service.outputs)).flatten();
        let mut publishers = Vec::new();
        for output in outputs {
            if let OutputTarget::Kafka(options) = &output.target
                && options.delivery != Delivery::AtLeastOnce
            {
                publishers.push((options.id.clone(), Publisher::open(options, &identity)?));
            }
        }
        let marks = self.state.before.as_ref().map(|commit| commit.outboxes.clone()).unwrap_or_default();
        // Also without an output now: one that comes back goes on where it was.
        if publishers.is_empty() && marks.is_empty() {
            return Ok((None, None));
        }
        let outbox = self.state.store.outbox(&marks)?;
        let publishing = Publishing::new(outbox.reader(), publishers, marks);
        Ok((Some(outbox), Some(publishing)))
    }

    /// Commits where this run begins, if nothing was committed before: so that all it writes can be cut back.
    pub(super) fn begin(
        &mut self,
        log: Option<&LogWriter>,
        letters: &DeadLetterWriter,
        udfs: &BTreeMap<String, Active>,
    ) -> Result<()> {
        if self.state.before.is_some() {
            return Ok(());
        }
        let State { store, term, resume, .. } = &mut self.state;
        resume.epoch = resume.next_epoch();
        let mut protocol = Protocol::begin(resume.epoch, 0);
        protocol.done(Step::Settle)?;
        let commit = Commit {
            epoch: resume.epoch,
            term: *term,
            project: store.project().to_owned(),
            log: log.map(|log| log.marks().clone()).unwrap_or_default(),
            dead_letters: letters.next_sequence(),
            udfs: udfs.clone(),
            ..Commit::default()
        };
        store.commit(&mut protocol, commit)?;
        failpoint::reach(Point::Baseline);
        Ok(())
    }

    /// How long an output file was when the epoch was committed.
    pub(super) fn output(&self, name: &str) -> u64 {
        let marks = self.state.before.as_ref().map(|commit| &commit.outputs);
        marks.and_then(|marks| marks.get(name)).copied().unwrap_or(0)
    }

    /// What an output file is known by: its path from the project's folder, which may be moved or named otherwise.
    pub(super) fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }

    /// Whether all that there is was read before.
    pub(super) fn has_ended(&self, plan: &Plan) -> bool {
        let sources = self.state.before.as_ref().map(|commit| commit.sources.as_slice()).unwrap_or_default();
        let ended = |name: &str| {
            let source = sources.iter().find(|source| source.name == name);
            source.is_some_and(|source| {
                !source.partitions.is_empty() && source.partitions.iter().all(|partition| partition.ended)
            })
        };
        plan.sources.iter().all(|source| source.kind.is_bounded() && ended(&source.name))
    }
}

fn tell(commit: &Commit, found: &Differences) {
    tracing::info!(epoch = commit.epoch, "going on from the last checkpoint");
    for view in &found.new {
        tracing::info!("{view} is new: it begins where the sources stand");
    }
    for (source, before) in &found.moved {
        tracing::warn!("source {source} reads something else than {before}: it is read from its start");
    }
    for lost in found.changed.iter().chain(&found.gone) {
        tracing::warn!("the state of {lost} is dropped, as asked");
    }
}

fn refusal(project: &Project, found: &Differences) -> String {
    let mut lines = vec!["the project has changed since its state was kept:".to_owned()];
    lines.extend(found.changed.iter().map(|name| format!("  {name} is defined otherwise")));
    lines.extend(found.gone.iter().map(|name| format!("  {name} is no longer there")));
    lines
        .extend(found.moved.iter().map(|(name, before)| format!("  source {name} reads something else than {before}")));
    lines.push(format!(
        "Take the change back; or run with --drop-changed, which drops the state of these and keeps that of all others; \
         or give the project another data-dir than {}, to begin afresh",
        project.data_dir.display()
    ));
    lines.join("\n")
}
