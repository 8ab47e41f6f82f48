//! The forms in which a signature stands in a certificate: alternative signatures, pairs, and every shipped profile.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ravelin::algorithm::{Digest, KeyAlgorithm, SignatureAlgorithm};
use ravelin::crypto::{Signer, provider};
use ravelin::x509::csr::CsrTemplate;
use ravelin::x509::{Certificate, DistinguishedName, VerifiedCsr, X509Error, alternative, related};

/// A file of the vectors folder beside the project, if it is there.
fn vector(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("RAVELIN_SHARED_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"), PathBuf::from);
    let read = std::fs::read(root.join(name)).ok();
    if read.is_none() {
        println!("skipped: the vectors folder has no {name}");
    }
    read
}

fn key(algorithm: KeyAlgorithm) -> Arc<dyn Signer> {
    provider().keys.generate(algorithm).unwrap()
}

// Alternative signatures

/// Self-signed certificates of Bouncy Castle with an alternative signature.
#[test]
fn catalyst_certificates_of_others_verify_until_a_bit_is_flipped() {
    let cases = [
        ("1.2.840.10045.4.3.2", "2.16.840.1.101.3.4.3.17", SignatureAlgorithm::EcdsaSha256, SignatureAlgorithm::MlDsa44),
        ("1.2.840.10045.4.3.4", "2.16.840.1.101.3.4.3.19", SignatureAlgorithm::EcdsaSha512, SignatureAlgorithm::MlDsa87),
        ("1.2.840.113549.1.1.11", "2.16.840.1.101.3.4.3.17", SignatureAlgorithm::RsaSha256, SignatureAlgorithm::MlDsa44),
    ];
    for (classical, post_quantum, signature, alternative) in cases {
        let name = |kind: &str| format!("pqc-certificates/bc/{kind}_{classical}_with_{post_quantum}_ta.der");
        let Some(der) = vector(&name("catalyst")) else { return };
        let certificate = Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.signature_algorithm(), Some(signature));
        assert_eq!(certificate.alternative_signature_algorithm(), Some(alternative));
        assert!(!certificate.is_chameleon());
        certificate.verify_signed_by(certificate.spki()).unwrap();
        let spki = certificate.alternative_spki().unwrap().to_vec();
        certificate.verify_alternative(&spki).unwrap();

        // One bit in each part that the alternative signature covers, and in the signature itself.
        let find = |needle: &[u8]| der.windows(needle.len()).position(|window| window == needle).unwrap();
        let subject = certificate.subject().der().to_vec();
        let value = &certificate.extension(&alternative::ALT_SIGNATURE_VALUE).unwrap().value;
        for at in
            [find(certificate.serial()), find(&subject) + subject.len() - 1, find(certificate.spki()) + 60, find(value) + 100]
        {
            let mut flipped = der.clone();
            flipped[at] ^= 1;
            let damaged = Certificate::from_der(&flipped).unwrap();
            assert!(damaged.verify_alternative(&spki).is_err(), "octet {at} of {}", name("catalyst"));
        }
        // The alternative signature does not cover the ordinary one.
        let mut flipped = der.clone();
        *flipped.last_mut().unwrap() ^= 1;
        Certificate::from_der(&flipped).unwrap().verify_alternative(&spki).unwrap();

        let other = Certificate::from_der(&vector(&name("chameleon")).unwrap()).unwrap();
        assert!(other.is_chameleon() && !other.has_alternative_signature() && other.alternative_spki().is_none());
        assert!(other.verify_alternative(&spki).is_err());
    }
}

#[test]
fn a_request_proves_an_alternative_key_or_is_refused() {
    let (own, second, stranger) = (key(KeyAlgorithm::EcdsaP256), key(KeyAlgorithm::MlDsa65), key(KeyAlgorithm::MlDsa65));
    let subject = DistinguishedName::parse("CN=dev-1", true).unwrap();
    let template = CsrTemplate {
        subject: &subject,
        subject_alt_names: &[],
        extended_key_usages: &[],
        key_usage: None,
        challenge_password: Some("a challenge"),
    };
    let plain = VerifiedCsr::from_der(&template.sign(own.as_ref(), Digest::Sha256).unwrap()).unwrap();
    assert_eq!(plain.alternative(), None);

    let der = template.sign_with_alternative(own.as_ref(), Digest::Sha256, second.as_ref()).unwrap();
    let csr = VerifiedCsr::from_der(&der).unwrap();
    let proved = csr.alternative().unwrap();
    assert_eq!((proved.key, proved.signature_algorithm), (KeyAlgorithm::MlDsa65, SignatureAlgorithm::MlDsa65));
    assert_eq!(proved.spki, second.spki());
    assert_eq!(csr.challenge_password(), Some("a challenge"));

    // Somebody else's alternative key, to which the proof does not fit: the request is signed anew with its own key.
    let claimed = replace(&der, second.spki(), stranger.spki());
    assert_eq!(VerifiedCsr::from_der(&resigned(&claimed, own.as_ref())), Err(X509Error::NoAlternativePossession));
    // With the own key's signature over it the untouched one still holds.
    assert!(VerifiedCsr::from_der(&resigned(&der, own.as_ref())).unwrap().alternative().is_some());
}

fn replace(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = der.windows(from.len()).position(|window| window == from).unwrap();
    [&der[..at], to, &der[at + from.len()..]].concat()
}

/// The same CertificationRequestInfo with a fresh signature.
fn resigned(der: &[u8], signer: &dyn Signer) -> Vec<u8> {
    use der::{Decode, Encode};
    let mut request = x509_cert::request::CertReq::from_der(der).unwrap();
    let signature = signer.sign(SignatureAlgorithm::EcdsaSha256, &request.info.to_der().unwrap()).unwrap();
    request.signature = der::asn1::BitString::from_bytes(&signature).unwrap();
    request.to_der().unwrap()
}

// Related certificates

#[test]
fn a_certificate_is_named_by_the_digest_of_its_signature() {
    assert_eq!(related::RELATED_CERTIFICATE.to_string(), "1.3.6.1.5.5.7.1.36");
    let name = DistinguishedName::parse("CN=a", true).unwrap();
    let now = "2026-06-01T00:00:00Z".parse().unwrap();
    for (algorithm, digest, expected) in [
        (KeyAlgorithm::EcdsaP384, Digest::Sha384, Digest::Sha384),
        (KeyAlgorithm::EcdsaP256, Digest::Sha256, Digest::Sha256),
        (KeyAlgorithm::MlDsa44, Digest::Sha256, Digest::Sha256),
    ] {
        let key = key(algorithm);
        let der = ravelin::x509::builder::self_signed(&name, key.as_ref(), digest, now).unwrap();
        assert_eq!(related::digest_for(&Certificate::from_der(&der).unwrap()), expected);
    }
}
