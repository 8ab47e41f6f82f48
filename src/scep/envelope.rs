//! pkcsPKIEnvelope: CMS EnvelopedData (RFC 8894 section 3.3, RFC 5652 section 6) and AuthEnvelopedData (RFC 5083), opened and sealed.
//!
//! ```text
//! EnvelopedData ::= SEQUENCE { version, originatorInfo [0] OPTIONAL, recipientInfos SET OF RecipientInfo,
//!                              encryptedContentInfo SEQUENCE { OID, AlgorithmIdentifier, [0] IMPLICIT OCTET STRING },
//!                              unprotectedAttrs [1] OPTIONAL }
//! AuthEnvelopedData ::= SEQUENCE { ..., authEncryptedContentInfo, authAttrs [1] OPTIONAL, mac OCTET STRING, ... }
//! ```
//!
//! Opening is where an attacker would like to learn something. So the recipient is found by name and never by trial; the key comes
//! out of a decryption that cannot fail (implicit rejection); and whatever does not fit after that is one and the same
//! [`WireError::Envelope`].

use std::sync::Arc;

use der::oid::ObjectIdentifier;
use zeroize::Zeroizing;

use super::WireError;
use super::attributes::{ID_DATA, algorithm_identifier};
use super::pki_message::{any_content, content_info};
use crate::algorithm::{ContentCipher, KeyTransport, MlKem};
use crate::crypto::ra::RaDecrypter;
use crate::crypto::{CryptoError, RecipientKey, provider};
use crate::x509::algorithm_identifier::read as read_algorithm;
use crate::x509::tlv::{Node, Reader, Tlv, encode, encode_oid, tag};
use crate::x509::{Certificate, X509Error};

mod kem;
mod key_transport;
mod password;
mod recipient;

use kem::KemRecipient;
use key_transport::KeyTransRecipient;
use password::PasswordRecipient;

/// An envelope that was read and not opened yet. Borrows from the DER that it was read from.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    key_transport: Vec<KeyTransRecipient<'a>>,
    kem: Vec<KemRecipient<'a>>,
    password: Vec<PasswordRecipient<'a>>,
    cipher: Result<ContentCipher, Option<ObjectIdentifier>>,
    iv: &'a [u8],
    encrypted: &'a [u8],
    mac: &'a [u8],
}

/// What an endpoint takes.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopePolicy<'a> {
    /// Content ciphers.
    pub ciphers: &'a [ContentCipher],
    /// Whether RSAES-OAEP is taken.
    pub oaep: bool,
}

/// An envelope that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What was in it.
    pub content: Zeroizing<Vec<u8>>,
    /// How it was encrypted.
    pub cipher: ContentCipher,
    /// How its key travelled, if it was encrypted to an RSA key.
    pub transport: Option<KeyTransport>,
    /// The kind of the key that a secret was encapsulated to, if it was that. With neither, it was encrypted with a password.
    pub kem: Option<MlKem>,
}

impl<'a> Envelope<'a> {
    /// Reads a ContentInfo with EnvelopedData or AuthEnvelopedData. The input is DER: [`crate::x509::ber::to_der`] makes it so.
    pub fn read(der: &'a [u8]) -> Result<Self, WireError> {
        Self::read_inner(der).map_err(|error| WireError::BadEnvelope(error.to_string()))
    }

