//! The connector against a scripted server: its messages taken apart, its answers good, odd and hostile.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::message::{Message, NewHeader};
use super::*;
use crate::algorithm::{Digest, KeyAlgorithm};
use crate::crypto::{keystore, provider};
use crate::upstream::secret::SecretSource;
use crate::upstream::testing::{Play, Scripted, Seen, TestCa};
use crate::x509::extension::{self, oid};
use crate::x509::tlv::{encode, encode_unsigned, tag};
use crate::x509::{DistinguishedName, Extension, KeyUsage, builder};

mod answers;
mod flow;
mod foreign;
mod hostile;
mod others;
mod requests;
mod responders;

const SECRET: &str = "insta-secret";
const KEY: IdempotencyKey = IdempotencyKey([7; 16]);

/// Settings for a shared secret.
fn by_secret(ca: &TestCa) -> CmpCaSettings {
    let file = ca.file("secret");
    std::fs::write(&file, SECRET).unwrap();
    CmpCaSettings {
        path: "/.well-known/cmp/p/devices".into(),
        message: RequestKind::P10cr,
        asked: Asked { usages: true, validity: true },
        credential: CredentialSettings::Secret(SecretSource::File(file), MacKind::Pbm),
        sender: None,
        reference: Some("ravelin".into()),
        recipient: None,
        cert_profile: None,
        trust_responses: None,
        responder: None,
        clock_tolerance: Duration::from_secs(300),
        repeats: Repeats::No,
        unprotected_errors: false,
        implicit_confirm: true,
    }
}

/// Settings for a key with a certificate of this CA.
fn by_signature(ca: &TestCa, key: KeyAlgorithm) -> CmpCaSettings {
    let files = ca.identity(key, &[]);
    let credential = CredentialSettings::Signature { certificate: files.certificate, key: files.key };
    CmpCaSettings { credential, reference: None, ..by_secret(ca) }
}

fn cmp(server: &Scripted, settings: CmpCaSettings) -> Cmp {
    let settings = CmpSettings { cas: BTreeMap::from([("devices".to_owned(), settings)]) };
    let cmp = Cmp::open(&settings, server.http(), Duration::from_secs(5), "").unwrap();
    cmp.peers["devices"].believe(peer::Belief::Good);
    cmp
}

/// How an answer is made; what is hostile about one is a change of this.
struct Answered {
    pvno: u8,
    tag: u8,
    content: Vec<u8>,
    implicit: bool,
    by: Option<Credential>,
    time: Timestamp,
    transaction: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
    beside: Vec<Vec<u8>>,
}

fn answered(tag: u8, content: Vec<u8>) -> Answered {
    let by = Some(Credential::Secret { secret: Zeroizing::new(SECRET.to_owned()), kind: MacKind::Pbm });
    let time = Timestamp::now();
    Answered { pvno: 2, tag, content, implicit: false, by, time, transaction: None, nonce: None, beside: Vec::new() }
}

/// The nonce of the server.
const NONCE: [u8; 16] = [9; 16];

impl Answered {
    /// Writes it as an answer to this request.
    fn to(&self, seen: &Seen) -> Vec<u8> {
        let request = Message::read(&seen.body).unwrap();
        let (sender, kid) = match &self.by {
            Some(Credential::Signature { chain, .. }) => {
                (chain[0].subject().clone(), chain[0].subject_key_identifier().unwrap_or_default())
            }
            _ => (DistinguishedName::parse("CN=CA", true).unwrap(), b"ravelin".to_vec()),
        };
        let seal = self.by.as_ref().map(Credential::seal);
        let header = NewHeader {
            pvno: self.pvno,
            sender: &sender,
            recipient: &DistinguishedName::from_rdns(Vec::new()).unwrap(),
            time: self.time,
            protection: &seal.as_ref().map_or_else(|| vec![0x30, 0], |seal| seal.algorithm()),
            sender_kid: &kid,
            transaction: self.transaction.as_deref().unwrap_or(request.header.transaction),
            sender_nonce: &NONCE,
            recip_nonce: self.nonce.as_deref().unwrap_or(request.header.sender_nonce),
            implicit_confirm: self.implicit,
            cert_profile: None,
        };
        let (header, body) = (header.to_der(), message::body(self.tag, self.content.clone()));
        let Some(seal) = seal else { return encode(tag::SEQUENCE, &[header, body]) };
        let protection = seal.protect(&message::protected_part(&header, &body)).unwrap();
        let own = self.by.as_ref().unwrap().certificates();
        let beside: Vec<_> = own.into_iter().chain(self.beside.iter().map(Vec::as_slice)).collect();
        message::assemble(&header, &body, &protection, &beside)
    }

    fn play(&self, seen: &Seen) -> Play {
        Play::body(200, "application/pkixcmp", self.to(seen))
    }

    fn implicit(self) -> Self {
        Self { implicit: true, ..self }
    }
}

/// CertRepMessage with a status and perhaps a certificate.
fn cert_rep(id: u8, status: &[u8], certificate: Option<&Certificate>) -> Vec<u8> {
    let pair = certificate.map(|certificate| encode(tag::SEQUENCE, &[encode(tag::context_constructed(0), &[certificate.der()])]));
    let response = [encode(tag::INTEGER, &[[id]]), status.to_vec(), pair.unwrap_or_default()];
    encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &response)])])
}

/// PKIStatusInfo.
fn status(number: u8, failure: Option<u8>) -> Vec<u8> {
    let failure = failure.map(|bit| {
        let mut octets = vec![0; usize::from(bit / 8) + 1];
        octets[usize::from(bit / 8)] = 0x80 >> (bit % 8);
        encode(tag::BIT_STRING, &[[7 - bit % 8].as_slice(), &octets])
    });
    let text = encode(tag::SEQUENCE, &[encode(tag::UTF8_STRING, &["said so"])]);
    encode(tag::SEQUENCE, &[encode_unsigned(&[number]), text, failure.unwrap_or_default()])
}

fn accepted(certificate: &Certificate) -> Answered {
    answered(body_tag::CP, cert_rep(0xff, &status(0, None), Some(certificate)))
}

fn pki_conf() -> Answered {
    answered(body_tag::PKI_CONF, vec![tag::NULL, 0])
}

fn error(failure: Option<u8>) -> Answered {
    answered(body_tag::ERROR, encode(tag::SEQUENCE, &[status(2, failure)]))
}

/// Plays one answer after the other.
async fn playing(answers: Vec<Answered>) -> Scripted {
    let next = AtomicUsize::new(0);
    Scripted::answering(move |seen| match answers.get(next.fetch_add(1, Ordering::Relaxed)) {
        Some(answer) => answer.play(seen),
        None => Play::body(599, "text/plain", "the script has come to its end"),
    })
    .await
}

fn reference(submission: &Submission) -> String {
    match submission {
        Submission::Waiting { reference, .. } => reference.clone(),
        other => panic!("{other:?}"),
    }
}

fn reason(submission: Submission) -> String {
    match submission {
        Submission::Rejected { reason } | Submission::Unknown { reason } | Submission::NotTaken { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn name_of(submission: &Submission) -> &'static str {
    match submission {
        Submission::Issued { .. } => "issued",
        Submission::Waiting { .. } => "waiting",
        Submission::NotTaken { .. } => "not taken",
        Submission::Rejected { .. } => "rejected",
        Submission::Unknown { .. } => "unknown",
        Submission::Lost { .. } => "lost",
    }
}
