//! Looks at what an issuer gave back before a device sees it.

use std::sync::Arc;
use std::time::Duration;

use const_oid::db::rfc5280::ANY_EXTENDED_KEY_USAGE;
use der::oid::ObjectIdentifier;
use jiff::Timestamp;

use super::core::after;
use crate::algorithm::SignatureAlgorithm;
use crate::policy::enforce::usage_names;
use crate::upstream::{Capabilities, IssuanceOrder, NamesRule};
use crate::x509::extension::{KeyUsage, extended_key_usage_name, read_subject_alt_names};
use crate::x509::{Certificate, DistinguishedName, SubjectAltName};

/// How many times as long as the profile says a certificate may be valid at most, where the CA decides that.
const LONGER: u32 = 2;

/// How far in the future a validity may begin: clocks differ.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// What a certificate is held against.
pub struct Allowed<'a> {
    /// What was ordered.
    pub order: &'a IssuanceOrder,
    /// What the issuer could be told, and what it decides.
    pub issuer: &'a Capabilities,
    /// The certificates of the CA and above it that are believed.
    pub anchors: &'a [Arc<Certificate>],
    /// Now.
    pub now: Timestamp,
}

/// Checks that the certificate is what was ordered: for that key and name, with no more usages and time, signed with the algorithm that
/// the profile promised by the CA at the start of `chain`, which leads to a certificate that is believed. Where the CA decides about
/// something, that is held against what policy lets through. The error says what differs.
pub fn inspect(allowed: &Allowed<'_>, certificate: &Certificate, chain: &[Arc<Certificate>]) -> Result<(), String> {
    let order = allowed.order;
    if certificate.spki() != order.spki {
        return Err("the certificate is for another key".into());
    }
    names(order, allowed.issuer.names, certificate)?;
    if certificate.signature_algorithm() != Some(order.signature) {
        let found = certificate.signature_algorithm().map_or("an unknown algorithm", |algorithm| algorithm.name());
        return Err(format!("it is signed with {found}, the profile promises {}", order.signature));
    }
    if certificate.is_ca() {
        return Err("it is a CA certificate".into());
    }
    validity(allowed, certificate)?;
    match allowed.issuer.overrides_usages {
        true => ordered_usages(order, certificate)?,
        false => allowed_usages(order, certificate)?,
    }
    let ca = path(allowed, certificate, chain)?;
    if certificate.is_chameleon() {
        return Err("another certificate is folded into it, which was not ordered".into());
    }
    match order.alternative {
        Some(alternative) => alternatively(alternative, certificate, ca),
        None => Ok(()),
    }
}

/// Whether subject and alternative names are what was ordered, as far as that is not the CA's to decide.
fn names(order: &IssuanceOrder, rule: NamesRule, certificate: &Certificate) -> Result<(), String> {
    if rule == NamesRule::CaDecides {
        return Ok(());
    }
    let subject = DistinguishedName::from_der(&order.subject).map_err(|error| error.to_string())?;
    let mut ordered = match order.subject_alt_names.as_slice() {
        [] => Vec::new(),
        value => read_subject_alt_names(value).map_err(|error| error.to_string())?,
    };
    let mut names = certificate.subject_alt_names();
    if rule == NamesRule::MayAdd {
        if !certificate.subject().contains(&subject) {
            return Err(format!("the subject is {}, and not all of {subject} stands in it", certificate.subject()));
        }
        return match ordered.iter().find(|name| !names.contains(name)) {
            Some(missing) => Err(format!("the alternative name {}:{} is not in it", missing.kind(), missing.value())),
            None => Ok(()),
        };
    }
    if !certificate.subject().matches_in_any_order(&subject) {
        return Err(format!("the subject is {}, ordered was {subject}", certificate.subject()));
    }
    let by_text = |name: &SubjectAltName| (name.kind(), name.value());
    names.sort_by_key(by_text);
    ordered.sort_by_key(by_text);
    if names != ordered {
        return Err("the subject alternative names are not those that were ordered".into());
    }
    Ok(())
}

/// Whether it is valid as long as was ordered; or, where the CA decides that, now and not far longer than the profile says.
fn validity(allowed: &Allowed<'_>, certificate: &Certificate) -> Result<(), String> {
    let (from, until, order) = (certificate.not_before(), certificate.not_after(), allowed.order);
    if allowed.issuer.overrides_validity {
        return match until > order.not_after {
            true => Err(format!("it is valid until {until}, ordered was {}", order.not_after)),
            false => Ok(()),
        };
    }
    if until <= allowed.now {
        return Err(format!("it ended at {until} already"));
    }
    if from > after(allowed.now, AHEAD) {
        return Err(format!("it is valid from {from} on only"));
    }
    let longest = after(order.not_before, order.validity() * LONGER);
    if until > longest {
        return Err(format!(
            "it is valid until {until}, more than {LONGER} times as long as the `validity` of profile {:?} says; the CA decides that",
            order.profile
        ));
    }
    Ok(())
}

