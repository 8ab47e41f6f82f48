//! PKIMessage: its frame and its header (RFC 9810 sections 5.1 and 5.1.1). What is inside a body stands in [`super::body`].
//!
//! ```text
//! PKIMessage ::= SEQUENCE { header PKIHeader, body PKIBody, protection [0] BIT STRING OPTIONAL,
//!                           extraCerts [1] SEQUENCE OF Certificate OPTIONAL }
//! PKIHeader  ::= SEQUENCE { pvno INTEGER, sender GeneralName, recipient GeneralName, messageTime [0] GeneralizedTime,
//!                           protectionAlg [1] AlgorithmIdentifier, senderKID [2], recipKID [3], transactionID [4],
//!                           senderNonce [5], recipNonce [6], freeText [7], generalInfo [8] SEQUENCE OF InfoTypeAndValue }
//! ```

use der::oid::ObjectIdentifier;
use jiff::Timestamp;

use crate::x509::tlv::{Node, Reader, Tlv, encode, encode_bits, encode_oid, encode_unsigned, tag};
use crate::x509::{DistinguishedName, X509Error, time};

const WHAT: &str = "CMP message";

/// The version of RFC 4210 and 9810, cmp2000.
pub const PVNO: u8 = 2;

/// The version for what cmp2000 has not, cmp2021: the hash algorithm in a confirmation.
pub const PVNO_2021: u8 = 3;

/// id-it-implicitConfirm (RFC 9810 section 5.1.1.1)
pub const IMPLICIT_CONFIRM: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.13");

/// id-it-certProfile (RFC 9810 section 5.1.1.4)
pub const CERT_PROFILE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.21");

/// The tags of the bodies (RFC 9810 section 5.1.2).
pub mod body_tag {
    /// Initialization request.
    pub const IR: u8 = 0;
    /// Initialization response.
    pub const IP: u8 = 1;
    /// Certification request.
    pub const CR: u8 = 2;
    /// Certification response.
    pub const CP: u8 = 3;
    /// PKCS#10 certification request; it is answered with `CP`.
    pub const P10CR: u8 = 4;
    /// Revocation request.
    pub const RR: u8 = 11;
    /// Revocation response.
    pub const RP: u8 = 12;
    /// Confirmation of the CA.
    pub const PKI_CONF: u8 = 19;
    /// General message.
    pub const GENM: u8 = 21;
    /// General response.
    pub const GENP: u8 = 22;
    /// Error.
    pub const ERROR: u8 = 23;
    /// Confirmation of the one who asked.
    pub const CERT_CONF: u8 = 24;
    /// Polling request.
    pub const POLL_REQ: u8 = 25;
    /// Polling response.
    pub const POLL_REP: u8 = 26;
}

/// A header of ours.
#[derive(Clone, Debug)]
pub struct NewHeader<'a> {
    /// [`PVNO`] or [`PVNO_2021`].
    pub pvno: u8,
    /// Who asks.
    pub sender: &'a DistinguishedName,
    /// Who is asked.
    pub recipient: &'a DistinguishedName,
    /// When.
    pub time: Timestamp,
    /// The AlgorithmIdentifier of the protection, DER.
    pub protection: &'a [u8],
    /// The reference of the secret, or the identifier of the signing key.
    pub sender_kid: &'a [u8],
    /// The transaction.
    pub transaction: &'a [u8],
    /// Our nonce.
    pub sender_nonce: &'a [u8],
    /// The nonce that is answered; empty for none.
    pub recip_nonce: &'a [u8],
    /// Whether no confirmation is wanted.
    pub implicit_confirm: bool,
    /// The name of a certificate profile.
    pub cert_profile: Option<&'a str>,
}

