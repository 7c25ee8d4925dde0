//! One request, one answer, over a connection of its own.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The headers, as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// `GET path` from `address`, as in `127.0.0.1:6566`.
///
/// # Errors
/// The connection fails, or what comes is no answer.
pub fn get(address: &str, path: &str) -> Result<Answer> {
    exchange(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"))
}

/// `POST path` with JSON.
///
/// # Errors
/// As [`get`].
pub fn post(address: &str, path: &str, body: &Value) -> Result<Answer> {
    post_with(address, path, &[], body)
}

/// `POST path` with JSON and more headers, such as `A: b`.
///
/// # Errors
/// As [`get`].
pub fn post_with(address: &str, path: &str, headers: &[&str], body: &Value) -> Result<Answer> {
    let body = body.to_string();
    let length = body.len();
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("POST {path} HTTP/1.0\r\nHost: {address}\r\n{more}Content-Type: application/json\r\n");
    exchange(address, &format!("{head}Content-Length: {length}\r\n\r\n{body}"))
}

/// HTTP/1.0, whose answers end with the connection and come in one piece.
fn exchange(address: &str, request: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    read(&answer).ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("no HTTP: {answer:?}")))
}

fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_request_is_answered() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = server.local_addr().unwrap().to_string();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{\"code\": 7}").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let answer = post(&address, "/x", &serde_json::json!({"a": 1})).unwrap();
        assert_eq!((answer.status, answer.json()), (404, serde_json::json!({"code": 7})));
        let asked = asked.join().unwrap();
        assert!(
            asked.starts_with("POST /x HTTP/1.0\r\n") && asked.ends_with("Content-Length: 7\r\n\r\n{\"a\":1}"),
            "{asked}"
        );
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        assert_eq!(read("hello"), None);
        assert_eq!(read("HTTP/1.1 what\r\n\r\n"), None);
    }
}
