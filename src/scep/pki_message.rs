//! pkiMessage: CMS SignedData (RFC 8894 section 3.2, RFC 5652 section 5), read and written.
//!
//! ```text
//! SignedData ::= SEQUENCE { version, digestAlgorithms SET, encapContentInfo SEQUENCE { OID, [0] OCTET STRING OPTIONAL },
//!                           certificates [0] IMPLICIT OPTIONAL, crls [1] IMPLICIT OPTIONAL, signerInfos SET OF SignerInfo }
//! SignerInfo ::= SEQUENCE { version, sid, digestAlgorithm, signedAttrs [0] IMPLICIT, signatureAlgorithm, signature,
//!                           unsignedAttrs [1] IMPLICIT OPTIONAL }
//! ```

use der::oid::ObjectIdentifier;

use super::WireError;
use super::attributes::{Attributes, ID_DATA, NULL, SignedAttributes, algorithm_identifier};
use super::issuer_and::{same_name, same_serial};
use crate::algorithm::{Digest, KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::{CryptoError, Signer, provider};
use crate::x509::algorithm_identifier::{RSA_ENCRYPTION, read as read_algorithm, signer_info_algorithm};
use crate::x509::tlv::{Node, Reader, Tlv, encode, encode_oid, encode_set_of, tag};
use crate::x509::{Certificate, KeyUsage, spki};

/// A message that was read; its signature is not checked yet. Borrows from the DER that it was read from.
#[derive(Clone, Debug)]
pub struct PkiMessage<'a> {
    content: Option<&'a [u8]>,
    certificates: Vec<&'a [u8]>,
    signer: SignerIdentifier<'a>,
    digest_algorithm: Tlv<'a>,
    signed_attributes: Tlv<'a>,
    attributes: SignedAttributes<'a>,
    signature_algorithm: Tlv<'a>,
    signature: &'a [u8],
}

/// SignerIdentifier ::= CHOICE { issuerAndSerialNumber, subjectKeyIdentifier [0] }
#[derive(Clone, Copy, Debug)]
enum SignerIdentifier<'a> {
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    KeyIdentifier(&'a [u8]),
}

impl<'a> PkiMessage<'a> {
    /// Reads a ContentInfo with SignedData. The input is DER: [`crate::x509::ber::to_der`] makes it so.
    pub fn read(der: &'a [u8]) -> Result<Self, WireError> {
        let mut outer = Reader::new(WHAT, der);
        let info = outer.tag(tag::SEQUENCE)?;
        if outer.finish().is_err() {
            return Err(WireError::TrailingBytes);
        }
        let mut signed = content_of(&info, &ID_SIGNED_DATA)?.reader();
        signed.tag(tag::INTEGER)?;
        signed.tag(tag::SET)?;
        let content = encapsulated_content(signed.tag(tag::SEQUENCE)?)?;
        let certificates = certificate_set(&mut signed)?;
        signed.optional(tag::context_constructed(1))?;
        let mut signers = signed.tag(tag::SET)?.reader();
        signed.finish()?;
        let signer = signers.tag(tag::SEQUENCE)?;
        if !signers.is_empty() {
            return Err(WireError::Malformed("more than one signer".into()));
        }

        let mut fields = signer.reader();
        fields.tag(tag::INTEGER)?;
        let signer = signer_identifier(&mut fields)?;
        let digest_algorithm = fields.tag(tag::SEQUENCE)?;
        let signed_attributes = fields.tag(tag::context_constructed(0))?;
        let signature_algorithm = fields.tag(tag::SEQUENCE)?;
        let signature = fields.tag(tag::OCTET_STRING)?.value;
        fields.optional(tag::context_constructed(1))?;
        fields.finish()?;
        let attributes = SignedAttributes::read(signed_attributes.reader())?;
        Ok(PkiMessage {
            content,
            certificates,
            signer,
            digest_algorithm,
            signed_attributes,
            attributes,
            signature_algorithm,
            signature,
        })
    }

    /// The attributes of SCEP. They are worth nothing before [`verify`](Self::verify).
    pub fn attributes(&self) -> &Attributes {
        &self.attributes.scep
    }

