//! One message to the CA, and its answer, which is believed only once everything about it was checked.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use jiff::Timestamp;

use super::message::{self, Message, NewHeader, PVNO, PVNO_2021, body_tag};
use super::peer::{Belief, Peer};
use super::responders::Responders;
use super::{body, protection};
use crate::crypto::provider;
use crate::upstream::IdempotencyKey;
use crate::upstream::http::Http;
use crate::upstream::remote::{CallError, RemoteCa};
use crate::x509::{Certificate, ber};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The transactionID.
    pub transaction: Vec<u8>,
    /// Our nonce.
    pub nonce: [u8; 16],
    /// The nonce of the CA that this message answers; empty for the first.
    pub answers: Vec<u8>,
    /// The tag of the body.
    pub body_tag: u8,
    /// What is inside the body.
    pub content: Vec<u8>,
    /// Whether it needs a server of RFC 9480 or later.
    pub needs_2021: bool,
}

impl Ask {
    /// The first message of a transaction of its own.
    pub fn alone(body_tag: u8, content: Vec<u8>) -> Self {
        let transaction = provider().random::<16>().to_vec();
        Self { transaction, nonce: provider().random(), answers: Vec::new(), body_tag, content, needs_2021: false }
    }

    /// The first message about an order: transaction and nonce are made of its key, so that it is the same message whenever it is sent.
    pub fn about(key: &IdempotencyKey, body_tag: u8, content: Vec<u8>) -> Self {
        let derive = |label: &[u8]| -> [u8; 16] {
            let digest = provider().digester.sha256(&[label, &key.0].concat());
            digest[..16].try_into().expect("SHA-256 has 32 octets")
        };
        let transaction = derive(b"ravelin CMP transactionID").to_vec();
        let nonce = derive(b"ravelin CMP senderNonce");
        Self { transaction, nonce, answers: Vec::new(), body_tag, content, needs_2021: false }
    }

    /// A further message of a transaction.
    pub fn further(transaction: &[u8], answers: &[u8], body_tag: u8, content: Vec<u8>) -> Self {
        let answers = answers.to_vec();
        Self { transaction: transaction.to_vec(), nonce: provider().random(), answers, body_tag, content, needs_2021: false }
    }

    /// Whether this asks for a certificate.
    fn enrolls(&self) -> bool {
        matches!(self.body_tag, body_tag::IR | body_tag::CR | body_tag::P10CR)
    }
}

/// An answer that was checked.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The tag of its body.
    pub body_tag: u8,
    /// What is inside the body.
    pub content: Vec<u8>,
    /// The nonce that our next message answers.
    pub nonce: Vec<u8>,
    /// Whether no confirmation is wanted.
    pub implicit_confirm: bool,
    /// Certificates of CAs beside it, which nothing protects.
    pub beside: Vec<Arc<Certificate>>,
}

/// Certificates beside an answer that are looked at.
const MOST_BESIDE: usize = 32;

/// Sends a message, and checks the answer. [`CallError::Unclear`] is whatever cannot be believed: the CA may have acted all the same.
pub async fn exchange(http: &Http, peer: &Arc<Peer>, ca: &RemoteCa, ask: Ask) -> Result<Answer, CallError> {
    let recipient = peer.settings.recipient.clone().unwrap_or_else(|| ca.certificate().subject().clone());
    let responders = peer.responders(ca);
    let sealing = (Arc::clone(peer), ask.clone());
    let sealed = tokio::task::spawn_blocking(move || seal(&sealing.0, &recipient, &sealing.1, Timestamp::now())).await;
    let request = match sealed {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return Err(CallError::not_taken(format!("the message cannot be protected: {error}"))),
        Err(join) => return Err(CallError::not_taken(format!("the message cannot be protected: {join}"))),
    };
    let request = Request::post(format!("{}{}", http.url(), peer.settings.path))
        .header(CONTENT_TYPE, "application/pkixcmp")
        .header(ACCEPT, "application/pkixcmp")
        .body(Bytes::from(request))
        .map_err(|error| CallError::not_taken(error.to_string()))?;
    let answer = http.send(request).await?;
    // A message of the CA counts more than the status that it comes with (RFC 9811 section 3.5).
    let is_message = answer.body.first() == Some(&0x30);
    if !is_message {
        // Who may not ask here, or asks at the wrong place, is for the operator to mend, and no fault of what was asked for.
        if matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            let said = answer.status_line();
            return Err(CallError::not_taken(format!("there is no CMP for us at {}: {said}", peer.settings.path)));
        }
        answer.success()?;
        return Err(CallError::Unclear("the answer is no CMP message".to_owned()));
    }
    let peer = Arc::clone(peer);
    let checked = tokio::task::spawn_blocking(move || read(&answer.body, &ask, &peer, &responders, Timestamp::now())).await;
    checked.unwrap_or_else(|join| Err(CallError::Unclear(join.to_string())))
}

