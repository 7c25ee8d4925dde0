//! Who holds a project's data folder, and asking him: commands that read the folder open it themselves when nobody does.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// The file in the data folder that has the admin address of the process that holds it.
pub(super) const ADDRESS: &str = "admin-address";

/// The file in the data folder that is locked for as long as a process holds it.
pub(super) const LOCK: &str = "lock";

/// The longest answer.
const LONGEST: usize = 256 << 20;

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

/// Finds out who holds the folder.
pub(super) fn holder(folder: &Path) -> Result<Holder> {
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
            Ok(Holder::Process(Client { address: address.trim().to_owned() }))
        }
    }
}

/// Asks the process that holds a folder.
pub(super) struct Client {
    address: String,
}

impl Client {
    /// `GET path`.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.ask(Method::GET, path, Bytes::new())
    }

    /// `POST path` with JSON.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T> {
        self.ask(Method::POST, path, serde_json::to_vec(body)?.into())
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = runtime.block_on(self.exchange(method, path, body));
        let (status, body) = asked.with_context(|| format!("asking the process at {}", self.address))?;
        if status != StatusCode::OK {
            let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            match said.as_ref().and_then(|said| said.get("message")?.as_str()) {
                Some(message) => bail!("{message}"),
                None => bail!("the process at {} answers {status}", self.address),
            }
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("what answers at {} is no millrace of this version", self.address))
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        // It moves while its answer is waited for, and ends with it.
        let connection = tokio::spawn(connection);
        let answer = client.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|error| anyhow!(error))?;
        drop(client);
        connection.abort();
        Ok((status, body.to_bytes()))
    }
}