    fn read_inner(der: &'a [u8]) -> Result<Self, X509Error> {
        let info = Reader::single(WHAT, der, tag::SEQUENCE)?;
        let malformed = |why: &str| X509Error::malformed(WHAT, why);
        let (kind, content) = any_content(&info).map_err(|error| malformed(&error.to_string()))?;
        let authenticated = match kind {
            Some(ID_ENVELOPED_DATA) => false,
            Some(ID_AUTH_ENVELOPED_DATA) => true,
            _ => return Err(malformed("another content type")),
        };
        let mut fields = content.reader();
        fields.tag(tag::INTEGER)?;
        fields.optional(tag::context_constructed(0))?;
        let mut recipients = fields.tag(tag::SET)?.reader();
        let mut encrypted_content = fields.tag(tag::SEQUENCE)?.reader();
        let mac = if authenticated {
            // Attributes would be additional authenticated data; nobody sends them.
            let mac = fields.tag(tag::OCTET_STRING)?.value;
            fields.optional(tag::context_constructed(2))?;
            mac
        } else {
            fields.optional(tag::context_constructed(1))?;
            &[]
        };
        fields.finish()?;

        let (mut key_transport, mut kem, mut password) = (Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        while !recipients.is_empty() {
            let recipient = recipients.any()?;
            count += 1;
            if count > MAX_RECIPIENTS {
                return Err(malformed("too many recipients"));
            }
            match recipient.tag {
                tag::SEQUENCE => key_transport.push(KeyTransRecipient::read(recipient)?),
                PASSWORD_RECIPIENT => password.push(PasswordRecipient::read(recipient)?),
                OTHER_RECIPIENT => kem.extend(KemRecipient::read(recipient)?),
                // Key agreement, shared keys and others: never for us.
                _ => {}
            }
        }

        encrypted_content.tag(tag::OID)?;
        let algorithm = encrypted_content.tag(tag::SEQUENCE)?;
        let encrypted = encrypted_content.tag(tag::context(0))?.value;
        encrypted_content.finish()?;
        let (oid, parameters) = read_algorithm(&algorithm)?;
        let (cipher, iv) = match oid.as_ref().and_then(ContentCipher::from_oid) {
            Some(cipher) => (Ok(cipher), initialisation_vector(cipher, parameters).ok_or_else(|| malformed("no proper IV"))?),
            None => (Err(oid), &[][..]),
        };
        if let Ok(cipher) = cipher
            && authenticated
            && !(cipher.is_aead() && mac.len() == TAG_LEN)
        {
            return Err(malformed("an authenticated envelope without a cipher and code to match"));
        }
        Ok(Envelope { key_transport, kem, password, cipher, iv, encrypted, mac })
    }

    /// The content cipher, if it is one of ours.
    pub fn cipher(&self) -> Option<ContentCipher> {
        self.cipher.ok()
    }

    /// Whether it can be opened with a password.
    pub fn takes_password(&self) -> bool {
        !self.password.is_empty()
    }

    /// The certificate among those of `keys` that [`open`](Self::open) would open by: found by name, whether it opens or not.
    pub fn recipient<'k>(&self, keys: &'k [RaDecrypter]) -> Option<&'k Arc<Certificate>> {
        let encapsulates = |key: &&RaDecrypter| matches!(key.key, RecipientKey::Encapsulation(_));
        let by_kem = self.kem.iter().find_map(|one| keys.iter().filter(encapsulates).find(|key| one.names(&key.certificate)));
        let by_transport = || {
            let recipients = self.key_transport.iter();
            recipients
                .into_iter()
                .find_map(|one| keys.iter().filter(|key| !encapsulates(key)).find(|key| one.names(&key.certificate)))
        };
        by_kem.or_else(by_transport).map(|key| &key.certificate)
    }

    /// Opens with that one of `keys` whose certificate a recipient names.
    pub fn open(&self, keys: &[RaDecrypter], policy: EnvelopePolicy<'_>) -> Result<Opened, WireError> {
        let cipher = self.accepted_cipher(policy)?;
        // A recipient that names an RSA certificate by key transport, or an ML-KEM certificate by encapsulation: anything else is for
        // nobody.
        let by_encapsulation = self.kem.iter().find_map(|recipient| {
            keys.iter().filter(|key| recipient.names(&key.certificate)).find_map(|key| match &key.key {
                RecipientKey::Encapsulation(key) => Some((recipient, key)),
                RecipientKey::Transport(_) => None,
            })
        });
        if let Some((recipient, key)) = by_encapsulation {
            let content_key = recipient.unwrap(&**key, cipher.key_len())?;
            let content = self.decrypt(cipher, &content_key)?;
            return Ok(Opened { content, cipher, transport: None, kem: Some(key.key()) });
        }
        let (recipient, key) = self
            .key_transport
            .iter()
            .find_map(|recipient| {
                keys.iter().filter(|key| recipient.names(&key.certificate)).find_map(|key| match &key.key {
                    RecipientKey::Transport(key) => Some((recipient, key)),
                    RecipientKey::Encapsulation(_) => None,
                })
            })
            .ok_or(WireError::WrongRecipient)?;
        let transport = recipient.transport()?;
        if !policy.oaep && transport != KeyTransport::Pkcs1v15 {
            return Err(WireError::KeyTransportNotAllowed("rsaes-oaep".into()));
        }
        // From here on, one error for everything.
        let content_key =
            key.unwrap_key(transport, recipient.encrypted_key, cipher.key_len()).map_err(|_| WireError::Envelope)?;
        let content = self.decrypt(cipher, &content_key)?;
        Ok(Opened { content, cipher, transport: Some(transport), kem: None })
    }

    /// Opens with a password (RFC 5652 section 6.2.4).
    pub fn open_with_password(&self, password: &str, policy: EnvelopePolicy<'_>) -> Result<Opened, WireError> {
        let cipher = self.accepted_cipher(policy)?;
        let recipient = self.password.first().ok_or(WireError::WrongRecipient)?;
        let content_key = recipient.unwrap(password, cipher.key_len())?;
        let content = self.decrypt(cipher, &content_key)?;
        Ok(Opened { content, cipher, transport: None, kem: None })
    }

    fn accepted_cipher(&self, policy: EnvelopePolicy<'_>) -> Result<ContentCipher, WireError> {
        match self.cipher {
            Ok(cipher) if policy.ciphers.contains(&cipher) => Ok(cipher),
            Ok(cipher) => Err(WireError::CipherNotAllowed(cipher.name().to_owned())),
            Err(oid) => Err(WireError::CipherNotAllowed(WireError::algorithm(None, oid))),
        }
    }

    fn decrypt(&self, cipher: ContentCipher, key: &[u8]) -> Result<Zeroizing<Vec<u8>>, WireError> {
        let ciphers = provider().ciphers;
        let opened = if self.mac.is_empty() {
            ciphers.decrypt(cipher, key, self.iv, self.encrypted)
        } else {
            ciphers.decrypt(cipher, key, self.iv, &[self.encrypted, self.mac].concat())
        };
        opened.map_err(|_| WireError::Envelope)
    }
}