    /// The content octets: the pkcsPKIEnvelope, or nothing.
    pub fn content(&self) -> Option<&'a [u8]> {
        self.content.filter(|content| !content.is_empty())
    }

    /// The certificates that came with the message, as they came.
    pub fn certificates(&self) -> &[&'a [u8]] {
        &self.certificates
    }

    /// The digest that the signer names, if it is one of ours.
    pub fn digest(&self) -> Option<Digest> {
        read_algorithm(&self.digest_algorithm).ok()?.0.and_then(|oid| Digest::from_oid(&oid))
    }

    /// The signature algorithm, with the digest that it is used with, if it is one of ours.
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        let identifier = der::Decode::from_der(self.signature_algorithm.raw).ok()?;
        signer_info_algorithm(&identifier, self.digest()?)
    }

    /// The certificate that the signer names, out of those that came with the message.
    pub fn signer_certificate(&self) -> Result<Certificate, WireError> {
        let mut unreadable = None;
        for der in &self.certificates {
            match Certificate::from_der(der) {
                Ok(certificate) if self.is_signed_with(&certificate) => return Ok(certificate),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        match unreadable {
            Some(error) => Err(WireError::BadSignerCertificate(error.to_string())),
            None => Err(WireError::NoSignerCertificate),
        }
    }

    /// Whether the signer names this certificate.
    pub fn is_signed_with(&self, certificate: &Certificate) -> bool {
        match self.signer {
            SignerIdentifier::IssuerAndSerial { issuer, serial } => {
                same_serial(certificate.serial(), serial) && same_name(certificate.issuer(), issuer)
            }
            SignerIdentifier::KeyIdentifier(id) => match certificate.subject_key_identifier() {
                Some(known) => known == id,
                None => spki::key_identifier(certificate.spki()).is_ok_and(|known| known == id),
            },
        }
    }

    /// The certificate that the reply is to be encrypted to, if the signer names another than its own (encryptionKeyPreference). It
    /// has to come with the message, and to be issued by the key of the signer: nobody else's certificate can be slipped in.
    ///
    /// Worth nothing before [`verify`](Self::verify).
    pub fn reply_certificate(&self, signer: &Certificate) -> Result<Option<Certificate>, WireError> {
        let Some(name) = &self.attributes.scep.reply_key else { return Ok(None) };
        let named = |certificate: &Certificate| {
            same_serial(certificate.serial(), &name.serial) && same_name(certificate.issuer(), &name.issuer)
        };
        if named(signer) {
            return Ok(None);
        }
        let bad = |why: &str| WireError::BadReplyKey(why.to_owned());
        let certificate = self
            .certificates
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok())
            .find(named)
            .ok_or_else(|| bad("the certificate did not come with the message"))?;
        if certificate.verify_signed_by(signer.spki()).is_err() {
            return Err(bad("the certificate is not issued by the signer's key"));
        }
        if certificate.key_usage().is_some_and(|usage| !usage.contains(KeyUsage::KEY_ENCIPHERMENT)) {
            return Err(bad("its key usage is not keyEncipherment"));
        }
        if !super::envelope::can_seal_to(certificate.spki()) {
            return Err(bad("nothing can be encrypted to its key"));
        }
        Ok(Some(certificate))
    }

    /// Checks the signature by the key of `certificate`, with one of the digests of `accept`.
    ///
    /// The signature has to be over the DER of the attributes (RFC 5652 section 5.4); clients exist that sign them in the order in
    /// which they send them. So both are tried: first as they came, then sorted.
    pub fn verify(&self, certificate: &Certificate, accept: &[Digest]) -> Result<(), WireError> {
        let digest = match self.digest() {
            Some(digest) if accept.contains(&digest) => digest,
            known => {
                let oid = read_algorithm(&self.digest_algorithm).ok().and_then(|(oid, _)| oid);
                return Err(WireError::DigestNotAllowed(WireError::algorithm(known.map(Digest::name), oid)));
            }
        };
        let Some(algorithm) = self.signature_algorithm() else {
            let oid = read_algorithm(&self.signature_algorithm).ok().and_then(|(oid, _)| oid);
            return Err(WireError::UnknownSignatureAlgorithm(WireError::algorithm(None, oid)));
        };
        // Some clients name another digest in the signature algorithm than beside it: that one has to be taken too.
        if let Some(other) = algorithm.digest().filter(|other| !accept.contains(other)) {
            return Err(WireError::DigestNotAllowed(other.name().to_owned()));
        }
        if algorithm.is_post_quantum() {
            self.check_post_quantum(algorithm, digest)?;
        }
        let Some(expected) = self.attributes.message_digest else { return Err(WireError::MissingAttribute("messageDigest")) };
        if self.attributes.content_type.is_some_and(|kind| kind != ID_DATA) {
            return Err(WireError::BadAttribute("contentType"));
        }
        let crypto = provider();
        if crypto.digester.digest(digest, self.content.unwrap_or_default()) != expected {
            return Err(WireError::BadSignature);
        }
        let verifies = |set: &[u8]| match crypto.verifier.verify(algorithm, certificate.spki(), set, self.signature) {
            Ok(()) => Ok(true),
            Err(CryptoError::BadSignature) => Ok(false),
            Err(CryptoError::Unsupported) => {
                Err(WireError::UnknownSignatureAlgorithm(WireError::algorithm(Some(algorithm.name()), None)))
            }
            Err(_) => Ok(false),
        };
        let mut as_sent = self.signed_attributes.raw.to_vec();
        as_sent[0] = tag::SET;
        if verifies(&as_sent)? {
            return Ok(());
        }
        let mut elements = Vec::new();
        let mut set = self.signed_attributes.reader();
        while !set.is_empty() {
            elements.push(set.any()?.raw.to_vec());
        }
        let sorted = encode_set_of(elements);
        if sorted != as_sent && verifies(&sorted)? { Ok(()) } else { Err(WireError::BadSignature) }
    }

    /// What holds of signers that no old client is: the digest is strong enough for the key (RFC 9882 section 3.3), and if the
    /// attributes say which algorithms were used, it is these (RFC 6211).
    fn check_post_quantum(&self, algorithm: SignatureAlgorithm, digest: Digest) -> Result<(), WireError> {
        if !algorithm.only_key().is_some_and(|key| suitable_digests(key).contains(&digest)) {
            return Err(WireError::DigestNotAllowed(format!("{digest} with {algorithm}")));
        }
        let Some(protection) = self.attributes.protection else { return Ok(()) };
        let differs = || WireError::BadAttribute("cmsAlgorithmProtection");
        let read = || -> Option<bool> {
            let mut fields = Reader::single("cmsAlgorithmProtection", protection, tag::SEQUENCE).ok()?.reader();
            let digest = read_algorithm(&fields.tag(tag::SEQUENCE).ok()?).ok()?.0?;
            let signature = fields.tag(tag::context_constructed(1)).ok()?;
            fields.finish().ok()?;
            let signature = signature.reader().tag(tag::OID).ok()?.oid()?;
            Some(Digest::from_oid(&digest) == self.digest() && signature == algorithm.oid())
        };
        if read() == Some(true) { Ok(()) } else { Err(differs()) }
    }
}

