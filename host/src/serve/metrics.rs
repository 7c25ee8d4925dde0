//! The names of serving's metrics, and the recorder that holds all of Millrace's.
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | `millrace_http_requests_total` | counter | route, status | requests answered |
//! | `millrace_http_request_seconds` | histogram | route, status | from the request's head to the answer's |
//! | `millrace_features_served_total` | counter | status | feature values answered, by their status |
//! | `millrace_push_rows_total` | counter | source | rows taken by `POST /push` |
//! | `millrace_ingest_events_total` | counter | path | events taken over WebSocket endpoints |
//! | `millrace_ingest_connections` | gauge | path | WebSocket connections that are open |
//! | `millrace_subscribers` | gauge | kind, name | subscribers of a view or a service |
//! | `millrace_subscriber_rows_total` | counter | kind, name | rows sent to them |
//! | `millrace_subscriber_cut_off_total` | counter | kind, name | those that did not keep up |
//!
//! The values of `route` are [`ROUTES`], `ingest` for every WebSocket endpoint, `admin` for all of the admin listener's
//! and `other` for the rest, so that no
//! client can make a series.

use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

use super::response::Statuses;

/// The paths that are served, but for WebSocket endpoints.
pub const ROUTES: [&str; 6] = ["/get-online-features", "/push", "/health", "/ready", "/metrics", "/v1/subscribe"];

/// Upper bounds of the latency histogram's buckets, in seconds.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

/// A recorder with buckets for everything whose name ends in `_seconds`. Install it before anything is counted.
///
/// # Errors
/// None in practice: the buckets are not empty.
pub fn recorder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
}

/// Tells the recorder what serving's metrics mean.
pub(super) fn describe() {
    describe_counter!("millrace_http_requests_total", "Requests answered");
    describe_histogram!("millrace_http_request_seconds", metrics::Unit::Seconds, "Time to answer a request");
    describe_counter!("millrace_features_served_total", "Feature values answered, by status");
    describe_counter!("millrace_push_rows_total", "Rows taken by POST /push");
    describe_counter!("millrace_ingest_events_total", "Events taken over WebSocket endpoints");
    describe_gauge!("millrace_ingest_connections", "WebSocket connections that are open");
    describe_gauge!("millrace_subscribers", "Subscribers of a view or a service");
    describe_counter!("millrace_subscriber_rows_total", "Rows sent to subscribers");
    describe_counter!("millrace_subscriber_cut_off_total", "Subscribers that did not keep up");
}

/// A request was answered.
pub(super) fn answered(route: &'static str, status: StatusCode, took: Duration) {
    let status = status.as_str().to_owned();
    counter!("millrace_http_requests_total", "route" => route, "status" => status.clone()).increment(1);
    histogram!("millrace_http_request_seconds", "route" => route, "status" => status).record(took);
}

/// Feature values were answered.
pub(super) fn served(statuses: Statuses) {
    let Statuses { present, null, not_found, stale } = statuses;
    let counts = [("PRESENT", present), ("NULL_VALUE", null), ("NOT_FOUND", not_found), ("OUTSIDE_MAX_AGE", stale)];
    for (status, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        counter!("millrace_features_served_total", "status" => status).increment(count);
    }
}

/// Rows were pushed.
pub(super) fn pushed(source: &str, rows: usize) {
    counter!("millrace_push_rows_total", "source" => source.to_owned()).increment(rows as u64);
}

/// Events came over a WebSocket.
pub(super) fn ingested(path: &str, events: usize) {
    counter!("millrace_ingest_events_total", "path" => path.to_owned()).increment(events as u64);
}

/// Counts a connection until it is dropped.
pub(super) fn connection(path: &str) -> OpenConnection {
    let open = gauge!("millrace_ingest_connections", "path" => path.to_owned());
    open.increment(1.0);
    OpenConnection(open)
}

/// Counts a subscriber until it is dropped.
pub(super) fn subscriber(kind: &'static str, name: &str) -> OpenConnection {
    let open = gauge!("millrace_subscribers", "kind" => kind, "name" => name.to_owned());
    open.increment(1.0);
    OpenConnection(open)
}

/// Rows were sent to a subscriber.
pub(super) fn subscriber_rows(kind: &'static str, name: &str, rows: usize) {
    counter!("millrace_subscriber_rows_total", "kind" => kind, "name" => name.to_owned()).increment(rows as u64);
}

/// A subscriber was cut off.
pub(super) fn subscriber_cut_off(kind: &'static str, name: &str) {
    counter!("millrace_subscriber_cut_off_total", "kind" => kind, "name" => name.to_owned()).increment(1);
}

/// A WebSocket connection that is open.
pub(super) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
