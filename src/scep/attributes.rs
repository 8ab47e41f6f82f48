//! The signed attributes of SCEP (RFC 8894 section 3.2.1), read with tolerance and written in DER.

use der::oid::ObjectIdentifier;

use super::WireError;
use super::issuer_and::IssuerAndSerialNumber;
use crate::x509::tlv::{self, Reader, Tlv, encode, encode_oid, encode_set_of, tag};

/// The attributes that SCEP puts under the signature: what stood in a message, or what is to stand in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// transactionID: opaque, compared octet for octet.
    pub transaction_id: Option<String>,
    /// messageType, as it came; [`MessageType::from_number`] names it.
    pub message_type: Option<u32>,
    /// pkiStatus of a CertRep.
    pub pki_status: Option<u32>,
    /// failInfo of a FAILURE.
    pub fail_info: Option<u32>,
    /// failInfoText of a FAILURE (RFC 8894 section 3.2.1.4.1).
    pub fail_info_text: Option<String>,
    /// senderNonce, of any length.
    pub sender_nonce: Option<Vec<u8>>,
    /// recipientNonce, of any length.
    pub recipient_nonce: Option<Vec<u8>>,
    /// encryptionKeyPreference (RFC 8551 section 2.5.3) of a request: the certificate, among those that come along, that the reply is
    /// to be encrypted to. For signers whose own key cannot decrypt.
    pub reply_key: Option<IssuerAndSerialNumber>,
}

/// messageType (RFC 8894 section 3.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// The answer to everything.
    CertRep,
    /// A renewal with an existing certificate.
    RenewalReq,
    /// A first enrollment; many clients send it for renewals too.
    PkcsReq,
    /// Asks what became of a request; GetCertInitial in older drafts.
    CertPoll,
    /// Asks for a certificate by issuer and serial number.
    GetCert,
    /// Asks for a CRL by issuer and serial number.
    GetCrl,
}

impl MessageType {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            MessageType::CertRep => 3,
            MessageType::RenewalReq => 17,
            MessageType::PkcsReq => 19,
            MessageType::CertPoll => 20,
            MessageType::GetCert => 21,
            MessageType::GetCrl => 22,
        }
    }

    /// The type with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            3 => MessageType::CertRep,
            17 => MessageType::RenewalReq,
            19 => MessageType::PkcsReq,
            20 => MessageType::CertPoll,
            21 => MessageType::GetCert,
            22 => MessageType::GetCrl,
            _ => return None,
        })
    }

    /// The name in RFC 8894.
    pub const fn name(self) -> &'static str {
        match self {
            MessageType::CertRep => "CertRep",
            MessageType::RenewalReq => "RenewalReq",
            MessageType::PkcsReq => "PKCSReq",
            MessageType::CertPoll => "CertPoll",
            MessageType::GetCert => "GetCert",
            MessageType::GetCrl => "GetCRL",
        }
    }
}

/// pkiStatus (RFC 8894 section 3.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PkiStatus {
    /// Granted.
    Success,
    /// Refused; failInfo says why.
    Failure,
    /// Waiting for people or for the CA: poll.
    Pending,
}

impl PkiStatus {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            PkiStatus::Success => 0,
            PkiStatus::Failure => 2,
            PkiStatus::Pending => 3,
        }
    }

    /// The status with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => PkiStatus::Success,
            2 => PkiStatus::Failure,
            3 => PkiStatus::Pending,
            _ => return None,
        })
    }
}

/// failInfo (RFC 8894 section 3.2.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailInfo {
    /// Unrecognised or unsupported algorithm.
    BadAlg,
    /// The integrity check failed.
    BadMessageCheck,
    /// The transaction is not permitted or supported.
    BadRequest,
    /// The signing time is too far off.
    BadTime,
    /// No certificate fits the criteria.
    BadCertId,
}

