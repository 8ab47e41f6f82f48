//! SLH-DSA by the `slh-dsa` crate. It was never audited; what it computes is public but for the seeds, which only go through hashes.

use slh_dsa::{
    ParameterSet, Sha2_128f, Sha2_128s, Sha2_192f, Sha2_192s, Sha2_256f, Sha2_256s, Shake128f, Shake128s, Shake192f, Shake192s,
    Shake256f, Shake256s, Signature, SigningKey, VerifyingKey,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::RustCrypto;
use crate::algorithm::SlhDsa;
use crate::crypto::CryptoError;
use crate::crypto::slh_dsa::{SlhDsaBackend, SlhDsaKey};

/// What one parameter set can do.
struct Set {
    make: fn([&[u8]; 3]) -> Box<dyn SlhDsaKey>,
    read: Read,
    verify: Verify,
}

type Read = fn(&[u8]) -> Result<Box<dyn SlhDsaKey>, CryptoError>;
type Verify = fn(&[u8], &[u8], &[u8]) -> Result<(), CryptoError>;

impl Set {
    const fn of<P: ParameterSet + Send + Sync + 'static>() -> Self {
        Self { make: make::<P>, read: read::<P>, verify: verify::<P> }
    }
}

fn set(set: SlhDsa) -> Set {
    match set {
        SlhDsa::Sha2_128s => Set::of::<Sha2_128s>(),
        SlhDsa::Sha2_128f => Set::of::<Sha2_128f>(),
        SlhDsa::Sha2_192s => Set::of::<Sha2_192s>(),
        SlhDsa::Sha2_192f => Set::of::<Sha2_192f>(),
        SlhDsa::Sha2_256s => Set::of::<Sha2_256s>(),
        SlhDsa::Sha2_256f => Set::of::<Sha2_256f>(),
        SlhDsa::Shake128s => Set::of::<Shake128s>(),
        SlhDsa::Shake128f => Set::of::<Shake128f>(),
        SlhDsa::Shake192s => Set::of::<Shake192s>(),
        SlhDsa::Shake192f => Set::of::<Shake192f>(),
        SlhDsa::Shake256s => Set::of::<Shake256s>(),
        SlhDsa::Shake256f => Set::of::<Shake256f>(),
    }
}

impl SlhDsaBackend for RustCrypto {
    fn name(&self) -> &'static str {
        "rustcrypto"
    }

    fn sets(&self) -> &'static [SlhDsa] {
        SlhDsa::ALL
    }

    fn make(&self, which: SlhDsa, seeds: [&[u8]; 3]) -> Result<Box<dyn SlhDsaKey>, CryptoError> {
        if seeds.iter().any(|seed| seed.len() != which.n()) {
            return Err(CryptoError::BadKey);
        }
        Ok((set(which).make)(seeds))
    }

    fn read(&self, which: SlhDsa, private: &[u8]) -> Result<Box<dyn SlhDsaKey>, CryptoError> {
        (set(which).read)(private)
    }

    fn verify(&self, which: SlhDsa, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        (set(which).verify)(public_key, message, signature)
    }
}

struct Key<P: ParameterSet>(SigningKey<P>);

fn make<P: ParameterSet + Send + Sync + 'static>([seed, prf, public]: [&[u8]; 3]) -> Box<dyn SlhDsaKey> {
    Box::new(Key(SigningKey::<P>::slh_keygen_internal(seed, prf, public)))
}

/// Computes the key again from its seeds and compares: the crate itself takes any PK.root.
fn read<P: ParameterSet + Send + Sync + 'static>(private: &[u8]) -> Result<Box<dyn SlhDsaKey>, CryptoError> {
    let n = private.len() / 4;
    let stated = SigningKey::<P>::try_from(private).map_err(|_| CryptoError::BadKey)?;
    let computed = SigningKey::<P>::slh_keygen_internal(&private[..n], &private[n..2 * n], &private[2 * n..3 * n]);
    let (stated_octets, computed_octets) = (Zeroizing::new(stated.to_vec()), Zeroizing::new(computed.to_vec()));
    if stated_octets.ct_eq(&computed_octets).into() { Ok(Box::new(Key(stated))) } else { Err(CryptoError::BadKey) }
}

fn verify<P: ParameterSet>(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let key = VerifyingKey::<P>::try_from(public_key).map_err(|_| CryptoError::BadKey)?;
    let signature = Signature::<P>::try_from(signature).map_err(|_| CryptoError::BadSignature)?;
    key.try_verify_with_context(message, &[], &signature).map_err(|_| CryptoError::BadSignature)
}

impl<P: ParameterSet + Send + Sync> SlhDsaKey for Key<P> {
    fn public_key(&self) -> Vec<u8> {
        let verifying: &VerifyingKey<P> = self.0.as_ref();
        verifying.to_vec()
    }

    fn private_key(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_vec())
    }

    fn sign(&self, message: &[u8], randomness: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature = self.0.try_sign_with_context(message, &[], Some(randomness)).map_err(|_| CryptoError::Backend)?;
        Ok(signature.to_vec())
    }
}
