//! The classical half of a composite key, which has nothing around it: to and from the PKCS#8 and SubjectPublicKeyInfo that the
//! classical backend reads.
//!
//! | half | public | private |
//! |---|---|---|
//! | RSA | RSAPublicKey | RSAPrivateKey, version 0 |
//! | ECDSA | uncompressed point | ECPrivateKey with the named curve, without the public key |
//! | Ed25519 | 32 octets | 32 octets |
//!
//! There is one encoding of each key, and any other is refused.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Encode, Reader, SliceReader};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfoRef};
use spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use crate::algorithm::KeyAlgorithm;
use crate::crypto::CryptoError;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A curve and the octets of a coordinate.
fn curve(kind: KeyAlgorithm) -> Option<(&'static ObjectIdentifier, usize)> {
    match kind {
        KeyAlgorithm::EcdsaP256 => Some((&SECP256R1, 32)),
        KeyAlgorithm::EcdsaP384 => Some((&SECP384R1, 48)),
        KeyAlgorithm::EcdsaP521 => Some((&SECP521R1, 66)),
        _ => None,
    }
}

fn identifier(kind: KeyAlgorithm) -> Result<AlgorithmIdentifierRef<'static>, CryptoError> {
    Ok(match (kind, curve(kind)) {
        (_, Some((curve, _))) => AlgorithmIdentifierRef { oid: EC_PUBLIC_KEY, parameters: Some(curve.into()) },
        (KeyAlgorithm::Rsa(_), _) => AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) },
        (KeyAlgorithm::Ed25519, _) => AlgorithmIdentifierRef { oid: ED25519, parameters: None },
        _ => return Err(CryptoError::Unsupported),
    })
}

/// Puts SubjectPublicKeyInfo around a public half, if it is one of this kind and size.
pub(super) fn public_to_spki(kind: KeyAlgorithm, public: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let fits = match (kind, curve(kind)) {
        (_, Some((_, octets))) => public.first() == Some(&4) && public.len() == 1 + 2 * octets,
        (KeyAlgorithm::Rsa(bits), _) => modulus_bits(public)? == bits,
        _ => public.len() == 32,
    };
    if !fits {
        return Err(CryptoError::BadKey);
    }
    let subject_public_key = BitStringRef::from_bytes(public).map_err(|_| CryptoError::BadKey)?;
    let spki = SubjectPublicKeyInfo { algorithm: identifier(kind)?, subject_public_key };
    spki.to_der().map_err(|_| CryptoError::Backend)
}

/// Takes the public half out of SubjectPublicKeyInfo.
pub(super) fn public_from_spki(spki: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| CryptoError::Backend)?;
    spki.subject_public_key.as_bytes().map(<[u8]>::to_vec).ok_or(CryptoError::Backend)
}

/// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017 appendix A.1.1)
fn modulus_bits(public: &[u8]) -> Result<u32, CryptoError> {
    let mut reader = SliceReader::new(public).map_err(|_| CryptoError::BadKey)?;
    let modulus = reader
        .sequence(|inner| {
            let modulus = UintRef::decode(inner)?;
            UintRef::decode(inner)?;
            Ok::<_, der::Error>(modulus)
        })
        .and_then(|modulus| reader.finish().map(|()| modulus))
        .map_err(|_| CryptoError::BadKey)?;
    let octets = modulus.as_bytes();
    let first = octets.first().ok_or(CryptoError::BadKey)?;
    Ok(u32::try_from(octets.len()).map_err(|_| CryptoError::BadKey)?.saturating_mul(8) - first.leading_zeros())
}

/// What stands in an ECPrivateKey before and after the secret number: ECPrivateKey ::= SEQUENCE { version INTEGER (1), privateKey OCTET
/// STRING, parameters [0] NamedCurve } (RFC 5915 section 3), without the optional publicKey.
fn ec_frame(curve: &ObjectIdentifier, octets: usize) -> (Vec<u8>, Vec<u8>) {
    let name = curve.to_der().expect("an identifier in memory has an encoding");
    let len = |len: usize| u8::try_from(len).expect("shorter than 128 octets for all three curves");
    let tail = [&[0xa0, len(name.len())][..], &name].concat();
    let head = vec![0x30, len(5 + octets + tail.len()), 2, 1, 1, 4, len(octets)];
    (head, tail)
}

/// Puts PKCS#8 around a private half.
pub(super) fn private_to_pkcs8(kind: KeyAlgorithm, private: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    if let Some((curve, octets)) = curve(kind) {
        let (head, tail) = ec_frame(curve, octets);
        if private.len() != head.len() + octets + tail.len() || !private.starts_with(&head) || !private.ends_with(&tail) {
            return Err(CryptoError::BadKey);
        }
    }
    let octets = match kind {
        // CurvePrivateKey is an OCTET STRING inside the one of PKCS#8 (RFC 8410 section 7).
        KeyAlgorithm::Ed25519 if private.len() == 32 => Zeroizing::new([&[4, 32][..], private].concat()),
        KeyAlgorithm::Ed25519 => return Err(CryptoError::BadKey),
        _ => Zeroizing::new(private.to_vec()),
    };
    let octets = OctetStringRef::new(&octets).map_err(|_| CryptoError::BadKey)?;
    PrivateKeyInfoRef::new(identifier(kind)?, octets).to_der().map(Zeroizing::new).map_err(|_| CryptoError::Backend)
}

/// Takes the private half out of PKCS#8.
pub(super) fn private_from_pkcs8(kind: KeyAlgorithm, pkcs8: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| CryptoError::Backend)?;
    let inner = info.private_key.as_bytes();
    if let Some((curve, octets)) = curve(kind) {
        let (head, tail) = ec_frame(curve, octets);
        let number = ec_number(inner).filter(|number| number.len() == octets).ok_or(CryptoError::Backend)?;
        return Ok(Zeroizing::new([&head, number, &tail].concat()));
    }
    match kind {
        KeyAlgorithm::Ed25519 => match inner {
            [4, 32, key @ ..] if key.len() == 32 => Ok(Zeroizing::new(key.to_vec())),
            _ => Err(CryptoError::Backend),
        },
        _ => Ok(Zeroizing::new(inner.to_vec())),
    }
}

/// The secret number of an ECPrivateKey, whatever else is in there.
fn ec_number(private: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(private).ok()?;
    reader
        .sequence(|inner| {
            u8::decode(inner)?;
            let number = <&OctetStringRef>::decode(inner)?;
            while !inner.is_finished() {
                AnyRef::decode(inner)?;
            }
            Ok::<_, der::Error>(number.as_bytes())
        })
        .ok()
}
