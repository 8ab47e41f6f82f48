//! SubjectPublicKeyInfo: what kind of key is it.

use der::oid::ObjectIdentifier;

use super::X509Error;
use super::algorithm_identifier::{self, EC_PUBLIC_KEY, RSA_ENCRYPTION};
use super::tlv::{Reader, Tlv, tag};
use crate::algorithm::{Composite, Digest, KeyAlgorithm, MlKem, SignatureAlgorithm};

const WHAT: &str = "subjectPublicKeyInfo";

/// Largest RSA modulus that is looked at, in bits: verifying with more is a way to keep us busy.
const MAX_RSA_BITS: usize = 16_384;

const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// Names the key in a DER SubjectPublicKeyInfo; refuses parameters that do not belong there.
pub fn key_algorithm(spki: &[u8]) -> Result<KeyAlgorithm, X509Error> {
    let (algorithm, key) = parts(spki)?;
    let (oid, parameters) = algorithm_identifier::read(&algorithm)?;
    let oid = oid.ok_or_else(|| algorithm.error("not an OBJECT IDENTIFIER"))?;
    let octets = key.bit_octets()?;
    let (found, length_fits) = match oid {
        RSA_ENCRYPTION => {
            // NULL by RFC 3279 section 2.3.1; left out by some.
            if parameters.is_some_and(|p| p.raw != [tag::NULL, 0]) {
                return Err(algorithm.error("RSA with parameters"));
            }
            (KeyAlgorithm::Rsa(modulus_bits(octets)?), true)
        }
        EC_PUBLIC_KEY => {
            let curve = parameters.ok_or_else(|| algorithm.error("an elliptic curve key without a curve"))?;
            let (found, coordinate) = match curve.oid() {
                Some(PRIME256V1) => (KeyAlgorithm::EcdsaP256, 32),
                Some(SECP384R1) => (KeyAlgorithm::EcdsaP384, 48),
                Some(SECP521R1) => (KeyAlgorithm::EcdsaP521, 66),
                Some(oid) => return Err(X509Error::UnknownAlgorithm { what: WHAT, oid }),
                None => return Err(curve.error("a curve that has no name")),
            };
            let fits = match octets {
                [4, point @ ..] => point.len() == 2 * coordinate,
                [2 | 3, point @ ..] => point.len() == coordinate,
                _ => false,
            };
            (found, fits)
        }
        oid => {
            // The identifier of such a key is that of its signatures.
            let signature = SignatureAlgorithm::from_oid(&oid);
            let found = signature
                .and_then(SignatureAlgorithm::only_key)
                .or(MlKem::from_oid(&oid).map(KeyAlgorithm::MlKem))
                .ok_or(X509Error::UnknownAlgorithm { what: WHAT, oid })?;
            // RFC 8410 section 3, RFC 9881 section 2, RFC 9909 section 3, RFC 9935 section 3: absent.
            if parameters.is_some() {
                return Err(X509Error::Parameters { what: WHAT, algorithm: found.name().expect("not RSA") });
            }
            let fits = match found {
                KeyAlgorithm::Composite(composite) => composite_fits(composite, octets),
                other => other.public_key_len() == Some(octets.len()),
            };
            (found, fits)
        }
    };
    if length_fits { Ok(found) } else { Err(key.error(format_args!("not a public key of {found}"))) }
}

/// Whether this can be a public key of the composite: `mldsaPK || tradPK`, the classical one as PKCS#1, an uncompressed point, or the
/// 32 octets of Ed25519. The ML-DSA half has a fixed length.
fn composite_fits(composite: Composite, octets: &[u8]) -> bool {
    let ml_dsa = composite.ml_dsa_key().public_key_len().expect("all ML-DSA keys of a set are of one length");
    let Some((_, classical)) = octets.split_at_checked(ml_dsa) else { return false };
    match composite.classical_key() {
        KeyAlgorithm::Rsa(bits) => modulus_bits(classical) == Ok(bits),
        KeyAlgorithm::Ed25519 => classical.len() == 32,
        _ => classical.first() == Some(&4) && octets.len() == composite.max_public_key_len(),
    }
}

/// The SHA-1 of the subjectPublicKey bits: method 1 of RFC 5280 section 4.2.1.2.
pub fn key_identifier(spki: &[u8]) -> Result<[u8; 20], X509Error> {
    let (_, key) = parts(spki)?;
    let digest = crate::crypto::provider().digester.digest(Digest::Sha1, key.bit_octets()?);
    Ok(digest.try_into().expect("SHA-1 has 20 octets"))
}

/// SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
fn parts(spki: &[u8]) -> Result<(Tlv<'_>, Tlv<'_>), X509Error> {
    let mut fields = Reader::single(WHAT, spki, tag::SEQUENCE)?.reader();
    let parts = (fields.tag(tag::SEQUENCE)?, fields.tag(tag::BIT_STRING)?);
    fields.finish()?;
    Ok(parts)
}

/// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017 appendix A.1.1)
fn modulus_bits(key: &[u8]) -> Result<u32, X509Error> {
    let mut fields = Reader::single(WHAT, key, tag::SEQUENCE)?.reader();
    let modulus = fields.tag(tag::INTEGER)?;
    fields.tag(tag::INTEGER)?;
    fields.finish()?;
    let magnitude = match modulus.value {
        [0, rest @ ..] => rest,
        [first, ..] if first & 0x80 != 0 => return Err(modulus.error("a negative modulus")),
        all => all,
    };
    let Some((first, rest)) = magnitude.split_first().filter(|(first, _)| **first != 0) else {
        return Err(modulus.error("a modulus that is not in its shortest form"));
    };
    if rest.len() >= MAX_RSA_BITS / 8 {
        return Err(modulus.error("a modulus that is too long"));
    }
    Ok(rest.len() as u32 * 8 + (8 - first.leading_zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::tlv::{encode, encode_bits, encode_oid, encode_unsigned};

    fn spki(oid: ObjectIdentifier, parameters: &[u8], key: &[u8]) -> Vec<u8> {
        let algorithm = encode(tag::SEQUENCE, &[&encode_oid(&oid), parameters]);
        encode(tag::SEQUENCE, &[algorithm, encode_bits(key)])
    }

    fn rsa(modulus: &[u8]) -> Vec<u8> {
        encode(tag::SEQUENCE, &[encode_unsigned(modulus), encode_unsigned(&[1, 0, 1])])
    }

    #[test]
    fn rsa_keys_by_their_bits() {
        for (modulus, bits) in [(vec![0xff; 256], 2048), ([&[0x7f][..], &[0xff; 255]].concat(), 2047), (vec![1; 128], 1017)] {
            for parameters in [&[tag::NULL, 0][..], &[]] {
                assert_eq!(key_algorithm(&spki(RSA_ENCRYPTION, parameters, &rsa(&modulus))), Ok(KeyAlgorithm::Rsa(bits)));
            }
        }
        assert!(key_algorithm(&spki(RSA_ENCRYPTION, &[4, 0], &rsa(&[0xff; 256]))).is_err());
        assert!(key_algorithm(&spki(RSA_ENCRYPTION, &[], &rsa(&[0xff; 4096]))).is_err());
        assert!(key_algorithm(&spki(RSA_ENCRYPTION, &[], b"\x30\x06\x02\x01\x80\x02\x01\x03")).is_err());
    }

    #[test]
    fn curves_by_their_names() {
        let key =
            |curve, len: usize| key_algorithm(&spki(EC_PUBLIC_KEY, &encode_oid(&curve), &[&[4u8][..], &vec![1; len]].concat()));
        assert_eq!(key(PRIME256V1, 64), Ok(KeyAlgorithm::EcdsaP256));
        assert_eq!(key(SECP384R1, 96), Ok(KeyAlgorithm::EcdsaP384));
        assert_eq!(key(SECP521R1, 132), Ok(KeyAlgorithm::EcdsaP521));
        assert!(key(PRIME256V1, 96).is_err());
        let brainpool = ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.7");
        assert_eq!(key(brainpool, 64), Err(X509Error::UnknownAlgorithm { what: WHAT, oid: brainpool }));
    }

    #[test]
    fn ml_dsa_has_no_parameters() {
        let oid = SignatureAlgorithm::MlDsa65.oid();
        assert_eq!(key_algorithm(&spki(oid, &[], &[1; 1952])), Ok(KeyAlgorithm::MlDsa65));
        let null = key_algorithm(&spki(oid, &[tag::NULL, 0], &[1; 1952]));
        assert_eq!(null, Err(X509Error::Parameters { what: WHAT, algorithm: "ml-dsa-65" }));
        assert!(key_algorithm(&spki(oid, &[], &[1; 1951])).is_err());
    }

    #[test]
    fn slh_dsa_and_composites_by_their_identifiers() {
        use crate::algorithm::SlhDsa;
        for &set in SlhDsa::ALL {
            let key = vec![7; set.public_key_len()];
            assert_eq!(key_algorithm(&spki(set.oid(), &[], &key)), Ok(KeyAlgorithm::SlhDsa(set)));
            assert!(key_algorithm(&spki(set.oid(), &[], &key[1..])).is_err());
            assert!(matches!(key_algorithm(&spki(set.oid(), &[tag::NULL, 0], &key)), Err(X509Error::Parameters { .. })));
        }
        for &composite in Composite::ALL {
            let classical = match composite.classical_key() {
                KeyAlgorithm::Rsa(bits) => rsa(&vec![0xff; bits as usize / 8]),
                _ => vec![4; composite.max_public_key_len() - composite.ml_dsa_key().public_key_len().unwrap()],
            };
            let key = [vec![4; composite.ml_dsa_key().public_key_len().unwrap()], classical].concat();
            assert_eq!(key.len(), composite.max_public_key_len());
            assert_eq!(key_algorithm(&spki(composite.oid(), &[], &key)), Ok(KeyAlgorithm::Composite(composite)));
            assert!(key_algorithm(&spki(composite.oid(), &[], &key[..key.len() - 1])).is_err());
            assert!(key_algorithm(&spki(composite.oid(), &[], &key[..100])).is_err());
            assert!(matches!(key_algorithm(&spki(composite.oid(), &[tag::NULL, 0], &key)), Err(X509Error::Parameters { .. })));
        }
    }

    #[test]
    fn a_refusal_says_why_if_the_algorithm_is_known() {
        for (oid, why) in [
            ("1.3.6.1.5.5.7.6.51", "no Ed448"),
            ("1.3.6.1.5.5.7.6.47", "no brainpool"),
            ("2.16.840.1.114027.80.8.1.27", "earlier draft"),
            ("2.16.840.1.101.3.4.3.33", "HashML-DSA"),
        ] {
            let error = key_algorithm(&spki(ObjectIdentifier::new_unwrap(oid), &[], &[1; 99])).unwrap_err().to_string();
            assert!(error.contains(oid) && error.contains(why), "{error}");
        }
    }
}
