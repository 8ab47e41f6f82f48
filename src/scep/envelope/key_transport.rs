//! KeyTransRecipientInfo: the content key encrypted to an RSA key (RFC 5652 section 6.2.1).
//!
//! ```text
//! KeyTransRecipientInfo ::= SEQUENCE { version, rid CHOICE { IssuerAndSerialNumber, [0] SubjectKeyIdentifier },
//!                                      keyEncryptionAlgorithm AlgorithmIdentifier, encryptedKey OCTET STRING }
//! ```

use der::oid::ObjectIdentifier;

use crate::algorithm::{Digest, KeyTransport};
use crate::crypto::{CryptoError, provider};
use crate::scep::WireError;
use crate::scep::attributes::{NULL, algorithm_identifier};
use crate::scep::issuer_and::IssuerAndSerialNumber;
use crate::x509::algorithm_identifier::{RSA_ENCRYPTION, read as read_algorithm};
use crate::x509::tlv::{Tlv, encode, tag};
use crate::x509::{Certificate, X509Error};

use super::recipient::RecipientIdentifier;

#[derive(Clone, Debug)]
pub(super) struct KeyTransRecipient<'a> {
    identifier: RecipientIdentifier<'a>,
    algorithm: Tlv<'a>,
    pub(super) encrypted_key: &'a [u8],
}

impl<'a> KeyTransRecipient<'a> {
    pub(super) fn read(info: Tlv<'a>) -> Result<Self, X509Error> {
        let mut fields = info.reader();
        fields.tag(tag::INTEGER)?;
        let identifier = RecipientIdentifier::read(&mut fields)?;
        let algorithm = fields.tag(tag::SEQUENCE)?;
        let encrypted_key = fields.tag(tag::OCTET_STRING)?.value;
        fields.finish()?;
        Ok(Self { identifier, algorithm, encrypted_key })
    }

    /// Whether the recipient is the holder of this certificate.
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        self.identifier.names(certificate)
    }

    /// How the key travels.
    pub(super) fn transport(&self) -> Result<KeyTransport, WireError> {
        let unknown = |oid| WireError::KeyTransportNotAllowed(WireError::algorithm(None, oid));
        let (oid, parameters) = read_algorithm(&self.algorithm).map_err(|_| unknown(None))?;
        match oid {
            Some(RSA_ENCRYPTION) => Ok(KeyTransport::Pkcs1v15),
            Some(RSAES_OAEP) => oaep_parameters(parameters).map_err(|_| unknown(oid))?.ok_or_else(|| unknown(oid)),
            other => Err(unknown(other)),
        }
    }
}

/// Encrypts the content key to the RSA key of a certificate.
pub(super) fn seal(certificate: &Certificate, transport: KeyTransport, key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let encrypted = provider().transport.wrap_key(transport, certificate.spki(), key)?;
    let algorithm = match transport {
        KeyTransport::Pkcs1v15 => algorithm_identifier(&RSA_ENCRYPTION, &NULL),
        KeyTransport::Oaep { digest, mgf1 } => {
            // DEFAULT values are left out (X.690 section 11.5): sha1 and mgf1SHA1.
            let hash = match digest {
                Digest::Sha1 => Vec::new(),
                other => encode(tag::context_constructed(0), &[algorithm_identifier(&other.oid(), &NULL)]),
            };
            let mask = match mgf1 {
                Digest::Sha1 => Vec::new(),
                other => {
                    let mask = algorithm_identifier(&ID_MGF1, &algorithm_identifier(&other.oid(), &NULL));
                    encode(tag::context_constructed(1), &[mask])
                }
            };
            algorithm_identifier(&RSAES_OAEP, &encode(tag::SEQUENCE, &[hash, mask]))
        }
    };
    let recipient = IssuerAndSerialNumber::from(certificate).to_der();
    Ok(encode(tag::SEQUENCE, &[&[tag::INTEGER, 1, 0][..], &recipient, &algorithm, &encode(tag::OCTET_STRING, &[encrypted])]))
}

