//! Building certificates (RFC 5280 section 4). Whatever signs is a [`Signer`]; how the signature stands in the certificate is a
//! [`Form`](crate::algorithm::Form).

use jiff::Timestamp;

use super::{DistinguishedName, Extension, X509Error};
use crate::algorithm::{Digest, SignatureAlgorithm};
use crate::crypto::Signer;

/// All that stands in a certificate but the signature.
#[derive(Clone, Debug)]
pub struct CertificateTemplate {
    /// Content octets of the positive serial number, at most 20 (RFC 5280 section 4.1.2.2).
    pub serial: Vec<u8>,
    /// The issuer.
    pub issuer: DistinguishedName,
    /// The subject.
    pub subject: DistinguishedName,
    /// Start of the validity.
    pub not_before: Timestamp,
    /// End of the validity.
    pub not_after: Timestamp,
    /// DER SubjectPublicKeyInfo of the subject.
    pub spki: Vec<u8>,
    /// The extensions in order.
    pub extensions: Vec<Extension>,
}

impl CertificateTemplate {
    /// Signs in the single form, and gives the DER certificate.
    pub fn sign(&self, _signer: &dyn Signer, _algorithm: SignatureAlgorithm) -> Result<Vec<u8>, X509Error> {
        todo!()
    }
}

/// A fresh serial number: 16 random octets, made positive, never zero.
pub fn random_serial() -> Vec<u8> {
    todo!()
}

/// The extensions of a CA certificate: basicConstraints (critical, CA, path length), keyUsage (critical, keyCertSign, cRLSign),
/// subjectKeyIdentifier, and authorityKeyIdentifier unless self-signed.
pub fn ca_extensions(_spki: &[u8], _issuer_spki: Option<&[u8]>, _path_len: Option<u8>) -> Result<Vec<Extension>, X509Error> {
    todo!()
}

/// subjectKeyIdentifier for this key.
pub fn subject_key_identifier(_spki: &[u8]) -> Result<Extension, X509Error> {
    todo!()
}

/// authorityKeyIdentifier with this key identifier.
pub fn authority_key_identifier(_key_identifier: &[u8]) -> Result<Extension, X509Error> {
    todo!()
}

/// cRLDistributionPoints with these URIs.
pub fn crl_distribution_points(_uris: &[String]) -> Result<Extension, X509Error> {
    todo!()
}

/// A self-signed certificate for a device's own key, as SCEP clients send with their first request (RFC 8894 section 2.3): subject
/// = issuer, valid for a day around `now`, keyUsage digitalSignature (and keyEncipherment for RSA).
pub fn self_signed(
    _subject: &DistinguishedName,
    _signer: &dyn Signer,
    _digest: Digest,
    _now: Timestamp,
) -> Result<Vec<u8>, X509Error> {
    todo!()
}
