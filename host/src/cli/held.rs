//! Who holds a project's data folder, and asking him: commands that read the folder open it themselves when nobody does.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::pinned;

/// The file in the data folder that has the admin address of the process that holds it.
pub(super) const ADDRESS: &str = "admin-address";

/// The file in the data folder that has the certificate, in DER, which that address shows where it begins with https://.
pub(super) const CERTIFICATE: &str = "admin-certificate";

/// The file in the data folder that is locked for as long as a process holds it.
pub(super) const LOCK: &str = "lock";

/// The kind of most bodies.
const JSON: &str = "application/json";

/// The longest answer.
const LONGEST: usize = 256 << 20;

/// What a command shows to the process that it asks.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TokenArgs {
    /// A token of the project, where `serve.tokens` asks for one; MILLRACE_TOKEN in the environment is as good, and
    /// other users of the machine do not see it
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

impl TokenArgs {
    fn header(&self) -> Result<Option<HeaderValue>> {
        let said = self.token.clone().or_else(|| std::env::var("MILLRACE_TOKEN").ok());
        let Some(token) = said.filter(|token| !token.trim().is_empty()) else { return Ok(None) };
        let header = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut header = header.map_err(|_| anyhow!("the token has characters that no token has"))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

/// Who holds a data folder.
pub(super) enum Holder {
    /// Nobody; and nobody will while this is kept.
    Nobody {
        /// Keeps others out.
        _lock: File,
    },
    /// A process that can be asked.
    Process(Client),
}

/// The path of what is about a UDF.
pub(super) fn udf_path(udf: &str, what: &str) -> String {
    let name: String = form_urlencoded::byte_serialize(udf.as_bytes()).collect();
    format!("/v1/udfs/{}/{what}", name.replace('+', "%20"))
}

/// Finds out who holds the folder.
pub(super) fn holder(folder: &Path, token: &TokenArgs) -> Result<Holder> {
    let path = folder.join(LOCK);
    let lock = match File::options().write(true).open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("{} has no data of a project: run the project first", folder.display())
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Holder::Nobody { _lock: lock }),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
        Err(TryLockError::WouldBlock) => {
            let address = fs::read_to_string(folder.join(ADDRESS));
            let address = address.map_err(|_| {
                anyhow!("{} is in use by a process that is starting or ending: try again", folder.display())
            })?;
            let address = address.trim();
            let (address, tls) = match address.strip_prefix("https://") {
                None => (address, None),
                Some(address) => {
                    let path = folder.join(CERTIFICATE);
                    let certificate = fs::read(&path).with_context(|| path.display().to_string())?;
                    (address, Some(pinned::config(certificate)?))
                }
            };
            Ok(Holder::Process(Client { address: address.to_owned(), tls, token: token.header()? }))
        }
    }
}

/// Asks the process that holds a folder.
pub(super) struct Client {
    address: String,
    /// How it shows who it is, where it does.
    tls: Option<Arc<rustls::ClientConfig>>,
    token: Option<HeaderValue>,
}

impl Client {
    /// `GET path`.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.ask(Method::GET, path, JSON, Bytes::new())
    }

    /// `POST path` with JSON.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T> {
        self.ask(Method::POST, path, JSON, serde_json::to_vec(body)?.into())
    }

    /// `POST path` with bytes of some other kind.
    pub(super) fn send<T: DeserializeOwned>(&self, path: &str, kind: &'static str, body: Bytes) -> Result<T> {
        self.ask(Method::POST, path, kind, body)
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, kind: &'static str, body: Bytes) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = runtime.block_on(self.exchange(method, path, kind, body));
        let (status, body) = asked.with_context(|| format!("asking the process at {}", self.address))?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("what answers at {} is no millrace of this version", self.address))
    }

    /// What it said, and the next thing to try.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let said = said.as_ref().and_then(|said| said.get("message")?.as_str());
        match (status, said) {
            (StatusCode::UNAUTHORIZED, _) if self.token.is_none() => anyhow!(
                "the project asks operators for a token: set MILLRACE_TOKEN, or give --token (serve.tokens in its file names \
                 who has one)"
            ),
            (StatusCode::UNAUTHORIZED, _) => anyhow!(
                "the process that runs the project does not know this token: its SHA-256 must be in serve.tokens, as it was \
                 when the process started"
            ),
            (StatusCode::FORBIDDEN, Some(said)) => anyhow!("{said}: ask with another token"),
            (_, Some(said)) => anyhow!("{said}"),
            (_, None) => anyhow!("the process at {} answers {status}", self.address),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.address);
        request = request.header(CONTENT_TYPE, kind);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body))?;
        let stream = TcpStream::connect(&self.address).await?;
        match &self.tls {
            None => exchange_over(stream, request).await,
            Some(config) => {
                let peer = ServerName::from(stream.peer_addr()?.ip());
                let shaken = TlsConnector::from(config.clone()).connect(peer, stream).await;
                exchange_over(shaken.context("its certificate")?, request).await
            }
        }
    }
}

async fn exchange_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes)> {
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It moves while its answer is waited for, and ends with it.
    let connection = tokio::spawn(connection);
    let answer = client.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|error| anyhow!(error))?;
    drop(client);
    connection.abort();
    Ok((status, body.to_bytes()))
}
