//! What a group lets through, rewrites or refuses.

use der::Decode;
use der::oid::ObjectIdentifier;
use ipnet::IpNet;
use jiff::Timestamp;

use super::pattern::Scope;
use super::{Captures, DeviceGroup, SubjectPattern, SubjectTemplate, Template, TextPattern, weak_key};
use crate::algorithm::{AlgorithmProfile, KeyAlgorithm, KeyRule};
use crate::upstream::Capabilities;
use crate::x509::extension::extended_key_usage_name;
use crate::x509::{Certificate, DistinguishedName, KeyUsage, SubjectAltName, VerifiedCsr};

/// How names, keys and usages are let through, rewritten or refused: the `[enforce]` table.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Subject keys, narrower than what the profile accepts; empty is whatever the profile accepts.
    pub keys: Vec<KeyRule>,
    /// Subjects that are let through; empty is any.
    pub subject: Vec<SubjectPattern>,
    /// The subject to issue instead of the requested one.
    pub set_subject: Option<SubjectTemplate>,
    /// Alternative names.
    pub names: NameRules,
    /// Extended key usages that are let through.
    pub usages: Vec<ObjectIdentifier>,
    /// Extended key usages for a request that asks for none.
    pub default_usages: Vec<ObjectIdentifier>,
    /// What happens to an extended key usage that is not let through.
    pub unlisted_usages: Unlisted,
    /// Key usages that are let through.
    pub key_usage: KeyUsage,
    /// What happens to a key usage that is not let through.
    pub unlisted_key_usage: Unlisted,
}

/// Which alternative names are let through.
#[derive(Clone, Debug)]
pub struct NameRules {
    /// DNS names.
    pub dns: Vec<TextPattern>,
    /// IP addresses.
    pub ip: Vec<IpNet>,
    /// URIs.
    pub uri: Vec<TextPattern>,
    /// Mail addresses.
    pub email: Vec<TextPattern>,
    /// Names of any other kind.
    pub other: OtherNames,
    /// What happens to a name that is not let through.
    pub unlisted: Unlisted,
    /// Names that every certificate gets.
    pub add: Vec<(NameKind, Template)>,
}

/// What happens to what is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unlisted {
    /// The request is refused.
    Refuse,
    /// It is left out of the certificate.
    Drop,
}

crate::algorithm::named!(Unlisted, "treatment of what is not listed", { Refuse => "refuse", Drop => "drop" });

/// Whether alternative names of other kinds (directoryName, otherName, registeredID, …) are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherNames {
    /// They are.
    Allow,
    /// They are treated like any name that is not listed.
    Unlisted,
    /// They never are: the request is refused.
    Refuse,
}

crate::algorithm::named!(OtherNames, "treatment of other names", {
    Allow => "allow",
    Unlisted => "unlisted",
    Refuse => "refuse",
});

/// The kind of an alternative name that can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A DNS name.
    Dns,
    /// An IP address.
    Ip,
    /// A URI.
    Uri,
    /// A mail address.
    Email,
}

crate::algorithm::named!(NameKind, "kind of alternative name", { Dns => "dns", Ip => "ip", Uri => "uri", Email => "email" });

/// A group that says nothing in `[enforce]`: any subject and key of the profile, no alternative names, client authentication.
impl Default for Rules {
    fn default() -> Self {
        Rules {
            keys: Vec::new(),
            subject: Vec::new(),
            set_subject: None,
            names: NameRules::default(),
            usages: vec![CLIENT_AUTH],
            default_usages: vec![CLIENT_AUTH],
            unlisted_usages: Unlisted::Refuse,
            key_usage: KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT),
            unlisted_key_usage: Unlisted::Drop,
        }
    }
}

impl Default for NameRules {
    fn default() -> Self {
        NameRules {
            dns: Vec::new(),
            ip: Vec::new(),
            uri: Vec::new(),
            email: Vec::new(),
            other: OtherNames::Unlisted,
            unlisted: Unlisted::Refuse,
            add: Vec::new(),
        }
    }
}

