//! Building certificates (RFC 5280 section 4). Whatever signs is a [`Signer`]; how the signature stands in the certificate is a
//! [`Form`](crate::algorithm::Form).

use der::oid::ObjectIdentifier;
use jiff::Timestamp;
use spki::AlgorithmIdentifierOwned;

use super::extension::{self, oid};
use super::signed;
use super::tlv::{encode, encode_oid, encode_unsigned, tag};
use super::{DistinguishedName, Extension, KeyUsage, X509Error, alternative, spki as public_key, time};
use crate::algorithm::{Digest, KeyAlgorithm, SignatureAlgorithm};
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
    pub fn sign(&self, signer: &dyn Signer, algorithm: SignatureAlgorithm) -> Result<Vec<u8>, X509Error> {
        signed::sign(&self.tbs(&algorithm.identifier())?, signer, algorithm)
    }

    /// Signs in the catalyst form: `alternative` makes the alternative signature, then `signer` the ordinary one over everything (X.509
    /// (10/2019) section 9.8).
    pub fn sign_catalyst(
        mut self,
        signer: &dyn Signer,
        algorithm: SignatureAlgorithm,
        alternative: &dyn Signer,
        alternative_algorithm: SignatureAlgorithm,
    ) -> Result<Vec<u8>, X509Error> {
        let named = alternative::algorithm_extension(alternative_algorithm);
        if !self.extensions.contains(&named) {
            self.extensions.push(named);
        }
        let signature = alternative.sign(alternative_algorithm, &self.pre_tbs()?)?;
        self.extensions.push(alternative::value_extension(&signature));
        self.sign(signer, algorithm)
    }

    /// The TBSCertificate: what the signature is over.
    ///
    /// ```text
    /// TBSCertificate ::= SEQUENCE { version [0], serialNumber, signature AlgorithmIdentifier, issuer, validity, subject,
    ///                               subjectPublicKeyInfo, extensions [3] }
    /// ```
    pub fn tbs(&self, algorithm: &AlgorithmIdentifierOwned) -> Result<Vec<u8>, X509Error> {
        self.encode(&signed::encode_identifier(algorithm))
    }

    /// The TBSCertificate without its `signature` field: what an alternative signature is over, once all extensions but
    /// altSignatureValue are in (X.509 (10/2019) section 9.8).
    pub fn pre_tbs(&self) -> Result<Vec<u8>, X509Error> {
        self.encode(&[])
    }

    /// The certificate out of a TBSCertificate and a signature that was made over it.
    pub fn assemble(tbs: &[u8], algorithm: &AlgorithmIdentifierOwned, signature: &[u8]) -> Vec<u8> {
        signed::assemble(tbs, algorithm, signature)
    }

    fn encode(&self, algorithm: &[u8]) -> Result<Vec<u8>, X509Error> {
        let serial = encode_unsigned(&self.serial);
        // Two octets of header.
        if self.serial.iter().all(|&o| o == 0) || serial.len() > 2 + MAX_SERIAL {
            return Err(X509Error::malformed("serial number", "it has to be over zero, of at most 20 octets"));
        }
        if self.not_after < self.not_before {
            return Err(X509Error::malformed("validity", "it ends before it begins"));
        }
        // v3 is for certificates with extensions (RFC 5280 section 4.1.2.1); v1 is the default and left out.
        let (version, extensions) = if self.extensions.is_empty() {
            (Vec::new(), Vec::new())
        } else {
            let extensions = extension::encode_extensions(&self.extensions);
            (encode(tag::context_constructed(0), &[encode_unsigned(&[2])]), encode(tag::context_constructed(3), &[extensions]))
        };
        let validity = encode(tag::SEQUENCE, &[time::encode_time(self.not_before), time::encode_time(self.not_after)]);
        Ok(encode(
            tag::SEQUENCE,
            &[&version, &serial, algorithm, self.issuer.der(), &validity, self.subject.der(), &self.spki, &extensions],
        ))
    }
}

/// Longest serial number in octets (RFC 5280 section 4.1.2.2).
const MAX_SERIAL: usize = 20;

/// A fresh serial number: 16 random octets, made positive, never zero.
pub fn random_serial() -> Vec<u8> {
    let mut serial: [u8; 16] = crate::crypto::provider().random();
    // The sign bit off, the bit below it on: always 16 octets, 126 of them random bits.
    serial[0] = serial[0] & 0x7f | 0x40;
    serial.to_vec()
}

/// The extensions of a CA certificate: basicConstraints (critical, CA, path length), keyUsage (critical, keyCertSign, cRLSign),
/// subjectKeyIdentifier, and authorityKeyIdentifier unless self-signed.
pub fn ca_extensions(spki: &[u8], issuer_spki: Option<&[u8]>, path_len: Option<u8>) -> Result<Vec<Extension>, X509Error> {
    let mut extensions = vec![
        basic_constraints(path_len),
        key_usage(KeyUsage::KEY_CERT_SIGN.union(KeyUsage::CRL_SIGN)),
        subject_key_identifier(spki)?,
    ];
    if let Some(issuer_spki) = issuer_spki {
        extensions.push(authority_key_identifier(&public_key::key_identifier(issuer_spki)?)?);
    }
    Ok(extensions)
}

