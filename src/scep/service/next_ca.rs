//! GetNextCACert (RFC 8894 section 4.7): the CA certificate that comes next, signed by the CA of today. Only a CA whose key we hold can
//! say so.

use std::sync::Arc;

use crate::crypto::{CryptoError, Signer};
use crate::policy::Endpoint;
use crate::scep::certs_only::{SetOrder, write};
use crate::scep::pki_message::preferred_digest;
use crate::scep::{Attributes, MessageTemplate};
use crate::snapshot::Snapshot;
use crate::x509::Certificate;

/// The next certificate, and the CA of today that vouches for it.
pub struct NextCa {
    next: Arc<Certificate>,
    current: Arc<Certificate>,
    signer: Arc<dyn Signer>,
}

/// Whether there is a next certificate for devices of this endpoint.
pub fn has_next(snapshot: &Snapshot, endpoint: &Endpoint) -> bool {
    next_ca(snapshot, endpoint).is_some()
}

/// The next CA for devices of this endpoint: that of the group with the highest priority that has one.
pub fn next_ca(snapshot: &Snapshot, endpoint: &Endpoint) -> Option<NextCa> {
    endpoint.groups.iter().find_map(|group| {
        let profile = snapshot.profile_of(group)?;
        let upstream = snapshot.upstream_of(profile)?;
        let ca = profile.issuer.ca.as_str();
        let next = upstream.next_certificate(ca)?;
        let current = upstream.chain(ca)?.first().cloned()?;
        Some(NextCa { next, current, signer: upstream.ca_signer(ca)? })
    })
}

impl NextCa {
    /// The answer; slow.
    pub fn sign(&self) -> Result<Vec<u8>, CryptoError> {
        let content = write(&[self.next.der()], &[], SetOrder::AsGiven);
        MessageTemplate {
            content: &content,
            attributes: &Attributes::default(),
            digest: preferred_digest(self.signer.key()),
            signer: &*self.signer,
            signer_certificate: &self.current,
            certificates: &[self.current.der()],
        }
        .sign()
    }
}
