//! The attribute types that names are made of, by short and long name.

use der::oid::ObjectIdentifier;

use crate::x509::tlv::tag;

/// OID, short name, long names. Where a type has no short name in the registry of RFC 4519, it is the one that OpenSSL prints.
const ATTRIBUTES: &[(&str, &str, &[&str])] = &[
    ("2.5.4.3", "CN", &["commonName"]),
    ("2.5.4.10", "O", &["organizationName", "organization"]),
    ("2.5.4.11", "OU", &["organizationalUnitName", "organizationalUnit"]),
    ("2.5.4.6", "C", &["countryName", "country"]),
    ("2.5.4.7", "L", &["localityName", "locality"]),
    ("2.5.4.8", "ST", &["stateOrProvinceName", "state", "S"]),
    ("2.5.4.9", "street", &["streetAddress"]),
    ("2.5.4.5", "serialNumber", &[]),
    ("1.2.840.113549.1.9.1", "emailAddress", &["E", "email"]),
    ("0.9.2342.19200300.100.1.25", "DC", &["domainComponent"]),
    ("0.9.2342.19200300.100.1.1", "UID", &["userId"]),
    ("1.2.840.113549.1.9.2", "unstructuredName", &[]),
    ("1.2.840.113549.1.9.8", "unstructuredAddress", &[]),
    ("2.5.4.4", "SN", &["surname"]),
    ("2.5.4.42", "GN", &["givenName", "G"]),
    ("2.5.4.43", "initials", &[]),
    ("2.5.4.44", "generationQualifier", &[]),
    ("2.5.4.12", "title", &["T"]),
    ("2.5.4.13", "description", &[]),
    ("2.5.4.15", "businessCategory", &[]),
    ("2.5.4.16", "postalAddress", &[]),
    ("2.5.4.17", "postalCode", &[]),
    ("2.5.4.18", "postOfficeBox", &[]),
    ("2.5.4.20", "telephoneNumber", &[]),
    ("2.5.4.41", "name", &[]),
    ("2.5.4.45", "x500UniqueIdentifier", &["uniqueIdentifier"]),
    ("2.5.4.46", "dnQualifier", &["DN"]),
    ("2.5.4.65", "pseudonym", &[]),
    ("2.5.4.72", "role", &[]),
    ("2.5.4.97", "organizationIdentifier", &[]),
    ("0.9.2342.19200300.100.1.3", "mail", &["rfc822Mailbox"]),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL", &["jurisdictionLocalityName"]),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST", &["jurisdictionStateOrProvinceName"]),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC", &["jurisdictionCountryName"]),
];

/// The OID of an attribute by its short name (case-insensitive) or long name (`commonName`), or by its dotted OID.
pub fn attribute_oid(name: &str) -> Option<ObjectIdentifier> {
    let named = |(_, short, long): &&(&str, &str, &[&str])| {
        short.eq_ignore_ascii_case(name) || long.iter().any(|l| l.eq_ignore_ascii_case(name))
    };
    let dotted = ATTRIBUTES.iter().find(named).map_or(name, |(oid, ..)| oid);
    let dotted = if dotted.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("oid.")) { &dotted[4..] } else { dotted };
    ObjectIdentifier::new(dotted).ok()
}

/// The short name of an attribute type, or its dotted OID.
pub fn attribute_name(oid: &ObjectIdentifier) -> String {
    let dotted = oid.to_string();
    match ATTRIBUTES.iter().find(|(known, ..)| *known == dotted) {
        Some((_, short, _)) => (*short).to_owned(),
        None => dotted,
    }
}

/// The string type that the standard asks for in new names.
pub(super) fn string_type(oid: &ObjectIdentifier) -> u8 {
    match attribute_name(oid).as_str() {
        "C" | "serialNumber" | "dnQualifier" | "jurisdictionC" => tag::PRINTABLE_STRING,
        "DC" | "emailAddress" | "mail" | "unstructuredName" => tag::IA5_STRING,
        _ => tag::UTF8_STRING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_all_its_names() {
        for (oid, short, long) in ATTRIBUTES {
            let oid = ObjectIdentifier::new(oid).unwrap();
            assert_eq!(attribute_name(&oid), *short);
            for name in long.iter().chain([short]) {
                assert_eq!(attribute_oid(name), Some(oid), "{name}");
                assert_eq!(attribute_oid(&name.to_uppercase()), Some(oid), "{name}");
            }
        }
    }

    #[test]
    fn dotted_oids_do_as_names() {
        assert_eq!(attribute_oid("2.5.4.3"), attribute_oid("cn"));
        assert_eq!(attribute_oid("OID.2.5.4.3"), attribute_oid("cn"));
        assert_eq!(attribute_name(&ObjectIdentifier::new_unwrap("1.2.3.4")), "1.2.3.4");
        assert_eq!(attribute_oid("no such attribute"), None);
        assert_eq!(attribute_oid(""), None);
    }
}
