//! PKCS#10 certification requests (RFC 2986), read with tolerance, with their proof of possession checked.

use std::ops::Range;

use der::oid::ObjectIdentifier;
use zeroize::Zeroizing;

use super::alternative::{self, ALT_SIGNATURE_ALGORITHM, ALT_SIGNATURE_VALUE, SUBJECT_ALT_PUBLIC_KEY_INFO};
use super::extension::{self, oid};
use super::signed::{self, Signed};
use super::tlv::{Reader, Tlv, encode, encode_bits, encode_oid, encode_set_of, encode_unsigned, is_printable, tag};
use super::{DistinguishedName, Extension, KeyUsage, SubjectAltName, X509Error, algorithm_identifier, spki};
use crate::algorithm::{Digest, KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::{CryptoError, Signer};

const WHAT: &str = "certification request";

/// challengePassword (RFC 2985 section 5.4.1)
pub const CHALLENGE_PASSWORD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7");

/// extensionRequest (RFC 2985 section 5.4.2)
pub const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");

/// szOID_CERT_EXTENSIONS: what Microsoft's tools used before they took over extensionRequest; the same content.
const MICROSOFT_EXTENSIONS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.14");

/// A certification request whose proof of possession was checked: there is no other way to get one.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedCsr {
    /// Wiped when dropped, for the challenge password stands in it.
    der: Zeroizing<Vec<u8>>,
    spki: Range<usize>,
    subject: DistinguishedName,
    key: KeyAlgorithm,
    signature_algorithm: SignatureAlgorithm,
    challenge_password: Option<Zeroizing<String>>,
    challenge_at: Option<Range<usize>>,
    extensions: Vec<Extension>,
    subject_alt_names: Vec<SubjectAltName>,
    key_usage: Option<KeyUsage>,
    extended_key_usages: Vec<ObjectIdentifier>,
    alternative: Option<AlternativeKey>,
}

/// A second key of the subject, of which a request proved possession too (see [`alternative`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeKey {
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// The kind of the key.
    pub key: KeyAlgorithm,
    /// What it signed the request with.
    pub signature_algorithm: SignatureAlgorithm,
}

impl VerifiedCsr {
    /// Reads a request and checks its signature with its own key. Any version number and any order of attributes is taken;
    /// what the digest may be is the caller's decision ([`signature_algorithm`](Self::signature_algorithm)).
    ///
    /// Extensions that are asked for but cannot be read are refused, and so are doubled attributes: policy has to see the same
    /// thing as whoever issues. An alternative key comes with its own proof of possession, or the request is refused.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let signed = Signed::read(WHAT, der)?;
        let mut info = signed.content.reader();
        info.tag(tag::INTEGER)?;
        let subject = DistinguishedName::from_der(info.tag(tag::SEQUENCE)?.raw)?;
        let spki = info.tag(tag::SEQUENCE)?;
        let attributes = Attributes::read(&mut info)?;
        info.finish()?;

