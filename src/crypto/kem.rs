//! The seam for keys that a secret is encapsulated to (ML-KEM, FIPS 203), and for what CMS does with that secret (RFC 9629): derive a
//! wrapping key, and wrap the content-encryption key with it.
//!
//! Nothing here fails on account of a ciphertext: ML-KEM gives another secret for one that was not made for the key (implicit
//! rejection, FIPS 203 section 6.3), and [`KeyEncapsulation::unwrap`] gives another content key for one that does not unwrap. What
//! follows then fails as it does for any wrong key.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{CryptoError, Decrypter};
use crate::algorithm::{KeyAlgorithm, KeyWrap, MlKem};

/// A private key that a secret can be encapsulated to.
pub trait Decapsulator: Send + Sync {
    /// The kind of the key.
    fn key(&self) -> MlKem;

    /// DER SubjectPublicKeyInfo.
    fn spki(&self) -> &[u8];

    /// The secret in a ciphertext. Fails only for a ciphertext of a length that the key has none of, which its sender knows.
    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError>;

    /// The key as PKCS#8 with the seed in it (RFC 9935 section 6), if it may leave where it lives.
    fn export_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>>;
}

/// Key encapsulation, and what belongs to it.
pub trait KeyEncapsulation: Send + Sync {
    /// The keys that can be made and encapsulated to.
    fn algorithms(&self) -> &'static [MlKem];

    /// Makes a fresh key.
    fn generate(&self, algorithm: MlKem) -> Result<Arc<dyn Decapsulator>, CryptoError>;

    /// Reads a key from PKCS#8: the seed, or the seed with the expanded key, which then has to fit (RFC 9935 section 6).
    fn decapsulator(&self, pkcs8: &[u8]) -> Result<Arc<dyn Decapsulator>, CryptoError>;

    /// Whether `spki` is a key that [`encapsulate`](Self::encapsulate) takes.
    fn can_encapsulate(&self, spki: &[u8]) -> bool;

    /// A fresh secret, and the ciphertext with which the holder of `spki` finds it.
    fn encapsulate(&self, spki: &[u8]) -> Result<Encapsulated, CryptoError>;

    /// HKDF with SHA-256 and no salt (RFC 5869): `len` octets for this `info`.
    fn hkdf_sha256(&self, secret: &[u8], info: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError>;

    /// Wraps a content-encryption key (RFC 3394).
    fn wrap(&self, wrap: KeyWrap, wrapping_key: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Unwraps a content-encryption key of `key_len` octets; random octets in its place if it does not unwrap to such a key. An
    /// `Err` says that the wrapping key itself could not be used.
    fn unwrap(
        &self,
        wrap: KeyWrap,
        wrapping_key: &[u8],
        wrapped: &[u8],
        key_len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError>;
}

/// What an encapsulation gives.
pub struct Encapsulated {
    /// For the holder of the key.
    pub ciphertext: Vec<u8>,
    /// For us.
    pub secret: Zeroizing<Vec<u8>>,
}

/// A private key that opens envelopes, by whichever way a content-encryption key travels to it.
#[derive(Clone)]
pub enum RecipientKey {
    /// The content-encryption key is encrypted to it: RSA.
    Transport(Arc<dyn Decrypter>),
    /// A secret is encapsulated to it: ML-KEM.
    Encapsulation(Arc<dyn Decapsulator>),
}

impl RecipientKey {
    /// The kind of the key.
    pub fn key(&self) -> KeyAlgorithm {
        match self {
            RecipientKey::Transport(key) => key.key(),
            RecipientKey::Encapsulation(key) => KeyAlgorithm::MlKem(key.key()),
        }
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        match self {
            RecipientKey::Transport(key) => key.spki(),
            RecipientKey::Encapsulation(key) => key.spki(),
        }
    }

    /// Reads a key that opens envelopes from PKCS#8.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, CryptoError> {
        let provider = super::provider();
        match provider.kem.decapsulator(pkcs8) {
            Ok(key) => Ok(RecipientKey::Encapsulation(key)),
            Err(_) => provider.keys.decrypter(pkcs8).map(RecipientKey::Transport),
        }
    }
}

impl From<Arc<dyn Decrypter>> for RecipientKey {
    fn from(key: Arc<dyn Decrypter>) -> Self {
        RecipientKey::Transport(key)
    }
}

impl From<Arc<dyn Decapsulator>> for RecipientKey {
    fn from(key: Arc<dyn Decapsulator>) -> Self {
        RecipientKey::Encapsulation(key)
    }
}
