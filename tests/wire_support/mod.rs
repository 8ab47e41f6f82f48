//! Messages made by hand, octet for octet, so that each can be wrong in one way; and what mutates them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::Arc;

use der::oid::ObjectIdentifier;
use jiff::Timestamp;
use ravelin::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport};
use ravelin::crypto::{Signer, provider};
use ravelin::scep::MessageType;
use ravelin::scep::envelope::{Recipient, seal};
use ravelin::scep::pki_message::signature_algorithm;
use ravelin::x509::builder::{self, CertificateTemplate};
use ravelin::x509::csr::CsrTemplate;
use ravelin::x509::{Certificate, DistinguishedName, SubjectAltName};

/// A value in DER: a tag, and what it is made of.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(short as u8),
        long => {
            let octets: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
            out.push(0x80 | octets.len() as u8);
            out.extend(octets);
        }
    }
    out.extend(content);
    out
}

/// An object identifier in DER.
pub fn oid(text: &str) -> Vec<u8> {
    tlv(6, &[ObjectIdentifier::new(text).expect("an identifier").as_bytes()])
}

/// A key with a certificate that names it.
#[derive(Clone)]
pub struct Holder {
    pub signer: Arc<dyn Signer>,
    pub certificate: Arc<Certificate>,
}

impl Holder {
    /// With a fresh key, and a certificate that it made for itself.
    pub fn new(name: &str, key: KeyAlgorithm) -> Self {
        Self::with_key(name, provider().keys.generate(key).expect("a key"))
    }

    pub fn with_key(name: &str, signer: Arc<dyn Signer>) -> Self {
        let der = builder::self_signed(&subject(name), &*signer, Digest::Sha256, Timestamp::now()).expect("made");
        Self::named(signer, &der)
    }

    pub fn named(signer: Arc<dyn Signer>, certificate: &[u8]) -> Self {
        Self { signer, certificate: Arc::new(Certificate::from_der(certificate).expect("a certificate")) }
    }

    /// The same key, in a self-made certificate that is good from `from` to `to`, in seconds from now.
    pub fn valid(&self, from: i64, to: i64) -> Self {
        let at = |seconds| Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let der = CertificateTemplate {
            serial: builder::random_serial(),
            issuer: self.certificate.subject().clone(),
            subject: self.certificate.subject().clone(),
            not_before: at(from),
            not_after: at(to),
            spki: self.signer.spki().to_vec(),
            extensions: Vec::new(),
        };
        let algorithm = signature_algorithm(self.signer.key(), Digest::Sha256).expect("it signs");
        Self::named(Arc::clone(&self.signer), &der.sign(&*self.signer, algorithm).expect("made"))
    }

    pub fn csr(&self, name: &str, challenge: Option<&str>) -> Vec<u8> {
        self.csr_with(name, &[SubjectAltName::Dns(format!("{name}.example.net"))], challenge, Digest::Sha256)
    }

    pub fn csr_with(&self, name: &str, names: &[SubjectAltName], challenge: Option<&str>, digest: Digest) -> Vec<u8> {
        CsrTemplate {
            subject: &subject(name),
            subject_alt_names: names,
            extended_key_usages: &[],
            key_usage: None,
            challenge_password: challenge,
        }
        .sign(&*self.signer, digest)
        .expect("signed")
    }
}

pub fn subject(name: &str) -> DistinguishedName {
    DistinguishedName::parse(&format!("CN={name},O=Example"), true).expect("a name")
}

/// A pkiMessage before it is signed.
#[derive(Clone)]
pub struct Draft {
    pub by: Holder,
    /// Signs in place of the holder's own key.
    pub forger: Option<Arc<dyn Signer>>,
    pub kind: Option<u32>,
    pub transaction_id: Option<String>,
    pub nonce: Option<Vec<u8>>,
    pub signing_time: Option<Timestamp>,
    pub digest: Digest,
    /// Said to be the digest, in place of the one that is.
    pub digest_name: Option<String>,
    pub envelope: Vec<u8>,
    /// What the signature is over, if not the envelope.
    pub signed_envelope: Option<Vec<u8>>,
    pub certificates: Vec<Vec<u8>>,
}

/// What stands in RFC 8894 section 3.2.1: octets of the transaction's attributes.
pub const NONCE: [u8; 16] = [0xa5; 16];

impl Draft {
    /// A message around a finished envelope.
    pub fn around(by: &Holder, kind: MessageType, envelope: Vec<u8>) -> Self {
        Self {
            by: by.clone(),
            forger: None,
            kind: Some(kind.number()),
            transaction_id: Some(hex::encode(provider().digester.sha256(by.signer.spki()))),
            nonce: Some(NONCE.to_vec()),
            signing_time: None,
            digest: Digest::Sha256,
            digest_name: None,
            envelope,
            signed_envelope: None,
            certificates: vec![by.certificate.der().to_vec()],
        }
    }

    /// A first request for `csr`.
    pub fn request(by: &Holder, csr: &[u8], ra: &Certificate) -> Self {
        Self::around(by, MessageType::PkcsReq, sealed(csr, ra))
    }

