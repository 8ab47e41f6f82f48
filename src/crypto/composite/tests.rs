//! The vectors of the draft, and round trips with either ML-DSA backend.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::*;
use crate::crypto::rustcrypto::RustCrypto;
use crate::crypto::vectors::beside;
use crate::crypto::{FAMILIES, provider};

fn parts() -> Parts {
    Parts {
        ml_dsa: FAMILIES.ml_dsa,
        verifier: FAMILIES.classical_verifier,
        keys: FAMILIES.classical_keys,
        digester: FAMILIES.digester,
        random: FAMILIES.random,
    }
}

/// The same with the other ML-DSA.
fn other() -> Parts {
    Parts { ml_dsa: &RustCrypto, ..parts() }
}

fn raw(spki: &[u8]) -> &[u8] {
    raw_key::from_spki(spki).unwrap().unwrap().1
}

/// One algorithm of the vectors.
struct Vector {
    composite: Composite,
    pk: Vec<u8>,
    sk: Vec<u8>,
    pkcs8: Vec<u8>,
    signature: Vec<u8>,
    with_context: Vec<u8>,
}

struct Vectors {
    message: Vec<u8>,
    context: Vec<u8>,
    tests: Vec<Vector>,
}

fn vectors() -> Option<Vectors> {
    let json: Value = serde_json::from_slice(&beside("lamps-composite-sigs", "testvectors.json")?).unwrap();
    let octets = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let mut refused = Vec::new();
    let mut tests = Vec::new();
    for test in json["tests"].as_array().unwrap() {
        let name = test["tcId"].as_str().unwrap();
        let composite = match name.parse() {
            Ok(SignatureAlgorithm::Composite(composite)) => composite,
            Ok(other) => panic!("{name} is {other}"),
            Err(_) if name.starts_with("id-ML-DSA") => continue,
            Err(error) => {
                assert!(error.refused.is_some(), "{error}");
                let pkcs8 = octets(&test["sk_pkcs8"]);
                assert_eq!(provider().keys.signer(&pkcs8).err(), Some(CryptoError::BadKey), "{name}");
                refused.push(name.to_owned());
                continue;
            }
        };
        tests.push(Vector {
            composite,
            pk: octets(&test["pk"]),
            sk: octets(&test["sk"]),
            pkcs8: octets(&test["sk_pkcs8"]),
            signature: octets(&test["s"]),
            with_context: octets(&test["sWithContext"]),
        });
    }
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert_eq!(tests.len(), Composite::ALL.len());
    Some(Vectors { message: octets(&json["m"]), context: octets(&json["ctx"]), tests })
}

#[test]
fn signatures_of_the_draft_hold_and_nothing_else_does() {
    let Some(Vectors { message, context, tests }) = vectors() else { return };
    for Vector { composite, pk, signature, with_context, .. } in &tests {
        let composite = *composite;
        assert!(pk.len() <= composite.max_public_key_len() && signature.len() <= composite.max_signature_len());
        for parts in [parts(), other()] {
            let check =
                |context: &[u8], message: &[u8], signature: &[u8]| verify(parts, composite, pk, context, message, signature);
            assert_eq!(check(b"", &message, signature), Ok(()), "{composite}");
            assert_eq!(check(&context, &message, with_context), Ok(()), "{composite}");
            let bad = Err(CryptoError::BadSignature);
            // Contexts swapped, another message.
            assert_eq!(check(&context, &message, signature), bad, "{composite}");
            assert_eq!(check(b"", &message, with_context), bad, "{composite}");
            assert_eq!(check(b"", &[&message[..], b"!"].concat(), signature), bad, "{composite}");
            // One bit in either half.
            let split = composite.ml_dsa_key().max_signature_len();
            for place in [7, split - 1, split + 9, signature.len() - 1] {
                let mut flipped = signature.clone();
                flipped[place] ^= 1;
                assert_eq!(check(b"", &message, &flipped), bad, "{composite} octet {place}");
            }
            // One half alone, and the halves of two good signatures mixed.
            for part in [&signature[..split], &signature[split..], &signature[..split - 1], b""] {
                assert_eq!(check(b"", &message, part), bad, "{composite}");
            }
            assert_eq!(check(b"", &message, &[&signature[..split], &with_context[split..]].concat()), bad, "{composite}");
            assert_eq!(check(b"", &message, &[&with_context[..split], &signature[split..]].concat()), bad, "{composite}");
        }
    }
}

