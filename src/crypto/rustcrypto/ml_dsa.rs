//! ML-DSA by the `ml-dsa` crate, from seeds only: the crate takes expanded keys without looking whether their parts belong together.

use ml_dsa::{
    B32, EncodedSignature, EncodedVerifyingKey, Keypair, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Signature, SigningKey,
    VerifyingKey,
};
use zeroize::Zeroizing;

use super::RustCrypto;
use crate::algorithm::KeyAlgorithm;
use crate::crypto::CryptoError;
use crate::crypto::ml_dsa::{MlDsaBackend, MlDsaKey, SEED_LEN};

impl MlDsaBackend for RustCrypto {
    fn name(&self) -> &'static str {
        "rustcrypto"
    }

    fn expand_seed(&self, set: KeyAlgorithm, seed: &[u8; SEED_LEN]) -> Result<Box<dyn MlDsaKey>, CryptoError> {
        Ok(match set {
            KeyAlgorithm::MlDsa44 => Key::<MlDsa44>::boxed(seed),
            KeyAlgorithm::MlDsa65 => Key::<MlDsa65>::boxed(seed),
            KeyAlgorithm::MlDsa87 => Key::<MlDsa87>::boxed(seed),
            _ => return Err(CryptoError::Unsupported),
        })
    }

    fn read_expanded(&self, _set: KeyAlgorithm, _expanded: &[u8]) -> Result<Box<dyn MlDsaKey>, CryptoError> {
        Err(CryptoError::Unsupported)
    }

    fn verify(
        &self,
        set: KeyAlgorithm,
        public_key: &[u8],
        context: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        match set {
            KeyAlgorithm::MlDsa44 => verify::<MlDsa44>(public_key, context, message, signature),
            KeyAlgorithm::MlDsa65 => verify::<MlDsa65>(public_key, context, message, signature),
            KeyAlgorithm::MlDsa87 => verify::<MlDsa87>(public_key, context, message, signature),
            _ => Err(CryptoError::Unsupported),
        }
    }
}

struct Key<P: MlDsaParams> {
    key: SigningKey<P>,
    public: Vec<u8>,
}

impl<P: MlDsaParams + Send + Sync + 'static> Key<P> {
    fn boxed(seed: &[u8; SEED_LEN]) -> Box<dyn MlDsaKey> {
        let key = SigningKey::<P>::from_seed(&B32::from(*seed));
        let public = key.verifying_key().encode().to_vec();
        Box::new(Self { key, public })
    }
}

impl<P: MlDsaParams + Send + Sync> MlDsaKey for Key<P> {
    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn expanded(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        // Deprecated in favour of seeds, but written by others and so asked for.
        #[allow(deprecated)]
        Ok(Zeroizing::new(self.key.expanded_key().to_expanded().to_vec()))
    }

    fn sign(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let len = u8::try_from(context.len()).map_err(|_| CryptoError::Unsupported)?;
        let randomness = B32::from(crate::crypto::provider().random::<32>());
        // M' of FIPS 204 algorithm 2. The crate gives up after so many rejections that it never happens.
        let signature = self.key.expanded_key().sign_internal(&[&[0], &[len], context, message], &randomness);
        Ok(signature.encode().to_vec())
    }
}

fn verify<P: MlDsaParams>(public_key: &[u8], context: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let key = EncodedVerifyingKey::<P>::try_from(public_key).map_err(|_| CryptoError::BadKey)?;
    let signature = EncodedSignature::<P>::try_from(signature).map_err(|_| CryptoError::BadSignature)?;
    let signature = Signature::<P>::decode(&signature).ok_or(CryptoError::BadSignature)?;
    match VerifyingKey::<P>::decode(&key).verify_with_context(message, context, &signature) {
        true => Ok(()),
        false => Err(CryptoError::BadSignature),
    }
}
