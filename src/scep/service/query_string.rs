//! What a request target says (RFC 8894 section 4.1), read from the raw query by RFC 3986: `+` is a plus, not a space.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

use crate::scep::WireError;

/// An operation of SCEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// What the server can do.
    GetCaCaps,
    /// The certificates of RA and CA.
    GetCaCert,
    /// The CA certificate that comes next.
    GetNextCaCert,
    /// A message.
    PkiOperation,
}

impl Operation {
    /// The operation that a parameter names; letter case does not count.
    pub fn from_name(name: &str) -> Option<Self> {
        [Operation::GetCaCaps, Operation::GetCaCert, Operation::GetNextCaCert, Operation::PkiOperation]
            .into_iter()
            .find(|operation| operation.name().eq_ignore_ascii_case(name))
    }

    /// The name in RFC 8894.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::GetCaCaps => "GetCACaps",
            Operation::GetCaCert => "GetCACert",
            Operation::GetNextCaCert => "GetNextCACert",
            Operation::PkiOperation => "PKIOperation",
        }
    }
}

/// The parameters of a target, in whatever order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// operation, decoded.
    pub operation: Option<Cow<'a, str>>,
    /// message, as it came.
    pub message: Option<&'a str>,
}

impl<'a> Parameters<'a> {
    /// Reads a raw query; the first of several parameters of a name counts, unknown ones are passed over.
    pub fn read(query: &'a str) -> Self {
        let mut read = Parameters::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decode_str(name).decode_utf8_lossy();
            if name.eq_ignore_ascii_case("operation") && read.operation.is_none() {
                read.operation = Some(percent_decode_str(value).decode_utf8_lossy());
            } else if name.eq_ignore_ascii_case("message") && read.message.is_none() {
                read.message = Some(value);
            }
        }
        read
    }
}

/// Decodes the message of a GET: percent-escaped or not, of either alphabet, with or without padding, with line breaks, and with
/// the spaces that a form decoder on the way made of `+`.
pub fn decode_message(value: &str, limit: usize) -> Result<Vec<u8>, WireError> {
    // Three characters an octet, four for three octets, and line breaks: more than this cannot become little enough.
    if value.len() > limit.saturating_mul(5) {
        return Err(WireError::TooLarge { limit });
    }
    let text: Vec<u8> = percent_decode_str(value)
        .filter(|octet| !matches!(octet, b'\r' | b'\n' | b'\t'))
        .map(|octet| match octet {
            b' ' | b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let decoded = LENIENT.decode(text).map_err(|_| WireError::NotBase64)?;
    match decoded.len() {
        0 => Err(WireError::NotBase64),
        len if len > limit => Err(WireError::TooLarge { limit }),
        _ => Ok(decoded),
    }
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_in_any_order_and_case() {
        let expected = Parameters { operation: Some("PKIOperation".into()), message: Some("AA==") };
        assert_eq!(Parameters::read("operation=PKIOperation&message=AA=="), expected);
        assert_eq!(Parameters::read("x=1&message=AA==&operation=PKI%4Fperation&&message=BB"), expected);
        assert_eq!(Parameters::read("Operation=PKIOperation&Message=AA=="), expected);
        assert_eq!(Parameters::read(""), Parameters::default());
        assert_eq!(Operation::from_name("getcacaps"), Some(Operation::GetCaCaps));
        assert_eq!(Operation::from_name("GetCACapsX"), None);
    }

    #[test]
    fn messages_however_they_are_escaped() {
        let octets = [0xfb, 0xff, 0xbf, 0x00];
        for text in ["+/+/AA==", "%2B%2F%2b%2FAA%3D%3D", "-_-_AA", "-_+/AA%3D%3D", "+/+/%0AAA==%0D%0A", "%20/ /AA", "+/+/AA%3D="]
        {
            assert_eq!(decode_message(text, 64).as_deref(), Ok(&octets[..]), "{text}");
        }
        for text in ["", "%3D", "A", "????", "AA*A", "%0A"] {
            assert_eq!(decode_message(text, 64), Err(WireError::NotBase64), "{text}");
        }
        assert_eq!(decode_message("AAAAAAAA", 5), Err(WireError::TooLarge { limit: 5 }));
        assert_eq!(decode_message(&"A".repeat(1000), 5), Err(WireError::TooLarge { limit: 5 }));
    }
}
