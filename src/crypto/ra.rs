//! The registration authority's own identity on the SCEP transport.

use std::sync::Arc;

use super::{Decrypter, Signer};
use crate::x509::Certificate;

/// The RA's two keys and their certificates: one signs replies, the other opens requests. They are separate from every CA key
/// and from each other, certified by a classical CA that devices know, and not governed by any algorithm profile.
#[derive(Clone)]
pub struct RaIdentity {
    /// Signs CertRep messages.
    pub signer: Arc<dyn Signer>,
    /// The certificate of the signer.
    pub signer_certificate: Arc<Certificate>,
    /// The keys that open requests, the current one first; earlier ones stay while they are rolled over.
    pub decrypters: Vec<RaDecrypter>,
    /// The CA certificates above the RA certificates: issuer first, root last.
    pub chain: Vec<Arc<Certificate>>,
}

/// A key that opens requests, and the certificate that names it as a recipient.
#[derive(Clone)]
pub struct RaDecrypter {
    /// The key.
    pub key: Arc<dyn Decrypter>,
    /// The certificate.
    pub certificate: Arc<Certificate>,
}
