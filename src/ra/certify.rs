//! Having the RA's keys certified: by the embedded CA, or with requests for the CA that the fleet trusts.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Keys, RaError, RaKeys, RaStore, Role};
use crate::algorithm::{Digest, Form, IssuerRef, KeyAlgorithm};
use crate::crypto::{RaIdentity, Signer, provider};
use crate::upstream::local::LocalCa;
use crate::upstream::{IdempotencyKey, IssuanceOrder, Submission, UpstreamCa};
use crate::x509::csr::CsrTemplate;
use crate::x509::name::Attribute;
use crate::x509::{Certificate, DistinguishedName, KeyUsage};

/// The names in the RA's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaSubjects {
    /// Of the one that signs, or the only one.
    pub signer: DistinguishedName,
    /// Of the one that is encrypted to.
    pub decrypter: DistinguishedName,
}

/// The PKCS#10 requests (RFC 2986) for a CA outside, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaRequests {
    /// For the key that signs: asks for digitalSignature, and keyEncipherment too if it is the only one.
    pub signer: Vec<u8>,
    /// For the key that decrypts: asks for keyEncipherment. `None` if one key does both.
    pub decrypter: Option<Vec<u8>>,
}

/// Keys with their fresh certificates.
pub(super) struct Certified {
    pub(super) keys: Keys,
    pub(super) signer: Certificate,
    pub(super) decrypter: Option<Certificate>,
    pub(super) chain: Vec<Certificate>,
}

impl RaSubjects {
    /// `CN=<name> RA signing` and `CN=<name> RA encryption`.
    pub fn named(name: &str) -> Result<Self, RaError> {
        let subject = |role: Role| {
            let common_name = Attribute { oid: COMMON_NAME, value: format!("{name} RA {role}") };
            DistinguishedName::from_rdns(vec![vec![common_name]])
        };
        Ok(RaSubjects { signer: subject(Role::Signer)?, decrypter: subject(Role::Decrypter)? })
    }

    /// The names that stand in the certificates in use.
    pub fn of(identity: &RaIdentity) -> Self {
        RaSubjects {
            signer: identity.signer_certificate.subject().clone(),
            decrypter: identity.decrypter().certificate.subject().clone(),
        }
    }
}

impl RaStore {
    /// Makes certification requests for the keys that wait, or else for those in use, for a renewal with the same keys.
    pub fn requests(&self, subjects: &RaSubjects) -> Result<RaRequests, RaError> {
        let keys = self.keys_to_certify()?;
        let request = |signer: &Arc<dyn Signer>, subject: &DistinguishedName, usage: KeyUsage| {
            CsrTemplate {
                subject,
                subject_alt_names: &[],
                extended_key_usages: &[],
                key_usage: Some(usage),
                challenge_password: None,
            }
            .sign(signer.as_ref(), Digest::Sha256)
        };
        Ok(RaRequests {
            signer: request(&keys.signer, &subjects.signer, signer_usage(keys.decrypter.is_none()))?,
            decrypter: match &keys.decrypter {
                Some(key) => {
                    let signer = key.signer.as_ref().ok_or(RaError::NoRequest { key: key.kind })?;
                    Some(request(signer, &subjects.decrypter, KeyUsage::KEY_ENCIPHERMENT)?)
                }
                None => None,
            },
        })
    }

    /// Has the keys that wait, or else those in use, certified by an embedded CA, and installs the certificates: by a classical CA,
    /// unless requests are encrypted to an ML-KEM key, which old devices cannot do anyway. They are valid from `not_before` for `validity`, cut to what is left of the CA.
    pub fn self_made(
        &self,
        ca: &LocalCa,
        ca_name: &str,
        subjects: &RaSubjects,
        not_before: Timestamp,
        validity: Duration,
        now: Timestamp,
    ) -> Result<RaIdentity, RaError> {
        let Certified { keys, signer, decrypter, chain } = self.certified(ca, ca_name, subjects, not_before, validity)?;
        self.install_for(&keys, signer, decrypter, chain, now)
    }

