//! ACME (RFC 8555) with external account binding, for private CAs that let an account have names without proving them, or whose proof is
//! a formality.
//!
//! An order at the CA is bound to nothing until it is finalized with the CSR. So submitting makes the order and no more, and gives its
//! address as what to ask after; only when that stands in the inventory, asking after it ([`Connector::poll`]) goes on to finalize. What
//! became of an order is always to be found at its address, and one whose address was lost was never finalized: nothing can be issued
//! twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::http::Http;
use super::jose::encode;
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::secret::SecretSource;
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::x509::crl::RevocationReason;
use crate::x509::extension::read_subject_alt_names;
use crate::x509::{Certificate, SubjectAltName};

mod client;
mod message;

use client::{Client, Failure};
use message::{Authorization, Order, Status};

/// What an ACME server is configured with. The address is that of its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The key of the account; made when it is first needed, if it is not there.
    pub account_key: PathBuf,
    /// The name and the secret that bind the account to one that the CA has.
    pub binding: Option<(String, SecretSource)>,
    /// Addresses that the CA can reach people at.
    pub contact: Vec<String>,
    /// What is done with names that the CA wants proven.
    pub challenges: Challenges,
    /// Whether orders say from when until when the certificate should be valid.
    pub dates: bool,
    /// The profile of each CA.
    pub profiles: BTreeMap<String, Option<String>>,
}

/// What is done with names that the CA wants proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenges {
    /// The order is refused: the account has to be allowed its names beforehand.
    #[default]
    Refuse,
    /// The CA is told that a challenge is met: it does not look.
    AssumeValid,
}

crate::algorithm::named!(Challenges, "way with challenges", {
    Refuse => "refuse",
    AssumeValid => "assume-valid",
});

/// An ACME server.
pub struct Acme {
    client: Client,
    challenges: Challenges,
    dates: bool,
    profiles: BTreeMap<String, Option<String>>,
}

/// How long one question after an order goes on, while the CA gets on with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for a CA that does not say.
const PAUSE: Duration = Duration::from_secs(2);

impl Acme {
    /// Reads the secret of the binding. Blocks.
    pub fn open(settings: &AcmeSettings, passphrase: &str, http: Http) -> Result<Self, RemoteError> {
        Ok(Self {
            client: Client::open(settings, passphrase, http)?,
            challenges: settings.challenges,
            dates: settings.dates,
            profiles: settings.profiles.clone(),
        })
    }

    /// Makes an order at the CA, and gives its address.
    async fn order(&self, ca: &RemoteCa, order: &IssuanceOrder) -> Result<String, CallError> {
        let identifiers = identifiers(order).map_err(CallError::Refused)?;
        let mut wanted = json!({ "identifiers": identifiers });
        if self.dates {
            wanted["notBefore"] = rfc3339(order.not_before).into();
            wanted["notAfter"] = rfc3339(order.not_after).into();
        }
        if let Some(profile) = self.profiles.get(ca.name()).and_then(Option::as_deref) {
            wanted["profile"] = profile.into();
        }
        let url = self.client.directory().await?.new_order;
        match self.client.post(&url, Some(&wanted)).await {
            Ok(answer) => answer.location().ok_or_else(|| CallError::not_taken("the CA gives the order no address")),
            Err(failure) => Err(match failure.into_call_error() {
                // An order that is never finalized is none.
                CallError::Unclear(reason) => CallError::not_taken(reason),
                other => other,
            }),
        }
    }

