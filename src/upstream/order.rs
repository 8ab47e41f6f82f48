//! What a CA is asked to issue: fully resolved, and stored before anybody hears of it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::algorithm::{Digest, Family, Form, IssuerRef, KeyAlgorithm, ProfileExtensions, SignatureAlgorithm};
use crate::x509::KeyUsage;

/// An order: everything that decides what will stand in the certificate. It is stored as JSON, so that an approval next week
/// issues what was approved, whatever the configuration says by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuanceOrder {
    /// The device group.
    pub group: String,
    /// The rule of the group that let the request in, in words: `one-time challenge 3f2a…`, `renewal of …`.
    pub rule: String,
    /// The algorithm profile.
    pub profile: String,
    /// In which form the signature stands in the certificate.
    pub form: Form,
    /// What signs.
    pub signature: SignatureAlgorithm,
    /// Who signs.
    pub issuer: IssuerRef,
    /// Which of the issuer's keys signs, by [`UpstreamCa::issuer_key`](super::UpstreamCa::issuer_key): that of the day of the order,
    /// also when the CA was rolled over since. `None` is the key of the day when it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_key: Option<String>,
    /// Who signs instead, in this order, where the one before surely did not take the order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failover: Vec<IssuerRef>,
    /// Whether orders are spread over all of these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spread: bool,
    /// The alternative signature of a [`Form::Catalyst`] certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative: Option<SignatureAlgorithm>,
    /// The second certificate of a pair, to be issued after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sibling: Option<SiblingOrder>,
    /// The certificate that this one is bound to (RFC 9763): never stored, for it is known only once that one was issued.
    #[serde(skip)]
    pub related: Option<RelatedCertificate>,
    /// The device's CSR, DER, as it came.
    #[serde(with = "hex_bytes")]
    pub csr: Vec<u8>,
    /// The subject's key: DER SubjectPublicKeyInfo.
    #[serde(with = "hex_bytes")]
    pub spki: Vec<u8>,
    /// The kind of that key.
    pub key: KeyAlgorithm,
    /// The subject's alternative key, where the CSR proved one and the form has a place for it: DER SubjectPublicKeyInfo; empty for
    /// none.
    #[serde(default, with = "hex_bytes", skip_serializing_if = "Vec::is_empty")]
    pub alternative_spki: Vec<u8>,
    /// The subject to issue, DER Name.
    #[serde(with = "hex_bytes")]
    pub subject: Vec<u8>,
    /// The SubjectAltName extension value to issue, DER; empty for none.
    #[serde(with = "hex_bytes")]
    pub subject_alt_names: Vec<u8>,
    /// The key usage to issue.
    pub key_usage: KeyUsage,
    /// The extended key usages to issue, dotted OIDs.
    pub extended_key_usages: Vec<String>,
    /// What the group lets through, where an issuer decides about usages itself: its decision is held against this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<AllowedUsages>,
    /// What else stands in the certificate.
    #[serde(default, skip_serializing_if = "ProfileExtensions::is_empty")]
    pub extensions: ProfileExtensions,
    /// Start of the validity.
    pub not_before: Timestamp,
    /// End of the validity.
    pub not_after: Timestamp,
    /// The device, as the group recognises it.
    pub device: Option<String>,
    /// Hex SHA-256 of the certificate that this one renews.
    pub renews: Option<String>,
    /// Hex digest of the configuration snapshot that decided.
    pub snapshot: String,
}

impl IssuanceOrder {
    /// The same order at this issuer. What it says of the key of another one does not hold there.
    pub fn at(&self, issuer: IssuerRef) -> IssuanceOrder {
        match issuer == self.issuer {
            true => self.clone(),
            false => IssuanceOrder { issuer, issuer_key: None, ..self.clone() },
        }
    }

    /// How long the certificate is valid.
    pub fn validity(&self) -> Duration {
        Duration::try_from(self.not_after.duration_since(self.not_before)).unwrap_or_default()
    }

    /// Whether no quantum computer is known to forge what is ordered: by the signature, the alternative one, or the sibling's.
    pub fn is_post_quantum(&self) -> bool {
        let beside = self.alternative.into_iter().chain(self.sibling.as_ref().map(|sibling| sibling.signature));
        std::iter::once(self.signature).chain(beside).any(SignatureAlgorithm::is_post_quantum)
    }

    /// The order for the sibling, bound to the first certificate of the pair if `related` says so; `None` if it is no order for a
    /// pair.
    pub fn for_sibling(&self, related: Option<RelatedCertificate>) -> Option<IssuanceOrder> {
        let SiblingOrder { signature, issuer, issuer_key } = self.sibling.clone()?;
        let form = if signature.family() == Family::Composite { Form::Composite } else { Form::Single };
        let extensions = self.extensions.for_another_issuer();
        let (failover, spread) = (Vec::new(), false);
        Some(IssuanceOrder {
            form,
            signature,
            issuer,
            issuer_key,
            failover,
            spread,
            sibling: None,
            related,
            extensions,
            ..self.clone()
        })
    }
}

/// The usages that a group lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedUsages {
    /// Key usages.
    pub key_usage: KeyUsage,
    /// Extended key usages, dotted OIDs.
    pub extended_key_usages: Vec<String>,
}

/// What signs the second certificate of a pair, and who.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiblingOrder {
    /// What signs.
    pub signature: SignatureAlgorithm,
    /// Who signs.
    pub issuer: IssuerRef,
    /// Which of the issuer's keys signs, as in [`IssuanceOrder::issuer_key`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_key: Option<String>,
}

/// Another certificate of the same device, by its digest (RFC 9763 section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelatedCertificate {
    /// What digest.
    pub digest: Digest,
    /// The digest over its DER.
    pub hash: Vec<u8>,
}

/// Names one attempt at an issuer: 128 random bits, made once and stored with the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(pub [u8; 16]);

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Byte strings as hex in JSON.
mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}