impl NewHeader<'_> {
    /// Writes it.
    pub fn to_der(&self) -> Vec<u8> {
        let octets = |number, value: &[u8]| match value {
            [] => Vec::new(),
            value => explicit(number, encode(tag::OCTET_STRING, &[value])),
        };
        let mut infos = Vec::new();
        if self.implicit_confirm {
            infos.push(encode(tag::SEQUENCE, &[encode_oid(&IMPLICIT_CONFIRM), vec![tag::NULL, 0]]));
        }
        if let Some(profile) = self.cert_profile {
            let names = encode(tag::SEQUENCE, &[encode(tag::UTF8_STRING, &[profile])]);
            infos.push(encode(tag::SEQUENCE, &[encode_oid(&CERT_PROFILE), names]));
        }
        let info = if infos.is_empty() { Vec::new() } else { explicit(8, encode(tag::SEQUENCE, &infos)) };
        encode(
            tag::SEQUENCE,
            &[
                encode_unsigned(&[self.pvno]),
                explicit(4, self.sender.der().to_vec()),
                explicit(4, self.recipient.der().to_vec()),
                explicit(0, time::encode_generalized(self.time)),
                explicit(1, self.protection.to_vec()),
                octets(2, self.sender_kid),
                octets(4, self.transaction),
                octets(5, self.sender_nonce),
                octets(6, self.recip_nonce),
                info,
            ],
        )
    }
}

/// ProtectedPart ::= SEQUENCE { header, body }: what the protection is over (RFC 9810 section 5.1.3).
pub fn protected_part(header: &[u8], body: &[u8]) -> Vec<u8> {
    encode(tag::SEQUENCE, &[header, body])
}

/// The whole message.
pub fn assemble(header: &[u8], body: &[u8], protection: &[u8], extra_certificates: &[&[u8]]) -> Vec<u8> {
    let mut parts = vec![Node::Octets(header), Node::Octets(body), explicit(0, encode_bits(protection)).into()];
    if !extra_certificates.is_empty() {
        let all: Vec<_> = extra_certificates.iter().copied().map(Node::from).collect();
        parts.push(Node::value(tag::context_constructed(1), [Node::value(tag::SEQUENCE, all)]));
    }
    Node::value(tag::SEQUENCE, parts).to_der()
}

/// A value under an explicit tag.
pub(super) fn explicit(number: u8, value: Vec<u8>) -> Vec<u8> {
    encode(tag::context_constructed(number), &[value])
}

/// A body under its tag.
pub(super) fn body(number: u8, content: Vec<u8>) -> Vec<u8> {
    explicit(number, content)
}

/// A message that was read; the parts are those of the encoding.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The header.
    pub header: Header<'a>,
    /// The tag number of the body.
    pub body_tag: u8,
    /// What is inside the body: one value, DER.
    pub content: &'a [u8],
    /// The octets of the protection, if there is one.
    pub protection: Option<&'a [u8]>,
    /// The certificates beside it, DER. They are not protected.
    pub extra_certificates: Vec<&'a [u8]>,
    raw_header: &'a [u8],
    raw_body: &'a [u8],
}

/// The header of a message that was read.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// The version.
    pub pvno: u64,
    /// The sender, if it is a directory name.
    pub sender: Option<DistinguishedName>,
    /// When it was made, if it says.
    pub time: Option<Timestamp>,
    /// The AlgorithmIdentifier of the protection.
    pub(super) protection: Option<Tlv<'a>>,
    /// Which key of the sender protects it; empty if it does not say.
    pub sender_kid: &'a [u8],
    /// The transaction; empty if it does not say.
    pub transaction: &'a [u8],
    /// The nonce of the sender; empty if there is none.
    pub sender_nonce: &'a [u8],
    /// The nonce that it answers; empty if there is none.
    pub recip_nonce: &'a [u8],
    /// Whether no confirmation is wanted.
    pub implicit_confirm: bool,
}