#[test]
fn the_label_of_another_algorithm_does_not_do() {
    let Some(Vectors { message, tests, .. }) = vectors() else { return };
    let mut tried = 0;
    for Vector { composite, pk, signature, .. } in &tests {
        // The same keys, but for the label.
        for &wrong in Composite::ALL {
            let same = |a: Composite| (a.ml_dsa(), a.classical_key());
            if wrong != *composite && same(wrong) == same(*composite) {
                assert_eq!(verify(parts(), wrong, pk, b"", &message, signature), Err(CryptoError::BadSignature));
                tried += 1;
            }
        }
        // The context of ML-DSA by itself.
        let (set, split) = (composite.ml_dsa_key(), composite.ml_dsa_key().max_signature_len());
        let ml_dsa_pk = &pk[..set.public_key_len().unwrap()];
        let m = representative(FAMILIES.digester, *composite, b"", &message).unwrap();
        for backend in [FAMILIES.ml_dsa, &RustCrypto as &dyn MlDsaBackend] {
            let check = |label: &[u8]| backend.verify(set, ml_dsa_pk, label, &m, &signature[..split]);
            assert_eq!(check(composite.label().as_bytes()), Ok(()));
            assert_eq!(check(b""), Err(CryptoError::BadSignature));
            assert_eq!(check(b"COMPSIG-MLDSA65-ECDSA-BP256-SHA512"), Err(CryptoError::BadSignature));
        }
    }
    assert!(tried >= 6, "{tried}");
}

#[test]
fn keys_of_the_draft_are_read_sign_and_come_out_as_they_were() {
    let Some(Vectors { message, tests, .. }) = vectors() else { return };
    for Vector { composite, pk, sk, pkcs8, .. } in &tests {
        let algorithm = SignatureAlgorithm::Composite(*composite);
        assert_eq!(RawKey::from_pkcs8(pkcs8).unwrap().private, sk, "{composite}");
        let key = provider().keys.signer(pkcs8).unwrap();
        assert_eq!((key.key(), raw(key.spki())), (KeyAlgorithm::Composite(*composite), &pk[..]), "{composite}");
        assert_eq!(*key.export_pkcs8().unwrap(), *pkcs8, "{composite}");
        let signature = key.sign(algorithm, &message).unwrap();
        assert_eq!(provider().verifier.verify(algorithm, key.spki(), &message, &signature), Ok(()), "{composite}");
        assert_eq!(verify(other(), *composite, pk, b"", &message, &signature), Ok(()), "{composite}");
        // Cut, longer, without its seed, and with the classical half of nothing.
        for wrong in [&sk[..sk.len() - 1], &[&sk[..], &[0]].concat(), &sk[32..], &sk[..32], b""] {
            let pkcs8 = raw_key::pkcs8(KeyAlgorithm::Composite(*composite), wrong).unwrap();
            assert_eq!(provider().keys.signer(&pkcs8).err(), Some(CryptoError::BadKey), "{composite}");
        }
    }
}

