//! Rules against requests, written as a group's file.

use std::sync::{Arc, OnceLock};

use super::*;
use crate::algorithm::{Digest, KeyAlgorithm, SignatureAlgorithm, UnfitUsage};
use crate::crypto::{Signer, provider};
use crate::x509::builder::CertificateTemplate;
use crate::x509::csr::CsrTemplate;
use crate::x509::extension::{self, extended_key_usage_oid};
use crate::x509::{Extension, builder};

fn key() -> &'static Arc<dyn Signer> {
    static KEY: OnceLock<Arc<dyn Signer>> = OnceLock::new();
    KEY.get_or_init(|| provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap())
}

fn name(text: &str) -> DistinguishedName {
    DistinguishedName::parse(text, true).unwrap()
}

fn dns(text: &str) -> SubjectAltName {
    SubjectAltName::Dns(text.into())
}

#[derive(Default)]
struct Ask<'a> {
    names: &'a [SubjectAltName],
    usages: &'a [&'a str],
    key_usage: Option<KeyUsage>,
}

fn csr(subject: &str, ask: &Ask<'_>) -> VerifiedCsr {
    csr_by(key().as_ref(), subject, ask)
}

fn csr_by(key: &dyn Signer, subject: &str, ask: &Ask<'_>) -> VerifiedCsr {
    let usages: Vec<_> = ask.usages.iter().map(|usage| extended_key_usage_oid(usage).unwrap()).collect();
    let template = CsrTemplate {
        subject: &name(subject),
        subject_alt_names: ask.names,
        extended_key_usages: &usages,
        key_usage: ask.key_usage,
        challenge_password: None,
    };
    VerifiedCsr::from_der(&template.sign(key, Digest::Sha256).unwrap()).unwrap()
}

fn certificate(subject: &str, names: &[SubjectAltName]) -> Certificate {
    let mut extensions = Vec::new();
    if !names.is_empty() {
        let value = extension::subject_alt_names(names).unwrap();
        extensions.push(Extension { oid: const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME, critical: false, value });
    }
    let template = CertificateTemplate {
        serial: builder::random_serial(),
        issuer: name("CN=CA"),
        subject: name(subject),
        not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
        not_after: "2027-01-01T00:00:00Z".parse().unwrap(),
        spki: key().spki().to_vec(),
        extensions,
    };
    Certificate::from_der(&template.sign(key().as_ref(), SignatureAlgorithm::EcdsaSha256).unwrap()).unwrap()
}

fn able() -> Capabilities {
    Capabilities {
        signatures: vec![SignatureAlgorithm::EcdsaSha256],
        alternatives: Vec::new(),
        binds_related: true,
        takes_extensions: true,
        subject_keys: ["rsa-2048..4096", "ecdsa-p256", "ml-dsa-*"].map(|rule| rule.parse().unwrap()).to_vec(),
        overrides_subject: true,
        overrides_subject_alt_names: true,
        overrides_usages: true,
        overrides_validity: true,
        names: crate::upstream::NamesRule::AsOrdered,
        can_wait: false,
        can_revoke: true,
        can_find_again: true,
        poll_may_issue: false,
        sees_challenge: false,
        wants_challenge: false,
    }
}

fn unable() -> Capabilities {
    Capabilities { overrides_subject: false, overrides_subject_alt_names: false, overrides_usages: false, ..able() }
}

struct Case<'a> {
    policy: &'a str,
    csr: VerifiedCsr,
    renews: Option<Certificate>,
    issuer: Capabilities,
    unfit: UnfitUsage,
}

impl<'a> Case<'a> {
    fn new(policy: &'a str, csr: VerifiedCsr) -> Self {
        Case { policy, csr, renews: None, issuer: able(), unfit: UnfitUsage::Trim }
    }

    fn permit(&self) -> Result<Permit, Denial> {
        let text = format!("profile = \"ecdsa-p256\"\n{}", self.policy);
        let (group, _) = crate::config::read_group("g", &text).unwrap_or_else(|findings| panic!("{findings}"));
        let shipped = crate::config::shipped::PROFILES.iter().find(|profile| profile.name == "ecdsa-p256").unwrap();
        let mut profile = crate::config::read_profile("ecdsa-p256", shipped.text).unwrap();
        profile.accepts.push("ml-dsa-*".parse().unwrap());
        profile.key_usage = self.unfit;
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        group.permit(&PermitInput { csr: &self.csr, profile: &profile, issuer: &self.issuer, renews: self.renews.as_ref(), now })
    }

    fn denied(&self) -> DenialCode {
        self.permit().expect_err("should be denied").code
    }
}

