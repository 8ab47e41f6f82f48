//! A transaction from the client's side: what is sent, again and again if need be, under one transactionID.

use std::sync::Arc;

use der::oid::ObjectIdentifier;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::reply::{Expected, Reply};
use super::{Authority, Capabilities, ClientError, DeviceKey, Failure, Identity, Options, Protection, ReplyKey, authority};
use crate::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport};
use crate::crypto::provider;
use crate::scep::certs_only::CertsOnly;
use crate::scep::envelope::{Recipient, seal};
use crate::scep::issuer_and::{IssuerAndSerialNumber, IssuerAndSubject};
use crate::scep::pki_message::preferred_digest;
use crate::scep::{Attributes, MessageTemplate, MessageType};
use crate::x509::csr::CsrTemplate;
use crate::x509::{Certificate, DistinguishedName, KeyUsage, SubjectAltName, VerifiedCsr, builder};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The key that is to be certified.
    pub key: DeviceKey,
    /// The names and usages, or a finished CSR.
    pub csr: CsrSource,
    /// The challenge. With a finished CSR it is the one in there.
    pub challenge: Option<Zeroizing<String>>,
    /// The certificate that is renewed, and its key: it signs the message, and the reply is encrypted to it.
    pub renewal: Option<Identity>,
    /// Another key that signs a first request, with a certificate of its own making: for servers that can neither check nor encrypt
    /// to the key that is to be certified.
    pub transport_key: Option<DeviceKey>,
    /// A key that the reply is encrypted to, where the key that signs cannot decrypt and a password is not wanted.
    pub reply_key: Option<ReplyKey>,
    /// PKCSReq or RenewalReq; by what the server can do if not said. Many clients send PKCSReq for renewals too.
    pub message_type: Option<MessageType>,
    /// The transactionID; the SHA-256 of the key in hex if not said.
    pub transaction_id: Option<String>,
}

/// Where the CSR comes from.
#[derive(Clone, Debug)]
pub enum CsrSource {
    /// Made from this.
    Template {
        /// The subject.
        subject: DistinguishedName,
        /// Subject alternative names.
        subject_alt_names: Vec<SubjectAltName>,
        /// Extended key usages.
        extended_key_usages: Vec<ObjectIdentifier>,
        /// Key usage.
        key_usage: Option<KeyUsage>,
    },
    /// DER, as it is.
    Der(Zeroizing<Vec<u8>>),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The certificate is there.
    Issued(Box<Issued>),
    /// Somebody, or something, has to decide first: poll.
    Pending,
    /// Refused.
    Failed(Failure),
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate for our key.
    pub certificate: Certificate,
    /// The certificates above it, nearest first, as far as the reply and GetCACert bring them; every signature holds.
    pub chain: Vec<Certificate>,
    /// How the reply was protected.
    pub protection: Protection,
}

/// Everything that is needed to send a request, and to ask later what became of it.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub(super) id: String,
    pub(super) message_type: MessageType,
    pub(super) csr: Arc<VerifiedCsr>,
    pub(super) identity: Identity,
    pub(super) authority: Arc<Authority>,
    pub(super) protect: Protect,
    /// The request as it is sent; the same octets each time.
    pub(super) message: Arc<Outgoing>,
}

/// A message that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub(super) der: Vec<u8>,
    pub(super) sender_nonce: Vec<u8>,
}

impl Outgoing {
    /// What is sent, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// How messages are protected, and what is taken in replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protect {
    pub(super) digest: Digest,
    pub(super) cipher: ContentCipher,
    pub(super) transport: KeyTransport,
    pub(super) accept_digests: Vec<Digest>,
    pub(super) accept_ciphers: Vec<ContentCipher>,
}

impl Protect {
    pub(super) fn new(
        options: &Options,
        capabilities: &Capabilities,
        authority: &Authority,
        key: &DeviceKey,
    ) -> Result<Self, ClientError> {
        let digest = match options.digest {
            Some(digest) => digest,
            None => capabilities.digest(key.algorithm())?,
        };
        let cipher = match options.cipher {
            Some(cipher) => cipher,
            // As strong as the key (RFC 9936 section 2.3); whoever has such a key knows AES-256.
            None if authority.encryption().key().is_some_and(KeyAlgorithm::can_decapsulate) => ContentCipher::Aes256Cbc,
            None => capabilities.cipher()?,
        };
        if cipher.is_aead() {
            return Err(ClientError::BadRequest("GCM is read in replies and never sent: few SCEP servers could open it"));
        }
        // What we send ourselves, a server may answer with.
        let mut accept_digests: Vec<Digest> = Digest::ALL.iter().copied().filter(|digest| !digest.is_legacy()).collect();
        accept_digests.extend(&options.accept_digests);
        accept_digests.push(digest);
        let mut accept_ciphers: Vec<ContentCipher> =
            ContentCipher::ALL.iter().copied().filter(|cipher| !cipher.is_legacy()).collect();
        accept_ciphers.extend(&options.accept_ciphers);
        accept_ciphers.push(cipher);
        Ok(Self { digest, cipher, transport: options.key_transport, accept_digests, accept_ciphers })
    }

