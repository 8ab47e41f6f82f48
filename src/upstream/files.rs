//! Files that connectors are configured with: certificates in PEM, and keys that have to go with them.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use super::remote::RemoteError;
use crate::crypto::{Signer, keystore, provider};
use crate::x509::Certificate;

/// What is wrong with a file.
pub(super) fn bad_file(path: &Path, why: impl Display) -> RemoteError {
    RemoteError::File { path: path.display().to_string(), why: why.to_string() }
}

/// Reads the certificates in a PEM file. Blocks.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<Arc<Certificate>>, RemoteError> {
    let text = std::fs::read_to_string(path).map_err(|error| bad_file(path, error))?;
    let certificates = Certificate::chain_from_pem(&text).map_err(|error| bad_file(path, error))?;
    Ok(certificates.into_iter().map(Arc::new).collect())
}

/// Who we are to somebody.
pub(super) struct Identity {
    /// Our certificate, and those above it.
    pub(super) chain: Vec<Arc<Certificate>>,
    /// The key of our certificate.
    pub(super) signer: Arc<dyn Signer>,
}

/// Reads a certificate with those above it, and the key that belongs to it: PKCS#8 in PEM, plain or encrypted with the passphrase.
/// Blocks.
pub(super) fn read_identity(certificate: &Path, key: &Path, passphrase: &str) -> Result<Identity, RemoteError> {
    let chain = read_certificates(certificate)?;
    let own = chain.first().ok_or_else(|| bad_file(certificate, "there is no certificate in it"))?;
    let pem = zeroize::Zeroizing::new(std::fs::read(key).map_err(|error| bad_file(key, error))?);
    let is_encrypted = pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
    // The error names the file.
    let pkcs8 = keystore::read_key(key, is_encrypted.then_some(passphrase))
        .map_err(|error| RemoteError::Key { why: error.to_string() })?;
    let signer = provider().keys.signer(&pkcs8).map_err(|error| bad_file(key, error))?;
    if signer.spki() != own.spki() {
        let why = format!("it is not the key of the certificate in {}, of {}", certificate.display(), own.subject());
        return Err(bad_file(key, why));
    }
    Ok(Identity { chain, signer })
}

const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
