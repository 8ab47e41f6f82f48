//! The tag-length-value layer below everything that is read with tolerance, and a small writer for what we make.
//!
//! `der` and `x509-cert` decode into strict types: serial numbers over 20 octets, an underscore in a PrintableString or an unsorted
//! SET end the reading. Devices send all of these. This reader checks the framing alone (definite lengths in their shortest form,
//! nothing left over) and leaves it to the caller what a value may be.

use std::ops::Range;

use der::oid::ObjectIdentifier;

use super::X509Error;

/// Identifier octets, as they stand in the encoding.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const VIDEOTEX_STRING: u8 = 0x15;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const GRAPHIC_STRING: u8 = 0x19;
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    pub(crate) const GENERAL_STRING: u8 = 0x1b;
    pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// `[number]`, primitive.
    pub(crate) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// `[number]`, constructed.
    pub(crate) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// Reads one value after the other. Keeps the offset from the outermost input, so that a reader can remember ranges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `input`; `what` names the thing in errors.
    pub(crate) fn new(what: &'static str, input: &'a [u8]) -> Self {
        Reader { what, rest: input, at: 0 }
    }

    /// Reads the one value that `input` consists of.
    pub(crate) fn single(what: &'static str, input: &'a [u8], tag: u8) -> Result<Tlv<'a>, X509Error> {
        let mut reader = Reader::new(what, input);
        let value = reader.tag(tag)?;
        reader.finish()?;
        Ok(value)
    }

    /// Whether all was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The identifier octet of the next value.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Reads the next value, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Tlv<'a>, X509Error> {
        let (&tag, after_tag) = self.rest.split_first().ok_or_else(|| self.error("it ends early"))?;
        if tag & 0x1f == 0x1f {
            return Err(self.error("a tag number over 30"));
        }
        let (&first, after_first) = after_tag.split_first().ok_or_else(|| self.error("it ends early"))?;
        let (length, content) = match first {
            0..=0x7f => (usize::from(first), after_first),
            0x80 => return Err(self.error("an indefinite length")),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                if after_first.len() < count {
                    return Err(self.error("it ends early"));
                }
                let (octets, content) = after_first.split_at(count);
                let length = octets.iter().fold(0usize, |n, &o| n << 8 | usize::from(o));
                if octets[0] == 0 || length < 0x80 {
                    return Err(self.error("a length that is not in its shortest form"));
                }
                (length, content)
            }
            _ => return Err(self.error("a length of more than four octets")),
        };
        if content.len() < length {
            return Err(self.error("it ends early"));
        }
        let header = self.rest.len() - content.len();
        let (raw, rest) = self.rest.split_at(header + length);
        let tlv = Tlv { what: self.what, tag, value: &raw[header..], raw, at: self.at };
        self.rest = rest;
        self.at += raw.len();
        Ok(tlv)
    }

    /// Reads the next value, which has to have this tag.
    pub(crate) fn tag(&mut self, tag: u8) -> Result<Tlv<'a>, X509Error> {
        match self.peek() {
            Some(found) if found == tag => self.any(),
            Some(found) => Err(self.error(format_args!("tag {found:#04x} where {tag:#04x} was expected"))),
            None => Err(self.error(format_args!("it ends where tag {tag:#04x} was expected"))),
        }
    }

    /// Reads the next value if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, X509Error> {
        if self.peek() == Some(tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// Says that nothing may follow.
    pub(crate) fn finish(self) -> Result<(), X509Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(format_args!("{} octets too many", self.rest.len()))) }
    }

    /// An error at this place.
    pub(crate) fn error(&self, why: impl std::fmt::Display) -> X509Error {
        X509Error::malformed(self.what, format_args!("{why} (at octet {})", self.at))
    }
}

/// One value: identifier, content, and the whole encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    what: &'static str,
    /// The identifier octet.
    pub(crate) tag: u8,
    /// The content octets.
    pub(crate) value: &'a [u8],
    /// Identifier, length and content.
    pub(crate) raw: &'a [u8],
    at: usize,
}

