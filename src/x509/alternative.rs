//! Alternative signatures ("catalyst"): ITU-T X.509 (10/2019) section 9.8.
//!
//! Beside its ordinary signature a certificate or a CRL may carry a second one in two extensions, and a CA certificate the key to
//! check it with in a third. None of them is critical here, so whoever does not know them passes them over.
//!
//! ```text
//! subjectAltPublicKeyInfo  2.5.29.72   SubjectPublicKeyInfo: the subject's own alternative key
//! altSignatureAlgorithm    2.5.29.73   AlgorithmIdentifier
//! altSignatureValue        2.5.29.74   BIT STRING
//! ```
//!
//! The alternative signature is made first. It is over the TBSCertificate (or TBSCertList) without its `signature` field and without
//! altSignatureValue. Then altSignatureValue goes in, and the ordinary signature covers everything.
//!
//! A request proves an alternative key by the same three as attributes: the alternative signature is over the
//! CertificationRequestInfo without the attribute altSignatureValue. (X.509 does not say how; Bouncy Castle does it so.)

use der::oid::ObjectIdentifier;

use super::algorithm_identifier::read_signature_algorithm;
use super::signed::{self, Signed};
use super::tlv::{Reader, Tlv, encode, encode_bits, tag};
use super::{Certificate, Extension, X509Error};
use crate::algorithm::SignatureAlgorithm;
use crate::crypto::CryptoError;

/// subjectAltPublicKeyInfo
pub const SUBJECT_ALT_PUBLIC_KEY_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.72");

/// altSignatureAlgorithm
pub const ALT_SIGNATURE_ALGORITHM: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.73");

/// altSignatureValue
pub const ALT_SIGNATURE_VALUE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.74");

/// deltaCertificateDescriptor: a second certificate folded into the first ("chameleon", an expired individual draft). Known, so that
/// it is not taken for anything else; never made.
const DELTA_CERTIFICATE_DESCRIPTOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.114027.80.6.1");

impl Certificate {
    /// The subject's alternative key, DER SubjectPublicKeyInfo, if it has one.
    pub fn alternative_spki(&self) -> Option<&[u8]> {
        self.extension(&SUBJECT_ALT_PUBLIC_KEY_INFO).map(|e| e.value.as_slice())
    }

    /// What the alternative signature is made with, if there is one and we know it.
    pub fn alternative_signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        self.extension(&ALT_SIGNATURE_VALUE)?;
        read_algorithm(self.extensions()).ok()
    }

    /// Whether there is an alternative signature, of whatever algorithm.
    pub fn has_alternative_signature(&self) -> bool {
        self.extension(&ALT_SIGNATURE_VALUE).is_some()
    }

    /// Whether another certificate is folded into this one, in a form that is none of ours.
    pub fn is_chameleon(&self) -> bool {
        self.extension(&DELTA_CERTIFICATE_DESCRIPTOR).is_some()
    }

    /// Checks that the alternative key of the issuer made the alternative signature. It says nothing of the ordinary one.
    pub fn verify_alternative(&self, issuer_alternative_spki: &[u8]) -> Result<(), X509Error> {
        let tbs = Reader::single("certificate", self.tbs(), tag::SEQUENCE)?;
        verify(&without_signature(&tbs, tag::context_constructed(3))?, self.extensions(), issuer_alternative_spki)
    }
}

/// Checks that the alternative key of the issuer made the alternative signature of this DER CRL.
pub fn verify_crl(der: &[u8], issuer_alternative_spki: &[u8]) -> Result<(), X509Error> {
    let crl = super::crl::read_crl(der)?;
    let signed = Signed::read("CRL", der)?;
    verify(&without_signature(&signed.content, tag::context_constructed(0))?, &crl.extensions, issuer_alternative_spki)
}

