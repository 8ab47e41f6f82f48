//! CertRep: the answer to everything (RFC 8894 section 3.3.2).

use super::attributes::{Attributes, FailInfo, MessageType, PkiStatus};
use super::envelope::{Recipient, seal};
use super::pki_message::{MessageTemplate, preferred_digest, signature_algorithm};
use crate::algorithm::{ContentCipher, Digest};
use crate::crypto::{CryptoError, Signer, provider};
use crate::x509::Certificate;

/// What the answers to one request have in common.
#[derive(Clone, Copy)]
pub struct CertRep<'a> {
    /// The key that signs.
    pub signer: &'a dyn Signer,
    /// Its certificate.
    pub signer_certificate: &'a Certificate,
    /// Whether the signer's certificate goes along.
    pub include_signer: bool,
    /// The request's transactionID.
    pub transaction_id: &'a str,
    /// The request's senderNonce, of whatever length; `None` if it had none.
    pub request_nonce: Option<&'a [u8]>,
    /// The digest: [`reply_digest`] chooses it.
    pub digest: Digest,
}

impl CertRep<'_> {
    /// SUCCESS with `message_data`, a [certs-only](super::certs_only) message, sealed to the requester.
    pub fn success(&self, message_data: &[u8], recipient: Recipient<'_>, cipher: ContentCipher) -> Result<Vec<u8>, CryptoError> {
        self.sign(&seal(message_data, recipient, cipher)?, PkiStatus::Success, None)
    }

    /// PENDING: come again.
    pub fn pending(&self) -> Result<Vec<u8>, CryptoError> {
        self.sign(&[], PkiStatus::Pending, None)
    }

    /// FAILURE, with a text that is safe for the device.
    pub fn failure(&self, info: FailInfo, text: &str) -> Result<Vec<u8>, CryptoError> {
        self.sign(&[], PkiStatus::Failure, Some((info, text)))
    }

    fn sign(&self, content: &[u8], status: PkiStatus, failure: Option<(FailInfo, &str)>) -> Result<Vec<u8>, CryptoError> {
        // No signingTime: many requesters have no clock, and NDES, which all know, sends none.
        let attributes = Attributes {
            transaction_id: Some(self.transaction_id.to_owned()),
            message_type: Some(MessageType::CertRep.number()),
            pki_status: Some(status.number()),
            fail_info: failure.map(|(info, _)| info.number()),
            fail_info_text: failure.map(|(_, text)| text.to_owned()),
            sender_nonce: Some(provider().random::<16>().to_vec()),
            recipient_nonce: self.request_nonce.map(<[u8]>::to_vec),
            reply_key: None,
        };
        let certificates = [self.signer_certificate.der()];
        MessageTemplate {
            content,
            attributes: &attributes,
            digest: self.digest,
            signer: self.signer,
            signer_certificate: self.signer_certificate,
            certificates: if self.include_signer { &certificates } else { &[] },
        }
        .sign()
    }
}

/// The digest of the answer: that of the request, because the requester surely knows it; SHA-256 if the endpoint did not take that
/// one, or the key cannot sign with it. A key whose signatures leave no choice of a digest has one of its own.
pub fn reply_digest(requested: Option<Digest>, accepted: &[Digest], signer: &dyn Signer) -> Digest {
    requested
        .filter(|digest| accepted.contains(digest))
        .filter(|digest| {
            signature_algorithm(signer.key(), *digest).is_some_and(|algorithm| signer.algorithms().contains(&algorithm))
        })
        .filter(|_| signer.key().only_signature().is_none())
        .unwrap_or_else(|| preferred_digest(signer.key()))
}
