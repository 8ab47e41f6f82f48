//! Certificate extensions that Ravelin reads and writes.

use std::net::IpAddr;

use der::oid::ObjectIdentifier;

use super::tlv::{Reader, Tlv, encode, encode_oid, tag};
use super::{DistinguishedName, X509Error};

/// An extension as it stands in a request or a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Which extension.
    pub oid: ObjectIdentifier,
    /// Whether a reader that does not know it must refuse the certificate.
    pub critical: bool,
    /// The DER inside the OCTET STRING.
    pub value: Vec<u8>,
}

/// A subject alternative name (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectAltName {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// A URI, such as the strong-mapping tag of KB5014754.
    Uri(String),
    /// A mail address.
    Email(String),
    /// A directory name.
    Directory(DistinguishedName),
    /// Anything else (otherName, registeredID, …) as the DER of its GeneralName.
    Other(Vec<u8>),
}

impl SubjectAltName {
    /// The kind as policy files write it: `dns`, `ip`, `uri`, `email`, `directory`, `other`.
    pub const fn kind(&self) -> &'static str {
        match self {
            SubjectAltName::Dns(_) => "dns",
            SubjectAltName::Ip(_) => "ip",
            SubjectAltName::Uri(_) => "uri",
            SubjectAltName::Email(_) => "email",
            SubjectAltName::Directory(_) => "directory",
            SubjectAltName::Other(_) => "other",
        }
    }

    /// The value as text.
    pub fn value(&self) -> String {
        match self {
            SubjectAltName::Dns(v) | SubjectAltName::Uri(v) | SubjectAltName::Email(v) => v.clone(),
            SubjectAltName::Ip(v) => v.to_string(),
            SubjectAltName::Directory(v) => v.to_string(),
            SubjectAltName::Other(v) => format!("#{}", hex::encode(v)),
        }
    }
}

/// Reads a SubjectAltName extension value. What is not well-formed for its kind (a DNS name with an umlaut or a line break, an IP
/// address of three octets) is given as [`SubjectAltName::Other`], so that a policy that lists what it permits refuses it.
pub fn read_subject_alt_names(value: &[u8]) -> Result<Vec<SubjectAltName>, X509Error> {
    let mut names = Vec::new();
    let mut reader = Reader::single("subjectAltName", value, tag::SEQUENCE)?.reader();
    while !reader.is_empty() {
        let name = reader.any()?;
        names.push(read_general_name(&name).unwrap_or_else(|| SubjectAltName::Other(name.raw.to_vec())));
    }
    Ok(names)
}

/// GeneralName ::= CHOICE { rfc822Name [1], dNSName [2], directoryName [4], uniformResourceIdentifier [6], iPAddress [7], … }
fn read_general_name(name: &Tlv<'_>) -> Option<SubjectAltName> {
    const DIRECTORY: u8 = tag::context_constructed(4);
    // Control characters have no place in such names, nor in logs and on terminals, where they would end up.
    let printable = |octet: &u8| octet.is_ascii_graphic() || *octet == b' ';
    let ascii = || name.value.iter().all(printable).then(|| name.value.iter().map(|&o| char::from(o)).collect());
    match name.tag {
        0x81 => ascii().map(SubjectAltName::Email),
        0x82 => ascii().map(SubjectAltName::Dns),
        0x86 => ascii().map(SubjectAltName::Uri),
        0x87 => match name.value.len() {
            4 => <[u8; 4]>::try_from(name.value).ok().map(|octets| SubjectAltName::Ip(octets.into())),
            _ => <[u8; 16]>::try_from(name.value).ok().map(|octets| SubjectAltName::Ip(octets.into())),
        },
        DIRECTORY => DistinguishedName::from_der(name.value).ok().map(SubjectAltName::Directory),
        _ => None,
    }
}

