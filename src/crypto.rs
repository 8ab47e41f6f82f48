//! The cryptography seam: a [`CryptoProvider`] is a plain struct of `&'static dyn` parts, so that a backend is a value that is
//! handed in, and a part can be replaced by struct update.
//!
//! Private keys are trait objects ([`Signer`], [`Decrypter`]), so that they may live in encrypted files today and in an HSM
//! tomorrow. All calls here are blocking and may be slow: callers run them on the [`pool`], never on an async thread.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport, SignatureAlgorithm};

pub mod aws_lc;
pub mod backend;
pub mod composite;
#[cfg(test)]
mod conformance;
pub mod families;
#[allow(unsafe_code)]
mod ffi;
pub mod floor;
pub mod kem;
pub mod keystore;
#[cfg(feature = "oqs")]
mod liboqs;
pub mod ml_dsa;
pub mod pool;
pub mod ra;
mod raw_key;
pub mod rustcrypto;
pub mod slh_dsa;
#[cfg(test)]
mod vectors;

pub use families::Families;
pub use kem::{Decapsulator, KeyEncapsulation, RecipientKey};
pub use pool::{CryptoPool, Lane, PoolError};
pub use ra::RaIdentity;

/// The provider in use: the one that was [installed](backend::install), else the default.
pub fn provider() -> &'static CryptoProvider {
    backend::provider().unwrap_or(&PROVIDER)
}

/// AWS-LC, and for SLH-DSA, which it has not, RustCrypto.
static PROVIDER: CryptoProvider = CryptoProvider { verifier: &FAMILIES, keys: &FAMILIES, ..aws_lc::PROVIDER };

static FAMILIES: Families = Families {
    classical: aws_lc::PROVIDER.name,
    classical_verifier: aws_lc::PROVIDER.verifier,
    classical_keys: aws_lc::PROVIDER.keys,
    ml_dsa: aws_lc::ML_DSA,
    slh_dsa: &rustcrypto::RustCrypto,
    digester: aws_lc::PROVIDER.digester,
    random: aws_lc::PROVIDER.random,
};

/// What a cryptography backend brings. Each part answers for what it can do.
pub struct CryptoProvider {
    /// The name that reports show.
    pub name: &'static str,
    /// Message digests and keyed digests.
    pub digester: &'static dyn Digester,
    /// Signature verification.
    pub verifier: &'static dyn Verifier,
    /// Private keys: made, read.
    pub keys: &'static dyn KeyFactory,
    /// Public-key encryption of content-encryption keys.
    pub transport: &'static dyn KeyEncrypter,
    /// Key encapsulation.
    pub kem: &'static dyn KeyEncapsulation,
    /// Content encryption.
    pub ciphers: &'static dyn ContentEncryption,
    /// Randomness fit for keys.
    pub random: &'static dyn SecureRandom,
}

/// Message digests and keyed digests.
pub trait Digester: Send + Sync {
    /// Computes a digest.
    fn digest(&self, algorithm: Digest, data: &[u8]) -> Vec<u8>;

    /// Computes SHA-256, which the product itself uses for identifiers.
    fn sha256(&self, data: &[u8]) -> [u8; 32];

    /// Computes HMAC-SHA-256.
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> [u8; 32];

    /// Computes HMAC with one of SHA-1 to SHA-512.
    fn hmac(&self, algorithm: Digest, key: &[u8], data: &[u8]) -> Result<Vec<u8>, CryptoError>;
}

/// Signature verification.
pub trait Verifier: Send + Sync {
    /// Which signature algorithms can be verified.
    fn algorithms(&self) -> &'static [SignatureAlgorithm];

    /// Checks a signature over `message` by the key in `spki` (DER SubjectPublicKeyInfo). The kind of the key has to fit the
    /// algorithm; that is checked here.
    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError>;
}

/// Makes and reads private keys.
pub trait KeyFactory: Send + Sync {
    /// Makes a fresh signing key. Slow for RSA.
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<Arc<dyn Signer>, CryptoError>;

    /// Reads a signing key from PKCS#8 (RFC 5958).
    fn signer(&self, pkcs8: &[u8]) -> Result<Arc<dyn Signer>, CryptoError>;

    /// Reads an RSA decryption key from PKCS#8.
    fn decrypter(&self, pkcs8: &[u8]) -> Result<Arc<dyn Decrypter>, CryptoError>;
}

/// A private key that signs.
pub trait Signer: Send + Sync {
    /// The kind of the key.
    fn key(&self) -> KeyAlgorithm;

    /// DER SubjectPublicKeyInfo.
    fn spki(&self) -> &[u8];

    /// What the key can sign with, the one to prefer first.
    fn algorithms(&self) -> Vec<SignatureAlgorithm>;

