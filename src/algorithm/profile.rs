//! Algorithm profiles: which subject keys are accepted, and what signs the certificate.

use std::time::Duration;

use super::{KeyAlgorithm, KeyRule, SignatureAlgorithm};

/// A validated algorithm profile (`algorithms/NAME.toml`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgorithmProfile {
    /// The file's stem.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// The subject keys that are let through.
    pub accepts: Vec<KeyRule>,
    /// In which form the signature stands in the certificate.
    pub form: Form,
    /// What signs.
    pub signature: SignatureAlgorithm,
    /// Who signs.
    pub issuer: IssuerRef,
    /// How long a certificate is valid.
    pub validity: Duration,
    /// The largest reply in octets that a device of this profile is given; `None` is no limit.
    pub max_reply: Option<usize>,
}

impl AlgorithmProfile {
    /// Whether a device may bring this key.
    pub fn accepts(&self, key: KeyAlgorithm) -> bool {
        self.accepts.iter().any(|rule| rule.admits(key))
    }
}

/// In which form the signature stands in the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One signature by one algorithm.
    Single,
}

super::named!(Form, "form", { Single => "single" });

/// The upstream and its selector: with every CA but an RSA one, choosing the algorithm is choosing the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerRef {
    /// Name of the `[[upstream]]` in `ravelin.toml`; `local` is the embedded CA.
    pub upstream: String,
    /// The CA, alias, role or label at that upstream.
    pub ca: String,
}