/// What goes into a message that is to be signed.
pub struct MessageTemplate<'a> {
    /// The eContent: a pkcsPKIEnvelope, or nothing. Nothing is written as a zero-length OCTET STRING, which every client that was
    /// measured takes and certmonger needs.
    pub content: &'a [u8],
    /// The attributes of SCEP.
    pub attributes: &'a Attributes,
    /// The digest.
    pub digest: Digest,
    /// The key.
    pub signer: &'a dyn Signer,
    /// The certificate that names the key.
    pub signer_certificate: &'a Certificate,
    /// The certificates that go along, DER, in this order.
    pub certificates: &'a [&'a [u8]],
}

impl MessageTemplate<'_> {
    /// Signs, and gives the DER ContentInfo.
    pub fn sign(&self) -> Result<Vec<u8>, CryptoError> {
        let algorithm = signature_algorithm(self.signer.key(), self.digest).ok_or(CryptoError::Unsupported)?;
        let message_digest = provider().digester.digest(self.digest, self.content);
        // RFC 5754 section 2 takes both; RFC 8419 section 3.1 and RFC 9882 section 3.3 have no parameters.
        let parameters: &[u8] = if self.signer.key().only_signature().is_some() { &[] } else { &NULL };
        let digest_algorithm = algorithm_identifier(&self.digest.oid(), parameters);
        let protection = algorithm.is_post_quantum().then(|| {
            let mut signature = algorithm_identifier(&algorithm.oid(), &[]);
            signature[0] = tag::context_constructed(1);
            encode(tag::SEQUENCE, &[&digest_algorithm, &signature])
        });
        let mut attributes = SignedAttributes::write(self.attributes, &message_digest, protection);
        let signature = self.signer.sign(algorithm, &attributes)?;
        attributes[0] = tag::context_constructed(0);

        // RFC 3370 section 3.2: rsaEncryption. strongSwan and others know no other name for it.
        let signature_algorithm = match self.signer.key() {
            KeyAlgorithm::Rsa(_) => algorithm_identifier(&RSA_ENCRYPTION, &NULL),
            _ => algorithm_identifier(&algorithm.oid(), &[]),
        };
        let issuer_and_serial = encode(
            tag::SEQUENCE,
            &[self.signer_certificate.issuer().der(), &encode(tag::INTEGER, &[self.signer_certificate.serial()])],
        );
        let signer_info = encode(
            tag::SEQUENCE,
            &[
                &[tag::INTEGER, 1, 1][..],
                &issuer_and_serial,
                &digest_algorithm,
                &attributes,
                &signature_algorithm,
                &encode(tag::OCTET_STRING, &[&signature]),
            ],
        );
        // The content may have a large certificate in it, which is copied this once.
        let content = Node::value(tag::OCTET_STRING, [self.content.into()]);
        let content = Node::value(tag::context_constructed(0), [content]);
        let certificates = match self.certificates {
            [] => Node::Octets(&[]),
            some => Node::value(tag::context_constructed(0), some.iter().copied().map(Node::from).collect::<Vec<_>>()),
        };
        let signed_data = Node::value(
            tag::SEQUENCE,
            [
                Node::Octets(&[tag::INTEGER, 1, 1]),
                encode(tag::SET, &[digest_algorithm.as_slice()]).into(),
                Node::value(tag::SEQUENCE, [encode_oid(&ID_DATA).into(), content]),
                certificates,
                encode(tag::SET, &[&signer_info]).into(),
            ],
        );
        Ok(content_info(&ID_SIGNED_DATA, signed_data))
    }
}