impl<'a> Message<'a> {
    /// Reads a message in DER ([`crate::x509::ber::to_der`] makes it so); what stands in header fields that we do not know is skipped.
    pub fn read(der: &'a [u8]) -> Result<Self, X509Error> {
        let mut parts = Reader::single(WHAT, der, tag::SEQUENCE)?.reader();
        let header = parts.tag(tag::SEQUENCE)?;
        let body = parts.any()?;
        if body.tag & 0xe0 != 0xa0 {
            return Err(body.error("a body was expected"));
        }
        let mut inside = body.reader();
        let content = inside.any()?;
        inside.finish()?;
        let protection = match parts.optional(tag::context_constructed(0))? {
            Some(field) => Some(single(&field, tag::BIT_STRING)?.bit_octets()?),
            None => None,
        };
        let mut extra_certificates = Vec::new();
        if let Some(field) = parts.optional(tag::context_constructed(1))? {
            let mut all = single(&field, tag::SEQUENCE)?.reader();
            while !all.is_empty() {
                let certificate = all.any()?;
                if extra_certificates.len() == MOST_CERTIFICATES {
                    return Err(certificate.error("more certificates than anybody needs"));
                }
                // CMPCertificate is a CHOICE with one alternative; what else there may be is not for us.
                if certificate.tag == tag::SEQUENCE {
                    extra_certificates.push(certificate.raw);
                }
            }
        }
        parts.finish()?;
        Ok(Self {
            header: Header::read(&header)?,
            body_tag: body.tag & 0x1f,
            content: content.raw,
            protection,
            extra_certificates,
            raw_header: header.raw,
            raw_body: body.raw,
        })
    }

    /// What the protection is over.
    pub fn protected_part(&self) -> Vec<u8> {
        protected_part(self.raw_header, self.raw_body)
    }
}

/// More certificates than stand in any answer.
pub(super) const MOST_CERTIFICATES: usize = 64;

impl<'a> Header<'a> {
    fn read(header: &Tlv<'a>) -> Result<Self, X509Error> {
        let mut fields = header.reader();
        let pvno = fields.tag(tag::INTEGER)?;
        let mut read = Header {
            pvno: pvno.unsigned().ok_or_else(|| pvno.error("not a version"))?,
            sender: directory_name(&fields.any()?),
            time: None,
            protection: None,
            sender_kid: &[],
            transaction: &[],
            sender_nonce: &[],
            recip_nonce: &[],
            implicit_confirm: false,
        };
        // The recipient is whoever answers took us for.
        fields.any()?;
        let mut last = None;
        while !fields.is_empty() {
            let field = fields.any()?;
            let number = field.tag ^ 0xa0;
            if number > 8 || last.is_some_and(|last| number <= last) {
                return Err(field.error("a header field out of place"));
            }
            last = Some(number);
            let octets = || single(&field, tag::OCTET_STRING).map(|octets| octets.value);
            match number {
                0 => read.time = Some(time::read(&single(&field, tag::GENERALIZED_TIME)?)?),
                1 => read.protection = Some(single(&field, tag::SEQUENCE)?),
                2 => read.sender_kid = octets()?,
                4 => read.transaction = octets()?,
                5 => read.sender_nonce = octets()?,
                6 => read.recip_nonce = octets()?,
                8 => read.implicit_confirm = general_info(&single(&field, tag::SEQUENCE)?)?,
                _ => {}
            }
        }
        Ok(read)
    }
}

/// Whether implicitConfirm is among InfoTypeAndValue.
fn general_info(all: &Tlv<'_>) -> Result<bool, X509Error> {
    let mut infos = all.reader();
    let mut implicit = false;
    while !infos.is_empty() {
        let info = infos.tag(tag::SEQUENCE)?;
        implicit |= info.reader().tag(tag::OID)?.oid() == Some(IMPLICIT_CONFIRM);
    }
    Ok(implicit)
}

/// `[4] Name` of a GeneralName.
fn directory_name(name: &Tlv<'_>) -> Option<DistinguishedName> {
    (name.tag == tag::context_constructed(4)).then(|| DistinguishedName::from_der(name.value).ok()).flatten()
}

/// The one value inside an explicit tag.
pub(super) fn single<'a>(outer: &Tlv<'a>, tag: u8) -> Result<Tlv<'a>, X509Error> {
    let mut reader = outer.reader();
    let value = reader.tag(tag)?;
    reader.finish()?;
    Ok(value)
}
