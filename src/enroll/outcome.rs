//! What the core answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Rejection;
use crate::inventory::{InventoryError, TransactionId};
use crate::x509::Certificate;

/// The answer to a request or a query.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A certificate: issued now, or earlier for the same transaction.
    Issued(IssuedCertificate),
    /// It will take longer; the client polls.
    Pending {
        /// The transaction.
        transaction: TransactionId,
        /// When to ask again, for protocols that can say so.
        retry_after: Duration,
    },
    /// No.
    Refused(Rejection),
    /// A certificate that was asked for by name.
    Certificate(Arc<Certificate>),
    /// A CRL, DER.
    Crl(Bytes),
}

/// A certificate and the chain above it.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// The transaction.
    pub transaction: TransactionId,
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// The chain above it, issuer first, root last.
    pub chain: Arc<[Arc<Certificate>]>,
    /// The challenge of the transaction, where the reply needs it as a password.
    pub password: Option<Arc<zeroize::Zeroizing<String>>>,
}

/// An answer with its encoding.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it says; `None` where a stored reply is given again.
    pub outcome: Option<Outcome>,
    /// The bytes for the wire.
    pub reply: Bytes,
}

/// Why there is no answer: nothing that a device did, and nothing that is stored as an answer. The device may come again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// A queue is full.
    #[error("too much work is waiting")]
    Busy,
    /// The inventory does not take writes.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// Something that should not happen.
    #[error("internal error: {0}")]
    Internal(String),
}
