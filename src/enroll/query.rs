//! Questions that read and never decide.

use std::sync::Arc;

use crate::policy::Endpoint;
use crate::snapshot::Snapshot;
use crate::x509::Certificate;

/// A question from a device.
#[derive(Clone)]
pub struct Query {
    /// The snapshot that answers.
    pub snapshot: Arc<Snapshot>,
    /// Where it came in.
    pub endpoint: Arc<Endpoint>,
    /// The certificate whose key signed it.
    pub signer: Arc<Certificate>,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What became of the transaction with this wire identifier (CertPoll).
    Poll {
        /// transactionID.
        wire_id: String,
    },
    /// The certificate with this issuer (DER Name) and serial (content octets) (GetCert).
    Certificate {
        /// DER Name.
        issuer: Vec<u8>,
        /// Content octets.
        serial: Vec<u8>,
    },
    /// The CRL that covers the certificate with this issuer and serial (GetCRL).
    Crl {
        /// DER Name: of the CA, or of whoever issued the RA's certificates.
        issuer: Vec<u8>,
        /// Content octets.
        serial: Vec<u8>,
    },
}