/// Makes a message. Slow.
fn seal(
    peer: &Peer,
    recipient: &crate::x509::DistinguishedName,
    ask: &Ask,
    now: Timestamp,
) -> Result<Vec<u8>, crate::x509::X509Error> {
    let seal = peer.credential.seal();
    let header = NewHeader {
        pvno: if ask.needs_2021 { PVNO_2021 } else { PVNO },
        sender: &peer.sender,
        recipient,
        time: now,
        protection: &seal.algorithm(),
        sender_kid: &peer.sender_kid,
        transaction: &ask.transaction,
        sender_nonce: &ask.nonce,
        recip_nonce: &ask.answers,
        implicit_confirm: ask.enrolls() && peer.settings.implicit_confirm,
        cert_profile: peer.settings.cert_profile.as_deref().filter(|_| ask.enrolls()),
    };
    let header = header.to_der();
    let body = message::body(ask.body_tag, ask.content.clone());
    let protection = seal.protect(&message::protected_part(&header, &body))?;
    Ok(message::assemble(&header, &body, &protection, &peer.credential.certificates()))
}

/// Reads an answer, and checks all that ties it to what was asked. Slow.
fn read(octets: &[u8], ask: &Ask, peer: &Peer, responders: &Responders, now: Timestamp) -> Result<Answer, CallError> {
    let malformed = |error: crate::x509::X509Error| CallError::Unclear(format!("the answer is no CMP message: {error}"));
    let der = ber::to_der(octets).map_err(malformed)?;
    let message = Message::read(&der).map_err(malformed)?;
    let header = &message.header;
    let bare_error = message.body_tag == body_tag::ERROR && message.protection.is_none();
    if bare_error && !peer.settings.unprotected_errors {
        let said = body::read_error(message.content).map_err(malformed)?;
        peer.believe(Belief::Bare);
        return Err(CallError::Unclear(format!(
            "the answer is an error that nothing protects, so that anybody may have written it ({said}); \
             `unprotected-errors = true` believes such"
        )));
    }
    let disbelieved = |why: String| CallError::Unclear(format!("the answer cannot be believed: {why}"));
    if !matches!(header.pvno, 2 | 3) {
        return Err(disbelieved(format!("it is of version {}", header.pvno)));
    }
    // An error about a message that the CA could not read may not know what it answers.
    let unknown = |field: &[u8]| bare_error && field.is_empty();
    if header.transaction != ask.transaction && !unknown(header.transaction) {
        return Err(disbelieved("it is of another transaction".to_owned()));
    }
    if header.recip_nonce != ask.nonce && !unknown(header.recip_nonce) {
        return Err(disbelieved("it does not answer our nonce".to_owned()));
    }
    if !bare_error {
        let verified = protection::verify(&message, &peer.credential, responders, now);
        peer.believe(verified.as_ref().err().map_or(Belief::Good, |why| Belief::Bad(why.clone())));
        verified.map_err(disbelieved)?;
    }
    if let Some(time) = header.time {
        let apart = time.duration_since(now).unsigned_abs();
        if apart > peer.settings.clock_tolerance {
            return Err(disbelieved(format!(
                "it says that it was made at {time}, {} s from our time; `clock-tolerance` is {} s",
                apart.as_secs(),
                peer.settings.clock_tolerance.as_secs()
            )));
        }
    }
    Ok(Answer {
        body_tag: message.body_tag,
        content: message.content.to_vec(),
        nonce: header.sender_nonce.to_vec(),
        implicit_confirm: header.implicit_confirm,
        beside: message
            .extra_certificates
            .iter()
            .take(MOST_BESIDE)
            .filter_map(|der| Certificate::from_der(der).ok())
            .filter(Certificate::is_ca)
            .map(Arc::new)
            .collect(),
    })
}
