//! Algorithm profiles: which subject keys are accepted, what signs the certificate, and in which form.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// Who signs instead, in this order, where the one before cannot be reached.
    pub failover: Vec<IssuerRef>,
    /// Whether orders are spread evenly over the issuer and these.
    pub spread: bool,
    /// What signs besides: the alternative signature of [`Form::Catalyst`], or the sibling of [`Form::Paired`]. There in these two
    /// forms, and in no other.
    pub alternative: Option<SignatureAlgorithm>,
    /// Who signs the sibling of [`Form::Paired`].
    pub alternative_issuer: Option<IssuerRef>,
    /// The profile for a device that this one is too much for.
    pub fallback: Option<String>,
    /// What happens to key usages that the subject's key cannot have.
    pub key_usage: UnfitUsage,
    /// What else stands in the certificate.
    pub extensions: ProfileExtensions,
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

    /// What signs the sibling of a pair, and who.
    pub fn sibling(&self) -> Option<(SignatureAlgorithm, &IssuerRef)> {
        match self.form {
            Form::Paired => self.alternative.zip(self.alternative_issuer.as_ref()),
            _ => None,
        }
    }

    /// All that sign what the device is given: the issuer, and those that sign in its place.
    pub fn primary_issuers(&self) -> impl Iterator<Item = &IssuerRef> {
        std::iter::once(&self.issuer).chain(&self.failover)
    }

    /// The same, each with the key of the profile's file that it stands at.
    pub fn keyed_issuers(&self) -> impl Iterator<Item = (String, &IssuerRef)> {
        let others = self.failover.iter().enumerate().map(|(index, issuer)| (format!("failover.{index}"), issuer));
        std::iter::once(("issuer".to_owned(), &self.issuer)).chain(others)
    }

    /// All that sign under this profile: those who sign what the device is given first.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerRef> {
        self.primary_issuers().chain(&self.alternative_issuer)
    }

    /// Whether no quantum computer is known to forge what is issued: by the signature, the alternative one, or the sibling's.
    pub fn is_post_quantum(&self) -> bool {
        self.signature.is_post_quantum() || self.alternative.is_some_and(SignatureAlgorithm::is_post_quantum)
    }
}

/// In which form the signature stands in the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One signature by one algorithm.
    Single,
    /// One signature that is two in one, of ML-DSA and of a classical algorithm; both have to hold.
    Composite,
    /// A classical signature that every device checks, and an alternative one in extensions that old devices pass over (X.509
    /// (10/2019) section 9.8).
    Catalyst,
    /// Two certificates for the same key and name: the classical one for the device, and a sibling with a signature that no quantum
    /// computer forges, bound to the first by RFC 9763 where the issuer can.
    Paired,
}

super::named!(Form, "form", {
    Single => "single",
    Composite => "composite",
    Catalyst => "catalyst",
    Paired => "paired",
});

/// What happens to key usages that the key cannot have, such as keyEncipherment of a key that only signs (RFC 9881 section 5, RFC
/// 9909 section 6, RFC 5480 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnfitUsage {
    /// They are left out. SCEP clients ask for keyEncipherment whatever key they have.
    #[default]
    Trim,
    /// The request is refused.
    Refuse,
}

super::named!(UnfitUsage, "treatment of key usages that the key cannot have", { Trim => "trim", Refuse => "refuse" });

/// The upstream and its selector: with every CA but an RSA one, choosing the algorithm is choosing the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerRef {
    /// Name of the `[[upstream]]` in `ravelin.toml`; `local` is the embedded CA.
    pub upstream: String,
    /// The CA, alias, role or label at that upstream.
    pub ca: String,
}

impl std::fmt::Display for IssuerRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.upstream, self.ca)
    }
}

/// What stands in a certificate beside what a device asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileExtensions {
    /// Certificate policies, dotted OIDs (RFC 5280 section 4.2.1.4).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Where the CRL is (RFC 5280 section 4.2.1.13), instead of what the CA says; `{key}` is the name of the key that signs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crl_urls: Vec<String>,
    /// Where the certificate of the issuer is (RFC 5280 section 4.2.2.1, id-ad-caIssuers).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_issuers: Vec<String>,
    /// Where an OCSP responder answers (RFC 5280 section 4.2.2.1, id-ad-ocsp).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ocsp: Vec<String>,
}

impl ProfileExtensions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        let Self { policies, crl_urls, ca_issuers, ocsp } = self;
        policies.is_empty() && crl_urls.is_empty() && ca_issuers.is_empty() && ocsp.is_empty()
    }

    /// What of it holds for a certificate of another issuer: where to find things of the first does not.
    pub fn for_another_issuer(&self) -> Self {
        Self { policies: self.policies.clone(), ..Self::default() }
    }
}