/// Where the issuer gives what is ordered: no usage that was not.
fn ordered_usages(order: &IssuanceOrder, certificate: &Certificate) -> Result<(), String> {
    // Without the extension a key may be used for all.
    let usage = certificate.key_usage().unwrap_or(KeyUsage(u16::MAX));
    if !order.key_usage.contains(usage) {
        return Err("it has key usages that were not ordered".into());
    }
    let usages = certificate.extended_key_usages();
    if usages.is_empty() && !order.extended_key_usages.is_empty() {
        return Err("it may be used for all, and extended key usages were ordered".into());
    }
    no_others(&usages, &order.extended_key_usages, "ordered")
}

/// Where the issuer decides: no usage that policy does not let through.
fn allowed_usages(order: &IssuanceOrder, certificate: &Certificate) -> Result<(), String> {
    let Some(allowed) = &order.allowed else {
        // Of an earlier version: all that is known is what was ordered.
        return no_others(&certificate.extended_key_usages(), &order.extended_key_usages, "ordered");
    };
    let usage = certificate.key_usage().unwrap_or_default();
    let most = allowed.key_usage.union(order.key_usage);
    if !most.contains(usage) {
        let more = KeyUsage(usage.0 & !most.0);
        return Err(format!("it has key usage {}, which the group does not allow", usage_names(more)));
    }
    no_others(&certificate.extended_key_usages(), &allowed.extended_key_usages, "allowed")
}

fn no_others(usages: &[ObjectIdentifier], known: &[String], word: &str) -> Result<(), String> {
    match usages.iter().find(|usage| !known.contains(&usage.to_string())) {
        Some(any) if *any == ANY_EXTENDED_KEY_USAGE => {
            Err(format!("it may be used for all (anyExtendedKeyUsage), which was not {word}"))
        }
        Some(other) => Err(format!("it has the extended key usage {}, which was not {word}", extended_key_usage_name(other))),
        None => Ok(()),
    }
}

/// Checks every signature up to a certificate that is believed; gives that of the CA.
fn path<'a>(allowed: &Allowed<'_>, certificate: &Certificate, chain: &'a [Arc<Certificate>]) -> Result<&'a Certificate, String> {
    let Some(ca) = chain.first() else {
        return Err("the issuer gave no chain, and none is configured".into());
    };
    signed_by(certificate, ca)?;
    let is_believed = |one: &Certificate| allowed.anchors.iter().any(|anchor| anchor.der() == one.der());
    let mut last = ca;
    for above in &chain[1..] {
        if is_believed(last) {
            return Ok(ca);
        }
        is_allowed_to_sign(last)?;
        signed_by(last, above)?;
        last = above;
    }
    if is_believed(last) {
        return Ok(ca);
    }
    is_allowed_to_sign(last)?;
    match allowed.anchors.iter().any(|anchor| signed_by(last, anchor).is_ok()) {
        true => Ok(ca),
        false => {
            Err(format!("its chain ends with {}, which leads to no certificate that is configured for the CA", last.subject()))
        }
    }
}

fn is_allowed_to_sign(certificate: &Certificate) -> Result<(), String> {
    match certificate.is_ca() {
        true => Ok(()),
        false => Err(format!("{} in its chain is no CA", certificate.subject())),
    }
}

fn signed_by(certificate: &Certificate, ca: &Certificate) -> Result<(), String> {
    if !certificate.issuer().matches(ca.subject()) {
        return Err(format!("it was issued by {}, configured is {}", certificate.issuer(), ca.subject()));
    }
    certificate.verify_signed_by(ca.spki()).map_err(|error| format!("its signature by {}: {error}", ca.subject()))
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
    read_subject_alt_names(&order.subject_alt_names).map(|names| texts(&names)).unwrap_or_default()
}

/// The alternative names that stand in a certificate as text, for people.
pub fn names_in(certificate: &Certificate) -> Vec<String> {
    texts(&certificate.subject_alt_names())
}

fn texts(names: &[SubjectAltName]) -> Vec<String> {
    names.iter().map(|name| format!("{}:{}", name.kind(), name.value())).collect()
}

#[cfg(test)]
mod tests;