impl<'a> Tlv<'a> {
    /// What is being read, for errors.
    pub(crate) fn what(&self) -> &'static str {
        self.what
    }

    /// Reads what is inside.
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader { what: self.what, rest: self.value, at: self.value_range().start }
    }

    /// Where the whole value stands in the outermost input.
    pub(crate) fn range(&self) -> Range<usize> {
        self.at..self.at + self.raw.len()
    }

    /// Where the content stands in the outermost input.
    pub(crate) fn value_range(&self) -> Range<usize> {
        let end = self.at + self.raw.len();
        end - self.value.len()..end
    }

    /// The content as an OBJECT IDENTIFIER. `None` if it is none, or has arcs beyond 32 bits: such an OID cannot be one of ours.
    ///
    /// An arc that is padded with zero bits (X.690 section 8.19.2) would be printed like one of ours without being equal to it.
    pub(crate) fn oid(&self) -> Option<ObjectIdentifier> {
        let padded = |(at, octet): (usize, &u8)| *octet == 0x80 && (at == 0 || self.value[at - 1] & 0x80 == 0);
        if self.tag != tag::OID || self.value.iter().enumerate().any(padded) {
            return None;
        }
        ObjectIdentifier::from_bytes(self.value).ok()
    }

    /// The octets of a BIT STRING that has whole octets.
    pub(crate) fn bit_octets(&self) -> Result<&'a [u8], X509Error> {
        match self.value.split_first() {
            Some((0, octets)) if self.tag == tag::BIT_STRING => Ok(octets),
            _ => Err(self.error("a BIT STRING of whole octets was expected")),
        }
    }

    /// An INTEGER or ENUMERATED from 0 to 2^63-1.
    pub(crate) fn unsigned(&self) -> Option<u64> {
        let magnitude = match self.value {
            [] => return None,
            [first, ..] if first & 0x80 != 0 => return None,
            [0, rest @ ..] => rest,
            all => all,
        };
        (magnitude.len() <= 8).then(|| magnitude.iter().fold(0u64, |n, &o| n << 8 | u64::from(o)))
    }

    /// The value as text, if it is of any of the string types. Octets that the type does not permit are taken nevertheless: as
    /// UTF-8 if they are that, else as Latin-1 (which is what TeletexString means in practice).
    pub(crate) fn text(&self) -> Option<String> {
        let octets = self.value;
        let latin1 = || octets.iter().map(|&o| char::from(o)).collect();
        match self.tag {
            tag::TELETEX_STRING => Some(latin1()),
            tag::UTF8_STRING
            | tag::NUMERIC_STRING
            | tag::PRINTABLE_STRING
            | tag::VIDEOTEX_STRING
            | tag::IA5_STRING
            | tag::GRAPHIC_STRING
            | tag::VISIBLE_STRING
            | tag::GENERAL_STRING => Some(std::str::from_utf8(octets).map_or_else(|_| latin1(), str::to_owned)),
            tag::BMP_STRING if octets.len().is_multiple_of(2) => {
                let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                char::decode_utf16(units).collect::<Result<String, _>>().ok()
            }
            tag::UNIVERSAL_STRING if octets.len().is_multiple_of(4) => octets
                .chunks_exact(4)
                .map(|quad| char::from_u32(u32::from_be_bytes([quad[0], quad[1], quad[2], quad[3]])))
                .collect(),
            _ => None,
        }
    }

    /// An error at this place.
    pub(crate) fn error(&self, why: impl std::fmt::Display) -> X509Error {
        X509Error::malformed(self.what, format_args!("{why} (at octet {})", self.at))
    }
}

/// Writes the identifier and the length octets (X.690 section 10.1).
pub(crate) fn write_header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    write_length(out, length);
}

/// Writes the length octets in their shortest form.
pub(crate) fn write_length(out: &mut Vec<u8>, length: usize) {
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let octets = length.to_be_bytes();
        let skip = octets.iter().take_while(|&&o| o == 0).count();
        out.push(0x80 | (octets.len() - skip) as u8);
        out.extend_from_slice(&octets[skip..]);
    }
}

