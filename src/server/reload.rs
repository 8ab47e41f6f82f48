//! Loading the configuration again: everything is read and checked first, then one snapshot is swapped; or nothing is.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::json;

use super::instance::{self, OpenError};
use super::systemd;
use super::tls::Tls;
use crate::admin::{Loaded, Reload};
use crate::config::{Config, Overrides, ServerSettings};
use crate::enroll::Enroller;
use crate::inventory::AuditEvent;
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;

mod changes;

/// What made the configuration be loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// `ravelin reload`.
    Operator,
    /// A file changed.
    FileChange,
}

impl Cause {
    const fn name(self) -> &'static str {
        match self {
            Cause::Signal => "signal",
            Cause::Operator => "operator",
            Cause::FileChange => "file change",
        }
    }
}

/// Loads the configuration again.
pub struct Reloader {
    overrides: Overrides,
    config: ArcSwap<Config>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    tls: Option<Tls>,
    enroller: Enroller,
    metrics: Arc<Metrics>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Reloader {
    /// After the first load.
    pub fn new(
        config: Config,
        overrides: Overrides,
        snapshot: Arc<ArcSwap<Snapshot>>,
        tls: Option<Tls>,
        enroller: Enroller,
        metrics: Arc<Metrics>,
    ) -> Self {
        let config = ArcSwap::from_pointee(config);
        Self { overrides, config, snapshot, tls, enroller, metrics, turn: tokio::sync::Mutex::new(()) }
    }

    /// The configuration that was loaded last.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Certificate and key for HTTPS.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The files and folders whose change asks for a reload.
    pub fn watched(&self) -> Vec<PathBuf> {
        // What the file system tells of are absolute paths.
        self.config().watched.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())).collect()
    }

    /// Loads, all or nothing. The error is the whole report.
    pub async fn reload(&self, cause: Cause) -> Result<Loaded, String> {
        self.reload_by(cause, "system").await
    }

    async fn reload_by(&self, cause: Cause, actor: &str) -> Result<Loaded, String> {
        let _turn = self.turn.lock().await;
        systemd::reloading();
        let before = self.snapshot.load_full();
        let result = self.load(cause).await;
        systemd::ready();
        let generation = self.snapshot.load().generation;
        if let Ok(None) = &result {
            // A file was written, and says what it said before.
            return Ok(Loaded { generation, digest: self.snapshot.load().digest_hex() });
        }
        let result = result.map(|loaded| loaded.expect("the other case has returned"));
        let (event, fields) = match &result {
            Ok(loaded) => {
                self.metrics.reload("ok", generation);
                tracing::info!(generation, digest = loaded.digest, cause = cause.name(), "The configuration was loaded again.");
                ("config.reloaded", json!({ "generation": generation, "digest": loaded.digest, "cause": cause.name() }))
            }
            Err(error) => {
                self.metrics.reload("failed", generation);
                tracing::error!(
                    generation,
                    cause = cause.name(),
                    "The changed configuration was refused, the one before goes on serving:\n{error}"
                );
                ("config.refused", json!({ "generation": generation, "cause": cause.name(), "detail": error.to_string() }))
            }
        };
        let fields = fields.as_object().cloned().unwrap_or_default();
        let event = AuditEvent {
            at: self.enroller.now(),
            event: event.to_owned(),
            actor: actor.to_owned(),
            object: self.config().path.display().to_string(),
            fields,
        };
        let mut events = vec![event];
        if result.is_ok() {
            events.extend(changes::of_groups(&before, &self.snapshot.load(), self.enroller.now(), actor, cause.name()));
        }
        let groups = events.len();
        if result.is_ok() {
            events.extend(changes::of_issuers(&before, &self.snapshot.load(), self.enroller.now(), actor, cause.name()));
        }
        for change in &events[groups..] {
            let told = |field: &str| change.fields.get(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
            tracing::info!(ca = change.object, from = told("from_key"), to = told("to_key"), "A CA signs with another key.");
        }
        for change in &events[1..groups] {
            let told = |field: &str| change.fields.get(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
            tracing::info!(
                group = told("group"),
                from = told("from"),
                to = told("to"),
                event = change.event,
                "A group was changed."
            );
        }
        if let Err(error) = self.enroller.inventory().audit(events).await {
            tracing::error!("The reload could not be written to the audit log: {error}.");
        }
        result.map_err(|error| error.to_string())
    }

    /// `None` if nothing is to be done: a file was written without a change.
    async fn load(&self, cause: Cause) -> Result<Option<Loaded>, OpenError> {
        let before = self.config();
        let (path, overrides) = (before.path.clone(), self.overrides.clone());
        let config = tokio::task::spawn_blocking(move || instance::load(&path, &overrides))
            .await
            .map_err(|error| OpenError::Config(format!("reading the configuration broke off: {error}")))??;
        let tls = match (&self.tls, &config.server.tls) {
            (Some(tls), Some(settings)) => Some(tls.prepare(settings).map_err(OpenError::Tls)?),
            _ => None,
        };
        if cause == Cause::FileChange && config.digest == before.digest && config.credentials == before.credentials {
            // The certificate for HTTPS is no part of the digest.
            if let Some(tls) = tls {
                tls.commit();
            }
            return Ok(None);
        }
        let (config, opened) = instance::open_keys(config, self.enroller.pool().clone()).await?;
        let generation = self.snapshot.load().generation + 1;
        let snapshot = instance::build(&config, opened, generation)?;

        // Nothing fails from here on.
        for setting in needs_restart(&before.server, &config.server) {
            tracing::warn!(setting, "This setting changed, and takes effect at the next start only.");
        }
        let loaded = Loaded { generation, digest: snapshot.digest_hex() };
        if let Some(tls) = tls {
            tls.commit();
        }
        self.config.store(Arc::new(config));
        self.snapshot.store(Arc::new(snapshot));
        Ok(Some(loaded))
    }
}

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self, operator: &str) -> Result<Loaded, String> {
        self.reload_by(Cause::Operator, &format!("operator:{operator}")).await
    }
}

