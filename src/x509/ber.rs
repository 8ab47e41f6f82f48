//! BER to DER: definite lengths, joined strings. Bounded in depth and size.
//!
//! SCEP clients built on Bouncy Castle, Go or `openssl -stream` send CMS in BER: indefinite lengths, and OCTET STRINGs in pieces.
//! Signatures are over the DER (RFC 5652 section 5.4), and the decoders behind this one read DER only, so messages pass through
//! here first. The order of SET OF elements is left alone: a signature may have been made over the order that was sent.
//!
//! Two passes, both linear: the first makes a flat list of what the output consists of, with lengths; the second writes it.

use std::borrow::Cow;

use super::X509Error;
use super::tlv::{length_of_length, tag, write_length};

/// Deepest nesting that is followed.
pub const MAX_DEPTH: usize = 24;

/// Gives the DER of one BER value (X.690 section 8): definite lengths, constructed strings joined. DER input is borrowed as it is.
///
/// Trailing octets after the value are refused, and BIT STRINGs in pieces, which nobody sends.
///
/// The `encryptedContent` of a CMS EncryptedContentInfo is an OCTET STRING under an implicit tag, so that nothing but its place
/// tells that pieces in it have to be joined: a SEQUENCE of an OBJECT IDENTIFIER, a SEQUENCE and a constructed `[0]` that holds
/// OCTET STRINGs only (RFC 5652 section 6.1).
pub fn to_der(input: &[u8]) -> Result<Cow<'_, [u8]>, X509Error> {
    if is_der(input) {
        return Ok(Cow::Borrowed(input));
    }
    let mut plan = Plan { input, at: 0, nodes: Vec::new() };
    plan.value(0, None)?;
    if plan.at != input.len() {
        return Err(plan.error("octets follow the value"));
    }
    Ok(Cow::Owned(plan.write()))
}

/// A header: identifier octets, whether constructed, length if definite, and how many octets all that takes.
struct Header {
    tag: u8,
    identifier_len: usize,
    len: usize,
    content: Option<usize>,
    shortest: bool,
}

/// Reads a header at the start of `input`; `None` if it is no header.
fn header(input: &[u8]) -> Option<Header> {
    let tag = *input.first()?;
    let mut identifier_len = 1;
    if tag & 0x1f == 0x1f {
        // High tag numbers: up to four octets of seven bits. Nothing in X.509 or CMS has one, but unknown extensions may.
        loop {
            let octet = *input.get(identifier_len)?;
            identifier_len += 1;
            if octet & 0x80 == 0 {
                break;
            }
            if identifier_len > 4 {
                return None;
            }
        }
    }
    let first = *input.get(identifier_len)?;
    let mut len = identifier_len + 1;
    let (content, shortest) = match first {
        0..=0x7f => (Some(usize::from(first)), true),
        0x80 => (None, false),
        0xff => return None,
        _ => {
            let octets = input.get(len..len + usize::from(first & 0x7f))?;
            len += octets.len();
            let skip = octets.iter().take_while(|&&o| o == 0).count();
            let digits = &octets[skip..];
            if digits.len() > 4 {
                return None;
            }
            let length = digits.iter().fold(0usize, |n, &o| n << 8 | usize::from(o));
            (Some(length), skip == 0 && length >= 0x80)
        }
    };
    Some(Header { tag, identifier_len, len, content, shortest })
}

const CONSTRUCTED: u8 = 0x20;
const CONTEXT_0: u8 = tag::context_constructed(0);

/// Whether a universal tag is of a type that BER may cut into pieces.
fn is_string(tag: u8) -> bool {
    tag & 0xc0 == 0 && matches!(tag & 0x1f, 3 | 4 | 7 | 12 | 18..=28 | 30)
}

/// Recognises an EncryptedContentInfo by its children, one after the other.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Start,
    Oid,
    OidSequence,
    OidSequencePieces,
    Other,
}

impl Shape {
    fn next(self, tag: u8, octet_strings_only: bool) -> Shape {
        match (self, tag) {
            (Shape::Start, tag::OID) => Shape::Oid,
            (Shape::Oid, tag::SEQUENCE) => Shape::OidSequence,
            (Shape::OidSequence, CONTEXT_0) if octet_strings_only => Shape::OidSequencePieces,
            _ => Shape::Other,
        }
    }
}

