//! An opened data folder: everything but the sockets. A server has one; so has a command that works while no server runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::reload::Reloader;
use super::scep_messages::ScepMessages;
use super::tls::Tls;
use super::{Folder, Lock, ServeError};
use crate::admin::{Control, Health};
use crate::clock::SystemClock;
use crate::config::{self, Config, Diagnostics, Overrides, ServerSettings, UpstreamKind};
use crate::crypto::backend;
use crate::crypto::keystore::KeystoreError;
use crate::crypto::pool::LaneSize;
use crate::crypto::{CryptoPool, RaIdentity};
use crate::enroll::{Enroller, Parts};
use crate::inventory::sqlite::{SqliteInventory, SqliteOptions};
use crate::inventory::{Inventory, InventoryError};
use crate::ra::RaError;
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;
use crate::upstream::UpstreamCa;
use crate::upstream::local::{LocalCa, LocalCaError};
use crate::upstream::remote::{self, RemoteError};

/// An opened data folder.
pub struct Instance {
    enroller: Enroller,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    reloader: Arc<Reloader>,
    started_at: Timestamp,
    /// Given back last.
    _lock: Lock,
}

/// Reads and checks the files of a configuration; the error is the whole report. The first that a process reads decides which
/// cryptography backends it uses.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Config, OpenError> {
    if !path.exists() {
        let help = "there is no such file; make one with `ravelin init`, or name another with --config";
        return Err(OpenError::Config(format!("{}: {help}", path.display())));
    }
    let config = crate::config::load(path, overrides).map_err(|found| OpenError::Config(report(&found)))?;
    // Before any key is opened. What is loaded later in the life of a process changes nothing here.
    backend::install(config.server.backends);
    Ok(config)
}

/// Reads and checks all that a start reads and checks, and takes nothing into use. Warnings come with it.
pub async fn check(config: Config) -> Result<(Config, Snapshot, Diagnostics), OpenError> {
    let pool = start_pool(&config.server);
    let (config, opened) = open_keys(config, pool).await?;
    if let Some(tls) = &config.server.tls {
        Tls::load(tls).map_err(OpenError::Tls)?;
    }
    let mut warnings = config.warnings.clone();
    warnings.extend(Snapshot::check(&config, &opened.upstreams, Timestamp::now()));
    // Not as a start: what that would put up with is told here.
    let snapshot = build(&config, opened, 0)?;
    Ok((config, snapshot, warnings))
}

/// The findings for people, in colours at a terminal.
pub fn report(found: &Diagnostics) -> String {
    use std::io::IsTerminal;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    found.render(std::io::stderr().is_terminal() && !plain)
}

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration is bad; the text is the whole report.
    #[error("{0}")]
    Config(String),
    /// Another process has it.
    #[error("{}: another process holds the data folder", .0.display())]
    Locked(PathBuf),
    /// Another command changes keys.
    #[error("{}: another command is changing keys or certificates here; try again when it is done", .0.display())]
    KeysLocked(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A key file.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The RA's keys or certificates.
    #[error(transparent)]
    Ra(#[from] RaError),
    /// Further keys or certificates of the RA.
    #[error("RA {0:?}: {1}; see: ravelin ra --ra {0} create")]
    OtherRa(String, RaError),
    /// The embedded CA.
    #[error(transparent)]
    LocalCa(#[from] LocalCaError),
    /// A CA behind a network.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The inventory.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// HTTPS.
    #[error("HTTPS: {0}")]
    Tls(String),
}

impl OpenError {
    /// Whether the configuration is at fault, rather than the moment.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, OpenError::Locked(_) | OpenError::KeysLocked(_) | OpenError::Io { .. } | OpenError::Inventory(_))
    }

    /// An input or output error with its path.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
        let path = path.display().to_string();
        move |source| OpenError::Io { path, source }
    }
}

/// Keys and issuers of one configuration, opened.
pub(super) struct Opened {
    pub ra: RaIdentity,
    pub ras: BTreeMap<String, Arc<RaIdentity>>,
    pub upstreams: Vec<Arc<dyn UpstreamCa>>,
}

