//! ML-DSA: FIPS 204, RFC 9881, and composites of it.

use ::ml_dsa::{B32, ExpandedSigningKey, ExpandedSigningKeyBytes, MlDsa44, MlDsa65, MlDsa87, MlDsaParams};

use super::*;
use crate::algorithm::{Composite, SignatureAlgorithm};
use crate::crypto::ml_dsa::{MlDsaBackend, MlDsaKey};
use crate::crypto::raw_key;

fn of(backend: Backend) -> &'static dyn MlDsaBackend {
    backend.ml_dsa().unwrap()
}

/// Every backend but this one.
fn others(backend: Backend) -> impl Iterator<Item = Backend> {
    backends(Family::MlDsa).into_iter().filter(move |other| *other != backend)
}

fn key(backend: Backend, set: KeyAlgorithm) -> Box<dyn MlDsaKey> {
    of(backend).expand_seed(set, &[7; 32]).unwrap()
}

pub(super) fn what_it_declares_holds(backend: Backend) {
    let (it, declared, provider) = (of(backend), backend.abilities(Family::MlDsa).unwrap(), provider(Family::MlDsa, backend));
    assert_eq!(it.name(), backend.name());
    for set in ML_DSA {
        let made = provider.keys.generate(set);
        answers(declared.generate, &made, "generate");
        let from_seed = it.expand_seed(set, &[1; 32]);
        answers(declared.import_seed, &from_seed, "import a seed");
        let from_seed = from_seed.unwrap();
        let expanded = from_seed.expanded();
        answers(declared.export, &expanded, "export");
        let from_expanded = it.read_expanded(set, &expanded.unwrap());
        answers(declared.import_expanded, &from_expanded, "import an expanded key");
        for one in [Some(from_seed), from_expanded.ok()].into_iter().flatten() {
            let (plain, in_context) = (one.sign(&[], b"m"), one.sign(b"context", b"m"));
            answers(declared.sign, &plain, "sign");
            answers(declared.context, &in_context, "sign in a context");
            answers(declared.verify, &it.verify(set, one.public_key(), &[], b"m", &plain.unwrap()), "verify");
            let verified = it.verify(set, one.public_key(), b"context", b"m", &in_context.unwrap());
            answers(declared.context, &verified, "verify in a context");
        }
    }
    // A parameter set of somebody else's.
    assert_eq!(it.expand_seed(KeyAlgorithm::Ed25519, &[1; 32]).err(), Some(CryptoError::Unsupported));
    assert!(it.read_expanded(KeyAlgorithm::Ed25519, &[1; 2560]).is_err());
    assert!(it.verify(KeyAlgorithm::Ed25519, &[1; 32], &[], b"m", &[1; 64]).is_err());
}

pub(super) fn acvp_key_generation(backend: Backend) {
    let Some(file) = json("acvp-mldsa/ML-DSA-keyGen-FIPS204.subset.json") else { return };
    let mut seen = 0;
    for (group, test) in cases(&file) {
        let seed = octets(test, "seed").try_into().unwrap();
        let key = of(backend).expand_seed(set(&group["parameterSet"]), &seed).unwrap();
        assert_eq!(key.public_key(), octets(test, "pk"), "{}", test["tcId"]);
        assert_eq!(*key.expanded().unwrap(), octets(test, "sk"), "{}", test["tcId"]);
        seen += 1;
    }
    assert_eq!(seen, 18);
}

