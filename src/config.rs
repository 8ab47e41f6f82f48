//! The configuration: what people write (`*File`, serde), read with file, line and caret, turned into values that cannot be wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::algorithm::AlgorithmProfile;
use crate::policy::{DeviceGroup, ScepSettings};

/// Everything that was read and checked, before issuers and keys are opened.
#[derive(Debug)]
pub struct Config {
    /// Where `ravelin.toml` is.
    pub path: PathBuf,
    /// The folder for keys, inventory and the control socket.
    pub data: PathBuf,
    /// Listeners, limits, workers.
    pub server: ServerSettings,
    /// Logs.
    pub log: LogSettings,
    /// The upstreams.
    pub upstreams: Vec<UpstreamSettings>,
    /// Shared endpoints.
    pub endpoints: Vec<EndpointSettings>,
    /// Name of the endpoint that takes unknown paths.
    pub default_endpoint: Option<String>,
    /// The device groups, each with the SCEP settings of its own endpoint.
    pub groups: Vec<(Arc<DeviceGroup>, ScepSettings)>,
    /// The algorithm profiles.
    pub profiles: Vec<Arc<AlgorithmProfile>>,
    /// SHA-256 over all files that were read, in a fixed order.
    pub digest: [u8; 32],
    /// All files and folders that were read: what a file watch looks at.
    pub watched: Vec<PathBuf>,
}

/// `[server]`, `[limits]` and `[worker]` of `ravelin.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Name of this node in leases and logs.
    pub node: String,
    /// Plain HTTP listeners for devices.
    pub listen: Vec<SocketAddr>,
    /// HTTPS listeners for devices.
    pub listen_tls: Vec<SocketAddr>,
    /// Certificate chain (PEM) and key (PEM) of the HTTPS listeners.
    pub tls: Option<TlsSettings>,
    /// Health and metrics.
    pub admin: Option<SocketAddr>,
    /// The control socket.
    pub control_socket: PathBuf,
    /// How long a request waits for its issuer before the answer is PENDING.
    pub patience: Duration,
    /// Threads for cryptography; the number of cores if not set.
    pub crypto_threads: usize,
    /// Jobs that may wait for them.
    pub crypto_queue: usize,
    /// Connections at a time.
    pub max_connections: usize,
    /// Requests under way at a time.
    pub max_requests: usize,
    /// Requests per second from one source address, and how many at once; `None` is no limit.
    pub per_source: Option<(u32, u32)>,
    /// Largest request body and target in octets.
    pub max_body: usize,
    /// How long a client may take to send its request head.
    pub header_timeout: Duration,
    /// How long a client may take to send its request body.
    pub body_timeout: Duration,
    /// How long an idle connection stays open.
    pub idle_timeout: Duration,
    /// How long requests may go on after a signal to stop.
    pub shutdown_grace: Duration,
    /// How long finished transactions, spent challenges and replies are kept.
    pub retention: Duration,
    /// Whether changed files are loaded without being told.
    pub watch: bool,
}

/// Certificate and key of the HTTPS listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `auto`, `text` or `json`.
    pub format: String,
    /// Filter directives, as `tracing-subscriber` reads them.
    pub filter: String,
}

/// `[[upstream]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: UpstreamKind,
}

/// What an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// The embedded CA: a folder with one folder per CA.
    Local {
        /// The folder.
        dir: PathBuf,
    },
}

/// `[[endpoint]]`: one that several groups share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Host names.
    pub hosts: Vec<String>,
    /// Networks.
    pub sources: Vec<ipnet::IpNet>,
    /// Names of its groups.
    pub groups: Vec<String>,
    /// How it speaks SCEP.
    pub scep: ScepSettings,
}
