//! Looks at what an issuer gave back before a device sees it.

use std::sync::Arc;

use crate::algorithm::SignatureAlgorithm;
use crate::upstream::{Capabilities, IssuanceOrder};
use crate::x509::extension::KeyUsage;
use crate::x509::{Certificate, DistinguishedName};

/// Checks that the certificate is what was ordered: for that key and name, with no more usages and time, signed with the algorithm
/// that the profile promised by the CA at the start of `chain`. The error says what differs.
pub fn inspect(
    order: &IssuanceOrder,
    issuer: &Capabilities,
    certificate: &Certificate,
    chain: &[Arc<Certificate>],
) -> Result<(), String> {
    if certificate.spki() != order.spki {
        return Err("the certificate is for another key".into());
    }
    let subject = DistinguishedName::from_der(&order.subject).map_err(|error| error.to_string())?;
    if !certificate.subject().matches(&subject) {
        return Err(format!("the subject is {}, ordered was {subject}", certificate.subject()));
    }
    let mut names = certificate.subject_alt_names();
    let mut ordered = match order.subject_alt_names.as_slice() {
        [] => Vec::new(),
        value => crate::x509::extension::read_subject_alt_names(value).map_err(|error| error.to_string())?,
    };
    let by_text = |name: &crate::x509::SubjectAltName| (name.kind(), name.value());
    names.sort_by_key(by_text);
    ordered.sort_by_key(by_text);
    if names != ordered {
        return Err("the subject alternative names are not those that were ordered".into());
    }
    if certificate.signature_algorithm() != Some(order.signature) {
        let found = certificate.signature_algorithm().map_or("an unknown algorithm", |algorithm| algorithm.name());
        return Err(format!("it is signed with {found}, the profile promises {}", order.signature));
    }
    if certificate.is_ca() {
        return Err("it is a CA certificate".into());
    }
    if issuer.overrides_validity && certificate.not_after() > order.not_after {
        return Err(format!("it is valid until {}, ordered was {}", certificate.not_after(), order.not_after));
    }
    if issuer.overrides_usages {
        let usage = certificate.key_usage().unwrap_or(KeyUsage(u16::MAX));
        if !order.key_usage.contains(usage) {
            return Err("it has key usages that were not ordered".into());
        }
    }
    let Some(ca) = chain.first() else {
        return Err("the issuer gave no chain, and none is configured".into());
    };
    if !certificate.issuer().matches(ca.subject()) {
        return Err(format!("it was issued by {}, configured is {}", certificate.issuer(), ca.subject()));
    }
    certificate.verify_signed_by(ca.spki()).map_err(|error| format!("its signature by {}: {error}", ca.subject()))?;
    if certificate.is_chameleon() {
        return Err("another certificate is folded into it, which was not ordered".into());
    }
    match order.alternative {
        Some(alternative) => alternatively(alternative, certificate, ca),
        None => Ok(()),
    }
}

/// Whether the alternative signature is the one that was ordered.
fn alternatively(ordered: SignatureAlgorithm, certificate: &Certificate, ca: &Certificate) -> Result<(), String> {
    if certificate.alternative_signature_algorithm() != Some(ordered) {
        return Err(format!("it has no alternative signature by {ordered}, which the profile promises"));
    }
    let spki = ca.alternative_spki().ok_or_else(|| format!("{} names no key for alternative signatures", ca.subject()))?;
    certificate.verify_alternative(spki).map_err(|error| format!("its alternative signature by {}: {error}", ca.subject()))
}

/// The names of an order as text, for people.
pub fn names_of(order: &IssuanceOrder) -> Vec<String> {
    crate::x509::extension::read_subject_alt_names(&order.subject_alt_names)
        .map(|names| names.iter().map(|name| format!("{}:{}", name.kind(), name.value())).collect())
        .unwrap_or_default()
}

/// Only the encoding of names that were read is compared; this keeps the two functions of the x509 room in step.
#[cfg(test)]
mod tests {
    use crate::x509::SubjectAltName;
    use crate::x509::extension::subject_alt_names;

    #[test]
    fn the_names_of_an_order_read_back() {
        let names = [SubjectAltName::Dns("a.example".into()), SubjectAltName::Uri("tag:x".into())];
        let value = subject_alt_names(&names).expect("encodes");
        let read = crate::x509::extension::read_subject_alt_names(&value).expect("reads");
        assert_eq!(read, names);
    }
}