    /// Has keys certified, and installs nothing.
    pub(super) fn certified(
        &self,
        ca: &LocalCa,
        ca_name: &str,
        subjects: &RaSubjects,
        not_before: Timestamp,
        validity: Duration,
    ) -> Result<Certified, RaError> {
        let unsuitable = |why: String| RaError::UnsuitableCa { ca: ca_name.to_owned(), why };
        let chain =
            ca.chain(ca_name).ok_or_else(|| unsuitable(format!("there is none; there are: {}", ca.names().join(", "))))?;
        let signature = ca.preferred_signature(ca_name).ok_or_else(|| unsuitable("its key signs nothing".into()))?;
        let classical = |c: &Arc<Certificate>| c.signature_algorithm().is_some_and(|a| !a.is_post_quantum());
        let keys = self.keys_to_certify()?;
        if !keys.encapsulate() && (signature.is_post_quantum() || !chain.iter().all(classical)) {
            return Err(unsuitable("it, or a CA above it, signs with an algorithm that old devices do not know".into()));
        }

        let issue = |spki: &[u8], key: KeyAlgorithm, subject: &DistinguishedName, key_usage: KeyUsage| {
            let order = IssuanceOrder {
                group: "ra".into(),
                rule: "certificate of the RA".into(),
                profile: "ra".into(),
                form: Form::Single,
                signature,
                issuer: IssuerRef { upstream: ca.name().to_owned(), ca: ca_name.to_owned() },
                issuer_key: None,
                failover: Vec::new(),
                spread: false,
                alternative: None,
                sibling: None,
                related: None,
                csr: Vec::new(),
                spki: spki.to_vec(),
                key,
                alternative_spki: Vec::new(),
                subject: subject.der().to_vec(),
                subject_alt_names: Vec::new(),
                key_usage,
                extended_key_usages: Vec::new(),
                allowed: None,
                extensions: Default::default(),
                not_before,
                not_after: not_before.checked_add(validity).unwrap_or(Timestamp::MAX),
                device: None,
                renews: None,
                snapshot: String::new(),
            };
            match ca.issue(&order, &IdempotencyKey(provider().random())) {
                Submission::Issued { certificate, .. } => Ok(Certificate::clone(&certificate)),
                Submission::NotTaken { reason, .. }
                | Submission::Rejected { reason }
                | Submission::Unknown { reason }
                | Submission::Lost { reason } => Err(unsuitable(reason)),
                Submission::Waiting { .. } => Err(unsuitable("it lets the order wait".into())),
            }
        };
        let signer = issue(keys.signer.spki(), keys.signer.key(), &subjects.signer, signer_usage(keys.decrypter.is_none()))?;
        let decrypter = match &keys.decrypter {
            Some(key) => Some(issue(&key.spki, key.kind, &subjects.decrypter, KeyUsage::KEY_ENCIPHERMENT)?),
            None => None,
        };
        let chain = chain.iter().map(|c| Certificate::clone(c)).collect();
        Ok(Certified { keys, signer, decrypter, chain })
    }

    /// Renews certificates of an embedded CA: with fresh keys, or (`None`) with the same. The names stay. What devices
    /// encrypted to until now is still opened.
    pub fn renew(
        &self,
        ca: &LocalCa,
        ca_name: &str,
        fresh: Option<RaKeys>,
        not_before: Timestamp,
        validity: Duration,
        now: Timestamp,
    ) -> Result<RaIdentity, RaError> {
        let subjects = RaSubjects::of(&self.load()?);
        match fresh {
            Some(keys) => self.create_keys(keys)?,
            // Keys that wait would be taken instead of the same ones.
            None if self.has_waiting_keys() => return Err(RaError::KeysWaiting { dir: self.dir.clone() }),
            None => {}
        }
        self.self_made(ca, ca_name, &subjects, not_before, validity, now)
    }
}

/// What the signing certificate has to say: all, if it is the only one.
pub(super) fn signer_usage(only_one: bool) -> KeyUsage {
    if only_one { KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT) } else { KeyUsage::DIGITAL_SIGNATURE }
}

const COMMON_NAME: der::oid::ObjectIdentifier = der::oid::ObjectIdentifier::new_unwrap("2.5.4.3");