    /// Encrypts, signs. Slow: not for an async thread.
    pub(super) fn message(
        &self,
        kind: MessageType,
        transaction_id: &str,
        content: &[u8],
        identity: &Identity,
        authority: &Authority,
    ) -> Result<Outgoing, ClientError> {
        let sender_nonce = provider().random::<16>().to_vec();
        let attributes = Attributes {
            transaction_id: Some(transaction_id.to_owned()),
            message_type: Some(kind.number()),
            sender_nonce: Some(sender_nonce.clone()),
            reply_key: identity.reply_certificate().map(|certificate| IssuerAndSerialNumber::from(&**certificate)),
            ..Attributes::default()
        };
        let envelope = seal(content, Recipient::Certificate(authority.encryption(), self.transport), self.cipher)?;
        let certificates: Vec<&[u8]> = std::iter::once(&identity.certificate)
            .chain(identity.reply_certificate())
            .map(|certificate| certificate.der())
            .collect();
        let der = MessageTemplate {
            content: &envelope,
            attributes: &attributes,
            digest: self.digest,
            signer: identity.key.signer(),
            signer_certificate: &identity.certificate,
            certificates: &certificates,
        }
        .sign()?;
        Ok(Outgoing { der, sender_nonce })
    }
}

impl Transaction {
    /// Makes the CSR, the signer's certificate and the message. Slow: not for an async thread.
    pub(super) fn new(
        request: Request,
        authority: Arc<Authority>,
        capabilities: &Capabilities,
        options: &Options,
        now: Timestamp,
    ) -> Result<Self, ClientError> {
        let Request { key, csr, challenge, renewal, transport_key, reply_key, message_type, transaction_id } = request;
        if renewal.is_some() && transport_key.is_some() {
            return Err(ClientError::BadRequest("a renewal is signed by the certificate that it renews, not by a transport key"));
        }
        let signing_key = renewal.as_ref().map(|renewed| &renewed.key).or(transport_key.as_ref()).unwrap_or(&key);
        let protect = Protect::new(options, capabilities, &authority, signing_key)?;
        let csr_digest = match key.algorithm().only_signature() {
            Some(_) => preferred_digest(key.algorithm()),
            None => protect.digest,
        };
        let csr = match csr {
            CsrSource::Template { subject, subject_alt_names, extended_key_usages, key_usage } => Zeroizing::new(
                CsrTemplate {
                    subject: &subject,
                    subject_alt_names: &subject_alt_names,
                    extended_key_usages: &extended_key_usages,
                    key_usage,
                    challenge_password: challenge.as_ref().map(|challenge| challenge.as_str()),
                }
                .sign(key.signer(), csr_digest)?,
            ),
            CsrSource::Der(der) => der,
        };
        let csr = VerifiedCsr::from_der(&csr)?;
        if csr.spki() != key.signer().spki() {
            return Err(ClientError::CsrOfAnotherKey);
        }
        if !signing_key.algorithm().can_decrypt() && reply_key.is_none() && csr.challenge_password().is_none() {
            return Err(ClientError::NeedsChallenge);
        }
        let message_type = match (message_type, &renewal) {
            (Some(kind @ (MessageType::PkcsReq | MessageType::RenewalReq)), _) => kind,
            (Some(_), _) => return Err(ClientError::BadRequest("an enrollment is a PKCSReq or a RenewalReq")),
            (None, Some(_)) if capabilities.renewal() => MessageType::RenewalReq,
            (None, _) => MessageType::PkcsReq,
        };
        let id = transaction_id.unwrap_or_else(|| hex::encode(provider().digester.sha256(csr.spki())));
        if id.is_empty() || id.len() > MAX_TRANSACTION_ID || !id.is_ascii() {
            return Err(ClientError::BadRequest("a transactionID has at least one and at most 255 ASCII characters"));
        }
        let identity = match renewal {
            Some(identity) => identity,
            None => {
                // RFC 8894 section 2.3: for want of anything better, a certificate of our own for the same key.
                let key = transport_key.unwrap_or(key);
                let der = builder::self_signed(csr.subject(), key.signer(), protect.digest, now)?;
                Identity::new(key, Certificate::from_der(&der)?)?
            }
        };
        let identity = match &reply_key {
            // A signer that can decrypt is answered to its own key, whatever else it names.
            Some(reply_key) if !identity.key.algorithm().can_decrypt() => identity.with_reply_key(reply_key, now)?,
            Some(_) => return Err(ClientError::BadRequest("a reply key is for signers whose own key cannot decrypt")),
            None => identity,
        };
        let message = protect.message(message_type, &id, csr.der(), &identity, &authority)?;
        Ok(Self { id, message_type, csr: Arc::new(csr), identity, authority, protect, message: Arc::new(message) })
    }

