//! PKIStatusInfo: what a CA says of a request, for programs and for people (RFC 9810 section 5.2.3).

use std::fmt;

use crate::x509::X509Error;
use crate::x509::tlv::{Tlv, encode, encode_unsigned, tag};

/// PKIStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PkiStatus {
    /// accepted (0)
    Accepted,
    /// grantedWithMods (1): something else than what was asked for.
    GrantedWithMods,
    /// rejection (2)
    Rejection,
    /// waiting (3)
    Waiting,
    /// revocationWarning (4), revocationNotification (5), keyUpdateWarning (6): granted, with a word on something else.
    Warning,
}

/// PKIFailureInfo: the names of its bits, in the numbering of the standard.
const FAILURES: [&str; 27] = [
    "badAlg",
    "badMessageCheck",
    "badRequest",
    "badTime",
    "badCertId",
    "badDataFormat",
    "wrongAuthority",
    "incorrectData",
    "missingTimeStamp",
    "badPOP",
    "certRevoked",
    "certConfirmed",
    "wrongIntegrity",
    "badRecipientNonce",
    "timeNotAvailable",
    "unacceptedPolicy",
    "unacceptedExtension",
    "addInfoNotAvailable",
    "badSenderNonce",
    "badCertTemplate",
    "signerNotTrusted",
    "transactionIdInUse",
    "unsupportedVersion",
    "notAuthorized",
    "systemUnavail",
    "systemFailure",
    "duplicateCertReq",
];

/// One bit of PKIFailureInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure(u32);

impl Failure {
    pub(super) const INCORRECT_DATA: Failure = Failure(7);
    pub(super) const CERT_REVOKED: Failure = Failure(10);
    pub(super) const CERT_CONFIRMED: Failure = Failure(11);
    pub(super) const TRANSACTION_ID_IN_USE: Failure = Failure(21);
    pub(super) const SYSTEM_UNAVAILABLE: Failure = Failure(24);
    pub(super) const SYSTEM_FAILURE: Failure = Failure(25);

    /// What is wrong with the message, or with who sent it, and says nothing about what was asked for: badMessageCheck, badRequest,
    /// badTime, badDataFormat, wrongIntegrity, badRecipientNonce, badSenderNonce, signerNotTrusted, transactionIdInUse,
    /// unsupportedVersion, notAuthorized.
    pub(super) const OF_THE_MESSAGE: [Failure; 11] = [
        Failure(1),
        Failure(2),
        Failure(3),
        Failure(5),
        Failure(12),
        Failure(13),
        Failure(18),
        Failure(20),
        Failure(21),
        Failure(22),
        Failure(23),
    ];

    /// Who sent it is not taken for who may: badTime, wrongIntegrity, signerNotTrusted. Like HTTP 401 it is for the operator to mend,
    /// and no fault of what was asked for. (badMessageCheck is not among them: some say so of whatever they do not like.)
    pub(super) const OF_THE_SENDER: [Failure; 3] = [Failure(3), Failure(12), Failure(20)];
}

/// PKIStatusInfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusInfo {
    /// The status.
    pub status: PkiStatus,
    /// What it says to people, cut short.
    pub text: String,
    /// The bits of failInfo.
    failures: u32,
}

impl StatusInfo {
    /// A rejection of ours.
    pub(super) fn rejection(failure: Failure, text: &str) -> Self {
        Self { status: PkiStatus::Rejection, text: text.to_owned(), failures: 1 << failure.0 }
    }

    /// PKIStatusInfo ::= SEQUENCE { status INTEGER, statusString SEQUENCE OF UTF8String OPTIONAL, failInfo BIT STRING OPTIONAL }
    pub(super) fn read(info: &Tlv<'_>) -> Result<Self, X509Error> {
        let mut fields = info.reader();
        let status = fields.tag(tag::INTEGER)?;
        let status = match status.unsigned() {
            Some(0) => PkiStatus::Accepted,
            Some(1) => PkiStatus::GrantedWithMods,
            Some(2) => PkiStatus::Rejection,
            Some(3) => PkiStatus::Waiting,
            Some(4..=6) => PkiStatus::Warning,
            _ => return Err(status.error("a PKIStatus that there is not")),
        };
        let text = fields.optional(tag::SEQUENCE)?.map(|text| free_text(&text)).transpose()?.unwrap_or_default();
        let failures = fields.optional(tag::BIT_STRING)?.map_or(0, |bits| read_bits(bits.value));
        fields.finish()?;
        Ok(Self { status, text, failures })
    }

