//! KEMRecipientInfo: the content key wrapped by a key that comes out of a key encapsulation (RFC 9629), with ML-KEM (RFC 9936).
//!
//! ```text
//! OtherRecipientInfo ::= [4] SEQUENCE { oriType OBJECT IDENTIFIER (id-ori-kem), oriValue KEMRecipientInfo }
//! KEMRecipientInfo ::= SEQUENCE { version INTEGER (0), rid RecipientIdentifier, kem AlgorithmIdentifier, kemct OCTET STRING,
//!                                 kdf AlgorithmIdentifier, kekLength INTEGER (1..65535), ukm [0] EXPLICIT OCTET STRING OPTIONAL,
//!                                 wrap AlgorithmIdentifier, encryptedKey OCTET STRING }
//! CMSORIforKEMOtherInfo ::= SEQUENCE { wrap AlgorithmIdentifier, kekLength INTEGER, ukm [0] EXPLICIT OCTET STRING OPTIONAL }
//! ```

use der::oid::ObjectIdentifier;
use zeroize::Zeroizing;

use super::recipient::RecipientIdentifier;
use crate::algorithm::{KeyAlgorithm, KeyWrap, MlKem};
use crate::crypto::kem::{Decapsulator, Encapsulated};
use crate::crypto::{CryptoError, provider};
use crate::scep::WireError;
use crate::scep::attributes::algorithm_identifier;
use crate::scep::issuer_and::IssuerAndSerialNumber;
use crate::x509::algorithm_identifier::read as read_algorithm;
use crate::x509::tlv::{Tlv, encode, encode_oid, encode_unsigned, tag};
use crate::x509::{Certificate, X509Error};

#[derive(Clone, Debug)]
pub(super) struct KemRecipient<'a> {
    identifier: RecipientIdentifier<'a>,
    kem: Tlv<'a>,
    ciphertext: &'a [u8],
    derivation: Tlv<'a>,
    kek_length: Tlv<'a>,
    /// With its tag and length.
    ukm: &'a [u8],
    wrap: Tlv<'a>,
    encrypted_key: &'a [u8],
}

impl<'a> KemRecipient<'a> {
    /// Reads an OtherRecipientInfo; `None` if it is not a KEMRecipientInfo.
    pub(super) fn read(info: Tlv<'a>) -> Result<Option<Self>, X509Error> {
        let mut other = info.reader();
        if other.tag(tag::OID)?.oid() != Some(ID_ORI_KEM) {
            return Ok(None);
        }
        let mut fields = other.tag(tag::SEQUENCE)?.reader();
        other.finish()?;
        fields.tag(tag::INTEGER)?;
        let identifier = RecipientIdentifier::read(&mut fields)?;
        let kem = fields.tag(tag::SEQUENCE)?;
        let ciphertext = fields.tag(tag::OCTET_STRING)?.value;
        let derivation = fields.tag(tag::SEQUENCE)?;
        let kek_length = fields.tag(tag::INTEGER)?;
        let ukm = match fields.optional(tag::context_constructed(0))? {
            Some(explicit) => {
                let mut inner = explicit.reader();
                inner.tag(tag::OCTET_STRING)?;
                inner.finish()?;
                explicit.raw
            }
            None => &[],
        };
        let wrap = fields.tag(tag::SEQUENCE)?;
        let encrypted_key = fields.tag(tag::OCTET_STRING)?.value;
        fields.finish()?;
        Ok(Some(Self { identifier, kem, ciphertext, derivation, kek_length, ukm, wrap, encrypted_key }))
    }