/// How many octets [`write_length`] writes.
pub(crate) fn length_of_length(length: usize) -> usize {
    if length < 0x80 { 1 } else { 1 + length.to_be_bytes().iter().skip_while(|&&o| o == 0).count() }
}

/// Encodes one value around the concatenation of `parts`.
pub(crate) fn encode<P: AsRef<[u8]>>(tag: u8, parts: &[P]) -> Vec<u8> {
    let length = parts.iter().map(|p| p.as_ref().len()).sum();
    let mut out = Vec::with_capacity(1 + length_of_length(length) + length);
    write_header(&mut out, tag, length);
    for part in parts {
        out.extend_from_slice(part.as_ref());
    }
    out
}

/// Something to encode in one go: however deep it is nested, each octet is copied once. For what has large things in it.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    /// A finished encoding, or octets that stand in one.
    Octets(&'a [u8]),
    /// The same, made for this.
    Made(Vec<u8>),
    /// A value around its parts.
    Value(u8, Vec<Node<'a>>),
}

impl<'a> Node<'a> {
    /// One value around these parts.
    pub(crate) fn value(tag: u8, parts: impl Into<Vec<Node<'a>>>) -> Self {
        Node::Value(tag, parts.into())
    }

    /// Writes everything.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.write(&mut out);
        out
    }

    fn len(&self) -> usize {
        match self {
            Node::Octets(octets) => octets.len(),
            Node::Made(octets) => octets.len(),
            Node::Value(_, parts) => {
                let length = parts.iter().map(Node::len).sum();
                1 + length_of_length(length) + length
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Node::Octets(octets) => out.extend_from_slice(octets),
            Node::Made(octets) => out.extend_from_slice(octets),
            Node::Value(tag, parts) => {
                write_header(out, *tag, parts.iter().map(Node::len).sum());
                parts.iter().for_each(|part| part.write(out));
            }
        }
    }
}

impl<'a> From<&'a [u8]> for Node<'a> {
    fn from(octets: &'a [u8]) -> Self {
        Node::Octets(octets)
    }
}

impl<'a> From<&'a Vec<u8>> for Node<'a> {
    fn from(octets: &'a Vec<u8>) -> Self {
        Node::Octets(octets)
    }
}

impl From<Vec<u8>> for Node<'_> {
    fn from(octets: Vec<u8>) -> Self {
        Node::Made(octets)
    }
}

/// Encodes an OBJECT IDENTIFIER.
pub(crate) fn encode_oid(oid: &ObjectIdentifier) -> Vec<u8> {
    encode(tag::OID, &[oid.as_bytes()])
}

/// Encodes a BIT STRING of whole octets.
pub(crate) fn encode_bits(octets: &[u8]) -> Vec<u8> {
    encode(tag::BIT_STRING, &[&[0], octets])
}

/// Encodes a non-negative INTEGER out of its magnitude.
pub(crate) fn encode_unsigned(magnitude: &[u8]) -> Vec<u8> {
    let skip = magnitude.iter().take_while(|&&o| o == 0).count();
    match &magnitude[skip..] {
        [] => encode(tag::INTEGER, &[&[0u8]]),
        digits @ [first, ..] if first & 0x80 != 0 => encode(tag::INTEGER, &[&[0], digits]),
        digits => encode(tag::INTEGER, &[digits]),
    }
}

/// Encodes a SET OF: the elements in ascending order of their encodings (X.690 section 11.6).
pub(crate) fn encode_set_of(mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    encode(tag::SET, &elements)
}