    /// The request of an RA around a CSR that it has from somebody else: signed by the RA's own `identity`, which the reply is encrypted
    /// to. Slow: not for an async thread.
    pub fn relayed(
        csr: VerifiedCsr,
        identity: Identity,
        message_type: MessageType,
        id: String,
        authority: Arc<Authority>,
        capabilities: &Capabilities,
        options: &Options,
    ) -> Result<Self, ClientError> {
        if !identity.can_decrypt() {
            return Err(ClientError::BadRequest("the reply is encrypted to the RA's key, so that has to be one that decrypts"));
        }
        let protect = Protect::new(options, capabilities, &authority, &identity.key)?;
        let message = protect.message(message_type, &id, csr.der(), &identity, &authority)?;
        Ok(Self { id, message_type, csr: Arc::new(csr), identity, authority, protect, message: Arc::new(message) })
    }

    /// The transactionID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the request is sent as.
    pub fn message_type(&self) -> MessageType {
        self.message_type
    }

    /// The request.
    pub fn csr(&self) -> &VerifiedCsr {
        &self.csr
    }

    /// The digest of our signatures.
    pub fn digest(&self) -> Digest {
        self.protect.digest
    }

    /// The cipher of our envelopes.
    pub fn cipher(&self) -> ContentCipher {
        self.protect.cipher
    }

    /// The request as it is sent, DER.
    pub fn message(&self) -> &[u8] {
        &self.message.der
    }

    /// The request as it is sent, for [`open`](Self::open).
    pub fn outgoing(&self) -> &Outgoing {
        &self.message
    }

    /// The same, with what the other side says of itself by now: replies are checked with that.
    pub fn with_authority(self, authority: Arc<Authority>) -> Self {
        Self { authority, ..self }
    }

    /// The other side.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A CertPoll with a fresh nonce (RFC 8894 section 3.3.3). Slow: not for an async thread.
    pub fn poll_message(&self) -> Result<Outgoing, ClientError> {
        let who = IssuerAndSubject { issuer: self.authority.issuer().der().to_vec(), subject: self.csr.subject().der().to_vec() };
        self.protect.message(MessageType::CertPoll, &self.id, &who.to_der(), &self.identity, &self.authority)
    }

    /// Checks a reply to what was sent, and finds the certificate in it. Slow: not for an async thread.
    pub fn open(&self, sent: &Outgoing, answer: &[u8]) -> Result<Outcome, ClientError> {
        let expected = Expected {
            authority: &self.authority,
            transaction_id: &self.id,
            sender_nonce: &sent.sender_nonce,
            identity: &self.identity,
            challenge: self.csr.challenge_password(),
            digests: &self.protect.accept_digests,
            ciphers: &self.protect.accept_ciphers,
        };
        let (reply, protection) = expected.open(answer)?;
        let content = match reply {
            Reply::Success(content) => content,
            Reply::Pending => return Ok(Outcome::Pending),
            Reply::Failure(failure) => return Ok(Outcome::Failed(failure)),
        };
        let bag = CertsOnly::read(&content).map_err(ClientError::Reply)?;
        let certificates: Vec<Certificate> = bag.certificates.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
        // The RFC has it first; not all servers do. The key tells. In a renewal with the same key the old one may come along.
        let old = self.identity.certificate.der();
        let certificate = certificates
            .iter()
            .filter(|certificate| certificate.spki() == self.csr.spki() && certificate.der() != old)
            .max_by_key(|certificate| certificate.not_before())
            .ok_or(ClientError::NoCertificateForKey)?;
        let heap: Vec<&Certificate> = certificates.iter().chain(self.authority.certificates()).collect();
        let chain = authority::chain_above(certificate, &heap);
        Ok(Outcome::Issued(Box::new(Issued { certificate: certificate.clone(), chain, protection })))
    }
}

const MAX_TRANSACTION_ID: usize = 255;
