//! ML-DSA by AWS-LC, raw keys and with context strings.

use zeroize::Zeroizing;

use super::AwsLc;
use crate::algorithm::KeyAlgorithm;
use crate::crypto::ml_dsa::{MlDsaBackend, MlDsaKey};
use crate::crypto::{CryptoError, ffi};

impl MlDsaBackend for AwsLc {
    fn name(&self) -> &'static str {
        "aws-lc"
    }

    fn expand_seed(&self, set: KeyAlgorithm, seed: &[u8; 32]) -> Result<Box<dyn MlDsaKey>, CryptoError> {
        Ok(Box::new(Key::new(ffi::MlDsaKey::from_private(set, seed)?)?))
    }

    fn read_expanded(&self, set: KeyAlgorithm, expanded: &[u8]) -> Result<Box<dyn MlDsaKey>, CryptoError> {
        if expanded.len() == 32 {
            // AWS-LC would take it for a seed.
            return Err(CryptoError::BadKey);
        }
        Ok(Box::new(Key::new(ffi::MlDsaKey::from_private(set, expanded)?)?))
    }

    fn verify(
        &self,
        set: KeyAlgorithm,
        public_key: &[u8],
        context: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        ffi::MlDsaKey::from_public(set, public_key)?.verify(context, message, signature)
    }
}

struct Key {
    key: ffi::MlDsaKey,
    public: Vec<u8>,
}

impl Key {
    fn new(key: ffi::MlDsaKey) -> Result<Self, CryptoError> {
        let public = key.public()?;
        Ok(Self { key, public })
    }
}

impl MlDsaKey for Key {
    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn expanded(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        self.key.expanded()
    }

    fn sign(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.key.sign(context, message)
    }
}
