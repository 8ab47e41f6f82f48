//! Subjects and alternative names: which are let through, rewritten or refused.

use ipnet::IpNet;

use super::{Denial, DenialCode, Rules, Unlisted, deny};
use crate::policy::pattern::Scope;
use crate::policy::{Captures, DeviceGroup, Template, TextPattern};
use crate::upstream::Capabilities;
use crate::x509::{Certificate, DistinguishedName, SubjectAltName, VerifiedCsr};

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
    /// Subject and alternative names of the certificate. An issuer that is not known yet is taken for one that can do all.
    pub(super) fn names(
        &self,
        group: &DeviceGroup,
        csr: &VerifiedCsr,
        renews: Option<&Certificate>,
        issuer: Option<&Capabilities>,
        changes: &mut Vec<String>,
    ) -> Result<(DistinguishedName, Vec<SubjectAltName>), Denial> {
        let requested = (csr.subject().clone(), csr.subject_alt_names().to_vec());
        let bound = match renews {
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
        let subject = self.subject(issuer, &scope, changes)?;
        let names = self.alternative_names(issuer, &scope, changes)?;
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
        issuer: Option<&Capabilities>,
        scope: &Scope<'_>,
        changes: &mut Vec<String>,
    ) -> Result<DistinguishedName, Denial> {
        let Some(template) = &self.set_subject else { return Ok(scope.subject.clone()) };
        let subject = template.expand(scope).map_err(|why| Denial {
            code: DenialCode::SubjectNotAllowed,
            detail: format!("the subject cannot be rewritten: {why}"),
        })?;
        if subject.rdns() != scope.subject.rdns() {
            if issuer.is_some_and(|issuer| !issuer.overrides_subject) {
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
        issuer: Option<&Capabilities>,
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
        if changes.len() > before && issuer.is_some_and(|issuer| !issuer.overrides_subject_alt_names) {
            return deny(DenialCode::IssuerCannot, format!("the issuer cannot do this: {}", changes[before..].join(", ")));
        }
        Ok(names)
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
