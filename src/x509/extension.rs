//! Certificate extensions that Ravelin reads and writes.

use std::net::IpAddr;

use der::oid::ObjectIdentifier;

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

/// Reads a SubjectAltName extension value.
pub fn read_subject_alt_names(_value: &[u8]) -> Result<Vec<SubjectAltName>, X509Error> {
    todo!()
}

/// Writes a SubjectAltName extension value.
pub fn subject_alt_names(_names: &[SubjectAltName]) -> Result<Vec<u8>, X509Error> {
    todo!()
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
pub fn read_key_usage(_value: &[u8]) -> Result<KeyUsage, X509Error> {
    todo!()
}

/// Writes a KeyUsage extension value.
pub fn key_usage(_usage: KeyUsage) -> Vec<u8> {
    todo!()
}

/// Reads an ExtendedKeyUsage extension value.
pub fn read_extended_key_usage(_value: &[u8]) -> Result<Vec<ObjectIdentifier>, X509Error> {
    todo!()
}

/// Writes an ExtendedKeyUsage extension value.
pub fn extended_key_usage(_usages: &[ObjectIdentifier]) -> Result<Vec<u8>, X509Error> {
    todo!()
}

/// The OID of an extended key usage by its RFC 5280 name (`clientAuth`, `serverAuth`, …) or dotted OID.
pub fn extended_key_usage_oid(_name: &str) -> Option<ObjectIdentifier> {
    todo!()
}

/// The RFC 5280 name of an extended key usage, or its dotted OID.
pub fn extended_key_usage_name(_oid: &ObjectIdentifier) -> String {
    todo!()
}
