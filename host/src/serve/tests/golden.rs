//! What Feast's own server answered, asked again of ours.
//!
//! Ours differs, by design, in two ways: Feast says PRESENT with null where we say NOT_FOUND or NULL_VALUE; and a
//! mistake of the caller that Feast answers with 500 is a 4xx here, in our own form.

use serde_json::{Value as Json, json};

use super::fixture::{Answer, Setup};
use crate::record::Value;
use crate::time::SECOND;

const GOLDEN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/feast_http_golden.txt"));

/// Columns by name, with our statuses in Feast's answer.
fn columns(answer: &Json, ours: bool) -> Vec<(String, Json)> {
    let names = answer["metadata"]["feature_names"].as_array().unwrap();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(names.len(), results.len());
    let mut columns: Vec<(String, Json)> = names
        .iter()
        .zip(results)
        .map(|(name, column)| {
            let mut column = column.clone();
            for row in 0..column["values"].as_array().unwrap().len() {
                if !ours && column["values"][row].is_null() {
                    let no_row = column["event_timestamps"][row] == "1970-01-01T00:00:00Z";
                    column["statuses"][row] = if no_row { "NOT_FOUND".into() } else { "NULL_VALUE".into() };
                }
            }
            (name.as_str().unwrap().to_owned(), column)
        })
        .collect();
    columns.sort_by(|(left, _), (right, _)| left.cmp(right));
    columns
}

fn check(request: &str, golden: &str, status: u16, answer: &Answer) {
    match status {
        200 if golden.starts_with('{') => {
            let (golden, ours) = (serde_json::from_str::<Json>(golden).unwrap(), answer.json());
            assert_eq!(columns(&ours, true), columns(&golden, false), "{request}");
            let (names, golden_names) = (&ours["metadata"], &golden["metadata"]);
            assert_eq!(names["feature_view_metadata"], golden_names["feature_view_metadata"], "{request}");
            assert_eq!(names["feature_names"][0], golden_names["feature_names"][0], "entities come first: {request}");
        }
        500 => {
            assert!((400..500).contains(&answer.status), "{request}: {answer:?}");
            let body = answer.json();
            for part in ["code", "message", "where"] {
                assert!(body[part].as_str().is_some_and(|text| !text.is_empty()), "{request}: {body}");
            }
            return;
        }
        _ => assert_eq!(answer.body, golden, "{request}"),
    }
    assert_eq!(answer.status, status, "{request}");
}

#[tokio::test]
async fn exchanges_of_feasts_server_come_out_as_there() {
    let setup = Setup::feast();
    let server = setup.start().await;
    let mut checked = 0;
    for exchange in GOLDEN.split("## ").skip(1) {
        let (request, rest) = exchange.split_once('\n').unwrap();
        let (golden, status) = rest.trim_end().rsplit_once("\n[HTTP ").unwrap();
        let status: u16 = status.trim_end_matches(']').parse().unwrap();
        let answer = match request.split_once(' ').unwrap() {
            ("GET", path) => server.request("GET", path, b"").await,
            (path @ ("/get-online-features" | "/push"), body) => server.request("POST", path, body.as_bytes()).await,
            ("/write-to-online-store", _) => {
                // The row that the next exchange reads.
                let values = vec![Value::Float32(0.5), Value::Float32(3.0), Value::Null];
                setup.store.put("driver_hourly_stats", &[json!(1009)], 1_767_398_400 * SECOND, values);
                continue;
            }
            ("/materialize" | "/materialize-incremental", _) => continue,
            other => panic!("an exchange of another kind: {other:?}"),
        };
        check(request, golden.trim_end_matches('\n'), status, &answer);
        checked += 1;
    }
    assert_eq!(checked, 20);
    assert_eq!(setup.store.pushed(), 3);
}

#[tokio::test]
async fn requests_of_feasts_remote_store_are_answered() {
    let server = Setup::feast().start().await;
    let request = json!({"entities": {"driver_id": [7, 9999]}, "full_feature_names": false,
        "include_feature_view_version_metadata": false,
        "features": ["driver_hourly_stats:conv_rate", "driver_hourly_stats:acc_rate"]});
    let answer = server.post("/get-online-features", &request).await;
    assert!(answer.head.to_lowercase().contains("content-type: application/json"));
    assert_eq!(answer.json()["metadata"], json!({"feature_names": ["driver_id", "conv_rate", "acc_rate"]}));
    assert_eq!(answer.json()["results"][2]["statuses"], json!(["NOT_FOUND", "NOT_FOUND"]));
}
