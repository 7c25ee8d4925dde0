//! Puts the admin listener on top of a running topology, and its address into the data folder for as long.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use millrace::config::plan::{Plan, SourcePlan};
use millrace::config::project::{Project, SourceKind};
use millrace::room::Room;
use millrace::serve::ServeError;
use millrace::serve::admin::graph::{Advance, Edge, Graph, PartitionNode, ServiceNode, SourceNode, ViewNode};
use millrace::serve::admin::{self, Admin, Audit, Listening, RebuildReport, Rebuilding, ViewReport};
use millrace::store::dead_letter::DeadLetterReader;
use millrace::store::registry::Registry;
use millrace::time::{Clock, Micros, rfc3339};
use millrace::topology::Running;
use millrace::topology::activation::Activator;
use millrace::topology::board::{Board, PartitionStatus, State};
use millrace::topology::rebuilding::{Progress, Rebuilds, ViewProgress};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::deploying::Deployer;
use super::held::{ADDRESS, CERTIFICATE};
use super::versions::Workshop;

/// The admin listener at work.
pub(super) struct Administering {
    task: JoinHandle<Result<(), ServeError>>,
    stop: watch::Sender<bool>,
    _address: AddressFile,
}

/// Listens where the project says; where it says nothing, at the usual port or another that is free.
pub(super) async fn bind(project: &Project) -> Result<Listening> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, admin::PORT));
    let said = project.serve.admin.as_ref().map(|address| address.value);
    let address = said.unwrap_or(usual);
    if !address.ip().is_loopback() && project.serve.tls.is_none() {
        tracing::warn!(%address, "operators' tokens go over the network as they are: `serve.tls` encrypts them");
    }
    Ok(admin::bind(address, said.is_none(), project.serve.tls.as_ref()).await?)
}

/// What the listener is put on top of.
pub(super) struct Below<'a> {
    /// The project.
    pub(super) project: &'a Project,
    /// The dead letters.
    pub(super) letters: DeadLetterReader,
    /// What runs.
    pub(super) running: &'a Running,
    /// Has other versions of UDFs take over.
    pub(super) deployer: Deployer,
    /// Judges them.
    pub(super) workshop: Workshop,
    /// Where they are kept.
    pub(super) registry: Registry,
    /// The disk of the data folder.
    pub(super) room: Room,
    /// Since when.
    pub(super) started: Micros,
    /// The present.
    pub(super) clock: &'a Arc<dyn Clock>,
}

impl Administering {
    /// Starts to answer.
    pub(super) fn start(listener: Listening, below: Below<'_>) -> Result<Self> {
        let Below { project, letters, running, deployer, workshop, registry, room, started, clock } = below;
        let audit = Audit::open(&project.data_dir).context("the audit log in data-dir")?;
        let bound = listener.local_addr().context("serve.admin")?;
        let address = AddressFile::write(&project.data_dir, bound, listener.certificate())?;
        let scheme = if listener.certificate().is_some() { "https" } else { "http" };
        tracing::info!("operators are answered on {scheme}://{bound}");
        let plan = running.activator().current().plan;
        let activator = running.activator().clone();
        let wiring = Wiring { activator, board: running.board().clone(), edges: edges(project, &plan) };
        let services = project.services.iter().map(|service| service.name.value.clone()).collect::<Vec<_>>();
        let entities = project
            .views
            .iter()
            .map(|view| view.entity.as_ref().map(|entity| entity.value.clone()))
            .collect::<Vec<_>>();
        let now = clock.clone();
        let again = wiring.again();
        let admin = Admin {
            letters,
            replays: running.entrances().replays.clone(),
            started,
            reads: Arc::new(again),
            views: plan.views.iter().map(|view| view.name.clone()).collect(),
            graph: Arc::new(move || wiring.graph(now.now(), &entities, &services)),
            online: Arc::new(Online(running.rebuilds().clone())),
            activating: Arc::new(deployer),
            inventory: Arc::new(workshop),
            registry,
            room: Some(room),
            tokens: project.serve.tokens.clone(),
            audit: Some(audit),
            clock: clock.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(admin::run(listener, admin, stopped));
        Ok(Self { task, stop, _address: address })
    }

    /// Ends it.
    pub(super) async fn end(self) -> Result<()> {
        self.stop.send_replace(true);
        Ok(self.task.await.context("the admin listener died")??)
    }
}

/// The topology's rebuilds, as HTTP asks for them.
struct Online(Arc<Rebuilds>);

impl Rebuilding for Online {
    fn ask(&self, view: Option<&str>) -> Result<u64, String> {
        self.0.ask(view).map_err(|error| error.to_string())
    }

