//! Reading and building certificates, certificate requests and CRLs, on top of `x509-cert` and `der`.
//!
//! What devices send is read with tolerance and keeps its original bytes; what we make is strict DER (RFC 5280).

pub mod algorithm_identifier;
pub mod ber;
pub mod builder;
pub mod certificate;
pub mod crl;
pub mod csr;
pub mod extension;
pub mod name;
pub mod pem;
mod signed;
pub mod spki;
mod time;
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
    /// The algorithm is not one that we know.
    #[error("unknown algorithm {oid} in {what}")]
    UnknownAlgorithm {
        /// What was being read.
        what: &'static str,
        /// The object identifier.
        oid: der::oid::ObjectIdentifier,
    },
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] crate::crypto::CryptoError),
}

impl X509Error {
    /// A malformed thing, with what the decoder said.
    pub(crate) fn malformed(what: &'static str, why: impl std::fmt::Display) -> Self {
        X509Error::Malformed { what, why: why.to_string() }
    }
}