impl Rules {
    /// Decides: key, subject, alternative names, usages, what a renewal is bound to, device. In this order, so that the first
    /// refusal names what is most wrong.
    pub(super) fn permit(&self, group: &DeviceGroup, input: &PermitInput<'_>) -> Result<Permit, Denial> {
        let mut changes = Vec::new();
        self.check_key(input)?;
        let (subject, names) = self.names(group, input, &mut changes)?;
        let key_usage = self.key_usage(input, &mut changes)?;
        let extended_key_usages = self.extended_key_usages(input, &mut changes)?;
        check_extensions(input, &mut changes)?;
        let device =
            group.device_of(&subject, &names).or_else(|| group.device_of(input.csr.subject(), input.csr.subject_alt_names()));
        if device.is_none() {
            let wanted = group.device.join(", ");
            return deny(DenialCode::NoDevice, format!("the request has none of {wanted}: the device cannot be told"));
        }
        Ok(Permit { subject, subject_alt_names: names, key_usage, extended_key_usages, device, changes })
    }

    fn check_key(&self, input: &PermitInput<'_>) -> Result<(), Denial> {
        let key = input.csr.key();
        let profile = input.profile;
        if !profile.accepts(key) {
            let accepted = list(&profile.accepts);
            return deny(DenialCode::KeyNotAccepted, format!("profile {} accepts {accepted}, not {key}", profile.name));
        }
        if !self.keys.is_empty() && !self.keys.iter().any(|rule| rule.admits(key)) {
            return deny(DenialCode::KeyNotAccepted, format!("the group accepts {}, not {key}", list(&self.keys)));
        }
        if !input.issuer.subject_keys.iter().any(|rule| rule.admits(key)) {
            let taken = list(&input.issuer.subject_keys);
            return deny(DenialCode::IssuerCannot, format!("the issuer certifies {taken}, not {key}"));
        }
        match weak_key::weakness(input.csr.spki()) {
            Some(why) => deny(DenialCode::KeyWeak, why),
            None => Ok(()),
        }
    }

    /// Subject and alternative names of the certificate.
    fn names(
        &self,
        group: &DeviceGroup,
        input: &PermitInput<'_>,
        changes: &mut Vec<String>,
    ) -> Result<(DistinguishedName, Vec<SubjectAltName>), Denial> {
        let requested = (input.csr.subject().clone(), input.csr.subject_alt_names().to_vec());
        let bound = match input.renews {
            Some(certificate) if !group.renewal.as_ref().is_some_and(|r| r.allow_name_change) => Some(certificate),
            _ => None,
        };
        // A device that renews may ask for what it was given, and what it was given may be what rules made of its first request.
        let rewrites = self.set_subject.is_some() || !self.names.add.is_empty() || self.names.unlisted == Unlisted::Drop;
        if rewrites && bound.is_some_and(|certificate| names_differ(certificate, &requested.0, &requested.1).is_none()) {
            return Ok(requested);
        }
        let captures = self.check_subject(&requested.0)?;
        let scope = Scope { captures: &captures, subject: &requested.0, names: &requested.1 };
        let subject = self.subject(input, &scope, changes)?;
        let names = self.alternative_names(input, &scope, changes)?;
        if let Some(difference) = bound.and_then(|certificate| names_differ(certificate, &subject, &names)) {
            return deny(DenialCode::RenewalNameChanged, difference);
        }
        Ok((subject, names))
    }

    fn check_subject(&self, subject: &DistinguishedName) -> Result<Captures, Denial> {
        if self.subject.is_empty() {
            return Ok(Captures::new());
        }
        self.subject.iter().find_map(|pattern| pattern.matches(subject)).ok_or_else(|| Denial {
            code: DenialCode::SubjectNotAllowed,
            detail: format!(
                "subject {subject} does not fit {}",
                self.subject.iter().map(|p| p.text()).collect::<Vec<_>>().join(" or ")
            ),
        })
    }

    fn subject(
        &self,
        input: &PermitInput<'_>,
        scope: &Scope<'_>,
        changes: &mut Vec<String>,
    ) -> Result<DistinguishedName, Denial> {
        let Some(template) = &self.set_subject else { return Ok(scope.subject.clone()) };
        let subject = template.expand(scope).map_err(|why| Denial {
            code: DenialCode::SubjectNotAllowed,
            detail: format!("the subject cannot be rewritten: {why}"),
        })?;
        if subject.rdns() != scope.subject.rdns() {
            if !input.issuer.overrides_subject {
                return deny(
                    DenialCode::IssuerCannot,
                    format!("the issuer cannot issue {subject} for a request for {}", scope.subject),
                );
            }
            changes.push(format!("subject {} becomes {subject}", scope.subject));
        }
        Ok(subject)
    }