#[test]
fn a_group_that_says_nothing() {
    let permit = Case::new("", csr("CN=a,O=b", &Ask::default())).permit().unwrap();
    assert_eq!(permit.subject, name("CN=a,O=b"));
    assert_eq!(permit.device.as_deref(), Some("commonName=a"));
    assert_eq!(permit.key_usage, KeyUsage::DIGITAL_SIGNATURE, "an elliptic curve key encrypts no keys");
    assert_eq!(permit.extended_key_usages, [CLIENT_AUTH]);
    assert_eq!(
        Case::new("", csr("CN=a", &Ask { names: &[dns("a")], ..Ask::default() })).denied(),
        DenialCode::SubjectAltNameNotAllowed
    );
    assert_eq!(Case::new("", csr("O=b", &Ask::default())).denied(), DenialCode::NoDevice);
    assert_eq!(
        Case::new("", csr("CN=a", &Ask { usages: &["serverAuth"], ..Ask::default() })).denied(),
        DenialCode::UsageNotAllowed
    );
}

#[test]
fn keys_that_are_not_accepted() {
    assert_eq!(Case::new("[enforce]\nkeys = [\"rsa-2048\"]", csr("CN=a", &Ask::default())).denied(), DenialCode::KeyNotAccepted);
    let mut case = Case::new("", csr("CN=a", &Ask::default()));
    case.issuer.subject_keys = vec!["rsa-2048".parse().unwrap()];
    assert_eq!(case.denied(), DenialCode::IssuerCannot);
}

#[test]
fn subjects_and_names_by_pattern() {
    let policy = "[enforce]\nsubject = { allow = \"CN={name:[a-z]+},O=Example\" }\nsan = { dns = [\"{name}.example.net\"], ip = [\"10.0.0.0/8\"] }";
    let names = [dns("Router.Example.net"), SubjectAltName::Ip("10.1.2.3".parse().unwrap())];
    let permit = Case::new(policy, csr("CN=router,O=Example", &Ask { names: &names, ..Ask::default() })).permit().unwrap();
    assert_eq!(permit.subject_alt_names, names);
    for (subject, names, code) in [
        ("CN=router,O=Other", &[][..], DenialCode::SubjectNotAllowed),
        ("CN=router,O=Example", &[dns("other.example.net")], DenialCode::SubjectAltNameNotAllowed),
        ("CN=router,O=Example", &[SubjectAltName::Ip("11.1.2.3".parse().unwrap())], DenialCode::SubjectAltNameNotAllowed),
        ("CN=router,O=Example", &[SubjectAltName::Uri("router.example.net".into())], DenialCode::SubjectAltNameNotAllowed),
    ] {
        assert_eq!(Case::new(policy, csr(subject, &Ask { names, ..Ask::default() })).denied(), code, "{subject} {names:?}");
    }
}

/// P20: the strong mapping of Intune (KB5014754) comes through as it is.
#[test]
fn p20_the_strong_mapping_comes_through() {
    let policy = "[enforce]\nsan = { uri = [\"tag:microsoft.com,2022-09-14:sid:{sid:S-1-[0-9-]{1,180}}\"] }";
    let tag = SubjectAltName::Uri("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1004336348-1177238915-682003330-512".into());
    let permit = Case::new(policy, csr("CN=a", &Ask { names: std::slice::from_ref(&tag), ..Ask::default() })).permit().unwrap();
    assert_eq!(permit.subject_alt_names, [tag]);
    let wrong = SubjectAltName::Uri("tag:microsoft.com,2022-09-14:sid:S-1-5 ".into());
    assert_eq!(
        Case::new(policy, csr("CN=a", &Ask { names: &[wrong], ..Ask::default() })).denied(),
        DenialCode::SubjectAltNameNotAllowed
    );
}

#[test]
fn rewriting_needs_an_issuer_that_can() {
    let policy = "[enforce]\nsubject = { allow = \"CN={name}\", set = \"O=Example,CN={name}\" }\n\
                  san = { add = [\"dns:{name}.example.net\"], unlisted = \"drop\" }\nusages = { default = [] }";
    let mut case = Case::new(policy, csr("CN=a", &Ask { names: &[dns("evil")], ..Ask::default() }));
    let permit = case.permit().unwrap();
    assert_eq!(permit.subject.to_string(), "O=Example,CN=a");
    assert_eq!(permit.subject_alt_names, [dns("a.example.net")]);
    assert_eq!(permit.changes.len(), 3, "{:?}", permit.changes);
    case.issuer = unable();
    assert_eq!(case.denied(), DenialCode::IssuerCannot);
    case.issuer.overrides_subject = true;
    assert_eq!(case.denied(), DenialCode::IssuerCannot);
    case.issuer.overrides_subject_alt_names = true;
    assert!(case.permit().is_ok());
}

