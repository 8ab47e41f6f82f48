//! The client's own keys and certificates.

use std::sync::Arc;

use crate::algorithm::KeyAlgorithm;
use crate::crypto::ra::RaDecrypter;
use crate::crypto::{CryptoError, Decrypter, Signer, provider};
use crate::x509::Certificate;

/// A device's private key: signs, and opens replies if it is an RSA key.
#[derive(Clone)]
pub struct DeviceKey {
    signer: Arc<dyn Signer>,
    decrypter: Option<Arc<dyn Decrypter>>,
}

impl DeviceKey {
    /// Makes a fresh key. Slow for RSA: not for an async thread.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, CryptoError> {
        let signer = provider().keys.generate(algorithm)?;
        let pkcs8 = signer.export_pkcs8().ok_or(CryptoError::Backend)?;
        Self::new(signer, &pkcs8)
    }

    /// Reads a key from PKCS#8.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, CryptoError> {
        Self::new(provider().keys.signer(pkcs8)?, pkcs8)
    }

    fn new(signer: Arc<dyn Signer>, pkcs8: &[u8]) -> Result<Self, CryptoError> {
        let decrypter = if signer.key().can_decrypt() { Some(provider().keys.decrypter(pkcs8)?) } else { None };
        Ok(Self { signer, decrypter })
    }

    /// What signs with it.
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// The kind of the key.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.signer.key()
    }
}

/// Shows the kind of the key and nothing of the key.
impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DeviceKey").field(&self.algorithm()).finish()
    }
}

/// A key with the certificate that names it: what a message is signed with, and its reply encrypted to.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The key.
    pub key: DeviceKey,
    /// The certificate.
    pub certificate: Arc<Certificate>,
}

impl Identity {
    /// Pairs a key with its certificate; they have to fit.
    pub fn new(key: DeviceKey, certificate: Certificate) -> Result<Self, CryptoError> {
        if key.signer().spki() != certificate.spki() {
            return Err(CryptoError::BadKey);
        }
        Ok(Self { key, certificate: Arc::new(certificate) })
    }

    /// The key as a recipient, if it can be one.
    pub(super) fn decrypter(&self) -> Option<RaDecrypter> {
        let key = Arc::clone(self.key.decrypter.as_ref()?);
        Some(RaDecrypter { key: key.into(), certificate: Arc::clone(&self.certificate) })
    }
}
