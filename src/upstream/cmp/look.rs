//! A first look at a certificate, before the CA is told that we take it. The core looks again, at all of it.

use std::sync::Arc;

use crate::algorithm::{Digest, SignatureAlgorithm};
use crate::crypto::provider;
use crate::upstream::remote::{Abilities, RemoteCa};
use crate::upstream::{IssuanceOrder, NamesRule};
use crate::x509::extension::KeyUsage;
use crate::x509::{Certificate, DistinguishedName};

/// What a certificate is compared with.
pub struct Look {
    /// The order.
    pub order: IssuanceOrder,
    able: Abilities,
    names: NamesRule,
    /// The certificates of the CA, the present one first.
    issuers: Vec<Arc<Certificate>>,
}

impl Look {
    /// At a certificate for this order, of this CA as it is known now.
    pub fn of(order: &IssuanceOrder, able: Abilities, ca: &RemoteCa) -> Self {
        let issuers = std::iter::once(ca.certificate()).chain(ca.previous()).collect();
        Self { order: order.clone(), able, names: ca.names(), issuers }
    }

    /// Whether this can be what was ordered. Nothing is refused here that the core would take. Slow.
    pub fn at(&self, certificate: &Certificate) -> Result<(), String> {
        let order = &self.order;
        if certificate.spki() != order.spki {
            return Err("the certificate is for another key".to_owned());
        }
        let ordered = DistinguishedName::from_der(&order.subject).map_err(|error| error.to_string())?;
        if self.names == NamesRule::AsOrdered && !certificate.subject().matches_in_any_order(&ordered) {
            return Err(format!("the subject is {}, ordered was {ordered}", certificate.subject()));
        }
        if certificate.signature_algorithm() != Some(order.signature) {
            let found = certificate.signature_algorithm().map_or("an unknown algorithm", |algorithm| algorithm.name());
            return Err(format!("it is signed with {found}, the profile promises {}", order.signature));
        }
        if certificate.is_ca() {
            return Err("it is a CA certificate".to_owned());
        }
        if self.able.overrides_validity && certificate.not_after() > order.not_after {
            return Err(format!("it is valid until {}, ordered was {}", certificate.not_after(), order.not_after));
        }
        let usage = certificate.key_usage().unwrap_or(KeyUsage(u16::MAX));
        if self.able.overrides_usages && !order.key_usage.contains(usage) {
            return Err("it has key usages that were not ordered".to_owned());
        }
        let mut named = self.issuers.iter().filter(|issuer| certificate.issuer().matches(issuer.subject())).peekable();
        if named.peek().is_none() {
            return Err(format!("it was issued by {}, configured is {}", certificate.issuer(), self.issuers[0].subject()));
        }
        match named.any(|issuer| certificate.verify_signed_by(issuer.spki()).is_ok()) {
            true => Ok(()),
            false => Err(format!("its signature by {} does not verify", certificate.issuer())),
        }
    }
}

/// The certHash of a confirmation, and the digest where it has to be named: that of the signature on the certificate, or, where the
/// signature algorithm implies none, one that we choose (RFC 9810 section 5.3.18; SHA-512 with Ed25519 by RFC 9481 section 3.3).
pub fn certificate_hash(certificate: &Certificate) -> (Vec<u8>, Option<Digest>) {
    let implied = certificate.signature_algorithm().and_then(|algorithm| algorithm.digest());
    let digest = implied.unwrap_or(match certificate.signature_algorithm() {
        Some(SignatureAlgorithm::Ed25519) => Digest::Sha512,
        _ => Digest::Sha256,
    });
    (provider().digester.digest(digest, certificate.der()), implied.is_none().then_some(digest))
}