impl FailInfo {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The reason with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => FailInfo::BadAlg,
            1 => FailInfo::BadMessageCheck,
            2 => FailInfo::BadRequest,
            3 => FailInfo::BadTime,
            4 => FailInfo::BadCertId,
            _ => return None,
        })
    }

    /// The name in RFC 8894.
    pub const fn name(self) -> &'static str {
        match self {
            FailInfo::BadAlg => "badAlg",
            FailInfo::BadMessageCheck => "badMessageCheck",
            FailInfo::BadRequest => "badRequest",
            FailInfo::BadTime => "badTime",
            FailInfo::BadCertId => "badCertId",
        }
    }
}

/// What stands under a signature: the attributes of SCEP, and those that CMS itself needs (RFC 5652 section 11).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignedAttributes<'a> {
    /// SCEP's.
    pub(crate) scep: Attributes,
    /// contentType.
    pub(crate) content_type: Option<ObjectIdentifier>,
    /// messageDigest.
    pub(crate) message_digest: Option<&'a [u8]>,
    /// cmsAlgorithmProtection: the SEQUENCE, DER.
    pub(crate) protection: Option<&'a [u8]>,
}

impl<'a> SignedAttributes<'a> {
    /// Reads `SET OF Attribute`, given by its content. Attributes that we do not know are passed over; the order is free.
    pub(crate) fn read(mut set: Reader<'a>) -> Result<Self, WireError> {
        let mut read = SignedAttributes::default();
        while !set.is_empty() {
            let mut attribute = set.tag(tag::SEQUENCE)?.reader();
            let kind = attribute.tag(tag::OID)?.oid();
            let mut values = attribute.tag(tag::SET)?.reader();
            attribute.finish()?;
            let Some(kind) = kind else { continue };
            if !KNOWN.contains(&kind) {
                continue;
            }
            let name = attribute_name(&kind);
            let value = values.any().map_err(|_| WireError::BadAttribute(name))?;
            read.take(&kind, name, value)?;
        }
        Ok(read)
    }

    fn take(&mut self, kind: &ObjectIdentifier, name: &'static str, value: Tlv<'a>) -> Result<(), WireError> {
        let bad = || WireError::BadAttribute(name);
        let octets = || (value.tag == tag::OCTET_STRING).then(|| value.value.to_vec()).ok_or_else(bad);
        match *kind {
            TRANSACTION_ID => {
                let text = value.text().filter(|text| !text.is_empty() && text.len() <= MAX_TRANSACTION_ID);
                self.scep.transaction_id = Some(text.ok_or_else(bad)?);
            }
            MESSAGE_TYPE => self.scep.message_type = Some(number(&value).ok_or_else(bad)?),
            PKI_STATUS => self.scep.pki_status = Some(number(&value).ok_or_else(bad)?),
            FAIL_INFO => self.scep.fail_info = Some(number(&value).ok_or_else(bad)?),
            FAIL_INFO_TEXT => self.scep.fail_info_text = Some(value.text().ok_or_else(bad)?),
            SENDER_NONCE => self.scep.sender_nonce = Some(octets()?),
            RECIPIENT_NONCE => self.scep.recipient_nonce = Some(octets()?),
            // Only the first of its three forms is ours; whatever else stands there is left to others.
            ENCRYPTION_KEY_PREFERENCE => {
                let name = (value.tag == tag::context_constructed(0)).then(|| encode(tag::SEQUENCE, &[value.value]));
                self.scep.reply_key = name.and_then(|der| IssuerAndSerialNumber::from_der(&der).ok());
            }
            ALGORITHM_PROTECTION => self.protection = Some(value.raw),
            CONTENT_TYPE => self.content_type = Some(value.oid().ok_or_else(bad)?),
            MESSAGE_DIGEST if value.tag == tag::OCTET_STRING => self.message_digest = Some(value.value),
            _ => return Err(bad()),
        }
        Ok(())
    }

