//! From the octets of a message to a request or a question for the core, in one go on the crypto pool: signature first, then the
//! envelope, then what is in it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::reply::ScepReply;
use crate::algorithm::{ContentCipher, Digest, KeyTransport};
use crate::crypto::provider;
use crate::enroll::query::Question;
use crate::enroll::{EnrollmentRequest, Intent, Peer, Query};
use crate::policy::Endpoint;
use crate::scep::cert_rep::{CertRep, reply_digest};
use crate::scep::envelope::{EnvelopePolicy, Opened};
use crate::scep::issuer_and::{IssuerAndSerialNumber, IssuerAndSubject};
use crate::scep::wire_error::WireAnswer;
use crate::scep::{Attributes, Envelope, MessageType, PkiMessage, WireError};
use crate::snapshot::Snapshot;
use crate::x509::{Certificate, VerifiedCsr, X509Error, ber};

/// What comes with a message.
pub(super) struct Context {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) peer: Peer,
    pub(super) now: Timestamp,
}

/// What was understood of a message: for the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Traits {
    pub(super) message_type: Option<&'static str>,
    pub(super) transaction: Option<String>,
    pub(super) digest: Option<Digest>,
    pub(super) cipher: Option<ContentCipher>,
    /// The certificate of the RA that it was encrypted to.
    pub(super) recipient: Option<Arc<Certificate>>,
}

/// What a message turned out to be.
pub(super) enum Intake {
    /// A request.
    Enroll(EnrollmentRequest),
    /// A question.
    Query(Query, Arc<ScepReply>),
    /// Nothing that the core sees. With the signed FAILURE, if there is one.
    Failed(WireError, Option<Vec<u8>>),
}

/// Takes a message in.
pub(super) fn take_in(octets: &Bytes, context: &Context) -> (Traits, Intake) {
    let mut traits = Traits::default();
    let bare = |error| Intake::Failed(error, None);
    let der = match to_der(octets) {
        Ok(der) => der,
        Err(error) => return (traits, bare(error)),
    };
    let message = match PkiMessage::read(&der) {
        Ok(message) => message,
        Err(error) => return (traits, bare(error)),
    };
    let attributes = message.attributes();
    traits.message_type = attributes.message_type.and_then(MessageType::from_number).map(MessageType::name);
    traits.transaction.clone_from(&attributes.transaction_id);
    traits.digest = message.digest();
    // Without a transactionID there is nothing to answer to.
    let Some(transaction_id) = attributes.transaction_id.as_deref() else {
        return (traits, bare(WireError::MissingAttribute("transactionID")));
    };
    let intake = understand(octets, &message, transaction_id, context, &mut traits).unwrap_or_else(|error| {
        failed(error, attributes, transaction_id, message.digest(), traits.recipient.as_deref(), context)
    });
    (traits, intake)
}