/// The randomness of a signature cannot be handed in through any backend, so that the octets of the answer are only compared where
/// the library below takes it. All others sign with the same key, and both signatures have to hold.
pub(super) fn acvp_signature_generation(backend: Backend) {
    let Some(file) = json("acvp-mldsa/ML-DSA-sigGen-FIPS204.subset.json") else { return };
    let (mut held, mut equal) = (0, 0);
    for (group, test) in cases(&file) {
        let (set, private, answer) = (set(&group["parameterSet"]), octets(test, "sk"), octets(test, "signature"));
        if backend == Backend::RustCrypto {
            let randomness = if group["deterministic"] == true { vec![0; 32] } else { octets(test, "rnd") };
            let made = match set {
                KeyAlgorithm::MlDsa44 => rustcrypto_signature::<MlDsa44>(test, &private, &randomness),
                KeyAlgorithm::MlDsa65 => rustcrypto_signature::<MlDsa65>(test, &private, &randomness),
                _ => rustcrypto_signature::<MlDsa87>(test, &private, &randomness),
            };
            if let Some(made) = made {
                assert_eq!(made, answer, "{}", test["tcId"]);
                equal += 1;
            }
        }
        // What has a message rather than its digest.
        let (Some(_), Ok(key)) = (test["message"].as_str(), of(backend).read_expanded(set, &private)) else { continue };
        let (message, context) = (octets(test, "message"), optional(test, "context"));
        let made = key.sign(&context, &message).unwrap();
        for verifier in backends(Family::MlDsa) {
            for signature in [&made, &answer] {
                let verified = of(verifier).verify(set, key.public_key(), &context, &message, signature);
                assert_eq!(verified, Ok(()), "{} by {verifier}", test["tcId"]);
            }
        }
        held += 1;
    }
    match backend {
        Backend::RustCrypto => assert_eq!((held, equal), (0, 24)),
        _ => assert_eq!((held, equal), (24, 0)),
    }
}

/// The signature with this randomness, of a case that has a message.
#[allow(deprecated)]
fn rustcrypto_signature<P: MlDsaParams>(test: &Value, private: &[u8], randomness: &[u8]) -> Option<Vec<u8>> {
    test["message"].as_str()?;
    let (message, context) = (octets(test, "message"), optional(test, "context"));
    let key = ExpandedSigningKey::<P>::from_expanded(&ExpandedSigningKeyBytes::<P>::try_from(private).unwrap());
    let randomness = B32::try_from(randomness).unwrap();
    let signature = key.sign_internal(&[&[0], &[context.len() as u8], &context, &message], &randomness);
    Some(signature.encode().to_vec())
}

pub(super) fn acvp_signature_verification(backend: Backend) {
    let Some(file) = json("acvp-mldsa/ML-DSA-sigVer-FIPS204.subset.json") else { return };
    let (mut good, mut bad) = (0, 0);
    for (group, test) in cases(&file) {
        // The others hand in what a message is turned into.
        if group["signatureInterface"] != "external" {
            continue;
        }
        let (set, context, signature) = (set(&group["parameterSet"]), optional(test, "context"), octets(test, "signature"));
        let verified = of(backend).verify(set, &octets(test, "pk"), &context, &octets(test, "message"), &signature);
        // HashML-DSA must not pass for ML-DSA (RFC 9881 section 2).
        if group["preHash"] == "pure" && test["testPassed"] == true {
            assert_eq!(verified, Ok(()), "{}: {}", test["tcId"], test["reason"]);
            good += 1;
        } else {
            assert_eq!(verified, Err(CryptoError::BadSignature), "{}: {}", test["tcId"], test["reason"]);
            bad += 1;
        }
    }
    assert!(good > 5 && bad > 30, "{good} good and {bad} bad ones");
}

