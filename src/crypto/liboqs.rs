//! ML-DSA by liboqs: what signs shares no code with the other backends.
//!
//! liboqs knows private keys in their expanded form only. It has no seeds, computes no public key from a private one, and looks at
//! nothing when it takes one; so keys are expanded and checked by AWS-LC, and liboqs goes on with the octets.
//!
//! Nor does it verify here. What 0.13 has for processors with AVX2 leaves out the bound on `z` (FIPS 204 algorithm 8 line 13) and so
//! takes signatures that are none, and miscounts a hint and so refuses one that holds; Wycheproof's vectors show both
//! (github.com/pq-crystals/dilithium/issues/113). AWS-LC verifies.
//!
//! The crate `oqs` is a safe interface. Lengths are checked here too, because not all of its calls do.

use std::sync::OnceLock;

use oqs::sig::{Algorithm, Sig};
use zeroize::Zeroizing;

use super::aws_lc;
use super::ml_dsa::{MlDsaBackend, MlDsaKey, SEED_LEN};
use crate::algorithm::KeyAlgorithm;
use crate::crypto::CryptoError;

/// All of it: the tables of liboqs are made once for the process.
pub struct Liboqs;

impl MlDsaBackend for Liboqs {
    fn name(&self) -> &'static str {
        "liboqs"
    }

    fn expand_seed(&self, set: KeyAlgorithm, seed: &[u8; SEED_LEN]) -> Result<Box<dyn MlDsaKey>, CryptoError> {
        Key::of(set, aws_lc::ML_DSA.expand_seed(set, seed)?.as_ref())
    }

    fn read_expanded(&self, set: KeyAlgorithm, expanded: &[u8]) -> Result<Box<dyn MlDsaKey>, CryptoError> {
        Key::of(set, aws_lc::ML_DSA.read_expanded(set, expanded)?.as_ref())
    }

    fn verify(
        &self,
        set: KeyAlgorithm,
        public_key: &[u8],
        context: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        aws_lc::ML_DSA.verify(set, public_key, context, message, signature)
    }
}

/// A private key: its octets, which liboqs is given at each signature.
struct Key {
    sig: &'static Sig,
    public: Vec<u8>,
    expanded: Zeroizing<Vec<u8>>,
}

impl Key {
    fn of(set: KeyAlgorithm, checked: &dyn MlDsaKey) -> Result<Box<dyn MlDsaKey>, CryptoError> {
        let sig = sig(set)?;
        let (public, expanded) = (checked.public_key().to_vec(), checked.expanded()?);
        if expanded.len() != sig.length_secret_key() || public.len() != sig.length_public_key() {
            return Err(CryptoError::Backend);
        }
        Ok(Box::new(Self { sig, public, expanded }))
    }
}

impl MlDsaKey for Key {
    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn expanded(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        Ok(self.expanded.clone())
    }

    fn sign(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if context.len() > MAX_CONTEXT {
            return Err(CryptoError::Unsupported);
        }
        let key = self.sig.secret_key_from_bytes(&self.expanded).ok_or(CryptoError::Backend)?;
        let signature = self.sig.sign_with_ctx_str(message, context, key).map_err(|_| CryptoError::Backend)?;
        Ok(signature.into_vec())
    }
}

/// Octets of the longest context (FIPS 204 section 5.2).
const MAX_CONTEXT: usize = 255;

/// What liboqs calls the parameter set.
fn sig(set: KeyAlgorithm) -> Result<&'static Sig, CryptoError> {
    static SETS: [OnceLock<Option<Sig>>; 3] = [const { OnceLock::new() }; 3];
    let (cell, algorithm) = match set {
        KeyAlgorithm::MlDsa44 => (&SETS[0], Algorithm::MlDsa44),
        KeyAlgorithm::MlDsa65 => (&SETS[1], Algorithm::MlDsa65),
        KeyAlgorithm::MlDsa87 => (&SETS[2], Algorithm::MlDsa87),
        _ => return Err(CryptoError::Unsupported),
    };
    let made = cell.get_or_init(|| {
        oqs::init();
        Sig::new(algorithm).ok()
    });
    made.as_ref().ok_or(CryptoError::Backend)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What liboqs can be asked without its faults: whether it signs and verifies the same thing as AWS-LC in ordinary cases.
    #[test]
    fn ordinary_signatures_of_others_verify_with_liboqs_itself() {
        for set in [KeyAlgorithm::MlDsa44, KeyAlgorithm::MlDsa65, KeyAlgorithm::MlDsa87] {
            let key = aws_lc::ML_DSA.expand_seed(set, &[3; SEED_LEN]).unwrap();
            let signature = key.sign(b"context", b"message").unwrap();
            let sig = sig(set).unwrap();
            let verify = |context: &[u8], message: &[u8]| {
                let (public, signature) =
                    (sig.public_key_from_bytes(key.public_key()).unwrap(), sig.signature_from_bytes(&signature).unwrap());
                sig.verify_with_ctx_str(message, signature, context, public)
            };
            assert!(verify(b"context", b"message").is_ok(), "{set}");
            assert!(verify(b"context", b"massage").is_err(), "{set}");
            assert!(verify(b"", b"message").is_err(), "{set}");
        }
    }
}
