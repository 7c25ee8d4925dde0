//! Puts HTTP on top of a running topology.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use millrace::config::plan::{Plan, ViewPlan};
use millrace::config::project::{OnlineClock, Project};
use millrace::engine::watermark::AFTER_ALL;
use millrace::room::Room;
use millrace::serve::{
    self, App, Catalog, Freshness, Limits, Moment, PushError, PushSource, PushTarget, ServeError, ServiceFeature,
};
use millrace::sink::subscribers::Hub;
use millrace::source::push::{NotTaken, PushHandle};
use millrace::store::online::{OnlineReader, OnlineView};
use millrace::time::Clock;
use millrace::topology::Running;
use millrace::topology::board::Board;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Installs the recorder of all metrics; before anything is counted.
pub(super) fn record_metrics() -> Result<PrometheusHandle> {
    let recorder =
        serve::metrics::recorder().and_then(metrics_exporter_prometheus::PrometheusBuilder::install_recorder);
    recorder.context("metrics")
}

/// What is read from.
pub(super) struct Reads {
    /// The online store.
    pub(super) reader: Arc<dyn OnlineReader>,
    /// What can be listened to.
    pub(super) hub: Arc<Hub>,
    /// Where events are kept that are pushed.
    pub(super) room: Room,
}

/// A server at work.
pub(super) struct Serving {
    task: JoinHandle<Result<(), ServeError>>,
    stop: watch::Sender<bool>,
}

impl Serving {
    /// Starts to serve the project's views and services.
    pub(super) fn start(
        project: &Project,
        plan: &Plan,
        listener: TcpListener,
        reads: Reads,
        running: &Running,
        metrics: PrometheusHandle,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        let served = listener.local_addr().context("serve.http")?;
        let ingests = running.entrances().ingests.iter();
        let app = App {
            catalog: Arc::new(catalog(project, plan)?),
            reader: reads.reader,
            hub: reads.hub,
            pushes: pushes(plan, running, &reads.room),
            ingests: ingests.map(|(path, handle)| (path.clone(), target(handle, &reads.room))).collect(),
            freshness: Arc::new(freshness(project, plan, running.board(), clock)),
            metrics,
            ready: running.waiting_for(),
            limits: Limits::default(),
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve::run(listener, app, stopped));
        tracing::info!("serving on http://{served}");
        Ok(Self { task, stop })
    }

    /// Ends serving; where it is to linger, once `stopped` turns true.
    pub(super) async fn end(self, linger: bool, mut stopped: watch::Receiver<bool>) -> Result<()> {
        if linger {
            stopped.wait_for(|stopped| *stopped).await.context("signals")?;
        }
        self.stop.send_replace(true);
        Ok(self.task.await.context("the server died")??)
    }
}

fn catalog(project: &Project, plan: &Plan) -> Result<Catalog> {
    let views: Vec<Arc<OnlineView>> = plan.views.iter().filter_map(|view| view.online.clone()).collect();
    let mut services = Vec::new();
    for service in &project.services {
        let mut features = Vec::new();
        for wanted in &service.features {
            let Some((index, view)) = views.iter().enumerate().find(|(_, view)| view.name == wanted.view.value) else {
                continue;
            };
            for (feature, (name, _)) in view.features.iter().enumerate() {
                if wanted.feature.as_ref().is_none_or(|wanted| wanted.value == *name) {
                    let name = wanted.alias.as_ref().map_or(name, |alias| &alias.value).clone();
                    features.push(ServiceFeature { view: index, feature, name });
                }
            }
        }
        services.push((service.name.value.clone(), features));
    }
    Ok(Catalog::new(&plan.name, views, services)?)
}

fn pushes(plan: &Plan, running: &Running, room: &Room) -> HashMap<String, PushSource> {
    let source = |(name, handle): (&String, &PushHandle)| {
        let plan = plan.sources.iter().find(|source| source.name == *name);
        let required = plan.map(|source| source.event_time.column().to_owned()).into_iter().collect();
        (name.clone(), PushSource { required, target: target(handle, room) })
    };
    running.entrances().pushes.iter().map(source).collect()
}

/// What a ttl counts against: the wall clock, or the view's watermark; for a sliding view from the time up to which its
/// rows are known to hold.
fn freshness(project: &Project, plan: &Plan, board: &Arc<Board>, clock: &Arc<dyn Clock>) -> impl Freshness + use<> {
    let bounded = plan.sources.iter().all(|source| source.kind.is_bounded());
    let by_event = match project.online.clock {
        Some(OnlineClock::Event) => true,
        Some(OnlineClock::Wall) => false,
        None => bounded,
    };
    let views = plan.views.iter().enumerate();
    let slides = |view: &ViewPlan| view.spec.is_some_and(|spec| spec.step < spec.size);
    let views: HashMap<String, (usize, bool)> =
        views.map(|(index, view)| (view.name.clone(), (index, slides(view)))).collect();
    let (board, clock) = (board.clone(), clock.clone());
    move |view: &OnlineView| {
        let known = views.get(&view.name);
        let watermark = known.and_then(|(index, _)| board.view_watermark(*index)).filter(|time| *time < AFTER_ALL);
        let now = if by_event { watermark.unwrap_or(i64::MIN) } else { clock.now() };
        Moment { now, checked_to: watermark.filter(|_| known.is_some_and(|(_, sliding)| *sliding)) }
    }
}

fn target(handle: &PushHandle, room: &Room) -> Arc<dyn PushTarget> {
    Arc::new(Target { handle: handle.clone(), room: room.clone() })
}

/// A source's queue, as HTTP feeds it. While the disk is full nothing is put into it, where it would wait for the pipeline.
struct Target {
    handle: PushHandle,
    room: Room,
}

impl Target {
    async fn send(&self, key: Option<String>, events: Vec<Bytes>) -> Result<bool, PushError> {
        let full = |cause: String| PushError::Full { cause };
        self.room.ask(events.iter().map(Bytes::len).sum()).map_err(|no_room| full(no_room.to_string()))?;
        let taken = self.handle.send_as(key, events).await.map_err(|error| match error {
            NotTaken::Stopped => PushError::Stopped,
            NotTaken::Full(cause) => full(cause),
        })?;
        Ok(!taken.repeat)
    }
}

impl PushTarget for Target {
    fn push(&self, events: Vec<Bytes>) -> BoxFuture<'_, Result<(), PushError>> {
        Box::pin(async { self.send(None, events).await.map(drop) })
    }

    fn push_once(&self, key: String, events: Vec<Bytes>) -> BoxFuture<'_, Result<bool, PushError>> {
        Box::pin(self.send(Some(key), events))
    }

    fn events(&self, message: &Bytes) -> Vec<Bytes> {
        self.handle.events(message)
    }
}