pub(super) fn wycheproof_signing(backend: Backend) {
    let (mut good, mut bad) = (0, 0);
    for set in ML_DSA {
        let Some(file) = json(&wycheproof(set, "sign_seed")) else { return };
        for (group, test) in cases(&file) {
            let name = format!("{set} {}: {}", test["tcId"], test["comment"]);
            let seed = <[u8; 32]>::try_from(octets(group, "privateSeed"));
            let (message, context) = (test["msg"].as_str().map(|m| hex::decode(m).unwrap()), optional(test, "ctx"));
            // What has the digest in place of the message.
            let Some(message) = message else { continue };
            let Ok(seed) = seed else {
                assert_eq!(test["result"], "invalid", "{name}");
                let pkcs8 = optional(group, "privateKeyPkcs8");
                assert!(provider(Family::MlDsa, backend).keys.signer(&pkcs8).is_err(), "{name}");
                bad += 1;
                continue;
            };
            let key = of(backend).expand_seed(set, &seed).unwrap();
            if test["result"] == "invalid" {
                assert!(key.sign(&context, &message).is_err(), "{name}");
                bad += 1;
                continue;
            }
            assert_eq!(key.public_key(), octets(group, "publicKey"), "{name}");
            let made = key.sign(&context, &message).unwrap();
            for signature in [&made, &octets(test, "sig")] {
                assert_eq!(of(backend).verify(set, key.public_key(), &context, &message, signature), Ok(()), "{name}");
            }
            // The file of the key is read, too, and is what we write.
            let pkcs8 = optional(group, "privateKeyPkcs8");
            if !pkcs8.is_empty() {
                let signer = provider(Family::MlDsa, backend).keys.signer(&pkcs8).unwrap();
                assert_eq!(*signer.export_form(KeyForm::Seed).unwrap(), pkcs8, "{name}");
            }
            good += 1;
        }
    }
    assert!(good > 30 && bad > 6, "{good} good and {bad} bad ones");
}

pub(super) fn wycheproof_verification(backend: Backend) {
    let (mut good, mut bad) = (0, 0);
    for set in ML_DSA {
        let Some(file) = json(&wycheproof(set, "verify")) else { return };
        for (group, test) in cases(&file) {
            let (key, context, message) = (octets(group, "publicKey"), optional(test, "ctx"), octets(test, "msg"));
            let verified = of(backend).verify(set, &key, &context, &message, &octets(test, "sig"));
            if test["result"] == "valid" {
                assert_eq!(verified, Ok(()), "{set} {}: {}", test["tcId"], test["comment"]);
                good += 1;
            } else {
                assert!(verified.is_err(), "{set} {}: {}", test["tcId"], test["comment"]);
                bad += 1;
            }
        }
    }
    assert!(good > 40 && bad > 80, "{good} good and {bad} bad ones");
}

fn wycheproof(set: KeyAlgorithm, kind: &str) -> String {
    format!("wycheproof/{}_{kind}_test.subset.json", set.to_string().replacen('-', "", 1).replace('-', "_"))
}

pub(super) fn the_key_files_of_rfc_9881(backend: Backend) {
    let (provider, declared) = (provider(Family::MlDsa, backend), backend.abilities(Family::MlDsa).unwrap());
    for set in ML_DSA {
        let name = set.to_string().to_ascii_uppercase();
        let Some(spki) = pem(&format!("lamps-dilithium/{name}.pub")) else { return };
        for form in FORMS {
            let file = pem(&format!("lamps-dilithium/{name}-{form}.priv")).unwrap();
            let read = provider.keys.signer(&file);
            answers(if form == KeyForm::Expanded { declared.import_expanded } else { declared.import_seed }, &read, &name);
            let Ok(key) = read else { continue };
            assert_eq!(key.spki(), spki, "{name} {form}");
            assert_eq!(*key.export_form(form).unwrap(), file, "{name} {form}");
            // What was never there cannot be given.
            assert_eq!(key.export_form(KeyForm::Seed).is_some(), form != KeyForm::Expanded);
        }
    }
    for bad in 1..=3 {
        let file = pem(&format!("lamps-dilithium/bad-ML-DSA-44-{bad}.priv")).unwrap();
        let refused = provider.keys.signer(&file).err().unwrap();
        let cannot = declared.import_expanded == Ability::Absent && bad != 1;
        assert_eq!(refused, if cannot { CryptoError::Unsupported } else { CryptoError::BadKey }, "{bad}");
    }
}

