//! Selectors: `subject.serialNumber`, `san.dns`. What tells a device, and what a challenge is bound to.

use der::oid::ObjectIdentifier;

use crate::x509::name::attribute_oid;
use crate::x509::{DistinguishedName, SubjectAltName};

/// The value of a selector (`subject.serialNumber`, `san.dns`, `san.uri`, `san.ip`, `san.email`) in a request or certificate: the
/// first one that is not blank.
pub fn select(text: &str, subject: &DistinguishedName, names: &[SubjectAltName]) -> Option<String> {
    let found = match selector(text).ok()? {
        Selector::Subject(oid) => {
            subject.rdns().iter().flatten().filter(|a| a.oid == oid).map(|a| a.value.trim().to_owned()).find(|v| !v.is_empty())
        }
        Selector::Name("dns") => {
            first(names, |name| if let SubjectAltName::Dns(v) = name { Some(v.to_ascii_lowercase()) } else { None })
        }
        Selector::Name(kind) => first(names, |name| (name.kind() == kind).then(|| name.value())),
    };
    found.filter(|value| !value.is_empty())
}

/// Reads a selector; says what is wrong with it otherwise.
pub fn selector(text: &str) -> Result<Selector, String> {
    match text.split_once('.') {
        Some(("subject", attribute)) => attribute_oid(attribute).map(Selector::Subject).ok_or_else(|| {
            format!("unknown attribute {attribute:?}; use a name such as commonName, serialNumber, or a dotted OID")
        }),
        Some(("san", kind)) => KINDS
            .iter()
            .find(|known| **known == kind)
            .map(|known| Selector::Name(known))
            .ok_or_else(|| format!("unknown kind of alternative name {kind:?}; known are {}", KINDS.join(", "))),
        _ => Err(format!("{text:?} is no selector; use subject.ATTRIBUTE, san.dns, san.ip, san.uri or san.email")),
    }
}

/// A selector that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// An attribute of the subject.
    Subject(ObjectIdentifier),
    /// A kind of alternative name.
    Name(&'static str),
}

fn first(names: &[SubjectAltName], value: impl Fn(&SubjectAltName) -> Option<String>) -> Option<String> {
    names.iter().filter_map(value).map(|v| v.trim().to_owned()).find(|v| !v.is_empty())
}

const KINDS: &[&str] = &["dns", "ip", "uri", "email"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_is_there() {
        let subject = DistinguishedName::parse("CN=\\ ,CN=router-1,serialNumber=FOC1234", true).unwrap();
        let names =
            [SubjectAltName::Uri("urn:x".into()), SubjectAltName::Dns("R1.Example".into()), SubjectAltName::Dns("r2".into())];
        let select = |text| select(text, &subject, &names);
        assert_eq!(select("subject.serialNumber").as_deref(), Some("FOC1234"));
        assert_eq!(select("subject.commonName").as_deref(), Some("router-1"));
        assert_eq!(select("subject.CN").as_deref(), Some("router-1"));
        assert_eq!(select("san.dns").as_deref(), Some("r1.example"));
        assert_eq!(select("san.uri").as_deref(), Some("urn:x"));
        assert_eq!(select("san.ip"), None);
        assert_eq!(select("subject.OU"), None);
        assert_eq!(select("nonsense"), None);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(selector("subject.nonsense").unwrap_err().contains("unknown attribute"));
        assert!(selector("san.x400").unwrap_err().contains("dns"));
        assert!(selector("cn").unwrap_err().contains("no selector"));
    }
}