#[test]
fn fresh_keys_work_with_either_ml_dsa() {
    // RSA is slow to make; the vectors have it.
    for &composite in Composite::ALL.iter().filter(|c| !matches!(c.classical_key(), KeyAlgorithm::Rsa(_))) {
        let (algorithm, kind) = (SignatureAlgorithm::Composite(composite), KeyAlgorithm::Composite(composite));
        let key = provider().keys.generate(kind).unwrap();
        assert_eq!((key.key(), key.algorithms()), (kind, vec![algorithm]));
        assert_eq!(raw(key.spki()).len(), composite.max_public_key_len());
        let pkcs8 = key.export_pkcs8().unwrap();
        assert_eq!(provider().keys.signer(&pkcs8).unwrap().spki(), key.spki());
        let again = signer(other(), composite, &pkcs8).unwrap();
        assert_eq!(again.spki(), key.spki(), "{composite}");
        for (signer, parts) in [(&key, other()), (&again, parts())] {
            let signature = signer.sign(algorithm, b"message").unwrap();
            assert!(signature.len() <= composite.max_signature_len());
            assert_eq!(verify(parts, composite, raw(key.spki()), b"", b"message", &signature), Ok(()), "{composite}");
            assert_eq!(key.sign(SignatureAlgorithm::MlDsa44, b"m"), Err(CryptoError::Unsupported));
        }
        assert!(!provider().transport.can_wrap(key.spki()));
    }
}

#[test]
fn halves_of_another_kind_are_refused() {
    let make = |kind| provider().keys.generate(kind).unwrap();
    let key = make(KeyAlgorithm::Composite(Composite::MlDsa44EcdsaP256));
    let split = 1312;
    let good = raw(key.spki()).to_vec();
    let (ml_dsa, point) = good.split_at(split);
    let compressed = [&[2 + (point[64] & 1)][..], &point[1..33]].concat();
    let off_curve = [&[4][..], &[1; 64]].concat();
    let p384 = make(KeyAlgorithm::EcdsaP384);
    let p384 = classical_key::public_from_spki(p384.spki()).unwrap();
    for (half, what) in [(&compressed[..], "compressed"), (&p384, "P-384"), (&off_curve, "off the curve"), (b"", "none")] {
        let bad = [ml_dsa, half].concat();
        let result = verify(parts(), Composite::MlDsa44EcdsaP256, &bad, b"", b"m", &[0; 2492]);
        assert!(matches!(result, Err(CryptoError::BadKey | CryptoError::BadSignature)), "{what}: {result:?}");
        if what != "off the curve" {
            assert_eq!(result, Err(CryptoError::BadKey), "{what}");
        }
    }
    // An RSA half of another size.
    let rsa = make(KeyAlgorithm::Rsa(1024));
    let bad = [ml_dsa, &classical_key::public_from_spki(rsa.spki()).unwrap()].concat();
    assert_eq!(verify(parts(), Composite::MlDsa44Rsa2048Pss, &bad, b"", b"m", &[0; 2676]), Err(CryptoError::BadKey));
    let private = classical_key::private_from_pkcs8(KeyAlgorithm::Rsa(1024), &rsa.export_pkcs8().unwrap()).unwrap();
    let whole =
        raw_key::pkcs8(KeyAlgorithm::Composite(Composite::MlDsa44Rsa2048Pss), &[&[1; 32][..], &private].concat()).unwrap();
    assert_eq!(provider().keys.signer(&whole).err(), Some(CryptoError::BadKey));
}

#[test]
fn an_ec_half_with_its_public_key_is_another_encoding_and_refused() {
    let ec = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    let pkcs8 = ec.export_pkcs8().unwrap();
    let with_public = pkcs8::PrivateKeyInfoRef::try_from(&pkcs8[..]).unwrap().private_key.as_bytes().to_vec();
    let kind = KeyAlgorithm::Composite(Composite::MlDsa65EcdsaP256);
    let private = |half: &[u8]| raw_key::pkcs8(kind, &[&[3; 32][..], half].concat()).unwrap();
    assert_eq!(provider().keys.signer(&private(&with_public)).err(), Some(CryptoError::BadKey));
    let without = classical_key::private_from_pkcs8(KeyAlgorithm::EcdsaP256, &pkcs8).unwrap();
    assert_eq!(without.len(), 51);
    assert!(provider().keys.signer(&private(&without)).is_ok());
}
