//! OpenBao and HashiCorp Vault: the PKI secrets engine, by `sign` and `sign-verbatim`.
//!
//! There is no asking again: both store certificates by serial number alone, and a role may have them not stored at all. What became of
//! an order whose answer was lost stands in the audit log, beside the `X-Correlation-Id` that is sent with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::http::Http;
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::algorithm::{KeyAlgorithm, KeyRule};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

mod check;
mod request;
mod session;
mod wire;

pub use session::Login;

use session::{Session, Wire};

/// What OpenBao or Vault is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSettings {
    /// How we log in.
    pub login: Login,
    /// The namespace.
    pub namespace: Option<String>,
    /// What each CA is there.
    pub roles: BTreeMap<String, RoleSettings>,
}

/// One issuer with one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSettings {
    /// Where the secrets engine is mounted.
    pub mount: String,
    /// The issuer: name, id or `default`.
    pub issuer: String,
    /// The role. [`Mode::Sign`] has one.
    pub role: Option<String>,
    /// What is asked of it.
    pub mode: Mode,
    /// Where it takes names from.
    pub names_from: NamesFrom,
}

/// What is asked of a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A certificate as the role permits it.
    #[default]
    Sign,
    /// A certificate with what stands in the CSR.
    SignVerbatim,
}

crate::algorithm::named!(Mode, "mode", {
    Sign => "sign",
    SignVerbatim => "sign-verbatim",
});

/// Where a role takes the common name and the alternative names from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NamesFrom {
    /// From the CSR: how roles are unless somebody says otherwise.
    #[default]
    Csr,
    /// From the parameters of the request: `use_csr_common_name` and `use_csr_sans` are false.
    Request,
}

crate::algorithm::named!(NamesFrom, "source of names", {
    Csr => "csr",
    Request => "request",
});

/// An OpenBao or a Vault.
pub struct Vault {
    session: Session,
    roles: BTreeMap<String, RoleSettings>,
}

impl Vault {
    /// Takes over settings; asks nobody.
    pub fn open(settings: &VaultSettings, http: Http) -> Result<Self, RemoteError> {
        let namespace = settings.namespace.as_deref().map(HeaderValue::try_from).transpose();
        let namespace = namespace.map_err(|_| RemoteError::Setting {
            upstream: http.url().to_owned(),
            why: "the namespace does not fit into a header field".to_owned(),
        })?;
        let session = Session::new(Wire { http, namespace }, settings.login.clone());
        Ok(Self { session, roles: settings.roles.clone() })
    }

    fn role(&self, ca: &RemoteCa) -> Result<&RoleSettings, CallError> {
        let unknown = || CallError::Refused(format!("nothing is configured for {:?}", ca.name()));
        self.roles.get(ca.name()).ok_or_else(unknown)
    }

    async fn sign(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Submission, CallError> {
        let role = self.role(ca)?;
        let body = request::body(role, order).map_err(CallError::Refused)?;
        let answer = self.session.send(Method::POST, &role.sign_path(), Some(&body), Some(&key.to_string())).await?;
        if answer.status == StatusCode::FORBIDDEN {
            // The policy of our token: nothing that the device could do anything about, and nothing was done.
            return Err(CallError::not_taken(wire::said(&answer)));
        }
        let (certificate, chain) = wire::issued(&wire::success(answer)?.body, order)?;
        Ok(Submission::Issued { certificate, chain })
    }

    async fn get(&self, path: &str) -> Result<super::http::Answer, CallError> {
        self.session.wire().send(Method::GET, path, None, None, None).await
    }
}

impl RoleSettings {
    fn sign_path(&self) -> String {
        let (mount, issuer) = (&self.mount, &self.issuer);
        match (self.mode, &self.role) {
            (Mode::Sign, role) => format!("{mount}/issuer/{issuer}/sign/{}", role.as_deref().unwrap_or_default()),
            (Mode::SignVerbatim, None) => format!("{mount}/issuer/{issuer}/sign-verbatim"),
            (Mode::SignVerbatim, Some(role)) => format!("{mount}/issuer/{issuer}/sign-verbatim/{role}"),
        }
    }

    fn revoke_path(&self) -> String {
        format!("{}/revoke", self.mount)
    }
}

#[async_trait]
impl Connector for Vault {
    fn abilities(&self, ca: &RemoteCa) -> Abilities {
        let sets_names = self.roles.get(ca.name()).is_some_and(|role| role.names_from == NamesFrom::Request);
        let keys = [
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384,
            KeyAlgorithm::EcdsaP521,
            KeyAlgorithm::Ed25519,
            // OpenBao from 2.7 on.
            KeyAlgorithm::MlDsa44,
            KeyAlgorithm::MlDsa65,
            KeyAlgorithm::MlDsa87,
        ];
        let rsa = KeyRule::RsaRange { min: 2048, max: 8192 };
        Abilities {
            subject_keys: Some(std::iter::once(rsa).chain(keys.map(KeyRule::Exactly)).collect()),
            overrides_subject: sets_names,
            overrides_subject_alt_names: sets_names,
            overrides_validity: true,
            can_revoke: true,
            sees_challenge: true,
            ..Abilities::default()
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        self.sign(ca, order, key).await.unwrap_or_else(CallError::submission)
    }

    async fn find(&self, _ca: &RemoteCa, _order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let reason = format!(
            "there is no asking for a certificate by anything but its serial number; the audit log may tell, beside {key}"
        );
        Submission::Unknown { reason }
    }

    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let role = self.role(ca)?;
        let answer = self.get(&format!("{}/issuer/{}/json", role.mount, role.issuer)).await?;
        wire::issuer(&wire::success(answer)?.body)
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        check::role(&self.session, self.role(ca)?).await
    }

    async fn subject_keys(&self, ca: &RemoteCa) -> Result<Option<Vec<KeyRule>>, CallError> {
        check::subject_keys(&self.session, self.role(ca)?).await
    }

    async fn revoke(&self, ca: &RemoteCa, certificate: &Certificate, _reason: RevocationReason) -> Result<(), CallError> {
        // By the certificate, not its number: so it is known to a role that stores none, too.
        let body: Value = json!({ "certificate": certificate.to_pem() });
        let answer = self.session.send(Method::POST, &self.role(ca)?.revoke_path(), Some(&body), None).await?;
        wire::success(answer).map(drop)
    }

    async fn crl(&self, ca: &RemoteCa) -> Result<Option<Vec<u8>>, CallError> {
        let role = self.role(ca)?;
        let answer = self.get(&format!("{}/issuer/{}/crl/der", role.mount, role.issuer)).await?;
        match answer.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(None),
            _ => wire::success(answer).map(|answer| Some(answer.body.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests;