/// Whether all characters are ones of PrintableString (X.680 section 41.4).
pub(crate) fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_checked() {
        for bad in [
            &b"\x30"[..],
            b"\x30\x80\x00\x00",
            b"\x04\x81\x05hello",
            b"\x04\x05hell",
            b"\x1f\x20\x00",
            b"\x04\x85\x00\x00\x00\x00\x01a",
        ] {
            assert!(Reader::new("value", bad).any().is_err(), "{bad:02x?}");
        }
        let mut reader = Reader::new("value", b"\x30\x03\x02\x01\x05\x05\x00");
        let outer = reader.tag(tag::SEQUENCE).unwrap();
        let inner = outer.reader().tag(tag::INTEGER).unwrap();
        assert_eq!((inner.range(), inner.value_range(), inner.unsigned()), (2..5, 4..5, Some(5)));
        assert!(reader.finish().is_err());
    }

    #[test]
    fn integers_are_written_positive_and_short() {
        assert_eq!(encode_unsigned(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(encode_unsigned(&[]), [2, 1, 0]);
        assert_eq!(encode_unsigned(&[0x7f, 1]), [2, 2, 0x7f, 1]);
    }

    #[test]
    fn long_lengths_are_written_in_shortest_form() {
        for length in [0, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000] {
            let encoded = encode(tag::OCTET_STRING, &[vec![7u8; length]]);
            assert_eq!(encoded.len(), 1 + length_of_length(length) + length);
            assert_eq!(Reader::single("value", &encoded, tag::OCTET_STRING).unwrap().value.len(), length);
        }
    }

    #[test]
    fn a_tree_is_written_as_its_parts_are() {
        for length in [0, 0x7f, 0x80, 0xffff] {
            let (large, small) = (vec![7u8; length], encode_unsigned(&[5]));
            let octets = encode(tag::OCTET_STRING, &[&large]);
            let inner = encode(tag::SEQUENCE, &[&small, &octets]);
            let outer = encode(tag::context_constructed(0), &[&inner, &small]);
            let octets = Node::value(tag::OCTET_STRING, [Node::from(&large)]);
            let inner = Node::value(tag::SEQUENCE, [small.as_slice().into(), octets]);
            let tree = Node::value(tag::context_constructed(0), [inner, small.clone().into()]);
            let written = tree.to_der();
            assert_eq!(written, outer);
            assert_eq!(written.capacity(), outer.len(), "its length is known beforehand");
        }
    }

    #[test]
    fn object_identifiers_that_cannot_be_ours_are_none() {
        let oid =
            |value: &[u8]| Reader::new("value", &encode(tag::OID, &[value])).any().unwrap().oid().map(|oid| oid.to_string());
        assert_eq!(oid(&[0x55, 4, 3]).as_deref(), Some("2.5.4.3"));
        // 2.25 and a UUID; an arc that does not end; nothing at all; an arc that starts with zero bits; too long.
        let uuid = [&[0x69][..], &[0x83], &[0xff; 17], &[0x7f]].concat();
        for bad in [&uuid[..], &[0x55, 0x84], &[], &[0x55, 0x80, 0x01], &[1; 60]] {
            assert_eq!(oid(bad), None, "{bad:02x?}");
        }
        // The largest arc.
        assert_eq!(oid(&[0x55, 0x8f, 0xff, 0xff, 0xff, 0x7f]).as_deref(), Some("2.5.4294967295"));
        assert_eq!(oid(&[0x55, 0x90, 0x80, 0x80, 0x80, 0x00]), None);
    }

    #[test]
    fn strings_of_all_types_become_text() {
        let text = |tag, value: &[u8]| Reader::new("value", &encode(tag, &[value])).any().unwrap().text();
        assert_eq!(text(tag::BMP_STRING, b"\x00K\x00\xf6").as_deref(), Some("Kö"));
        assert_eq!(text(tag::BMP_STRING, b"\x00K\x00"), None);
        assert_eq!(text(tag::UNIVERSAL_STRING, b"\x00\x00\x00K").as_deref(), Some("K"));
        assert_eq!(text(tag::TELETEX_STRING, b"K\xf6").as_deref(), Some("Kö"));
        assert_eq!(text(tag::PRINTABLE_STRING, b"a_b").as_deref(), Some("a_b"));
        assert_eq!(text(tag::UTF8_STRING, b"K\xf6").as_deref(), Some("Kö"));
        assert_eq!(text(tag::INTEGER, b"\x01"), None);
    }
}
