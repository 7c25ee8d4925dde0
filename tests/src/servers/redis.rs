//! Redis: without persistence, so that what it holds is gone when it stops, as with a server that was exchanged; or with
//! an append-only file, so that it comes back as it was.

use std::process::Command;

use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::{patience, port};

/// A Redis server that can go away and come back at the same address.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: TempDir,
    persistent: bool,
    server: Option<Guarded>,
}

impl Redis {
    /// Starts one that forgets when it stops.
    ///
    /// # Panics
    /// It does not start, with the reason.
    pub fn start() -> Self {
        let mut redis = Self::away(false);
        redis.resume();
        redis
    }

    /// One that keeps what it has acknowledged, whatever death it dies; it is not there until [`Redis::resume`].
    ///
    /// # Panics
    /// There is no folder for its data.
    pub fn persistent() -> Self {
        Self::away(true)
    }

    fn away(persistent: bool) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        Self { port: port::spare(), folder, persistent, server: None }
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection.
    ///
    /// # Panics
    /// It is not there.
    pub fn connect(&self) -> redis::Connection {
        let connection = redis::Client::open(self.url()).and_then(|client| client.get_connection());
        connection.unwrap_or_else(|error| panic!("{}: {error}", self.url()))
    }

    /// Kills it; one that is not persistent loses all that it holds.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Brings it back, empty unless it is persistent.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub fn resume(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                if self.persistent { "yes" } else { "no" },
                "--appendfsync",
                "always",
                "--dir",
            ])
            .arg(self.folder.path());
        let server = Guarded::spawn(&command, Some(self.folder.path()));
        server.line("Ready to accept connections", patience::START);
        self.server = Some(server);
    }

    /// The server's process, to be signalled.
    pub fn process(&mut self) -> Option<&mut Guarded> {
        self.server.as_mut()
    }
}
