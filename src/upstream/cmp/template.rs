//! CertTemplate and what stands around it (RFC 4211 sections 3 to 5): what is asked for, and what is to be revoked.
//!
//! ```text
//! CertReqMsg   ::= SEQUENCE { certReq CertRequest, popo ProofOfPossession OPTIONAL, regInfo OPTIONAL }
//! CertRequest  ::= SEQUENCE { certReqId INTEGER, certTemplate CertTemplate, controls OPTIONAL }
//! CertTemplate ::= SEQUENCE { serialNumber [1], issuer [3] Name, validity [4], subject [5] Name, publicKey [6], extensions [9] }
//! ```

use crate::upstream::IssuanceOrder;
use crate::x509::crl::RevocationReason;
use crate::x509::extension::{self, encode_extensions, oid};
use crate::x509::tlv::{Reader, encode, encode_unsigned, tag};
use crate::x509::{Certificate, Extension, X509Error, builder, time};

/// What of an order is asked for; the rest is the CA's to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Key usage and extended key usages.
    pub usages: bool,
    /// Start and end of the validity.
    pub validity: bool,
}

/// CertReqMessages with one request, its proof of possession verified by us: `raVerified [0] NULL` (RFC 4211 section 4).
pub fn requests(order: &IssuanceOrder, asked: Asked) -> Result<Vec<u8>, X509Error> {
    const RA_VERIFIED: &[u8] = &[tag::context(0), 0];
    let request = encode(tag::SEQUENCE, &[encode_unsigned(&[0]), of_order(order, asked)?]);
    let message = encode(tag::SEQUENCE, &[request.as_slice(), RA_VERIFIED]);
    Ok(encode(tag::SEQUENCE, &[message]))
}

fn of_order(order: &IssuanceOrder, asked: Asked) -> Result<Vec<u8>, X509Error> {
    let mut extensions = Vec::new();
    if asked.usages {
        extensions.push(builder::key_usage(order.key_usage));
        let usages: Result<Vec<_>, _> = order.extended_key_usages.iter().map(|usage| usage.parse()).collect();
        let usages = usages.map_err(|error| X509Error::malformed("order", error))?;
        if !usages.is_empty() {
            let value = extension::extended_key_usage(&usages)?;
            extensions.push(Extension { oid: oid::EXTENDED_KEY_USAGE, critical: false, value });
        }
    }
    if !order.subject_alt_names.is_empty() {
        // Critical where there is no subject (RFC 5280 section 4.2.1.6): an empty Name is an empty SEQUENCE.
        let critical = order.subject == [tag::SEQUENCE, 0];
        extensions.push(Extension { oid: oid::SUBJECT_ALT_NAME, critical, value: order.subject_alt_names.clone() });
    }
    let validity = match asked.validity {
        true => {
            let limit = |number, at| encode(tag::context_constructed(number), &[time::encode_time(at)]);
            encode(tag::context_constructed(4), &[limit(0, order.not_before), limit(1, order.not_after)])
        }
        false => Vec::new(),
    };
    let subject = encode(tag::context_constructed(5), &[&order.subject]);
    let key = retagged(6, &order.spki)?;
    let extensions = if extensions.is_empty() { Vec::new() } else { retagged(9, &encode_extensions(&extensions))? };
    Ok(encode(tag::SEQUENCE, &[validity, subject, key, extensions]))
}

/// RevReqContent with one RevDetails (RFC 9810 section 5.3.9, RFC 9483 section 4.2).
pub fn revocation(certificate: &Certificate, reason: RevocationReason) -> Vec<u8> {
    let serial = encode(tag::context(1), &[certificate.serial()]);
    let issuer = encode(tag::context_constructed(3), &[certificate.issuer().der()]);
    let template = encode(tag::SEQUENCE, &[serial, issuer]);
    let value = encode(tag::ENUMERATED, &[[reason.code()]]);
    let details = encode_extensions(&[Extension { oid: oid::REASON_CODE, critical: false, value }]);
    encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &[template, details])])
}

/// A SEQUENCE under an implicit tag.
fn retagged(number: u8, sequence: &[u8]) -> Result<Vec<u8>, X509Error> {
    let content = Reader::single("certificate template", sequence, tag::SEQUENCE)?.value;
    Ok(encode(tag::context_constructed(number), &[content]))
}