    fn report(&self) -> RebuildReport {
        let Progress { asked, over, views, failed, .. } = self.0.progress();
        let view = |(name, view): (String, ViewProgress)| {
            (name, ViewReport { done: view.done, chunks: view.chunks, rows: view.rows })
        };
        RebuildReport { asked, over, views: views.into_iter().map(view).collect(), failed }
    }
}

/// The address in the data folder, there for as long as this is; beside it the certificate that is shown there.
struct AddressFile(PathBuf);

/// Removes the address that a process left which was killed: whoever has just locked the folder calls this.
pub(super) fn forget(folder: &Path) -> Result<()> {
    let path = folder.join(ADDRESS);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

impl AddressFile {
    fn write(folder: &Path, address: SocketAddr, certificate: Option<&[u8]>) -> Result<Self> {
        let path = folder.join(ADDRESS);
        let new = folder.join(format!("{ADDRESS}.new"));
        if let Some(certificate) = certificate {
            fs::write(folder.join(CERTIFICATE), certificate).context("the certificate in data-dir")?;
        }
        let text = format!("{}{}\n", if certificate.is_some() { "https://" } else { "" }, asked_at(address));
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

/// Where this machine asks what listens at `address`, which may be all addresses of it.
fn asked_at(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(_) => (Ipv6Addr::LOCALHOST, address.port()).into(),
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(%error, "the admin address stays in the data folder");
        }
    }
}

/// What reads what.
fn edges(project: &Project, plan: &Plan) -> Vec<Edge> {
    let edge = |from: &str, to: &str, kind: &str| Edge { from: from.into(), to: to.into(), kind: kind.into() };
    let mut edges = Vec::new();
    for view in &project.views {
        let name = &view.name.value;
        edges.extend(view.from.iter().map(|from| edge(&from.value, name, "from")));
        edges.extend(view.joins.iter().map(|join| edge(&join.source.value, name, "join")));
    }
    for service in &project.services {
        for view in &plan.views {
            if service.features.iter().any(|feature| feature.view.value == view.name) {
                edges.push(edge(&view.name, &service.name.value, "service"));
            }
        }
    }
    edges
}

/// What a look at the graph needs.
struct Wiring {
    activator: Activator,
    board: Arc<Board>,
    edges: Vec<Edge>,
}

impl Wiring {
    /// Whether the run reads the event of a source at a partition's position itself: of a file or a topic, from the
    /// first that it has read there.
    fn again(&self) -> impl Fn(&str, u32, i64) -> bool + use<> {
        let (plan, board) = (self.plan(), self.board.clone());
        move |name, partition, offset| {
            let Some((index, source)) = (0..).zip(&plan.sources).find(|(_, source)| source.name == name) else {
                return false;
            };
            let known = board.partitions(index).into_iter().find(|known| known.origin.partition == partition);
            matches!(source.kind, SourceKind::Kafka { .. } | SourceKind::File { .. })
                && known.and_then(|known| known.first).is_none_or(|first| first <= offset)
        }
    }

    /// What runs.
    fn plan(&self) -> Arc<Plan> {
        self.activator.current().plan
    }

    fn graph(&self, now: Micros, entities: &[Option<String>], services: &[String]) -> Graph {
        let plan = self.plan();
        let sources: Vec<SourceNode> =
            plan.sources.iter().enumerate().map(|(index, source)| self.source(index, source, now)).collect();
        let mut views: Vec<ViewNode> = Vec::new();
        for (index, view) in plan.views.iter().enumerate() {
            let stopped = self.board.stopped(index).map(str::to_owned);
            let watermark = self.board.view_watermark(index);
            let state = if watermark.is_some() { "active" } else { "waiting" };
            let mut advance = Advance::new(self.board.view_event_time(index), watermark, now, state);
            advance.rows = self.board.view_rows(index);
            advance.rows_late = self.board.view_late(index);
            if stopped.is_some() {
                "stopped".clone_into(&mut advance.state);
            }
            let entity = entities.get(index).cloned().flatten();
            views.push(ViewNode { name: view.name.clone(), entity, advance, stopped, version: view.version.clone() });
        }
        self.mark_idle(&sources, &mut views);
        let services = services.iter().map(|name| ServiceNode { name: name.clone() });
        Graph {
            project: plan.name.clone(),
            time: rfc3339(now),
            sources,
            views,
            services: services.collect(),
            edges: self.edges.clone(),
        }
    }

    fn source(&self, index: usize, source: &SourcePlan, now: Micros) -> SourceNode {
        let (name, kind, format) = (source.name.clone(), kind(&source.kind), source.decoding.format.name());
        let partitions = self.board.partitions(u16::try_from(index).unwrap_or(u16::MAX));
        let has = |state| partitions.iter().any(|partition| partition.state == state);
        let state = match () {
            () if !self.board.announced(index) => "waiting",
            () if has(State::Active) => "active",
            () if has(State::Idle) => "idle",
            () => "ended",
        };
        let event_time = partitions.iter().filter_map(|partition| partition.event_time).max();
        let mut advance = Advance::new(event_time, self.board.source_watermark(index), now, state);
        advance.rows = partitions.iter().map(|partition| partition.events).sum();
        advance.rows_late = partitions.iter().map(|partition| partition.late).sum();
        let node = |partition: &PartitionStatus| {
            let state = match partition.state {
                State::Active if partition.event_time.is_none() => "waiting",
                State::Active => "active",
                State::Idle => "idle",
                State::Ended => "ended",
            };
            let mut advance = Advance::new(partition.event_time, partition.watermark, now, state);
            (advance.rows, advance.rows_late) = (partition.events, partition.late);
            PartitionNode { partition: partition.origin.partition, advance }
        };
        SourceNode {
            name,
            kind: kind.to_owned(),
            format: format.to_owned(),
            advance,
            partitions: partitions.iter().map(node).collect(),
        }
    }

    /// A view is idle while all that it reads is idle or has ended; found out as often as views can read views.
    fn mark_idle(&self, sources: &[SourceNode], views: &mut [ViewNode]) {
        for _ in 0..views.len() {
            let states: Vec<(String, String)> = sources
                .iter()
                .map(|source| (source.name.clone(), source.advance.state.clone()))
                .chain(views.iter().map(|view| (view.name.clone(), view.advance.state.clone())))
                .collect();
            let mut changed = false;
            for view in views.iter_mut().filter(|view| matches!(view.advance.state.as_str(), "active" | "waiting")) {
                let read = self.edges.iter().filter(|edge| edge.to == view.name && edge.kind != "service");
                let read: Vec<&str> = read
                    .filter_map(|edge| states.iter().find(|(name, _)| *name == edge.from))
                    .map(|(_, state)| state.as_str())
                    .collect();
                if read.contains(&"idle") && read.iter().all(|state| matches!(*state, "idle" | "ended")) {
                    "idle".clone_into(&mut view.advance.state);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }
}

/// The type of a source, as in the project file.
fn kind(kind: &SourceKind) -> &'static str {
    match kind {
        SourceKind::Kafka { .. } => "kafka",
        SourceKind::WebSocketConnect { .. } | SourceKind::WebSocketListen { .. } => "websocket",
        SourceKind::Push => "push",
        SourceKind::File { .. } => "file",
    }
}
