//! A WebSocket server of our own: every client gets every event from the moment it connects, a text frame each. Several
//! streams may share an address; the path that a client asks for says which one it gets.
//!
//! The stream begins with the first client and rests while there is none, so a client that loses its connection and
//! comes back misses little. The slowest client sets the pace; one that takes nothing for long is let go.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::Chunk;
use super::connect::frames;

/// How many chunks wait for a client.
const CHUNKS_AHEAD: usize = 2;

/// How many clients may come at once.
const COMING: usize = 16;

/// How long a client may take for its opening request.
const OPENING: Duration = Duration::from_secs(10);

/// How long a client may take nothing.
const STUCK: Duration = Duration::from_secs(30);

type Frames = Vec<Message>;
type Client = mpsc::Sender<Frames>;
type Coming = (Client, JoinHandle<()>);

/// Which stream is at which path of an address.
type Routes = Arc<Mutex<Vec<(String, mpsc::Sender<Coming>)>>>;

/// The addresses that are listened on.
#[derive(Default)]
pub(in super::super) struct Listeners(Vec<(String, Routes)>);

pub(super) struct ListenOutput {
    /// Of the first stream at an address.
    accepting: Option<JoinHandle<()>>,
    coming: mpsc::Receiver<Coming>,
    clients: Vec<Client>,
    sending: Vec<JoinHandle<()>>,
    once: bool,
}

impl ListenOutput {
    pub(super) async fn open(listeners: &mut Listeners, address: &str, path: &str, once: bool) -> Result<Self, String> {
        let (come, coming) = mpsc::channel(COMING);
        let shared = listeners.0.iter().find(|(known, _)| known == address).map(|(_, routes)| routes.clone());
        let routes = shared.clone().unwrap_or_default();
        {
            let mut routes = lock(&routes);
            if routes.iter().any(|(known, _)| known == path) {
                return Err(format!("another stream is at {path} already"));
            }
            routes.push((path.to_owned(), come));
        }
        let accepting = match shared {
            Some(_) => None,
            None => {
                let listener = TcpListener::bind(address).await.map_err(|error| error.to_string())?;
                listeners.0.push((address.to_owned(), routes.clone()));
                Some(tokio::spawn(accept(listener, routes)))
            }
        };
        tracing::info!("waiting for clients at ws://{address}{path}");
        Ok(Self { accepting, coming, clients: Vec::new(), sending: Vec::new(), once })
    }

    /// Waits until there is a client.
    pub(super) async fn ready(&mut self) {
        while let Ok(client) = self.coming.try_recv() {
            self.add(client);
        }
        while self.clients.is_empty() {
            match self.coming.recv().await {
                Some(client) => self.add(client),
                // The accepting task ends with us, and not before.
                None => std::future::pending().await,
            }
        }
    }

    fn add(&mut self, (client, sending): Coming) {
        self.clients.push(client);
        self.sending.retain(|sending| !sending.is_finished());
        self.sending.push(sending);
    }

    pub(super) async fn send(&mut self, chunk: &Chunk) -> Result<(), String> {
        let frames: Frames = frames(chunk).collect();
        loop {
            self.ready().await;
            let mut gone = Vec::new();
            for (number, client) in self.clients.iter().enumerate() {
                gone.extend(client.send(frames.clone()).await.is_err().then_some(number));
            }
            for number in gone.into_iter().rev() {
                self.clients.remove(number);
            }
            // Events that nobody took wait for the next client.
            if !self.clients.is_empty() {
                return Ok(());
            }
        }
    }

    /// After the last event: stays until it is stopped, unless it is to end by itself.
    pub(super) async fn linger(&mut self) {
        if !self.once {
            tracing::info!("no more events; staying until stopped");
            std::future::pending::<()>().await;
        }
    }

    /// Gives clients what waits for them, and closes.
    pub(super) async fn close(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
        self.clients.clear();
        for sending in self.sending.drain(..) {
            if sending.await.is_err_and(|error| error.is_panic()) {
                tracing::warn!("a client was not served to the end");
            }
        }
    }
}

/// Lets clients in for as long as the stream wants them.
async fn accept(listener: TcpListener, routes: Routes) {
    let mut opening = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let routes = routes.clone();
                opening.spawn(async move {
                    match timeout(OPENING, open(stream, &routes)).await {
                        Ok(Ok((socket, come))) => {
                            tracing::info!(%address, "a client has come");
                            let (client, frames) = mpsc::channel(CHUNKS_AHEAD);
                            let sending = tokio::spawn(async move {
                                let end = serve(socket, frames).await;
                                tracing::info!(%address, end, "a client has gone");
                            });
                            // A stream that has ended wants no more clients.
                            come.send((client, sending)).await.ok();
                        }
                        Ok(Err(error)) => tracing::info!(%address, %error, "a client was not let in"),
                        Err(_) => tracing::info!(%address, "a client said nothing"),
                    }
                });
            }
            Err(error) => {
                // Too many open files, mostly: that passes.
                tracing::warn!(%error, "cannot let clients in");
                sleep(Duration::from_millis(100)).await;
            }
        }
        while opening.try_join_next().is_some() {}
    }
}

async fn open(stream: TcpStream, routes: &Routes) -> Result<(WebSocketStream<TcpStream>, mpsc::Sender<Coming>), Error> {
    stream.set_nodelay(true).map_err(Error::Io)?;
    let mut found = None;
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let check = |request: &Request, response: Response| {
        let routes = lock(routes);
        found = routes.iter().find(|(path, _)| path == request.uri().path()).map(|(_, come)| come.clone());
        if found.is_some() {
            return Ok(response);
        }
        let paths: Vec<&str> = routes.iter().map(|(path, _)| path.as_str()).collect();
        let mut refusal = ErrorResponse::new(Some(format!("streams are at {}\n", paths.join(", "))));
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        Err(refusal)
    };
    let socket = accept_hdr_async(stream, check).await?;
    found.map(|come| (socket, come)).ok_or(Error::ConnectionClosed)
}

fn lock(routes: &Routes) -> MutexGuard<'_, Vec<(String, mpsc::Sender<Coming>)>> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends frames until there are no more; says how it ended.
async fn serve(mut socket: WebSocketStream<TcpStream>, mut frames: mpsc::Receiver<Frames>) -> String {
    let ended = loop {
        tokio::select! {
            chunk = frames.recv() => match chunk {
                Some(chunk) => match timeout(STUCK, feed(&mut socket, chunk)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Err(error),
                    Err(_) => break Err(Error::Io(io::Error::other(format!("it took nothing for {STUCK:?}")))),
                },
                None => break Ok(()),
            },
            // What clients say, a subscription for one, changes nothing; but their going is heard here.
            heard = socket.next() => match heard {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(error),
                None => break Err(Error::ConnectionClosed),
            },
        }
    };
    if let Err(error) = ended {
        return error.to_string();
    }
    let goodbye = async {
        socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "the stream has ended".into() })).await?;
        // Its answer comes after it has read all that was sent before.
        while let Some(heard) = socket.next().await {
            if heard?.is_close() {
                break;
            }
        }
        Ok(())
    };
    match timeout(STUCK, goodbye).await {
        Ok(Ok(()) | Err(Error::ConnectionClosed)) => "the stream has ended".into(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it took nothing for {STUCK:?}"),
    }
}

async fn feed(socket: &mut WebSocketStream<TcpStream>, chunk: Frames) -> Result<(), Error> {
    for frame in chunk {
        socket.feed(frame).await?;
    }
    socket.flush().await
}