    pub fn der(&self) -> Vec<u8> {
        let attribute = |name: &str, value: Vec<u8>| tlv(0x30, &[&oid(name), &tlv(0x31, &[&value])]);
        let signed = self.signed_envelope.as_ref().unwrap_or(&self.envelope);
        let digest = provider().digester.digest(self.digest, signed);
        let mut attributes = vec![
            attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.7.1")),
            attribute("1.2.840.113549.1.9.4", tlv(4, &[&digest])),
        ];
        if let Some(id) = &self.transaction_id {
            attributes.push(attribute("2.16.840.1.113733.1.9.7", tlv(0x13, &[id.as_bytes()])));
        }
        if let Some(kind) = self.kind {
            attributes.push(attribute("2.16.840.1.113733.1.9.2", tlv(0x13, &[kind.to_string().as_bytes()])));
        }
        if let Some(nonce) = &self.nonce {
            attributes.push(attribute("2.16.840.1.113733.1.9.5", tlv(4, &[nonce])));
        }
        if let Some(time) = self.signing_time {
            let text = time.strftime("%y%m%d%H%M%SZ").to_string();
            attributes.push(attribute("1.2.840.113549.1.9.5", tlv(0x17, &[text.as_bytes()])));
        }
        attributes.sort();
        let mut attributes = tlv(0x31, &attributes.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let signer = self.forger.as_ref().unwrap_or(&self.by.signer);
        let algorithm = signature_algorithm(signer.key(), self.digest).expect("it signs");
        let signature = signer.sign(algorithm, &attributes).expect("signed");
        attributes[0] = 0xa0;

        let named = self.digest_name.clone().unwrap_or_else(|| self.digest.oid().to_string());
        let digest_algorithm = tlv(0x30, &[&oid(&named), &[5, 0]]);
        let signature_algorithm = match signer.key() {
            KeyAlgorithm::Rsa(_) => tlv(0x30, &[&oid("1.2.840.113549.1.1.1"), &[5, 0]]),
            _ => tlv(0x30, &[&oid(&algorithm.oid().to_string())]),
        };
        let name = tlv(0x30, &[self.by.certificate.issuer().der(), &tlv(2, &[self.by.certificate.serial()])]);
        let signer_info =
            tlv(0x30, &[&[2, 1, 1], &name, &digest_algorithm, &attributes, &signature_algorithm, &tlv(4, &[&signature])]);
        let content = tlv(0x30, &[&oid("1.2.840.113549.1.7.1"), &tlv(0xa0, &[&tlv(4, &[&self.envelope])])]);
        let certificates = match self.certificates.as_slice() {
            [] => Vec::new(),
            some => tlv(0xa0, &some.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        };
        let signed_data =
            tlv(0x30, &[&[2, 1, 1], &tlv(0x31, &[&digest_algorithm]), &content, &certificates, &tlv(0x31, &[&signer_info])]);
        tlv(0x30, &[&oid("1.2.840.113549.1.7.2"), &tlv(0xa0, &[&signed_data])])
    }
}

/// An envelope as RFC 8894 asks for it.
pub fn sealed(content: &[u8], to: &Certificate) -> Vec<u8> {
    sealed_with(content, to, ContentCipher::Aes128Cbc, KeyTransport::Pkcs1v15)
}

pub fn sealed_with(content: &[u8], to: &Certificate, cipher: ContentCipher, transport: KeyTransport) -> Vec<u8> {
    seal(content, Recipient::Certificate(to, transport), cipher).expect("sealed")
}

/// A certificate with issuer and serial of `like`, for another key: what is sealed to it names `like` and does not open.
pub fn double_of(like: &Certificate, key: &dyn Signer) -> Certificate {
    let der = CertificateTemplate {
        serial: like.serial().to_vec(),
        issuer: like.issuer().clone(),
        subject: like.subject().clone(),
        not_before: like.not_before(),
        not_after: like.not_after(),
        spki: key.spki().to_vec(),
        extensions: Vec::new(),
    };
    let algorithm = signature_algorithm(key.key(), Digest::Sha256).expect("it signs");
    Certificate::from_der(&der.sign(key, algorithm).expect("made")).expect("a certificate")
}

/// The octets of `inner` in `outer`, which has to hold them.
pub fn position(outer: &[u8], inner: &[u8]) -> usize {
    outer.windows(inner.len()).position(|window| window == inner).expect("it is in there")
}

/// Random numbers that are the same in every run (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// Changes one to three places: a bit, an octet that means something in ASN.1, a cut, a doubled, a removed or a foreign stretch.
pub fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..=random.below(3) {
        if out.is_empty() {
            break;
        }
        let at = random.below(out.len());
        let end = (at + 1 + random.below(24)).min(out.len());
        match random.below(7) {
            0 | 1 => out[at] ^= 1 << random.below(8),
            2 => out[at] = [0x00, 0x80, 0xff, 0x30, 0x31, 0x24, 0x04, 0xa0, 0x1f, 0x7f, 0x84, 0x02, 0x03, 0x06][random.below(14)],
            3 => out.truncate(at),
            4 => {
                let stretch = out[at..end].to_vec();
                out.splice(at..at, stretch);
            }
            5 => drop(out.drain(at..end)),
            _ => {
                let foreign = random.octets(end - at);
                out.splice(at..end, foreign);
            }
        }
    }
    out
}