    /// Writes it.
    pub(super) fn to_der(&self) -> Vec<u8> {
        let status: u8 = match self.status {
            PkiStatus::Accepted => 0,
            PkiStatus::GrantedWithMods => 1,
            PkiStatus::Rejection => 2,
            PkiStatus::Waiting => 3,
            PkiStatus::Warning => 4,
        };
        let text = match self.text.as_str() {
            "" => Vec::new(),
            text => encode(tag::SEQUENCE, &[encode(tag::UTF8_STRING, &[text])]),
        };
        let failures = if self.failures == 0 { Vec::new() } else { encode(tag::BIT_STRING, &[write_bits(self.failures)]) };
        encode(tag::SEQUENCE, &[encode_unsigned(&[status]), text, failures])
    }

    /// Whether it says this.
    pub(super) fn has(&self, failure: Failure) -> bool {
        self.failures & 1 << failure.0 != 0
    }

    /// Whether it says one of these.
    pub(super) fn has_any(&self, failures: &[Failure]) -> bool {
        failures.iter().any(|&failure| self.has(failure))
    }

    /// The names of what is wrong.
    pub fn failures(&self) -> Vec<&'static str> {
        (0..FAILURES.len()).filter(|bit| self.failures & 1 << bit != 0).map(|bit| FAILURES[bit]).collect()
    }
}

/// For people: the names of what is wrong, and what the CA says of it.
impl fmt::Display for StatusInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            PkiStatus::Accepted => "accepted",
            PkiStatus::GrantedWithMods => "granted with modifications",
            PkiStatus::Rejection => "rejected",
            PkiStatus::Waiting => "waiting",
            PkiStatus::Warning => "granted with a warning",
        };
        f.write_str(status)?;
        match self.failures().as_slice() {
            [] => {}
            failures => write!(f, " ({})", failures.join(", "))?,
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {:?}", self.text) }
    }
}

/// PKIFreeText ::= SEQUENCE OF UTF8String, cut short, without what could move a terminal's cursor.
pub(super) fn free_text(text: &Tlv<'_>) -> Result<String, X509Error> {
    let mut reader = text.reader();
    let mut all = String::new();
    while !reader.is_empty() {
        let line = reader.any()?;
        let line = line.text().ok_or_else(|| line.error("a free text that is no string"))?;
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_TEXT));
        if all.len() > MOST_TEXT {
            break;
        }
    }
    Ok(all.chars().take(MOST_TEXT).collect())
}

/// Characters of a text of the CA that are shown.
const MOST_TEXT: usize = 300;

/// A named bit list: the first octet says how many bits at the end do not count.
fn read_bits(octets: &[u8]) -> u32 {
    let Some((_, octets)) = octets.split_first() else { return 0 };
    let set = |bit: &usize| octets.get(bit / 8).is_some_and(|octet| octet & 0x80 >> (bit % 8) != 0);
    (0..FAILURES.len()).filter(set).fold(0, |bits, bit| bits | 1 << bit)
}

/// The same, without zero bits at the end (X.690 section 11.2.2).
fn write_bits(bits: u32) -> Vec<u8> {
    let count = 32 - bits.leading_zeros() as usize;
    let mut out = vec![0; 1 + count.div_ceil(8)];
    out[0] = (count.div_ceil(8) * 8 - count) as u8;
    for bit in (0..count).filter(|bit| bits & 1 << bit != 0) {
        out[1 + bit / 8] |= 0x80 >> (bit % 8);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::tlv::Reader;

    fn read(der: &[u8]) -> StatusInfo {
        StatusInfo::read(&Reader::single("status", der, tag::SEQUENCE).unwrap()).unwrap()
    }

    #[test]
    fn status_comes_back_as_it_went() {
        let info = StatusInfo { status: PkiStatus::Rejection, text: "no".into(), failures: 1 << 9 | 1 << 24 };
        let der = info.to_der();
        assert_eq!(der, hex::decode("301002010230040c026e6f03050700400080").unwrap());
        assert_eq!(read(&der), info);
        assert_eq!(info.failures(), ["badPOP", "systemUnavail"]);
        assert_eq!(info.to_string(), r#"rejected (badPOP, systemUnavail): "no""#);
        let accepted = StatusInfo { status: PkiStatus::Accepted, text: String::new(), failures: 0 };
        assert_eq!(accepted.to_der(), [0x30, 3, 2, 1, 0]);
    }

    #[test]
    fn texts_are_cut_and_cleaned() {
        let line = encode(tag::UTF8_STRING, &["a\u{1b}[2J".to_owned() + &"x".repeat(1000)]);
        let der = encode(tag::SEQUENCE, &[encode_unsigned(&[2]), encode(tag::SEQUENCE, &[&line, &line])]);
        let text = read(&der).text;
        assert!(text.len() == 300 && text.starts_with("a [2Jxx"), "{text}");
    }
}