    fn alternative_names(
        &self,
        input: &PermitInput<'_>,
        scope: &Scope<'_>,
        changes: &mut Vec<String>,
    ) -> Result<Vec<SubjectAltName>, Denial> {
        let before = changes.len();
        let mut names: Vec<SubjectAltName> = Vec::new();
        for name in scope.names {
            let shown = format!("{}:{}", name.kind(), name.value());
            let unlisted = match self.names.admits(name, scope) {
                Ok(()) => {
                    names.push(name.clone());
                    continue;
                }
                Err(unlisted) => unlisted,
            };
            match unlisted {
                Unlisted::Drop => changes.push(format!("alternative name {shown} is left out")),
                Unlisted::Refuse => {
                    return deny(DenialCode::SubjectAltNameNotAllowed, format!("alternative name {shown} is not allowed"));
                }
            }
        }
        for (kind, template) in &self.names.add {
            let added = template.expand(scope).map_err(|hole| format!("nothing to fill {{{hole}}} with"));
            let name = added.and_then(|text| kind.name_of(text)).map_err(|why| Denial {
                code: DenialCode::SubjectAltNameNotAllowed,
                detail: format!("an alternative name cannot be added: {why}"),
            })?;
            if !names.iter().any(|known| same_name(known, &name)) {
                changes.push(format!("alternative name {}:{} is added", name.kind(), name.value()));
                names.push(name);
            }
        }
        if changes.len() > before && !input.issuer.overrides_subject_alt_names {
            return deny(DenialCode::IssuerCannot, format!("the issuer cannot do this: {}", changes[before..].join(", ")));
        }
        Ok(names)
    }

    fn key_usage(&self, input: &PermitInput<'_>, changes: &mut Vec<String>) -> Result<KeyUsage, Denial> {
        let fit = fitting(input.csr.key());
        let Some(requested) = input.csr.key_usage() else {
            let usage = self.key_usage.intersection(fit);
            if usage.is_empty() {
                let key = input.csr.key();
                return deny(DenialCode::UsageNotAllowed, format!("no key usage that the group allows fits a key of {key}"));
            }
            return Ok(usage);
        };
        // Whatever is asked, no device gets a CA.
        let ca = KeyUsage::KEY_CERT_SIGN.union(KeyUsage::CRL_SIGN);
        let unlisted = KeyUsage(requested.0 & fit.0 & !self.key_usage.0 & !ca.0);
        if !unlisted.is_empty() && self.unlisted_key_usage == Unlisted::Refuse {
            return deny(DenialCode::UsageNotAllowed, format!("key usage {} is not allowed", usage_names(unlisted)));
        }
        let usage = requested.intersection(fit).intersection(self.key_usage);
        if usage.is_empty() {
            return deny(DenialCode::UsageNotAllowed, format!("nothing is left of key usage {}", usage_names(requested)));
        }
        if usage != requested {
            let change = format!("key usage {} becomes {}", usage_names(requested), usage_names(usage));
            if !input.issuer.overrides_usages {
                return deny(DenialCode::IssuerCannot, format!("the issuer cannot do this: {change}"));
            }
            changes.push(change);
        }
        Ok(usage)
    }

    fn extended_key_usages(&self, input: &PermitInput<'_>, changes: &mut Vec<String>) -> Result<Vec<ObjectIdentifier>, Denial> {
        let requested = input.csr.extended_key_usages();
        let before = changes.len();
        let mut usages = Vec::new();
        for usage in requested {
            let name = extended_key_usage_name(usage);
            if self.usages.contains(usage) {
                if !usages.contains(usage) {
                    usages.push(*usage);
                }
            } else if self.unlisted_usages == Unlisted::Drop {
                changes.push(format!("extended key usage {name} is left out"));
            } else {
                return deny(DenialCode::UsageNotAllowed, format!("extended key usage {name} is not allowed"));
            }
        }
        if !requested.is_empty() && usages.is_empty() {
            return deny(DenialCode::UsageNotAllowed, "nothing is left of the extended key usages".into());
        }
        if requested.is_empty() && !self.default_usages.is_empty() {
            usages = self.default_usages.clone();
            let names: Vec<_> = usages.iter().map(extended_key_usage_name).collect();
            changes.push(format!("extended key usage {} is added", names.join(", ")));
        }
        if changes.len() > before && !input.issuer.overrides_usages {
            return deny(DenialCode::IssuerCannot, format!("the issuer cannot do this: {}", changes[before..].join(", ")));
        }
        Ok(usages)
    }
}