/// To whom an envelope is sealed.
#[derive(Clone, Copy, Debug)]
pub enum Recipient<'a> {
    /// To the key of this certificate: RSA by this key transport, ML-KEM by encapsulation.
    Certificate(&'a Certificate, KeyTransport),
    /// To whoever knows this password: for keys that cannot decrypt (RFC 8894 section 3.1).
    Password(&'a str),
}

/// Whether an envelope can be sealed to the key in `spki`.
pub fn can_seal_to(spki: &[u8]) -> bool {
    provider().transport.can_wrap(spki) || provider().kem.can_encapsulate(spki)
}

/// Seals `content`, and gives the DER ContentInfo with EnvelopedData.
pub fn seal(content: &[u8], recipient: Recipient<'_>, cipher: ContentCipher) -> Result<Vec<u8>, CryptoError> {
    if cipher.is_aead() {
        // AuthEnvelopedData is read and never written: few SCEP clients could open it.
        return Err(CryptoError::Unsupported);
    }
    let crypto = provider();
    let mut key = Zeroizing::new(vec![0; cipher.key_len()]);
    crypto.random.fill(&mut key);
    let mut iv = [0; 16];
    let iv = &mut iv[..cipher.iv_len()];
    crypto.random.fill(iv);
    let encrypted = crypto.ciphers.encrypt(cipher, &key, iv, content)?;
    // RFC 5652 section 6.1: version 3 if there is a PasswordRecipientInfo or an OtherRecipientInfo.
    let (version, recipient) = match recipient {
        Recipient::Certificate(certificate, _) if crypto.kem.can_encapsulate(certificate.spki()) => {
            (3, kem::seal(certificate, &key)?)
        }
        Recipient::Certificate(certificate, transport) => (0, key_transport::seal(certificate, transport, &key)?),
        Recipient::Password(password) => (3, password::seal(password, &key)?),
    };
    let algorithm = algorithm_identifier(&cipher.oid(), &encode(tag::OCTET_STRING, &[&iv]));
    let encrypted = Node::value(tag::context(0), [encrypted.into()]);
    let encrypted_content_info = Node::value(tag::SEQUENCE, [encode_oid(&ID_DATA).into(), algorithm.into(), encrypted]);
    let version = [tag::INTEGER, 1, version];
    let recipients = encode(tag::SET, &[recipient]);
    let enveloped = Node::value(tag::SEQUENCE, [Node::Octets(&version), recipients.into(), encrypted_content_info]);
    Ok(content_info(&ID_ENVELOPED_DATA, enveloped))
}

/// The IV of a CBC cipher, or the nonce of GCM: GCMParameters ::= SEQUENCE { nonce OCTET STRING, icvlen INTEGER DEFAULT 12 }
/// (RFC 5084 section 3.2), which we take with a tag of 16 octets only.
fn initialisation_vector(cipher: ContentCipher, parameters: Option<Tlv<'_>>) -> Option<&[u8]> {
    let parameters = parameters?;
    let iv = if cipher.is_aead() {
        let mut fields = (parameters.tag == tag::SEQUENCE).then(|| parameters.reader())?;
        let nonce = fields.tag(tag::OCTET_STRING).ok()?;
        if fields.tag(tag::INTEGER).ok()?.unsigned()? != TAG_LEN as u64 {
            return None;
        }
        fields.finish().ok()?;
        nonce.value
    } else {
        (parameters.tag == tag::OCTET_STRING).then_some(parameters.value)?
    };
    (iv.len() == cipher.iv_len()).then_some(iv)
}

const WHAT: &str = "pkcsPKIEnvelope";

/// Most recipients that are looked at.
const MAX_RECIPIENTS: usize = 32;

/// Length of a GCM tag in octets.
const TAG_LEN: usize = 16;

/// `[3] IMPLICIT PasswordRecipientInfo`.
const PASSWORD_RECIPIENT: u8 = tag::context_constructed(3);

/// `[4] IMPLICIT OtherRecipientInfo`.
const OTHER_RECIPIENT: u8 = tag::context_constructed(4);

/// id-envelopedData (RFC 5652 section 6.1).
pub(crate) const ID_ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");

/// id-ct-authEnvelopedData (RFC 5083 section 2.1).
const ID_AUTH_ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.23");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Digest;
    use crate::scep::testing::{device, ra};
    use crate::x509::tlv::encode_set_of;

    const ANY: EnvelopePolicy<'_> = EnvelopePolicy { ciphers: ContentCipher::ALL, oaep: true };
    const OAEP: KeyTransport = KeyTransport::Oaep { digest: Digest::Sha256, mgf1: Digest::Sha256 };

    fn sealed(transport: KeyTransport, cipher: ContentCipher) -> Vec<u8> {
        seal(b"a request", Recipient::Certificate(&ra().certificate, transport), cipher).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let old_oaep = KeyTransport::Oaep { digest: Digest::Sha1, mgf1: Digest::Sha1 };
        for transport in [KeyTransport::Pkcs1v15, OAEP, old_oaep] {
            for &cipher in ContentCipher::ALL.iter().filter(|cipher| !cipher.is_aead()) {
                let der = sealed(transport, cipher);
                let opened = Envelope::read(&der).unwrap().open(&[device().decrypter(), ra().decrypter()], ANY).unwrap();
                assert_eq!(opened.content.as_slice(), b"a request");
                assert_eq!((opened.cipher, opened.transport), (cipher, Some(transport)));
            }
        }
    }

    #[test]
    fn only_what_the_endpoint_names_is_opened() {
        let keys = [ra().decrypter()];
        let der = sealed(KeyTransport::Pkcs1v15, ContentCipher::DesCbc);
        let policy = EnvelopePolicy { ciphers: &[ContentCipher::Aes128Cbc], oaep: false };
        let refused = Envelope::read(&der).unwrap().open(&keys, policy).unwrap_err();
        assert_eq!(refused, WireError::CipherNotAllowed("des-cbc".into()));
        let der = sealed(OAEP, ContentCipher::Aes128Cbc);
        let refused = Envelope::read(&der).unwrap().open(&keys, policy).unwrap_err();
        assert_eq!(refused, WireError::KeyTransportNotAllowed("rsaes-oaep".into()));
        let der = sealed(KeyTransport::Pkcs1v15, ContentCipher::Aes128Cbc);
        assert_eq!(Envelope::read(&der).unwrap().open(&[device().decrypter()], ANY).unwrap_err(), WireError::WrongRecipient);
        assert_eq!(Envelope::read(&der).unwrap().open_with_password("x", ANY).unwrap_err(), WireError::WrongRecipient);
    }

    #[test]
    fn whatever_is_changed_has_one_face_or_cannot_be_read() {
        let keys = [ra().decrypter()];
        let der = sealed(KeyTransport::Pkcs1v15, ContentCipher::Aes256Cbc);
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 0x10;
            match Envelope::read(&changed).and_then(|envelope| envelope.open(&keys, ANY)) {
                Ok(opened) => assert!(opened.content.len() <= b"a request".len() + 16),
                Err(WireError::Envelope | WireError::WrongRecipient | WireError::BadEnvelope(_)) => {}
                Err(WireError::CipherNotAllowed(_) | WireError::KeyTransportNotAllowed(_)) => {}
                Err(other) => panic!("{other:?} at {at}"),
            }
        }
        for len in 0..der.len() {
            assert!(matches!(Envelope::read(&der[..len]), Err(WireError::BadEnvelope(_))));
        }
    }

    #[test]
    fn a_password_opens_what_it_sealed() {
        let der = seal(b"certificates", Recipient::Password("s3cret"), ContentCipher::Aes128Cbc).unwrap();
        let envelope = Envelope::read(&der).unwrap();
        assert!(envelope.takes_password());
        assert_eq!(envelope.open_with_password("s3cret", ANY).unwrap().content.as_slice(), b"certificates");
        assert_eq!(envelope.open_with_password("S3cret", ANY).unwrap_err(), WireError::Envelope);
        assert_eq!(envelope.open(&[ra().decrypter()], ANY).unwrap_err(), WireError::WrongRecipient);
    }

    /// An envelope whose recipient and content cipher are made by hand.
    fn by_hand(recipients: Vec<Vec<u8>>, algorithm: &[u8], encrypted: &[u8], mac: Option<&[u8]>) -> Vec<u8> {
        let content =
            encode(tag::SEQUENCE, &[encode_oid(&ID_DATA).as_slice(), algorithm, &encode(tag::context(0), &[encrypted])]);
        let mac = mac.map(|mac| encode(tag::OCTET_STRING, &[mac]));
        let kind = if mac.is_some() { ID_AUTH_ENVELOPED_DATA } else { ID_ENVELOPED_DATA };
        let fields = [vec![tag::INTEGER, 1, 0], encode_set_of(recipients), content, mac.unwrap_or_default()];
        content_info(&kind, encode(tag::SEQUENCE, &fields))
    }

    #[test]
    fn gcm_in_both_envelopes() {
        let crypto = provider();
        for cipher in [ContentCipher::Aes128Gcm, ContentCipher::Aes256Gcm] {
            let key = vec![7; cipher.key_len()];
            let nonce = [9; 12];
            let sealed = crypto.ciphers.encrypt(cipher, &key, &nonce, b"a request").unwrap();
            let (encrypted, tag_octets) = sealed.split_at(sealed.len() - TAG_LEN);
            let recipient = key_transport::seal(&ra().certificate, KeyTransport::Pkcs1v15, &key).unwrap();
            let parameters = encode(tag::SEQUENCE, &[encode(tag::OCTET_STRING, &[nonce]), vec![tag::INTEGER, 1, TAG_LEN as u8]]);
            let algorithm = algorithm_identifier(&cipher.oid(), &parameters);
            for der in [
                by_hand(vec![recipient.clone()], &algorithm, encrypted, Some(tag_octets)),
                by_hand(vec![recipient.clone()], &algorithm, &sealed, None),
            ] {
                let opened = Envelope::read(&der).unwrap().open(&[ra().decrypter()], ANY).unwrap();
                assert_eq!(opened.content.as_slice(), b"a request");
                let mut changed = der.clone();
                *changed.last_mut().unwrap() ^= 1;
                let refused = Envelope::read(&changed).unwrap().open(&[ra().decrypter()], ANY).unwrap_err();
                assert_eq!(refused, WireError::Envelope);
            }
        }
    }

    #[test]
    fn recipients_by_key_identifier_also_wrapped_twice() {
        let key = [7; 16];
        let encrypted = provider().ciphers.encrypt(ContentCipher::Aes128Cbc, &key, &[3; 16], b"a request").unwrap();
        let algorithm = algorithm_identifier(&ContentCipher::Aes128Cbc.oid(), &encode(tag::OCTET_STRING, &[[3u8; 16]]));
        let named = key_transport::seal(&ra().certificate, KeyTransport::Pkcs1v15, &key).unwrap();
        let info = Reader::single("recipient", &named, tag::SEQUENCE).unwrap();
        let mut fields = info.reader();
        let version = fields.any().unwrap().raw;
        fields.any().unwrap();
        let rest = [fields.any().unwrap().raw, fields.any().unwrap().raw].concat();
        let id = crate::x509::spki::key_identifier(ra().certificate.spki()).unwrap();
        let other = key_transport::seal(&device().certificate, KeyTransport::Pkcs1v15, &key).unwrap();
        for identifier in [
            encode(tag::context(0), &[id]),
            encode(tag::context(0), &[encode(tag::OCTET_STRING, &[id])]),
            encode(tag::context_constructed(0), &[encode(tag::OCTET_STRING, &[id])]),
        ] {
            let recipient = encode(tag::SEQUENCE, &[version, &identifier, &rest]);
            let der = by_hand(vec![other.clone(), recipient], &algorithm, &encrypted, None);
            let opened = Envelope::read(&der).unwrap().open(&[ra().decrypter()], ANY).unwrap();
            assert_eq!(opened.content.as_slice(), b"a request");
        }
    }
}
