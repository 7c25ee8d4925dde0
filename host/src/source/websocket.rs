//! Events from a WebSocket server that Millrace connects to. (The other way round, an endpoint that clients connect to,
//! is the HTTP server with a [`push`](super::push) source behind it: [`PushHandle::send_lines`] takes a frame.)
//!
//! One partition; an event's offset is its number, running from [`Options::first`]. A text or binary frame is one event,
//! or one a line where it holds several, unless [`Options::whole`]. Frames that are there together become one batch, and a lone one goes out at
//! once. The socket is read only while the workers take events, so a slow worker slows the server down.
//!
//! A connection that fails, ends or falls silent is made again, with back-off, until the source is stopped; what the
//! server sends meanwhile is for the server to keep. What has come is kept in the [`journal`](super::journal) first.
//!
//! [`PushHandle::send_lines`]: super::push::PushHandle::send_lines

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::backoff::Backoff;
use super::batch::BatchBuilder;
use super::{SourceContext, SourceError, lines};

/// The largest frame, and the largest message made of several, unless options say otherwise.
pub const MAX_FRAME: usize = 8 << 20;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection this long silent is asked for a pong, and given up when it is silent as long again.
const SILENCE: Duration = Duration::from_secs(20);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// What a WebSocket source runs with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server: `ws://host:port/path`.
    pub url: String,
    /// Headers of the request that opens the connection.
    pub headers: Vec<(String, String)>,
    /// Messages to send after connecting, such as a subscription.
    pub send: Vec<String>,
    /// The largest frame that is accepted, in bytes; a larger one ends the connection.
    pub max_frame: usize,
    /// The number of the first event: one more than the last that an earlier run made safe.
    pub first: i64,
    /// Whether a frame is one event, whatever bytes it has; else its lines are.
    pub whole: bool,
}

impl Options {
    /// Connects to `url` and only listens.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), headers: Vec::new(), send: Vec::new(), max_frame: MAX_FRAME, first: 0, whole: false }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Reads until the source is stopped; it never ends by itself.
///
/// # Errors
/// [`SourceError::Refused`] for an address or a header that cannot be used; [`SourceError::Stopped`] when the workers
/// are gone.
pub async fn run(options: Options, context: SourceContext) -> Result<(), SourceError> {
    let request = request(&options).map_err(|cause| context.refused(cause))?;
    let mut client = Client {
        request,
        next: options.first,
        batch: BatchBuilder::new(context.origin(0), context.batch_rows),
        socket: None,
        backoff: Backoff::new(&context.name),
        options,
    };
    let result = context.until_stopped(client.forward(&context)).await;
    client.close().await;
    result
}

/// The request that opens a connection, or what is wrong with the options.
fn request(options: &Options) -> Result<Request, String> {
    let url = &options.url;
    if url.starts_with("wss:") {
        return Err(format!("{url}: TLS is not spoken here; put a proxy that speaks it between, and use ws://"));
    }
    let mut request =
        url.as_str().into_client_request().map_err(|error| format!("{url}: {error}; an address is ws://host/path"))?;
    if request.uri().scheme_str() != Some("ws") {
        return Err(format!("{url}: an address begins with ws://"));
    }
    for (name, value) in &options.headers {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("header {name:?}: {error}"))?;
        // The value may be a secret, so the message does not show it.
        let value = HeaderValue::from_str(value).map_err(|error| format!("value of header {name}: {error}"))?;
        request.headers_mut().insert(header, value);
    }
    Ok(request)
}

struct Client {
    options: Options,
    request: Request,
    next: i64,
    batch: BatchBuilder,
    socket: Option<Socket>,
    backoff: Backoff,
}

impl Client {
    async fn forward(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let (source, url) = (context.name.as_str(), self.options.url.clone());
        self.next = context.resume(self.next).await?;
        let mut told = false;
        loop {
            let cause = match self.connect().await {
                Ok(socket) => {
                    tracing::info!(source, url, "connected");
                    told = false;
                    self.receive(socket, context).await?
                }
                Err(cause) => cause,
            };
            self.socket = None;
            let wait = self.backoff.next(context.clock.now());
            // Once for each time that the server goes away, however often it is tried.
            if std::mem::replace(&mut told, true) {
                tracing::debug!(source, url, cause, ?wait, "still no connection");
            } else {
                tracing::warn!(source, url, cause, "no connection; trying again until there is one");
            }
            sleep(wait).await;
        }
    }

    async fn connect(&self) -> Result<Socket, String> {
        let config = WebSocketConfig::default()
            .max_frame_size(Some(self.options.max_frame))
            .max_message_size(Some(self.options.max_frame));
        let connecting = async {
            let (mut socket, _) = connect_async_with_config(self.request.clone(), Some(config), true).await?;
            for message in &self.options.send {
                socket.send(Message::text(message.as_str())).await?;
            }
            Ok(socket)
        };
        match timeout(CONNECT, connecting).await {
            Ok(connected) => connected.map_err(|error: tokio_tungstenite::tungstenite::Error| error.to_string()),
            Err(_) => Err(format!("no answer within {CONNECT:?}")),
        }
    }

    /// Takes what comes until the connection ends, and returns why it did.
    async fn receive(&mut self, socket: Socket, context: &SourceContext) -> Result<String, SourceError> {
        let socket = self.socket.insert(socket);
        let mut asked = false;
        loop {
            let Ok(message) = timeout(SILENCE, socket.next()).await else {
                let pinged = timeout(SILENCE, socket.send(Message::Ping(Bytes::new()))).await;
                if asked || !matches!(pinged, Ok(Ok(()))) {
                    return Ok(format!("nothing heard for {:?}", 2 * SILENCE));
                }
                asked = true;
                continue;
            };
            asked = false;
            let mut next = Some(message);
            let mut ended = None;
            while let Some(message) = next.take() {
                let payload = match message {
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    // The library answers a ping by itself.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Bytes::new(),
                    Some(Ok(Message::Close(frame))) => {
                        let reason = frame.map(|frame| format!(": {frame}")).unwrap_or_default();
                        ended = Some(format!("the server closed the connection{reason}"));
                        break;
                    }
                    Some(Err(error)) => {
                        ended = Some(error.to_string());
                        break;
                    }
                    None => {
                        ended = Some("the server closed the connection".into());
                        break;
                    }
                };
                let arrival = context.clock.now();
                let whole = self.options.whole.then_some(0..payload.len()).filter(|frame| !frame.is_empty());
                let lines = (!self.options.whole).then(|| lines::ranges(&payload)).into_iter().flatten();
                for event in whole.into_iter().chain(lines) {
                    self.batch.push(payload.get(event).unwrap_or_default(), self.next, arrival);
                    self.next += 1;
                    if self.batch.is_full() {
                        flush(&mut self.batch, context).await?;
                    }
                }
                next = socket.next().now_or_never();
            }
            if flush(&mut self.batch, context).await? {
                self.backoff.reset();
            }
            if let Some(cause) = ended {
                return Ok(cause);
            }
        }
    }

    /// Takes leave of the server, as far as it listens.
    async fn close(&mut self) {
        if let Some(socket) = &mut self.socket {
            // A server that is gone or does not read needs no goodbye.
            timeout(GOODBYE, socket.close(None)).await.ok();
        }
    }
}

/// Sends what there is; whether there was something.
async fn flush(batch: &mut BatchBuilder, context: &SourceContext) -> Result<bool, SourceError> {
    let Some(batch) = batch.take() else { return Ok(false) };
    context.keep_and_give(batch).await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
