//! Replays what real clients sent: `testdata/scep/captured/`, whose README says where it came from.
//!
//! Every message is read, its signature and its envelope are opened as the server does it, and what is inside is compared with
//! `index.toml`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ravelin::algorithm::{ContentCipher, Digest};
use ravelin::crypto::keystore::read_key;
use ravelin::crypto::provider;
use ravelin::crypto::ra::RaDecrypter;
use ravelin::scep::envelope::EnvelopePolicy;
use ravelin::scep::{Envelope, MessageType, PkiMessage, WireError};
use ravelin::x509::ber::to_der;
use ravelin::x509::{Certificate, VerifiedCsr};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    message: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    digest: Digest,
    cipher: ContentCipher,
    subject: String,
    challenge: Option<String>,
    method: String,
    recipients: usize,
    #[expect(dead_code, reason = "for people")]
    note: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scep/captured")
}

fn certificate(name: &str) -> Certificate {
    Certificate::from_pem(&fs::read_to_string(folder().join(name)).expect("in the repository")).expect("made by openssl")
}

fn ra_decrypter() -> RaDecrypter {
    let key = read_key(&folder().join("ra-decrypt.key.pem"), None).expect("PKCS#8 in the clear");
    RaDecrypter {
        key: provider().keys.decrypter(&key).expect("RSA").into(),
        certificate: Arc::new(certificate("ra-decrypt.pem")),
    }
}

fn index() -> Vec<Expected> {
    let text = fs::read_to_string(folder().join("index.toml")).expect("in the repository");
    toml::from_str::<Index>(&text).expect("as the struct says").message
}

#[test]
fn every_message_is_read_as_the_index_says() {
    let ra = ra_decrypter();
    let ca = certificate("ca.pem");
    for expected in index() {
        let name = &expected.name;
        let der = fs::read(folder().join(format!("{name}.der"))).expect("in the repository");
        let der = to_der(&der).unwrap_or_else(|e| panic!("{}: {e}", expected.name));
        let message = PkiMessage::read(&der).unwrap_or_else(|e| panic!("{name}: {e}"));
        let kind = message.attributes().message_type.and_then(MessageType::from_number).map(MessageType::name);
        assert_eq!(kind, Some(expected.kind.as_str()), "{name}");
        assert!(message.attributes().transaction_id.as_ref().is_some_and(|id| id.len() > 20), "{name}");
        assert_eq!(message.attributes().sender_nonce.as_ref().map(Vec::len), Some(16), "{name}");
        assert_eq!(message.digest(), Some(expected.digest), "{name}");

        let signer = message.signer_certificate().unwrap_or_else(|e| panic!("{name}: {e}"));
        message.verify(&signer, &[expected.digest]).unwrap_or_else(|e| panic!("{name}: {e}"));
        let others: Vec<Digest> = Digest::ALL.iter().copied().filter(|digest| *digest != expected.digest).collect();
        assert!(message.verify(&signer, &others).is_err(), "{name}: a digest that is not taken");
        let ours = signer.verify_signed_by(ca.spki()).is_ok();
        assert_eq!(ours, expected.kind == "RenewalReq", "{name}: signed by a certificate of the CA");

        let content = to_der(message.content().expect("an envelope")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let envelope = Envelope::read(&content).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(envelope.cipher(), Some(expected.cipher), "{name}");
        let policy = EnvelopePolicy { ciphers: &[expected.cipher], oaep: false };
        let opened = envelope.open(std::slice::from_ref(&ra), policy).unwrap_or_else(|e| panic!("{name}: {e}"));
        let csr = VerifiedCsr::from_der(&opened.content).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(csr.challenge_password(), expected.challenge.as_deref(), "{name}");
        let parts = |text: &str| text.split(',').map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(parts(&csr.subject().to_string()), parts(&expected.subject), "{name}");
    }
}

#[test]
fn weak_ciphers_stay_shut_unless_named() {
    let ra = ra_decrypter();
    let modern = [ContentCipher::Aes128Cbc, ContentCipher::Aes256Cbc];
    let mut refused = 0;
    for expected in index().iter().filter(|expected| expected.cipher.is_legacy()) {
        let der = fs::read(folder().join(format!("{}.der", expected.name))).expect("in the repository");
        let der = to_der(&der).unwrap_or_else(|e| panic!("{}: {e}", expected.name));
        let message = PkiMessage::read(&der).expect("read above");
        let content = to_der(message.content().expect("an envelope")).expect("read above");
        let envelope = Envelope::read(&content).expect("read above");
        let answer = envelope.open(std::slice::from_ref(&ra), EnvelopePolicy { ciphers: &modern, oaep: false });
        assert!(matches!(answer, Err(WireError::CipherNotAllowed(_))), "{}: {answer:?}", expected.name);
        refused += 1;
    }
    assert!(refused >= 4);
}

#[test]
fn a_message_for_others_stays_shut() {
    // The key of the other RA certificate: the message does not name it, so it is not tried.
    let key = read_key(&folder().join("ra-sign.key.pem"), None).expect("PKCS#8 in the clear");
    let wrong = RaDecrypter {
        key: provider().keys.decrypter(&key).expect("RSA").into(),
        certificate: Arc::new(certificate("ra-sign.pem")),
    };
    for expected in index().iter().filter(|expected| expected.recipients == 1) {
        let der = fs::read(folder().join(format!("{}.der", expected.name))).expect("in the repository");
        let der = to_der(&der).unwrap_or_else(|e| panic!("{}: {e}", expected.name));
        let message = PkiMessage::read(&der).expect("read above");
        let content = to_der(message.content().expect("an envelope")).expect("read above");
        let envelope = Envelope::read(&content).expect("read above");
        let answer = envelope.open(std::slice::from_ref(&wrong), EnvelopePolicy { ciphers: &[expected.cipher], oaep: false });
        assert!(matches!(answer, Err(WireError::WrongRecipient)), "{}: {answer:?}", expected.name);
    }
}

#[test]
fn one_changed_octet_is_seen() {
    for expected in index() {
        let mut der = fs::read(folder().join(format!("{}.der", expected.name))).expect("in the repository");
        // Inside the encrypted content: the structure stays, the digest does not.
        let middle = der.len() / 4;
        der[middle] ^= 1;
        let seen = match PkiMessage::read(&der) {
            Err(_) => true,
            Ok(message) => match message.signer_certificate() {
                Err(_) => true,
                Ok(signer) => message.verify(&signer, Digest::ALL).is_err(),
            },
        };
        assert!(seen, "{}", expected.name);
    }
}

#[test]
fn every_file_is_in_the_index() {
    let listed: BTreeSet<String> = index().into_iter().map(|expected| expected.name).collect();
    let found: BTreeSet<String> = fs::read_dir(folder())
        .expect("in the repository")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII"))
        .filter_map(|name| name.strip_suffix(".der").map(str::to_owned))
        .collect();
    assert_eq!(found, listed);
    for expected in index() {
        let http = fs::read_to_string(folder().join(format!("{}.http", expected.name))).expect("in the repository");
        assert!(http.starts_with(&format!("{} /", expected.method)), "{}", expected.name);
    }
}
