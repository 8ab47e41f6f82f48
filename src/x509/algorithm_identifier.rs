//! From AlgorithmIdentifier to our names, for certificates, requests, CRLs and CMS alike.

use der::oid::ObjectIdentifier;
use der::{Tag, Tagged};
use spki::AlgorithmIdentifierOwned;

use super::X509Error;
use super::tlv::{Reader, Tlv, tag};
use crate::algorithm::signature::ID_RSASSA_PSS;
use crate::algorithm::{Digest, SignatureAlgorithm};

/// rsaEncryption (RFC 8017 appendix A.1): as a signature algorithm in CMS it leaves the digest to the SignerInfo.
pub const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// id-ecPublicKey (RFC 5480 section 2.1.1); some signers put it where the signature algorithm belongs.
pub const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// id-mgf1 (RFC 8017 appendix B.2.1).
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");

/// sha1WithRSASignature of the OIW, still found in old certificates.
const OIW_SHA1_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.29");

/// Names a signature algorithm. RSA and ECDSA may have NULL parameters or none, whatever the standard says; RSASSA-PSS is known with
/// one and the same digest for message and mask, and a salt as long as the digest.
pub fn signature_algorithm(identifier: &AlgorithmIdentifierOwned) -> Option<SignatureAlgorithm> {
    let parameters = identifier.parameters.as_ref().and_then(|p| {
        let tag = match p.tag() {
            Tag::Null => tag::NULL,
            Tag::Sequence => tag::SEQUENCE,
            _ => return None,
        };
        Some((tag, p.value()))
    });
    // Parameters of any other type belong to no algorithm of ours.
    if identifier.parameters.is_some() != parameters.is_some() {
        return None;
    }
    named("signature algorithm", identifier.oid, parameters).ok().flatten()
}

/// Names the signature algorithm of a CMS SignerInfo, where `rsaEncryption` and `id-ecPublicKey` leave the digest to the
/// digestAlgorithm beside it (RFC 3370 section 3.2).
pub fn signer_info_algorithm(identifier: &AlgorithmIdentifierOwned, digest: Digest) -> Option<SignatureAlgorithm> {
    match (identifier.oid, digest) {
        (RSA_ENCRYPTION, Digest::Md5) => Some(SignatureAlgorithm::RsaMd5),
        (RSA_ENCRYPTION, Digest::Sha1) => Some(SignatureAlgorithm::RsaSha1),
        (RSA_ENCRYPTION, Digest::Sha256) => Some(SignatureAlgorithm::RsaSha256),
        (RSA_ENCRYPTION, Digest::Sha384) => Some(SignatureAlgorithm::RsaSha384),
        (RSA_ENCRYPTION, Digest::Sha512) => Some(SignatureAlgorithm::RsaSha512),
        (EC_PUBLIC_KEY, Digest::Sha1) => Some(SignatureAlgorithm::EcdsaSha1),
        (EC_PUBLIC_KEY, Digest::Sha256) => Some(SignatureAlgorithm::EcdsaSha256),
        (EC_PUBLIC_KEY, Digest::Sha384) => Some(SignatureAlgorithm::EcdsaSha384),
        (EC_PUBLIC_KEY, Digest::Sha512) => Some(SignatureAlgorithm::EcdsaSha512),
        _ => signature_algorithm(identifier),
    }
}

/// The same for an AlgorithmIdentifier in an encoding that is being read.
pub(crate) fn read_signature_algorithm(identifier: &Tlv<'_>) -> Result<Option<SignatureAlgorithm>, X509Error> {
    let (oid, parameters) = read(identifier)?;
    oid.map_or(Ok(None), |oid| named(identifier.what(), oid, parameters.map(|p| (p.tag, p.value))))
}

/// AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }. The OID is `None` if it is one that
/// cannot be ours.
pub(crate) fn read<'a>(identifier: &Tlv<'a>) -> Result<(Option<ObjectIdentifier>, Option<Tlv<'a>>), X509Error> {
    let mut reader = identifier.reader();
    let oid = reader.tag(tag::OID)?.oid();
    let parameters = if reader.is_empty() { None } else { Some(reader.any()?) };
    reader.finish()?;
    Ok((oid, parameters))
}

/// Fails only for parameters beside an algorithm that must have none (RFC 8410, 9881, 9909): whoever writes them has another mistake
/// coming, and tells a verifier that is strict something else than one that is not.
fn named(
    what: &'static str,
    oid: ObjectIdentifier,
    parameters: Option<(u8, &[u8])>,
) -> Result<Option<SignatureAlgorithm>, X509Error> {
    if oid == ID_RSASSA_PSS {
        let Some((tag::SEQUENCE, parameters)) = parameters else { return Ok(None) };
        return Ok(pss(parameters).ok().flatten());
    }
    let known = if oid == OIW_SHA1_WITH_RSA { Some(SignatureAlgorithm::RsaSha1) } else { SignatureAlgorithm::from_oid(&oid) };
    match known {
        Some(strict) if strict.forbids_parameters() && parameters.is_some() => {
            Err(X509Error::Parameters { what, algorithm: strict.name() })
        }
        known => Ok(known.filter(|_| matches!(parameters, None | Some((tag::NULL, []))))),
    }
}

/// RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, [1] maskGenAlgorithm DEFAULT mgf1SHA1, [2] saltLength
/// DEFAULT 20, [3] trailerField DEFAULT 1 } (RFC 4055 section 3.1). The defaults are all SHA-1, which we do not know with PSS.
fn pss(parameters: &[u8]) -> Result<Option<SignatureAlgorithm>, X509Error> {
    let mut fields = Reader::new("RSASSA-PSS parameters", parameters);
    let mut field = |number: u8, tag: u8| -> Result<Option<Tlv<'_>>, X509Error> {
        let Some(field) = fields.optional(tag::context_constructed(number))? else { return Ok(None) };
        let mut inner = field.reader();
        let value = inner.tag(tag)?;
        inner.finish()?;
        Ok(Some(value))
    };
    let hash = field(0, tag::SEQUENCE)?;
    let mask = field(1, tag::SEQUENCE)?;
    let salt = field(2, tag::INTEGER)?.map_or(Some(20), |salt| salt.unsigned());
    let trailer = field(3, tag::INTEGER)?.map_or(Some(1), |trailer| trailer.unsigned());
    fields.finish()?;
    let (Some(hash), Some(mask)) = (hash, mask) else { return Ok(None) };
    let (hash, _) = read(&hash)?;
    let mask_digest = match read(&mask)? {
        (Some(MGF1), Some(digest)) if digest.tag == tag::SEQUENCE => read(&digest)?.0,
        _ => return Ok(None),
    };
    if hash != mask_digest || trailer != Some(1) {
        return Ok(None);
    }
    let Some(digest) = hash.and_then(|oid| Digest::from_oid(&oid)) else { return Ok(None) };
    if salt != Some(digest.output_len() as u64) {
        return Ok(None);
    }
    Ok(SignatureAlgorithm::ALL.iter().copied().find(|a| a.is_pss() && a.digest() == Some(digest)))
}

#[cfg(test)]
mod tests {
    use der::{Any, Encode};

    use super::*;

    #[test]
    fn what_we_write_is_known_again() {
        for &algorithm in SignatureAlgorithm::ALL {
            let identifier = algorithm.identifier();
            assert_eq!(signature_algorithm(&identifier), Some(algorithm));
            let der = identifier.to_der().unwrap();
            let tlv = Reader::single("algorithm", &der, tag::SEQUENCE).unwrap();
            assert_eq!(read_signature_algorithm(&tlv).unwrap(), Some(algorithm));
        }
    }

    #[test]
    fn parameters_may_be_null_or_absent() {
        let with = |parameters| AlgorithmIdentifierOwned { oid: SignatureAlgorithm::RsaSha256.oid(), parameters };
        assert_eq!(signature_algorithm(&with(None)), Some(SignatureAlgorithm::RsaSha256));
        assert_eq!(signature_algorithm(&with(Some(Any::null()))), Some(SignatureAlgorithm::RsaSha256));
        assert_eq!(signature_algorithm(&with(Some(Any::new(der::Tag::Integer, [1]).unwrap()))), None);
    }

    #[test]
    fn null_is_refused_where_parameters_have_to_be_absent() {
        for &algorithm in SignatureAlgorithm::ALL.iter().filter(|a| a.forbids_parameters()) {
            let identifier = AlgorithmIdentifierOwned { oid: algorithm.oid(), parameters: Some(Any::null()) };
            assert_eq!(signature_algorithm(&identifier), None);
            let der = identifier.to_der().unwrap();
            let tlv = Reader::single("certificate", &der, tag::SEQUENCE).unwrap();
            let expected = X509Error::Parameters { what: "certificate", algorithm: algorithm.name() };
            assert_eq!(read_signature_algorithm(&tlv), Err(expected));
        }
    }

    #[test]
    fn pss_with_other_parameters_is_unknown() {
        let mut identifier = SignatureAlgorithm::RsaPssSha256.identifier();
        let mut value = identifier.parameters.unwrap().value().to_vec();
        // The salt length is the last octet.
        *value.last_mut().unwrap() = 20;
        identifier.parameters = Some(Any::new(der::Tag::Sequence, value).unwrap());
        assert_eq!(signature_algorithm(&identifier), None);
        identifier.parameters = Some(Any::new(der::Tag::Sequence, []).unwrap());
        assert_eq!(signature_algorithm(&identifier), None);
        identifier.parameters = None;
        assert_eq!(signature_algorithm(&identifier), None);
    }

    #[test]
    fn rsa_encryption_takes_the_digest_beside_it() {
        let identifier = AlgorithmIdentifierOwned { oid: RSA_ENCRYPTION, parameters: None };
        assert_eq!(signer_info_algorithm(&identifier, Digest::Sha512), Some(SignatureAlgorithm::RsaSha512));
        assert_eq!(signature_algorithm(&identifier), None);
        let named = SignatureAlgorithm::RsaSha1.identifier();
        assert_eq!(signer_info_algorithm(&named, Digest::Sha512), Some(SignatureAlgorithm::RsaSha1));
    }
}
