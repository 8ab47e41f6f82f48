//! From settings to an upstream: one arm a kind.

use super::{Connector, Remote, RemoteError, RemoteSettings};
use crate::upstream::acme::{Acme, AcmeSettings};
use crate::upstream::ad_cs::{AdCs, AdCsSettings};
use crate::upstream::aws_pca::{AwsPca, AwsPcaSettings};
use crate::upstream::cmp::{Cmp, CmpSettings};
use crate::upstream::delegate::exec::{self, ExecSettings};
use crate::upstream::delegate::webhook::{self, WebhookSettings};
use crate::upstream::ejbca::{Ejbca, EjbcaSettings};
use crate::upstream::est::{Est, EstSettings};
use crate::upstream::http::{Http, HttpSettings};
use crate::upstream::scep::{Scep, ScepSettings};
use crate::upstream::step_ca::{StepCa, StepCaSettings};
use crate::upstream::vault::{Vault, VaultSettings};

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
    /// The REST interface of EJBCA.
    Ejbca(EjbcaSettings),
    /// The web enrollment pages of Active Directory Certificate Services.
    AdCs(AdCsSettings),
    /// The Certificate Management Protocol (RFC 9810).
    Cmp(CmpSettings),
    /// Enrollment over Secure Transport (RFC 7030).
    Est(EstSettings),
    /// step-ca.
    StepCa(StepCaSettings),
    /// OpenBao and HashiCorp Vault.
    Vault(VaultSettings),
    /// JSON by HTTP.
    Webhook(WebhookSettings),
    /// JSON to a program.
    Exec(ExecSettings),
    /// SCEP (RFC 8894).
    Scep(Box<ScepSettings>),
    /// ACME (RFC 8555).
    Acme(AcmeSettings),
    /// AWS Private CA.
    AwsPca(AwsPcaSettings),
}

/// Opens an upstream: reads its certificates, keys and secrets, and asks nobody. Blocks. `passphrase` opens keys that are encrypted.
pub fn open(settings: &RemoteUpstream, passphrase: &str) -> Result<Remote, RemoteError> {
    let http = Http::open(&settings.http, passphrase)?;
    let others = http.clone();
    let connector: Box<dyn Connector> = match &settings.connector {
        ConnectorSettings::Ejbca(ejbca) => Box::new(Ejbca::open(ejbca, http)?),
        ConnectorSettings::AdCs(ad_cs) => Box::new(AdCs::open(ad_cs, http)?),
        ConnectorSettings::Cmp(cmp) => Box::new(Cmp::open(cmp, http, settings.common.patience, passphrase)?),
        ConnectorSettings::Est(est) => Box::new(Est::open(est, http)?),
        ConnectorSettings::StepCa(step) => Box::new(StepCa::open(step, http, passphrase)?),
        ConnectorSettings::Vault(vault) => Box::new(Vault::open(vault, http)?),
        ConnectorSettings::Webhook(hook) => Box::new(webhook::open(hook, http)?),
        ConnectorSettings::Exec(program) => Box::new(exec::open(program, &settings.http)?),
        ConnectorSettings::Scep(scep) => Box::new(Scep::open(scep, passphrase, http)?),
        ConnectorSettings::AwsPca(aws) => Box::new(AwsPca::open(aws, http)?),
        ConnectorSettings::Acme(acme) => Box::new(Acme::open(acme, passphrase, http)?),
    };
    Remote::open(&settings.common, connector, others)
}