/// basicConstraints of a CA, critical (RFC 5280 section 4.2.1.9).
fn basic_constraints(path_len: Option<u8>) -> Extension {
    let path_len = path_len.map(|length| encode_unsigned(&[length])).unwrap_or_default();
    let value = encode(tag::SEQUENCE, &[&[tag::BOOLEAN, 1, 0xff], path_len.as_slice()]);
    Extension { oid: oid::BASIC_CONSTRAINTS, critical: true, value }
}

/// keyUsage, critical.
pub fn key_usage(usage: KeyUsage) -> Extension {
    Extension { oid: oid::KEY_USAGE, critical: true, value: extension::key_usage(usage) }
}

/// subjectKeyIdentifier for this key.
pub fn subject_key_identifier(spki: &[u8]) -> Result<Extension, X509Error> {
    let value = encode(tag::OCTET_STRING, &[public_key::key_identifier(spki)?]);
    Ok(Extension { oid: oid::SUBJECT_KEY_IDENTIFIER, critical: false, value })
}

/// authorityKeyIdentifier with this key identifier.
pub fn authority_key_identifier(key_identifier: &[u8]) -> Result<Extension, X509Error> {
    let value = encode(tag::SEQUENCE, &[encode(tag::context(0), &[key_identifier])]);
    Ok(Extension { oid: oid::AUTHORITY_KEY_IDENTIFIER, critical: false, value })
}

/// cRLDistributionPoints with these URIs: one DistributionPoint, for they all lead to the same CRL (RFC 5280 section 4.2.1.13).
pub fn crl_distribution_points(uris: &[String]) -> Result<Extension, X509Error> {
    if uris.is_empty() {
        return Err(X509Error::malformed("cRLDistributionPoints", "there has to be at least one URI"));
    }
    let names = uris.iter().map(|uri| extension::ia5(6, uri)).collect::<Result<Vec<_>, _>>()?;
    let full_name = encode(tag::context_constructed(0), &names);
    let point = encode(tag::SEQUENCE, &[encode(tag::context_constructed(0), &[full_name])]);
    let value = encode(tag::SEQUENCE, &[point]);
    Ok(Extension { oid: oid::CRL_DISTRIBUTION_POINTS, critical: false, value })
}

/// certificatePolicies with these OIDs and no qualifiers (RFC 5280 section 4.2.1.4).
pub fn certificate_policies(policies: &[ObjectIdentifier]) -> Result<Extension, X509Error> {
    if policies.is_empty() {
        return Err(X509Error::malformed("certificatePolicies", "there has to be at least one policy"));
    }
    let policies: Vec<_> = policies.iter().map(|oid| encode(tag::SEQUENCE, &[encode_oid(oid)])).collect();
    Ok(Extension { oid: oid::CERTIFICATE_POLICIES, critical: false, value: encode(tag::SEQUENCE, &policies) })
}

/// authorityInfoAccess: where an OCSP responder answers, and where the certificate of the issuer is (RFC 5280 section 4.2.2.1).
pub fn authority_info_access(ocsp: &[String], ca_issuers: &[String]) -> Result<Extension, X509Error> {
    let describe = |method: &ObjectIdentifier, uris: &[String]| {
        let one = |uri: &String| Ok(encode(tag::SEQUENCE, &[encode_oid(method), extension::ia5(6, uri)?]));
        uris.iter().map(one).collect::<Result<Vec<_>, X509Error>>()
    };
    let descriptions = [describe(&ID_AD_OCSP, ocsp)?, describe(&ID_AD_CA_ISSUERS, ca_issuers)?].concat();
    if descriptions.is_empty() {
        return Err(X509Error::malformed("authorityInfoAccess", "there has to be at least one URI"));
    }
    Ok(Extension { oid: oid::AUTHORITY_INFO_ACCESS, critical: false, value: encode(tag::SEQUENCE, &descriptions) })
}

const ID_AD_OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
const ID_AD_CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// A self-signed certificate for a device's own key, as SCEP clients send with their first request (RFC 8894 section 2.3): subject
/// = issuer, valid for a day around `now`, keyUsage digitalSignature (and keyEncipherment for RSA).
pub fn self_signed(
    subject: &DistinguishedName,
    signer: &dyn Signer,
    digest: Digest,
    now: Timestamp,
) -> Result<Vec<u8>, X509Error> {
    let usage = match signer.key() {
        KeyAlgorithm::Rsa(_) => KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT),
        _ => KeyUsage::DIGITAL_SIGNATURE,
    };
    let half_a_day = jiff::SignedDuration::from_hours(12);
    let beyond = |e: jiff::Error| X509Error::malformed("validity", e);
    let template = CertificateTemplate {
        serial: random_serial(),
        issuer: subject.clone(),
        subject: subject.clone(),
        not_before: now.checked_sub(half_a_day).map_err(beyond)?,
        not_after: now.checked_add(half_a_day).map_err(beyond)?,
        spki: signer.spki().to_vec(),
        extensions: vec![key_usage(usage)],
    };
    template.sign(signer, super::csr::signature_algorithm_for(signer, digest)?)
}