    /// Whether the recipient is the holder of this certificate.
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        self.identifier.names(certificate)
    }

    /// Gives the content key, or random octets. What can be read without the key has errors of its own: the sender knows it all.
    pub(super) fn unwrap(&self, key: &dyn Decapsulator, key_len: usize) -> Result<Zeroizing<Vec<u8>>, WireError> {
        let wrap = self.algorithms(key.key())?;
        let malformed = |why: &str| WireError::BadEnvelope(format!("KEMRecipientInfo: {why}"));
        if self.kek_length.unsigned() != Some(wrap.key_len() as u64) {
            return Err(malformed("a kekLength that the key wrap does not have"));
        }
        let secret = key.decapsulate(self.ciphertext).map_err(|error| match error {
            CryptoError::BadCiphertext => malformed("a ciphertext of another length than the key has"),
            _ => WireError::Envelope,
        })?;
        let kem = provider().kem;
        // The DER that the sender encoded is what went into its derivation: these three are taken as they came.
        let info = encode(tag::SEQUENCE, &[self.wrap.raw, self.kek_length.raw, self.ukm]);
        let wrapping_key = kem.hkdf_sha256(&secret, &info, wrap.key_len()).map_err(|_| WireError::Envelope)?;
        kem.unwrap(wrap, &wrapping_key, self.encrypted_key, key_len).map_err(|_| WireError::Envelope)
    }

    /// The key wrap, if everything is what a key of this kind goes with. Parameters have to be absent everywhere (RFC 9936 section
    /// 2.2, RFC 8619 section 2, RFC 3565 section 2.3.2).
    fn algorithms(&self, key: MlKem) -> Result<KeyWrap, WireError> {
        let named = |algorithm: &Tlv<'_>| match read_algorithm(algorithm) {
            Ok((Some(oid), None)) => Ok(oid),
            Ok((Some(oid), Some(_))) => Err(WireError::KeyTransportNotAllowed(format!("{oid} with parameters"))),
            _ => Err(WireError::BadEnvelope("KEMRecipientInfo: an algorithm that cannot be read".into())),
        };
        let kem = named(&self.kem)?;
        if key.oid() != kem {
            return Err(WireError::KeyTransportNotAllowed(format!("{kem} to a key of {key}")));
        }
        let derivation = named(&self.derivation)?;
        if derivation != ID_ALG_HKDF_WITH_SHA256 {
            return Err(WireError::KeyTransportNotAllowed(format!("key derivation {derivation}")));
        }
        let wrap = named(&self.wrap)?;
        match KeyWrap::from_oid(&wrap) {
            Some(known) if known.key_len() >= KeyWrap::for_kem(key).key_len() => Ok(known),
            _ => Err(WireError::KeyTransportNotAllowed(format!("key wrap {wrap} with {key}"))),
        }
    }
}

/// Wraps the content key for the ML-KEM key of a certificate.
pub(super) fn seal(certificate: &Certificate, content_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let Some(KeyAlgorithm::MlKem(key)) = certificate.key() else { return Err(CryptoError::BadKey) };
    let wrap = KeyWrap::for_kem(key);
    let crypto = provider().kem;
    let Encapsulated { ciphertext, secret } = crypto.encapsulate(certificate.spki())?;
    let kek_length = encode_unsigned(&[wrap.key_len() as u8]);
    let wrap_algorithm = algorithm_identifier(&wrap.oid(), &[]);
    let info = encode(tag::SEQUENCE, &[&wrap_algorithm, &kek_length]);
    let wrapping_key = crypto.hkdf_sha256(&secret, &info, wrap.key_len())?;
    let encrypted_key = crypto.wrap(wrap, &wrapping_key, content_key)?;
    let recipient = encode(
        tag::SEQUENCE,
        &[
            &[tag::INTEGER, 1, 0][..],
            &IssuerAndSerialNumber::from(certificate).to_der(),
            &algorithm_identifier(&key.oid(), &[]),
            &encode(tag::OCTET_STRING, &[ciphertext]),
            &algorithm_identifier(&ID_ALG_HKDF_WITH_SHA256, &[]),
            &kek_length,
            &wrap_algorithm,
            &encode(tag::OCTET_STRING, &[encrypted_key]),
        ],
    );
    Ok(encode(super::OTHER_RECIPIENT, &[encode_oid(&ID_ORI_KEM), recipient]))
}

/// id-ori-kem (RFC 9629 section 3).
const ID_ORI_KEM: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.13.3");

