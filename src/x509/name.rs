//! Distinguished names, read with tolerance: any string type, any character.

use std::fmt;

use super::X509Error;

/// A distinguished name: its original DER, and its attributes in the order of the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct DistinguishedName {
    der: Vec<u8>,
    rdns: Vec<Vec<Attribute>>,
}

/// One attribute of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// The attribute type.
    pub oid: der::oid::ObjectIdentifier,
    /// The value as text; what is no string is given as `#` and hex (RFC 4514 section 2.4).
    pub value: String,
}

impl DistinguishedName {
    /// Reads a DER Name.
    pub fn from_der(_der: &[u8]) -> Result<Self, X509Error> {
        todo!()
    }

    /// Reads the string form of RFC 4514, written in the order of the encoding or reversed: `CN=router-1,O=Example` gives the
    /// RDNSequence (CN, O) in that order when `first_is_first` is true, and (O, CN) when it is false (RFC 4514 section 2.1).
    /// Values become UTF8String, `C` and `serialNumber` PrintableString, `DC` and `emailAddress` IA5String.
    pub fn parse(_text: &str, _first_is_first: bool) -> Result<Self, X509Error> {
        todo!()
    }

    /// Builds a name out of RDNs, in the order of the encoding, with the string types of [`parse`](Self::parse).
    pub fn from_rdns(_rdns: Vec<Vec<Attribute>>) -> Result<Self, X509Error> {
        todo!()
    }

    /// The DER, as it came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The relative distinguished names in the order of the encoding.
    pub fn rdns(&self) -> &[Vec<Attribute>] {
        &self.rdns
    }

    /// Whether the name has no attribute.
    pub fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    /// All values of the attribute with this short name (`CN`, `O`, `OU`, `serialNumber`, `emailAddress`, …) or dotted OID.
    pub fn values(&self, attribute: &str) -> Vec<&str> {
        let Some(oid) = attribute_oid(attribute) else { return Vec::new() };
        self.rdns.iter().flatten().filter(|a| a.oid == oid).map(|a| a.value.as_str()).collect()
    }

    /// The first common name.
    pub fn common_name(&self) -> Option<&str> {
        self.values("CN").into_iter().next()
    }
}

/// The OID of an attribute by its short name (case-insensitive) or long name (`commonName`), or by its dotted OID.
pub fn attribute_oid(_name: &str) -> Option<der::oid::ObjectIdentifier> {
    todo!()
}

/// The short name of an attribute type, or its dotted OID.
pub fn attribute_name(_oid: &der::oid::ObjectIdentifier) -> String {
    todo!()
}

/// The order of the encoding, left to right, escaped as RFC 4514 section 2.4 says: `O=Example,CN=router-1`.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
