//! IssuerAndSubject and IssuerAndSerialNumber: what CertPoll, GetCert and GetCRL carry (RFC 8894 sections 3.3.3 and 3.3.4), and how
//! recipients and signers are named.

use super::WireError;
use crate::x509::tlv::{Reader, encode, tag};
use crate::x509::{Certificate, DistinguishedName};

/// IssuerAndSerialNumber ::= SEQUENCE { issuer Name, serialNumber INTEGER }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerAndSerialNumber {
    /// DER Name.
    pub issuer: Vec<u8>,
    /// Content octets.
    pub serial: Vec<u8>,
}

impl IssuerAndSerialNumber {
    /// Reads one; nothing may follow.
    pub fn from_der(der: &[u8]) -> Result<Self, WireError> {
        let mut pair = Reader::single("IssuerAndSerialNumber", der, tag::SEQUENCE)?.reader();
        let issuer = pair.tag(tag::SEQUENCE)?.raw.to_vec();
        let serial = pair.tag(tag::INTEGER)?.value.to_vec();
        pair.finish()?;
        Ok(Self { issuer, serial })
    }

    /// Writes one.
    pub fn to_der(&self) -> Vec<u8> {
        encode(tag::SEQUENCE, &[self.issuer.as_slice(), &encode(tag::INTEGER, &[&self.serial])])
    }
}

impl From<&Certificate> for IssuerAndSerialNumber {
    fn from(certificate: &Certificate) -> Self {
        Self { issuer: certificate.issuer().der().to_vec(), serial: certificate.serial().to_vec() }
    }
}

/// IssuerAndSubject ::= SEQUENCE { issuer Name, subject Name }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerAndSubject {
    /// DER Name.
    pub issuer: Vec<u8>,
    /// DER Name.
    pub subject: Vec<u8>,
}

impl IssuerAndSubject {
    /// Reads one; nothing may follow.
    pub fn from_der(der: &[u8]) -> Result<Self, WireError> {
        let mut pair = Reader::single("IssuerAndSubject", der, tag::SEQUENCE)?.reader();
        let issuer = pair.tag(tag::SEQUENCE)?.raw.to_vec();
        let subject = pair.tag(tag::SEQUENCE)?.raw.to_vec();
        pair.finish()?;
        Ok(Self { issuer, subject })
    }

    /// Writes one.
    pub fn to_der(&self) -> Vec<u8> {
        encode(tag::SEQUENCE, &[&self.issuer, &self.subject])
    }
}

/// Whether two serial numbers (content octets) are the same, whatever zero octets stand before them.
pub(crate) fn same_serial(one: &[u8], other: &[u8]) -> bool {
    fn significant(serial: &[u8]) -> &[u8] {
        &serial[serial.iter().take_while(|&&octet| octet == 0).count()..]
    }
    significant(one) == significant(other)
}

/// Whether a name is this DER Name: octet for octet, or with the same attributes and values in other string types, as clients send
/// that encode names anew.
pub(crate) fn same_name(name: &DistinguishedName, der: &[u8]) -> bool {
    name.der() == der || DistinguishedName::from_der(der).is_ok_and(|other| other.rdns() == name.rdns())
}
