//! The Certificate Management Protocol (RFC 9810) over HTTP (RFC 9811), as an RA, within the lightweight profile (RFC 9483).
//!
//! - [`message`](self::message) reads and writes the frame and the header, `body` and `template` what is inside, `status` what the CA says.
//! - `protection` seals what we send and checks what comes, by a shared secret (`mac`) or a signature (`responders` says who may sign).
//! - `exchange` sends one message and believes its answer only when everything about it was checked.
//! - `enroll` goes through a transaction: request, polls, confirmation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::http::Http;
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::x509::Certificate;
use crate::x509::crl::{RevocationReason, read_crl};

pub mod body;
mod enroll;
mod exchange;
mod look;
pub mod mac;
pub mod message;
mod peer;
mod protection;
mod reference;
mod responders;
pub mod status;
mod template;
#[cfg(test)]
mod tests;

pub use mac::MacKind;
pub use peer::{CmpCaSettings, CredentialSettings, Repeats, RequestKind};
pub use template::Asked;

use exchange::{Answer, Ask, exchange};
use message::body_tag;
use peer::Peer;
use protection::Credential;
use status::{Failure, PkiStatus, StatusInfo};

/// What a CMP server is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmpSettings {
    /// Each CA.
    pub cas: BTreeMap<String, CmpCaSettings>,
}

/// A CMP server.
pub struct Cmp {
    http: Http,
    /// How long a submission may take, with its confirmation.
    patience: Duration,
    peers: BTreeMap<String, Arc<Peer>>,
}

impl Cmp {
    /// Reads certificates, keys and secrets. Blocks. `passphrase` opens keys that are encrypted; `patience` is how long who asks waits.
    pub fn open(settings: &CmpSettings, http: Http, patience: Duration, passphrase: &str) -> Result<Self, RemoteError> {
        let open = |(name, ca): (&String, &CmpCaSettings)| Ok((name.clone(), Arc::new(Peer::open(ca, passphrase)?)));
        let peers = settings.cas.iter().map(open).collect::<Result<_, RemoteError>>()?;
        Ok(Self { http, patience, peers })
    }

    fn peer(&self, ca: &RemoteCa) -> Result<&Arc<Peer>, CallError> {
        let peer = self.peers.get(ca.name());
        peer.ok_or_else(|| CallError::not_taken(format!("no CA {:?} is configured at this upstream", ca.name())))
    }

    /// Sends one message by itself, and gives what the CA says to it.
    async fn ask(&self, ca: &RemoteCa, number: u8, content: Vec<u8>) -> Result<Answer, CallError> {
        exchange(&self.http, self.peer(ca)?, ca, Ask::alone(number, content)).await
    }
}

#[async_trait]
impl Connector for Cmp {
    fn abilities(&self, ca: &RemoteCa) -> Abilities {
        match self.peer(ca) {
            Ok(peer) => abilities(&peer.settings),
            Err(_) => Abilities::default(),
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        self.enroll(ca, order, key, false).await
    }

    async fn poll(&self, ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        self.go_on(ca, order, reference).await
    }

    async fn find(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        match self.peer(ca).map(|peer| peer.settings.repeats) {
            Ok(Repeats::Request) => self.enroll(ca, order, key, true).await,
            Ok(Repeats::Poll) => self.poll_blindly(ca, order, key).await,
            Ok(Repeats::No) => Submission::Unknown { reason: "this CA cannot be asked again".to_owned() },
            Err(error) => Submission::Unknown { reason: error.to_string() },
        }
    }

    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let peer = self.peer(ca)?;
        peer.keep_remark(None);
        let answer = match self.ask(ca, body_tag::GENM, body::ask_ca_certificates()).await {
            Ok(answer) => answer,
            // Many know no general messages, and say so in their own ways: they can be reached, and that is what counts.
            Err(CallError::Refused(said)) => return Ok(peer.tells_nothing(&said)),
            Err(CallError::Unclear(said)) if peer.belief() == peer::Belief::Bare => return Ok(peer.tells_nothing(&said)),
            Err(error) => return Err(error),
        };
        let told: Vec<_> = match answer.body_tag {
            body_tag::GENP => {
                let told = body::read_ca_certificates(&answer.content).map_err(|error| CallError::Unclear(error.to_string()))?;
                told.into_iter()
                    .filter_map(|der| Certificate::from_der(der).ok())
                    .filter(Certificate::is_ca)
                    .map(Arc::new)
                    .collect()
            }
            body_tag::ERROR => {
                let said = read_error(&answer)?;
                if said.has_any(&Failure::OF_THE_SENDER) || said.has(Failure::SYSTEM_FAILURE) {
                    return Err(CallError::Refused(format!("the CA says: {said}")));
                }
                if said.has(Failure::SYSTEM_UNAVAILABLE) {
                    return Err(CallError::not_taken(format!("the CA says: {said}")));
                }
                return Ok(peer.tells_nothing(&said));
            }
            other => return Err(CallError::Unclear(format!("the answer is a CMP body {other}, not a general response"))),
        };
        Ok(if told.is_empty() { peer.told() } else { told })
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        let mut wrong = Vec::new();
        if let Credential::Signature { chain, .. } = &self.peer(ca)?.credential {
            let (own, now) = (&chain[0], Timestamp::now());
            if now < own.not_before() || own.not_after() < now {
                wrong.push(format!(
                    "our certificate {} is valid from {} to {}",
                    own.subject(),
                    own.not_before(),
                    own.not_after()
                ));
            }
        }
        Ok(wrong)
    }

