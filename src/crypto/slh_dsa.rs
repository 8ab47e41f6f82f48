//! SLH-DSA (FIPS 205, RFC 9909) over any backend: keys in PKCS#8, signatures in the pure mode with an empty context.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::raw_key::{self, RawKey};
use super::{CryptoError, SecureRandom, Signer};
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm, SlhDsa};

/// SLH-DSA as a backend has it.
pub trait SlhDsaBackend: Send + Sync {
    /// The name that reports show.
    fn name(&self) -> &'static str;

    /// Which parameter sets it has.
    fn sets(&self) -> &'static [SlhDsa];

    /// Makes a key from its three seeds of `n` octets: SK.seed, SK.prf, PK.seed. They have the right length.
    fn make(&self, set: SlhDsa, seeds: [&[u8]; 3]) -> Result<Box<dyn SlhDsaKey>, CryptoError>;

    /// Reads a private key of `4n` octets. That PK.root belongs to the seeds is for the backend to check.
    fn read(&self, set: SlhDsa, private: &[u8]) -> Result<Box<dyn SlhDsaKey>, CryptoError>;

    /// Checks a signature by a raw public key.
    fn verify(&self, set: SlhDsa, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError>;
}

/// One private key of a backend.
pub trait SlhDsaKey: Send + Sync {
    /// The raw public key: PK.seed and PK.root.
    fn public_key(&self) -> Vec<u8>;

    /// The raw private key: SK.seed, SK.prf, PK.seed and PK.root.
    fn private_key(&self) -> Zeroizing<Vec<u8>>;

    /// Signs, with `n` octets of randomness: the hedged form of FIPS 205 section 9.2.
    fn sign(&self, message: &[u8], randomness: &[u8]) -> Result<Vec<u8>, CryptoError>;
}

/// Makes a fresh key.
pub(super) fn generate(
    backend: &dyn SlhDsaBackend,
    random: &'static dyn SecureRandom,
    set: SlhDsa,
) -> Result<Arc<dyn Signer>, CryptoError> {
    if !backend.sets().contains(&set) {
        return Err(CryptoError::Unsupported);
    }
    let mut seeds = Zeroizing::new(vec![0; 3 * set.n()]);
    random.fill(&mut seeds);
    let (secret, public) = seeds.split_at(2 * set.n());
    let (seed, prf) = secret.split_at(set.n());
    Ok(Arc::new(SlhDsaSigner::new(set, backend.make(set, [seed, prf, public])?, random)?))
}

/// Reads a key from PKCS#8: the raw `4n` octets, without an OCTET STRING around them (RFC 9909 section 6).
pub(super) fn signer(
    backend: &dyn SlhDsaBackend,
    random: &'static dyn SecureRandom,
    set: SlhDsa,
    pkcs8: &[u8],
) -> Result<Arc<dyn Signer>, CryptoError> {
    if !backend.sets().contains(&set) {
        return Err(CryptoError::Unsupported);
    }
    let key = RawKey::from_pkcs8(pkcs8)?;
    if key.private.len() != set.private_key_len() {
        return Err(CryptoError::BadKey);
    }
    let found = backend.read(set, key.private)?;
    key.check_public(&found.public_key())?;
    Ok(Arc::new(SlhDsaSigner::new(set, found, random)?))
}

/// Checks a signature by a raw public key.
pub(super) fn verify(
    backend: &dyn SlhDsaBackend,
    set: SlhDsa,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), CryptoError> {
    if public_key.len() != set.public_key_len() {
        return Err(CryptoError::BadKey);
    }
    if signature.len() != set.signature_len() {
        return Err(CryptoError::BadSignature);
    }
    backend.verify(set, public_key, message, signature)
}

struct SlhDsaSigner {
    set: SlhDsa,
    key: Box<dyn SlhDsaKey>,
    spki: Vec<u8>,
    random: &'static dyn SecureRandom,
}

impl SlhDsaSigner {
    fn new(set: SlhDsa, key: Box<dyn SlhDsaKey>, random: &'static dyn SecureRandom) -> Result<Self, CryptoError> {
        let spki = raw_key::spki(KeyAlgorithm::SlhDsa(set), &key.public_key())?;
        Ok(Self { set, key, spki, random })
    }
}

impl Signer for SlhDsaSigner {
    fn key(&self) -> KeyAlgorithm {
        KeyAlgorithm::SlhDsa(self.set)
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::SlhDsa(self.set)]
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if algorithm != SignatureAlgorithm::SlhDsa(self.set) {
            return Err(CryptoError::Unsupported);
        }
        let mut randomness = [0; 32];
        let randomness = &mut randomness[..self.set.n()];
        self.random.fill(randomness);
        self.key.sign(message, randomness)
    }

    fn export_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        raw_key::pkcs8(KeyAlgorithm::SlhDsa(self.set), &self.key.private_key()).ok()
    }
}

#[cfg(test)]
mod tests;