/// Looks whether there is nothing to do: the usual case, and it costs no allocation.
fn is_der(input: &[u8]) -> bool {
    fn values(mut input: &[u8], depth: usize, parent: u8, octet_strings_only: &mut bool) -> bool {
        let mut shape = Shape::Start;
        *octet_strings_only = true;
        while !input.is_empty() {
            let Some(header) = header(input) else { return false };
            let (Some(length), true) = (header.content, header.shortest) else { return false };
            let Some(content) = input[header.len..].get(..length) else { return false };
            if header.tag == 0 {
                return false;
            }
            let mut inner_only = false;
            if header.tag & CONSTRUCTED != 0
                && (is_string(header.tag) || depth == MAX_DEPTH || !values(content, depth + 1, header.tag, &mut inner_only))
            {
                return false;
            }
            *octet_strings_only &= header.tag == tag::OCTET_STRING;
            shape = shape.next(header.tag, inner_only);
            input = &input[header.len + length..];
        }
        !(parent == tag::SEQUENCE && shape == Shape::OidSequencePieces)
    }
    match header(input) {
        Some(Header { len, content: Some(content), .. }) if input.len() == len + content => values(input, 0, 0, &mut false),
        _ => false,
    }
}

/// One piece of the output. Nodes stand in the order of the output, a constructed one before what is in it.
struct Node {
    /// Identifier octets in the input; empty for a piece of a string, whose header falls away.
    identifier: (usize, usize),
    /// Replaces the first identifier octet.
    tag: u8,
    /// Length of the content in the output.
    length: usize,
    /// Content of a primitive value in the input.
    content: (usize, usize),
}

struct Plan<'a> {
    input: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
}

/// What a value has become.
struct Planned {
    tag: u8,
    /// Length with header.
    total: usize,
    /// Length of the content.
    content: usize,
    /// For constructed values: whether all in it are OCTET STRINGs, and the sum of their contents.
    octet_strings: Option<usize>,
}