pub(super) fn keys_have_the_same_octets_as_with_all_others(backend: Backend) {
    for set in ML_DSA {
        let made = provider(Family::MlDsa, backend).keys.generate(set).unwrap();
        for other in others(backend) {
            let keys = provider(Family::MlDsa, other).keys;
            for form in FORMS {
                let file = made.export_form(form).unwrap();
                let Ok(read) = keys.signer(&file) else {
                    let can = other.abilities(Family::MlDsa).unwrap().import_expanded;
                    assert_eq!((form, can), (KeyForm::Expanded, Ability::Absent), "{other}");
                    continue;
                };
                assert_eq!(read.spki(), made.spki(), "{set} {form} by {other}");
                assert_eq!(read.export_form(form).unwrap(), file, "{set} {form} by {other}");
            }
        }
    }
}

pub(super) fn all_others_verify_its_signatures(backend: Backend) {
    for set in ML_DSA {
        let algorithm = set.only_signature().unwrap();
        let key = provider(Family::MlDsa, backend).keys.generate(set).unwrap();
        for message in [&b""[..], b"m", &[0x5a; 5000]] {
            let signature = key.sign(algorithm, message).unwrap();
            assert_eq!(signature.len(), set.max_signature_len());
            for other in others(backend) {
                let verifier = provider(Family::MlDsa, other).verifier;
                assert_eq!(verifier.verify(algorithm, key.spki(), message, &signature), Ok(()), "{set} by {other}");
                assert_eq!(verifier.verify(algorithm, key.spki(), b"another", &signature), Err(CryptoError::BadSignature));
            }
        }
    }
}

pub(super) fn contexts_are_kept_apart(backend: Backend) {
    let (it, set) = (of(backend), KeyAlgorithm::MlDsa44);
    let key = key(backend, set);
    let longest = [9; 255];
    for context in [&b""[..], b"c", b"COMPSIG-MLDSA44-Ed25519-SHA512", &longest] {
        let signature = key.sign(context, b"message").unwrap();
        for verifier in backends(Family::MlDsa) {
            for other in [&b""[..], b"c", b"d", b"cc", &longest[1..], &longest] {
                let verified = of(verifier).verify(set, key.public_key(), other, b"message", &signature);
                assert_eq!(verified.is_ok(), other == context, "by {verifier}: {context:?} as {other:?}");
            }
        }
    }
    let too_long = [9; 256];
    assert!(key.sign(&too_long, b"message").is_err());
    let signature = key.sign(&[], b"message").unwrap();
    assert!(it.verify(set, key.public_key(), &too_long, b"message", &signature).is_err());
}

pub(super) fn composites_verify_everywhere(backend: Backend) {
    for composite in [Composite::MlDsa44Ed25519, Composite::MlDsa65EcdsaP256, Composite::MlDsa87EcdsaP384] {
        let (kind, algorithm) = (KeyAlgorithm::Composite(composite), SignatureAlgorithm::Composite(composite));
        let key = provider(Family::MlDsa, backend).keys.generate(kind).unwrap();
        let signature = key.sign(algorithm, b"message").unwrap();
        let file = key.export_pkcs8().unwrap();
        for other in backends(Family::MlDsa) {
            let other = provider(Family::MlDsa, other);
            assert_eq!(other.verifier.verify(algorithm, key.spki(), b"message", &signature), Ok(()), "{composite}");
            let read = other.keys.signer(&file).unwrap();
            assert_eq!((read.key(), read.spki()), (kind, key.spki()));
            assert_eq!(read.export_pkcs8().unwrap(), file);
        }
    }
}

pub(super) fn signatures_are_hedged(backend: Backend) {
    for set in ML_DSA {
        let key = key(backend, set);
        let mut made: Vec<_> = (0..4).map(|_| key.sign(&[], b"message").unwrap()).collect();
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 4, "{set}: the same signature twice");
    }
}

