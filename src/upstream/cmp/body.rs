//! What is inside the bodies (RFC 9810 section 5.3): confirmations, polls and general messages written, answers read.

use std::time::Duration;

use der::oid::ObjectIdentifier;

use super::message::{MOST_CERTIFICATES, explicit, single};
use super::status::{self, StatusInfo};
use crate::algorithm::Digest;
use crate::x509::tlv::{Reader, Tlv, encode, encode_oid, tag};
use crate::x509::{DistinguishedName, X509Error};

/// id-it-caCerts (RFC 9810 section 5.3.19.14)
const CA_CERTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.17");
/// id-it-crlStatusList (RFC 9810 section 5.3.19.17)
const CRL_STATUS_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.22");
/// id-it-crls (RFC 9810 section 5.3.19.17)
const CRLS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.23");

/// The answer to a request for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertRep<'a> {
    /// The certificates of the CA that came with it, DER.
    pub ca_pubs: Vec<&'a [u8]>,
    /// Which request it answers: 0, or -1 for a PKCS#10.
    pub id: i64,
    /// What the CA says.
    pub status: StatusInfo,
    /// The certificate, DER.
    pub certificate: Option<&'a [u8]>,
}

impl<'a> CertRep<'a> {
    /// Reads CertRepMessage with one CertResponse.
    ///
    /// ```text
    /// CertRepMessage   ::= SEQUENCE { caPubs [1] SEQUENCE OF Certificate OPTIONAL, response SEQUENCE OF CertResponse }
    /// CertResponse     ::= SEQUENCE { certReqId INTEGER, status PKIStatusInfo, certifiedKeyPair OPTIONAL, rspInfo OPTIONAL }
    /// CertifiedKeyPair ::= SEQUENCE { certOrEncCert CHOICE { certificate [0], encryptedCert [1] }, … }
    /// ```
    pub fn read(content: &'a [u8]) -> Result<Self, X509Error> {
        let mut fields = Reader::single("CertRepMessage", content, tag::SEQUENCE)?.reader();
        let ca_pubs = match fields.optional(tag::context_constructed(1))? {
            Some(field) => certificates(&single(&field, tag::SEQUENCE)?)?,
            None => Vec::new(),
        };
        let responses = fields.tag(tag::SEQUENCE)?;
        fields.finish()?;
        let response = single(&responses, tag::SEQUENCE)?;
        let mut fields = response.reader();
        let id = request_id(&fields.tag(tag::INTEGER)?)?;
        let status = StatusInfo::read(&fields.tag(tag::SEQUENCE)?)?;
        let certificate = match fields.optional(tag::SEQUENCE)? {
            Some(pair) => {
                let mut pair = pair.reader();
                let certificate = pair.any()?;
                if certificate.tag != tag::context_constructed(0) {
                    return Err(certificate.error("a certificate that is encrypted, which was not asked for"));
                }
                Some(single(&certificate, tag::SEQUENCE)?.raw)
            }
            None => None,
        };
        fields.optional(tag::OCTET_STRING)?;
        fields.finish()?;
        Ok(Self { ca_pubs, id, status, certificate })
    }
}

/// A certReqId: 0 for the first request, -1 where there is none to name (RFC 9810 section 5.3.4).
fn request_id(id: &Tlv<'_>) -> Result<i64, X509Error> {
    match id.value {
        [0xff] => Ok(-1),
        _ => id.unsigned().and_then(|id| i64::try_from(id).ok()).ok_or_else(|| id.error("not a certReqId")),
    }
}

fn write_request_id(id: i64) -> Vec<u8> {
    // Only these two are ever taken.
    encode(tag::INTEGER, &[[id as u8]])
}

fn certificates<'a>(all: &Tlv<'a>) -> Result<Vec<&'a [u8]>, X509Error> {
    let mut reader = all.reader();
    let mut certificates = Vec::new();
    while !reader.is_empty() {
        let certificate = reader.tag(tag::SEQUENCE)?;
        if certificates.len() == MOST_CERTIFICATES {
            return Err(certificate.error("more certificates than anybody needs"));
        }
        certificates.push(certificate.raw);
    }
    Ok(certificates)
}

/// CertConfirmContent ::= SEQUENCE OF SEQUENCE { certHash OCTET STRING, certReqId INTEGER, statusInfo OPTIONAL, hashAlg [0] OPTIONAL }
pub fn confirmation(id: i64, hash: &[u8], named: Option<Digest>, refused: Option<&StatusInfo>) -> Vec<u8> {
    let status = encode(
        tag::SEQUENCE,
        &[
            encode(tag::OCTET_STRING, &[hash]),
            write_request_id(id),
            refused.map(StatusInfo::to_der).unwrap_or_default(),
            named.map(|digest| explicit(0, encode(tag::SEQUENCE, &[encode_oid(&digest.oid())]))).unwrap_or_default(),
        ],
    );
    encode(tag::SEQUENCE, &[status])
}

/// PollReqContent ::= SEQUENCE OF SEQUENCE { certReqId INTEGER }
pub fn poll(id: i64) -> Vec<u8> {
    encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &[write_request_id(id)])])
}

