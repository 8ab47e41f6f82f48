//! What is wrong with a message on the wire: one stable code each, and what the device is told.
//!
//! Two rules stand behind the mapping. A message that cannot be read far enough to be answered gets a bare HTTP status; everything
//! else gets HTTP 200 and a signed CertRep FAILURE (RFC 8894 section 3.2.1.4). And whatever goes wrong between the decryption of
//! the content-encryption key and a CSR whose signature holds looks the same from outside: an envelope is no oracle.

use der::oid::ObjectIdentifier;
use http::StatusCode;

use super::FailInfo;
use crate::x509::X509Error;

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It is not the ASN.1 that it should be.
    #[error("the message is malformed: {0}")]
    Malformed(String),
    /// Octets follow the message.
    #[error("octets follow the message")]
    TrailingBytes,
    /// It is larger than the endpoint takes.
    #[error("the message is larger than {limit} octets")]
    TooLarge {
        /// The endpoint's limit.
        limit: usize,
    },
    /// It is nested too deeply.
    #[error("the message is nested too deeply")]
    TooDeep,
    /// The `message` parameter of a GET is missing or no base64.
    #[error("the message parameter is missing or no base64")]
    NotBase64,
    /// An attribute that has to be there is missing.
    #[error("the attribute {0} is missing")]
    MissingAttribute(&'static str),
    /// An attribute is not what it should be.
    #[error("the attribute {0} is not what it should be")]
    BadAttribute(&'static str),
    /// The messageType is none that a client may send.
    #[error("messageType {0} is unknown")]
    UnknownMessageType(u32),
    /// The certificate of the signer did not come with the message.
    #[error("the signer's certificate did not come with the message")]
    NoSignerCertificate,
    /// The certificate of the signer cannot be read.
    #[error("the signer's certificate cannot be read: {0}")]
    BadSignerCertificate(String),
    /// The endpoint does not take this digest.
    #[error("digest {0} is not accepted")]
    DigestNotAllowed(String),
    /// The certificate that the reply is to be encrypted to is none that could be.
    #[error("the reply key cannot be used: {0}")]
    BadReplyKey(String),
    /// We do not know this signature algorithm.
    #[error("signature algorithm {0} is unknown")]
    UnknownSignatureAlgorithm(String),
    /// The signature does not hold, or the content is not the one that was signed.
    #[error("the signature does not verify")]
    BadSignature,
    /// There is no content where the message type needs one.
    #[error("the message has no content")]
    NoContent,
    /// The envelope cannot be read; nothing was decrypted yet.
    #[error("the envelope is malformed: {0}")]
    BadEnvelope(String),
    /// The endpoint does not take this content cipher.
    #[error("content cipher {0} is not accepted")]
    CipherNotAllowed(String),
    /// The endpoint does not take this kind of key transport.
    #[error("key transport {0} is not accepted")]
    KeyTransportNotAllowed(String),
    /// None of the recipients is one of our certificates.
    #[error("the envelope is for another recipient")]
    WrongRecipient,
    /// What was in the envelope is not what it should be: the one face of all that can go wrong once a key was decrypted.
    #[error("the envelope does not open to a readable content")]
    Envelope,
    /// The CSR's own signature does not hold, or is of a kind that we cannot check. The device is told what [`Envelope`] tells.
    ///
    /// [`Envelope`]: WireError::Envelope
    #[error("the signature of the certification request does not hold")]
    NoPossession,
    /// The endpoint does not take the digest that the CSR is signed with.
    #[error("digest {0} of the certification request is not accepted")]
    CsrDigestNotAllowed(String),
}

/// What the device is told of a [`WireError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireAnswer {
    /// A bare HTTP status.
    Status(StatusCode),
    /// A signed CertRep FAILURE.
    Failure(FailInfo),
}

impl WireError {
    /// One of each kind, with made-up details: for documentation and tests.
    pub fn examples() -> Vec<Self> {
        vec![
            WireError::Malformed(String::new()),
            WireError::TrailingBytes,
            WireError::TooLarge { limit: 0 },
            WireError::TooDeep,
            WireError::NotBase64,
            WireError::MissingAttribute(""),
            WireError::BadAttribute(""),
            WireError::UnknownMessageType(0),
            WireError::NoSignerCertificate,
            WireError::BadSignerCertificate(String::new()),
            WireError::DigestNotAllowed(String::new()),
            WireError::UnknownSignatureAlgorithm(String::new()),
            WireError::BadReplyKey(String::new()),
            WireError::BadSignature,
            WireError::NoContent,
            WireError::BadEnvelope(String::new()),
            WireError::CipherNotAllowed(String::new()),
            WireError::KeyTransportNotAllowed(String::new()),
            WireError::WrongRecipient,
            WireError::Envelope,
            WireError::NoPossession,
            WireError::CsrDigestNotAllowed(String::new()),
        ]
    }

