//! Only requests that mean this machine: a name of it in `Host`, and in `Origin` where a browser says one.
//!
//! A web page can make a browser ask a loopback address, by a name of its own that leads there (DNS rebinding) or
//! straight out. The browser then says that name in `Host`, or the page's in `Origin`: neither is local.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};

use super::super::error::Failure;

/// Why a request is not a local one; none where it is.
pub(super) fn refusal(request: &Request) -> Option<Failure> {
    let headers = request.headers();
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let host = headers.get(header::HOST).map(text);
    let host = host.or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default();
    let origins = headers.get_all(header::ORIGIN).iter().map(text);
    let foreign = origins.into_iter().find(|origin| !is_local_origin(origin));
    let message = match foreign {
        _ if !is_local(&host) => "the Host header does not name this machine: ask 127.0.0.1 or localhost",
        Some(_) => "the Origin header is not of this machine: pages from elsewhere are not answered",
        None => return None,
    };
    Some(Failure::other(StatusCode::FORBIDDEN, "not-local", message, "headers"))
}

/// Whether `host`, or `host:port`, names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.is_empty() || is_port(port) => address,
        Some(_) => return false,
        None => match host.rsplit_once(':') {
            Some((name, port)) if is_port(&format!(":{port}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

fn is_local_origin(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(is_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for host in ["127.0.0.1", "127.0.0.1:6567", "127.1.2.3:1", "localhost", "LocalHost:80", "[::1]", "[::1]:6567"] {
            assert!(is_local(host), "{host}");
            assert!(is_local_origin(&format!("http://{host}")), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "localhost:x",
            "[::1]x",
            "[::2]",
            "user@localhost",
            "localhost/",
            "127.0.0.1:6567:1",
        ] {
            assert!(!is_local(host), "{host}");
        }
        for origin in ["null", "localhost", "http://evil.example", "http://localhost@evil.example", "file://localhost"]
        {
            assert!(!is_local_origin(origin), "{origin}");
        }
    }
}
