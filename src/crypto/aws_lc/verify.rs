//! Signature verification.
//!
//! The kind of the key comes from its AlgorithmIdentifier and has to fit the signature algorithm before a signature is looked
//! at: a key is never tried as whatever its octets might also be.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::public_key::PublicKey;
use super::{AwsLc, Hash};
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::{CryptoError, Verifier};

impl Verifier for AwsLc {
    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        ALGORITHMS
    }

    fn verify(&self, algorithm: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        match PublicKey::from_spki(spki)? {
            PublicKey::Rsa(key) => {
                let (true, Some(digest)) = (is_rsa(algorithm), algorithm.digest()) else { return Err(CryptoError::BadKey) };
                let hash = Hash::of(digest, message);
                if algorithm.is_pss() {
                    key.verify_pss(digest, hash.as_ref(), signature)
                } else {
                    key.verify(digest, hash.as_ref(), signature)
                }
            }
            PublicKey::Other(key) => UnparsedPublicKey::new(by_key(key, algorithm)?, spki)
                .verify(message, signature)
                .map_err(|_| CryptoError::BadSignature),
        }
    }
}

const ALGORITHMS: &[SignatureAlgorithm] = &[
    SignatureAlgorithm::RsaMd5,
    SignatureAlgorithm::RsaSha1,
    SignatureAlgorithm::RsaSha256,
    SignatureAlgorithm::RsaSha384,
    SignatureAlgorithm::RsaSha512,
    SignatureAlgorithm::RsaPssSha256,
    SignatureAlgorithm::RsaPssSha384,
    SignatureAlgorithm::RsaPssSha512,
    SignatureAlgorithm::EcdsaSha1,
    SignatureAlgorithm::EcdsaSha256,
    SignatureAlgorithm::EcdsaSha384,
    SignatureAlgorithm::EcdsaSha512,
    SignatureAlgorithm::Ed25519,
];

/// Whether the algorithm is one for rsaEncryption keys.
fn is_rsa(algorithm: SignatureAlgorithm) -> bool {
    use SignatureAlgorithm as S;
    matches!(algorithm, S::RsaMd5 | S::RsaSha1 | S::RsaSha256 | S::RsaSha384 | S::RsaSha512) || algorithm.is_pss()
}

/// How the safe API calls the algorithm with this key. Any digest goes with any curve (RFC 5758 section 3.2), but AWS-LC has no
/// SHA-1 with P-384, which nobody makes.
fn by_key(key: KeyAlgorithm, algorithm: SignatureAlgorithm) -> Result<&'static dyn VerificationAlgorithm, CryptoError> {
    use KeyAlgorithm as K;
    use SignatureAlgorithm as S;
    Ok(match (key, algorithm) {
        (K::EcdsaP256, S::EcdsaSha1) => &signature::ECDSA_P256_SHA1_ASN1,
        (K::EcdsaP256, S::EcdsaSha256) => &signature::ECDSA_P256_SHA256_ASN1,
        (K::EcdsaP256, S::EcdsaSha384) => &signature::ECDSA_P256_SHA384_ASN1,
        (K::EcdsaP256, S::EcdsaSha512) => &signature::ECDSA_P256_SHA512_ASN1,
        (K::EcdsaP384, S::EcdsaSha1) => return Err(CryptoError::Unsupported),
        (K::EcdsaP384, S::EcdsaSha256) => &signature::ECDSA_P384_SHA256_ASN1,
        (K::EcdsaP384, S::EcdsaSha384) => &signature::ECDSA_P384_SHA384_ASN1,
        (K::EcdsaP384, S::EcdsaSha512) => &signature::ECDSA_P384_SHA512_ASN1,
        (K::EcdsaP521, S::EcdsaSha1) => &signature::ECDSA_P521_SHA1_ASN1,
        (K::EcdsaP521, S::EcdsaSha256) => &signature::ECDSA_P521_SHA256_ASN1,
        (K::EcdsaP521, S::EcdsaSha384) => &signature::ECDSA_P521_SHA384_ASN1,
        (K::EcdsaP521, S::EcdsaSha512) => &signature::ECDSA_P521_SHA512_ASN1,
        (K::Ed25519, S::Ed25519) => &signature::ED25519,
        _ => return Err(CryptoError::BadKey),
    })
}
