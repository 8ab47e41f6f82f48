//! What can go wrong with the RA's keys and certificates, in words that tell the operator what to do.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Role;
use crate::algorithm::KeyAlgorithm;
use crate::crypto::CryptoError;
use crate::crypto::keystore::KeystoreError;
use crate::x509::X509Error;

/// What went wrong with the RA's keys or certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RaError {
    /// Nothing was announced.
    #[error("no next certificates of the RA were prepared: ravelin ra rollover prepare")]
    NotPrepared,
    /// There is nothing to go back to.
    #[error("there is no earlier set of RA keys to go back to")]
    NoEarlier,
    /// There is no identity, or part of it is missing.
    #[error("the RA has no identity: {missing} is missing; make keys and have them certified")]
    NoIdentity {
        /// The file.
        missing: PathBuf,
    },
    /// There are no keys.
    #[error("there are no RA keys in {dir}; make them first")]
    NoKeys {
        /// Where.
        dir: PathBuf,
    },
    /// There are keys that wait for certificates.
    #[error("keys in {dir} wait for their certificates already; install those, or discard the keys")]
    KeysWaiting {
        /// Where.
        dir: PathBuf,
    },
    /// The size is not one that we make.
    #[error("RA keys have 2048 to 4096 bits, not {bits}")]
    UnsuitableSize {
        /// What was asked for.
        bits: u32,
    },
    /// The key signs nothing, so there is no request for it.
    #[error("an {key} key cannot sign a certification request: have the embedded CA certify it with --ca")]
    NoRequest {
        /// Its kind.
        key: KeyAlgorithm,
    },
    /// A key file does not belong to the certificate beside it.
    #[error("{certificate} is not the certificate of the key in {key}; put back the pair that belongs together")]
    FilesMismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// The certificate is for another key.
    #[error("the {role} certificate {subject:?} is not for the RA's {role} key{hint}")]
    KeyMismatch {
        /// Which one.
        role: Role,
        /// Whose certificate it is.
        subject: String,
        /// What may have happened.
        hint: &'static str,
    },
    /// One certificate was given where the RA has two keys, or the other way round.
    #[error("the RA has {keys} key(s), but {certificates} certificate(s) were given")]
    WrongCount {
        /// How many keys.
        keys: u8,
        /// How many certificates.
        certificates: u8,
    },
    /// The key is not RSA.
    #[error("the {role} certificate has a key that is not RSA: SCEP devices can neither encrypt to it nor check it")]
    NotRsa {
        /// Which one.
        role: Role,
    },
    /// The key is too short.
    #[error("the {role} certificate has an RSA key of {bits} bits: 2048 are needed; make new keys")]
    WeakKey {
        /// Which one.
        role: Role,
        /// How many it has.
        bits: u32,
    },
    /// Both certificates are for one key.
    #[error("both certificates are for the same key: clients may refuse replies that are signed with the key they encrypt to")]
    SharedKey,
    /// A CA key is used.
    #[error("the {role} key is that of a CA: the RA needs keys of its own")]
    CaKey {
        /// Which one.
        role: Role,
    },
    /// A key usage is missing.
    #[error(
        "the {role} certificate lacks the key usage {missing}: clients would not find it; have it issued again with that usage"
    )]
    MissingKeyUsage {
        /// Which one.
        role: Role,
        /// What is missing.
        missing: &'static str,
    },
    /// The certificate is no longer valid.
    #[error("the {role} certificate ended {not_after}; have it issued again")]
    Expired {
        /// Which one.
        role: Role,
        /// When.
        not_after: Timestamp,
    },
    /// The certificate is not valid yet.
    #[error("the {role} certificate begins {not_before}; install it then, or check the clock")]
    NotYetValid {
        /// Which one.
        role: Role,
        /// When.
        not_before: Timestamp,
    },
    /// The issuer was not given.
    #[error("the CA certificate {issuer:?}, which issued {of:?}, is not among the chain that was given; add it")]
    NoIssuer {
        /// Name of the issuer.
        issuer: String,
        /// Name of what it issued.
        of: String,
    },
    /// A certificate of the chain is not usable.
    #[error("the chain does not hold at {subject:?}: {why}")]
    BrokenChain {
        /// Whose certificate.
        subject: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The CA cannot certify an RA.
    #[error(
        "the local CA {ca:?} cannot certify the RA: {why}; RA certificates stay those of a classical CA, whatever signs for devices"
    )]
    UnsuitableCa {
        /// Which CA.
        ca: String,
        /// Why not.
        why: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate file cannot be read.
    #[error("{path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: X509Error,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// Building a request failed.
    #[error("cannot build the request: {0}")]
    Build(#[from] X509Error),
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl RaError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| RaError::Io { path: path.to_owned(), source }
    }
}