        let key = spki::key_algorithm(spki.raw)?;
        let signature_algorithm = match signed.algorithm()? {
            Some(known) => known,
            None => {
                return Err(match algorithm_identifier::read(&signed.algorithm)? {
                    (Some(oid), _) => X509Error::UnknownAlgorithm { what: WHAT, oid },
                    (None, _) => signed.algorithm.error("a signature algorithm that cannot be named"),
                });
            }
        };
        let value = |oid: &ObjectIdentifier| attributes.extensions.iter().find(|e| e.oid == *oid).map(|e| e.value.as_slice());
        let csr = VerifiedCsr {
            spki: spki.range(),
            subject,
            key,
            signature_algorithm,
            subject_alt_names: value(&oid::SUBJECT_ALT_NAME)
                .map(extension::read_subject_alt_names)
                .transpose()?
                .unwrap_or_default(),
            key_usage: value(&oid::KEY_USAGE).map(extension::read_key_usage).transpose()?,
            extended_key_usages: value(&oid::EXTENDED_KEY_USAGE)
                .map(extension::read_extended_key_usage)
                .transpose()?
                .unwrap_or_default(),
            challenge_password: attributes.challenge_password,
            challenge_at: attributes.challenge_at,
            extensions: attributes.extensions,
            alternative: None,
            der: Zeroizing::new(der.to_vec()),
        };
        // Last, because it costs the most.
        let verifier = crate::crypto::provider().verifier;
        match verifier.verify(signature_algorithm, spki.raw, signed.content.raw, signed.signature.bit_octets()?) {
            Ok(()) => {}
            Err(CryptoError::BadSignature) => return Err(X509Error::NoPossession),
            Err(other) => return Err(other.into()),
        }
        let alternative = attributes.alternative.map(|claimed| claimed.verify(&signed.content)).transpose()?;
        Ok(VerifiedCsr { alternative, ..csr })
    }

    /// The bytes, as they came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The request for the record: stars stand where the challengePassword stood, so its signature no longer verifies.
    pub fn without_challenge(&self) -> Vec<u8> {
        let mut der = self.der.to_vec();
        if let Some(challenge) = &self.challenge_at {
            der[challenge.clone()].fill(b'*');
        }
        der
    }

    /// The subject.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.der[self.spki.clone()]
    }

    /// The kind of the key.
    pub fn key(&self) -> KeyAlgorithm {
        self.key
    }

    /// What the request is signed with.
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.signature_algorithm
    }

    /// The challengePassword attribute (1.2.840.113549.1.9.7), of any string type.
    pub fn challenge_password(&self) -> Option<&str> {
        self.challenge_password.as_ref().map(|challenge| challenge.as_str())
    }

    /// The extensions of the extensionRequest attribute (1.2.840.113549.1.9.14).
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The requested subject alternative names.
    pub fn subject_alt_names(&self) -> &[SubjectAltName] {
        &self.subject_alt_names
    }

    /// The requested key usage.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.key_usage
    }

    /// The requested extended key usages.
    pub fn extended_key_usages(&self) -> &[ObjectIdentifier] {
        &self.extended_key_usages
    }

    /// The subject's alternative key, if the request has one. Possession of it is proved.
    pub fn alternative(&self) -> Option<&AlternativeKey> {
        self.alternative.as_ref()
    }
}

/// Leaves the challenge password out: it is a secret.
impl std::fmt::Debug for VerifiedCsr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedCsr")
            .field("subject", &self.subject.to_string())
            .field("key", &self.key)
            .field("signature_algorithm", &self.signature_algorithm)
            .field("extensions", &self.extensions)
            .field("challenge_password", &self.challenge_password.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}

/// What we look for among the attributes.
#[derive(Default)]
struct Attributes {
    challenge_password: Option<Zeroizing<String>>,
    challenge_at: Option<Range<usize>>,
    extensions: Vec<Extension>,
    alternative: Option<ClaimedKey>,
}

/// An alternative key that a request claims, with the proof.
struct ClaimedKey {
    spki: Vec<u8>,
    signature_algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
}

impl ClaimedKey {
    /// Out of the three attributes; any of them demands the others.
    fn read(key: Option<Tlv<'_>>, algorithm: Option<Tlv<'_>>, value: Option<Tlv<'_>>) -> Result<Option<Self>, X509Error> {
        let (key, algorithm, value) = match (key, algorithm, value) {
            (None, None, None) => return Ok(None),
            (Some(key), Some(algorithm), Some(value)) => (key, algorithm, value),
            _ => {
                return Err(X509Error::malformed(
                    WHAT,
                    "an alternative key without its proof of possession, or the other way round",
                ));
            }
        };
        for sequence in [&key, &algorithm] {
            if sequence.tag != tag::SEQUENCE {
                return Err(sequence.error("an attribute of an alternative key that is no SEQUENCE"));
            }
        }
        let signature_algorithm = algorithm_identifier::read_signature_algorithm(&algorithm)?
            .ok_or_else(|| algorithm.error("an alternative signature algorithm that we do not know"))?;
        Ok(Some(ClaimedKey { spki: key.raw.to_vec(), signature_algorithm, signature: value.bit_octets()?.to_vec() }))
    }