impl NameRules {
    fn admits(&self, name: &SubjectAltName, scope: &Scope<'_>) -> Result<(), Unlisted> {
        let any = |patterns: &[TextPattern], value: &str| patterns.iter().any(|pattern| pattern.matches(value, scope));
        let listed = match name {
            SubjectAltName::Dns(value) => any(&self.dns, value),
            SubjectAltName::Ip(value) => self.ip.iter().any(|net| net.contains(value)),
            SubjectAltName::Uri(value) => any(&self.uri, value),
            SubjectAltName::Email(value) => any(&self.email, value),
            SubjectAltName::Directory(_) | SubjectAltName::Other(_) => match self.other {
                OtherNames::Allow => true,
                OtherNames::Unlisted => false,
                OtherNames::Refuse => return Err(Unlisted::Refuse),
            },
        };
        if listed { Ok(()) } else { Err(self.unlisted) }
    }
}

impl NameKind {
    fn name_of(self, text: String) -> Result<SubjectAltName, String> {
        match self {
            NameKind::Ip => text.parse().map(SubjectAltName::Ip).map_err(|_| format!("{text:?} is no IP address")),
            // RFC 5280 section 4.2.1.6: all three are IA5String.
            _ if !text.is_ascii() || text.chars().any(|c| c.is_ascii_control() || c == ' ') => {
                Err(format!("{text:?} has characters that cannot stand in such a name"))
            }
            NameKind::Dns => Ok(SubjectAltName::Dns(text)),
            NameKind::Uri => Ok(SubjectAltName::Uri(text)),
            NameKind::Email => Ok(SubjectAltName::Email(text)),
        }
    }
}

/// The key usages that fit a key: RFC 5280 section 4.2.1.3; RFC 5480 section 3 for elliptic curves, RFC 9295 section 3 for Ed25519,
/// RFC 9881 section 5 for ML-DSA, RFC 9909 section 5 for SLH-DSA.
fn fitting(key: KeyAlgorithm) -> KeyUsage {
    let signing = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::NON_REPUDIATION);
    match key {
        KeyAlgorithm::Rsa(_) => signing.union(KeyUsage::KEY_ENCIPHERMENT).union(KeyUsage::DATA_ENCIPHERMENT),
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521 => signing.union(KeyUsage::KEY_AGREEMENT),
        // A composite is for signatures alone, whatever its classical half could do by itself.
        KeyAlgorithm::Ed25519
        | KeyAlgorithm::MlDsa44
        | KeyAlgorithm::MlDsa65
        | KeyAlgorithm::MlDsa87
        | KeyAlgorithm::SlhDsa(_)
        | KeyAlgorithm::Composite(_) => signing,
    }
}

/// Extensions that Ravelin writes itself are the only ones in a certificate; what else a request asks for is left out, and so is a
/// wish to be a CA. An issuer that takes the CSR as it is would take those over, so there the request is refused.
fn check_extensions(input: &PermitInput<'_>, changes: &mut Vec<String>) -> Result<(), Denial> {
    use const_oid::db::rfc5280::{
        ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
    };
    let before = changes.len();
    for extension in input.csr.extensions() {
        match extension.oid {
            ID_CE_SUBJECT_ALT_NAME | ID_CE_KEY_USAGE | ID_CE_EXT_KEY_USAGE | ID_CE_SUBJECT_KEY_IDENTIFIER => {}
            ID_CE_BASIC_CONSTRAINTS => {
                let constraints = x509_cert::ext::pkix::BasicConstraints::from_der(&extension.value);
                if constraints.map_or(true, |c| c.ca) {
                    changes.push("basicConstraints with CA:TRUE is left out".into());
                }
            }
            oid => changes.push(format!("extension {oid} is left out")),
        }
    }
    if changes.len() > before && !input.issuer.overrides_usages {
        return deny(DenialCode::IssuerCannot, format!("the issuer cannot do this: {}", changes[before..].join(", ")));
    }
    Ok(())
}