#[test]
fn usages_are_listed() {
    let policy = "[enforce]\nusages = { allow = [\"clientAuth\", \"ipsecIKE\"], default = [\"ipsecIKE\"], unlisted = \"drop\" }";
    let granted = |usages| {
        Case::new(policy, csr("CN=a", &Ask { usages, ..Ask::default() })).permit().map(|permit| permit.extended_key_usages)
    };
    assert_eq!(granted(&[]).unwrap(), [extended_key_usage_oid("ipsecIKE").unwrap()]);
    assert_eq!(granted(&["clientAuth", "serverAuth"]).unwrap(), [CLIENT_AUTH]);
    assert_eq!(granted(&["serverAuth"]).unwrap_err().code, DenialCode::UsageNotAllowed);
}

#[test]
fn key_usage_fits_the_key() {
    let all = KeyUsage(0x1ff);
    let granted = |policy, usage| {
        let ask = Ask { key_usage: Some(usage), ..Ask::default() };
        Case::new(policy, csr("CN=a", &ask)).permit().map(|permit| permit.key_usage)
    };
    assert_eq!(granted("", all), Ok(KeyUsage::DIGITAL_SIGNATURE));
    assert_eq!(granted("", KeyUsage::KEY_ENCIPHERMENT).unwrap_err().code, DenialCode::UsageNotAllowed);
    let agreement = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_AGREEMENT);
    assert_eq!(granted("[enforce]\nkey-usage = [\"digitalSignature\", \"keyAgreement\"]", all), Ok(agreement));
    let strict = "[enforce]\nkey-usage = { unlisted = \"refuse\" }";
    assert_eq!(granted(strict, all).unwrap_err().code, DenialCode::UsageNotAllowed);
    assert_eq!(fitting(KeyAlgorithm::MlDsa65), KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::NON_REPUDIATION));
    assert!(fitting(KeyAlgorithm::Rsa(2048)).contains(KeyUsage::KEY_ENCIPHERMENT));
}

/// SCEP clients ask for keyEncipherment whatever key they have; RFC 9881 section 5 forbids it for ML-DSA, RFC 5480 section 3 knows
/// it for no elliptic curve.
#[test]
fn usages_of_a_key_that_only_signs_are_trimmed_or_refused() {
    let ml_dsa = provider().keys.generate(KeyAlgorithm::MlDsa65).unwrap();
    let usual = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT);
    for key in [&ml_dsa, key()] {
        let ask = |usage| Ask { key_usage: Some(usage), ..Ask::default() };
        let mut case = Case::new("", csr_by(key.as_ref(), "CN=a", &ask(usual)));
        let permit = case.permit().unwrap();
        assert_eq!(permit.key_usage, KeyUsage::DIGITAL_SIGNATURE);
        let said = "key usage digitalSignature, keyEncipherment becomes digitalSignature";
        assert!(permit.changes.iter().any(|change| change == said), "{:?}", permit.changes);
        case.unfit = UnfitUsage::Refuse;
        let denial = case.permit().unwrap_err();
        assert_eq!(denial.code, DenialCode::UsageNotAllowed);
        assert!(denial.detail.contains(&format!("a key of {} cannot have key usage keyEncipherment", key.key())), "{denial}");
        // What fits passes, and whoever asks to be a CA is told nothing else than before.
        case.csr = csr_by(key.as_ref(), "CN=a", &ask(KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_CERT_SIGN)));
        assert_eq!(case.permit().unwrap().key_usage, KeyUsage::DIGITAL_SIGNATURE);
    }
}

/// P16: whoever asks to be a CA is not made one.
#[test]
fn p16_nobody_becomes_a_ca() {
    let ask = Ask { key_usage: Some(KeyUsage::KEY_CERT_SIGN.union(KeyUsage::DIGITAL_SIGNATURE)), ..Ask::default() };
    let mut case = Case::new("", csr("CN=a", &ask));
    assert_eq!(case.permit().unwrap().key_usage, KeyUsage::DIGITAL_SIGNATURE);
    case.issuer = unable();
    assert_eq!(case.denied(), DenialCode::IssuerCannot);
    assert!(crate::config::read_group("g", "profile = \"x\"\n[enforce]\nkey-usage = [\"keyCertSign\"]").is_err());
}