    /// Checks the proof over the CertificationRequestInfo.
    fn verify(self, info: &Tlv<'_>) -> Result<AlternativeKey, X509Error> {
        let ClaimedKey { spki, signature_algorithm, signature } = self;
        let key = spki::key_algorithm(&spki)?;
        let content = alternative::request_content(info)?;
        match crate::crypto::provider().verifier.verify(signature_algorithm, &spki, &content, &signature) {
            Ok(()) => Ok(AlternativeKey { spki, key, signature_algorithm }),
            Err(CryptoError::BadSignature) => Err(X509Error::NoAlternativePossession),
            Err(other) => Err(other.into()),
        }
    }
}

impl Attributes {
    /// `[0] IMPLICIT SET OF SEQUENCE { type OBJECT IDENTIFIER, values SET OF ANY }`; some leave the empty set out altogether.
    fn read(info: &mut Reader<'_>) -> Result<Self, X509Error> {
        let mut found = Attributes::default();
        let mut microsoft = None;
        let (mut key, mut algorithm, mut value_of_signature) = (None, None, None);
        let Some(set) = info.optional(tag::context_constructed(0))? else { return Ok(found) };
        let mut set = set.reader();
        let mut seen = Vec::new();
        while !set.is_empty() {
            let attribute = set.tag(tag::SEQUENCE)?;
            let mut fields = attribute.reader();
            let oid = fields.tag(tag::OID)?.oid();
            let values = fields.tag(tag::SET)?;
            fields.finish()?;
            let Some(
                oid @ (CHALLENGE_PASSWORD
                | EXTENSION_REQUEST
                | MICROSOFT_EXTENSIONS
                | SUBJECT_ALT_PUBLIC_KEY_INFO
                | ALT_SIGNATURE_ALGORITHM
                | ALT_SIGNATURE_VALUE),
            ) = oid
            else {
                continue;
            };
            if seen.contains(&oid) {
                return Err(attribute.error(format_args!("the attribute {oid} for the second time")));
            }
            seen.push(oid);
            let value = single_value(&values)?;
            if oid == CHALLENGE_PASSWORD {
                let text = value.text().ok_or_else(|| value.error("a challengePassword that is no string"))?;
                found.challenge_password = Some(Zeroizing::new(text));
                found.challenge_at = Some(value.value_range());
            } else if oid == SUBJECT_ALT_PUBLIC_KEY_INFO {
                key = Some(value);
            } else if oid == ALT_SIGNATURE_ALGORITHM {
                algorithm = Some(value);
            } else if oid == ALT_SIGNATURE_VALUE {
                value_of_signature = Some(value);
            } else if value.tag != tag::SEQUENCE {
                return Err(value.error("an extensionRequest that is no SEQUENCE"));
            } else if oid == EXTENSION_REQUEST {
                found.extensions = extension::read_extensions(&value)?;
            } else {
                microsoft = Some(extension::read_extensions(&value)?);
            }
        }
        // Both at once come from tools that say the same thing twice.
        for extension in microsoft.unwrap_or_default() {
            if !found.extensions.iter().any(|e| e.oid == extension.oid) {
                found.extensions.push(extension);
            }
        }
        found.alternative = ClaimedKey::read(key, algorithm, value_of_signature)?;
        Ok(found)
    }
}

/// The attributes that we look for have one value (RFC 2985 sections 5.4.1 and 5.4.2).
fn single_value<'a>(values: &Tlv<'a>) -> Result<Tlv<'a>, X509Error> {
    let mut reader = values.reader();
    let value = reader.any()?;
    reader.finish()?;
    Ok(value)
}

/// What a client asks for when it makes a request.
pub struct CsrTemplate<'a> {
    /// The subject.
    pub subject: &'a DistinguishedName,
    /// The names to put into the extensionRequest attribute.
    pub subject_alt_names: &'a [SubjectAltName],
    /// Extended key usages to ask for.
    pub extended_key_usages: &'a [ObjectIdentifier],
    /// Key usage to ask for.
    pub key_usage: Option<KeyUsage>,
    /// The challenge, if any.
    pub challenge_password: Option<&'a str>,
}

