//! A server over Feast's demo project, an online store in memory, and the least HTTP client there can be.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Notify, watch};
use tokio::task::JoinHandle;

use crate::record::{ColumnType, Value};
use crate::serve::{
    App, Catalog, Limits, Moment, PushError, PushSource, PushTarget, ServeError, ServiceFeature, bind, run,
};
use crate::sink::subscribers::Hub;
use crate::store::StoreError;
use crate::store::online::{OnlineReader, OnlineRow, OnlineView, ReadFuture};
use crate::time::{Micros, SECOND};

/// What a server is made of.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) store: Arc<MemoryStore>,
    pub(super) freshness: Moment,
    pub(super) metrics: PrometheusHandle,
    pub(super) ready: watch::Receiver<Vec<String>>,
    pub(super) limits: Limits,
    pub(super) hub: Arc<Hub>,
}

/// A server that runs.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), ServeError>>,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

type Rows = HashMap<(String, String), (Micros, Vec<Value>)>;

/// Rows in memory, with every way to misbehave.
#[derive(Default)]
pub(super) struct MemoryStore {
    rows: Mutex<Rows>,
    failure: Mutex<Option<StoreError>>,
    panics: Mutex<Option<&'static str>>,
    hangs: Mutex<Option<&'static str>>,
    meeting: Mutex<Option<Arc<Barrier>>>,
    holding: Mutex<Option<Arc<Held>>>,
    pushed: AtomicUsize,
    closed: Mutex<bool>,
    /// Whether there is no room for events.
    full: Mutex<bool>,
    pub(super) events: Mutex<Vec<String>>,
}

/// A read that waits in the store.
#[derive(Default)]
pub(super) struct Held {
    reached: Notify,
    release: Notify,
}

impl Held {
    pub(super) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(super) fn release(&self) {
        self.release.notify_one();
    }
}

impl MemoryStore {
    /// Upserts: of two rows for a key the newer stays.
    pub(super) fn put(&self, view: &str, key: &[Json], time: Micros, values: Vec<Value>) {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.entry((view.to_owned(), Json::from(key).to_string())).or_insert((Micros::MIN, Vec::new()));
        if row.0 <= time {
            *row = (time, values);
        }
    }

    pub(super) fn fail(&self, error: Option<StoreError>) {
        *self.failure.lock().unwrap() = error;
    }

    pub(super) fn panic_on(&self, view: &'static str) {
        *self.panics.lock().unwrap() = Some(view);
    }

    pub(super) fn hang_on(&self, view: &'static str) {
        *self.hangs.lock().unwrap() = Some(view);
    }

    /// Every read waits until so many are there.
    pub(super) fn meet(&self, reads: usize) {
        *self.meeting.lock().unwrap() = Some(Arc::new(Barrier::new(reads)));
    }

    /// The next reads wait to be released.
    pub(super) fn hold(&self) -> Arc<Held> {
        let held = Arc::new(Held::default());
        *self.holding.lock().unwrap() = Some(held.clone());
        held
    }

    pub(super) fn close_pushes(&self) {
        *self.closed.lock().unwrap() = true;
    }

    /// Has no room for events, or some again.
    pub(super) fn be_full(&self, full: bool) {
        *self.full.lock().unwrap() = full;
    }

    fn has_room(&self) -> Result<(), PushError> {
        match *self.full.lock().unwrap() {
            true => Err(PushError::Full { cause: "the disk of /var/secret is full".into() }),
            false => Ok(()),
        }
    }

    pub(super) fn pushed(&self) -> usize {
        self.pushed.load(Ordering::SeqCst)
    }

    fn get(&self, view: &OnlineView, keys: &[Vec<Value>], features: &[usize]) -> Vec<Option<OnlineRow>> {
        let rows = self.rows.lock().unwrap();
        let row = |key: &Vec<Value>| {
            let key: Vec<Json> = key.iter().map(plain).collect();
            let (event_time, values) = rows.get(&(view.name.clone(), Json::from(key).to_string()))?;
            let values = features.iter().map(|&feature| values[feature].clone()).collect();
            Some(OnlineRow { event_time: *event_time, values })
        };
        keys.iter().map(row).collect()
    }
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Int64(value) => (*value).into(),
        Value::Utf8(value) => value.as_str().into(),
        other => panic!("no key here is {other:?}"),
    }
}

