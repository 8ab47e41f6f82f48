//! ML-DSA (FIPS 204, RFC 9881) over any backend: keys in PKCS#8, signatures in the pure mode.
//!
//! A backend knows raw keys and context strings. In certificates and CMS the context is empty; composites have one.

use std::sync::Arc;

use der::Decode;
use pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

use super::raw_key::{self, RawKey};
use super::{CryptoError, KeyForm, SecureRandom, Signer};
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};

pub mod private_key;

use private_key::MlDsaPrivateKey;

/// Octets of a seed, for every parameter set.
pub const SEED_LEN: usize = 32;

/// ML-DSA as a backend has it. `set` is one of the three ML-DSA kinds of key.
pub trait MlDsaBackend: Send + Sync {
    /// The name that reports show.
    fn name(&self) -> &'static str;

    /// Expands a seed.
    fn expand_seed(&self, set: KeyAlgorithm, seed: &[u8; SEED_LEN]) -> Result<Box<dyn MlDsaKey>, CryptoError>;

    /// Reads an expanded private key, and refuses one whose parts do not belong together: `tr` and `t0` have to be those that follow
    /// from the rest. [`CryptoError::Unsupported`] from a backend that cannot check that.
    fn read_expanded(&self, set: KeyAlgorithm, expanded: &[u8]) -> Result<Box<dyn MlDsaKey>, CryptoError>;

    /// Checks a signature by a raw public key.
    fn verify(
        &self,
        set: KeyAlgorithm,
        public_key: &[u8],
        context: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError>;
}

/// One private key of a backend.
pub trait MlDsaKey: Send + Sync {
    /// The raw public key.
    fn public_key(&self) -> &[u8];

    /// The expanded private key (FIPS 204 algorithm 24).
    fn expanded(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError>;

    /// Signs in the pure mode, hedged.
    fn sign(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError>;
}

/// Whether this is one of the three kinds of ML-DSA key.
pub const fn is(key: KeyAlgorithm) -> bool {
    matches!(key, KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87)
}

/// In which form an ML-DSA key stands in this PKCS#8; `None` for other keys.
pub fn form(pkcs8: &[u8]) -> Option<KeyForm> {
    let info = PrivateKeyInfoRef::from_der(pkcs8).ok()?;
    let set = raw_key::kind(&info.algorithm.oid).filter(|key| is(*key))?;
    Some(match MlDsaPrivateKey::from_der(set, info.private_key.as_bytes()).ok()? {
        MlDsaPrivateKey::Seed(_) => KeyForm::Seed,
        MlDsaPrivateKey::Expanded(_) => KeyForm::Expanded,
        MlDsaPrivateKey::Both { .. } => KeyForm::Both,
    })
}

/// Makes a fresh key.
pub(super) fn generate(
    backend: &dyn MlDsaBackend,
    random: &dyn SecureRandom,
    set: KeyAlgorithm,
) -> Result<MlDsaSigner, CryptoError> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    random.fill(seed.as_mut());
    MlDsaSigner::from_seed(backend, set, seed)
}

/// Reads a key from PKCS#8.
pub(super) fn signer(backend: &dyn MlDsaBackend, set: KeyAlgorithm, pkcs8: &[u8]) -> Result<Arc<dyn Signer>, CryptoError> {
    let key = RawKey::from_pkcs8(pkcs8)?;
    let signer = match MlDsaPrivateKey::from_der(set, key.private)? {
        MlDsaPrivateKey::Seed(seed) => MlDsaSigner::from_seed(backend, set, seed)?,
        MlDsaPrivateKey::Expanded(expanded) => {
            let key = backend.read_expanded(set, &expanded)?;
            MlDsaSigner::new(set, key, None)?
        }
        MlDsaPrivateKey::Both { seed, expanded } => {
            // RFC 9881 section 6: a key whose halves disagree must not be used.
            let signer = MlDsaSigner::from_seed(backend, set, seed)?;
            if *signer.key.expanded()? != *expanded {
                return Err(CryptoError::BadKey);
            }
            signer
        }
    };
    key.check_public(signer.key.public_key())?;
    Ok(Arc::new(signer))
}

/// An ML-DSA key.
pub(super) struct MlDsaSigner {
    set: KeyAlgorithm,
    key: Box<dyn MlDsaKey>,
    /// Unknown of a key that came in its expanded form.
    seed: Option<Zeroizing<[u8; SEED_LEN]>>,
    spki: Vec<u8>,
}

impl MlDsaSigner {
    pub(super) fn from_seed(
        backend: &dyn MlDsaBackend,
        set: KeyAlgorithm,
        seed: Zeroizing<[u8; SEED_LEN]>,
    ) -> Result<Self, CryptoError> {
        Self::new(set, backend.expand_seed(set, &seed)?, Some(seed))
    }

    fn new(set: KeyAlgorithm, key: Box<dyn MlDsaKey>, seed: Option<Zeroizing<[u8; SEED_LEN]>>) -> Result<Self, CryptoError> {
        let spki = raw_key::spki(set, key.public_key())?;
        Ok(Self { set, key, seed, spki })
    }

    /// The key in the backend.
    pub(super) fn key(&self) -> &dyn MlDsaKey {
        self.key.as_ref()
    }

    /// The seed, if it is known.
    pub(super) fn seed(&self) -> Option<&[u8; SEED_LEN]> {
        self.seed.as_deref()
    }
}

impl Signer for MlDsaSigner {
    fn key(&self) -> KeyAlgorithm {
        self.set
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.set.only_signature().into_iter().collect()
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if Some(algorithm) != self.set.only_signature() {
            return Err(CryptoError::Unsupported);
        }
        self.key.sign(&[], message)
    }

    fn export_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.export_form(if self.seed.is_some() { KeyForm::Seed } else { KeyForm::Expanded })
    }

    fn export_form(&self, form: KeyForm) -> Option<Zeroizing<Vec<u8>>> {
        let seed = || self.seed.clone();
        let expanded = || self.key.expanded().ok();
        let private = match form {
            KeyForm::Seed => MlDsaPrivateKey::Seed(seed()?),
            KeyForm::Expanded => MlDsaPrivateKey::Expanded(expanded()?),
            KeyForm::Both => MlDsaPrivateKey::Both { seed: seed()?, expanded: expanded()? },
        };
        raw_key::pkcs8(self.set, &private.to_der()).ok()
    }
}

#[cfg(test)]
mod tests;