    /// Signs `message`.
    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// The key as PKCS#8, if it may leave where it lives; in the best form that is known of it.
    fn export_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>>;

    /// The key as PKCS#8 in one of the forms that ML-DSA has; `None` for other keys, and for a form that cannot be had.
    fn export_form(&self, form: KeyForm) -> Option<Zeroizing<Vec<u8>>> {
        let _ = form;
        None
    }
}

/// In which form an ML-DSA private key stands in PKCS#8 (RFC 9881 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyForm {
    /// The seed alone, 32 octets: recommended. A key that was read in its expanded form has no seed.
    Seed,
    /// What signatures are computed with, for programs that cannot expand a seed.
    Expanded,
    /// Both.
    Both,
}

crate::algorithm::named!(KeyForm, "key form", {
    Seed => "seed",
    Expanded => "expanded",
    Both => "both",
});

/// An RSA private key that opens what was encrypted to it.
pub trait Decrypter: Send + Sync {
    /// The kind of the key.
    fn key(&self) -> KeyAlgorithm;

    /// DER SubjectPublicKeyInfo.
    fn spki(&self) -> &[u8];

    /// Opens an encrypted content-encryption key of `key_len` octets.
    ///
    /// It never fails on account of the ciphertext: with bad padding, or a key of another length, it gives random octets, in the
    /// same time (implicit rejection). What follows then fails as it would for a good padding around a wrong key.
    /// An `Err` says that the key itself could not be used.
    fn unwrap_key(&self, transport: KeyTransport, encrypted: &[u8], key_len: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError>;
}

/// Encrypts content-encryption keys to a public key.
pub trait KeyEncrypter: Send + Sync {
    /// Encrypts `key` to the RSA key in `spki`.
    fn wrap_key(&self, transport: KeyTransport, spki: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Whether `spki` is a key that [`wrap_key`](Self::wrap_key) can encrypt to.
    fn can_wrap(&self, spki: &[u8]) -> bool;

    /// Whether a content-encryption key of `key_len` octets can be encrypted to it in this way: a modulus has only so much room beside
    /// the padding (RFC 8017 sections 7.1.1 and 7.2.1).
    fn has_room(&self, transport: KeyTransport, spki: &[u8], key_len: usize) -> bool;
}

/// Encrypts and decrypts content, and derives keys from passwords (RFC 8018) for PasswordRecipientInfo.
pub trait ContentEncryption: Send + Sync {
    /// Encrypts with PKCS#7 padding (CBC) or a 16-octet tag at the end (GCM, empty AAD). `iv` has `cipher.iv_len()` octets.
    fn encrypt(&self, cipher: ContentCipher, key: &[u8], iv: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Decrypts what [`encrypt`](Self::encrypt) gave; one error for whatever is wrong.
    fn decrypt(&self, cipher: ContentCipher, key: &[u8], iv: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError>;

    /// Decrypts what was encrypted with GCM, with its tag at the end and this AAD beside it.
    fn open_beside(
        &self,
        cipher: ContentCipher,
        key: &[u8],
        nonce: &[u8],
        beside: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError>;

    /// Encrypts whole blocks in CBC mode without padding: the key wrap of RFC 3211 section 2.3.1.
    fn encrypt_blocks(&self, cipher: ContentCipher, key: &[u8], iv: &[u8], blocks: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Decrypts whole blocks in CBC mode without padding.
    fn decrypt_blocks(
        &self,
        cipher: ContentCipher,
        key: &[u8],
        iv: &[u8],
        blocks: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError>;

    /// PBKDF2 (RFC 8018 section 5.2) with HMAC of the digest, which is one of SHA-1 to SHA-512.
    fn pbkdf2(
        &self,
        digest: Digest,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        key_len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError>;
}

/// Randomness fit for keys.
pub trait SecureRandom: Send + Sync {
    /// Fills `out`; there is no way to go on without randomness, so it ends the process if the system has none.
    fn fill(&self, out: &mut [u8]);
}

impl CryptoProvider {
    /// `N` random octets.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.random.fill(&mut out);
        out
    }
}

/// What went wrong in a cryptographic operation. It tells nothing about *why* a ciphertext or signature was not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The signature does not hold.
    #[error("the signature does not verify")]
    BadSignature,
    /// The ciphertext does not open.
    #[error("the content does not decrypt")]
    BadCiphertext,
    /// The key cannot be read, or is of a kind that does not fit.
    #[error("the key is malformed, or not of the kind that the operation needs")]
    BadKey,
    /// The backend cannot do this.
    #[error("the operation is not supported by this cryptography backend")]
    Unsupported,
    /// The backend failed for a reason of its own.
    #[error("the cryptography backend failed")]
    Backend,
}
