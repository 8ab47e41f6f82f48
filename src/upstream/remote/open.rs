//! From settings to an upstream: one arm a kind.

use super::{Connector, Remote, RemoteError, RemoteSettings};
use crate::upstream::est::{Est, EstSettings};
use crate::upstream::http::{Http, HttpSettings};

/// A remote upstream as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUpstream {
    /// What all have.
    pub common: RemoteSettings,
    /// How it is reached.
    pub http: HttpSettings,
    /// What its kind has.
    pub connector: ConnectorSettings,
}

/// What each kind of CA is configured with, beside what all have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectorSettings {
    /// Enrollment over Secure Transport (RFC 7030).
    Est(EstSettings),
}

/// Opens an upstream: reads its certificates, keys and secrets, and asks nobody. Blocks. `passphrase` opens keys that are encrypted.
pub fn open(settings: &RemoteUpstream, passphrase: &str) -> Result<Remote, RemoteError> {
    let http = Http::open(&settings.http, passphrase)?;
    let connector: Box<dyn Connector> = match &settings.connector {
        ConnectorSettings::Est(est) => Box::new(Est::open(est, http)?),
    };
    Remote::open(&settings.common, connector)
}
