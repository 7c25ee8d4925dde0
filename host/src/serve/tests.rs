//! The server on a loopback port, over an online store in memory.

mod fixture;
mod golden;
mod ingest;
mod subscribe;

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Limits, Moment, ServeError, bind};
use crate::record::Value;
use crate::store::StoreError;
use crate::time::SECOND;
use fixture::{Answer, Setup};

const FEATURES: &str = "/get-online-features";

fn conv_rate(ids: Json) -> Json {
    json!({"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": ids}})
}

fn code(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert!(body["message"].is_string() && body["where"].is_string(), "{body}");
    (answer.status, body["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_row_older_than_the_ttl_is_outside_max_age() {
    let setup = Setup::feast();
    let time = 1_647_266_400 * SECOND;
    let ttl = i64::try_from(Setup::TTL.as_secs()).unwrap();
    for (late, status, value) in [(0, "PRESENT", json!(0.5)), (1, "OUTSIDE_MAX_AGE", Json::Null)] {
        let now = time + SECOND * ttl + late;
        let setup = Setup { freshness: Moment { now, checked_to: None }, ..setup.clone() };
        setup.store.put("driver_hourly_stats", &[json!(7)], time, vec![Value::Float32(0.5), Value::Null, Value::Null]);
        let server = setup.start().await;
        let answer = server.post(FEATURES, &conv_rate(json!([7, 8]))).await.json();
        let column = json!({
            "values": [value, null],
            "statuses": [status, "NOT_FOUND"],
            "event_timestamps": ["2022-03-14T14:00:00Z", "1970-01-01T00:00:00Z"],
        });
        assert_eq!(answer["results"][1], column);
        // What the watermark has checked counts from there.
        let setup = Setup { freshness: Moment { now, checked_to: Some(time + 1) }, ..setup };
        let answer = setup.start().await.post(FEATURES, &conv_rate(json!([7]))).await.json();
        assert_eq!(answer["results"][1]["statuses"], json!(["PRESENT"]));
    }
}

#[tokio::test]
async fn keys_are_coerced_or_refused_by_name_and_row() {
    let server = Setup::feast().start().await;
    let answer = server.post(FEATURES, &conv_rate(json!(["1001", 1001.0, null]))).await.json();
    assert_eq!(answer["results"][0]["statuses"], json!(["PRESENT", "PRESENT", "NULL_VALUE"]));
    assert_eq!(answer["results"][1]["statuses"], json!(["PRESENT", "PRESENT", "NOT_FOUND"]));
    for bad in [json!([1001, "x"]), json!([1, 1.5]), json!([1, true]), json!([1, [2]]), json!([1, {"a": 1}])] {
        let answer = server.post(FEATURES, &conv_rate(bad.clone())).await;
        assert_eq!(code(&answer), (422, "bad-key".into()), "{bad}");
        assert_eq!(answer.json()["where"], "entities.driver_id[1]");
        assert!(answer.json()["message"].as_str().unwrap().contains("driver_id"));
    }
    let unequal = json!({"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": [1], "other": []}});
    assert_eq!(code(&server.post(FEATURES, &unequal).await), (422, "unequal-columns".into()));
    // A join key that no view of the request needs is repeated, a name that is none is not.
    let more = json!({"features": ["driver_hourly_stats:conv_rate"],
        "entities": {"other": [5], "customer_id": ["c"], "driver_id": [1001]}});
    let names = server.post(FEATURES, &more).await.json()["metadata"]["feature_names"].clone();
    assert_eq!(names, json!(["customer_id", "driver_id", "conv_rate"]));
    let empty = server.post(FEATURES, &conv_rate(json!([]))).await.json();
    assert_eq!(empty["results"][1], json!({"values": [], "statuses": [], "event_timestamps": []}));
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_the_server_goes_on() {
    let limits = Limits { body: 100_000, rows: 1_000, cells: 1_500, ..Limits::default() };
    let server = Setup { limits, ..Setup::feast() }.start().await;
    let deep = "[".repeat(90_000);
    for (body, status) in [
        ("", 422),
        ("null", 422),
        ("\"entities\"", 422),
        ("\u{0}\u{1}", 422),
        (deep.as_str(), 422),
        (r#"{"entities": {"driver_id": [1e999]}, "features": ["driver_hourly_stats:conv_rate"]}"#, 422),
        (r#"{"entities": {"driver_id": {"a": 1}}, "features": []}"#, 422),
        (r#"{"entities": {"driver_id": [1]}, "features": {"a": 1}}"#, 422),
        (r#"{"entities": {"driver_id": [1]}, "features": ["::::"]}"#, 404),
        (r#"{"entities": {"driver_id": [1]}, "features": ["\ud800"]}"#, 422),
    ] {
        let answer = server.request("POST", FEATURES, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{body:.100}: {}", answer.body);
        let error = server.request("POST", "/push", body.as_bytes()).await;
        assert_eq!(error.status, 422, "{body:.100}");
    }
    assert_eq!(server.request("POST", FEATURES, b"\xff\xfe{}").await.status, 422);
    let huge = vec![b' '; 100_001];
    assert_eq!(code(&server.request("POST", FEATURES, &huge).await), (413, "too-large".into()));
    let rows = vec![1; 1_001];
    assert_eq!(code(&server.post(FEATURES, &conv_rate(json!(rows))).await), (413, "too-large".into()));
    let rows = vec![1; 800];
    assert_eq!(code(&server.post(FEATURES, &conv_rate(json!(rows))).await), (413, "too-large".into()));
    let many = json!({"features": vec!["a:b"; 10_001], "entities": {"driver_id": [1]}});
    assert_eq!(code(&server.post(FEATURES, &many).await), (413, "too-large".into()));
    assert_eq!(server.post(FEATURES, &conv_rate(json!([1001]))).await.status, 200);
}

#[tokio::test]
async fn a_store_that_fails_or_panics_fails_one_request() {
    let away = StoreError::Unavailable { store: "redis://secret".into(), cause: "refused".into() };
    let damaged = StoreError::Damaged { store: "/secret".into(), cause: "crc".into() };
    let setup = Setup::feast();
    let server = setup.start().await;
    for (error, expected) in [(away, (503, "store-unavailable")), (damaged, (500, "internal"))] {
        setup.store.fail(Some(error));
        let answer = server.post(FEATURES, &conv_rate(json!([1001]))).await;
        assert_eq!(code(&answer), (expected.0, expected.1.into()));
        assert_eq!(answer.json()["where"], "view driver_hourly_stats");
        assert!(!answer.body.contains("secret"));
    }
    setup.store.fail(None);
    setup.store.panic_on("driver_hourly_stats");
    let answer = server.post(FEATURES, &conv_rate(json!([1001]))).await;
    assert_eq!(code(&answer), (500, "internal".into()));
    assert!(!answer.body.contains("poisoned on purpose"));
    let other = json!({"features": ["driver_daily_features:daily_miles_driven"], "entities": {"driver_id": [1001]}});
    assert_eq!(server.post(FEATURES, &other).await.status, 200);
}

#[tokio::test]
async fn a_store_that_hangs_costs_a_request_its_time_and_no_more() {
    let limits = Limits { time: Duration::from_millis(50), in_flight: 1, ..Limits::default() };
    let setup = Setup { limits, ..Setup::feast() };
    setup.store.hang_on("driver_hourly_stats");
    let server = setup.start().await;
    let (first, second) = (conv_rate(json!([1001])), conv_rate(json!([1001])));
    let (first, second) = tokio::join!(server.post(FEATURES, &first), server.post(FEATURES, &second));
    assert_eq!(code(&first), (504, "time-out".into()));
    assert_eq!(code(&second), (504, "time-out".into()));
    assert_eq!(server.request("GET", "/health", b"").await.status, 200);
    let other = json!({"features": ["driver_daily_features:daily_miles_driven"], "entities": {"driver_id": [1001]}});
    assert_eq!(server.post(FEATURES, &other).await.status, 200);
}

#[tokio::test]
async fn views_are_read_at_once() {
    let setup = Setup::feast();
    setup.store.meet(2);
    let server = setup.start().await;
    let both = json!({"features": ["driver_hourly_stats:conv_rate", "driver_daily_features:daily_miles_driven"],
        "entities": {"driver_id": [1001]}});
    let answer = tokio::time::timeout(Duration::from_secs(10), server.post(FEATURES, &both)).await;
    assert_eq!(answer.expect("each read waits until the other has begun").status, 200);
}

#[tokio::test]
async fn names_that_cannot_be_told_apart_are_refused() {
    let server = Setup::feast().start().await;
    let mut twice = json!({"features": ["driver_hourly_stats:conv_rate", "driver_hourly_stats:conv_rate"],
        "entities": {"driver_id": [1001]}});
    assert_eq!(code(&server.post(FEATURES, &twice).await), (422, "duplicate-name".into()));
    twice["features"] = json!([]);
    assert_eq!(code(&server.post(FEATURES, &twice).await), (422, "no-features".into()));
}

#[tokio::test]
async fn a_frame_that_does_not_fit_is_refused_and_says_why() {
    let setup = Setup::feast();
    let server = setup.start().await;
    let push = |df: Json| json!({"push_source_name": "driver_stats_push_source", "df": df});
    let misspelt = push(json!({"driver_id": [1], "event_timestmp": ["2026-01-01"]}));
    let answer = server.post("/push", &misspelt).await;
    assert_eq!(code(&answer), (422, "missing-column".into()));
    assert!(answer.json()["message"].as_str().unwrap().ends_with("did you mean event_timestmp?"));
    let unequal = push(json!({"driver_id": [1, 2], "event_timestamp": ["2026-01-01"]}));
    assert_eq!(code(&server.post("/push", &unequal).await), (422, "unequal-columns".into()));
    let scalar = server.post("/push", &push(json!({"driver_id": 1}))).await;
    assert_eq!(scalar.json()["detail"][0]["loc"], json!(["body", "df", "driver_id"]));
    let near = json!({"push_source_name": "driver_stats_push_sorce", "df": {}});
    let answer = server.post("/push", &near).await;
    assert!(answer.body.contains("Did you mean driver_stats_push_source?"), "{}", answer.body);
    assert_eq!(setup.store.pushed(), 0);
    let good = push(json!({"driver_id": [1], "event_timestamp": ["2026-01-01 00:00:00"]}));
    for key in ["", "ä", &"k".repeat(201)] {
        let header = format!("idempotency-key: {key}\r\n");
        let answer = server.request_with("POST", "/push", &header, good.to_string().as_bytes()).await;
        assert_eq!(code(&answer), (422, "bad-idempotency-key".into()), "{key}");
    }
    setup.store.be_full(true);
    let answer = server.post("/push", &good).await;
    assert_eq!(code(&answer), (503, "no-room".into()));
    assert!(answer.body.contains("none of the rows were taken") && !answer.body.contains("secret"), "{}", answer.body);
    setup.store.be_full(false);
    setup.store.close_pushes();
    assert_eq!(code(&server.post("/push", &good).await), (503, "source-unavailable".into()));
}

#[tokio::test]
async fn unknown_paths_and_methods_say_what_there_is() {
    let server = Setup::feast().start().await;
    let answer = server.request("GET", "/nope", b"").await;
    assert_eq!(code(&answer), (404, "no-such-route".into()));
    assert!(answer.body.contains("/get-online-features"));
    let answer = server.request("GET", FEATURES, b"").await;
    assert_eq!(code(&answer), (405, "wrong-method".into()));
    assert!(answer.head.to_lowercase().contains("allow: post"), "{}", answer.head);
    assert_eq!(code(&server.request("GET", "/ingest/events", b"").await), (426, "websocket-only".into()));
}

#[tokio::test]
async fn ready_says_what_is_waited_for() {
    let (waiting, ready) = watch::channel(vec!["redis at 127.0.0.1:6379".to_owned(), "source cards".to_owned()]);
    let server = Setup { ready, ..Setup::feast() }.start().await;
    let answer = server.request("GET", "/ready", b"").await;
    assert_eq!(code(&answer), (503, "not-ready".into()));
    assert_eq!(answer.json()["message"], "waiting for redis at 127.0.0.1:6379, source cards");
    let health = server.request("GET", "/health", b"").await;
    assert_eq!((health.status, health.body.as_str()), (200, ""));
    waiting.send(Vec::new()).unwrap();
    assert_eq!(server.request("GET", "/ready", b"").await.status, 200);
}

#[tokio::test]
async fn metrics_count_requests_and_values_by_status() {
    let recorder = super::metrics::recorder().unwrap().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = Setup { metrics: recorder.handle(), ..Setup::feast() }.start().await;
    server.post(FEATURES, &conv_rate(json!([1001, 9999]))).await;
    for path in ["/x", "/y"] {
        server.request("GET", path, b"").await;
    }
    let push = json!({"push_source_name": "driver_stats_push_source",
        "df": {"driver_id": [1, 2], "event_timestamp": ["2026-01-01 00:00:00", "2026-01-01 00:00:00"]}});
    server.post("/push", &push).await;
    for _ in 0..2 {
        let again = server.request_with("POST", "/push", "Idempotency-Key: 7\r\n", push.to_string().as_bytes()).await;
        assert_eq!(again.status, 200, "a repeat is answered as the first");
    }
    let text = server.request("GET", "/metrics", b"").await;
    assert!(text.head.contains("text/plain; version=0.0.4"));
    for line in [
        "millrace_http_requests_total{route=\"/get-online-features\",status=\"200\"} 1",
        "millrace_http_requests_total{route=\"other\",status=\"404\"} 2",
        "millrace_http_request_seconds_count{route=\"/get-online-features\",status=\"200\"} 1",
        "millrace_features_served_total{status=\"PRESENT\"} 1",
        "millrace_features_served_total{status=\"NOT_FOUND\"} 1",
        "millrace_push_rows_total{source=\"driver_stats_push_source\"} 4",
    ] {
        assert!(text.body.lines().any(|found| found == line), "{line} is not in\n{}", text.body);
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_bound_name_the_setting() {
    let held = bind("serve.http", "127.0.0.1:0").await.unwrap();
    let address = held.local_addr().unwrap().to_string();
    let text = bind("serve.http", &address).await.unwrap_err().to_string();
    assert!(text.starts_with(&format!("serve.http = {address:?}: ")) && text.contains("another port"), "{text}");
    let text = bind("serve.http", "localhost").await.unwrap_err().to_string();
    assert!(text.contains("host:port"), "{text}");
    let text = bind("serve.http", "192.0.2.1:80").await.unwrap_err().to_string();
    assert!(text.contains("no address of this machine"), "{text}");
}

#[tokio::test]
async fn a_path_that_is_taken_or_is_none_is_refused() {
    for path in ["/push", "ingest", "/in gest", "/x?y", ""] {
        let (app, stop) = Setup::feast().app(path);
        let listener = bind("serve.http", "127.0.0.1:0").await.unwrap();
        let refused = super::run(listener, app, stop).await;
        assert!(matches!(refused, Err(ServeError::Path { .. })), "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_takes_no_new_ones() {
    let setup = Setup { limits: Limits { grace: Duration::from_secs(30), ..Limits::default() }, ..Setup::feast() };
    let held = setup.store.hold();
    let server = setup.start().await;
    let address = server.address;
    let asked = conv_rate(json!([1001]));
    let (answer, ()) = tokio::join!(server.post(FEATURES, &asked), async {
        held.reached().await;
        server.stop.send(true).unwrap();
        tokio::task::yield_now().await;
        held.release();
    });
    assert_eq!(answer.status, 200);
    server.ended().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let limits = Limits { grace: Duration::from_millis(20), ..Limits::default() };
    let setup = Setup { limits, ..Setup::feast() };
    let held = setup.store.hold();
    let server = setup.start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = conv_rate(json!([1001])).to_string();
    let head = format!("POST {FEATURES} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    held.reached().await;
    server.stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.ended()).await.expect("the grace ends").unwrap();
}

#[tokio::test]
async fn requests_share_a_connection() {
    let server = Setup::feast().start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = conv_rate(json!([1001])).to_string();
    let request = format!("POST {FEATURES} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut seen = String::new();
    for round in 1..=3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        while seen.matches("\"feature_names\":[\"driver_id\",\"conv_rate\"]}}").count() < round {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    }
}