/// The input as DER.
fn to_der(octets: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, WireError> {
    ber::to_der(octets).map_err(|error| match &error {
        X509Error::Malformed { why, .. } if why.starts_with("octets follow") => WireError::TrailingBytes,
        X509Error::Malformed { why, .. } if why.starts_with("nested too deeply") => WireError::TooDeep,
        _ => WireError::from(error),
    })
}

fn understand(
    octets: &[u8],
    message: &PkiMessage<'_>,
    transaction_id: &str,
    context: &Context,
    traits: &mut Traits,
) -> Result<Intake, WireError> {
    let Context { snapshot, endpoint, peer, now } = context;
    let settings = &endpoint.scep;
    let signer = Arc::new(message.signer_certificate()?);
    message.verify(&signer, &settings.accept_digests)?;

    let attributes = message.attributes();
    let number = attributes.message_type.ok_or(WireError::MissingAttribute("messageType"))?;
    let kind = match MessageType::from_number(number) {
        None | Some(MessageType::CertRep) => return Err(WireError::UnknownMessageType(number)),
        Some(kind) => kind,
    };
    let nonce = attributes.sender_nonce.as_ref().ok_or(WireError::MissingAttribute("senderNonce"))?;
    let content = message.content().ok_or(WireError::NoContent)?;
    let content = ber::to_der(content).map_err(|error| WireError::BadEnvelope(error.to_string()))?;
    let envelope = Envelope::read(&content)?;
    traits.cipher = envelope.cipher();
    let policy = EnvelopePolicy { ciphers: &settings.accept_ciphers, oaep: settings.accept_oaep };
    let ra = snapshot.ra_of(endpoint);
    traits.recipient = envelope.recipient(&ra.decrypters).cloned();
    let (ra_signer, ra_certificate) = ra.signer_for(traits.recipient.as_deref());
    // Before anything is decrypted: what is wrong with it says nothing of what is inside.
    let reply_key = match provider().transport.can_wrap(signer.spki()) {
        // RFC 8894 section 3.1: to the signer, whatever else it may have named.
        true => None,
        false => message.reply_certificate(&signer)?.map(Arc::new),
    };
    let opened = envelope.open(&ra.decrypters, policy)?;

    let reply = |challenge| {
        Arc::new(ScepReply {
            signer: Arc::clone(ra_signer),
            signer_certificate: Arc::clone(ra_certificate),
            shape: settings.reply_certs,
            include_signer: settings.reply_includes_signer,
            transaction_id: transaction_id.to_owned(),
            request_nonce: Some(nonce.clone()),
            digest: reply_digest(message.digest(), &settings.accept_digests, &**ra_signer),
            recipient: reply_key.clone().unwrap_or_else(|| Arc::clone(&signer)),
            cipher: opened.cipher,
            transport: opened.transport.unwrap_or(KeyTransport::Pkcs1v15),
            challenge,
        })
    };
    let question = match kind {
        MessageType::PkcsReq | MessageType::RenewalReq => {
            let csr = read_csr(&opened, &settings.accept_digests)?;
            let challenge = csr
                .challenge_password()
                .filter(|challenge| !challenge.is_empty())
                .map(|challenge| Arc::new(Zeroizing::new(challenge.to_owned())));
            return Ok(Intake::Enroll(EnrollmentRequest {
                snapshot: Arc::clone(snapshot),
                endpoint: Arc::clone(endpoint),
                protocol: "scep",
                peer: *peer,
                received_at: *now,
                wire_id: transaction_id.to_owned(),
                message: message_digest(&endpoint.name, octets),
                intent: intent(&signer, snapshot, &settings.accept_digests),
                csr: Arc::new(csr),
                signer: Arc::clone(&signer),
                challenge: challenge.clone(),
                reply: reply(challenge),
            }));
        }
        MessageType::CertPoll => {
            // Both names are redundant (RFC 8894 section 4.4); that they can be read shows that the envelope opened.
            IssuerAndSubject::from_der(&opened.content).map_err(|_| WireError::Envelope)?;
            Question::Poll { wire_id: transaction_id.to_owned() }
        }
        MessageType::GetCert | MessageType::GetCrl => {
            let IssuerAndSerialNumber { issuer, serial } =
                IssuerAndSerialNumber::from_der(&opened.content).map_err(|_| WireError::Envelope)?;
            match kind {
                MessageType::GetCert => Question::Certificate { issuer, serial },
                _ => Question::Crl { issuer, serial },
            }
        }
        MessageType::CertRep => return Err(WireError::UnknownMessageType(number)),
    };
    let query = Query { snapshot: Arc::clone(snapshot), endpoint: Arc::clone(endpoint), signer: Arc::clone(&signer), question };
    Ok(Intake::Query(query, reply(None)))
}

/// The CSR with its proof of possession checked, and with a digest that the endpoint takes.
fn read_csr(opened: &Opened, accept_digests: &[Digest]) -> Result<VerifiedCsr, WireError> {
    let csr = VerifiedCsr::from_der(&opened.content).map_err(|error| match error {
        X509Error::Malformed { .. } => WireError::Envelope,
        _ => WireError::NoPossession,
    })?;
    match csr.signature_algorithm().digest() {
        Some(digest) if !accept_digests.contains(&digest) => Err(WireError::CsrDigestNotAllowed(digest.name().to_owned())),
        _ => Ok(csr),
    }
}

/// What tells one message from another: its octets, and the endpoint that they came to, since each endpoint decides by itself.
fn message_digest(endpoint: &str, octets: &[u8]) -> [u8; 32] {
    // No endpoint's name holds a zero octet, so that no two pairs run into one.
    provider().digester.sha256(&[endpoint.as_bytes(), &[0], octets].concat())
}

/// A renewal is what the signer's certificate makes it, whatever messageType says: clients renew with PKCSReq, and some of the
/// certificates that clients make for themselves bear the name of another.
fn intent(signer: &Arc<Certificate>, snapshot: &Snapshot, accept_digests: &[Digest]) -> Intent {
    let digest = signer.signature_algorithm().and_then(|algorithm| algorithm.digest());
    // A certificate is as good as what signs it: the weak digests count where the endpoint names them.
    if digest.is_some_and(|digest| digest.is_legacy() && !accept_digests.contains(&digest)) {
        return Intent::Initial;
    }
    let issued = snapshot
        .renewal_issuers
        .iter()
        .any(|issuer| signer.issuer().matches(issuer.subject()) && signer.verify_signed_by(issuer.spki()).is_ok());
    if issued { Intent::Renewal(Arc::clone(signer)) } else { Intent::Initial }
}

/// The FAILURE for a message that could be read, but not taken.
fn failed(
    error: WireError,
    attributes: &Attributes,
    transaction_id: &str,
    digest: Option<Digest>,
    recipient: Option<&Certificate>,
    context: &Context,
) -> Intake {
    let WireAnswer::Failure(info) = error.answer() else { return Intake::Failed(error, None) };
    let (signer, signer_certificate) = context.snapshot.ra_of(&context.endpoint).signer_for(recipient);
    let settings = &context.endpoint.scep;
    let reply = CertRep {
        signer: &**signer,
        signer_certificate,
        include_signer: settings.reply_includes_signer,
        transaction_id,
        request_nonce: attributes.sender_nonce.as_deref(),
        digest: reply_digest(digest, &settings.accept_digests, &**signer),
    }
    .failure(info, error.public());
    match reply {
        Ok(reply) => Intake::Failed(error, Some(reply)),
        Err(fault) => {
            tracing::error!(%fault, "A FAILURE could not be signed.");
            Intake::Failed(error, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_der_has_a_code() {
        let code = |octets: &[u8]| to_der(octets).err().map(|error| error.code());
        let deep = [[0x30, 0x80].repeat(40), [0, 0].repeat(40)].concat();
        assert_eq!(code(&deep), Some("too-deep"));
        assert_eq!(code(b"\x30\x80\x00\x00x"), Some("trailing-bytes"));
        assert_eq!(code(b"\x30\x00x"), Some("trailing-bytes"));
        assert_eq!(code(b"\x30\x80"), Some("malformed"));
        assert_eq!(code(b""), Some("malformed"));
        assert_eq!(code(b"\x30\x00"), None);
    }
}
