//! SubjectPublicKeyInfo: what kind of key is it.

use super::X509Error;
use crate::algorithm::KeyAlgorithm;

/// Names the key in a DER SubjectPublicKeyInfo; refuses parameters that do not belong there.
pub fn key_algorithm(_spki: &[u8]) -> Result<KeyAlgorithm, X509Error> {
    todo!()
}

/// The SHA-1 of the subjectPublicKey bits: method 1 of RFC 5280 section 4.2.1.2.
pub fn key_identifier(_spki: &[u8]) -> Result<[u8; 20], X509Error> {
    todo!()
}
