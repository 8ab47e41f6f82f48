//! Private keys in files: PKCS#8, encrypted (RFC 5958 section 3, PBES2 of RFC 8018), mode 0600.

use std::path::Path;

use zeroize::Zeroizing;

/// Reads a PEM file with an encrypted (or, if `passphrase` is `None`, plain) PKCS#8 key and gives the plain PKCS#8.
pub fn read_key(_path: &Path, _passphrase: Option<&str>) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    todo!()
}

/// Writes a PKCS#8 key to a PEM file, encrypted with the passphrase, mode 0600, by an atomic rename, synced to disk.
pub fn write_key(_path: &Path, _pkcs8: &[u8], _passphrase: &str) -> Result<(), KeystoreError> {
    todo!()
}

/// What went wrong with a key file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a PKCS#8 PEM file.
    #[error("{path}: {why}")]
    Malformed {
        /// Which file.
        path: std::path::PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The passphrase does not open the key.
    #[error("{path}: the passphrase does not open this key")]
    WrongPassphrase {
        /// Which file.
        path: std::path::PathBuf,
    },
}
