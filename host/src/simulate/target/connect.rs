//! A WebSocket server that takes events: a text frame each. A lost connection ends the stream, for nobody could say what
//! the server has taken.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Chunk;

/// How long to wait before trying again a server that is not there.
const AGAIN: Duration = Duration::from_millis(500);

/// How long the server may take to read what is on its way.
const GOODBYE: Duration = Duration::from_secs(10);

pub(super) struct ConnectOutput {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl ConnectOutput {
    pub(super) async fn open(url: &str) -> Result<Self, String> {
        let mut told = false;
        loop {
            match connect_async(url).await {
                Ok((socket, _)) => return Ok(Self { socket }),
                Err(error @ Error::Io(_)) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(url, %error, "no connection; trying again until there is one");
                    }
                    sleep(AGAIN).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    pub(super) async fn send(&mut self, chunk: &Chunk) -> Result<(), String> {
        for frame in frames(chunk) {
            self.socket.feed(frame).await.map_err(|error| error.to_string())?;
        }
        self.socket.flush().await.map_err(|error| error.to_string())?;
        // Reading answers pings, and hears a server that has had enough.
        while let Some(heard) = self.socket.next().now_or_never() {
            match heard {
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or_else(|| "closed".into(), |frame| format!("closed: {frame}")));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("closed".into()),
            }
        }
        Ok(())
    }

    pub(super) async fn close(&mut self) -> Result<(), String> {
        let goodbye = async {
            self.socket.close(None).await?;
            // Its answer comes after it has read all that was sent before.
            while let Some(heard) = self.socket.next().await {
                if heard?.is_close() {
                    break;
                }
            }
            Ok(())
        };
        match timeout(GOODBYE, goodbye).await {
            Ok(Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the server did not read everything within {GOODBYE:?}")),
        }
    }
}

/// A text frame an event.
pub(super) fn frames(chunk: &Chunk) -> impl Iterator<Item = Message> {
    chunk.events().map(|(event, _)| Message::text(String::from_utf8_lossy(event).into_owned()))
}
