//! From the core's answer to a CertRep.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::algorithm::{ContentCipher, Digest, KeyTransport};
use crate::crypto::{CryptoError, Signer, provider};
use crate::enroll::{IssuedCertificate, Outcome, Rejection, RejectionCode, Reply};
use crate::policy::DenialCode;
use crate::policy::endpoint::ReplyShape;
use crate::scep::FailInfo;
use crate::scep::cert_rep::CertRep;
use crate::scep::certs_only::{SetOrder, write};
use crate::scep::envelope::{Recipient, can_seal_to};
use crate::x509::Certificate;

/// Makes the reply to one message.
pub(super) struct ScepReply {
    /// Signs: the key that goes with the certificate that the request was encrypted to.
    pub(super) signer: Arc<dyn Signer>,
    pub(super) signer_certificate: Arc<Certificate>,
    pub(super) shape: ReplyShape,
    pub(super) include_signer: bool,
    pub(super) transaction_id: String,
    pub(super) request_nonce: Option<Vec<u8>>,
    pub(super) digest: Digest,
    /// The certificate that the reply is encrypted to, if its key can decrypt: the signer's, or the one that the signer names.
    pub(super) recipient: Arc<Certificate>,
    pub(super) cipher: ContentCipher,
    pub(super) transport: KeyTransport,
    pub(super) challenge: Option<Arc<Zeroizing<String>>>,
}

impl ScepReply {
    fn cert_rep(&self) -> CertRep<'_> {
        CertRep {
            signer: &*self.signer,
            signer_certificate: &self.signer_certificate,
            include_signer: self.include_signer,
            transaction_id: &self.transaction_id,
            request_nonce: self.request_nonce.as_deref(),
            digest: self.digest,
        }
    }

    /// The outcome, or a refusal in its place if it has content that could not be encrypted to this requester.
    pub(super) fn deliver(&self, outcome: Outcome) -> Outcome {
        let in_the_open = match &outcome {
            Outcome::Issued(issued) => issued.password.is_none(),
            Outcome::Certificate(_) | Outcome::Crl(_) => true,
            Outcome::Pending { .. } | Outcome::Refused(_) => false,
        };
        match self.deliverable() {
            Err(why) if in_the_open => Outcome::Refused(Rejection::new(RejectionCode::NotDeliverable, why)),
            _ => outcome,
        }
    }

    /// SUCCESS: to the signer's key if it can decrypt, else under the password.
    fn success(&self, content: &[u8], password: Option<&Arc<Zeroizing<String>>>) -> Result<Vec<u8>, CryptoError> {
        let recipient = if self.needs_challenge() {
            // Its own challenge is the one that it expects; a poll brings none.
            let password = self.challenge.as_ref().or(password).ok_or(CryptoError::BadKey)?;
            Recipient::Password(password)
        } else {
            Recipient::Certificate(&self.recipient, self.transport)
        };
        self.cert_rep().success(content, recipient, self.cipher.for_reply())
    }
}

impl Reply for ScepReply {
    fn deliverable(&self) -> Result<(), String> {
        if self.needs_challenge() {
            return match self.challenge {
                Some(_) => Ok(()),
                None => Err("the signer's key cannot decrypt, and no challengePassword came to encrypt the reply with".into()),
            };
        }
        // Any RSA key has room for PKCS#1 v1.5; OAEP with a long digest wants more.
        let (transport, key_len) = (self.transport, self.cipher.for_reply().key_len());
        let (rsa, spki) = (provider().transport, self.recipient.spki());
        match transport {
            KeyTransport::Oaep { digest, .. } if rsa.can_wrap(spki) && !rsa.has_room(transport, spki, key_len) => {
                Err(format!("the signer's key is too short for OAEP with {digest}"))
            }
            _ => Ok(()),
        }
    }

    fn needs_challenge(&self) -> bool {
        !can_seal_to(self.recipient.spki())
    }

    fn encode(&self, outcome: &Outcome) -> Result<Vec<u8>, CryptoError> {
        match outcome {
            Outcome::Issued(issued) => {
                let certificates = in_shape(issued, self.shape);
                self.success(&write(&certificates, &[], SetOrder::AsGiven), issued.password.as_ref())
            }
            Outcome::Certificate(certificate) => self.success(&write(&[certificate.der()], &[], SetOrder::AsGiven), None),
            Outcome::Crl(crl) => self.success(&write(&[], &[crl.as_ref()], SetOrder::AsGiven), None),
            Outcome::Pending { .. } => self.cert_rep().pending(),
            Outcome::Refused(rejection) => self.cert_rep().failure(fail_info(rejection.code), rejection.code.public()),
        }
    }
}

/// The issued certificate first, then as much of its chain as the endpoint's devices want.
fn in_shape(issued: &IssuedCertificate, shape: ReplyShape) -> Vec<&[u8]> {
    let above = shape.certificates_above(&issued.chain);
    std::iter::once(&issued.certificate).chain(issued.chain.iter().take(above)).map(|certificate| certificate.der()).collect()
}

/// failInfo for a refusal (RFC 8894 section 3.2.1.4.2).
pub fn fail_info(code: RejectionCode) -> FailInfo {
    match code {
        RejectionCode::NotFound => FailInfo::BadCertId,
        RejectionCode::NotDeliverable
        | RejectionCode::Policy(DenialCode::KeyNotAccepted | DenialCode::KeyWeak | DenialCode::DigestNotAllowed) => {
            FailInfo::BadAlg
        }
        _ => FailInfo::BadRequest,
    }
}