/// The signature algorithm of a key with a digest: PKCS#1 v1.5 for RSA, which is all that SCEP clients know.
pub fn signature_algorithm(key: KeyAlgorithm, digest: Digest) -> Option<SignatureAlgorithm> {
    Some(match (key, digest) {
        (KeyAlgorithm::Rsa(_), Digest::Md5) => SignatureAlgorithm::RsaMd5,
        (KeyAlgorithm::Rsa(_), Digest::Sha1) => SignatureAlgorithm::RsaSha1,
        (KeyAlgorithm::Rsa(_), Digest::Sha256) => SignatureAlgorithm::RsaSha256,
        (KeyAlgorithm::Rsa(_), Digest::Sha384) => SignatureAlgorithm::RsaSha384,
        (KeyAlgorithm::Rsa(_), Digest::Sha512) => SignatureAlgorithm::RsaSha512,
        (KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521, Digest::Sha256) => {
            SignatureAlgorithm::EcdsaSha256
        }
        (KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521, Digest::Sha384) => {
            SignatureAlgorithm::EcdsaSha384
        }
        (KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521, Digest::Sha512) => {
            SignatureAlgorithm::EcdsaSha512
        }
        (key, digest) => return key.only_signature().filter(|_| suitable_digests(key).contains(&digest)),
    })
}

/// The digests of the content that go with a key whose signatures leave no choice, the one to prefer first: RFC 8419 section 3.1 for
/// Ed25519, RFC 9882 section 3.3 for ML-DSA, the digest of the composite itself for composites, and for SLH-DSA those that are as
/// strong as the key.
pub fn suitable_digests(key: KeyAlgorithm) -> &'static [Digest] {
    match key {
        KeyAlgorithm::MlDsa44 => &[Digest::Sha512, Digest::Sha384, Digest::Sha256],
        KeyAlgorithm::MlDsa65 => &[Digest::Sha512, Digest::Sha384],
        KeyAlgorithm::SlhDsa(set) if set.nist_level() == 1 => &[Digest::Sha512, Digest::Sha384, Digest::Sha256],
        KeyAlgorithm::SlhDsa(set) if set.nist_level() == 3 => &[Digest::Sha512, Digest::Sha384],
        KeyAlgorithm::Composite(composite) => match composite.pre_hash() {
            Digest::Sha256 => &[Digest::Sha256],
            _ => &[Digest::Sha512],
        },
        _ => &[Digest::Sha512],
    }
}

