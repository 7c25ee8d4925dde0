//! What a client is told when a request fails.
//!
//! Three forms: Feast's own (a JSON string that holds `{"module", "class", "message"}`) where Feast's clients know the
//! error; FastAPI's `{"detail": […]}` where a body does not have the shape of the endpoint's request, as Feast's server
//! answers; and `{"code", "message", "where"}` for the rest. Always true: nothing of an internal error reaches a client
//! but a number, under which the log has the cause.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::{Blame, Fault};
use crate::store::StoreError;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// An error that Feast's clients know by its class.
    #[error("{message}")]
    Feast {
        /// The status.
        status: StatusCode,
        /// A class of `feast.errors`.
        class: &'static str,
        /// What was wrong, in Feast's words.
        message: String,
    },
    /// A body that does not have the shape of the endpoint's request.
    #[error("the body does not have the shape of this endpoint's request")]
    Schema(Vec<Detail>),
    /// Anything else.
    #[error("{message}")]
    Other {
        /// The status.
        status: StatusCode,
        /// A short name of the kind of error, stable across releases.
        code: &'static str,
        /// What was wrong and what to try.
        message: String,
        /// The part of the request, or of Millrace, that is concerned.
        place: String,
    },
}

/// One mistake in a body, as FastAPI tells it.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    /// The kind of mistake, in pydantic's words.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The way to it: names and positions.
    pub(super) loc: Vec<serde_json::Value>,
    /// What was wrong.
    pub(super) msg: &'static str,
    /// What was there.
    pub(super) input: serde_json::Value,
    /// What the parser says, for a body that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ctx: Option<serde_json::Value>,
}

impl Failure {
    /// 404 in Feast's form.
    pub(super) fn feast_not_found(class: &'static str, message: String) -> Self {
        Self::Feast { status: StatusCode::NOT_FOUND, class, message }
    }

    /// 404.
    pub(super) fn not_found(code: &'static str, message: String, place: impl Into<String>) -> Self {
        Self::other(StatusCode::NOT_FOUND, code, message, place)
    }

    /// 422: well-formed, but it cannot be done.
    pub(super) fn unprocessable(code: &'static str, message: String, place: impl Into<String>) -> Self {
        Self::other(StatusCode::UNPROCESSABLE_ENTITY, code, message, place)
    }

    /// 413: more than Millrace does in one request.
    pub(super) fn too_large(message: String, place: impl Into<String>) -> Self {
        Self::other(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message, place)
    }

    /// 503: the same request may succeed later. `cause` goes to the log alone.
    pub(super) fn unavailable(code: &'static str, what: &str, cause: &dyn Display, place: impl Into<String>) -> Self {
        let place = place.into();
        let id = failure_id();
        tracing::warn!(id, place, %cause, "{what}");
        let message = format!("{what}; try again (the log has the cause under number {id})");
        Self::other(StatusCode::SERVICE_UNAVAILABLE, code, message, place)
    }

    /// 500. `cause` goes to the log alone.
    pub(super) fn internal(cause: &dyn Display, place: impl Into<String>) -> Self {
        let place = place.into();
        let id = failure_id();
        tracing::error!(id, place, %cause, "a request failed");
        let message = format!("Millrace failed; its log has the cause under number {id}");
        Self::other(StatusCode::INTERNAL_SERVER_ERROR, "internal", message, place)
    }

    /// Any status.
    pub(super) fn other(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        place: impl Into<String>,
    ) -> Self {
        Self::Other { status, code, message: message.into(), place: place.into() }
    }

    /// A store that did not read the rows of a view.
    pub(super) fn store(error: &StoreError, view: &str) -> Self {
        let place = format!("view {view}");
        match error.retry_helps() {
            true => Self::unavailable("store-unavailable", "the online store does not answer", error, place),
            false => Self::internal(error, place),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Feast { status, .. } | Self::Other { status, .. } => *status,
            Self::Schema(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

impl Blame for Failure {
    fn fault(&self) -> Fault {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Fault::External,
            status if status.is_server_error() => Fault::Internal,
            _ => Fault::User,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry = self.retry_helps();
        let body = match self {
            Self::Feast { class, message, .. } => {
                // Spaces as Python's json.dumps leaves them: clients compare this text.
                let message = serde_json::Value::from(message);
                let text = format!(r#"{{"module": "feast.errors", "class": "{class}", "message": {message}}}"#);
                serde_json::Value::from(text)
            }
            Self::Schema(detail) => serde_json::json!({ "detail": detail }),
            Self::Other { code, message, place, .. } => {
                serde_json::json!({ "code": code, "message": message, "where": place })
            }
        };
        let mut response = json(status, body.to_string());
        if retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A response of JSON text.
pub(super) fn json(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    let kind: [(HeaderName, HeaderValue); 1] = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, kind, body.into()).into_response()
}

/// A number that ties what a client is told to what the log says.
fn failure_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_hears_nothing_of_the_cause() {
        let error = StoreError::Unavailable { store: "redis://10.0.0.7".into(), cause: "password".into() };
        let response = Failure::store(&error, "cards").into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        let error = StoreError::Damaged { store: "/var/data".into(), cause: "crc".into() };
        let damaged = Failure::store(&error, "cards").into_response();
        assert_eq!(damaged.status(), 500);
        for response in [response, damaged] {
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(body.contains("\"where\":\"view cards\""), "{body}");
            for secret in ["10.0.0.7", "password", "/var/data", "crc"] {
                assert!(!body.contains(secret), "{body}");
            }
        }
    }
}