impl Plan<'_> {
    /// Plans the value at the cursor, which moves behind it. Inside a constructed string, `string` is the tag of the whole.
    fn value(&mut self, depth: usize, string: Option<u8>) -> Result<Planned, X509Error> {
        let start = self.at;
        let header = header(&self.input[start..]).ok_or_else(|| self.error("not a header"))?;
        if header.tag == 0 {
            return Err(self.error("an end-of-contents mark out of place"));
        }
        self.at += header.len;
        let identifier = (start, start + header.identifier_len);
        if header.tag & CONSTRUCTED == 0 {
            let length = header.content.ok_or_else(|| self.error("a primitive value of indefinite length"))?;
            let content = (
                self.at,
                self.at.checked_add(length).filter(|&end| end <= self.input.len()).ok_or_else(|| self.error("it ends early"))?,
            );
            self.at = content.1;
            self.nodes.push(Node { identifier, tag: header.tag, length, content });
            let total = header.identifier_len + length_of_length(length) + length;
            return Ok(Planned { tag: header.tag, total, content: length, octet_strings: None });
        }
        if depth >= MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        let end = match header.content {
            Some(length) => Some(
                self.at.checked_add(length).filter(|&end| end <= self.input.len()).ok_or_else(|| self.error("it ends early"))?,
            ),
            None => None,
        };
        let node = self.nodes.len();
        self.nodes.push(Node { identifier, tag: header.tag, length: 0, content: (0, 0) });
        let planned = if is_string(header.tag) {
            let primitive = header.tag & !CONSTRUCTED;
            if primitive == tag::BIT_STRING {
                return Err(self.error("a BIT STRING in pieces"));
            }
            if string.is_some_and(|whole| primitive != whole && primitive != tag::OCTET_STRING) {
                return Err(self.error("a string in pieces of another type"));
            }
            self.string(node, depth, end, string.unwrap_or(primitive))?
        } else if string.is_some() {
            return Err(self.error("a string with pieces that are none"));
        } else {
            self.constructed(node, depth, end)?
        };
        let content = planned.0;
        self.nodes[node].length = content;
        let total = header.identifier_len + length_of_length(content) + content;
        Ok(Planned { tag: self.nodes[node].tag, total, content, octet_strings: planned.1 })
    }

    /// Plans what is inside a constructed value that stays one. Gives the length, and what is said at [`Planned::octet_strings`].
    fn constructed(&mut self, node: usize, depth: usize, end: Option<usize>) -> Result<(usize, Option<usize>), X509Error> {
        let (mut length, mut octets, mut only) = (0, 0, true);
        let mut shape = Shape::Start;
        let mut last = (0, Planned { tag: 0, total: 0, content: 0, octet_strings: None });
        while self.more(end)? {
            let child = self.nodes.len();
            let planned = self.value(depth + 1, None)?;
            length += planned.total;
            octets += planned.content;
            only &= planned.tag == tag::OCTET_STRING;
            shape = shape.next(planned.tag, planned.octet_strings.is_some());
            last = (child, planned);
        }
        if self.nodes[node].tag == tag::SEQUENCE && shape == Shape::OidSequencePieces {
            // encryptedContent in pieces: the headers of the pieces fall away.
            let (child, planned) = last;
            let joined = planned.octet_strings.expect("the shape says so");
            for piece in &mut self.nodes[child + 1..] {
                piece.identifier = (0, 0);
            }
            self.nodes[child].tag = tag::context(0);
            self.nodes[child].length = joined;
            length -= planned.total;
            length += 1 + length_of_length(joined) + joined;
        }
        Ok((length, only.then_some(octets)))
    }

    /// Plans a string in pieces, whose headers fall away. The pieces are of its own type or OCTET STRINGs (X.690 section 8.23.6).
    fn string(&mut self, node: usize, depth: usize, end: Option<usize>, whole: u8) -> Result<(usize, Option<usize>), X509Error> {
        let mut length = 0;
        while self.more(end)? {
            let child = self.nodes.len();
            let planned = self.value(depth + 1, Some(whole))?;
            if planned.tag != whole && planned.tag != tag::OCTET_STRING {
                return Err(self.error("a string with pieces that are none"));
            }
            self.nodes[child].identifier = (0, 0);
            length += planned.content;
        }
        self.nodes[node].tag &= !CONSTRUCTED;
        Ok((length, None))
    }

    /// Whether another value follows; takes the end-of-contents mark.
    fn more(&mut self, end: Option<usize>) -> Result<bool, X509Error> {
        match end {
            Some(end) if self.at > end => Err(self.error("a value reaches beyond the one around it")),
            Some(end) => Ok(self.at < end),
            None if self.input[self.at..].starts_with(&[0, 0]) => {
                self.at += 2;
                Ok(false)
            }
            None if self.at >= self.input.len() => Err(self.error("the end-of-contents mark is missing")),
            None => Ok(true),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.input.len());
        for node in &self.nodes {
            if node.identifier != (0, 0) {
                out.push(node.tag);
                out.extend_from_slice(&self.input[node.identifier.0 + 1..node.identifier.1]);
                write_length(&mut out, node.length);
            }
            out.extend_from_slice(&self.input[node.content.0..node.content.1]);
        }
        out
    }

    fn error(&self, why: &str) -> X509Error {
        X509Error::malformed("BER", format_args!("{why} (at octet {})", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(hex_text: &str) -> Result<String, X509Error> {
        to_der(&hex::decode(hex_text.replace(' ', "")).unwrap()).map(|der| hex::encode(der.as_ref()))
    }

    fn becomes(ber: &str, expected: &str) {
        assert_eq!(der(ber).as_deref(), Ok(expected.replace(' ', "").as_str()), "{ber}");
    }

    #[test]
    fn der_is_borrowed() {
        for same in ["0500", "3003 020105", "3005 a003 020105", "7f21 03 020101", "3009 0601 2a a004 0402 6869"] {
            let input = hex::decode(same.replace(' ', "")).unwrap();
            assert!(matches!(to_der(&input), Ok(Cow::Borrowed(same)) if same == input), "{same}");
        }
    }

    #[test]
    fn lengths_become_definite_and_short() {
        becomes("3080 020105 0000", "3003 020105");
        becomes("3080 3080 0000 a080 0500 0000 0000", "3006 3000 a002 0500");
        becomes("3081 03 020105", "3003 020105");
        becomes("0484 0000 0002 6869", "0402 6869");
        becomes("7f2180 020101 0000", "7f2103 020101");
        // A SET keeps its order.
        becomes("3180 020105 020103 0000", "3106 020105 020103");
    }

    #[test]
    fn strings_in_pieces_are_joined() {
        becomes("2480 0402 6869 0401 21 0000", "0403 686921");
        becomes("2407 0402 6869 0401 21", "0403 686921");
        becomes("2480 2480 0401 68 0000 2403 0401 69 0000", "0402 6869");
        becomes("2480 0000", "0400");
        becomes("2c80 0c01 68 0401 69 0000", "0c02 6869");
        becomes("3080 2480 0402 6869 0000 0000", "3004 0402 6869");
    }

    #[test]
    fn encrypted_content_in_pieces_is_joined() {
        // EncryptedContentInfo: OID, AlgorithmIdentifier, [0] in pieces; indefinite (openssl -stream) and definite (Go).
        becomes("3080 0601 2a 3000 a080 0402 6869 0401 21 0000 0000", "300a 06012a 3000 8003 686921");
        becomes("3009 0601 2a 3000 a002 0400", "3007 06012a 3000 8000");
        becomes("300b 0601 2a 3000 a004 0402 6869", "3009 06012a 3000 8002 6869");
        becomes("300d 0601 2a 3000 a006 2404 0402 6869", "3009 06012a 3000 8002 6869");
    }

    #[test]
    fn a_tagged_octet_string_elsewhere_is_left_alone() {
        // EncapsulatedContentInfo: OID, [0] EXPLICIT OCTET STRING.
        becomes("3080 0601 2a a080 2480 0402 6869 0000 0000 0000", "3009 06012a a004 0402 6869");
        // Something follows, or [0] holds something else: no EncryptedContentInfo.
        becomes("3080 0601 2a 3000 a080 0402 6869 0000 0500 0000", "300d 06012a 3000 a004 0402 6869 0500");
        becomes("3080 0601 2a 3000 a080 020105 0000 0000", "300a 06012a 3000 a003 020105");
        becomes("3080 020101 3000 a080 0402 6869 0000 0000", "300b 020101 3000 a004 0402 6869");
    }

    #[test]
    fn what_is_no_ber_is_refused() {
        for bad in [
            "",
            "30",
            "3003 0201",
            "3080 020105",
            "3003 020105 00",
            "3080 020105 0000 00",
            "0480 0000",
            "0000",
            "3002 0000",
            "24 03 020105",
            "2480 0c01 68 0000",
            "2380 0302 0068 0000",
            "3003 3005 0500 0500",
            "30 85 0100000000",
            "30ff",
            "1fffffffffff7f00",
            "3004 3080 0000 0500",
        ] {
            assert!(der(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize, open: &str, close: &str| der(&format!("{}0500{}", open.repeat(depth), close.repeat(depth)));
        assert!(nested(MAX_DEPTH, "3080", "0000").is_ok());
        assert!(nested(MAX_DEPTH + 1, "3080", "0000").is_err());
        assert!(nested(10_000, "3080", "").is_err());
        assert!(nested(10_000, "2480", "").is_err());
        // The same limit where nothing has to be changed.
        let definite = |depth| (0..depth).fold(vec![5, 0], |inner, _| crate::x509::tlv::encode(tag::SEQUENCE, &[inner]));
        assert!(to_der(&definite(MAX_DEPTH)).is_ok());
        assert!(to_der(&definite(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn many_pieces_take_linear_time() {
        let mut ber = vec![0x24, 0x80];
        for _ in 0..200_000 {
            ber.extend([4, 1, 0x68]);
        }
        ber.extend([0, 0]);
        let started = std::time::Instant::now();
        assert_eq!(to_der(&ber).unwrap().len(), 200_000 + 5);
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
