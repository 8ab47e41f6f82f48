//! Certificates, read with tolerance: X.509 v1, long serials, critical authorityKeyIdentifier, odd names.

use jiff::Timestamp;

use super::{DistinguishedName, Extension, KeyUsage, SubjectAltName, X509Error};
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};

/// A certificate that was read: its original bytes, and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
}

impl Certificate {
    /// Reads one certificate; trailing octets are refused.
    pub fn from_der(_der: &[u8]) -> Result<Self, X509Error> {
        todo!()
    }

    /// Reads the first certificate of a PEM text.
    pub fn from_pem(_pem: &str) -> Result<Self, X509Error> {
        todo!()
    }

    /// Reads all certificates of a PEM text, in order.
    pub fn chain_from_pem(_pem: &str) -> Result<Vec<Self>, X509Error> {
        todo!()
    }

    /// The bytes, as they came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The PEM text.
    pub fn to_pem(&self) -> String {
        todo!()
    }

    /// The content octets of the serial number INTEGER, as they came.
    pub fn serial(&self) -> &[u8] {
        todo!()
    }

    /// The serial number in lower-case hex without a leading zero octet: what reports show.
    pub fn serial_hex(&self) -> String {
        let serial = self.serial();
        hex::encode(if serial.len() > 1 && serial[0] == 0 { &serial[1..] } else { serial })
    }

    /// The issuer.
    pub fn issuer(&self) -> &DistinguishedName {
        todo!()
    }

    /// The subject.
    pub fn subject(&self) -> &DistinguishedName {
        todo!()
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        todo!()
    }

    /// The kind of the key, if we know it.
    pub fn key(&self) -> Option<KeyAlgorithm> {
        todo!()
    }

    /// The signature algorithm, if we know it.
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        todo!()
    }

    /// Start of the validity.
    pub fn not_before(&self) -> Timestamp {
        todo!()
    }

    /// End of the validity. `99991231235959Z` and whatever lies beyond our calendar is the latest timestamp.
    pub fn not_after(&self) -> Timestamp {
        todo!()
    }

    /// All extensions in order; a v1 certificate has none.
    pub fn extensions(&self) -> &[Extension] {
        todo!()
    }

    /// The subject alternative names; empty if there are none or they cannot be read.
    pub fn subject_alt_names(&self) -> Vec<SubjectAltName> {
        todo!()
    }

    /// The key usage, if the extension is there.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        todo!()
    }

    /// Whether basicConstraints says that this is a CA.
    pub fn is_ca(&self) -> bool {
        todo!()
    }

    /// The subjectKeyIdentifier, if the extension is there.
    pub fn subject_key_identifier(&self) -> Option<Vec<u8>> {
        todo!()
    }

    /// SHA-256 over the DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        crate::crypto::provider().digester.sha256(&self.der)
    }

    /// Checks that `issuer`'s key signed this certificate. Names and validity are the caller's business.
    pub fn verify_signed_by(&self, _issuer_spki: &[u8]) -> Result<(), X509Error> {
        todo!()
    }
}