/// Writes a SubjectAltName extension value.
pub fn subject_alt_names(names: &[SubjectAltName]) -> Result<Vec<u8>, X509Error> {
    let encoded = names
        .iter()
        .map(|name| match name {
            SubjectAltName::Email(text) => ia5(1, text),
            SubjectAltName::Dns(text) => ia5(2, text),
            SubjectAltName::Uri(text) => ia5(6, text),
            SubjectAltName::Ip(IpAddr::V4(address)) => Ok(encode(tag::context(7), &[address.octets()])),
            SubjectAltName::Ip(IpAddr::V6(address)) => Ok(encode(tag::context(7), &[address.octets()])),
            SubjectAltName::Directory(name) => Ok(encode(tag::context_constructed(4), &[name.der()])),
            SubjectAltName::Other(raw) => {
                let mut reader = Reader::new("subjectAltName", raw);
                reader.any()?;
                reader.finish()?;
                Ok(raw.clone())
            }
        })
        .collect::<Result<Vec<_>, X509Error>>()?;
    Ok(encode(tag::SEQUENCE, &encoded))
}

/// An implicitly tagged IA5String.
pub(super) fn ia5(number: u8, text: &str) -> Result<Vec<u8>, X509Error> {
    if !text.is_ascii() {
        return Err(X509Error::malformed("general name", format_args!("{text:?} is not ASCII")));
    }
    Ok(encode(tag::context(number), &[text]))
}

/// Key usage bits (RFC 5280 section 4.2.1.3), in the numbering of the standard: bit 0 is digitalSignature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct KeyUsage(pub u16);

impl KeyUsage {
    /// digitalSignature (0).
    pub const DIGITAL_SIGNATURE: KeyUsage = KeyUsage(1 << 0);
    /// nonRepudiation (1), renamed contentCommitment.
    pub const NON_REPUDIATION: KeyUsage = KeyUsage(1 << 1);
    /// keyEncipherment (2).
    pub const KEY_ENCIPHERMENT: KeyUsage = KeyUsage(1 << 2);
    /// dataEncipherment (3).
    pub const DATA_ENCIPHERMENT: KeyUsage = KeyUsage(1 << 3);
    /// keyAgreement (4).
    pub const KEY_AGREEMENT: KeyUsage = KeyUsage(1 << 4);
    /// keyCertSign (5).
    pub const KEY_CERT_SIGN: KeyUsage = KeyUsage(1 << 5);
    /// cRLSign (6).
    pub const CRL_SIGN: KeyUsage = KeyUsage(1 << 6);
    /// encipherOnly (7).
    pub const ENCIPHER_ONLY: KeyUsage = KeyUsage(1 << 7);
    /// decipherOnly (8).
    pub const DECIPHER_ONLY: KeyUsage = KeyUsage(1 << 8);

    /// Both sets together.
    pub const fn union(self, other: KeyUsage) -> KeyUsage {
        KeyUsage(self.0 | other.0)
    }

    /// What stands in both.
    pub const fn intersection(self, other: KeyUsage) -> KeyUsage {
        KeyUsage(self.0 & other.0)
    }

