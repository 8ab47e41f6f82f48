//! Reading and building certificates, certificate requests and CRLs, on top of `x509-cert` and `der`.
//!
//! What devices send is read with tolerance and keeps its original bytes; what we make is strict DER (RFC 5280).

pub mod algorithm_identifier;
pub mod alternative;
pub mod ber;
pub mod builder;
pub mod certificate;
pub mod crl;
pub mod csr;
pub mod extension;
pub mod name;
pub mod pem;
pub mod related;
mod signed;
pub mod spki;
pub(crate) mod time;
pub(crate) mod tlv;

pub use certificate::Certificate;
pub use csr::VerifiedCsr;
pub use extension::{Extension, KeyUsage, SubjectAltName};
pub use name::DistinguishedName;

/// What is wrong with a piece of X.509 that was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Error {
    /// It is not the ASN.1 that it should be.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// What was being read: `certificate`, `certification request`, …
        what: &'static str,
        /// What the reader found, for the log.
        why: String,
    },
    /// The proof of possession in a certification request does not hold.
    #[error("the signature of the certification request does not verify with its own key")]
    NoPossession,
    /// The proof of possession of the alternative key does not hold.
    #[error("the alternative signature of the certification request does not verify with its alternative key")]
    NoAlternativePossession,
    /// The algorithm is not one that we know.
    #[error("unknown algorithm {oid} in {what}{}", refused(oid))]
    UnknownAlgorithm {
        /// What was being read.
        what: &'static str,
        /// The object identifier.
        oid: der::oid::ObjectIdentifier,
    },
    /// Parameters, be it NULL, stand beside an algorithm that must have none: a fault that once was common with ML-DSA.
    #[error("{algorithm} with parameters in {what}; they have to be absent")]
    Parameters {
        /// What was being read.
        what: &'static str,
        /// The algorithm.
        algorithm: &'static str,
    },
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] crate::crypto::CryptoError),
}

/// Why an algorithm is not taken, if it is known all the same.
fn refused(oid: &der::oid::ObjectIdentifier) -> String {
    crate::algorithm::unsupported::by_oid(oid).map(|refused| format!(" ({}): {}", refused.name, refused.why)).unwrap_or_default()
}

impl X509Error {
    /// A malformed thing, with what the decoder said.
    pub(crate) fn malformed(what: &'static str, why: impl std::fmt::Display) -> Self {
        X509Error::Malformed { what, why: why.to_string() }
    }
}