    /// Writes the DER `SET OF Attribute` that is signed: sorted (RFC 5652 section 5.3), contentType and messageDigest included.
    ///
    /// `protection` is the cmsAlgorithmProtection of RFC 6211, if there is to be one.
    pub(crate) fn write(scep: &Attributes, message_digest: &[u8], protection: Option<Vec<u8>>) -> Vec<u8> {
        let attribute =
            |kind: &ObjectIdentifier, value: Vec<u8>| encode(tag::SEQUENCE, &[encode_oid(kind), encode(tag::SET, &[value])]);
        let decimal = |number: u32| encode(tag::PRINTABLE_STRING, &[number.to_string()]);
        let octets = |value: &[u8]| encode(tag::OCTET_STRING, &[value]);
        let mut all = vec![attribute(&CONTENT_TYPE, encode_oid(&ID_DATA)), attribute(&MESSAGE_DIGEST, octets(message_digest))];
        let Attributes {
            transaction_id,
            message_type,
            pki_status,
            fail_info,
            fail_info_text,
            sender_nonce,
            recipient_nonce,
            reply_key,
        } = scep;
        if let Some(id) = transaction_id {
            // PrintableString by the RFC, also for the `_` and `@` that some clients put there and want to see again.
            let tag = if id.is_ascii() { tag::PRINTABLE_STRING } else { tag::UTF8_STRING };
            all.push(attribute(&TRANSACTION_ID, encode(tag, &[id])));
        }
        for (kind, value) in [(&MESSAGE_TYPE, message_type), (&PKI_STATUS, pki_status), (&FAIL_INFO, fail_info)] {
            all.extend(value.map(|number| attribute(kind, decimal(number))));
        }
        if let Some(text) = fail_info_text {
            all.push(attribute(&FAIL_INFO_TEXT, encode(tag::UTF8_STRING, &[text])));
        }
        for (kind, value) in [(&SENDER_NONCE, sender_nonce), (&RECIPIENT_NONCE, recipient_nonce)] {
            all.extend(value.as_ref().map(|nonce| attribute(kind, octets(nonce))));
        }
        all.extend(protection.map(|value| attribute(&ALGORITHM_PROTECTION, value)));
        if let Some(name) = reply_key {
            // [0] IMPLICIT IssuerAndSerialNumber.
            let mut value = name.to_der();
            value[0] = tag::context_constructed(0);
            all.push(attribute(&ENCRYPTION_KEY_PREFERENCE, value));
        }
        encode_set_of(all)
    }
}

