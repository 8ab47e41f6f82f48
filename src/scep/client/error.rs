//! What goes wrong for a client: its own orders, the way there, the server, or what the server says.

use std::time::Duration;

use http::StatusCode;

use crate::algorithm::{ContentCipher, Digest};
use crate::crypto::CryptoError;
use crate::scep::WireError;
use crate::x509::X509Error;

/// Why an operation of the client gave no answer that can be trusted. A refusal by the server is none of these: it is an
/// [`Outcome::Failed`](super::Outcome::Failed).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be used.
    #[error("the address {url:?} cannot be used: {why}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// HTTPS without knowing whom to trust.
    #[error(
        "an https address needs the root certificates that its server is checked with: none are given, and none are built in"
    )]
    NoTlsRoots,
    /// The root certificates for TLS cannot be used.
    #[error("the TLS roots cannot be used: {0}")]
    BadTlsRoots(String),
    /// A request that contradicts itself.
    #[error("{0}")]
    BadRequest(&'static str),
    /// A key that cannot decrypt needs a challenge: the reply is encrypted with it (RFC 8894 section 3.1).
    #[error("a key that cannot decrypt needs a challenge password, for the reply is encrypted with it (RFC 8894 section 3.1)")]
    NeedsChallenge,
    /// The CSR is for another key.
    #[error("the certification request is for another key than the one given")]
    CsrOfAnotherKey,
    /// Neither AES nor anything stronger is on offer.
    #[error("the server names no AES, only {0}; choose the cipher yourself if that is good enough")]
    OnlyLegacyCipher(ContentCipher),
    /// Neither SHA-256 nor anything stronger is on offer.
    #[error("the server names no SHA-2, only {0}; choose the digest yourself if that is good enough")]
    OnlyLegacyDigest(Digest),
    /// The server could not be reached, or the connection broke.
    #[error("{operation}: {why}")]
    Unreachable {
        /// What was asked.
        operation: &'static str,
        /// What the connection said.
        why: String,
    },
    /// The server took too long.
    #[error("{operation}: no answer within {after:?}")]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// The patience that was had.
        after: Duration,
    },
    /// The answer is longer than we read.
    #[error("{operation}: the answer is longer than {limit} octets")]
    TooLarge {
        /// What was asked.
        operation: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The server answered with another status than 200.
    #[error("{operation}: the server answers {status}{}", if text.is_empty() { String::new() } else { format!(": {text}") })]
    Status {
        /// What was asked.
        operation: &'static str,
        /// The status.
        status: StatusCode,
        /// The begin of the body, if it is text.
        text: String,
    },
    /// The answer is not what the operation brings.
    #[error("{operation}: the answer is not what it should be{}: {why}", content_type.as_ref().map(|t| format!(" (it says {t})")).unwrap_or_default())]
    BadAnswer {
        /// What was asked.
        operation: &'static str,
        /// What the server says it is.
        content_type: Option<String>,
        /// What is wrong with it.
        why: String,
    },
    /// None of the certificates of GetCACert can be encrypted to.
    #[error("none of the certificates that GetCACert brought has an RSA key to encrypt to")]
    NoEncryptionCertificate,
    /// The certificates of GetCACert do not lead to one that is pinned.
    #[error("none of the certificates that GetCACert brought is, or is signed by, a CA certificate that was given to trust")]
    NotPinned,
    /// The certificates have nothing in common with those of the transaction that is taken up again.
    #[error("the server's CA is another one than when this transaction began")]
    AnotherAuthority,
    /// The reply cannot be read, or uses what is not accepted.
    #[error("the reply: {0}")]
    Reply(WireError),
    /// The reply is not signed by the authority.
    #[error("the reply is not signed with one of the certificates that GetCACert brought")]
    UnknownSigner,
    /// The reply belongs to another transaction.
    #[error("the reply is for another transaction ({0:?})")]
    AnotherTransaction(Option<String>),
    /// The reply answers another request: it may be a replay.
    #[error("the reply's recipientNonce is not the senderNonce of the request")]
    WrongNonce,
    /// The reply's messageType or pkiStatus is none that a reply may have.
    #[error("the reply's {attribute} is {value:?}")]
    BadReplyAttribute {
        /// Which.
        attribute: &'static str,
        /// What it says.
        value: Option<u32>,
    },
    /// A SUCCESS without a certificate for the key.
    #[error("the reply says SUCCESS and brings no certificate for our key")]
    NoCertificateForKey,
    /// A SUCCESS without what was asked for.
    #[error("the reply says SUCCESS and does not bring the {0} that was asked for")]
    NotWhatWasAsked(&'static str),
    /// PENDING where the RFC knows no such answer (RFC 8894 section 4.5.1).
    #[error("the reply says PENDING to {0}, which is no answer to it")]
    UnexpectedPending(&'static str),
    /// A saved transaction that cannot be read.
    #[error("the saved transaction cannot be used: {0}")]
    BadState(String),
    /// A certificate, CSR or CRL cannot be read or made.
    #[error(transparent)]
    X509(#[from] X509Error),
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl ClientError {
    /// The stable code for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            ClientError::Url { .. } => "bad-url",
            ClientError::NoTlsRoots => "no-tls-roots",
            ClientError::BadTlsRoots(_) => "bad-tls-roots",
            ClientError::BadRequest(_) => "bad-request",
            ClientError::NeedsChallenge => "needs-challenge",
            ClientError::CsrOfAnotherKey => "csr-of-another-key",
            ClientError::OnlyLegacyCipher(_) => "only-legacy-cipher",
            ClientError::OnlyLegacyDigest(_) => "only-legacy-digest",
            ClientError::Unreachable { .. } => "unreachable",
            ClientError::Timeout { .. } => "timeout",
            ClientError::TooLarge { .. } => "too-large",
            ClientError::Status { .. } => "http-status",
            ClientError::BadAnswer { .. } => "bad-answer",
            ClientError::NoEncryptionCertificate => "no-encryption-certificate",
            ClientError::NotPinned => "not-pinned",
            ClientError::AnotherAuthority => "another-authority",
            ClientError::Reply(error) => error.code(),
            ClientError::UnknownSigner => "unknown-signer",
            ClientError::AnotherTransaction(_) => "another-transaction",
            ClientError::WrongNonce => "wrong-nonce",
            ClientError::BadReplyAttribute { .. } => "bad-reply-attribute",
            ClientError::NoCertificateForKey => "no-certificate-for-key",
            ClientError::NotWhatWasAsked(_) => "not-what-was-asked",
            ClientError::UnexpectedPending(_) => "unexpected-pending",
            ClientError::BadState(_) => "bad-state",
            ClientError::X509(_) => "x509",
            ClientError::Crypto(_) => "crypto",
        }
    }
}