impl OnlineReader for MemoryStore {
    fn read<'a>(&'a self, view: &'a OnlineView, keys: &'a [Vec<Value>], features: &'a [usize]) -> ReadFuture<'a> {
        Box::pin(async move {
            let meeting = self.meeting.lock().unwrap().clone();
            if let Some(meeting) = meeting {
                meeting.wait().await;
            }
            let holding = self.holding.lock().unwrap().clone();
            if let Some(held) = holding {
                held.reached.notify_one();
                held.release.notified().await;
            }
            if *self.hangs.lock().unwrap() == Some(&*view.name) {
                std::future::pending::<()>().await;
            }
            let panics = self.panics.lock().unwrap().is_some_and(|panics| panics == view.name);
            assert!(!panics, "poisoned on purpose");
            if let Some(error) = self.failure.lock().unwrap().clone() {
                return Err(error);
            }
            Ok(self.get(view, keys, features))
        })
    }
}

/// A push source whose events go straight to one view of the store.
struct ToView {
    store: Arc<MemoryStore>,
    view: Arc<OnlineView>,
    keys: Mutex<HashSet<String>>,
}

impl PushTarget for ToView {
    fn push(&self, events: Vec<Bytes>) -> BoxFuture<'_, Result<(), PushError>> {
        Box::pin(async move {
            if *self.store.closed.lock().unwrap() {
                return Err(PushError::Stopped);
            }
            self.store.has_room()?;
            for event in events {
                let event: Json = serde_json::from_slice(&event).unwrap();
                let key: Vec<Json> = self.view.keys.iter().map(|(name, _)| event[name].clone()).collect();
                let values = self.view.features.iter().map(|(name, kind)| typed(&event[name], kind)).collect();
                let time = event["event_timestamp"].as_str().unwrap().replace(' ', "T") + "Z";
                let time = time.parse::<jiff::Timestamp>().unwrap().as_microsecond();
                self.store.put(&self.view.name, &key, time, values);
                self.store.pushed.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        })
    }

    fn push_once(&self, key: String, events: Vec<Bytes>) -> BoxFuture<'_, Result<bool, PushError>> {
        Box::pin(async move {
            let new = self.keys.lock().unwrap().insert(key);
            if new {
                self.push(events).await?;
            }
            Ok(new)
        })
    }
}

/// A WebSocket endpoint's source: keeps what it is given.
struct Kept(Arc<MemoryStore>);

impl PushTarget for Kept {
    fn push(&self, events: Vec<Bytes>) -> BoxFuture<'_, Result<(), PushError>> {
        Box::pin(async move {
            if *self.0.closed.lock().unwrap() {
                return Err(PushError::Unavailable { cause: "closed on purpose".into() });
            }
            self.0.has_room()?;
            let texts = events.iter().map(|event| String::from_utf8(event.to_vec()).unwrap());
            self.0.events.lock().unwrap().extend(texts);
            Ok(())
        })
    }

    fn push_once(&self, _: String, events: Vec<Bytes>) -> BoxFuture<'_, Result<bool, PushError>> {
        Box::pin(async move { self.push(events).await.map(|()| true) })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the golden values are singles")]
fn typed(value: &Json, kind: &ColumnType) -> Value {
    match (kind, value) {
        (_, Json::Null) => Value::Null,
        (ColumnType::Float32, value) => Value::Float32(value.as_f64().unwrap() as f32),
        (ColumnType::Int64, value) => Value::Int64(value.as_i64().unwrap()),
        (ColumnType::List(item), Json::Array(items)) => {
            Value::List(items.iter().map(|value| typed(value, item)).collect())
        }
        (ColumnType::Utf8, value) => Value::Utf8(value.as_str().unwrap().to_owned()),
        (kind, value) => panic!("{value} as {kind}"),
    }
}

impl Setup {
    /// The ttl of `driver_hourly_stats`.
    pub(super) const TTL: Duration = Duration::from_secs(3600 * 24 * 365 * 10);

