//! TLS for the admin listener: the certificate that the project file names, and connections that have shown it.
//!
//! Always true: a client that is slow to shake hands, or does not, keeps nobody else waiting, and has ten seconds.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::super::ServeError;
use crate::config::project::Tls;

/// How many clients shake hands at once, and how long each may take.
const SHAKING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// After how long accepting is tried again, where the system has no more file descriptors.
const AGAIN: Duration = Duration::from_millis(500);

/// A certificate and its key, loaded.
#[derive(Clone)]
pub(super) struct Identity {
    config: Arc<ServerConfig>,
    /// The certificate itself, in DER.
    pub(super) certificate: Vec<u8>,
}

/// Loads them.
pub(super) fn load(tls: &Tls) -> Result<Identity, ServeError> {
    let wrong = |path: &Path, cause: String| ServeError::Tls { path: path.to_owned(), cause };
    let chain = CertificateDer::pem_file_iter(&tls.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(&tls.cert, error.to_string()))?;
    let Some(certificate) = chain.first().map(|first| first.to_vec()) else {
        return Err(wrong(&tls.cert, "it holds no certificate in PEM".into()));
    };
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| wrong(&tls.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| wrong(&tls.cert, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { config: Arc::new(config), certificate })
}

/// Connections that have shaken hands.
pub(super) struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl TlsListener {
    pub(super) fn new(listener: TcpListener, identity: &Identity) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(1);
        let task = tokio::spawn(shake(listener, TlsAcceptor::from(identity.config.clone()), sender));
        Ok(Self { ready, address, task })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn shake(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    let places = Arc::new(Semaphore::new(SHAKING));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection of an operator did not come about");
                sleep(AGAIN).await;
                continue;
            }
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let shaken = timeout(PATIENCE, acceptor.accept(stream)).await;
            drop(place);
            match shaken {
                // Whoever takes them may have gone.
                Ok(Ok(stream)) => drop(ready.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "an operator's client did not agree on TLS"),
                Err(_) => tracing::debug!(%peer, "an operator's client was too slow with TLS"),
            }
        });
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
