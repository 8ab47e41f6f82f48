use const_oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_CODE_SIGNING};
use jiff::SignedDuration;

use super::*;
use crate::algorithm::{KeyAlgorithm, KeyRule};
use crate::upstream::AllowedUsages;
use crate::upstream::testing::TestCa;
use crate::x509::builder;
use crate::x509::extension::{Extension, extended_key_usage, oid, subject_alt_names};

/// A CA that gives what is ordered, in all.
fn able() -> Capabilities {
    Capabilities {
        signatures: vec![SignatureAlgorithm::EcdsaSha256],
        alternatives: Vec::new(),
        binds_related: false,
        takes_extensions: false,
        subject_keys: vec![KeyRule::Exactly(KeyAlgorithm::EcdsaP256)],
        overrides_subject: true,
        overrides_subject_alt_names: true,
        overrides_usages: true,
        overrides_validity: true,
        names: NamesRule::AsOrdered,
        can_wait: false,
        can_revoke: true,
        can_find_again: true,
        poll_may_issue: false,
        sees_challenge: false,
        wants_challenge: false,
    }
}

/// A CA that decides about usages and validity.
fn deciding() -> Capabilities {
    Capabilities { overrides_usages: false, overrides_validity: false, ..able() }
}

fn order(ca: &TestCa) -> IssuanceOrder {
    let allowed = AllowedUsages {
        key_usage: KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT),
        extended_key_usages: vec![ID_KP_CLIENT_AUTH.to_string(), const_oid::db::rfc5280::ID_KP_SERVER_AUTH.to_string()],
    };
    IssuanceOrder { allowed: Some(allowed), ..ca.order("main") }
}

fn look(ca: &TestCa, order: &IssuanceOrder, issuer: &Capabilities, certificate: &Certificate) -> Result<(), String> {
    let anchors = ca.chain();
    inspect(&Allowed { order, issuer, anchors: &anchors, now: Timestamp::now() }, certificate, &ca.chain())
}

/// What the CA gives for a changed order.
fn given(ca: &TestCa, order: &IssuanceOrder, change: impl FnOnce(&mut IssuanceOrder)) -> Certificate {
    let mut changed = order.clone();
    change(&mut changed);
    ca.issue(&changed)
}

fn ca() -> TestCa {
    TestCa::new(KeyAlgorithm::EcdsaP256)
}

fn refused(what: Result<(), String>, part: &str) {
    let why = what.expect_err(part);
    assert!(why.contains(part), "{part} is not in {why:?}");
}

#[test]
fn what_was_ordered_passes() {
    let ca = ca();
    let order = order(&ca);
    for issuer in [able(), deciding()] {
        assert_eq!(look(&ca, &order, &issuer, &ca.issue(&order)), Ok(()));
    }
}

#[test]
fn keys_and_signatures_are_those_that_were_ordered() {
    let ca = ca();
    let order = order(&ca);
    let other = ca.order("main").spki;
    refused(look(&ca, &order, &deciding(), &given(&ca, &order, |order| order.spki = other)), "another key");
    let promised = IssuanceOrder { signature: SignatureAlgorithm::MlDsa65, ..order.clone() };
    refused(look(&ca, &promised, &deciding(), &ca.issue(&order)), "the profile promises ml-dsa-65");
}

#[test]
fn names_are_held_against_the_rule() {
    let ca = ca();
    let order = order(&ca);
    let with = |names: NamesRule| Capabilities { names, ..deciding() };
    let name = |text: &str| DistinguishedName::parse(text, true).unwrap().der().to_vec();
    let alternative = |names: &[&str]| {
        subject_alt_names(&names.iter().map(|name| SubjectAltName::Dns((*name).to_owned())).collect::<Vec<_>>()).unwrap()
    };
    let more = given(&ca, &order, |order| {
        order.subject = name("C=DE,O=example,CN=router-1,OU=added");
        order.subject_alt_names = alternative(&["more.example.net", "router-1.example.net"]);
    });
    refused(look(&ca, &order, &with(NamesRule::AsOrdered), &more), "the subject is");
    assert_eq!(look(&ca, &order, &with(NamesRule::MayAdd), &more), Ok(()));
    assert_eq!(names_in(&more), ["dns:more.example.net", "dns:router-1.example.net"], "what stands in it is told");
    let turned = given(&ca, &order, |order| order.subject = name("O=Example,CN=router-1"));
    assert_eq!(look(&ca, &order, &with(NamesRule::AsOrdered), &turned), Ok(()), "CAs have an order of their own");
    let (one, two) = (DistinguishedName::parse("OU=a,OU=b", true).unwrap(), DistinguishedName::parse("OU=b,OU=a", true).unwrap());
    assert!(!one.matches_in_any_order(&two), "of one type, the order counts");
    let less = given(&ca, &order, |order| order.subject_alt_names = Vec::new());
    refused(look(&ca, &order, &with(NamesRule::AsOrdered), &less), "alternative names");
    refused(look(&ca, &order, &with(NamesRule::MayAdd), &less), "dns:router-1.example.net is not in it");
    let other = given(&ca, &order, |order| order.subject = name("CN=router-2,O=Example"));
    refused(look(&ca, &order, &with(NamesRule::MayAdd), &other), "not all of");
    assert_eq!(look(&ca, &order, &with(NamesRule::CaDecides), &other), Ok(()));
}

