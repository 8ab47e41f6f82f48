//! Vectors and round trips, with each backend and between them.

use serde_json::Value;

use super::*;
use crate::crypto::rustcrypto::RustCrypto;
use crate::crypto::vectors::beside;
use crate::crypto::{FAMILIES, provider};

const SETS: [KeyAlgorithm; 3] = [KeyAlgorithm::MlDsa44, KeyAlgorithm::MlDsa65, KeyAlgorithm::MlDsa87];

fn backends() -> [&'static dyn MlDsaBackend; 2] {
    [FAMILIES.ml_dsa, &RustCrypto]
}

fn octets(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// The groups of an ACVP or Wycheproof file.
fn groups(folder: &str, name: &str) -> Option<Vec<Value>> {
    let file: Value = serde_json::from_slice(&beside(folder, name)?).unwrap();
    Some(file["testGroups"].as_array().unwrap().clone())
}

fn set_of(group: &Value) -> KeyAlgorithm {
    group["parameterSet"].as_str().unwrap().to_ascii_lowercase().parse().unwrap()
}

fn tests(group: &Value) -> &[Value] {
    group["tests"].as_array().unwrap()
}

fn seed(octets: &[u8]) -> &[u8; SEED_LEN] {
    octets.try_into().unwrap()
}

#[test]
fn keys_of_nist() {
    let Some(groups) = groups("acvp-mldsa", "ML-DSA-keyGen-FIPS204.subset.json") else { return };
    let mut seen = 0;
    for group in &groups {
        for test in tests(group) {
            for backend in backends() {
                let key = backend.expand_seed(set_of(group), seed(&octets(&test["seed"]))).unwrap();
                assert_eq!(key.public_key(), octets(&test["pk"]));
                assert_eq!(*key.expanded().unwrap(), octets(&test["sk"]));
                seen += 1;
            }
            let key = FAMILIES.ml_dsa.read_expanded(set_of(group), &octets(&test["sk"])).unwrap();
            assert_eq!(key.public_key(), octets(&test["pk"]));
        }
    }
    assert!(seen >= 30, "{seen}");
}

#[test]
fn signatures_of_nist_with_their_contexts() {
    let Some(groups) = groups("acvp-mldsa", "ML-DSA-sigVer-FIPS204.subset.json") else { return };
    let (mut good, mut bad) = (0, 0);
    for group in groups.iter().filter(|group| group["signatureInterface"] == "external") {
        for test in tests(group) {
            // HashML-DSA is another algorithm, whatever the file says of its signatures.
            let expected = group["preHash"] == "pure" && test["testPassed"] == true;
            for backend in backends() {
                let (pk, context) = (octets(&test["pk"]), octets(&test["context"]));
                let held =
                    backend.verify(set_of(group), &pk, &context, &octets(&test["message"]), &octets(&test["signature"])).is_ok();
                assert_eq!(held, expected, "{} {}", backend.name(), test["tcId"]);
                *if held { &mut good } else { &mut bad } += 1;
            }
        }
    }
    assert!(good >= 10 && bad >= 20, "{good} {bad}");
}

#[test]
fn expanded_keys_and_signatures_of_nist_belong_together() {
    let Some(groups) = groups("acvp-mldsa", "ML-DSA-sigGen-FIPS204.subset.json") else { return };
    let mut seen = 0;
    for group in groups.iter().filter(|group| group["signatureInterface"] == "external") {
        for test in tests(group) {
            let (set, context, message) = (set_of(group), octets(&test["context"]), octets(&test["message"]));
            let key = FAMILIES.ml_dsa.read_expanded(set, &octets(&test["sk"])).unwrap();
            let ours = key.sign(&context, &message).unwrap();
            for backend in backends() {
                let check = |signature: &[u8]| backend.verify(set, key.public_key(), &context, &message, signature);
                assert_eq!((check(&ours), check(&octets(&test["signature"]))), (Ok(()), Ok(())), "{}", backend.name());
            }
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn seeds_of_wycheproof() {
    let mut seen = 0;
    for set in SETS {
        let name = format!("{}_sign_seed_test.subset.json", set.to_string().replace("ml-dsa-", "mldsa_"));
        let Some(groups) = groups("wycheproof", &name) else { return };
        for group in &groups {
            let private = octets(&group["privateSeed"]);
            let Ok(seed) = <&[u8; SEED_LEN]>::try_from(&private[..]) else {
                let pkcs8 = raw_key::pkcs8(set, &[&[0x80, private.len() as u8][..], &private].concat()).unwrap();
                assert_eq!(provider().keys.signer(&pkcs8).err(), Some(CryptoError::BadKey));
                continue;
            };
            for backend in backends() {
                let key = backend.expand_seed(set, seed).unwrap();
                if let Some(public) = group.get("publicKey").filter(|key| key.is_string()) {
                    assert_eq!(key.public_key(), octets(public));
                }
                for test in tests(group) {
                    let context = test.get("ctx").map(octets).unwrap_or_default();
                    let Some(message) = test.get("msg").filter(|message| message.is_string()).map(octets) else { continue };
                    let ours = key.sign(&context, &message);
                    if test["result"] == "invalid" {
                        assert!(ours.is_err(), "{} {}", backend.name(), test["tcId"]);
                        continue;
                    }
                    for other in backends() {
                        let check = |signature: &[u8]| other.verify(set, key.public_key(), &context, &message, signature);
                        assert_eq!(check(ours.as_ref().unwrap()), Ok(()), "{} {}", backend.name(), test["tcId"]);
                        assert_eq!(check(&octets(&test["sig"])), Ok(()), "{} {}", other.name(), test["tcId"]);
                        seen += 1;
                    }
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn signatures_of_wycheproof_with_each_backend() {
    let (mut good, mut bad) = (0, 0);
    for set in SETS {
        let name = format!("{}_verify_test.subset.json", set.to_string().replace("ml-dsa-", "mldsa_"));
        let Some(groups) = groups("wycheproof", &name) else { return };
        for group in &groups {
            for test in tests(group) {
                let (pk, context) = (octets(&group["publicKey"]), test.get("ctx").map(octets).unwrap_or_default());
                for backend in backends() {
                    let held = backend.verify(set, &pk, &context, &octets(&test["msg"]), &octets(&test["sig"]));
                    assert_eq!(held.is_ok(), test["result"] == "valid", "{} {name} {}", backend.name(), test["tcId"]);
                    *if held.is_ok() { &mut good } else { &mut bad } += 1;
                }
            }
        }
    }
    assert!(good > 20 && bad > 20, "{good} {bad}");
}

#[test]
fn the_two_backends_agree_and_contexts_count() {
    for set in SETS {
        for (one, two) in [(FAMILIES.ml_dsa, &RustCrypto as &dyn MlDsaBackend), (&RustCrypto, FAMILIES.ml_dsa)] {
            let key = one.expand_seed(set, &[7; SEED_LEN]).unwrap();
            let same = two.expand_seed(set, &[7; SEED_LEN]).unwrap();
            assert_eq!(key.public_key(), same.public_key());
            assert_eq!(key.expanded().unwrap(), same.expanded().unwrap());
            for context in [&b""[..], b"context", &[9; 255]] {
                let signature = key.sign(context, b"message").unwrap();
                assert_eq!(signature.len(), set.max_signature_len());
                let check = |context: &[u8], message: &[u8]| two.verify(set, key.public_key(), context, message, &signature);
                assert_eq!(check(context, b"message"), Ok(()), "{set}");
                assert_eq!(check(b"other", b"message"), Err(CryptoError::BadSignature));
                assert_eq!(check(context, b"massage"), Err(CryptoError::BadSignature));
                // Hedged: another one each time.
                assert_ne!(key.sign(context, b"message").unwrap(), signature);
            }
            assert_eq!(key.sign(&[9; 256], b"message").err(), Some(CryptoError::Unsupported));
            assert!(two.verify(set, &key.public_key()[1..], b"", b"m", &[0; 2420]).is_err());
        }
    }
    assert!(backends().iter().all(|backend| backend.expand_seed(KeyAlgorithm::Ed25519, &[1; 32]).is_err()));
}

#[test]
fn a_seed_goes_out_in_every_form_and_an_expanded_key_only_as_it_came() {
    for set in SETS {
        let key = provider().keys.generate(set).unwrap();
        assert_eq!(key.export_pkcs8(), key.export_form(KeyForm::Seed));
        assert_eq!(key.export_pkcs8().unwrap().len(), 54);
        for &form in KeyForm::ALL {
            let pkcs8 = key.export_form(form).unwrap();
            let again = provider().keys.signer(&pkcs8).unwrap();
            assert_eq!(again.spki(), key.spki(), "{set} {form}");
            // What came with its seed is kept by its seed.
            let kept = if form == KeyForm::Expanded { KeyForm::Expanded } else { KeyForm::Seed };
            assert_eq!(again.export_pkcs8(), key.export_form(kept), "{set} {form}");
            assert_eq!(again.export_form(KeyForm::Seed).is_some(), form != KeyForm::Expanded, "{set} {form}");
            assert_eq!(again.export_form(KeyForm::Both).is_some(), form != KeyForm::Expanded, "{set} {form}");
            assert_eq!(again.export_form(KeyForm::Expanded), key.export_form(KeyForm::Expanded), "{set} {form}");
        }
    }
    let ec = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    assert!(ec.export_form(KeyForm::Seed).is_none());
}

#[test]
fn keys_whose_parts_disagree_are_refused() {
    let set = KeyAlgorithm::MlDsa44;
    let key = FAMILIES.ml_dsa.expand_seed(set, &[1; SEED_LEN]).unwrap();
    let read = |private: MlDsaPrivateKey| provider().keys.signer(&raw_key::pkcs8(set, &private.to_der()).unwrap());
    let expanded = key.expanded().unwrap();
    assert!(read(MlDsaPrivateKey::Expanded(expanded.clone())).is_ok());
    let both = |seed: u8, expanded| read(MlDsaPrivateKey::Both { seed: Zeroizing::new([seed; SEED_LEN]), expanded });
    assert!(both(1, expanded.clone()).is_ok());
    assert_eq!(both(2, expanded.clone()).err(), Some(CryptoError::BadKey));
    // One bit in rho, K (which nothing follows from, so that only a seed can tell), tr, s1, s2 and t0.
    for (place, told_by_itself) in [(0, true), (40, false), (70, true), (130, true), (600, true), (2559, true)] {
        let mut changed = expanded.clone();
        changed[place] ^= 1;
        assert_eq!(read(MlDsaPrivateKey::Expanded(changed.clone())).is_err(), told_by_itself, "octet {place}");
        assert_eq!(both(1, changed).err(), Some(CryptoError::BadKey), "octet {place}");
    }
    // RustCrypto would take them all, and so reads none.
    assert_eq!(RustCrypto.read_expanded(set, &expanded).err(), Some(CryptoError::Unsupported));
}

#[test]
fn null_parameters_and_the_public_key_of_another_are_refused() {
    use der::{Decode, Encode};
    let key = provider().keys.generate(KeyAlgorithm::MlDsa65).unwrap();
    let pkcs8 = key.export_pkcs8().unwrap();
    let info = pkcs8::PrivateKeyInfoRef::from_der(&pkcs8).unwrap();
    let with = |null: bool, public: Option<&[u8]>| {
        let mut info = pkcs8::PrivateKeyInfoRef::new(info.algorithm, info.private_key);
        info.algorithm.parameters = null.then_some(der::asn1::AnyRef::NULL);
        info.public_key = public.map(|public| der::asn1::BitStringRef::from_bytes(public).unwrap());
        provider().keys.signer(&info.to_der().unwrap()).map(|_| ())
    };
    let (_, public) = raw_key::from_spki(key.spki()).unwrap().unwrap();
    assert_eq!(with(false, None), Ok(()));
    assert_eq!(with(false, Some(public)), Ok(()));
    assert_eq!(with(true, None), Err(CryptoError::BadKey));
    assert_eq!(with(false, Some(&[7; 1952])), Err(CryptoError::BadKey));
    // The raw seed alone, without the tag of its form: seen in the wild.
    let bare = raw_key::pkcs8(KeyAlgorithm::MlDsa65, &[0x80; 32]).unwrap();
    assert_eq!(provider().keys.signer(&bare).err(), Some(CryptoError::BadKey));
    let spki = spki::SubjectPublicKeyInfoRef::from_der(key.spki()).unwrap();
    let null = spki::AlgorithmIdentifierRef { parameters: Some(der::asn1::AnyRef::NULL), ..spki.algorithm };
    let spki = spki::SubjectPublicKeyInfo { algorithm: null, subject_public_key: spki.subject_public_key }.to_der().unwrap();
    let signature = key.sign(SignatureAlgorithm::MlDsa65, b"m").unwrap();
    let verify = |spki: &[u8]| provider().verifier.verify(SignatureAlgorithm::MlDsa65, spki, b"m", &signature);
    assert_eq!((verify(key.spki()), verify(&spki)), (Ok(()), Err(CryptoError::BadKey)));
}