    /// The stable code for logs, metrics and documentation.
    pub const fn code(&self) -> &'static str {
        match self {
            WireError::Malformed(_) => "malformed",
            WireError::TrailingBytes => "trailing-bytes",
            WireError::TooLarge { .. } => "too-large",
            WireError::TooDeep => "too-deep",
            WireError::NotBase64 => "not-base64",
            WireError::MissingAttribute(_) => "missing-attribute",
            WireError::BadAttribute(_) => "bad-attribute",
            WireError::UnknownMessageType(_) => "unknown-message-type",
            WireError::NoSignerCertificate => "no-signer-certificate",
            WireError::BadSignerCertificate(_) => "bad-signer-certificate",
            WireError::DigestNotAllowed(_) => "digest-not-allowed",
            WireError::UnknownSignatureAlgorithm(_) => "unknown-signature-algorithm",
            WireError::BadReplyKey(_) => "bad-reply-key",
            WireError::BadSignature => "bad-signature",
            WireError::NoContent => "no-content",
            WireError::BadEnvelope(_) => "bad-envelope",
            WireError::CipherNotAllowed(_) => "cipher-not-allowed",
            WireError::KeyTransportNotAllowed(_) => "key-transport-not-allowed",
            WireError::WrongRecipient => "wrong-recipient",
            WireError::Envelope => "envelope",
            WireError::NoPossession => "no-possession",
            WireError::CsrDigestNotAllowed(_) => "csr-digest-not-allowed",
        }
    }

    /// What the device is told, given that the message could be read far enough to be answered.
    pub const fn answer(&self) -> WireAnswer {
        WireAnswer::Failure(match self {
            WireError::Malformed(_) | WireError::TrailingBytes | WireError::TooDeep | WireError::NotBase64 => {
                return WireAnswer::Status(StatusCode::BAD_REQUEST);
            }
            WireError::TooLarge { .. } => return WireAnswer::Status(StatusCode::PAYLOAD_TOO_LARGE),
            WireError::DigestNotAllowed(_)
            | WireError::UnknownSignatureAlgorithm(_)
            | WireError::CipherNotAllowed(_)
            | WireError::KeyTransportNotAllowed(_)
            | WireError::CsrDigestNotAllowed(_) => FailInfo::BadAlg,
            WireError::NoSignerCertificate
            | WireError::BadSignerCertificate(_)
            | WireError::BadReplyKey(_)
            | WireError::BadSignature
            | WireError::BadEnvelope(_)
            | WireError::WrongRecipient
            | WireError::Envelope
            | WireError::NoPossession => FailInfo::BadMessageCheck,
            WireError::MissingAttribute(_)
            | WireError::BadAttribute(_)
            | WireError::UnknownMessageType(_)
            | WireError::NoContent => FailInfo::BadRequest,
        })
    }

    /// One sentence that is safe for the device: failInfoText.
    pub const fn public(&self) -> &'static str {
        match self {
            WireError::Malformed(_) | WireError::TrailingBytes | WireError::TooDeep | WireError::NotBase64 => {
                "The message cannot be read."
            }
            WireError::TooLarge { .. } => "The message is too large.",
            WireError::MissingAttribute(_) | WireError::BadAttribute(_) => "An attribute is missing or malformed.",
            WireError::UnknownMessageType(_) => "The message type is unknown.",
            WireError::NoSignerCertificate => "The signer's certificate is missing.",
            WireError::BadSignerCertificate(_) => "The signer's certificate cannot be read.",
            WireError::DigestNotAllowed(_) | WireError::CsrDigestNotAllowed(_) => "This digest is not accepted.",
            WireError::UnknownSignatureAlgorithm(_) => "This signature algorithm is not accepted.",
            WireError::BadReplyKey(_) => "The reply cannot be encrypted to this key.",
            WireError::BadSignature => "The signature does not verify.",
            WireError::NoContent => "The message has no content.",
            WireError::CipherNotAllowed(_) => "This content encryption is not accepted.",
            WireError::KeyTransportNotAllowed(_) => "This key transport is not accepted.",
            WireError::WrongRecipient => "The message is encrypted to another recipient.",
            WireError::BadEnvelope(_) | WireError::Envelope | WireError::NoPossession => "The content cannot be read.",
        }
    }

    /// Names an algorithm that was not taken: by its registered name if it has one, else by its OID.
    pub(crate) fn algorithm(name: Option<&'static str>, oid: Option<ObjectIdentifier>) -> String {
        match (name, oid) {
            (Some(name), _) => name.to_owned(),
            (None, Some(oid)) => oid.to_string(),
            (None, None) => "unreadable".to_owned(),
        }
    }
}

/// What could not be read outside an envelope.
impl From<X509Error> for WireError {
    fn from(error: X509Error) -> Self {
        WireError::Malformed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_is_an_example_of_each_kind() {
        let codes: BTreeSet<_> = WireError::examples().iter().map(WireError::code).collect();
        assert_eq!(codes.len(), WireError::examples().len(), "each once");
        let arms = include_str!("wire_error.rs").split("pub const fn code").nth(1).and_then(|rest| rest.split("\n    }").next());
        assert_eq!(arms.map(|arms| arms.matches("=> \"").count()), Some(codes.len()), "none is forgotten");
    }
}
