//! Public keys as they come from devices: SubjectPublicKeyInfo, read strictly enough that no key can pass for another kind.

use der::asn1::ObjectIdentifier;
use der::{Decode, Tag, Tagged};
use spki::SubjectPublicKeyInfoRef;

use crate::algorithm::KeyAlgorithm;
use crate::crypto::{CryptoError, ffi};

/// The RSA moduli that are worked with at all; what an endpoint takes is policy and narrower.
pub(super) const RSA_BITS: std::ops::RangeInclusive<u32> = 1024..=8192;

/// A public key, its kind established from the AlgorithmIdentifier alone.
pub(super) enum PublicKey {
    /// rsaEncryption (RFC 3279 section 2.3.1).
    Rsa(ffi::RsaPublicKey),
    /// All others; their point or string is read by the safe API.
    Other(KeyAlgorithm),
}

impl PublicKey {
    /// Reads DER SubjectPublicKeyInfo.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, CryptoError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| CryptoError::BadKey)?;
        let bits = spki.subject_public_key.as_bytes().ok_or(CryptoError::BadKey)?;
        let parameters = spki.algorithm.parameters;
        let absent = |key| if parameters.is_none() { Ok(PublicKey::Other(key)) } else { Err(CryptoError::BadKey) };
        match spki.algorithm.oid {
            RSA_ENCRYPTION => {
                // RFC 3279 wants NULL; some device libraries leave it out, which changes nothing.
                if parameters.is_some_and(|p| p.tag() != Tag::Null || !p.value().is_empty()) {
                    return Err(CryptoError::BadKey);
                }
                let key = ffi::RsaPublicKey::from_pkcs1(bits)?;
                if RSA_BITS.contains(&key.bits()) { Ok(PublicKey::Rsa(key)) } else { Err(CryptoError::BadKey) }
            }
            EC_PUBLIC_KEY => {
                let curve = parameters.ok_or(CryptoError::BadKey)?;
                let curve: ObjectIdentifier = curve.decode_as().map_err(|_| CryptoError::BadKey)?;
                Ok(PublicKey::Other(match curve {
                    SECP256R1 => KeyAlgorithm::EcdsaP256,
                    SECP384R1 => KeyAlgorithm::EcdsaP384,
                    SECP521R1 => KeyAlgorithm::EcdsaP521,
                    _ => return Err(CryptoError::BadKey),
                }))
            }
            ED25519 => absent(KeyAlgorithm::Ed25519),
            _ => Err(CryptoError::BadKey),
        }
    }
}

pub(super) const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