    fn remarks(&self, ca: &RemoteCa) -> Vec<String> {
        self.peer(ca).ok().and_then(|peer| peer.remark()).into_iter().collect()
    }

    async fn revoke(&self, ca: &RemoteCa, certificate: &Certificate, reason: RevocationReason) -> Result<(), CallError> {
        let answer = self.ask(ca, body_tag::RR, template::revocation(certificate, reason)).await?;
        let said = match answer.body_tag {
            body_tag::RP => body::read_revocation(&answer.content).map_err(|error| CallError::Unclear(error.to_string()))?,
            body_tag::ERROR => read_error(&answer)?,
            other => return Err(CallError::Unclear(format!("the answer is a CMP body {other}, not a revocation response"))),
        };
        let granted = matches!(said.status, PkiStatus::Accepted | PkiStatus::GrantedWithMods | PkiStatus::Warning);
        // Revoking it again is no error.
        if granted && answer.body_tag == body_tag::RP || said.has(Failure::CERT_REVOKED) {
            return Ok(());
        }
        let words = format!("the CA says: {said}");
        Err(match said.status {
            PkiStatus::Waiting => CallError::Unclear(words),
            _ if said.has(Failure::SYSTEM_UNAVAILABLE) => CallError::not_taken(words),
            _ => CallError::Refused(words),
        })
    }

    async fn crl(&self, ca: &RemoteCa) -> Result<Option<Vec<u8>>, CallError> {
        let issuer = ca.certificate().subject().clone();
        let answer = self.ask(ca, body_tag::GENM, body::ask_crl(&issuer)).await?;
        if answer.body_tag != body_tag::GENP {
            return Ok(None);
        }
        let told = body::read_crls(&answer.content).map_err(|error| CallError::Unclear(error.to_string()))?;
        let own = told.into_iter().filter(|der| read_crl(der).is_ok_and(|crl| crl.issuer.matches(&issuer)));
        // The newest, if there are several.
        Ok(own.max_by_key(|der| read_crl(der).map(|crl| crl.this_update).ok()).map(<[u8]>::to_vec))
    }
}

/// What follows from the settings.
fn abilities(settings: &CmpCaSettings) -> Abilities {
    let by_template = settings.message != RequestKind::P10cr;
    Abilities {
        subject_keys: None,
        overrides_subject: by_template,
        overrides_subject_alt_names: by_template,
        overrides_usages: by_template && settings.asked.usages,
        overrides_validity: by_template && settings.asked.validity,
        can_wait: true,
        can_revoke: true,
        can_find_again: settings.repeats != Repeats::No,
        poll_may_issue: false,
        sees_challenge: !by_template,
        wants_challenge: false,
    }
}

fn read_error(answer: &Answer) -> Result<StatusInfo, CallError> {
    body::read_error(&answer.content).map_err(|error| CallError::Unclear(error.to_string()))
}
