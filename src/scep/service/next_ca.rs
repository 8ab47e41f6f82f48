//! GetNextCACert (RFC 8894 section 4.7): the CA certificate that comes next, and the RA's, signed by the CA of today. Only a CA whose key
//! we hold can say so.

use std::sync::Arc;

use super::ca_certificates::{list, next_of};
use crate::crypto::{CryptoError, Signer};
use crate::policy::Endpoint;
use crate::scep::certs_only::{SetOrder, write};
use crate::scep::pki_message::preferred_digest;
use crate::scep::{Attributes, MessageTemplate};
use crate::snapshot::Snapshot;
use crate::x509::Certificate;

/// The next certificates, and the CA of today that vouches for them.
pub struct NextCa {
    next: Vec<Arc<Certificate>>,
    current: Arc<Certificate>,
    signer: Arc<dyn Signer>,
}

/// Whether there is a next certificate for devices of this endpoint.
pub fn has_next(snapshot: &Snapshot, endpoint: &Endpoint) -> bool {
    next_ca(snapshot, endpoint).is_some()
}

/// What comes next for devices of this endpoint: the next CA of the group with the highest priority that has one, and the RA's next
/// certificates.
///
/// The CA of today signs: of those whose keys are here, one that GetCACert brings, for clients check by that. Where the group's own CA is
/// not in there, it is the one that certified the RA.
pub fn next_ca(snapshot: &Snapshot, endpoint: &Endpoint) -> Option<NextCa> {
    let ra = snapshot.ra_of(endpoint);
    let of_ra = next_of(ra, endpoint.scep.ca_certs);
    let of_group = endpoint.groups.iter().find_map(|group| {
        let profile = snapshot.profile_of(group)?;
        let upstream = snapshot.upstream_of(profile)?;
        let ca = profile.issuer.ca.as_str();
        let next = upstream.next_certificate(ca)?;
        let current = upstream.chain(ca)?.first().cloned()?;
        Some(NextCa { next: vec![next], current, signer: upstream.ca_signer(ca)? })
    });
    let above = || {
        let current = ra.chain.first()?;
        let signer = snapshot.upstreams.values().find_map(|upstream| upstream.signer_of(current))?;
        Some((Arc::clone(current), signer))
    };
    if let Some(mut found) = of_group {
        let brought = list(snapshot, ra, endpoint.scep.ca_certs);
        if !brought.contains(&found.current)
            && let Some((current, signer)) = above().filter(|(current, _)| brought.contains(current))
        {
            (found.current, found.signer) = (current, signer);
        }
        let more: Vec<_> = of_ra.into_iter().filter(|certificate| !found.next.contains(certificate)).collect();
        found.next.extend(more);
        return Some(found);
    }
    if of_ra.is_empty() {
        return None;
    }
    let (current, signer) = above()?;
    Some(NextCa { next: of_ra, current, signer })
}

impl NextCa {
    /// The answer; slow.
    pub fn sign(&self) -> Result<Vec<u8>, CryptoError> {
        let next: Vec<&[u8]> = self.next.iter().map(|certificate| certificate.der()).collect();
        let content = write(&next, &[], SetOrder::AsGiven);
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
