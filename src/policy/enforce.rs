//! What a group lets through, rewrites or refuses.

use jiff::Timestamp;

use crate::algorithm::AlgorithmProfile;
use crate::upstream::Capabilities;
use crate::x509::{Certificate, DistinguishedName, KeyUsage, SubjectAltName, VerifiedCsr};

/// How names, keys and usages are let through, rewritten or refused.
#[derive(Debug)]
pub(in crate::policy) struct Rules {}

/// What a request must look like to be of a group at a shared endpoint.
#[derive(Debug)]
pub(in crate::policy) struct Matching {}

/// What policy looks at.
pub struct PermitInput<'a> {
    /// The CSR.
    pub csr: &'a VerifiedCsr,
    /// The profile of the group.
    pub profile: &'a AlgorithmProfile,
    /// What the issuer can do: a rewrite needs an issuer that takes it.
    pub issuer: &'a Capabilities,
    /// The certificate that is renewed, if it is a renewal: names are bound to it.
    pub renews: Option<&'a Certificate>,
    /// Now.
    pub now: Timestamp,
}

/// What policy lets through: what will stand in the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The subject.
    pub subject: DistinguishedName,
    /// The subject alternative names.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The key usage, fit for the key.
    pub key_usage: KeyUsage,
    /// The extended key usages.
    pub extended_key_usages: Vec<der::oid::ObjectIdentifier>,
    /// The device.
    pub device: Option<String>,
    /// What was changed or dropped against the CSR, in words, for `explain` and the audit.
    pub changes: Vec<String>,
}

/// Policy says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Denial {
    /// Which rule.
    pub code: DenialCode,
    /// What was asked and what is allowed, for the log and `explain`; names of the request may stand in it.
    pub detail: String,
}

/// Which rule of a group said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DenialCode {
    /// The kind of key is not accepted by the profile or the group.
    KeyNotAccepted,
    /// The key is of an accepted kind, but weak.
    KeyWeak,
    /// The subject does not fit.
    SubjectNotAllowed,
    /// A subject alternative name does not fit.
    SubjectAltNameNotAllowed,
    /// A key usage does not fit.
    UsageNotAllowed,
    /// The CSR is signed with a digest that the endpoint does not take.
    DigestNotAllowed,
    /// The renewal changes a name that it must not change.
    RenewalNameChanged,
    /// The issuer cannot issue what policy wants.
    IssuerCannot,
    /// The device cannot be told from its request.
    NoDevice,
}

crate::algorithm::named!(DenialCode, "denial", {
    KeyNotAccepted => "key-not-accepted",
    KeyWeak => "key-weak",
    SubjectNotAllowed => "subject-not-allowed",
    SubjectAltNameNotAllowed => "san-not-allowed",
    UsageNotAllowed => "usage-not-allowed",
    DigestNotAllowed => "digest-not-allowed",
    RenewalNameChanged => "renewal-name-changed",
    IssuerCannot => "issuer-cannot",
    NoDevice => "no-device",
});
