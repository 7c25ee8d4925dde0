//! Where a simulated stream goes.

mod connect;
mod file;
mod kafka;
mod listen;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::stream::Stream;
use super::{Options, SimulateError};
use crate::time::Micros;
pub(super) use listen::Listeners;

/// A chunk with as many bytes is full.
const FULL: usize = 64 << 10;

/// Where a stream goes, as `--to` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A new file of JSON lines: `file:transactions.jsonl`.
    File(PathBuf),
    /// JSON lines on the standard output: `-`.
    Stdout,
    /// A Kafka topic, keyed by what the events are about: `kafka:127.0.0.1:9092/transactions`.
    Kafka {
        /// Where the brokers are found, separated by commas.
        brokers: String,
        /// The topic.
        topic: String,
    },
    /// A WebSocket server of our own, that sends to every client: `listen:127.0.0.1:7001/transactions`.
    Listen {
        /// The address that is listened on.
        address: String,
        /// The path that clients ask for.
        path: String,
    },
    /// A WebSocket server that takes events, such as Millrace's own: `ws://127.0.0.1:6566/ingest/transactions`.
    Connect {
        /// The server.
        url: String,
    },
}

/// What `--to` can be.
const FORMS: &str =
    "a target is file:PATH, - (standard output), kafka:BROKERS/TOPIC, listen:ADDRESS/PATH or ws://HOST/PATH";

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = |rest: &str| {
            let (before, after) = rest.split_once('/')?;
            (!before.is_empty() && !after.is_empty()).then(|| (before.to_owned(), after.to_owned()))
        };
        let target = match text.split_once(':') {
            _ if text == "-" => Some(Self::Stdout),
            Some(("file", "-")) => Some(Self::Stdout),
            Some(("file", path)) if !path.is_empty() => Some(Self::File(path.into())),
            Some(("kafka", rest)) => {
                split(rest.trim_start_matches("//")).map(|(brokers, topic)| Self::Kafka { brokers, topic })
            }
            Some(("listen", rest)) => {
                let rest = rest.strip_prefix("ws:").unwrap_or(rest).trim_start_matches("//");
                split(rest).map(|(address, path)| Self::Listen { address, path: format!("/{path}") })
            }
            Some(("ws", _)) => Some(Self::Connect { url: text.to_owned() }),
            _ => None,
        };
        target.ok_or_else(|| FORMS.to_owned())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "file:{}", path.display()),
            Self::Stdout => out.write_str("-"),
            Self::Kafka { brokers, topic } => write!(out, "kafka:{brokers}/{topic}"),
            Self::Listen { address, path } => write!(out, "listen:{address}{path}"),
            Self::Connect { url } => out.write_str(url),
        }
    }
}

/// Events on their way: lines and keys, and where each ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    data: Vec<u8>,
    keys: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

impl Chunk {
    /// Adds the next event of a stream that has one; its event time.
    pub(super) fn add(&mut self, stream: &mut Stream) -> Micros {
        let Some(time) = stream.write_next(&mut self.data, &mut self.keys) else { return Micros::MIN };
        self.ends.push((self.data.len(), self.keys.len()));
        time
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.data.len() >= FULL
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.keys.clear();
        self.ends.clear();
    }

    /// The events without their newlines, and their keys.
    fn events(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (mut start, mut key_start) = (0, 0);
        self.ends.iter().map(move |&(end, key_end)| {
            let event = self.data.get(start..end - 1).unwrap_or_default();
            let key = self.keys.get(key_start..key_end).unwrap_or_default();
            (start, key_start) = (end, key_end);
            (event, key)
        })
    }
}

/// An open target.
pub(super) struct Output {
    name: String,
    kind: Kind,
}

enum Kind {
    File(file::FileOutput),
    Kafka(kafka::KafkaOutput),
    Listen(listen::ListenOutput),
    Connect(Box<connect::ConnectOutput>),
}

impl Output {
    /// Opens the target; waits until a server that is connected to is there.
    pub(super) async fn open(
        target: &Target,
        options: &Options,
        listeners: &mut Listeners,
    ) -> Result<Self, SimulateError> {
        let opened = match target {
            Target::File(path) => file::FileOutput::create(path).map(Kind::File),
            Target::Stdout => Ok(Kind::File(file::FileOutput::stdout())),
            Target::Kafka { brokers, topic } => kafka::KafkaOutput::open(brokers, topic).map(Kind::Kafka),
            Target::Listen { address, path } => {
                listen::ListenOutput::open(listeners, address, path, options.once).await.map(Kind::Listen)
            }
            Target::Connect { url } => {
                connect::ConnectOutput::open(url).await.map(|output| Kind::Connect(Box::new(output)))
            }
        };
        let name = target.to_string();
        match opened {
            Ok(kind) => Ok(Self { name, kind }),
            Err(cause) => Err(SimulateError::Target { target: name, cause }),
        }
    }

    /// Waits until somebody takes events.
    pub(super) async fn ready(&mut self) {
        if let Kind::Listen(output) = &mut self.kind {
            output.ready().await;
        }
    }

    /// Hands events on; waits while the target is full.
    pub(super) async fn send(&mut self, chunk: &Chunk) -> Result<(), SimulateError> {
        let sent = match &mut self.kind {
            Kind::File(output) => output.send(chunk),
            Kind::Kafka(output) => output.send(chunk).await,
            Kind::Listen(output) => output.send(chunk).await,
            Kind::Connect(output) => output.send(chunk).await,
        };
        self.named(sent)
    }

    /// After the last event: waits until the target has all of them, and as long as it is to stay open.
    pub(super) async fn drained(&mut self) -> Result<(), SimulateError> {
        let drained = match &mut self.kind {
            Kind::Kafka(output) => output.drained().await,
            Kind::Listen(output) => {
                output.linger().await;
                Ok(())
            }
            Kind::File(_) | Kind::Connect(_) => Ok(()),
        };
        self.named(drained)
    }

    /// Takes leave, also of a stream that was stopped: what was handed on is still given time to arrive.
    pub(super) async fn close(mut self) -> Result<(), SimulateError> {
        let closed = match &mut self.kind {
            Kind::File(output) => output.close(),
            Kind::Kafka(output) => output.close().await,
            Kind::Listen(output) => {
                output.close().await;
                Ok(())
            }
            Kind::Connect(output) => output.close().await,
        };
        self.named(closed)
    }

    fn named(&self, result: Result<(), String>) -> Result<(), SimulateError> {
        result.map_err(|cause| SimulateError::Target { target: self.name.clone(), cause })
    }
}