    /// Gets an order on, as far as the CA goes along for now.
    async fn get_on(&self, order: &IssuanceOrder, url: &str) -> Result<Submission, CallError> {
        let until = Instant::now() + PATIENCE;
        let mut asked = false;
        loop {
            let answer = match self.client.post(url, None).await {
                Ok(answer) => answer,
                Err(failure) => {
                    let (gone, said) = (failure.is("accountDoesNotExist"), failure.to_string());
                    return match failure.into_call_error() {
                        // The account or the order is not there any more, or not ours, which says nothing of a certificate.
                        error if gone || matches!(error, CallError::Refused(_)) => {
                            Ok(Submission::Lost { reason: format!("the CA does not tell of the order {url} any more: {said}") })
                        }
                        error => Err(error),
                    };
                }
            };
            let mut retry_after = answer.retry_after();
            let mut at_ca: Order = answer.json()?;
            if at_ca.status == Status::Ready {
                let finalize = json!({ "csr": encode(&order.csr) });
                let answer = match self.client.post(&at_ca.finalize, Some(&finalize)).await {
                    Ok(answer) => answer,
                    Err(failure) if failure.is("orderNotReady") => return Ok(waiting(url, None)),
                    Err(failure) => return Err(failure.into_call_error()),
                };
                retry_after = answer.retry_after();
                at_ca = answer.json()?;
            }
            match at_ca.status {
                Status::Valid => return self.download(order, &at_ca).await,
                Status::Invalid => {
                    let why = at_ca.error.map_or_else(|| "it does not say why".to_owned(), |problem| problem.to_string());
                    return Ok(Submission::Rejected { reason: format!("the CA gave the order up: {why}") });
                }
                Status::Pending if !asked => {
                    if let Some(refused) = self.authorize(&at_ca).await.map_err(Failure::into_call_error)? {
                        return Ok(refused);
                    }
                    asked = true;
                }
                Status::Pending | Status::Processing | Status::Ready => {}
                Status::Other => {
                    return Err(CallError::Unclear("the order is in a state that is not known".into()));
                }
            }
            let pause = retry_after.unwrap_or(Duration::from_millis(300)).max(Duration::from_millis(100));
            if Instant::now() + pause > until {
                return Ok(waiting(url, retry_after));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Sees to names that the CA wants proven. Gives what becomes of the order if that cannot be.
    async fn authorize(&self, order: &Order) -> Result<Option<Submission>, Failure> {
        for url in &order.authorizations {
            let authorization: Authorization = self.client.post(url, None).await?.json()?;
            if authorization.status != Status::Pending {
                continue;
            }
            let name = &authorization.identifier.value;
            if self.challenges == Challenges::Refuse {
                let reason = format!(
                    "the CA wants proof that {name:?} is ours, which an RA does not have: have the CA allow the account its names \
                     beforehand, or, if it does not look anyway, set `challenges = \"assume-valid\"`"
                );
                return Ok(Some(Submission::Rejected { reason }));
            }
            let Some(challenge) = authorization.easiest() else {
                return Ok(Some(Submission::Rejected { reason: format!("the CA offers no challenge for {name:?}") }));
            };
            if challenge.status == Status::Pending
                && let Err(failure) = self.client.post(&challenge.url, Some(&json!({}))).await
            {
                // Orders for the same name share its authorization: another one may have met the challenge just now.
                let now: Authorization = self.client.post(url, None).await?.json()?;
                if now.status == Status::Pending && now.easiest().is_some_and(|challenge| challenge.status == Status::Pending) {
                    return Err(failure);
                }
            }
        }
        Ok(None)
    }

    async fn download(&self, order: &IssuanceOrder, at_ca: &Order) -> Result<Submission, CallError> {
        let unclear = CallError::Unclear;
        let url = at_ca.certificate.as_deref().ok_or_else(|| unclear("the order is done, and names no certificate".into()))?;
        // The certificate is there: no refusal can mean that it is not.
        let answer = self.client.post(url, None).await.map_err(|failure| unclear(failure.to_string()))?;
        let text = std::str::from_utf8(answer.body()).map_err(|error| unclear(error.to_string()))?;
        let certificates = Certificate::chain_from_pem(text).map_err(|error| unclear(error.to_string()))?;
        let (own, chain): (Vec<_>, Vec<_>) =
            certificates.into_iter().map(Arc::new).partition(|certificate| certificate.spki() == order.spki);
        match own.into_iter().next() {
            Some(certificate) => Ok(Submission::Issued { certificate, chain }),
            // It will say so each time. Some CAs give one order to all who ask for the same names, until one of them has finalized it.
            None => Ok(Submission::Lost {
                reason:
                    "what came of the order is for another key: the CA may have given the same order to another request for the \
                         same names, which was quicker"
                        .to_owned(),
            }),
        }
    }
}

#[async_trait]
impl Connector for Acme {
    fn abilities(&self, _ca: &RemoteCa) -> Abilities {
        Abilities {
            overrides_validity: self.dates,
            can_wait: true,
            can_revoke: true,
            // An order whose address is not known was never finalized: another one may be made.
            can_find_again: true,
            sees_challenge: true,
            ..Abilities::default()
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, _key: &IdempotencyKey) -> Submission {
        match self.order(ca, order).await {
            Ok(url) => Submission::Waiting { reference: url, retry_after: Duration::ZERO },
            Err(error) => error.submission(),
        }
    }

    async fn poll(&self, _ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        self.get_on(order, reference).await.unwrap_or_else(CallError::poll)
    }

    async fn certificates(&self, _ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        // ACME does not tell them; the directory says whether the CA is there.
        self.client.ask_directory().await.map(|_| Vec::new())
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        let mut wrong = Vec::new();
        let directory = self.client.ask_directory().await?;
        if let Some(profile) = self.profiles.get(ca.name()).and_then(Option::as_deref)
            && !directory.meta.profiles.contains_key(profile)
        {
            let known: Vec<&str> = directory.meta.profiles.keys().map(String::as_str).collect();
            wrong.push(format!("the CA has no profile {profile:?}; it has {}", known.join(", ")));
        }
        if directory.meta.external_account_required && !self.client.is_bound() {
            wrong.push("the CA wants accounts to be bound to one that it has: set `eab-kid` and `eab-secret`".to_owned());
        } else if let Err(error) = self.client.account().await {
            wrong.push(format!("the account cannot be used: {error}"));
        }
        Ok(wrong)
    }

    async fn revoke(&self, _ca: &RemoteCa, certificate: &Certificate, reason: RevocationReason) -> Result<(), CallError> {
        let url = self.client.directory().await?.revoke_cert;
        let url = url.ok_or_else(|| CallError::Refused("the CA does not revoke by ACME".to_owned()))?;
        let wanted = json!({ "certificate": encode(certificate.der()), "reason": reason.code() });
        match self.client.post(&url, Some(&wanted)).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is("alreadyRevoked") => Ok(()),
            Err(failure) => Err(failure.into_call_error()),
        }
    }
}

fn waiting(url: &str, retry_after: Option<Duration>) -> Submission {
    Submission::Waiting { reference: url.to_owned(), retry_after: retry_after.unwrap_or(PAUSE) }
}

/// The names of an order as ACME has them (RFC 8555 section 9.7.7, RFC 8738): DNS names and addresses.
fn identifiers(order: &IssuanceOrder) -> Result<Vec<Value>, String> {
    let names = match order.subject_alt_names.as_slice() {
        [] => Vec::new(),
        value => read_subject_alt_names(value).map_err(|error| error.to_string())?,
    };
    if names.is_empty() {
        return Err("ACME issues for DNS names and addresses, and the order has no subject alternative name".to_owned());
    }
    let identifier = |name: &SubjectAltName| match name {
        SubjectAltName::Dns(name) => Ok(json!({ "type": "dns", "value": name })),
        SubjectAltName::Ip(address) => Ok(json!({ "type": "ip", "value": address.to_string() })),
        other => Err(format!("ACME issues for DNS names and addresses, and the order has {}:{}", other.kind(), other.value())),
    };
    names.iter().map(identifier).collect()
}

/// RFC 3339 without fractions: certificates have none.
fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