/// A decimal number in a PrintableString; an INTEGER, or another string type, is taken too.
fn number(value: &Tlv<'_>) -> Option<u32> {
    if value.tag == tag::INTEGER {
        return value.unsigned()?.try_into().ok();
    }
    let text = value.text()?;
    let text = text.trim();
    (!text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn attribute_name(kind: &ObjectIdentifier) -> &'static str {
    match *kind {
        TRANSACTION_ID => "transactionID",
        MESSAGE_TYPE => "messageType",
        PKI_STATUS => "pkiStatus",
        FAIL_INFO => "failInfo",
        FAIL_INFO_TEXT => "failInfoText",
        SENDER_NONCE => "senderNonce",
        RECIPIENT_NONCE => "recipientNonce",
        CONTENT_TYPE => "contentType",
        ENCRYPTION_KEY_PREFERENCE => "encryptionKeyPreference",
        ALGORITHM_PROTECTION => "cmsAlgorithmProtection",
        _ => "messageDigest",
    }
}

/// Encodes an AlgorithmIdentifier; `parameters` is DER.
pub(crate) fn algorithm_identifier(oid: &ObjectIdentifier, parameters: &[u8]) -> Vec<u8> {
    encode(tag::SEQUENCE, &[encode_oid(oid).as_slice(), parameters])
}

/// `NULL`.
pub(crate) const NULL: [u8; 2] = [tlv::tag::NULL, 0];

/// Longest transactionID that is taken, in octets.
const MAX_TRANSACTION_ID: usize = 1024;

/// id-data (RFC 5652 section 4).
pub(crate) const ID_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const MESSAGE_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.2");
const PKI_STATUS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.3");
const FAIL_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.4");
const SENDER_NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.5");
const RECIPIENT_NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.6");
const TRANSACTION_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.7");
const FAIL_INFO_TEXT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.24.1");
/// id-aa-encrypKeyPref (RFC 8551 section 2.5.3): SMIMEEncryptionKeyPreference ::= CHOICE { issuerAndSerialNumber [0], … }
const ENCRYPTION_KEY_PREFERENCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.11");
/// id-aa-CMSAlgorithmProtection (RFC 6211 section 2).
const ALGORITHM_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.52");
const KNOWN: [ObjectIdentifier; 11] = [
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    MESSAGE_TYPE,
    PKI_STATUS,
    FAIL_INFO,
    SENDER_NONCE,
    RECIPIENT_NONCE,
    TRANSACTION_ID,
    FAIL_INFO_TEXT,
    ENCRYPTION_KEY_PREFERENCE,
    ALGORITHM_PROTECTION,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[u8]) -> Result<SignedAttributes<'_>, WireError> {
        SignedAttributes::read(Reader::single("attributes", set, tag::SET).unwrap().reader())
    }

    #[test]
    fn what_is_written_is_read_again_and_sorted() {
        let scep = Attributes {
            transaction_id: Some("HVvzN0228V+AW+dUuDe8OPyDXD0=".into()),
            message_type: Some(3),
            pki_status: Some(2),
            fail_info: Some(0),
            fail_info_text: Some("Größe".into()),
            sender_nonce: Some(vec![1; 16]),
            recipient_nonce: Some(vec![2; 8]),
            reply_key: Some(IssuerAndSerialNumber { issuer: vec![tag::SEQUENCE, 0], serial: vec![5] }),
        };
        let der = SignedAttributes::write(&scep, &[7; 32], Some(vec![tag::SEQUENCE, 0]));
        let back = read(&der).unwrap();
        assert_eq!(back.scep, scep);
        assert_eq!(back.message_digest, Some(&[7; 32][..]));
        assert_eq!(back.content_type, Some(ID_DATA));
        assert_eq!(back.protection, Some(&[tag::SEQUENCE, 0][..]));
        let mut set = Reader::single("attributes", &der, tag::SET).unwrap().reader();
        let mut last: &[u8] = &[];
        while !set.is_empty() {
            let next = set.any().unwrap().raw;
            assert!(last < next);
            last = next;
        }
    }

    #[test]
    fn numbers_are_decimal_and_small() {
        let message_type = |value: Vec<u8>| {
            let attribute = encode(tag::SEQUENCE, &[encode_oid(&MESSAGE_TYPE), encode(tag::SET, &[value])]);
            read(&encode(tag::SET, &[attribute])).map(|read| read.scep.message_type)
        };
        assert_eq!(message_type(encode(tag::PRINTABLE_STRING, &["19"])), Ok(Some(19)));
        assert_eq!(message_type(encode(tag::UTF8_STRING, &["19"])), Ok(Some(19)));
        assert_eq!(message_type(encode(tag::INTEGER, &[[19u8]])), Ok(Some(19)));
        for bad in ["", "-1", "+19", "99999999999", "1x"] {
            assert_eq!(message_type(encode(tag::PRINTABLE_STRING, &[bad])), Err(WireError::BadAttribute("messageType")), "{bad}");
        }
    }

    #[test]
    fn unknown_attributes_are_passed_over() {
        let random = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.25.3");
        let attribute =
            encode(tag::SEQUENCE, &[encode_oid(&random), encode(tag::SET, &[encode(tag::OCTET_STRING, &[[1u8; 8]])])]);
        assert_eq!(read(&encode(tag::SET, &[attribute])), Ok(SignedAttributes::default()));
    }

    #[test]
    fn a_transaction_id_is_echoed_octet_for_octet() {
        for id in ["SSCEP transactionId", "a_b@c", "Größe", &"9".repeat(77)] {
            let scep = Attributes { transaction_id: Some(id.to_owned()), ..Attributes::default() };
            let der = SignedAttributes::write(&scep, &[], None);
            assert_eq!(read(&der).unwrap().scep.transaction_id.as_deref(), Some(id));
        }
        let long = Attributes { transaction_id: Some("x".repeat(MAX_TRANSACTION_ID + 1)), ..Attributes::default() };
        assert_eq!(read(&SignedAttributes::write(&long, &[], None)), Err(WireError::BadAttribute("transactionID")));
    }
}