    /// Whether all of `other` is in here.
    pub const fn contains(self, other: KeyUsage) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no bit is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Reads a KeyUsage extension value.
pub fn read_key_usage(value: &[u8]) -> Result<KeyUsage, X509Error> {
    let bits = Reader::single("keyUsage", value, tag::BIT_STRING)?;
    let [unused @ 0..=7, octets @ ..] = bits.value else { return Err(bits.error("not a BIT STRING")) };
    let mut usage = KeyUsage::default();
    let count = (octets.len() * 8).saturating_sub(usize::from(*unused)).min(KEY_USAGE_BITS);
    for bit in 0..count {
        if octets[bit / 8] & (0x80 >> (bit % 8)) != 0 {
            usage.0 |= 1 << bit;
        }
    }
    Ok(usage)
}

/// Writes a KeyUsage extension value: a named bit list, without zero bits at the end (X.690 section 11.2.2).
pub fn key_usage(usage: KeyUsage) -> Vec<u8> {
    let count = (0..KEY_USAGE_BITS).rev().find(|bit| usage.0 & (1 << bit) != 0).map_or(0, |bit| bit + 1);
    let mut octets = vec![0u8; count.div_ceil(8)];
    for bit in (0..count).filter(|bit| usage.0 & (1 << bit) != 0) {
        octets[bit / 8] |= 0x80 >> (bit % 8);
    }
    let unused = (octets.len() * 8 - count) as u8;
    encode(tag::BIT_STRING, &[&[unused], octets.as_slice()])
}

const KEY_USAGE_BITS: usize = 9;

/// Reads an ExtendedKeyUsage extension value.
pub fn read_extended_key_usage(value: &[u8]) -> Result<Vec<ObjectIdentifier>, X509Error> {
    let mut usages = Vec::new();
    let mut reader = Reader::single("extKeyUsage", value, tag::SEQUENCE)?.reader();
    while !reader.is_empty() {
        let usage = reader.tag(tag::OID)?;
        usages.push(usage.oid().ok_or_else(|| usage.error("not an OBJECT IDENTIFIER"))?);
    }
    Ok(usages)
}

/// Writes an ExtendedKeyUsage extension value.
pub fn extended_key_usage(usages: &[ObjectIdentifier]) -> Result<Vec<u8>, X509Error> {
    if usages.is_empty() {
        return Err(X509Error::malformed("extKeyUsage", "there has to be at least one usage (RFC 5280 section 4.2.1.12)"));
    }
    Ok(encode(tag::SEQUENCE, &usages.iter().map(encode_oid).collect::<Vec<_>>()))
}

/// Extended key usages by name: RFC 5280 section 4.2.1.12, and those that device certificates carry besides.
const EXTENDED_KEY_USAGES: &[(&str, &str)] = &[
    ("serverAuth", "1.3.6.1.5.5.7.3.1"),
    ("clientAuth", "1.3.6.1.5.5.7.3.2"),
    ("codeSigning", "1.3.6.1.5.5.7.3.3"),
    ("emailProtection", "1.3.6.1.5.5.7.3.4"),
    ("ipsecEndSystem", "1.3.6.1.5.5.7.3.5"),
    ("ipsecTunnel", "1.3.6.1.5.5.7.3.6"),
    ("ipsecUser", "1.3.6.1.5.5.7.3.7"),
    ("timeStamping", "1.3.6.1.5.5.7.3.8"),
    ("OCSPSigning", "1.3.6.1.5.5.7.3.9"),
    ("eapOverPPP", "1.3.6.1.5.5.7.3.13"),
    ("eapOverLAN", "1.3.6.1.5.5.7.3.14"),
    ("ipsecIKE", "1.3.6.1.5.5.7.3.17"),
    ("secureShellClient", "1.3.6.1.5.5.7.3.21"),
    ("secureShellServer", "1.3.6.1.5.5.7.3.22"),
    ("cmcCA", "1.3.6.1.5.5.7.3.27"),
    ("cmcRA", "1.3.6.1.5.5.7.3.28"),
    ("anyExtendedKeyUsage", "2.5.29.37.0"),
    ("iKEIntermediate", "1.3.6.1.5.5.8.2.2"),
    ("pkInitClientAuth", "1.3.6.1.5.2.3.4"),
    ("pkInitKDC", "1.3.6.1.5.2.3.5"),
    ("msSmartcardLogin", "1.3.6.1.4.1.311.20.2.2"),
];

/// The OID of an extended key usage by its RFC 5280 name (`clientAuth`, `serverAuth`, …) or dotted OID.
pub fn extended_key_usage_oid(name: &str) -> Option<ObjectIdentifier> {
    let dotted = EXTENDED_KEY_USAGES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(name, |(_, oid)| oid);
    ObjectIdentifier::new(dotted).ok()
}

/// The RFC 5280 name of an extended key usage, or its dotted OID.
pub fn extended_key_usage_name(oid: &ObjectIdentifier) -> String {
    let dotted = oid.to_string();
    EXTENDED_KEY_USAGES.iter().find(|(_, known)| *known == dotted).map_or(dotted, |(name, _)| (*name).to_owned())
}

/// Reads a BasicConstraints extension value: whether it is a CA, and the path length.
pub fn read_basic_constraints(value: &[u8]) -> Result<(bool, Option<u64>), X509Error> {
    let mut fields = Reader::single("basicConstraints", value, tag::SEQUENCE)?.reader();
    let ca = fields.optional(tag::BOOLEAN)?.is_some_and(|ca| is_true(&ca));
    let path_len = match fields.optional(tag::INTEGER)? {
        Some(length) => Some(length.unsigned().ok_or_else(|| length.error("not a path length"))?),
        None => None,
    };
    fields.finish()?;
    Ok((ca, path_len))
}

/// Reads the keyIdentifier of an AuthorityKeyIdentifier extension value (RFC 5280 section 4.2.1.1).
pub fn read_authority_key_identifier(value: &[u8]) -> Result<Option<Vec<u8>>, X509Error> {
    let mut fields = Reader::single("authorityKeyIdentifier", value, tag::SEQUENCE)?.reader();
    Ok(fields.optional(tag::context(0))?.map(|id| id.value.to_vec()))
}

/// Extensions ::= SEQUENCE OF SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
///
/// One that stands there twice is refused (RFC 5280 section 4.2): two readers could take a different one of them. One whose OID
/// has arcs beyond 32 bits is left out: nothing here could know it.
pub(crate) fn read_extensions(extensions: &Tlv<'_>) -> Result<Vec<Extension>, X509Error> {
    let mut read: Vec<Extension> = Vec::new();
    let mut reader = extensions.reader();
    while !reader.is_empty() {
        let extension = reader.tag(tag::SEQUENCE)?;
        let mut fields = extension.reader();
        let oid = fields.tag(tag::OID)?.oid();
        let critical = fields.optional(tag::BOOLEAN)?.is_some_and(|critical| is_true(&critical));
        let value = fields.tag(tag::OCTET_STRING)?.value.to_vec();
        fields.finish()?;
        let Some(oid) = oid else { continue };
        if read.iter().any(|e| e.oid == oid) {
            return Err(extension.error(format_args!("the extension {oid} for the second time")));
        }
        if read.len() == MAX_EXTENSIONS {
            return Err(extension.error("too many extensions"));
        }
        read.push(Extension { oid, critical, value });
    }
    Ok(read)
}

/// More extensions than any certificate has; keeps the search for doubles short.
const MAX_EXTENSIONS: usize = 128;

/// Writes Extensions.
pub(crate) fn encode_extensions(extensions: &[Extension]) -> Vec<u8> {
    let encoded: Vec<_> = extensions
        .iter()
        .map(|Extension { oid, critical, value }| {
            let critical: &[u8] = if *critical { &[tag::BOOLEAN, 1, 0xff] } else { &[] };
            encode(tag::SEQUENCE, &[&encode_oid(oid), critical, &encode(tag::OCTET_STRING, &[value])])
        })
        .collect();
    encode(tag::SEQUENCE, &encoded)
}

/// BER lets any octet but 0 say TRUE (X.690 section 8.2.2), and some clients do.
fn is_true(boolean: &Tlv<'_>) -> bool {
    boolean.value.iter().any(|&octet| octet != 0)
}

/// The object identifiers of the extensions that we read and write (RFC 5280 section 4.2.1).
pub mod oid {
    use der::oid::ObjectIdentifier;

