//! A schema registry with Confluent's interface: gives the schemas that payloads name by their ids.
//!
//! A source asks for the schemas of a batch before it hands the batch on (`Registry::resolve`), so that decoding, which
//! knows no network, finds all that it needs beside the payloads. A schema never changes under its id: each is fetched
//! once, with what it refers to.
//!
//! A registry that is away, or that does not answer as one, is asked again with back-off for as long as it takes: the
//! rows wait, and the log says so once. An id that it does not know is told so in the batch, and its events become dead
//! letters; it may be asked for again later.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::SourceContext;
use super::backoff::Backoff;
use crate::engine::decode::confluent::unframe;
use crate::record::{RawBatch, SchemaText, Schemas};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The longest answer.
const LONGEST: usize = 8 << 20;

/// How many schemas one may refer to, with all that those refer to.
const REFERENCES: usize = 256;

/// How many ids that the registry does not know are remembered.
const UNKNOWN: usize = 1_000;

/// What a registry is asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `http://[user:password@]host[:port][/path]`
    pub url: String,
    /// The type that all schemas must have, as the registry calls it: `AVRO` or `PROTOBUF`.
    pub kind: &'static str,
}

/// Where and how to ask.
#[derive(Clone, Debug)]
struct Server {
    host: String,
    port: u16,
    /// What paths begin with; no slash at its end.
    path: String,
    /// The header that says who asks.
    authorization: Option<String>,
}

impl Server {
    fn new(url: &str) -> Result<Self, String> {
        let wrong = || "a registry's URL is such as \"http://127.0.0.1:8081\"".to_owned();
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("TLS is not spoken here: put a proxy that speaks it between".into()),
            _ => return Err(wrong()),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let user = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
        let authorization = user.map(|(user, _)| {
            let plain: Vec<u8> = percent_decode_str(user).collect();
            format!("Basic {}", STANDARD.encode(plain))
        });
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            path: uri.path().trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Bytes), String> {
        match timeout(ANSWER, self.asked(path)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {ANSWER:?}")),
        }
    }

    async fn asked(&self, path: &str) -> Result<(StatusCode, Bytes), String> {
        // An IPv6 address stands in brackets in a URL.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await.map_err(|error| error.to_string())?;
        let (mut client, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let mut request = Request::get(format!("{}{path}", self.path))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(ACCEPT, "application/vnd.schemaregistry.v1+json, application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let answer = async {
            let answer = client.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
            Ok((status, body.to_bytes()))
        };
        // The connection moves while its answer is waited for, and ends with it.
        tokio::pin!(answer);
        tokio::pin!(connection);
        tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// What a registry says of a schema.
#[derive(Deserialize)]
struct Schema {
    schema: String,
    #[serde(rename = "schemaType", default)]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// What a schema refers to.
#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// What a registry says went wrong.
#[derive(Deserialize)]
struct Refusal {
    error_code: i64,
    message: String,
}

/// Why there is no schema.
#[derive(Debug)]
enum Lack {
    /// The registry is away.
    Away(String),
    /// It has none, and would say so again.
    Unknown(String),
}

/// A registry and what it has said.
#[derive(Debug)]
pub struct Registry {
    server: Server,
    kind: &'static str,
    known: watch::Sender<Arc<Schemas>>,
    /// One asks at a time: the others wait for what it learns.
    asking: Mutex<()>,
}

impl Registry {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn new(options: &Options) -> Result<Self, String> {
        let server = Server::new(&options.url)?;
        Ok(Self { server, kind: options.kind, known: watch::Sender::new(Arc::default()), asking: Mutex::new(()) })
    }

    /// The schemas that the batch's events name, among others; waits for as long as the registry is away.
    pub(super) async fn resolve(&self, batch: &RawBatch, context: &SourceContext) -> Arc<Schemas> {
        let known = self.known.borrow().clone();
        let unknown = |known: &Schemas| {
            let mut ids: Vec<u32> = (0..batch.len())
                .filter_map(|event| unframe(batch.payload_slice(event)).ok())
                .map(|(id, _)| id)
                .filter(|id| !known.contains_key(id))
                .collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        if unknown(&known).is_empty() {
            return known;
        }
        let _asking = self.asking.lock().await;
        let mut known = Schemas::clone(&self.known.borrow());
        let ids = unknown(&known);
        if known.values().filter(|schema| schema.is_err()).count() > UNKNOWN {
            known.retain(|_, schema| schema.is_ok());
        }
        for id in ids {
            known.insert(id, self.fetch(id, context).await);
        }
        let known = Arc::new(known);
        self.known.send_replace(Arc::clone(&known));
        known
    }

    /// The schema of an id, or why there is none; asks until there is an answer.
    async fn fetch(&self, id: u32, context: &SourceContext) -> Result<Arc<SchemaText>, String> {
        let source = context.name.as_str();
        let mut backoff = Backoff::new(source);
        let mut told = false;
        loop {
            match self.schema(id).await {
                Ok(schema) => {
                    if told {
                        tracing::info!(source, "the schema registry is there again");
                    }
                    return Ok(Arc::new(schema));
                }
                Err(Lack::Unknown(why)) => return Err(why),
                Err(Lack::Away(cause)) => {
                    let wait = backoff.next(context.clock.now());
                    // Once for each time that it goes away, however often it is asked.
                    if std::mem::replace(&mut told, true) {
                        tracing::debug!(source, id, cause, ?wait, "still no answer from the schema registry");
                    } else {
                        tracing::warn!(source, id, cause, "no answer from the schema registry; the rows wait for it");
                    }
                    sleep(wait).await;
                }
            }
        }
    }

    async fn schema(&self, id: u32) -> Result<SchemaText, Lack> {
        let main = self.get(&format!("/schemas/ids/{id}"), &format!("schema {id}")).await?;
        let kind = main.kind.as_deref().unwrap_or("AVRO");
        if kind != self.kind {
            return Err(Lack::Unknown(format!("schema {id} is {kind}, and the source is {}", self.kind)));
        }
        let mut found: HashMap<String, String> = HashMap::new();
        let mut order = Vec::new();
        let mut open: VecDeque<Reference> = main.references.into();
        while let Some(Reference { name, subject, version }) = open.pop_front() {
            if found.contains_key(&name) {
                continue;
            }
            if found.len() >= REFERENCES {
                return Err(Lack::Unknown(format!("schema {id} refers to more than {REFERENCES} others")));
            }
            let path = format!("/subjects/{}/versions/{version}", utf8_percent_encode(&subject, NON_ALPHANUMERIC));
            let other =
                self.get(&path, &format!("version {version} of {subject}, which schema {id} refers to")).await?;
            found.insert(name.clone(), other.schema);
            order.push(name);
            open.extend(other.references);
        }
        // What others refer to comes before them.
        let references = order.into_iter().rev().filter_map(|name| found.remove_entry(&name)).collect();
        Ok(SchemaText { text: main.schema, references })
    }

    async fn get(&self, path: &str, what: &str) -> Result<Schema, Lack> {
        let (status, body) = self.server.ask(path).await.map_err(Lack::Away)?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .map_err(|error| Lack::Away(format!("its answer does not read: {error}")));
        }
        match serde_json::from_slice::<Refusal>(&body) {
            // Subject, version or schema not found.
            Ok(refusal) if status == StatusCode::NOT_FOUND && (40_401..=40_403).contains(&refusal.error_code) => {
                Err(Lack::Unknown(format!("the schema registry has no {what}: {}", refusal.message)))
            }
            _ => Err(Lack::Away(format!("it answers {status} to {path}"))),
        }
    }
}

#[cfg(test)]
mod tests;
