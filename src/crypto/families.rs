//! Which part serves which family of algorithms: signatures and keys go from here to the backend that has them.

use std::sync::Arc;

use der::Decode;
use pkcs8::PrivateKeyInfoRef;

use super::composite::{self, Parts};
use super::ml_dsa::{self, MlDsaBackend};
use super::slh_dsa::{self, SlhDsaBackend};
use super::{CryptoError, Decrypter, Digester, KeyFactory, SecureRandom, Signer, Verifier, raw_key};
use crate::algorithm::{Family, KeyAlgorithm, SignatureAlgorithm};

/// One backend for each family. Composites are made of the others.
pub struct Families {
    /// The name of the backend for RSA, ECDSA and Ed25519.
    pub classical: &'static str,
    /// Verifies RSA, ECDSA and Ed25519.
    pub classical_verifier: &'static dyn Verifier,
    /// Makes and reads keys of RSA, ECDSA and Ed25519, and opens what was encrypted to RSA keys.
    pub classical_keys: &'static dyn KeyFactory,
    /// ML-DSA.
    pub ml_dsa: &'static dyn MlDsaBackend,
    /// SLH-DSA.
    pub slh_dsa: &'static dyn SlhDsaBackend,
    /// The pre-hash of composites.
    pub digester: &'static dyn Digester,
    /// Seeds, and the randomness of hedged signatures.
    pub random: &'static dyn SecureRandom,
}

impl Families {
    fn parts(&self) -> Parts {
        Parts {
            ml_dsa: self.ml_dsa,
            verifier: self.classical_verifier,
            keys: self.classical_keys,
            digester: self.digester,
            random: self.random,
        }
    }

    /// The name of the backend that serves a family.
    pub fn backend(&self, family: Family) -> &'static str {
        match family {
            Family::Rsa | Family::Ecdsa | Family::Ed25519 | Family::MlKem => self.classical,
            Family::MlDsa | Family::Composite => self.ml_dsa.name(),
            Family::SlhDsa => self.slh_dsa.name(),
        }
    }
}

impl Verifier for Families {
    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        SignatureAlgorithm::ALL
    }

    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        match algorithm.family() {
            Family::Rsa | Family::Ecdsa | Family::Ed25519 => {
                return self.classical_verifier.verify(algorithm, spki, message, signature);
            }
            Family::MlDsa | Family::SlhDsa | Family::Composite => {}
            Family::MlKem => return Err(CryptoError::BadKey),
        }
        // The kind of the key has to be the algorithm's before anything is made of its octets.
        let Some((key, raw)) = raw_key::from_spki(spki)? else { return Err(CryptoError::BadKey) };
        if algorithm.only_key() != Some(key) {
            return Err(CryptoError::BadKey);
        }
        match key {
            KeyAlgorithm::SlhDsa(set) => slh_dsa::verify(self.slh_dsa, set, raw, message, signature),
            KeyAlgorithm::Composite(composite) => composite::verify(self.parts(), composite, raw, &[], message, signature),
            set => self.ml_dsa.verify(set, raw, &[], message, signature),
        }
    }
}

impl KeyFactory for Families {
    fn generate(&self, algorithm: KeyAlgorithm) -> Result<Arc<dyn Signer>, CryptoError> {
        match algorithm {
            KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87 => {
                Ok(Arc::new(ml_dsa::generate(self.ml_dsa, self.random, algorithm)?))
            }
            KeyAlgorithm::SlhDsa(set) => slh_dsa::generate(self.slh_dsa, self.random, set),
            KeyAlgorithm::Composite(composite) => composite::generate(self.parts(), composite),
            _ => self.classical_keys.generate(algorithm),
        }
    }

    fn signer(&self, pkcs8: &[u8]) -> Result<Arc<dyn Signer>, CryptoError> {
        let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| CryptoError::BadKey)?;
        match raw_key::kind(&info.algorithm.oid) {
            Some(set @ (KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87)) => {
                ml_dsa::signer(self.ml_dsa, set, pkcs8)
            }
            Some(KeyAlgorithm::SlhDsa(set)) => slh_dsa::signer(self.slh_dsa, self.random, set, pkcs8),
            Some(KeyAlgorithm::Composite(composite)) => composite::signer(self.parts(), composite, pkcs8),
            _ => self.classical_keys.signer(pkcs8),
        }
    }

    fn decrypter(&self, pkcs8: &[u8]) -> Result<Arc<dyn Decrypter>, CryptoError> {
        self.classical_keys.decrypter(pkcs8)
    }
}
