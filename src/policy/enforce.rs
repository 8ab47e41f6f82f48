//! What a group lets through, rewrites or refuses.

use der::Decode;
use der::oid::ObjectIdentifier;
use jiff::Timestamp;

pub use self::names::{NameKind, NameRules, OtherNames};
pub use self::usages::{KEY_USAGE_NAMES, fitting, usage_names};
use super::{DeviceGroup, SubjectPattern, SubjectTemplate, weak_key};
use crate::algorithm::{AlgorithmProfile, Form, KeyRule};
use crate::upstream::Capabilities;
use crate::x509::{Certificate, DistinguishedName, KeyUsage, SubjectAltName, VerifiedCsr};

mod names;
mod usages;

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

/// What happens to what is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unlisted {
    /// The request is refused.
    Refuse,
    /// It is left out of the certificate.
    Drop,
}

crate::algorithm::named!(Unlisted, "treatment of what is not listed", { Refuse => "refuse", Drop => "drop" });

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

impl Rules {
    /// Decides: key, subject, alternative names, usages, what a renewal is bound to, device. In this order, so that the first
    /// refusal names what is most wrong.
    pub(super) fn permit(&self, group: &DeviceGroup, input: &PermitInput<'_>) -> Result<Permit, Denial> {
        let mut changes = Vec::new();
        self.check_key(input)?;
        let (subject, names) = self.names(group, input.csr, input.renews, Some(input.issuer), &mut changes)?;
        let key_usage = self.key_usage(input, &mut changes)?;
        let extended_key_usages = self.extended_key_usages(input, &mut changes)?;
        check_extensions(input, &mut changes)?;
        if input.csr.alternative().is_some() && input.profile.form != Form::Catalyst {
            changes.push(format!("the alternative key is left out: form {} has no place for it", input.profile.form));
        }
        let device = device_of(group, &subject, &names, input.csr);
        if device.is_none() {
            let wanted = group.device.join(", ");
            return deny(DenialCode::NoDevice, format!("the request has none of {wanted}: the device cannot be told"));
        }
        Ok(Permit { subject, subject_alt_names: names, key_usage, extended_key_usages, device, changes })
    }

    /// The device of a request, whatever becomes of it. Names that are not let through tell a device as they were asked for.
    pub(super) fn identify(&self, group: &DeviceGroup, csr: &VerifiedCsr, renews: Option<&Certificate>) -> Option<String> {
        match self.names(group, csr, renews, None, &mut Vec::new()) {
            Ok((subject, names)) => device_of(group, &subject, &names, csr),
            Err(_) => group.device_of(csr.subject(), csr.subject_alt_names()),
        }
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

/// The device by the names that are issued, or else by those that were asked for.
fn device_of(group: &DeviceGroup, subject: &DistinguishedName, names: &[SubjectAltName], csr: &VerifiedCsr) -> Option<String> {
    group.device_of(subject, names).or_else(|| group.device_of(csr.subject(), csr.subject_alt_names()))
}

fn deny<T>(code: DenialCode, detail: String) -> Result<T, Denial> {
    Err(Denial { code, detail })
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
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
mod tests;
