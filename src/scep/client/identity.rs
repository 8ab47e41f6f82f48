//! The client's own keys and certificates.

use std::sync::Arc;

use crate::algorithm::KeyAlgorithm;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::ClientError;
use crate::crypto::ra::RaDecrypter;
use crate::crypto::{CryptoError, Decrypter, RecipientKey, Signer, provider};
use crate::scep::pki_message::{preferred_digest, signature_algorithm};
use crate::x509::builder::{self, CertificateTemplate};
use crate::x509::{Certificate, KeyUsage};

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

/// A key that replies are encrypted to, for devices whose signing key cannot decrypt: RSA or ML-KEM.
#[derive(Clone)]
pub struct ReplyKey {
    key: RecipientKey,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl ReplyKey {
    /// Makes a fresh key. Slow for RSA: not for an async thread.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, CryptoError> {
        let pkcs8 = match algorithm {
            KeyAlgorithm::MlKem(set) => provider().kem.generate(set)?.export_pkcs8(),
            KeyAlgorithm::Rsa(_) => provider().keys.generate(algorithm)?.export_pkcs8(),
            _ => return Err(CryptoError::Unsupported),
        };
        Self::from_pkcs8(&pkcs8.ok_or(CryptoError::Backend)?)
    }

    /// Reads a key from PKCS#8.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self { key: RecipientKey::from_pkcs8(pkcs8)?, pkcs8: Zeroizing::new(pkcs8.to_vec()) })
    }

    /// The kind of the key.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.key.key()
    }

    /// The key, to be kept.
    pub fn pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }
}

/// Shows the kind of the key and nothing of the key.
impl std::fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReplyKey").field(&self.algorithm()).finish()
    }
}

/// A key with the certificate that names it: what a message is signed with, and its reply encrypted to.
#[derive(Clone)]
pub struct Identity {
    /// The key.
    pub key: DeviceKey,
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// What the reply is encrypted to instead, if that is another key.
    reply: Option<RaDecrypter>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("key", &self.key)
            .field("certificate", &self.certificate)
            .field("reply", &self.reply.as_ref().map(|reply| reply.key.key()))
            .finish()
    }
}

impl Identity {
    /// Pairs a key with its certificate; they have to fit.
    pub fn new(key: DeviceKey, certificate: Certificate) -> Result<Self, CryptoError> {
        if key.signer().spki() != certificate.spki() {
            return Err(CryptoError::BadKey);
        }
        Ok(Self { key, certificate: Arc::new(certificate), reply: None })
    }

    /// Has replies encrypted to `key`: makes a certificate for it that the identity's own key issues, which every message then brings
    /// along and names (encryptionKeyPreference, RFC 8551 section 2.5.3).
    pub fn with_reply_key(self, key: &ReplyKey, now: Timestamp) -> Result<Self, ClientError> {
        let signer = self.key.signer();
        let algorithm = signature_algorithm(signer.key(), preferred_digest(signer.key()))
            .ok_or(ClientError::Crypto(CryptoError::Unsupported))?;
        let name = self.certificate.subject();
        let half_a_day = jiff::SignedDuration::from_hours(12);
        let at = |time: Result<Timestamp, jiff::Error>| time.map_err(|_| ClientError::BadRequest("the clock is at its end"));
        let template = CertificateTemplate {
            serial: builder::random_serial(),
            issuer: name.clone(),
            subject: name.clone(),
            not_before: at(now.checked_sub(half_a_day))?,
            not_after: at(now.checked_add(half_a_day))?,
            spki: key.key.spki().to_vec(),
            extensions: vec![builder::key_usage(KeyUsage::KEY_ENCIPHERMENT)],
        };
        let certificate = Certificate::from_der(&template.sign(signer, algorithm)?)?;
        self.with_reply_certificate(key, certificate).map_err(ClientError::Crypto)
    }

    /// The same, with a certificate that was made before.
    pub(super) fn with_reply_certificate(self, key: &ReplyKey, certificate: Certificate) -> Result<Self, CryptoError> {
        if key.key.spki() != certificate.spki() {
            return Err(CryptoError::BadKey);
        }
        Ok(Self { reply: Some(RaDecrypter { key: key.key.clone(), certificate: Arc::new(certificate) }), ..self })
    }

    /// The certificate that the reply is encrypted to, if it is not that of the key that signs.
    pub(super) fn reply_certificate(&self) -> Option<&Arc<Certificate>> {
        self.reply.as_ref().map(|reply| &reply.certificate)
    }

    /// Whether replies can be encrypted to it, so that they need no password.
    pub fn can_decrypt(&self) -> bool {
        self.reply.is_some() || self.key.algorithm().can_decrypt()
    }

    /// The key as a recipient, if it can be one.
    pub(super) fn decrypter(&self) -> Option<RaDecrypter> {
        if let Some(reply) = &self.reply {
            return Some(reply.clone());
        }
        let key = Arc::clone(self.key.decrypter.as_ref()?);
        Some(RaDecrypter { key: key.into(), certificate: Arc::clone(&self.certificate) })
    }
}