#[test]
fn a_renewal_keeps_its_names() {
    let policy = "[authenticate]\nrenewal = {}\n[enforce]\nsan = { dns = [\"{any:.*}\"] }";
    let renewal = |subject, names: &[SubjectAltName], old: &Certificate| {
        let mut case = Case::new(policy, csr(subject, &Ask { names, ..Ask::default() }));
        case.renews = Some(old.clone());
        case.permit().map(|_| ()).map_err(|denial| denial.code)
    };
    let old = certificate("CN=a", &[dns("a"), dns("b")]);
    assert_eq!(renewal("CN=a", &[dns("B"), dns("a")], &old), Ok(()));
    assert_eq!(renewal("CN=b", &[dns("a"), dns("b")], &old), Err(DenialCode::RenewalNameChanged));
    assert_eq!(renewal("CN=a", &[dns("a")], &old), Err(DenialCode::RenewalNameChanged));
    assert_eq!(renewal("CN=a", &[dns("a"), dns("b"), dns("c")], &old), Err(DenialCode::RenewalNameChanged));

    let free = format!("{policy}\n[limits]\n").replace("renewal = {}", "renewal = { allow-name-change = true }");
    let mut case = Case::new(&free, csr("CN=b", &Ask::default()));
    case.renews = Some(old);
    assert!(case.permit().is_ok());
}

#[test]
fn a_renewal_may_ask_for_what_rules_made_of_the_first_request() {
    let policy = "[authenticate]\nrenewal = {}\n[enforce]\nsubject = { allow = \"CN={name}\", set = \"CN={name},O=Example\" }\n\
                  san = { add = [\"dns:{name}.example.net\"] }";
    let names = [dns("a.example.net")];
    let renewal = |subject, names| {
        let mut case = Case::new(policy, csr(subject, &Ask { names, ..Ask::default() }));
        case.renews = Some(certificate("CN=a,O=Example", &[dns("a.example.net")]));
        case.permit().map(|permit| permit.subject.to_string()).map_err(|denial| denial.code)
    };
    assert_eq!(renewal("CN=a", &[]), Ok("CN=a,O=Example".into()));
    assert_eq!(renewal("CN=a,O=Example", &names), Ok("CN=a,O=Example".into()));
    assert_eq!(renewal("CN=b", &[]), Err(DenialCode::RenewalNameChanged));
    assert_eq!(renewal("CN=b,O=Example", &names), Err(DenialCode::SubjectNotAllowed));
}

#[test]
fn added_names_are_checked() {
    let policy =
        "[enforce]\nsubject = { allow = \"CN={name}\" }\nsan = { add = [\"dns:{name}.x\", \"ip:{subject.serialNumber}\"] }";
    assert_eq!(Case::new(policy, csr("CN=a b", &Ask::default())).denied(), DenialCode::SubjectAltNameNotAllowed);
    assert_eq!(Case::new(policy, csr("CN=a", &Ask::default())).denied(), DenialCode::SubjectAltNameNotAllowed);
    let open = policy.replace("CN={name}\"", "CN={name},serialNumber={s}\"");
    let permit = Case::new(&open, csr("CN=a,serialNumber=10.0.0.1", &Ask::default())).permit().unwrap();
    assert_eq!(permit.subject_alt_names, [dns("a.x"), SubjectAltName::Ip("10.0.0.1".parse().unwrap())]);
    assert_eq!(permit.device.as_deref(), Some("serialNumber=10.0.0.1"));
}

#[test]
fn groups_match_by_what_we_gave_out_first() {
    let text = "profile = \"p\"\n[match]\nsubject = \"CN={n},OU=Routers\"\nsources = [\"10.0.0.0/8\"]";
    let (group, _) = crate::config::read_group("g", text).unwrap();
    let matches = |subject, source: &str, challenge_group, renews_group| {
        let csr = csr(subject, &Ask::default());
        let source = source.parse().unwrap();
        let input = crate::policy::MatchInput { csr: &csr, challenge_group, challenge: None, renews_group, source };
        group.matches(&input) == crate::policy::Verdict::Right
    };
    assert!(matches("CN=a,OU=Routers", "10.1.1.1", None, None));
    assert!(matches("CN=a,OU=Routers", "::ffff:10.1.1.1", Some("g"), None));
    assert!(!matches("CN=a,OU=Routers", "10.1.1.1", Some("other"), None));
    assert!(!matches("CN=a,OU=Routers", "10.1.1.1", None, Some("other")));
    assert!(!matches("CN=a,OU=Printers", "10.1.1.1", None, None));
    assert!(!matches("CN=a,OU=Routers", "11.1.1.1", None, None));
}
