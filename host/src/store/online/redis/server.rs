//! A Redis of a test's own: on a spare port of the loopback, without persistence, ended with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A running server.
pub(super) struct TestRedis {
    port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl TestRedis {
    /// Starts one on a port that is free.
    pub(super) fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments)
    }

    /// Starts one on that port.
    pub(super) fn start_on(port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server does not start ({error}): apt-get install redis-server"));
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        while !said.contains("eady to accept connections") {
            if output.read_line(&mut said).unwrap() == 0 {
                child.wait().unwrap();
                panic!("redis-server ended: {said}");
            }
        }
        // Its output goes on, and is read so that it never blocks on it.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { port, child, _folder: folder }
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        url(self.port)
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// A connection beside the store's.
    pub(super) fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The URL of a Redis on that port.
pub(super) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// A port that nobody listens on.
pub(super) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
