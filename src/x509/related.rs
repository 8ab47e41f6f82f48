//! Related certificates (RFC 9763): a certificate that names another one of the same device by its digest.

use der::Encode;
use der::oid::ObjectIdentifier;
use spki::AlgorithmIdentifierOwned;

use super::tlv::{Reader, encode, tag};
use super::{Certificate, Extension, X509Error, algorithm_identifier};
use crate::algorithm::Digest;
use crate::crypto::provider;

/// id-pe-relatedCert
pub const RELATED_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.36");

/// The digest to name a certificate by: the one that its signature algorithm names, as RFC 9763 section 4.1 wants it, or SHA-256
/// where that names none.
pub fn digest_for(certificate: &Certificate) -> Digest {
    match certificate.signature_algorithm().and_then(|algorithm| algorithm.digest()) {
        Some(digest) if !digest.is_legacy() => digest,
        _ => Digest::Sha256,
    }
}

/// The extension that names a certificate, not critical (RFC 9763 section 4.1).
///
/// ```text
/// RelatedCertificate ::= SEQUENCE { hashAlgorithm DigestAlgorithmIdentifier, hashValue OCTET STRING }
/// ```
pub fn extension(digest: Digest, hash: &[u8]) -> Extension {
    // Parameters absent (RFC 5754 section 2).
    let algorithm = AlgorithmIdentifierOwned { oid: digest.oid(), parameters: None };
    let algorithm = algorithm.to_der().expect("an AlgorithmIdentifier in memory has an encoding");
    let value = encode(tag::SEQUENCE, &[algorithm, encode(tag::OCTET_STRING, &[hash])]);
    Extension { oid: RELATED_CERTIFICATE, critical: false, value }
}

/// Reads the value of the extension.
pub fn read(value: &[u8]) -> Result<(Digest, Vec<u8>), X509Error> {
    let mut fields = Reader::single("relatedCertificate", value, tag::SEQUENCE)?.reader();
    let algorithm = fields.tag(tag::SEQUENCE)?;
    let hash = fields.tag(tag::OCTET_STRING)?;
    fields.finish()?;
    let (oid, _) = algorithm_identifier::read(&algorithm)?;
    let digest = oid.and_then(|oid| Digest::from_oid(&oid)).ok_or_else(|| algorithm.error("a digest that we do not know"))?;
    Ok((digest, hash.value.to_vec()))
}

impl Certificate {
    /// Whether this certificate names `other` as its related one; `None` if it names none at all.
    pub fn is_related_to(&self, other: &Certificate) -> Option<bool> {
        let extension = self.extension(&RELATED_CERTIFICATE)?;
        let related = read(&extension.value);
        Some(related.is_ok_and(|(digest, hash)| provider().digester.digest(digest, other.der()) == hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let written = extension(Digest::Sha384, &[7; 48]);
        assert!(!written.critical);
        assert_eq!(read(&written.value), Ok((Digest::Sha384, vec![7; 48])));
        // The AlgorithmIdentifier of SHA-384 has no parameters.
        assert_eq!(written.value[..4], [0x30, 0x3f, 0x30, 0x0b]);
        assert!(read(&written.value[..20]).is_err());
    }
}
