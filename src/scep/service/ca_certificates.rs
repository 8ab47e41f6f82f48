//! GetCACert (RFC 8894 section 4.2): the RA's certificates and what stands above them, in the shape that the endpoint's devices can
//! take.

use std::sync::Arc;

use bytes::Bytes;

use crate::algorithm::KeyAlgorithm;
use crate::crypto::RaIdentity;
use crate::policy::Endpoint;
use crate::policy::endpoint::CaCertsShape;
use crate::scep::certs_only::{SetOrder, write};
use crate::snapshot::Snapshot;
use crate::x509::Certificate;

/// The answer for this endpoint: its media type and its octets.
pub fn ca_certificates(snapshot: &Snapshot, endpoint: &Endpoint) -> (&'static str, Bytes) {
    let certificates = list(snapshot, snapshot.ra_of(endpoint), endpoint.scep.ca_certs);
    let octets = endpoint.ca_certificates.get_or_init(|| match certificates.as_slice() {
        [one] => Bytes::copy_from_slice(one.der()),
        several => {
            let several: Vec<&[u8]> = several.iter().map(|certificate| certificate.der()).collect();
            Bytes::from(write(&several, &[], SetOrder::AsGiven))
        }
    });
    let media_type = if certificates.len() == 1 { CA_CERT } else { CA_RA_CERT };
    (media_type, octets.clone())
}

/// Signer, decrypter, CA, …: clients that do not look at key usages take the first certificate for the RA's.
///
/// What stands above is the chain of the RA's own certificates, which are of a classical CA: a group's issuer, which may sign with an
/// algorithm that a client cannot even parse, never comes in here.
pub(super) fn list(snapshot: &Snapshot, ra: &Arc<RaIdentity>, shape: CaCertsShape) -> Vec<Arc<Certificate>> {
    let mut list: Vec<Arc<Certificate>> = Vec::new();
    if shape != CaCertsShape::Ca || ra.chain.is_empty() {
        list.push(Arc::clone(&ra.signer_certificate));
        if !ra.is_single() {
            list.extend(ra.decrypters.first().map(|decrypter| Arc::clone(&decrypter.certificate)));
        }
    }
    list.extend(ra.chain.iter().take(above(shape, ra.chain.len())).cloned());
    if shape == CaCertsShape::RaPairChain {
        let others = overlap(snapshot, ra);
        list.extend(others.into_iter().filter(|other| !ra.chain.contains(other)));
    }
    list
}

/// The other living generations of the CAs above the RA, while these are rolled over: a device that is to check what either signed
/// learns of both.
fn overlap(snapshot: &Snapshot, ra: &RaIdentity) -> Vec<Arc<Certificate>> {
    let modern = ra.decrypters.first().is_some_and(|decrypter| decrypter.key.key().can_decapsulate());
    let mut found: Vec<Arc<Certificate>> = Vec::new();
    for upstream in snapshot.upstreams.values() {
        for ca in &ra.chain {
            let rsa = |certificate: &Certificate| matches!(certificate.key(), Some(KeyAlgorithm::Rsa(_)));
            let post_quantum = |generation: &Certificate| generation.key().is_none_or(|key| key.is_post_quantum());
            // Some clients encrypt to whatever certificate comes, and give up at one that is not RSA: one of another kind than what is
            // there already does not come in.
            let fits = |generation: &Certificate| modern || rsa(generation) || !rsa(ca) && !post_quantum(generation);
            let new: Vec<_> = upstream.generations(ca).into_iter().filter(|one| fits(one) && !found.contains(one)).collect();
            found.extend(new);
        }
    }
    found
}

/// What GetNextCACert says of the RA's next certificates: as GetCACert will say it.
pub(super) fn next_of(ra: &RaIdentity, shape: CaCertsShape) -> Vec<Arc<Certificate>> {
    let Some(next) = &ra.rollover.next else { return Vec::new() };
    let mut list = vec![Arc::clone(&next.signer)];
    list.extend((next.decrypter != next.signer).then(|| Arc::clone(&next.decrypter)));
    list.extend(next.chain.iter().take(above(shape, next.chain.len())).cloned());
    list
}

fn above(shape: CaCertsShape, chain: usize) -> usize {
    match shape {
        CaCertsShape::RaPair => 0,
        CaCertsShape::Ca | CaCertsShape::RaPairCa => 1,
        CaCertsShape::RaPairChain => chain,
    }
}

const CA_CERT: &str = "application/x-x509-ca-cert";
const CA_RA_CERT: &str = "application/x-x509-ca-ra-cert";
