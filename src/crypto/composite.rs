//! Composite ML-DSA as [`COMPOSITE_DRAFT`](crate::algorithm::COMPOSITE_DRAFT) has it, over whatever provides its halves.
//!
//! ```text
//! M'        = "CompositeAlgorithmSignatures2025" || Label || len(ctx) || ctx || PH(M)
//! signature = ML-DSA.Sign(M', context Label) || Classical.Sign(M')
//! publicKey = mldsaPK || tradPK          privateKey = mldsaSeed || tradSK
//! ```
//!
//! Nothing stands around the halves; the ML-DSA one has a fixed length. X.509 and CMS have no context of their own, so `ctx` is empty.
//! Both halves are always computed and always checked; a failure does not tell which of them it was.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::ml_dsa::{MlDsaBackend, MlDsaSigner, SEED_LEN};
use super::raw_key::{self, RawKey};
use super::{CryptoError, Digester, KeyFactory, SecureRandom, Signer, Verifier, ml_dsa};
use crate::algorithm::{Composite, KeyAlgorithm, SignatureAlgorithm};

mod classical_key;

/// What a composite is made of.
#[derive(Clone, Copy)]
pub struct Parts {
    /// The ML-DSA half.
    pub ml_dsa: &'static dyn MlDsaBackend,
    /// The classical half: its signatures,
    pub verifier: &'static dyn Verifier,
    /// and its keys.
    pub keys: &'static dyn KeyFactory,
    /// The pre-hash.
    pub digester: &'static dyn Digester,
    /// Seeds.
    pub random: &'static dyn SecureRandom,
}

/// The first part of M'.
const PREFIX: &[u8] = b"CompositeAlgorithmSignatures2025";

/// M', what both halves sign.
fn representative(digester: &dyn Digester, composite: Composite, context: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let len = u8::try_from(context.len()).map_err(|_| CryptoError::Unsupported)?;
    let hash = digester.digest(composite.pre_hash(), message);
    Ok([PREFIX, composite.label().as_bytes(), &[len], context, &hash].concat())
}

/// Makes a key of two fresh halves: a half must not be used anywhere else.
pub(super) fn generate(parts: Parts, composite: Composite) -> Result<Arc<dyn Signer>, CryptoError> {
    let ml_dsa = ml_dsa::generate(parts.ml_dsa, parts.random, composite.ml_dsa_key())?;
    let classical = parts.keys.generate(composite.classical_key())?;
    Ok(Arc::new(CompositeSigner::new(composite, ml_dsa, classical, parts.digester)?))
}

/// Reads a key from PKCS#8: the ML-DSA seed and the classical private key, nothing between them.
pub(super) fn signer(parts: Parts, composite: Composite, pkcs8: &[u8]) -> Result<Arc<dyn Signer>, CryptoError> {
    let key = RawKey::from_pkcs8(pkcs8)?;
    let (seed, classical) = key.private.split_first_chunk::<SEED_LEN>().ok_or(CryptoError::BadKey)?;
    let kind = composite.classical_key();
    let classical = parts.keys.signer(&classical_key::private_to_pkcs8(kind, classical)?)?;
    if classical.key() != kind {
        return Err(CryptoError::BadKey);
    }
    let ml_dsa = MlDsaSigner::from_seed(parts.ml_dsa, composite.ml_dsa_key(), Zeroizing::new(*seed))?;
    let signer = CompositeSigner::new(composite, ml_dsa, classical, parts.digester)?;
    let (_, public) = raw_key::from_spki(&signer.spki)?.ok_or(CryptoError::Backend)?;
    key.check_public(public)?;
    Ok(Arc::new(signer))
}

/// Checks both halves of a signature by a raw public key.
pub(super) fn verify(
    parts: Parts,
    composite: Composite,
    public_key: &[u8],
    context: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), CryptoError> {
    let set = composite.ml_dsa_key();
    let ml_dsa_len = set.public_key_len().expect("all ML-DSA keys of a set are of one length");
    let (ml_dsa_key, classical_key) = public_key.split_at_checked(ml_dsa_len).ok_or(CryptoError::BadKey)?;
    let classical_spki = classical_key::public_to_spki(composite.classical_key(), classical_key)?;
    let (ml_dsa_signature, classical_signature) =
        signature.split_at_checked(set.max_signature_len()).ok_or(CryptoError::BadSignature)?;
    let message = representative(parts.digester, composite, context, message)?;

    let one = parts.ml_dsa.verify(set, ml_dsa_key, composite.label().as_bytes(), &message, ml_dsa_signature);
    let two = parts.verifier.verify(composite.classical(), &classical_spki, &message, classical_signature);
    match (one, two) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(CryptoError::BadSignature) | Ok(()), Err(CryptoError::BadSignature) | Ok(())) => Err(CryptoError::BadSignature),
        _ => Err(CryptoError::BadKey),
    }
}

/// A composite key.
struct CompositeSigner {
    composite: Composite,
    ml_dsa: MlDsaSigner,
    classical: Arc<dyn Signer>,
    digester: &'static dyn Digester,
    spki: Vec<u8>,
}

impl CompositeSigner {
    fn new(
        composite: Composite,
        ml_dsa: MlDsaSigner,
        classical: Arc<dyn Signer>,
        digester: &'static dyn Digester,
    ) -> Result<Self, CryptoError> {
        let classical_public = classical_key::public_from_spki(classical.spki())?;
        let public = [ml_dsa.key().public_key(), &classical_public].concat();
        let spki = raw_key::spki(KeyAlgorithm::Composite(composite), &public)?;
        Ok(Self { composite, ml_dsa, classical, digester, spki })
    }

    fn sign_in_context(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let message = representative(self.digester, self.composite, context, message)?;
        let mut signature = self.ml_dsa.key().sign(self.composite.label().as_bytes(), &message)?;
        signature.extend(self.classical.sign(self.composite.classical(), &message)?);
        Ok(signature)
    }
}

impl Signer for CompositeSigner {
    fn key(&self) -> KeyAlgorithm {
        KeyAlgorithm::Composite(self.composite)
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::Composite(self.composite)]
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if algorithm != SignatureAlgorithm::Composite(self.composite) {
            return Err(CryptoError::Unsupported);
        }
        self.sign_in_context(&[], message)
    }

    fn export_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let classical =
            classical_key::private_from_pkcs8(self.composite.classical_key(), &self.classical.export_pkcs8()?).ok()?;
        let mut private = Zeroizing::new(Vec::with_capacity(SEED_LEN + classical.len()));
        private.extend_from_slice(self.ml_dsa.seed()?);
        private.extend_from_slice(&classical);
        raw_key::pkcs8(self.key(), &private).ok()
    }
}

#[cfg(test)]
mod tests;