    /// Feast's demo project, and its rows as the golden exchanges begin.
    pub(super) fn feast() -> Self {
        let store = Arc::new(MemoryStore::default());
        let time = 1_647_266_400 * SECOND;
        let rows = [(1001, 0.404_588_46, 0.407_570_75, 350.650_27), (1002, 0.465_874_58, 0.315_720_9, 0.0)];
        for (id, conv_rate, acc_rate, miles) in rows {
            let values = [conv_rate, 46.533_29, acc_rate].map(Value::Float32).to_vec();
            store.put("driver_hourly_stats", &[id.into()], time, values);
            store.put("driver_daily_features", &[id.into()], time, vec![Value::Float32(miles)]);
        }
        Self {
            store,
            freshness: Moment { now: 1_780_000_000 * SECOND, checked_to: None },
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            ready: watch::channel(Vec::new()).1,
            limits: Limits::default(),
            hub: Arc::default(),
        }
    }

    fn views() -> Vec<Arc<OnlineView>> {
        let named =
            |list: &[(&str, ColumnType)]| list.iter().map(|(name, kind)| ((*name).into(), kind.clone())).collect();
        let driver = ("driver_id", ColumnType::Int64);
        let view = |name: &str, keys: &[(&str, ColumnType)], features: &[(&str, ColumnType)], ttl| {
            Arc::new(OnlineView { name: name.into(), keys: named(keys), features: named(features), ttl })
        };
        let single = |name| (name, ColumnType::Float32);
        let texts = ColumnType::List(Box::new(ColumnType::Utf8));
        vec![
            view(
                "driver_hourly_stats",
                std::slice::from_ref(&driver),
                &[single("conv_rate"), single("miles_driven"), single("acc_rate")],
                Some(Self::TTL),
            ),
            view("driver_daily_features", std::slice::from_ref(&driver), &[single("daily_miles_driven")], None),
            view(
                "pair_stats",
                &[("customer_id", ColumnType::Utf8), driver],
                &[("n", ColumnType::Int64), single("rating"), ("last_items", texts)],
                None,
            ),
        ]
    }

    /// The app, with one WebSocket endpoint at `path`.
    pub(super) fn app(self, path: &str) -> (App, watch::Receiver<bool>) {
        let views = Self::views();
        let feature = |view: usize, feature: usize| {
            let name = views[view].features[feature].0.clone();
            ServiceFeature { view, feature, name }
        };
        let services = [
            ("model_v1", vec![feature(0, 0)]),
            ("model_v2", vec![feature(0, 0), feature(0, 1), feature(0, 2)]),
            ("model_v3", vec![feature(0, 0), feature(0, 1), feature(0, 2), feature(1, 0)]),
        ];
        let services = services.map(|(name, features)| (name.to_owned(), features)).to_vec();
        let push = |view: usize| {
            let target =
                Arc::new(ToView { store: self.store.clone(), view: views[view].clone(), keys: Mutex::default() });
            PushSource { required: vec!["driver_id".into(), "event_timestamp".into()], target }
        };
        let freshness = self.freshness;
        let app = App {
            pushes: HashMap::from([("driver_stats_push_source".into(), push(1)), ("pair_push".into(), push(2))]),
            ingests: HashMap::from([(path.into(), Arc::new(Kept(self.store.clone())) as Arc<dyn PushTarget>)]),
            catalog: Arc::new(Catalog::new("feast_demo_local", views, services).unwrap()),
            reader: self.store,
            hub: self.hub,
            freshness: Arc::new(move |_: &OnlineView| freshness),
            metrics: self.metrics,
            ready: self.ready,
            limits: self.limits,
        };
        (app, watch::channel(false).1)
    }

    pub(super) async fn start(&self) -> Server {
        let (app, _) = self.clone().app("/ingest/events");
        let listener = bind("serve.http", "127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(listener, app, stopped));
        Server { address, stop, task }
    }
}

impl Server {
    pub(super) async fn post(&self, path: &str, body: &Json) -> Answer {
        self.request("POST", path, body.to_string().as_bytes()).await
    }

    pub(super) async fn request(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.request_with(method, path, "", body).await
    }

    /// With a line of one more header.
    pub(super) async fn request_with(&self, method: &str, path: &str, header: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{header}content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses a body need not read it.
        stream.write_all(body).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Waits until the server has ended.
    pub(super) async fn ended(self) -> Result<(), ServeError> {
        self.task.await.unwrap()
    }
}

impl Answer {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}
