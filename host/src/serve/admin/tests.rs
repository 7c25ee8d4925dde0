//! The listener over a folder of letters and sources whose workers are played here.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

mod access;
mod versions;

use super::*;
use crate::record::{DeadLetter, DeadReason, Origin};
use crate::source::SourceContext;
use crate::source::contract::Stage;
use crate::source::intake::{Intake, IntakeReceiver, lanes};
use crate::source::replay::{Refused, Replay};
use crate::store::dead_letter::{DeadLetterWriter, Limits as LetterLimits, NamedLetter};
use crate::store::registry::FOLDER;
use crate::time::{ManualClock, SECOND};

struct Server {
    address: SocketAddr,
    letters: DeadLetterWriter,
    intake: IntakeReceiver,
    registry: Registry,
    folder: tempfile::TempDir,
    _stop: watch::Sender<bool>,
    _running: Stage,
    _task: JoinHandle<Result<(), ServeError>>,
}

/// A letter of source `cards`: its reason, offset, view and payload.
type Sketch<'a> = (DeadReason, i64, Option<&'a str>, &'a [u8]);

/// A single letter is of an earlier run.
async fn server(sketches: &[Sketch<'_>]) -> Server {
    server_for(sketches, Vec::new(), None).await
}

async fn server_for(sketches: &[Sketch<'_>], tokens: Vec<AdminToken>, tls: Option<Tls>) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(&folder.path().join(FOLDER)).unwrap();
    let limits = LetterLimits { max_bytes: 1 << 30, max_age: Duration::from_secs(1 << 30) };
    let mut letters = DeadLetterWriter::open(&folder.path().join("letters"), limits).unwrap();
    for (at, (reason, offset, view, payload)) in (0..).zip(sketches) {
        let letter = DeadLetter {
            reason: *reason,
            detail: "no good".into(),
            origin: Origin::default(),
            offset: *offset,
            arrival: 3 * SECOND,
            payload: Bytes::copy_from_slice(payload),
            view: None,
            udf: None,
        };
        letters.append(at * SECOND, &[NamedLetter { letter: &letter, source: "cards", view: *view }]).unwrap();
    }
    let (sender, mut receivers) = lanes(1);
    let running = Stage::new(10);
    let context = SourceContext { intake: sender, ..running.context() };
    let graph = Graph {
        project: "fraud".into(),
        time: String::new(),
        sources: vec![],
        views: vec![],
        services: vec![],
        edges: vec![],
    };
    let admin = Admin {
        letters: letters.reader(),
        replays: BTreeMap::from([("cards".to_owned(), ReplayHandle::new(context, [0, 1], None))]),
        started: if sketches.len() == 1 { SECOND } else { 0 },
        reads: Arc::new(|_, _, _| true),
        views: ["totals", "means", "else"].map(str::to_owned).to_vec(),
        graph: Arc::new(move || graph.clone()),
        online: Arc::new(Embedded),
        activating: Arc::new(Versions),
        inventory: Arc::new(versions::Paper),
        registry: registry.clone(),
        room: None,
        tokens,
        audit: Some(Audit::open(folder.path()).unwrap()),
        clock: Arc::new(ManualClock::new(100 * SECOND)),
    };
    let (stop, stopped) = watch::channel(false);
    let listener = bind("127.0.0.1:0".parse().unwrap(), false, tls.as_ref()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(run(listener, admin, stopped));
    let intake = receivers.remove(0);
    Server { address, letters, intake, registry, folder, _stop: stop, _running: running, _task: task }
}

/// One view can be rebuilt, and it has been.
struct Embedded;

impl Rebuilding for Embedded {
    fn ask(&self, view: Option<&str>) -> Result<u64, String> {
        match view {
            None | Some("totals") => Ok(1),
            Some(other) => Err(format!("no view {other} is online")),
        }
    }

    fn report(&self) -> RebuildReport {
        let view = ViewReport { done: 2, chunks: 2, rows: 9 };
        RebuildReport { asked: 1, over: 1, views: [("totals".to_owned(), view)].into(), failed: None }
    }
}

/// One UDF with one other version.
struct Versions;

impl Activating for Versions {
    fn activate(
        &self,
        udf: String,
        version: String,
        by: String,
        _: String,
    ) -> BoxFuture<'_, Result<ActivateReport, activate::Refused>> {
        let answer = match (udf.as_str(), version.as_str()) {
            ("distance", "v2") => {
                Ok(ActivateReport { udf, digest: "abc".into(), former: by, ..ActivateReport::default() })
            }
            ("distance", "v3") => Err(activate::Refused::Unfit("keeps other columns".into())),
            ("distance", _) => Err(activate::Refused::Unknown("no such version".into())),
            _ => Err(activate::Refused::Unknown("no such UDF".into())),
        };
        Box::pin(async { answer })
    }

    fn rollback(&self, _: String, _: String, _: String) -> BoxFuture<'_, Result<ActivateReport, activate::Refused>> {
        Box::pin(async { Err(activate::Refused::Conflict("nothing before".into())) })
    }
}

#[tokio::test]
async fn versions_are_activated() {
    let server = server(&[]).await;
    let ask = async |path: &str, body: &str| {
        let (status, answer) = server.post(path, body).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    let activate = "/v1/udfs/distance/activate";
    assert_eq!(ask(activate, r#"{"version": "v2"}"#).await, (200, String::new()));
    assert_eq!(ask(activate, r#"{"version": "v3"}"#).await, (422, "version-does-not-fit".into()));
    assert_eq!(ask(activate, r#"{"version": "v4"}"#).await, (404, "no-such-version".into()));
    assert_eq!(ask("/v1/udfs/else/activate", r#"{"version": "v2"}"#).await, (404, "no-such-version".into()));
    for bad in ["", "{", "[]", r#"{"version": 2}"#, r#"{"versions": "v2"}"#] {
        assert_eq!(ask(activate, bad).await, (422, "bad-request".into()), "{bad}");
    }
    assert_eq!(ask("/v1/udfs/distance/rollback", "").await, (409, "not-now".into()));
}

#[tokio::test]
async fn a_rebuild_is_asked_for() {
    let server = server(&[]).await;
    let (status, report) = server.get("/v1/online/rebuild").await;
    assert_eq!((status, &report["views"]["totals"]["rows"]), (200, &json!(9)));
    for (view, status, key, answer) in
        [("totals", 200, "asked", json!(1)), ("total", 422, "message", json!("no view total is online"))]
    {
        let body = json!({ "view": view }).to_string();
        let head = format!("POST /v1/online/rebuild HTTP/1.0\r\nHost: [::1]\r\nContent-Length: {}", body.len());
        let (got, said) = ask(server.address, format!("{head}\r\n\r\n{body}")).await;
        assert_eq!((got, &said[key]), (status, &answer), "{said}");
    }
}

async fn ask(address: SocketAddr, request: String) -> (u16, Value) {
    ask_over(TcpStream::connect(address).await.unwrap(), request).await
}

async fn ask_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: String) -> (u16, Value) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

impl Server {
    async fn get(&self, path: &str) -> (u16, Value) {
        ask(self.address, format!("GET {path} HTTP/1.0\r\nHost: localhost:1\r\n\r\n")).await
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        ask(self.address, format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await
    }

    /// Asks for a replay; the worker answers each batch with `answers`, and what it saw is given: view and offsets.
    async fn replay(
        &self,
        body: Value,
        answers: &[Result<usize, Refused>],
    ) -> (u16, Value, Vec<(Option<u16>, Vec<i64>, Vec<i64>)>) {
        let body = body.to_string();
        let head = format!("POST /v1/dead-letters/replay HTTP/1.0\r\nHost: [::1]\r\nContent-Length: {}", body.len());
        let asked = tokio::spawn(ask(self.address, format!("{head}\r\n\r\n{body}")));
        let mut seen = Vec::new();
        for answer in answers {
            let message = loop {
                match self.intake.channel().try_recv() {
                    Ok(message) => break self.intake.take(message),
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            };
            let Intake::Replay(Replay { batch, view, done }) = message else { panic!("{message:?}") };
            seen.push((view, batch.offsets, batch.arrivals));
            done.send(answer.clone()).unwrap();
        }
        let (status, body) = asked.await.unwrap();
        (status, body, seen)
    }
}

fn ids(page: &Value) -> Vec<u64> {
    page["letters"].as_array().unwrap().iter().map(|letter| letter["id"].as_u64().unwrap()).collect()
}

const SKETCHES: [Sketch<'_>; 4] = [
    (DeadReason::Decode, 7, None, b"{\"a\":1}"),
    (DeadReason::Late, 5, Some("totals"), b"\xff\x00"),
    (DeadReason::Fault, 3, Some("means"), b"c"),
    (DeadReason::Fault, 3, Some("means"), b"c"),
];

#[tokio::test]
async fn letters_are_listed_by_what_is_asked_for_and_shown() {
    let server = server(&SKETCHES).await;
    for (query, wanted) in [
        ("", vec![0, 1, 2, 3]),
        ("?reason=fault", vec![2, 3]),
        ("?view=totals", vec![1]),
        ("?source=other", vec![]),
        ("?since=98s", vec![2, 3]),
        ("?since=1970-01-01T00:00:03Z", vec![3]),
        ("?after=1&limit=1", vec![2]),
    ] {
        let (status, page) = server.get(&format!("/v1/dead-letters{query}")).await;
        assert_eq!((status, ids(&page)), (200, wanted), "{query}");
        assert_eq!(page["next"], if query.contains("limit") { json!(2) } else { Value::Null });
    }
    let (_, letter) = server.get("/v1/dead-letters/1").await;
    assert_eq!((&letter["payload_hex"], &letter["kept"]), (&json!("ff00"), &json!("1970-01-01T00:00:01.000Z")));
    assert!(letter["next"].as_str().unwrap().contains("watermark-delay"), "{letter}");
    assert_eq!(server.get("/v1/dead-letters/0").await.1["payload"], "{\"a\":1}");
    for (path, status, code) in [
        ("/v1/dead-letters/9", 404, "no-such-letter"),
        ("/v1/dead-letters/x", 404, "no-such-letter"),
        ("/v1/dead-letters?reason=fautl", 422, "bad-selection"),
        ("/v1/dead-letters?since=soon", 422, "bad-selection"),
        ("/v1/dead-letters?colour=red", 422, "bad-selection"),
        ("/v1/nothing", 404, "no-such-route"),
        ("/v1/dead-letters/replay", 405, "wrong-method"),
    ] {
        let (came, body) = server.get(path).await;
        assert_eq!((came, &body["code"]), (status, &json!(code)), "{path}: {body}");
    }
    assert_eq!(server.get("/v1/graph").await.1["project"], "fraud");
}

#[tokio::test]
async fn a_letter_is_replayed_once_and_to_whom_it_concerns() {
    let server = server(&SKETCHES).await;
    let (status, body, _) = server.replay(json!({}), &[]).await;
    assert_eq!((status, &body["code"]), (422, &json!("bad-selection")));
    let (_, dry, _) = server.replay(json!({"all": true, "dry_run": true}), &[]).await;
    assert_eq!((&dry["dry_run"], &dry["replayed"]), (&json!(true), &json!(3)));

    let refused = Err(Refused("not now".into()));
    let (_, report, seen) = server.replay(json!({"all": true}), &[Ok(1), refused]).await;
    assert_eq!(seen, [(None, vec![7], vec![3 * SECOND]), (Some(1), vec![3], vec![3 * SECOND])], "the event once");
    assert_eq!((&report["replayed"], &report["dead_again"]), (&json!(1), &json!(1)));
    let left = report["left"].as_array().unwrap();
    assert!(left[0]["why"].as_str().unwrap().starts_with("late") && left[1] == json!({"why": "not now", "letters": 2}));
    let marks = || (0..4).map(|id| server.letters.reader().replayed_at(id).unwrap()).collect::<Vec<_>>();
    assert_eq!(marks(), [Some(100 * SECOND), None, None, None]);

    let (_, report, seen) = server.replay(json!({"all": true}), &[Ok(0)]).await;
    assert_eq!((seen.len(), &report["replayed"]), (1, &json!(2)));
    let (_, report, _) = server.replay(json!({"all": true}), &[]).await;
    assert_eq!(report["left"][1]["letters"], 3, "{report}");
    let (_, report, seen) = server.replay(json!({"reason": "late", "limit": 1}), &[Ok(1)]).await;
    assert_eq!((seen, &report["replayed"]), (vec![(Some(0), vec![5], vec![3 * SECOND])], &json!(1)));
    let (_, report, seen) = server.replay(json!({"ids": [0], "again": true}), &[Ok(0)]).await;
    assert_eq!((seen.len(), &report["replayed"]), (1, &json!(1)));
}

#[tokio::test]
async fn what_cannot_be_replayed_is_left_with_the_reason() {
    let server = server(&[(DeadReason::Rejected, 1, Some("else"), b""), (DeadReason::Future, 2, None, b"x")]).await;
    let (_, report, seen) = server.replay(json!({"all": true}), &[Ok(0)]).await;
    assert_eq!(seen, [(None, vec![2], vec![100 * SECOND])], "what was from the future comes now");
    assert_eq!(report["left"][0]["why"], "view else is not in the project, or does not read cards");
    let server = self::server(&SKETCHES[..1]).await;
    let (_, report, _) = server.replay(json!({"all": true}), &[]).await;
    assert!(report["left"][0]["why"].as_str().unwrap().starts_with("of an earlier run"), "{report}");
}

#[tokio::test]
async fn a_page_from_elsewhere_is_not_answered() {
    let server = server(&[]).await;
    for headers in [
        "Host: evil.example",
        "Host: localhost\r\nOrigin: http://evil.example",
        "Host: localhost\r\nOrigin: null",
        "X: y",
    ] {
        let (status, body) = ask(server.address, format!("GET /v1/graph HTTP/1.0\r\n{headers}\r\n\r\n")).await;
        assert_eq!((status, &body["code"]), (403, &json!("not-local")), "{headers}");
    }
    let local = "Host: localhost:6567\r\nOrigin: http://127.0.0.1:6567";
    assert_eq!(ask(server.address, format!("GET /v1/graph HTTP/1.0\r\n{local}\r\n\r\n")).await.0, 200);
}

#[tokio::test]
async fn the_usual_port_gives_way_and_another_does_not() {
    let held = bind("127.0.0.1:0".parse().unwrap(), false, None).await.unwrap();
    let taken = held.local_addr().unwrap();
    assert!(bind(taken, true, None).await.unwrap().local_addr().unwrap() != taken);
    let error = bind(taken, false, None).await.err().unwrap().to_string();
    assert!(error.starts_with("serve.admin = "), "{error}");
}