#[test]
fn usages_are_what_was_ordered_or_what_is_allowed() {
    let ca = ca();
    let order = order(&ca);
    let usages = |usages: &[ObjectIdentifier]| {
        let usages = usages.iter().map(ToString::to_string).collect::<Vec<_>>();
        given(&ca, &order, |order| order.extended_key_usages = usages)
    };
    let server = const_oid::db::rfc5280::ID_KP_SERVER_AUTH;
    for (given, ordered, allowed) in [
        (usages(&[ID_KP_CLIENT_AUTH]), "", ""),
        (usages(&[]), "used for all", ""),
        (usages(&[server]), "serverAuth, which was not ordered", ""),
        (
            usages(&[ID_KP_CLIENT_AUTH, ID_KP_CODE_SIGNING]),
            "codeSigning, which was not ordered",
            "codeSigning, which was not allowed",
        ),
        (
            usages(&[ANY_EXTENDED_KEY_USAGE]),
            "anyExtendedKeyUsage), which was not ordered",
            "anyExtendedKeyUsage), which was not allowed",
        ),
    ] {
        for (issuer, part) in [(able(), ordered), (deciding(), allowed)] {
            match part {
                "" => assert_eq!(look(&ca, &order, &issuer, &given), Ok(())),
                part => refused(look(&ca, &order, &issuer, &given), part),
            }
        }
    }
    let encipher = given(&ca, &order, |order| order.key_usage = order.key_usage.union(KeyUsage::KEY_ENCIPHERMENT));
    refused(look(&ca, &order, &able(), &encipher), "key usages that were not ordered");
    assert_eq!(look(&ca, &order, &deciding(), &encipher), Ok(()));
    let signs = given(&ca, &order, |order| order.key_usage = order.key_usage.union(KeyUsage::KEY_CERT_SIGN));
    refused(look(&ca, &order, &deciding(), &signs), "keyCertSign, which the group does not allow");
}

#[test]
fn a_certificate_of_a_ca_is_none_for_a_device() {
    let ca = ca();
    let order = order(&ca);
    let subject = DistinguishedName::from_der(&order.subject).unwrap();
    let mut extensions = builder::ca_extensions(&order.spki, None, None).unwrap();
    extensions.retain(|extension| extension.oid == oid::BASIC_CONSTRAINTS);
    extensions.push(Extension { oid: oid::SUBJECT_ALT_NAME, critical: false, value: order.subject_alt_names.clone() });
    let usages = extended_key_usage(&[ID_KP_CLIENT_AUTH]).unwrap();
    extensions.push(Extension { oid: oid::EXTENDED_KEY_USAGE, critical: false, value: usages });
    let certificate = ca.certify(subject, &order.spki, (order.not_before, order.not_after), extensions);
    refused(look(&ca, &order, &deciding(), &certificate), "CA certificate");
}

#[test]
fn a_validity_is_kept_or_not_far_beyond_the_profile() {
    let ca = ca();
    let order = order(&ca);
    let hours = SignedDuration::from_hours;
    let longer = |more| given(&ca, &order, |order| order.not_after += hours(more));
    refused(look(&ca, &order, &able(), &longer(1)), "ordered was");
    assert_eq!(look(&ca, &order, &deciding(), &longer(24 * 29)), Ok(()));
    refused(look(&ca, &order, &deciding(), &longer(24 * 31)), "more than 2 times");
    let ended = given(&ca, &order, |order| {
        (order.not_before, order.not_after) = (order.not_before - hours(48), order.not_before - hours(24));
    });
    refused(look(&ca, &order, &deciding(), &ended), "already");
    let later = given(&ca, &order, |order| order.not_before += hours(48));
    refused(look(&ca, &order, &deciding(), &later), "valid from");
}

#[test]
fn a_chain_leads_to_what_is_configured() {
    let root = ca();
    let below = root.below(KeyAlgorithm::EcdsaP256);
    let order = order(&below);
    let certificate = below.issue(&order);
    let check = |anchors: &[Arc<Certificate>], chain: &[Arc<Certificate>]| {
        let issuer = deciding();
        inspect(&Allowed { order: &order, issuer: &issuer, anchors, now: Timestamp::now() }, &certificate, chain)
    };
    let chain = below.chain();
    assert_eq!(chain.len(), 2);
    let anchors = root.chain();
    assert_eq!(check(&anchors, &chain), Ok(()));
    assert_eq!(check(&anchors, &chain[..1]), Ok(()), "the last one need not come along");
    assert_eq!(check(&chain[..1], &chain), Ok(()));
    refused(check(&ca().chain(), &chain), "leads to no certificate that is configured");
    refused(check(&anchors, &[]), "no chain");
    refused(check(&anchors, &anchors), "it was issued by");
    let stranger = ca();
    refused(check(&anchors, &[Arc::clone(&chain[0]), Arc::clone(&stranger.chain()[0])]), "configured is");
    let sister = root.below(KeyAlgorithm::EcdsaP256);
    refused(check(&anchors, &sister.chain()), "it was issued by");
}

/// Only the encoding of names that were read is compared; this keeps the two functions of the x509 room in step.
#[test]
fn the_names_of_an_order_read_back() {
    let names = [SubjectAltName::Dns("a.example".into()), SubjectAltName::Uri("tag:x".into())];
    let value = subject_alt_names(&names).expect("encodes");
    let read = read_subject_alt_names(&value).expect("reads");
    assert_eq!(read, names);
}