impl Instance {
    /// Opens the data folder of a configuration, and takes its lock.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_with(config, Overrides::none()).await
    }

    /// Opens it, and sets `overrides` over the configuration again at each reload.
    pub async fn open_with(config: Config, overrides: Overrides) -> Result<Self, OpenError> {
        let started_at = Timestamp::now();
        let folder = Folder::of(&config);
        let lock = folder.lock()?;
        let server = &config.server;
        let pool = start_pool(server);
        let metrics = Arc::new(Metrics::default());
        metrics.crypto_queue(server.crypto_queue);
        let node = server.node.clone();
        let seal_key = folder.seal_key()?;

        // Opening keys is slow on purpose, and opening the inventory may have to replay a journal: all at once.
        let path = folder.inventory();
        let inventory = tokio::task::spawn_blocking(move || SqliteInventory::open(path, SqliteOptions::default()));
        let (config, opened) = open_keys(config, pool.clone()).await?;
        let snapshot = build(&config, opened, 1)?;
        let inventory: Arc<dyn Inventory> = Arc::new(finished(inventory).await??);
        let tls = config.server.tls.as_ref().map(Tls::load).transpose().map_err(OpenError::Tls)?;

        metrics.generation(snapshot.generation);
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let enroller = Enroller::new(Parts {
            snapshot: Arc::clone(&snapshot),
            inventory,
            pool,
            metrics: Arc::clone(&metrics),
            clock: Arc::new(SystemClock),
            seal_key,
            node,
        });
        let health = Arc::new(Health::new(enroller.clone(), Arc::clone(&metrics)));
        let reloader = Arc::new(Reloader::new(config, overrides, snapshot, tls, enroller.clone(), Arc::clone(&metrics)));
        Ok(Self { enroller, health, metrics, reloader, started_at, _lock: lock })
    }

    /// The configuration that was loaded last.
    pub fn config(&self) -> Arc<Config> {
        self.reloader.config()
    }

    /// The core.
    pub fn enroller(&self) -> &Enroller {
        &self.enroller
    }

    /// Whether all is well.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Loads the configuration again.
    pub(super) fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// Certificate and key for HTTPS, if there are listeners for it.
    pub(super) fn tls(&self) -> Result<Option<Tls>, ServeError> {
        let settings = &self.config().server;
        match self.reloader.tls() {
            None if !settings.listen_tls.is_empty() => {
                Err(ServeError::Tls("listen-tls needs a certificate and a key: set both in [server.tls]".to_owned()))
            }
            tls => Ok(tls.cloned()),
        }
    }

    /// The operations.
    pub fn control(&self) -> Arc<Control> {
        Arc::new(Control {
            enroller: self.enroller.clone(),
            health: Arc::clone(&self.health),
            reload: Arc::clone(&self.reloader) as Arc<dyn crate::admin::Reload>,
            messages: Arc::new(ScepMessages::new(self.enroller.clone())),
            node: self.config().server.node.clone(),
            started_at: self.started_at,
        })
    }
}

/// Starts the threads for cryptography.
fn start_pool(server: &ServerSettings) -> CryptoPool {
    CryptoPool::start_lanes(
        LaneSize { threads: server.crypto_threads, queue: server.crypto_queue },
        LaneSize { threads: server.slow_threads, queue: server.slow_queue },
    )
}

/// Opens the keys and issuers of a configuration, away from the async threads.
pub(super) async fn open_keys(config: Config, pool: CryptoPool) -> Result<(Config, Opened), OpenError> {
    finished(tokio::task::spawn_blocking(move || {
        let folder = Folder::of(&config);
        let passphrase = folder.passphrase()?;
        let opened = std::thread::scope(|scope| {
            let ra = scope.spawn(|| folder.ra(&passphrase).load());
            let others: Vec<_> = folder
                .other_ras(&passphrase)
                .into_iter()
                .map(|(name, store)| {
                    (name.clone(), scope.spawn(move || store.load().map_err(|error| OpenError::OtherRa(name, error))))
                })
                .collect();
            let mut upstreams: Vec<Arc<dyn UpstreamCa>> = Vec::new();
            for settings in &config.upstreams {
                match &settings.kind {
                    UpstreamKind::Local { dir } => {
                        let ca = LocalCa::load(&settings.name, dir, &passphrase, pool.clone())?;
                        upstreams.push(Arc::new(ca));
                    }
                    UpstreamKind::Remote(settings) => upstreams.push(Arc::new(remote::open(settings, &passphrase)?)),
                }
            }
            let ra = ra.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            let mut ras = BTreeMap::new();
            for (name, other) in others {
                let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                ras.insert(name, Arc::new(other));
            }
            Ok::<_, OpenError>(Opened { ra, ras, upstreams })
        })?;
        Ok((config, opened))
    }))
    .await?
}

/// Builds the snapshot and checks everything against everything.
pub(super) fn build(config: &Config, opened: Opened, generation: u64) -> Result<Snapshot, OpenError> {
    let parts = config::Parts {
        upstreams: opened.upstreams,
        ra: Arc::new(opened.ra),
        ras: opened.ras,
        generation,
        now: Timestamp::now(),
    };
    Snapshot::build(config, parts).map_err(|found| OpenError::Config(report(&found)))
}

/// What a blocking task gave; its panic goes on here.
async fn finished<T>(task: tokio::task::JoinHandle<T>) -> Result<T, OpenError> {
    match task.await {
        Ok(value) => Ok(value),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(OpenError::Io { path: "start".to_owned(), source: std::io::Error::other(error) }),
    }
}