/// When the CA wants to be asked again: PollRepContent ::= SEQUENCE OF SEQUENCE { certReqId, checkAfter INTEGER, reason OPTIONAL }
pub fn read_poll(content: &[u8]) -> Result<Duration, X509Error> {
    let all = Reader::single("PollRepContent", content, tag::SEQUENCE)?;
    let mut fields = single(&all, tag::SEQUENCE)?.reader();
    request_id(&fields.tag(tag::INTEGER)?)?;
    let after = fields.tag(tag::INTEGER)?;
    fields.optional(tag::SEQUENCE)?;
    fields.finish()?;
    // Beyond 2^63 the CA may as well have said "never".
    Ok(Duration::from_secs(after.unsigned().unwrap_or(u64::MAX).min(MOST_WAIT)))
}

/// The longest time between two polls.
const MOST_WAIT: u64 = 24 * 3600;

/// ErrorMsgContent ::= SEQUENCE { pKIStatusInfo, errorCode INTEGER OPTIONAL, errorDetails SEQUENCE OF UTF8String OPTIONAL }
pub fn read_error(content: &[u8]) -> Result<StatusInfo, X509Error> {
    let mut fields = Reader::single("ErrorMsgContent", content, tag::SEQUENCE)?.reader();
    let mut info = StatusInfo::read(&fields.tag(tag::SEQUENCE)?)?;
    fields.optional(tag::INTEGER)?;
    if let Some(details) = fields.optional(tag::SEQUENCE)? {
        let details = status::free_text(&details)?;
        if !info.text.is_empty() && !details.is_empty() {
            info.text.push_str("; ");
        }
        info.text.push_str(&details);
    }
    fields.finish()?;
    Ok(info)
}

/// RevRepContent ::= SEQUENCE { status SEQUENCE OF PKIStatusInfo, revCerts [0] OPTIONAL, crls [1] OPTIONAL }
pub fn read_revocation(content: &[u8]) -> Result<StatusInfo, X509Error> {
    let mut fields = Reader::single("RevRepContent", content, tag::SEQUENCE)?.reader();
    let all = fields.tag(tag::SEQUENCE)?;
    StatusInfo::read(&single(&all, tag::SEQUENCE)?)
}

/// Asks for the certificates of the CA (RFC 9483 section 4.3.1).
pub fn ask_ca_certificates() -> Vec<u8> {
    encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &[encode_oid(&CA_CERTS)])])
}

/// Asks for the newest CRL of an issuer (RFC 9483 section 4.3.4): CRLStatus ::= SEQUENCE { source CHOICE { dpn [0], issuer [1]
/// GeneralNames }, thisUpdate OPTIONAL }.
pub fn ask_crl(issuer: &DistinguishedName) -> Vec<u8> {
    let names = encode(tag::SEQUENCE, &[encode(tag::context_constructed(4), &[issuer.der()])]);
    let status = encode(tag::SEQUENCE, &[explicit(1, names)]);
    let list = encode(tag::SEQUENCE, &[status]);
    encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &[encode_oid(&CRL_STATUS_LIST), list])])
}

/// The certificates in a general response; empty if it tells none.
pub fn read_ca_certificates(content: &[u8]) -> Result<Vec<&[u8]>, X509Error> {
    read_general(content, &CA_CERTS)
}

/// The CRLs in a general response.
pub fn read_crls(content: &[u8]) -> Result<Vec<&[u8]>, X509Error> {
    read_general(content, &CRLS)
}

/// GenRepContent ::= SEQUENCE OF SEQUENCE { infoType OBJECT IDENTIFIER, infoValue ANY OPTIONAL }, here with a SEQUENCE OF SEQUENCE.
fn read_general<'a>(content: &'a [u8], wanted: &ObjectIdentifier) -> Result<Vec<&'a [u8]>, X509Error> {
    let mut infos = Reader::single("GenRepContent", content, tag::SEQUENCE)?.reader();
    let mut found = Vec::new();
    while !infos.is_empty() {
        let info = infos.tag(tag::SEQUENCE)?;
        let mut fields = info.reader();
        let oid = fields.tag(tag::OID)?.oid();
        if oid.as_ref() == Some(wanted)
            && let Some(value) = fields.optional(tag::SEQUENCE)?
        {
            found.extend(certificates(&value)?);
        }
    }
    Ok(found)
}

/// Reads whatever a CA may have answered, for its tag: what the fuzzer looks at.
pub fn read_any(number: u8, content: &[u8]) -> Result<(), X509Error> {
    use super::message::body_tag;
    match number {
        body_tag::IP | body_tag::CP => CertRep::read(content).map(drop),
        body_tag::RP => read_revocation(content).map(drop),
        body_tag::GENP => read_ca_certificates(content).and_then(|_| read_crls(content)).map(drop),
        body_tag::ERROR => read_error(content).map(drop),
        body_tag::POLL_REP => read_poll(content).map(drop),
        _ => Ok(()),
    }
}
