//! The TCP listener for health, readiness and metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{ServeError, listener};
use crate::admin::Health;

/// Probes and scrapers are few.
const CONNECTIONS: usize = 64;

/// The bound socket.
pub struct AdminListener {
    socket: TcpListener,
    address: SocketAddr,
}

impl AdminListener {
    /// Binds.
    pub fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let socket = listener::bind(address).map_err(|source| ServeError::Bind { address: address.to_string(), source })?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the task ends.
    pub async fn serve(self, health: Arc<Health>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("An admin connection could not be accepted: {error}.");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let health = Arc::clone(&health);
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let health = Arc::clone(&health);
                    async move { Ok::<_, Infallible>(health.answer(&request).await.map(Full::new)) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .serve_connection(TokioIo::new(stream), service);
                // A scraper that stops reading must not hold a place for ever.
                let _ = tokio::time::timeout(Duration::from_secs(300), connection).await;
            });
        }
    }
}