impl CsrTemplate<'_> {
    /// Builds and signs the request.
    pub fn sign(&self, signer: &dyn Signer, digest: Digest) -> Result<Vec<u8>, X509Error> {
        let algorithm = signature_algorithm_for(signer, digest)?;
        signed::sign(&self.info(signer, self.attributes()?), signer, algorithm)
    }

    /// Builds a request that proves an alternative key besides, and signs it with both.
    pub fn sign_with_alternative(
        &self,
        signer: &dyn Signer,
        digest: Digest,
        alternative: &dyn Signer,
    ) -> Result<Vec<u8>, X509Error> {
        let algorithm = signature_algorithm_for(signer, digest)?;
        let alternative_algorithm = *alternative.algorithms().first().ok_or(CryptoError::Unsupported)?;
        let identifier = signed::encode_identifier(&alternative_algorithm.identifier());
        let mut attributes = self.attributes()?;
        attributes.push(attribute(&SUBJECT_ALT_PUBLIC_KEY_INFO, alternative.spki().to_vec()));
        attributes.push(attribute(&ALT_SIGNATURE_ALGORITHM, identifier));
        let proof = alternative.sign(alternative_algorithm, &self.info(signer, attributes.clone()))?;
        attributes.push(attribute(&ALT_SIGNATURE_VALUE, encode_bits(&proof)));
        signed::sign(&self.info(signer, attributes), signer, algorithm)
    }

    /// CertificationRequestInfo, with its attributes as `[0] IMPLICIT SET OF Attribute`.
    fn info(&self, signer: &dyn Signer, attributes: Vec<Vec<u8>>) -> Vec<u8> {
        let mut set = encode_set_of(attributes);
        set[0] = tag::context_constructed(0);
        encode(tag::SEQUENCE, &[&encode_unsigned(&[0]), self.subject.der(), signer.spki(), &set])
    }

    fn attributes(&self) -> Result<Vec<Vec<u8>>, X509Error> {
        let mut attributes = Vec::new();
        if let Some(challenge) = self.challenge_password {
            // PrintableString is what old servers look for.
            let string_type = if is_printable(challenge) { tag::PRINTABLE_STRING } else { tag::UTF8_STRING };
            attributes.push(attribute(&CHALLENGE_PASSWORD, encode(string_type, &[challenge])));
        }
        let extensions = self.extensions()?;
        if !extensions.is_empty() {
            attributes.push(attribute(&EXTENSION_REQUEST, extension::encode_extensions(&extensions)));
        }
        Ok(attributes)
    }

    fn extensions(&self) -> Result<Vec<Extension>, X509Error> {
        let mut extensions = Vec::new();
        if let Some(usage) = self.key_usage {
            extensions.push(Extension { oid: oid::KEY_USAGE, critical: true, value: extension::key_usage(usage) });
        }
        if !self.extended_key_usages.is_empty() {
            let value = extension::extended_key_usage(self.extended_key_usages)?;
            extensions.push(Extension { oid: oid::EXTENDED_KEY_USAGE, critical: false, value });
        }
        if !self.subject_alt_names.is_empty() {
            // Critical where there is no subject (RFC 5280 section 4.2.1.6).
            let value = extension::subject_alt_names(self.subject_alt_names)?;
            extensions.push(Extension { oid: oid::SUBJECT_ALT_NAME, critical: self.subject.is_empty(), value });
        }
        Ok(extensions)
    }
}

fn attribute(oid: &ObjectIdentifier, value: Vec<u8>) -> Vec<u8> {
    encode(tag::SEQUENCE, &[encode_oid(oid), encode_set_of(vec![value])])
}

/// What this key signs with when the digest may be chosen: the algorithm with that digest, or the key's own where it names none.
pub(crate) fn signature_algorithm_for(signer: &dyn Signer, digest: Digest) -> Result<SignatureAlgorithm, X509Error> {
    let algorithms = signer.algorithms();
    let fits = |wanted| algorithms.iter().copied().find(|a| a.digest() == wanted);
    Ok(fits(Some(digest)).or_else(|| fits(None)).ok_or(CryptoError::Unsupported)?)
}