/// RSAES-OAEP-params ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, [1] maskGenAlgorithm DEFAULT mgf1SHA1, [2] pSourceAlgorithm
/// DEFAULT pSpecifiedEmpty } (RFC 4055 section 4.1). A label that is not empty is not taken.
fn oaep_parameters(parameters: Option<Tlv<'_>>) -> Result<Option<KeyTransport>, X509Error> {
    let (mut digest, mut mgf1) = (Digest::Sha1, Digest::Sha1);
    let Some(parameters) = parameters.filter(|p| p.tag != tag::NULL) else {
        return Ok(Some(KeyTransport::Oaep { digest, mgf1 }));
    };
    let mut fields = parameters.reader();
    let mut field = |number: u8| -> Result<Option<Tlv<'_>>, X509Error> {
        let Some(explicit) = fields.optional(tag::context_constructed(number))? else { return Ok(None) };
        let mut inner = explicit.reader();
        let value = inner.tag(tag::SEQUENCE)?;
        inner.finish()?;
        Ok(Some(value))
    };
    let (hash, mask, source) = (field(0)?, field(1)?, field(2)?);
    fields.finish()?;
    let named = |algorithm: &Tlv<'_>| -> Result<Option<Digest>, X509Error> {
        Ok(read_algorithm(algorithm)?.0.and_then(|oid| Digest::from_oid(&oid)).filter(|digest| *digest != Digest::Md5))
    };
    if let Some(hash) = hash {
        let Some(known) = named(&hash)? else { return Ok(None) };
        digest = known;
    }
    if let Some(mask) = mask {
        let (Some(ID_MGF1), Some(inner)) = read_algorithm(&mask)? else { return Ok(None) };
        let Some(known) = named(&inner)? else { return Ok(None) };
        mgf1 = known;
    }
    if let Some(source) = source {
        let (Some(ID_P_SPECIFIED), Some(label)) = read_algorithm(&source)? else { return Ok(None) };
        if label.tag != tag::OCTET_STRING || !label.value.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(KeyTransport::Oaep { digest, mgf1 }))
}

/// id-RSAES-OAEP, id-mgf1, id-pSpecified (RFC 4055 sections 2.2, 4.1).
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const ID_MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const ID_P_SPECIFIED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.9");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::tlv::Reader;

    fn transport(algorithm: &[u8]) -> Result<KeyTransport, WireError> {
        let algorithm = Reader::single("algorithm", algorithm, tag::SEQUENCE).unwrap();
        KeyTransRecipient { identifier: RecipientIdentifier::KeyIdentifier(&[]), algorithm, encrypted_key: &[] }.transport()
    }

    #[test]
    fn parameters_of_oaep() {
        let sha256 = algorithm_identifier(&Digest::Sha256.oid(), &NULL);
        let hash = encode(tag::context_constructed(0), &[&sha256]);
        let mask = encode(tag::context_constructed(1), &[algorithm_identifier(&ID_MGF1, &sha256)]);
        let label = |label: &[u8]| {
            let source = algorithm_identifier(&ID_P_SPECIFIED, &encode(tag::OCTET_STRING, &[label]));
            encode(tag::context_constructed(2), &[source])
        };
        let oaep = |fields: &[&[u8]]| transport(&algorithm_identifier(&RSAES_OAEP, &encode(tag::SEQUENCE, fields)));
        let of = |digest, mgf1| Ok(KeyTransport::Oaep { digest, mgf1 });
        assert_eq!(oaep(&[]), of(Digest::Sha1, Digest::Sha1));
        assert_eq!(transport(&algorithm_identifier(&RSAES_OAEP, &[])), of(Digest::Sha1, Digest::Sha1));
        assert_eq!(oaep(&[&hash]), of(Digest::Sha256, Digest::Sha1));
        assert_eq!(oaep(&[&hash, &mask, &label(b"")]), of(Digest::Sha256, Digest::Sha256));
        assert!(oaep(&[&hash, &mask, &label(b"x")]).is_err());
        let md5 = encode(tag::context_constructed(0), &[algorithm_identifier(&Digest::Md5.oid(), &NULL)]);
        assert!(oaep(&[&md5]).is_err());
    }

    #[test]
    fn rsa_encryption_with_and_without_null() {
        assert_eq!(transport(&algorithm_identifier(&RSA_ENCRYPTION, &NULL)), Ok(KeyTransport::Pkcs1v15));
        assert_eq!(transport(&algorithm_identifier(&RSA_ENCRYPTION, &[])), Ok(KeyTransport::Pkcs1v15));
    }
}