/// id-alg-hkdf-with-sha256 (RFC 8619 section 2).
const ID_ALG_HKDF_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.28");

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::algorithm::{ContentCipher, KeyTransport};
    use crate::crypto::ra::RaDecrypter;
    use crate::scep::attributes::NULL;
    use crate::scep::envelope::{Envelope, EnvelopePolicy, Recipient, seal as seal_envelope};
    use crate::scep::testing::{Identity, ra};
    use crate::x509::tlv::Reader;
    use crate::x509::{DistinguishedName, KeyUsage, builder};

    const ANY: EnvelopePolicy<'_> = EnvelopePolicy { ciphers: ContentCipher::ALL, oaep: true };

    /// An ML-KEM key, certified by an ML-DSA key.
    fn recipient(set: MlKem) -> RaDecrypter {
        let ca = Identity::new("CN=PQ CA", KeyAlgorithm::MlDsa44);
        let key = provider().kem.generate(set).unwrap();
        let template = builder::CertificateTemplate {
            serial: builder::random_serial(),
            issuer: ca.certificate.subject().clone(),
            subject: DistinguishedName::parse("CN=PQ RA", true).unwrap(),
            not_before: ca.certificate.not_before(),
            not_after: ca.certificate.not_after(),
            spki: key.spki().to_vec(),
            extensions: vec![builder::key_usage(KeyUsage::KEY_ENCIPHERMENT)],
        };
        let der = template.sign(&*ca.signer, crate::algorithm::SignatureAlgorithm::MlDsa44).unwrap();
        RaDecrypter { key: key.into(), certificate: Arc::new(Certificate::from_der(&der).unwrap()) }
    }

    fn sealed(to: &RaDecrypter) -> Vec<u8> {
        seal_envelope(b"a request", Recipient::Certificate(&to.certificate, KeyTransport::Pkcs1v15), ContentCipher::Aes256Cbc)
            .unwrap()
    }

    #[test]
    fn what_is_sealed_opens_again() {
        for &set in MlKem::ALL {
            let to = recipient(set);
            let der = sealed(&to);
            let opened = Envelope::read(&der).unwrap().open(&[ra().decrypter(), to], ANY).unwrap();
            assert_eq!(opened.content.as_slice(), b"a request");
            assert_eq!((opened.kem, opened.transport), (Some(set), None));
            assert_eq!(Envelope::read(&der).unwrap().open(&[ra().decrypter()], ANY).unwrap_err(), WireError::WrongRecipient);
        }
    }

    /// The fields of the KEMRecipientInfo of an envelope, and what is around them.
    fn taken_apart(der: &[u8]) -> Vec<Vec<u8>> {
        let at = der.windows(2).position(|w| w == [OTHER, 0x82]).unwrap();
        let mut rest = Reader::new("envelope", &der[at..]);
        let mut other = rest.any().unwrap().reader();
        other.any().unwrap();
        let mut fields = other.any().unwrap().reader();
        let mut found = Vec::new();
        while !fields.is_empty() {
            found.push(fields.any().unwrap().raw.to_vec());
        }
        found
    }

    const OTHER: u8 = super::super::OTHER_RECIPIENT;

    fn unwrapped(fields: &[Vec<u8>], to: &RaDecrypter) -> Result<Zeroizing<Vec<u8>>, WireError> {
        let info = encode(OTHER, &[encode_oid(&ID_ORI_KEM), encode(tag::SEQUENCE, fields)]);
        let info = Reader::single("recipient", &info, OTHER).unwrap();
        let crate::crypto::RecipientKey::Encapsulation(key) = &to.key else { panic!("an ML-KEM key") };
        KemRecipient::read(info).unwrap().unwrap().unwrap(&**key, 32)
    }

    #[test]
    fn what_does_not_fit_is_refused_before_the_key_is_used() {
        let to = recipient(MlKem::MlKem768);
        let fields = taken_apart(&sealed(&to));
        assert_eq!(fields.len(), 8);
        let good = unwrapped(&fields, &to).unwrap();
        let with = |at: usize, value: Vec<u8>| {
            let mut fields = fields.clone();
            fields[at] = value;
            unwrapped(&fields, &to)
        };
        let not_taken = |result: Result<_, WireError>| match result {
            Err(WireError::KeyTransportNotAllowed(why)) => why,
            other => panic!("{other:?}"),
        };
        let null = |oid: &ObjectIdentifier| algorithm_identifier(oid, &NULL);
        // NULL where nothing belongs, in each of the three.
        assert!(not_taken(with(2, null(&MlKem::MlKem768.oid()))).contains("with parameters"));
        assert!(not_taken(with(4, null(&ID_ALG_HKDF_WITH_SHA256))).contains("with parameters"));
        assert!(not_taken(with(6, null(&KeyWrap::Aes256.oid()))).contains("with parameters"));
        // Another key, another derivation (HKDF with SHA-512), a wrap that is too weak.
        assert!(not_taken(with(2, algorithm_identifier(&MlKem::MlKem512.oid(), &[]))).contains("ml-kem-768"));
        let sha512 = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.30");
        assert!(not_taken(with(4, algorithm_identifier(&sha512, &[]))).contains("key derivation"));
        assert!(not_taken(with(6, algorithm_identifier(&KeyWrap::Aes128.oid(), &[]))).contains("key wrap"));
        let bad = |result: Result<_, WireError>| matches!(result, Err(WireError::BadEnvelope(_)));
        assert!(bad(with(3, encode(tag::OCTET_STRING, &[vec![7; 1087]]))));
        assert!(bad(with(5, encode_unsigned(&[16]))));
        // What is only found out with the key: random octets, never an error.
        let ciphertext = encode(tag::OCTET_STRING, &[vec![7; 1088]]);
        let wrong = encode(tag::OCTET_STRING, &[vec![7; 40]]);
        let short = encode(tag::OCTET_STRING, &[vec![7; 24]]);
        for (at, value) in [(3, ciphertext), (7, wrong), (7, short)] {
            let random = with(at, value.clone()).unwrap();
            assert_eq!(random.len(), 32);
            assert!(random != good && random != with(at, value).unwrap());
        }
    }

    #[test]
    fn key_material_of_the_user_goes_into_the_derivation() {
        let to = recipient(MlKem::MlKem512);
        let Encapsulated { ciphertext, secret } = provider().kem.encapsulate(to.certificate.spki()).unwrap();
        let ukm = encode(tag::context_constructed(0), &[encode(tag::OCTET_STRING, &[b"salt"])]);
        let wrap = algorithm_identifier(&KeyWrap::Aes256.oid(), &[]);
        let length = encode_unsigned(&[32]);
        let kek = provider().kem.hkdf_sha256(&secret, &encode(tag::SEQUENCE, &[&wrap, &length, &ukm]), 32).unwrap();
        let key = provider().kem.wrap(KeyWrap::Aes256, &kek, &[9; 32]).unwrap();
        let mut fields = vec![
            vec![tag::INTEGER, 1, 0],
            IssuerAndSerialNumber::from(&*to.certificate).to_der(),
            algorithm_identifier(&MlKem::MlKem512.oid(), &[]),
            encode(tag::OCTET_STRING, &[ciphertext]),
            algorithm_identifier(&ID_ALG_HKDF_WITH_SHA256, &[]),
            length,
            ukm,
            wrap,
            encode(tag::OCTET_STRING, &[key]),
        ];
        assert_eq!(*unwrapped(&fields, &to).unwrap(), [9; 32]);
        fields.remove(6);
        assert_ne!(*unwrapped(&fields, &to).unwrap(), [9; 32]);
    }

    #[test]
    fn whatever_is_changed_has_one_face_or_cannot_be_read() {
        let to = recipient(MlKem::MlKem512);
        let der = sealed(&to);
        let keys = [to];
        // Every octet outside the ciphertext, and one in sixteen of it.
        for at in (0..der.len()).filter(|at| !(120..880).contains(at) || at % 16 == 0) {
            let mut changed = der.clone();
            changed[at] ^= 0x10;
            match Envelope::read(&changed).and_then(|envelope| envelope.open(&keys, ANY)) {
                Ok(opened) => assert!(opened.content.len() <= b"a request".len() + 16),
                Err(WireError::Envelope | WireError::WrongRecipient | WireError::BadEnvelope(_)) => {}
                Err(WireError::CipherNotAllowed(_) | WireError::KeyTransportNotAllowed(_)) => {}
                Err(other) => panic!("{other:?} at {at}"),
            }
        }
    }
}