/// The digest to sign with unless the other side wants another: SHA-256 where the key goes with any (RFC 8894 section 3.5.2).
pub fn preferred_digest(key: KeyAlgorithm) -> Digest {
    match key.only_signature() {
        Some(_) => suitable_digests(key)[0],
        None => Digest::Sha256,
    }
}

/// ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, content [0] EXPLICIT ANY } (RFC 5652 section 3)
pub(crate) fn content_info<'a>(kind: &ObjectIdentifier, content: impl Into<Node<'a>>) -> Vec<u8> {
    let explicit = Node::value(tag::context_constructed(0), [content.into()]);
    Node::value(tag::SEQUENCE, [encode_oid(kind).into(), explicit]).to_der()
}

/// The content of a ContentInfo, which has to be of this kind.
fn content_of<'a>(info: &Tlv<'a>, kind: &ObjectIdentifier) -> Result<Tlv<'a>, WireError> {
    let (found, content) = any_content(info)?;
    if found == Some(*kind) {
        Ok(content)
    } else {
        Err(WireError::Malformed(format!("content type {}", WireError::algorithm(None, found))))
    }
}

/// The kind and the content (a SEQUENCE) of a ContentInfo.
pub(crate) fn any_content<'a>(info: &Tlv<'a>) -> Result<(Option<ObjectIdentifier>, Tlv<'a>), WireError> {
    let mut fields = info.reader();
    let kind = fields.tag(tag::OID)?.oid();
    let mut explicit = fields.tag(tag::context_constructed(0))?.reader();
    fields.finish()?;
    let content = explicit.tag(tag::SEQUENCE)?;
    explicit.finish()?;
    Ok((kind, content))
}

/// EncapsulatedContentInfo ::= SEQUENCE { eContentType, eContent [0] EXPLICIT OCTET STRING OPTIONAL }
pub(crate) fn encapsulated_content<'a>(info: Tlv<'a>) -> Result<Option<&'a [u8]>, WireError> {
    let mut fields = info.reader();
    fields.tag(tag::OID)?;
    let content = match fields.optional(tag::context_constructed(0))? {
        Some(explicit) => {
            let mut explicit = explicit.reader();
            let content = explicit.tag(tag::OCTET_STRING)?.value;
            explicit.finish()?;
            Some(content)
        }
        None => None,
    };
    fields.finish()?;
    Ok(content)
}

/// certificates [0] IMPLICIT CertificateSet OPTIONAL. Choices other than a certificate are passed over.
pub(crate) fn certificate_set<'a>(fields: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, WireError> {
    let mut certificates = Vec::new();
    if let Some(set) = fields.optional(tag::context_constructed(0))? {
        let mut set = set.reader();
        while !set.is_empty() {
            let choice = set.any()?;
            if choice.tag == tag::SEQUENCE {
                if certificates.len() == MAX_CERTIFICATES {
                    return Err(WireError::Malformed("too many certificates".into()));
                }
                certificates.push(choice.raw);
            }
        }
    }
    Ok(certificates)
}

fn signer_identifier<'a>(fields: &mut Reader<'a>) -> Result<SignerIdentifier<'a>, WireError> {
    if let Some(id) = fields.optional(tag::context(0))? {
        return Ok(SignerIdentifier::KeyIdentifier(id.value));
    }
    let mut pair = fields.tag(tag::SEQUENCE)?.reader();
    let issuer = pair.tag(tag::SEQUENCE)?.raw;
    let serial = pair.tag(tag::INTEGER)?.value;
    pair.finish()?;
    Ok(SignerIdentifier::IssuerAndSerial { issuer, serial })
}

const WHAT: &str = "pkiMessage";

/// Most certificates that are looked at in one message.
const MAX_CERTIFICATES: usize = 32;