/// altSignatureAlgorithm, not critical.
pub fn algorithm_extension(algorithm: SignatureAlgorithm) -> Extension {
    let value = signed::encode_identifier(&algorithm.identifier());
    Extension { oid: ALT_SIGNATURE_ALGORITHM, critical: false, value }
}

/// altSignatureValue, not critical.
pub fn value_extension(signature: &[u8]) -> Extension {
    Extension { oid: ALT_SIGNATURE_VALUE, critical: false, value: encode_bits(signature) }
}

/// subjectAltPublicKeyInfo, not critical.
pub fn key_extension(alternative_spki: &[u8]) -> Extension {
    Extension { oid: SUBJECT_ALT_PUBLIC_KEY_INFO, critical: false, value: alternative_spki.to_vec() }
}

fn read_algorithm(extensions: &[Extension]) -> Result<SignatureAlgorithm, X509Error> {
    let value = value_of(extensions, &ALT_SIGNATURE_ALGORITHM)?;
    let identifier = Reader::single("altSignatureAlgorithm", value, tag::SEQUENCE)?;
    Ok(read_signature_algorithm(&identifier)?.ok_or(CryptoError::Unsupported)?)
}

fn value_of<'a>(extensions: &'a [Extension], oid: &ObjectIdentifier) -> Result<&'a [u8], X509Error> {
    let found = extensions.iter().find(|e| e.oid == *oid);
    found
        .map(|e| e.value.as_slice())
        .ok_or_else(|| X509Error::malformed("alternative signature", format_args!("{oid} is missing")))
}

fn verify(content: &[u8], extensions: &[Extension], spki: &[u8]) -> Result<(), X509Error> {
    let value = value_of(extensions, &ALT_SIGNATURE_VALUE)?;
    let signature = Reader::single("altSignatureValue", value, tag::BIT_STRING)?.bit_octets()?;
    let algorithm = read_algorithm(extensions)?;
    Ok(crate::crypto::provider().verifier.verify(algorithm, spki, content, signature)?)
}

/// A TBSCertificate or TBSCertList without its `signature` field, the first SEQUENCE in either, and without altSignatureValue among
/// its extensions. All else stays as it stands.
fn without_signature(tbs: &Tlv<'_>, extensions_tag: u8) -> Result<Vec<u8>, X509Error> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut passed = false;
    let mut fields = tbs.reader();
    while !fields.is_empty() {
        let field = fields.any()?;
        if !passed && field.tag == tag::SEQUENCE {
            passed = true;
        } else if passed && field.tag == extensions_tag {
            let mut inner = field.reader();
            let extensions = without_item(&inner.tag(tag::SEQUENCE)?, &ALT_SIGNATURE_VALUE)?;
            inner.finish()?;
            kept.push(encode(field.tag, &[extensions]));
        } else {
            kept.push(field.raw.to_vec());
        }
    }
    Ok(encode(tbs.tag, &kept))
}

/// A CertificationRequestInfo without the attribute altSignatureValue.
pub(super) fn request_content(info: &Tlv<'_>) -> Result<Vec<u8>, X509Error> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut fields = info.reader();
    while !fields.is_empty() {
        let field = fields.any()?;
        kept.push(match field.tag == tag::context_constructed(0) {
            true => without_item(&field, &ALT_SIGNATURE_VALUE)?,
            false => field.raw.to_vec(),
        });
    }
    Ok(encode(info.tag, &kept))
}

/// A list of SEQUENCEs that begin with an OBJECT IDENTIFIER, without the one of this identifier.
fn without_item(list: &Tlv<'_>, left_out: &ObjectIdentifier) -> Result<Vec<u8>, X509Error> {
    let mut kept = Vec::new();
    let mut items = list.reader();
    while !items.is_empty() {
        let item = items.tag(tag::SEQUENCE)?;
        if item.reader().tag(tag::OID)?.oid().as_ref() != Some(left_out) {
            kept.push(item.raw);
        }
    }
    Ok(encode(list.tag, &kept))
}
