//! Connections from devices: counted, timed, and ended in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use tracing::Instrument;

use super::DeviceService;
use super::patient_io::{Activity, Patience, PatientIo};
use crate::config::ServerSettings;
use crate::enroll::Peer;
use crate::telemetry::Metrics;

/// Room for a request head: a PKIOperation by GET carries its message in the target, and the largest target that HTTP libraries
/// take is 64 KiB.
const HEAD_BUFFER: usize = 96 * 1024;

/// How many connections may be told "busy" at a time; beyond, they are closed without a word.
const POLITE: usize = 64;

/// How long telling them may take.
const POLITE_PATIENCE: Duration = Duration::from_secs(2);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 25\r\n\
    Retry-After: 5\r\nConnection: close\r\n\r\nbusy, please come again.\n";

/// All connections from devices. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    shared: Arc<Shared>,
}

struct Shared {
    service: DeviceService,
    patience: Patience,
    places: Arc<Semaphore>,
    polite: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// Taken when the end begins.
    graceful: std::sync::Mutex<Option<GracefulShutdown>>,
}

impl Connections {
    /// No connection yet; requests go to `service`.
    pub fn new(service: DeviceService, settings: &ServerSettings, metrics: Arc<Metrics>) -> Self {
        let graceful = GracefulShutdown::new();
        let patience = Patience {
            head: settings.header_timeout,
            idle: settings.idle_timeout,
            write: settings.idle_timeout,
            time_heads: true,
        };
        Self {
            shared: Arc::new(Shared {
                service,
                patience,
                places: Arc::new(Semaphore::new(settings.max_connections)),
                polite: Arc::new(Semaphore::new(POLITE)),
                metrics,
                graceful: std::sync::Mutex::new(Some(graceful)),
            }),
        }
    }

    /// Serves a connection in a task of its own, or turns it away if the house is full.
    pub fn take(&self, stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>) {
        let shared = Arc::clone(&self.shared);
        let watcher =
            shared.graceful.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_ref().map(GracefulShutdown::watcher);
        // Nothing begins any more once the end has begun.
        let Some(watcher) = watcher else { return };
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            shared.metrics.shed("connections");
            if tls.is_none()
                && let Ok(polite) = Arc::clone(&shared.polite).try_acquire_owned()
            {
                tokio::spawn(async move {
                    let _polite = polite;
                    let _ = tokio::time::timeout(POLITE_PATIENCE, say_busy(stream)).await;
                });
            }
            return;
        };
        tokio::spawn(async move {
            let _place = place;
            let _open = Open::count(Arc::clone(&shared.metrics));
            // Answers are written at once; waiting to fill a segment would only delay them.
            let _ = stream.set_nodelay(true);
            match tls {
                None => shared.serve_http1(stream, peer, watcher).await,
                Some(tls) => match tokio::time::timeout(shared.patience.head, tls.accept(stream)).await {
                    Ok(Ok(stream)) => shared.serve_tls(stream, peer, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%peer, "No TLS: {error}."),
                    Err(_) => tracing::debug!(%peer, "No TLS in time."),
                },
            }
        });
    }

    /// Lets requests under way end within `grace`; connections without one end at once.
    pub async fn finish(&self, grace: Duration) {
        let graceful = self.shared.graceful.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let Some(graceful) = graceful else { return };
        if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
            tracing::warn!("Some requests did not end within the grace period and were cut off.");
        }
    }
}

impl Shared {
    /// Plain HTTP: versions 1.0 and 1.1.
    async fn serve_http1(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let activity = Arc::new(Activity::default());
        let service = self.per_connection(Peer { address: peer, tls: false }, &activity);
        let io = TokioIo::new(PatientIo::new(stream, self.patience, activity));
        let connection = hyper::server::conn::http1::Builder::new()
            // PatientIo keeps time, of heads and between requests apart.
            .header_read_timeout(None)
            .max_buf_size(HEAD_BUFFER)
            .half_close(true)
            .serve_connection(io, service);
        ended(peer, watcher.watch(connection).await);
    }

    /// HTTPS: versions 1.0, 1.1 and 2.
    async fn serve_tls(&self, stream: TlsStream<TcpStream>, peer: SocketAddr, watcher: Watcher) {
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let activity = Arc::new(Activity::default());
        let service = self.per_connection(Peer { address: peer, tls: true }, &activity);
        let patience = Patience { time_heads: !http2, ..self.patience };
        let io = TokioIo::new(PatientIo::new(stream, patience, activity));
        if http2 {
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(32)
                .max_header_list_size(HEAD_BUFFER as u32)
                .keep_alive_interval(Some(self.patience.idle / 2))
                .keep_alive_timeout(self.patience.head)
                .serve_connection(io, service);
            ended(peer, watcher.watch(connection).await);
        } else {
            let connection = hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(HEAD_BUFFER)
                .serve_connection(io, service);
            ended(peer, watcher.watch(connection).await);
        }
    }

    fn per_connection(&self, peer: Peer, activity: &Arc<Activity>) -> PerConnection {
        PerConnection { service: self.service.clone(), peer, activity: Arc::clone(activity) }
    }
}

/// Tells each request whom it came from, and its connection that it is under way.
struct PerConnection {
    service: DeviceService,
    peer: Peer,
    activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for PerConnection {
    type Response = http::Response<super::layers::Body>;
    type Error = std::convert::Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        let under_way = self.activity.begin();
        // Around everything, so that whatever is logged further in can be told apart. Costs nothing unless logged.
        let span = super::layers::span(&request);
        let answer = self.service.clone().oneshot(request);
        let answer = async move {
            let answer = answer.await;
            drop(under_way);
            answer
        };
        Box::pin(answer.instrument(span))
    }
}

/// Counts an open connection while it lives.
struct Open(Arc<Metrics>);

impl Open {
    fn count(metrics: Arc<Metrics>) -> Self {
        metrics.connections().inc();
        Self(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections().dec();
    }
}

fn ended(peer: SocketAddr, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%peer, "A connection ended: {error}.");
    }
}

/// Writes "busy" and waits until the client has read it: closing at once, with octets of its unread, would take it back.
async fn say_busy(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(BUSY).await?;
    stream.shutdown().await?;
    let mut sink = [0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_answer_says_its_length() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