/// What differs between the names of a certificate and those of its renewal; the spelling of strings and the order of alternative
/// names do not count.
fn names_differ(certificate: &Certificate, subject: &DistinguishedName, names: &[SubjectAltName]) -> Option<String> {
    if certificate.subject().rdns() != subject.rdns() {
        return Some(format!("subject {subject} is not {} of the certificate to renew", certificate.subject()));
    }
    let old = certificate.subject_alt_names();
    let missing = |from: &[SubjectAltName], of: &[SubjectAltName]| {
        of.iter()
            .find(|name| !from.iter().any(|known| same_name(known, name)))
            .map(|name| format!("{}:{}", name.kind(), name.value()))
    };
    if let Some(name) = missing(&old, names) {
        return Some(format!("alternative name {name} does not stand in the certificate to renew"));
    }
    missing(names, &old).map(|name| format!("alternative name {name} of the certificate to renew is missing"))
}

fn same_name(a: &SubjectAltName, b: &SubjectAltName) -> bool {
    match (a, b) {
        (SubjectAltName::Dns(a), SubjectAltName::Dns(b)) => a.eq_ignore_ascii_case(b),
        (SubjectAltName::Directory(a), SubjectAltName::Directory(b)) => a.rdns() == b.rdns(),
        _ => a == b,
    }
}

fn deny<T>(code: DenialCode, detail: String) -> Result<T, Denial> {
    Err(Denial { code, detail })
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// The key usages of RFC 5280 section 4.2.1.3 by name.
pub const KEY_USAGE_NAMES: &[(&str, KeyUsage)] = &[
    ("digitalSignature", KeyUsage::DIGITAL_SIGNATURE),
    ("nonRepudiation", KeyUsage::NON_REPUDIATION),
    ("keyEncipherment", KeyUsage::KEY_ENCIPHERMENT),
    ("dataEncipherment", KeyUsage::DATA_ENCIPHERMENT),
    ("keyAgreement", KeyUsage::KEY_AGREEMENT),
    ("keyCertSign", KeyUsage::KEY_CERT_SIGN),
    ("cRLSign", KeyUsage::CRL_SIGN),
    ("encipherOnly", KeyUsage::ENCIPHER_ONLY),
    ("decipherOnly", KeyUsage::DECIPHER_ONLY),
];

fn usage_names(usage: KeyUsage) -> String {
    let names: Vec<_> = KEY_USAGE_NAMES.iter().filter(|(_, bit)| usage.contains(*bit)).map(|(name, _)| *name).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// id-kp-clientAuth (RFC 5280 section 4.2.1.12).
const CLIENT_AUTH: ObjectIdentifier = const_oid::db::rfc5280::ID_KP_CLIENT_AUTH;

/// What policy looks at.
pub struct PermitInput<'a> {
    /// The CSR.
    pub csr: &'a VerifiedCsr,
    /// The profile of the group.
    pub profile: &'a AlgorithmProfile,
    /// What the issuer can do: a rewrite needs an issuer that takes it.
    pub issuer: &'a Capabilities,
    /// The certificate that is renewed, if it is a renewal: names are bound to it.
    pub renews: Option<&'a Certificate>,
    /// Now.
    pub now: Timestamp,
}

/// What policy lets through: what will stand in the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The subject.
    pub subject: DistinguishedName,
    /// The subject alternative names.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The key usage, fit for the key.
    pub key_usage: KeyUsage,
    /// The extended key usages.
    pub extended_key_usages: Vec<der::oid::ObjectIdentifier>,
    /// The device.
    pub device: Option<String>,
    /// What was changed or dropped against the CSR, in words, for `explain` and the audit.
    pub changes: Vec<String>,
}

/// Policy says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Denial {
    /// Which rule.
    pub code: DenialCode,
    /// What was asked and what is allowed, for the log and `explain`; names of the request may stand in it.
    pub detail: String,
}