/// Settings that are fixed while a server runs, and differ.
fn needs_restart(before: &ServerSettings, after: &ServerSettings) -> Vec<&'static str> {
    // All fields by name, so that a new one is not forgotten here.
    let ServerSettings {
        node,
        listen,
        listen_tls,
        tls,
        // Read when a CA is made.
        public_url: _,
        admin,
        control_socket,
        patience: _,
        crypto_threads,
        crypto_queue,
        slow_threads,
        slow_queue,
        max_connections,
        max_requests,
        per_source,
        max_body,
        header_timeout,
        body_timeout,
        idle_timeout,
        shutdown_grace,
        retention,
        keep_transactions,
        watch,
        backends,
    } = after;
    [
        ("node", *node != before.node),
        ("listen", *listen != before.listen),
        ("listen-tls", *listen_tls != before.listen_tls),
        ("tls", tls.is_some() != before.tls.is_some()),
        ("admin", *admin != before.admin),
        ("control-socket", *control_socket != before.control_socket),
        ("crypto-threads", *crypto_threads != before.crypto_threads),
        ("crypto-queue", *crypto_queue != before.crypto_queue),
        ("slow-threads", *slow_threads != before.slow_threads),
        ("slow-queue", *slow_queue != before.slow_queue),
        ("max-connections", *max_connections != before.max_connections),
        ("max-requests", *max_requests != before.max_requests),
        ("per-source", *per_source != before.per_source),
        ("max-body", *max_body != before.max_body),
        ("header-timeout", *header_timeout != before.header_timeout),
        ("body-timeout", *body_timeout != before.body_timeout),
        ("idle-timeout", *idle_timeout != before.idle_timeout),
        ("shutdown-grace", *shutdown_grace != before.shutdown_grace),
        ("retention", *retention != before.retention),
        ("keep-transactions", *keep_transactions != before.keep_transactions),
        ("watch", *watch != before.watch),
        ("crypto", *backends != before.backends),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}