    /// subjectKeyIdentifier
    pub const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
    /// keyUsage
    pub const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
    /// subjectAltName
    pub const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
    /// basicConstraints
    pub const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
    /// cRLNumber
    pub const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
    /// reasonCode, of a CRL entry
    pub const REASON_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
    /// cRLDistributionPoints
    pub const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
    /// certificatePolicies
    pub const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
    /// authorityInfoAccess
    pub const AUTHORITY_INFO_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
    /// authorityKeyIdentifier
    pub const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
    /// extKeyUsage
    pub const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went() {
        let names = vec![
            SubjectAltName::Dns("r1.example.net".into()),
            SubjectAltName::Ip([192, 0, 2, 1].into()),
            SubjectAltName::Ip("2001:db8::1".parse().unwrap()),
            SubjectAltName::Uri("tag:microsoft.com,2022-09-14:sid:S-1-5-21-1".into()),
            SubjectAltName::Email("a@example.net".into()),
            SubjectAltName::Directory(DistinguishedName::parse("CN=a", true).unwrap()),
            SubjectAltName::Other(vec![0x88, 3, 0x2a, 3, 4]),
        ];
        let value = subject_alt_names(&names).unwrap();
        assert_eq!(read_subject_alt_names(&value).unwrap(), names);
        assert!(subject_alt_names(&[SubjectAltName::Dns("ö.example".into())]).is_err());
        assert!(subject_alt_names(&[SubjectAltName::Other(vec![1, 2])]).is_err());
    }

