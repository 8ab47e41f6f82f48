//! PKCS#8 and SubjectPublicKeyInfo of the algorithms whose keys are octets and whose identifier has no parameters: ML-DSA, SLH-DSA,
//! composites.

use der::asn1::{BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfoRef};
use spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::CryptoError;
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};

/// The kind of a key by the identifier in its PKCS#8 or SubjectPublicKeyInfo, if it is one with a single signature algorithm.
pub(super) fn kind(oid: &ObjectIdentifier) -> Option<KeyAlgorithm> {
    SignatureAlgorithm::from_oid(oid).and_then(SignatureAlgorithm::only_key)
}

fn identifier(key: KeyAlgorithm) -> Result<AlgorithmIdentifierRef<'static>, CryptoError> {
    let signature = key.only_signature().ok_or(CryptoError::Unsupported)?;
    Ok(AlgorithmIdentifierRef { oid: signature.oid(), parameters: None })
}

/// A private key as PKCS#8 has it.
pub(super) struct RawKey<'a> {
    /// The content of privateKey.
    pub(super) private: &'a [u8],
    public: Option<&'a [u8]>,
}

impl<'a> RawKey<'a> {
    /// Reads PKCS#8 (RFC 5958). Parameters, even NULL, are refused; the caller knows the identifier.
    pub(super) fn from_pkcs8(pkcs8: &'a [u8]) -> Result<Self, CryptoError> {
        let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| CryptoError::BadKey)?;
        if info.algorithm.parameters.is_some() {
            return Err(CryptoError::BadKey);
        }
        let public = match info.public_key {
            Some(bits) => Some(bits.as_bytes().ok_or(CryptoError::BadKey)?),
            None => None,
        };
        Ok(Self { private: info.private_key.as_bytes(), public })
    }

    /// Refuses a key whose publicKey field says something else than what belongs to the private one.
    pub(super) fn check_public(&self, public: &[u8]) -> Result<(), CryptoError> {
        if self.public.is_none_or(|stated| stated == public) { Ok(()) } else { Err(CryptoError::BadKey) }
    }
}

/// Writes PKCS#8, version 1: that is what most other programs read.
pub(super) fn pkcs8(key: KeyAlgorithm, private: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let private = OctetStringRef::new(private).map_err(|_| CryptoError::Backend)?;
    let info = PrivateKeyInfoRef::new(identifier(key)?, private);
    info.to_der().map(Zeroizing::new).map_err(|_| CryptoError::Backend)
}

/// Writes SubjectPublicKeyInfo.
pub(super) fn spki(key: KeyAlgorithm, public: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let subject_public_key = BitStringRef::from_bytes(public).map_err(|_| CryptoError::Backend)?;
    let spki = SubjectPublicKeyInfo { algorithm: identifier(key)?, subject_public_key };
    spki.to_der().map_err(|_| CryptoError::Backend)
}

/// Reads SubjectPublicKeyInfo strictly: the kind, and the raw key. `None` for the kinds that are not this module's.
pub(super) fn from_spki(der: &[u8]) -> Result<Option<(KeyAlgorithm, &[u8])>, CryptoError> {
    let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| CryptoError::BadKey)?;
    let Some(key) = kind(&spki.algorithm.oid) else { return Ok(None) };
    if spki.algorithm.parameters.is_some() {
        return Err(CryptoError::BadKey);
    }
    let raw = spki.subject_public_key.as_bytes().ok_or(CryptoError::BadKey)?;
    Ok(Some((key, raw)))
}
