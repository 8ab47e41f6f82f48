//! Reading a CertRep as a client: nothing of it counts before all of it is checked (RFC 8894 sections 3.2 and 3.3.2).

use zeroize::Zeroizing;

use super::{Authority, ClientError, Identity};
use crate::algorithm::{ContentCipher, Digest, KeyTransport, MlKem};
use crate::scep::envelope::{EnvelopePolicy, Opened};
use crate::scep::{Envelope, FailInfo, MessageType, PkiMessage, PkiStatus, WireError};
use crate::x509::{Certificate, ber};

/// What a reply has to fit.
pub(super) struct Expected<'a> {
    pub(super) authority: &'a Authority,
    pub(super) transaction_id: &'a str,
    pub(super) sender_nonce: &'a [u8],
    /// To whom the reply is encrypted.
    pub(super) identity: &'a Identity,
    /// The password that it may be encrypted with instead.
    pub(super) challenge: Option<&'a str>,
    pub(super) digests: &'a [Digest],
    pub(super) ciphers: &'a [ContentCipher],
}

/// A reply that was checked.
pub(super) enum Reply {
    /// What was in the envelope, DER: a certs-only message.
    Success(Zeroizing<Vec<u8>>),
    Pending,
    Failure(Failure),
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// failInfo, if it is one of those in RFC 8894 section 3.2.1.4.
    pub fail_info: Option<FailInfo>,
    /// failInfo as it came.
    pub number: Option<u32>,
    /// failInfoText, which few servers send.
    pub text: Option<String>,
}

/// How a reply was protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The certificate that signed it.
    pub signer: Certificate,
    /// The digest of the signature.
    pub digest: Option<Digest>,
    /// The cipher of the envelope, if there was one.
    pub cipher: Option<ContentCipher>,
    /// How the key of the envelope travelled, if it was encrypted to an RSA key.
    pub transport: Option<KeyTransport>,
    /// The kind of key that it was encapsulated to, if it was that. An envelope with neither is by password.
    pub kem: Option<MlKem>,
}

impl Expected<'_> {
    /// Checks a reply and opens it. Slow: not for an async thread.
    pub(super) fn open(&self, answer: &[u8]) -> Result<(Reply, Protection), ClientError> {
        let der = ber::to_der(answer).map_err(|error| ClientError::Reply(error.into()))?;
        let message = PkiMessage::read(&der).map_err(ClientError::Reply)?;
        // Only who is known from GetCACert may sign. The reply need not bring the certificate along, and what it brings counts
        // for nothing: whoever holds some certificate of the CA could send it.
        let signers = self.authority.signers();
        let signer = signers.into_iter().find(|known| message.is_signed_with(known)).ok_or(ClientError::UnknownSigner)?;
        message.verify(signer, self.digests).map_err(ClientError::Reply)?;

        let attributes = message.attributes();
        if attributes.transaction_id.as_deref() != Some(self.transaction_id) {
            return Err(ClientError::AnotherTransaction(attributes.transaction_id.clone()));
        }
        if attributes.message_type != Some(MessageType::CertRep.number()) {
            return Err(ClientError::BadReplyAttribute { attribute: "messageType", value: attributes.message_type });
        }
        if attributes.recipient_nonce.as_deref() != Some(self.sender_nonce) {
            return Err(ClientError::WrongNonce);
        }
        let mut protection =
            Protection { signer: signer.clone(), digest: message.digest(), cipher: None, transport: None, kem: None };
        let reply = match attributes.pki_status.and_then(PkiStatus::from_number) {
            Some(PkiStatus::Success) => {
                let opened = self.open_envelope(message.content())?;
                (protection.cipher, protection.transport, protection.kem) = (Some(opened.cipher), opened.transport, opened.kem);
                Reply::Success(opened.content)
            }
            Some(PkiStatus::Pending) => Reply::Pending,
            Some(PkiStatus::Failure) => Reply::Failure(Failure {
                fail_info: attributes.fail_info.and_then(FailInfo::from_number),
                number: attributes.fail_info,
                text: attributes.fail_info_text.clone(),
            }),
            None => return Err(ClientError::BadReplyAttribute { attribute: "pkiStatus", value: attributes.pki_status }),
        };
        Ok((reply, protection))
    }

    fn open_envelope(&self, content: Option<&[u8]>) -> Result<Opened, ClientError> {
        let content = content.ok_or(ClientError::Reply(WireError::NoContent))?;
        let der = ber::to_der(content).map_err(|error| ClientError::Reply(error.into()))?;
        let envelope = Envelope::read(&der).map_err(ClientError::Reply)?;
        let policy = EnvelopePolicy { ciphers: self.ciphers, oaep: true };
        let opened = match (self.identity.decrypter(), self.challenge) {
            (Some(decrypter), _) if !envelope.takes_password() => envelope.open(&[decrypter], policy),
            (None, Some(challenge)) => envelope.open_with_password(challenge, policy),
            (Some(decrypter), challenge) => match (envelope.open(&[decrypter], policy), challenge) {
                (Err(WireError::WrongRecipient), Some(challenge)) => envelope.open_with_password(challenge, policy),
                (opened, _) => opened,
            },
            (None, None) => return Err(ClientError::NeedsChallenge),
        };
        let mut opened = opened.map_err(ClientError::Reply)?;
        // What is inside may be BER too.
        let inner = match ber::to_der(&opened.content).map_err(|error| ClientError::Reply(error.into()))? {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(der) => Some(Zeroizing::new(der)),
        };
        if let Some(der) = inner {
            opened.content = der;
        }
        Ok(opened)
    }
}