/// id-signedData (RFC 5652 section 5.1).
pub(crate) const ID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scep::MessageType;
    use crate::scep::testing::{Identity, device, ec_device, message, request_attributes};
    use crate::x509::ber::to_der;

    const ALL: &[Digest] = Digest::ALL;

    fn round_trip(by: &Identity, digest: Digest, content: &[u8]) {
        let attributes = request_attributes(MessageType::PkcsReq);
        let der = message(by, content, &attributes, digest);
        let read = PkiMessage::read(&der).unwrap();
        assert_eq!(read.attributes(), &attributes);
        assert_eq!(read.content(), (!content.is_empty()).then_some(content));
        assert_eq!(read.digest(), Some(digest));
        let certificate = read.signer_certificate().unwrap();
        assert_eq!(certificate, *by.certificate);
        assert_eq!(read.verify(&certificate, ALL), Ok(()));
        let others: Vec<Digest> = ALL.iter().copied().filter(|other| *other != digest).collect();
        assert_eq!(read.verify(&certificate, &others), Err(WireError::DigestNotAllowed(digest.name().to_owned())));
    }

    #[test]
    fn messages_of_all_keys_and_digests() {
        for digest in [Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            round_trip(device(), digest, b"content");
        }
        round_trip(ec_device(), Digest::Sha256, b"content");
        round_trip(ec_device(), Digest::Sha512, b"");
        round_trip(&Identity::new("CN=meter", KeyAlgorithm::MlDsa65), Digest::Sha512, b"content");
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let der = message(device(), b"some content", &request_attributes(MessageType::PkcsReq), Digest::Sha256);
        let certificate = &device().certificate;
        let mut verified = 0;
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            // What is not under the signature (version numbers, the certificates, unused parameters) may change unnoticed.
            if let Ok(read) = PkiMessage::read(&changed)
                && read.verify(certificate, &[Digest::Sha256]).is_ok()
            {
                verified += 1;
                assert_eq!(read.content(), Some(&b"some content"[..]));
                assert_eq!(read.attributes(), &request_attributes(MessageType::PkcsReq));
            }
        }
        assert!(verified > certificate.der().len() / 2);
    }

    #[test]
    fn truncated_and_longer_messages_are_refused() {
        let der = message(ec_device(), b"content", &request_attributes(MessageType::PkcsReq), Digest::Sha256);
        for len in 0..der.len() {
            assert!(PkiMessage::read(&der[..len]).is_err(), "{len}");
        }
        assert_eq!(PkiMessage::read(&[der.as_slice(), b"x"].concat()).unwrap_err(), WireError::TrailingBytes);
    }

    #[test]
    fn attributes_signed_in_the_order_of_sending() {
        // A client that neither sorts its attributes nor signs them sorted.
        let signed = message(ec_device(), b"content", &request_attributes(MessageType::PkcsReq), Digest::Sha256);
        let read = PkiMessage::read(&signed).unwrap();
        let mut elements = Vec::new();
        let mut set = read.signed_attributes.reader();
        while !set.is_empty() {
            elements.push(set.any().unwrap().raw);
        }
        elements.reverse();
        let reversed = encode(tag::SET, &elements);
        let as_sent = ec_device().signer.sign(SignatureAlgorithm::EcdsaSha256, &reversed).unwrap();
        let signature = encode(tag::OCTET_STRING, &[&as_sent]);
        let mut unsorted = reversed.clone();
        unsorted[0] = tag::context_constructed(0);
        let mut message = read.clone();
        message.signed_attributes = Reader::single("attributes", &unsorted, tag::context_constructed(0)).unwrap();
        // Sent reversed, signed sorted: what RFC 5652 asks for.
        assert_eq!(message.verify(&ec_device().certificate, ALL), Ok(()));
        // Sent reversed, signed reversed.
        message.signature = Reader::single("signature", &signature, tag::OCTET_STRING).unwrap().value;
        assert_eq!(message.verify(&ec_device().certificate, ALL), Ok(()));
    }

    #[test]
    fn a_signer_without_its_certificate_is_known_by_name() {
        let attributes = request_attributes(MessageType::CertRep);
        let der = MessageTemplate {
            content: b"",
            attributes: &attributes,
            digest: Digest::Sha256,
            signer: &*device().signer,
            signer_certificate: &device().certificate,
            certificates: &[],
        }
        .sign()
        .unwrap();
        let read = PkiMessage::read(&der).unwrap();
        assert_eq!(read.signer_certificate(), Err(WireError::NoSignerCertificate));
        assert!(read.is_signed_with(&device().certificate));
        assert!(!read.is_signed_with(&ec_device().certificate));
        assert_eq!(read.verify(&device().certificate, ALL), Ok(()));
        assert_eq!(read.verify(&ec_device().certificate, ALL), Err(WireError::BadSignature));
    }

    #[test]
    fn what_is_written_is_der() {
        let der = message(device(), b"content", &request_attributes(MessageType::PkcsReq), Digest::Sha256);
        assert!(matches!(to_der(&der).unwrap(), std::borrow::Cow::Borrowed(_)));
    }
}
