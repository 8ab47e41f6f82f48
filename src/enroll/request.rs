//! What a front end hands to the core.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::Outcome;
use crate::crypto::CryptoError;
use crate::policy::Endpoint;
use crate::snapshot::Snapshot;
use crate::x509::{Certificate, VerifiedCsr};

/// A request for a certificate, protocol-neutral.
#[derive(Clone)]
pub struct EnrollmentRequest {
    /// The snapshot that decides it to the end.
    pub snapshot: Arc<Snapshot>,
    /// Where it came in.
    pub endpoint: Arc<Endpoint>,
    /// `scep`, later others.
    pub protocol: &'static str,
    /// Who sent it.
    pub peer: Peer,
    /// When it came.
    pub received_at: Timestamp,
    /// The transaction identifier on the wire.
    pub wire_id: String,
    /// SHA-256 over the name of the endpoint and the message as it came: the very same message at the same place.
    pub message: [u8; 32],
    /// First enrollment, or renewal of what.
    pub intent: Intent,
    /// The CSR; its proof of possession holds.
    pub csr: Arc<VerifiedCsr>,
    /// The certificate whose key signed the message.
    pub signer: Arc<Certificate>,
    /// The challenge, if one came.
    pub challenge: Option<Arc<Zeroizing<String>>>,
    /// Makes the reply.
    pub reply: Arc<dyn Reply>,
}

/// First enrollment, or renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A device that shows no certificate of ours.
    Initial,
    /// The message was signed by the key of this certificate, which one of the snapshot's renewal issuers signed.
    Renewal(Arc<Certificate>),
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whether it came over TLS.
    pub tls: bool,
}

impl Peer {
    /// The address without the port.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

/// Makes the reply to one message. Calls are blocking and slow: the core makes them on the crypto pool.
pub trait Reply: Send + Sync {
    /// Whether a reply with a certificate could be encrypted to the requester at all; the reason if not. Asked before anything
    /// is issued.
    fn deliverable(&self) -> Result<(), String>;

    /// Whether the reply to a later poll needs the challenge as a password, because the signer's key cannot decrypt.
    fn needs_challenge(&self) -> bool;

    /// Encodes the answer.
    fn encode(&self, outcome: &Outcome) -> Result<Vec<u8>, CryptoError>;
}