    #[test]
    fn odd_names_are_other() {
        let odd = encode(tag::SEQUENCE, &[encode(0x82, &["ö".as_bytes()]), encode(0x87, &[[1u8, 2, 3]])]);
        let names = read_subject_alt_names(&odd).unwrap();
        assert!(names.iter().all(|name| name.kind() == "other"), "{names:?}");
        assert_eq!(subject_alt_names(&names).unwrap(), odd);
    }

    #[test]
    fn key_usage_is_a_named_bit_list() {
        let usage = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT);
        assert_eq!(key_usage(usage), [3, 2, 5, 0xa0]);
        assert_eq!(key_usage(KeyUsage::DECIPHER_ONLY), [3, 3, 7, 0, 0x80]);
        assert_eq!(key_usage(KeyUsage::default()), [3, 1, 0]);
        for bits in 0..1 << KEY_USAGE_BITS {
            assert_eq!(read_key_usage(&key_usage(KeyUsage(bits))).unwrap(), KeyUsage(bits));
        }
        // Zero bits at the end, as some write them.
        assert_eq!(read_key_usage(&[3, 2, 0, 0xa0]).unwrap(), usage);
        assert!(read_key_usage(&[3, 0]).is_err());
        assert!(read_key_usage(&[3, 2, 8, 0xa0]).is_err());
        assert_eq!(read_key_usage(&[3, 1, 7]).unwrap(), KeyUsage::default());
    }

    #[test]
    fn extended_key_usages_have_names() {
        for (name, dotted) in EXTENDED_KEY_USAGES {
            let oid = extended_key_usage_oid(name).unwrap();
            assert_eq!((oid.to_string().as_str(), extended_key_usage_name(&oid).as_str()), (*dotted, *name));
        }
        let usages = [extended_key_usage_oid("clientauth").unwrap(), extended_key_usage_oid("1.2.3").unwrap()];
        assert_eq!(read_extended_key_usage(&extended_key_usage(&usages).unwrap()).unwrap(), usages);
        assert_eq!(extended_key_usage_oid("nonsense"), None);
        assert!(extended_key_usage(&[]).is_err());
    }

    #[test]
    fn extensions_with_odd_booleans() {
        let extension = |critical: &[u8]| {
            encode(tag::SEQUENCE, &[&encode_oid(&oid::KEY_USAGE), critical, &encode(tag::OCTET_STRING, &[[3u8, 1, 0]])])
        };
        let read = |encoded: &[Vec<u8>]| {
            let encoded = encode(tag::SEQUENCE, encoded);
            read_extensions(&Reader::single("extensions", &encoded, tag::SEQUENCE).unwrap())
        };
        for (critical, expected) in [(&[][..], false), (&[1, 1, 0], false), (&[1, 1, 1], true), (&[1, 1, 0xff], true)] {
            assert_eq!(read(&[extension(critical)]).unwrap()[0].critical, expected);
        }
        assert!(read(&[extension(&[]), extension(&[])]).is_err());
    }
}