pub(super) fn what_was_changed_does_not_verify(backend: Backend) {
    for set in ML_DSA {
        let key = key(backend, set);
        let good = key.sign(&[], b"message").unwrap();
        let verify = |public: &[u8], signature: &[u8]| of(backend).verify(set, public, &[], b"message", signature);
        assert_eq!(verify(key.public_key(), &good), Ok(()));
        for place in [0, 1, 31, 32, 47, 48, 64, 700, good.len() - 90, good.len() - 2, good.len() - 1] {
            let mut changed = good.clone();
            changed[place] ^= 0x20;
            assert_eq!(verify(key.public_key(), &changed), Err(CryptoError::BadSignature), "{set} octet {place}");
        }
        for wrong in
            [&good[1..], &good[..good.len() - 1], &[&good[..], &[0]].concat(), &[], &vec![0; good.len()], &vec![255; good.len()]]
        {
            assert_eq!(verify(key.public_key(), wrong), Err(CryptoError::BadSignature), "{set}");
        }
        let public = key.public_key();
        for wrong in [&public[1..], &public[..public.len() - 1], &[public, &[0]].concat(), &[]] {
            assert_eq!(verify(wrong, &good), Err(CryptoError::BadKey), "{set}");
        }
        let mut other = public.to_vec();
        other[40] ^= 1;
        assert_eq!(verify(&other, &good), Err(CryptoError::BadSignature));
    }
}

pub(super) fn keys_that_are_no_keys_are_refused(backend: Backend) {
    let (it, provider) = (of(backend), provider(Family::MlDsa, backend));
    let declared = backend.abilities(Family::MlDsa).unwrap().import_expanded;
    let refusal = if declared == Ability::Absent { CryptoError::Unsupported } else { CryptoError::BadKey };
    for set in ML_DSA {
        let expanded = key(Backend::AwsLc, set).expanded().unwrap();
        for wrong in [&expanded[1..], &expanded[..expanded.len() - 1], &[&expanded[..], &[0]].concat(), &[], &[7; 32]] {
            assert_eq!(it.read_expanded(set, wrong).err(), Some(refusal), "{set}");
        }
        // tr, and t0.
        for place in [64, 127, expanded.len() - 1] {
            let mut changed = expanded.to_vec();
            changed[place] ^= 1;
            assert_eq!(it.read_expanded(set, &changed).err(), Some(refusal), "{set} octet {place}");
        }
    }
    // A publicKey field that is another's, and parameters where none belong.
    let seed = [&[0x80, 32][..], &[7; 32]].concat();
    let file = raw_key::pkcs8(KeyAlgorithm::MlDsa44, &seed).unwrap();
    assert!(provider.keys.signer(&file).is_ok());
    let other = it.expand_seed(KeyAlgorithm::MlDsa44, &[8; 32]).unwrap();
    assert!(provider.keys.signer(&with_public_key(&seed, key(backend, KeyAlgorithm::MlDsa44).public_key())).is_ok());
    assert_eq!(provider.keys.signer(&with_public_key(&seed, other.public_key())).err(), Some(CryptoError::BadKey));
    let mut cut = file.to_vec();
    cut.pop();
    assert_eq!(provider.keys.signer(&cut).err(), Some(CryptoError::BadKey));
}

/// PKCS#8 of version 2, with the public key.
fn with_public_key(private: &[u8], public: &[u8]) -> Vec<u8> {
    use der::Encode;
    use der::asn1::{BitStringRef, OctetStringRef};
    let algorithm = pkcs8::AlgorithmIdentifierRef { oid: SignatureAlgorithm::MlDsa44.oid(), parameters: None };
    let mut info = pkcs8::PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(private).unwrap());
    info.public_key = Some(BitStringRef::from_bytes(public).unwrap());
    info.to_der().unwrap()
}

pub(super) fn one_key_serves_many_threads(backend: Backend) {
    let set = KeyAlgorithm::MlDsa65;
    let key = key(backend, set);
    std::thread::scope(|scope| {
        for thread in 0..6u8 {
            let key = &key;
            scope.spawn(move || {
                for turn in 0..3 {
                    let signature = key.sign(&[thread], &[turn]).unwrap();
                    assert_eq!(of(backend).verify(set, key.public_key(), &[thread], &[turn], &signature), Ok(()));
                }
            });
        }
    });
}
