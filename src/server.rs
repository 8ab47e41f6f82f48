//! The composition root: read this file first.
//!
//! A server is an opened data folder ([`Instance`]) with listeners around it. [`run`] brings it up in this order: configuration,
//! lock, keys and issuers, snapshot, inventory, the core with its worker, then the sockets; only then is it ready. [`stack`]
//! builds what stands between a socket and the SCEP service, top to bottom, with the reason over each layer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::ServerSettings;
use crate::scep::service::ScepService;
use crate::telemetry::Metrics;
use crate::worker::{Retention, Worker};

pub mod instance;
pub mod layers;

mod admin_listener;
mod connection;
mod control_socket;
mod folder;
mod listener;
mod patient_io;
mod reload;
mod scep_messages;
mod signals;
mod systemd;
mod tls;
mod watch_files;

pub use folder::{Folder, Lock};
pub use instance::{Instance, OpenError};

/// Why a server did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The data folder could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A socket could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate or key for HTTPS cannot be used.
    #[error("HTTPS: {0}")]
    Tls(String),
    /// The system refused something else.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// How long it takes at most to write down what a CA answered.
const WRITING: Duration = Duration::from_secs(5);

/// Where a server answers, told once it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Plain HTTP for devices.
    pub devices: Vec<std::net::SocketAddr>,
    /// HTTPS for devices.
    pub devices_tls: Vec<std::net::SocketAddr>,
    /// Health and metrics.
    pub admin: Option<std::net::SocketAddr>,
}

/// What the device listeners hand requests to.
pub type DeviceService = BoxCloneSyncService<Request<Incoming>, Response<layers::Body>, Infallible>;

/// Serves until `stop` is set or a signal comes, then finishes what is under way. `ready` is called once all sockets answer.
pub async fn run(instance: Instance, stop: watch::Receiver<bool>, ready: impl FnOnce(Bound)) -> Result<(), ServeError> {
    let settings = instance.config().server.clone();
    let (stop_worker, worker_stops) = watch::channel(false);
    let signals = signals::Signals::listen(stop)?;

    // Sockets first: what cannot be bound is told before any work is taken up.
    let tls = instance.tls()?;
    let mut listeners = Vec::new();
    let mut bound = Bound::default();
    for address in &settings.listen {
        let listener = listener::Listener::bind(*address, None)?;
        bound.devices.push(listener.address());
        listeners.push(listener);
    }
    for address in &settings.listen_tls {
        let tls = tls.as_ref().ok_or_else(|| ServeError::Tls("listeners without certificate and key".to_owned()))?;
        let listener = listener::Listener::bind(*address, Some(tls.acceptor()))?;
        bound.devices_tls.push(listener.address());
        listeners.push(listener);
    }
    let admin = settings.admin.map(admin_listener::AdminListener::bind).transpose()?;
    bound.admin = admin.as_ref().map(admin_listener::AdminListener::address);
    let control = control_socket::ControlSocket::bind(&settings.control_socket)?;

    // One stack for all device listeners: its limits are limits of the process.
    let metrics = Arc::clone(instance.metrics());
    let fronts = ServiceBuilder::new()
        // The CRLs of embedded CAs, which certificates say are here; all else is SCEP.
        .layer(layers::CrlsLayer::new(instance.enroller().clone(), Arc::clone(&metrics)))
        .service(ScepService::new(instance.enroller().clone(), Arc::clone(&metrics)));
    let service = stack(fronts, &settings, &metrics);
    let devices = connection::Connections::new(service, &settings, Arc::clone(&metrics));

    // What an earlier run left open is taken up while devices are served already; but it is let go before any of them holds anything.
    let retention = Retention { leavings: settings.retention, transactions: settings.keep_transactions };
    let worker = Worker::new(instance.enroller().clone(), retention);
    worker.release().await;
    let worker = tokio::spawn(worker.run(worker_stops));
    let background = vec![
        tokio::spawn(control.serve(instance.control())),
        tokio::spawn(signals::reload_on_hangup(Arc::clone(instance.reloader()))),
        tokio::spawn(watch_files::watch(Arc::clone(instance.reloader()), settings.watch)),
    ];
    let admin = admin.map(|admin| tokio::spawn(admin.serve(Arc::clone(instance.health()))));
    let accepting: Vec<_> = listeners.into_iter().map(|listener| tokio::spawn(listener.accept(devices.clone()))).collect();

    systemd::ready();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        generation = instance.enroller().snapshot().generation,
        digest = instance.enroller().snapshot().digest_hex(),
        devices = ?bound.devices,
        devices_tls = ?bound.devices_tls,
        admin = ?bound.admin,
        "Serving."
    );
    ready(bound);

    let reason = signals.stopped().await;
    systemd::stopping();
    tracing::info!(reason, "Stopping: no new connections, requests under way may finish.");
    for task in accepting.iter().chain(&background) {
        task.abort();
    }
    // Nothing more is taken to a CA, and what was is heard to its end: an order that is cut off there may need people.
    let _ = stop_worker.send(true);
    let until = Instant::now() + settings.shutdown_grace.max(instance.enroller().longest_answer() + WRITING);
    devices.finish(settings.shutdown_grace).await;
    let settled = async {
        let _ = worker.await;
        instance.enroller().settle().await;
    };
    if tokio::time::timeout_at(until, settled).await.is_err() {
        tracing::warn!("Orders at a CA were cut off; at the next start they are asked after where the CA can find them.");
    }
    if let Some(admin) = admin {
        admin.abort();
    }
    let _ = std::fs::remove_file(&settings.control_socket);
    tracing::info!("Stopped.");
    Ok(())
}

/// What stands between a connection and the SCEP service. The connection has told the request whom it came from, and opened its
/// span.
pub fn stack<S>(scep: S, settings: &ServerSettings, metrics: &Arc<Metrics>) -> DeviceService
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let service = ServiceBuilder::new()
        // A bug in one request is an answer to that request, and no end of its connection.
        .layer(CatchPanicLayer::custom(layers::panicked))
        // Whatever the layers below refuse becomes a polite answer here; above it nothing fails.
        .layer(layers::RefuseLayer::new(Arc::clone(metrics)))
        // Before the body is read: who asks too often costs no memory.
        .layer(layers::PerSourceLayer::new(settings.per_source))
        // Before a place in the queue is taken: a slow sender holds nothing but its own connection.
        .layer(layers::ReadBodyLayer::new(settings.max_body, settings.body_timeout))
        // A full house answers at once ...
        .layer(LoadShedLayer::new())
        // ... when so many requests are under way.
        .layer(ConcurrencyLimitLayer::new(settings.max_requests))
        .service(scep);
    BoxCloneSyncService::new(service)
}
