//! PKCS#10 certification requests (RFC 2986), read with tolerance, with their proof of possession checked.

use super::{DistinguishedName, Extension, KeyUsage, SubjectAltName, X509Error};
use crate::algorithm::{Digest, KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::Signer;

/// A certification request whose proof of possession was checked: there is no other way to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCsr {
    der: Vec<u8>,
}

impl VerifiedCsr {
    /// Reads a request and checks its signature with its own key. Any version number and any order of attributes is taken;
    /// what the digest may be is the caller's decision ([`signature_algorithm`](Self::signature_algorithm)).
    pub fn from_der(_der: &[u8]) -> Result<Self, X509Error> {
        todo!()
    }

    /// The bytes, as they came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject.
    pub fn subject(&self) -> &DistinguishedName {
        todo!()
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        todo!()
    }

    /// The kind of the key.
    pub fn key(&self) -> KeyAlgorithm {
        todo!()
    }

    /// What the request is signed with.
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        todo!()
    }

    /// The challengePassword attribute (1.2.840.113549.1.9.7), of any string type.
    pub fn challenge_password(&self) -> Option<&str> {
        todo!()
    }

    /// The extensions of the extensionRequest attribute (1.2.840.113549.1.9.14).
    pub fn extensions(&self) -> &[Extension] {
        todo!()
    }

    /// The requested subject alternative names.
    pub fn subject_alt_names(&self) -> &[SubjectAltName] {
        todo!()
    }

    /// The requested key usage.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        todo!()
    }

    /// The requested extended key usages.
    pub fn extended_key_usages(&self) -> &[der::oid::ObjectIdentifier] {
        todo!()
    }
}

/// What a client asks for when it makes a request.
pub struct CsrTemplate<'a> {
    /// The subject.
    pub subject: &'a DistinguishedName,
    /// The names to put into the extensionRequest attribute.
    pub subject_alt_names: &'a [SubjectAltName],
    /// Extended key usages to ask for.
    pub extended_key_usages: &'a [der::oid::ObjectIdentifier],
    /// Key usage to ask for.
    pub key_usage: Option<KeyUsage>,
    /// The challenge, if any.
    pub challenge_password: Option<&'a str>,
}

impl CsrTemplate<'_> {
    /// Builds and signs the request.
    pub fn sign(&self, _signer: &dyn Signer, _digest: Digest) -> Result<Vec<u8>, X509Error> {
        todo!()
    }
}
