//! Who may ask: whoever has a token, where the project file names some; else this machine alone.
//!
//! ```text
//! no tokens      local requests only (`local`); everyone may do everything
//! tokens         Authorization: Bearer TOKEN
//!                  none, or an unknown one      401 no-token, wrong-token
//!                  role read                    GET and HEAD; else 403 role-too-low
//!                  role deploy                  everything
//! ```
//! Always true: this is asked before a path is looked at or a byte of a body is read; a token is held against every
//! known one in constant time, by its SHA-256; none is kept or written anywhere.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::super::error::Failure;
use super::audit::{self, Line, What};
use super::{Shared, local};
use crate::config::project::{AdminToken, Role};

/// Whoever asks where there are no tokens.
const ANYBODY: &str = "operator";

/// Who asks, for handlers that write it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token, or `operator`.
    pub name: String,
    /// What he may do.
    pub role: Role,
}

/// Lets through whoever may do what he asks for, and has it written down where it changes something or is refused.
pub(super) async fn admitted(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let caller = judge(&shared.admin.tokens, &request);
    let name = match &caller {
        Ok(caller) => caller.name.clone(),
        Err((name, _)) => name.clone().unwrap_or_default(),
    };
    let (response, refused) = match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            let response = match percent_decode_str(&path).decode_utf8() {
                Ok(_) => next.run(request).await,
                Err(_) => {
                    let message = "the path is no UTF-8 once its %XX are read";
                    Failure::other(StatusCode::BAD_REQUEST, "bad-path", message, "path").into_response()
                }
            };
            (response, false)
        }
        Err((_, failure)) => (refuse(failure), true),
    };
    if refused || !looks_only(&method) {
        let what = response.extensions().get::<What>().map(|what| what.0.clone());
        let (method, status) = (method.as_str(), response.status().as_u16());
        let line = Line::new(&name, method, &path, status, what);
        audit::write(&shared, line, refused).await;
    }
    response
}

/// Who asks; or, as far as that is known, who is refused, and why.
fn judge(tokens: &[AdminToken], request: &Request) -> Result<Caller, (Option<String>, Failure)> {
    if tokens.is_empty() {
        return match local::refusal(request) {
            None => Ok(Caller { name: ANYBODY.into(), role: Role::Deploy }),
            Some(failure) => Err((None, failure)),
        };
    }
    let unauthorized = |code, message: &str| Failure::other(StatusCode::UNAUTHORIZED, code, message, "Authorization");
    let Some(token) = bearer(request) else {
        let message = "a token is asked for here: send it as `Authorization: Bearer TOKEN`";
        return Err((None, unauthorized("no-token", message)));
    };
    let Some(known) = find(tokens, token) else {
        let message = "this token is not one of the project's `serve.tokens`: has it changed?";
        return Err((None, unauthorized("wrong-token", message)));
    };
    let needed = if looks_only(request.method()) { Role::Read } else { Role::Deploy };
    if known.role < needed {
        let message = format!("the token `{}` has the role read, and this needs deploy", known.name);
        let failure = Failure::other(StatusCode::FORBIDDEN, "role-too-low", message, "Authorization");
        return Err((Some(known.name.clone()), failure));
    }
    Ok(Caller { name: known.name.clone(), role: known.role })
}

/// Whether a method changes nothing.
fn looks_only(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token that a request brings, if it is one alone.
fn bearer(request: &Request) -> Option<&[u8]> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

/// The token's entry; the time it takes says nothing but how many there are.
fn find<'a>(tokens: &'a [AdminToken], token: &[u8]) -> Option<&'a AdminToken> {
    let hash = Sha256::digest(token);
    let mut found = None;
    for known in tokens {
        if bool::from(known.sha256.as_slice().ct_eq(hash.as_slice())) {
            found = Some(known);
        }
    }
    found
}

fn refuse(failure: Failure) -> Response {
    let mut response = failure.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"millrace\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}