/// Which rule of a group said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DenialCode {
    /// The kind of key is not accepted by the profile or the group.
    KeyNotAccepted,
    /// The key is of an accepted kind, but weak.
    KeyWeak,
    /// The subject does not fit.
    SubjectNotAllowed,
    /// A subject alternative name does not fit.
    SubjectAltNameNotAllowed,
    /// A key usage does not fit.
    UsageNotAllowed,
    /// The CSR is signed with a digest that the endpoint does not take.
    DigestNotAllowed,
    /// The renewal changes a name that it must not change.
    RenewalNameChanged,
    /// The issuer cannot issue what policy wants.
    IssuerCannot,
    /// The device cannot be told from its request.
    NoDevice,
}

crate::algorithm::named!(DenialCode, "denial", {
    KeyNotAccepted => "key-not-accepted",
    KeyWeak => "key-weak",
    SubjectNotAllowed => "subject-not-allowed",
    SubjectAltNameNotAllowed => "san-not-allowed",
    UsageNotAllowed => "usage-not-allowed",
    DigestNotAllowed => "digest-not-allowed",
    RenewalNameChanged => "renewal-name-changed",
    IssuerCannot => "issuer-cannot",
    NoDevice => "no-device",
});

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use super::*;
    use crate::algorithm::{Digest, SignatureAlgorithm};
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
        let usages: Vec<_> = ask.usages.iter().map(|usage| extended_key_usage_oid(usage).unwrap()).collect();
        let template = CsrTemplate {
            subject: &name(subject),
            subject_alt_names: ask.names,
            extended_key_usages: &usages,
            key_usage: ask.key_usage,
            challenge_password: None,
        };
        VerifiedCsr::from_der(&template.sign(key().as_ref(), Digest::Sha256).unwrap()).unwrap()
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
            subject_keys: ["rsa-2048..4096", "ecdsa-p256"].map(|rule| rule.parse().unwrap()).to_vec(),
            overrides_subject: true,
            overrides_subject_alt_names: true,
            overrides_usages: true,
            overrides_validity: true,
            can_wait: false,
            can_revoke: true,
            can_find_again: true,
            sees_challenge: false,
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
    }

    impl<'a> Case<'a> {
        fn new(policy: &'a str, csr: VerifiedCsr) -> Self {
            Case { policy, csr, renews: None, issuer: able() }
        }

        fn permit(&self) -> Result<Permit, Denial> {
            let text = format!("profile = \"ecdsa-p256\"\n{}", self.policy);
            let (group, _) = crate::config::read_group("g", &text).unwrap_or_else(|findings| panic!("{findings}"));
            let shipped = crate::config::shipped::PROFILES.iter().find(|profile| profile.name == "ecdsa-p256").unwrap();
            let profile = crate::config::read_profile("ecdsa-p256", shipped.text).unwrap();
            let now = "2026-06-01T00:00:00Z".parse().unwrap();
            group.permit(&PermitInput {
                csr: &self.csr,
                profile: &profile,
                issuer: &self.issuer,
                renews: self.renews.as_ref(),
                now,
            })
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
        assert_eq!(
            Case::new("[enforce]\nkeys = [\"rsa-2048\"]", csr("CN=a", &Ask::default())).denied(),
            DenialCode::KeyNotAccepted
        );
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
        let permit =
            Case::new(policy, csr("CN=a", &Ask { names: std::slice::from_ref(&tag), ..Ask::default() })).permit().unwrap();
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
        let policy =
            "[enforce]\nusages = { allow = [\"clientAuth\", \"ipsecIKE\"], default = [\"ipsecIKE\"], unlisted = \"drop\" }";
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
            group.matches(&super::super::MatchInput { csr: &csr, challenge_group, challenge: None, renews_group, source })
        };
        assert!(matches("CN=a,OU=Routers", "10.1.1.1", None, None));
        assert!(matches("CN=a,OU=Routers", "::ffff:10.1.1.1", Some("g"), None));
        assert!(!matches("CN=a,OU=Routers", "10.1.1.1", Some("other"), None));
        assert!(!matches("CN=a,OU=Routers", "10.1.1.1", None, Some("other")));
        assert!(!matches("CN=a,OU=Printers", "10.1.1.1", None, None));
        assert!(!matches("CN=a,OU=Routers", "11.1.1.1", None, None));
    }
}
