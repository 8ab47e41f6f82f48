//! What can go wrong with the embedded CA, in words that tell the operator what to do.

use std::path::{Path, PathBuf};

use crate::crypto::CryptoError;
use crate::crypto::keystore::KeystoreError;
use crate::x509::X509Error;

/// What went wrong with the folders, keys or certificates of the embedded CA.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalCaError {
    /// The name cannot be that of a folder.
    #[error("{name:?} cannot name a CA: use 1 to 64 of a-z, 0-9, '-', '_' and '.', beginning with a letter or a digit")]
    BadName {
        /// The name.
        name: String,
    },
    /// There is no such CA.
    #[error("there is no local CA {name:?} in {dir}; there are: {known}")]
    NoSuchCa {
        /// The name.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
        /// Those that are there, comma separated.
        known: String,
    },
    /// There is one already.
    #[error("{path} is there already; choose another name, or move it away")]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeystoreError),
    /// A certificate file cannot be read.
    #[error("{path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: X509Error,
    },
    /// A file says something that it should not.
    #[error("{path}: {why}")]
    Settings {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The certificate is not for this key.
    #[error("{certificate} is not the certificate of the key in {key}; put back the pair that belongs together")]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The certificate is no CA certificate.
    #[error("{path} is not a CA certificate: basicConstraints does not say CA")]
    NotACa {
        /// Which file.
        path: PathBuf,
    },
    /// The chain file does not lead on from the certificate.
    #[error("{path}: its certificates must lead from the issuer of this CA to the root, each signing the one before")]
    BrokenChain {
        /// Which file.
        path: PathBuf,
    },
    /// The embedded CA does not make keys of this kind.
    #[error("a local CA cannot have a key {key}: {why}")]
    UnsuitableKey {
        /// The kind of key that was asked for.
        key: crate::algorithm::KeyAlgorithm,
        /// Why not.
        why: &'static str,
    },
    /// The parent may not certify another CA, or not for this time.
    #[error("the local CA {parent:?} cannot certify this CA: {why}")]
    UnsuitableParent {
        /// The parent.
        parent: String,
        /// Why not.
        why: &'static str,
    },
    /// There is a next certificate already.
    #[error(
        "the local CA {ca:?} has a next certificate already; switch to it, or take it back with: ravelin ca rollover cancel {ca}"
    )]
    NextPrepared {
        /// Which CA.
        ca: String,
    },
    /// There is no next certificate.
    #[error("the local CA {ca:?} has no next certificate; prepare one first")]
    NoNext {
        /// Which CA.
        ca: String,
    },
    /// There is no earlier generation to go back to.
    #[error("the local CA {ca:?} has no earlier generation")]
    NoEarlier {
        /// Which CA.
        ca: String,
    },
    /// The CA has no such key among its earlier ones.
    #[error("the local CA {ca:?} has no earlier key {key:?}; there are: {known}")]
    NoSuchKey {
        /// Which CA.
        ca: String,
        /// The name of the key.
        key: String,
        /// Those that are there, comma separated.
        known: String,
    },
    /// The key was destroyed.
    #[error("the key {key} is retired: it was destroyed, and only its certificate is left")]
    Retired {
        /// The name of the key.
        key: String,
    },
    /// The CA was certified by somebody else, who has to certify the next key too.
    #[error(
        "the local CA {ca:?} was not certified by a CA in this folder: put next-key.pem, next-certificate.pem and next-chain.pem there"
    )]
    ForeignParent {
        /// Which CA.
        ca: String,
    },
    /// Building a certificate failed.
    #[error("cannot build the certificate: {0}")]
    Build(#[from] X509Error),
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl LocalCaError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| LocalCaError::Io { path: path.to_owned(), source }
    }
}
