//! GetCACert (RFC 8894 section 4.2): the RA's certificates and what stands above them, in the shape that the endpoint's devices can
//! take.

use bytes::Bytes;

use crate::crypto::RaIdentity;
use crate::policy::Endpoint;
use crate::policy::endpoint::CaCertsShape;
use crate::scep::certs_only::{SetOrder, write};
use crate::snapshot::Snapshot;
use crate::x509::Certificate;

/// The answer for this endpoint: its media type and its octets.
pub fn ca_certificates(snapshot: &Snapshot, endpoint: &Endpoint) -> (&'static str, Bytes) {
    let certificates = list(snapshot.ra_of(endpoint), endpoint.scep.ca_certs);
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
fn list(ra: &RaIdentity, shape: CaCertsShape) -> Vec<&Certificate> {
    let mut list: Vec<&Certificate> = Vec::new();
    if shape != CaCertsShape::Ca || ra.chain.is_empty() {
        list.push(&ra.signer_certificate);
        if !ra.is_single() {
            list.extend(ra.decrypters.first().map(|decrypter| &*decrypter.certificate));
        }
    }
    let above = match shape {
        CaCertsShape::RaPair => 0,
        CaCertsShape::Ca | CaCertsShape::RaPairCa => 1,
        CaCertsShape::RaPairChain => ra.chain.len(),
    };
    list.extend(ra.chain.iter().take(above).map(|certificate| &**certificate));
    list
}

const CA_CERT: &str = "application/x-x509-ca-cert";
const CA_RA_CERT: &str = "application/x-x509-ca-ra-cert";
