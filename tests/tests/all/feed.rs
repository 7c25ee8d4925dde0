//! A WebSocket server that sends what it is given to the first who connects, and stays until that one goes.

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};

/// A server; dropping it takes it away.
pub(crate) struct Feed {
    /// What clients connect to.
    pub(crate) url: String,
    frames: Sender<String>,
}

impl Feed {
    /// Listens at a port that the system chooses.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("ws://{}/transactions", listener.local_addr().unwrap());
        let (frames, queue) = channel::<String>();
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a listener listens");
            let mut socket = accept(stream).expect("who connects speaks WebSocket");
            for frame in queue {
                socket.send(Message::text(frame)).expect("the client listens");
            }
            close(socket);
        });
        Self { url, frames }
    }

    /// Sends one frame, also to a client that is yet to come.
    pub(crate) fn send(&self, frame: impl Into<String>) {
        self.frames.send(frame.into()).expect("the server runs until the feed is dropped");
    }
}

/// Says goodbye, to a client that may be gone already.
fn close(mut socket: WebSocket<TcpStream>) {
    if socket.close(None).is_ok() {
        while socket.read().is_ok() {}
    }
}
