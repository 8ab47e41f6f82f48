//! Certificates, read with tolerance: X.509 v1, long serials, critical authorityKeyIdentifier, odd names.

use std::ops::Range;

use jiff::Timestamp;

use super::extension::{self, oid};
use super::signed::Signed;
use super::tlv::{Reader, Tlv, tag};
use super::{DistinguishedName, Extension, KeyUsage, SubjectAltName, X509Error, pem, spki, time};
use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::CryptoError;

const WHAT: &str = "certificate";

/// A certificate that was read: its original bytes, and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: Range<usize>,
    serial: Range<usize>,
    spki: Range<usize>,
    /// The octets of the signature.
    signature: Range<usize>,
    issuer: DistinguishedName,
    subject: DistinguishedName,
    not_before: Timestamp,
    not_after: Timestamp,
    extensions: Vec<Extension>,
    key: Option<KeyAlgorithm>,
    signature_algorithm: Option<SignatureAlgorithm>,
    /// Whether the algorithm under the signature is the one beside it, as RFC 5280 section 4.1.1.2 demands.
    algorithms_agree: bool,
}

impl Certificate {
    /// Reads one certificate; trailing octets are refused.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        Self::from_octets(der.to_vec())
    }

    /// The same, of octets that become the certificate's own: a large signature is not copied.
    pub fn from_octets(der: Vec<u8>) -> Result<Self, X509Error> {
        let read = Self::read(&der)?;
        Ok(Certificate { der, ..read })
    }

    /// All but the octets.
    fn read(der: &[u8]) -> Result<Self, X509Error> {
        let signed = Signed::read(WHAT, der)?;
        let mut tbs = signed.content.reader();
        // Any version will do: what follows tells itself apart.
        tbs.optional(tag::context_constructed(0))?;
        let serial = tbs.tag(tag::INTEGER)?;
        if serial.value.is_empty() {
            return Err(serial.error("a serial number without octets"));
        }
        let inner_algorithm = tbs.tag(tag::SEQUENCE)?;
        let issuer = DistinguishedName::from_der(tbs.tag(tag::SEQUENCE)?.raw)?;
        let mut validity = tbs.tag(tag::SEQUENCE)?.reader();
        let not_before = time::read(&validity.any()?)?;
        let not_after = time::read(&validity.any()?)?;
        validity.finish()?;
        let subject = DistinguishedName::from_der(tbs.tag(tag::SEQUENCE)?.raw)?;
        let spki = tbs.tag(tag::SEQUENCE)?;
        let extensions = optional_fields(&mut tbs)?;
        tbs.finish()?;

        let signature_algorithm = signed.algorithm()?;
        let algorithms_agree = inner_algorithm.raw == signed.algorithm.raw
            || signature_algorithm.is_some()
                && super::algorithm_identifier::read_signature_algorithm(&inner_algorithm)? == signature_algorithm;
        let signature = signed.signature.value_range();
        Ok(Certificate {
            tbs: signed.content.range(),
            serial: serial.value_range(),
            spki: spki.range(),
            signature: signature.start + 1..signature.end,
            issuer,
            subject,
            not_before,
            not_after,
            extensions,
            key: spki::key_algorithm(spki.raw).ok(),
            signature_algorithm,
            algorithms_agree,
            der: Vec::new(),
        })
    }

    /// Reads the first certificate of a PEM text.
    pub fn from_pem(pem: &str) -> Result<Self, X509Error> {
        pem::read(pem, PEM_LABEL)?
            .first()
            .ok_or_else(|| X509Error::malformed(WHAT, "the text has no PEM block CERTIFICATE"))
            .and_then(|der| Self::from_der(der))
    }

    /// Reads all certificates of a PEM text, in order.
    pub fn chain_from_pem(pem: &str) -> Result<Vec<Self>, X509Error> {
        pem::read(pem, PEM_LABEL)?.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The bytes, as they came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The PEM text.
    pub fn to_pem(&self) -> String {
        pem::write(PEM_LABEL, &self.der)
    }

    /// The content octets of the serial number INTEGER, as they came.
    pub fn serial(&self) -> &[u8] {
        &self.der[self.serial.clone()]
    }

    /// The serial number in lower-case hex without a leading zero octet: what reports show.
    pub fn serial_hex(&self) -> String {
        let serial = self.serial();
        hex::encode(if serial.len() > 1 && serial[0] == 0 { &serial[1..] } else { serial })
    }

    /// The issuer.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// The subject.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.der[self.spki.clone()]
    }

    /// The kind of the key, if we know it.
    pub fn key(&self) -> Option<KeyAlgorithm> {
        self.key
    }

    /// The signature algorithm, if we know it.
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        self.signature_algorithm
    }

    /// Start of the validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// End of the validity. `99991231235959Z` and whatever lies beyond our calendar is the latest timestamp.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// All extensions in order; a v1 certificate has none.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The extension of this type, if it is there.
    pub fn extension(&self, oid: &der::oid::ObjectIdentifier) -> Option<&Extension> {
        self.extensions.iter().find(|e| e.oid == *oid)
    }

    /// The TBSCertificate, as it came: what the signature is over.
    pub fn tbs(&self) -> &[u8] {
        &self.der[self.tbs.clone()]
    }

    /// The octets of the signature.
    pub fn signature(&self) -> &[u8] {
        &self.der[self.signature.clone()]
    }

    /// The subject alternative names; empty if there are none or they cannot be read.
    pub fn subject_alt_names(&self) -> Vec<SubjectAltName> {
        self.extension(&oid::SUBJECT_ALT_NAME).and_then(|e| extension::read_subject_alt_names(&e.value).ok()).unwrap_or_default()
    }

    /// The key usage, if the extension is there.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.extension(&oid::KEY_USAGE).and_then(|e| extension::read_key_usage(&e.value).ok())
    }

    /// Whether basicConstraints says that this is a CA.
    pub fn is_ca(&self) -> bool {
        self.extension(&oid::BASIC_CONSTRAINTS)
            .is_some_and(|e| matches!(extension::read_basic_constraints(&e.value), Ok((true, _))))
    }

    /// The extended key usages; empty if the extension is not there or cannot be read.
    pub fn extended_key_usages(&self) -> Vec<der::oid::ObjectIdentifier> {
        self.extension(&oid::EXTENDED_KEY_USAGE)
            .and_then(|e| extension::read_extended_key_usage(&e.value).ok())
            .unwrap_or_default()
    }

    /// The key identifier in the authorityKeyIdentifier, if there is one.
    pub fn authority_key_identifier(&self) -> Option<Vec<u8>> {
        let extension = self.extension(&oid::AUTHORITY_KEY_IDENTIFIER)?;
        extension::read_authority_key_identifier(&extension.value).ok().flatten()
    }

    /// The subjectKeyIdentifier, if the extension is there.
    pub fn subject_key_identifier(&self) -> Option<Vec<u8>> {
        let extension = self.extension(&oid::SUBJECT_KEY_IDENTIFIER)?;
        Reader::single("subjectKeyIdentifier", &extension.value, tag::OCTET_STRING).ok().map(|id| id.value.to_vec())
    }

    /// SHA-256 over the DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        crate::crypto::provider().digester.sha256(&self.der)
    }

    /// Checks that the key of the issuer signed this certificate. Names and validity are the caller's business.
    pub fn verify_signed_by(&self, issuer_spki: &[u8]) -> Result<(), X509Error> {
        if !self.algorithms_agree {
            return Err(X509Error::malformed(WHAT, "two different signature algorithms (RFC 5280 section 4.1.1.2)"));
        }
        let algorithm = self.signature_algorithm.ok_or(CryptoError::Unsupported)?;
        let verifier = crate::crypto::provider().verifier;
        Ok(verifier.verify(algorithm, issuer_spki, self.tbs(), self.signature())?)
    }
}

const PEM_LABEL: &str = "CERTIFICATE";

/// issuerUniqueID [1], subjectUniqueID [2], extensions [3].
fn optional_fields(tbs: &mut Reader<'_>) -> Result<Vec<Extension>, X509Error> {
    tbs.optional(tag::context(1))?;
    tbs.optional(tag::context(2))?;
    let Some(extensions) = tbs.optional(tag::context_constructed(3))? else { return Ok(Vec::new()) };
    let mut inner = extensions.reader();
    let sequence: Tlv<'_> = inner.tag(tag::SEQUENCE)?;
    inner.finish()?;
    extension::read_extensions(&sequence)
}
