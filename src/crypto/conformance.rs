//! One suite over every backend: what it declares holds, it agrees with the published vectors and with all the others.
//!
//! A backend is tested as part of a provider and below it, where raw keys and contexts are.

use base64::Engine;
use serde_json::Value;

use super::backend::{Ability, Backend, Choice};
use super::{CryptoError, CryptoProvider, KeyForm};
use crate::algorithm::{Family, KeyAlgorithm};

mod ml_dsa;
mod slh_dsa;

/// Runs the named checks over one backend, each as a test of its own.
macro_rules! suite {
    ($name:ident, $backend:expr, $checks:ident: $($check:ident),+ $(,)?) => {
        mod $name {
            $(
                #[test]
                fn $check() {
                    super::$checks::$check($backend);
                }
            )+
        }
    };
}

macro_rules! ml_dsa_suite {
    ($name:ident, $backend:expr) => {
        suite!(
            $name,
            $backend,
            ml_dsa: what_it_declares_holds,
            acvp_key_generation,
            acvp_signature_generation,
            acvp_signature_verification,
            wycheproof_signing,
            wycheproof_verification,
            the_key_files_of_rfc_9881,
            keys_have_the_same_octets_as_with_all_others,
            all_others_verify_its_signatures,
            contexts_are_kept_apart,
            composites_verify_everywhere,
            signatures_are_hedged,
            what_was_changed_does_not_verify,
            keys_that_are_no_keys_are_refused,
            one_key_serves_many_threads,
        );
    };
}

ml_dsa_suite!(ml_dsa_by_aws_lc, crate::crypto::backend::Backend::AwsLc);
ml_dsa_suite!(ml_dsa_by_rustcrypto, crate::crypto::backend::Backend::RustCrypto);
#[cfg(feature = "oqs")]
ml_dsa_suite!(ml_dsa_by_liboqs, crate::crypto::backend::Backend::Liboqs);

suite!(
    slh_dsa_by_rustcrypto,
    crate::crypto::backend::Backend::RustCrypto,
    slh_dsa: what_it_declares_holds,
    acvp_key_generation,
    another_implementation_makes_the_same_keys_and_signatures,
    signatures_are_hedged,
    what_was_changed_does_not_verify,
    keys_that_are_no_keys_are_refused,
);

/// Every backend of this build that has the family.
fn backends(family: Family) -> Vec<Backend> {
    Backend::ALL.iter().copied().filter(|backend| backend.is_built_in() && backend.abilities(family).is_some()).collect()
}

/// A provider with this backend for the family.
fn provider(family: Family, backend: Backend) -> &'static CryptoProvider {
    Choice::default().with(family, backend).unwrap().provider()
}

/// A file of the vectors folder beside the project.
fn vectors(path: &str) -> Option<Vec<u8>> {
    let (folder, name) = path.split_once('/').unwrap();
    super::vectors::beside(folder, name)
}

fn json(path: &str) -> Option<Value> {
    vectors(path).map(|text| serde_json::from_slice(&text).unwrap())
}

/// What is in a PEM file.
fn pem(path: &str) -> Option<Vec<u8>> {
    let text = String::from_utf8(vectors(path)?).unwrap();
    let inner: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    Some(base64::prelude::BASE64_STANDARD.decode(inner).unwrap())
}

/// A field in hexadecimal.
fn octets(test: &Value, field: &str) -> Vec<u8> {
    hex::decode(test[field].as_str().unwrap_or_else(|| panic!("no {field} in case {}", test["tcId"]))).unwrap()
}

/// As [`octets`], empty where there is none.
fn optional(test: &Value, field: &str) -> Vec<u8> {
    test[field].as_str().map(|text| hex::decode(text).unwrap()).unwrap_or_default()
}

/// Every test of a file of vectors with its group.
fn cases(file: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    file["testGroups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["tests"].as_array().unwrap().iter().map(move |test| (group, test)))
}

/// What an ability that is not there has to answer, and one that is must not.
fn answers<T>(ability: Ability, result: &Result<T, CryptoError>, what: &str) {
    match ability {
        Ability::Itself | Ability::Helped => assert!(result.is_ok(), "{what}: {:?}", result.as_ref().err()),
        Ability::Absent => assert_eq!(result.as_ref().err(), Some(&CryptoError::Unsupported), "{what}"),
    }
}

const ML_DSA: [KeyAlgorithm; 3] = [KeyAlgorithm::MlDsa44, KeyAlgorithm::MlDsa65, KeyAlgorithm::MlDsa87];

/// The parameter set by its name in vectors: `ML-DSA-44`.
fn set(name: &Value) -> KeyAlgorithm {
    name.as_str().unwrap().to_ascii_lowercase().parse().unwrap()
}

const FORMS: [KeyForm; 3] = [KeyForm::Seed, KeyForm::Expanded, KeyForm::Both];
