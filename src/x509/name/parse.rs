//! The string form of names: RFC 4514 sections 2 and 3, and the older spellings that it still lets one read (RFC 2253 section 4).

use std::iter::Peekable;
use std::str::CharIndices;

use der::oid::ObjectIdentifier;

use super::{attribute_oid, encode_text};
use crate::x509::X509Error;
use crate::x509::tlv::Reader;

/// A value as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// `#` and the hex of the BER.
    Encoded(Vec<u8>),
}

impl Value {
    pub(super) fn encode(self, oid: &ObjectIdentifier) -> Vec<u8> {
        match self {
            Value::Text(text) => encode_text(oid, &text),
            Value::Encoded(encoded) => encoded,
        }
    }
}

/// Reads the RDNs in the order in which they are written.
pub(super) fn rdns(text: &str) -> Result<Vec<Vec<(ObjectIdentifier, Value)>>, X509Error> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut rdns = vec![Vec::new()];
    let mut parser = Parser { text, chars: text.char_indices().peekable() };
    loop {
        let attribute = parser.attribute()?;
        rdns.last_mut().expect("one was put in").push(attribute);
        match parser.chars.next() {
            None => return Ok(rdns),
            Some((_, '+')) => {}
            Some((_, ',' | ';')) => rdns.push(Vec::new()),
            Some((at, other)) => return Err(error(text, format_args!("{other:?} at {at} where `,` or `+` was expected"))),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl Parser<'_> {
    fn attribute(&mut self) -> Result<(ObjectIdentifier, Value), X509Error> {
        let mut name = String::new();
        loop {
            match self.chars.next() {
                Some((_, '=')) => break,
                Some((_, c)) => name.push(c),
                None => return Err(error(self.text, format_args!("no `=` after {:?}", name.trim()))),
            }
        }
        let name = name.trim();
        let oid = attribute_oid(name).ok_or_else(|| error(self.text, format_args!("unknown attribute {name:?}")))?;
        self.skip_spaces();
        let value = match self.chars.peek() {
            Some((_, '#')) => {
                self.chars.next();
                self.encoded()?
            }
            Some((_, '"')) => {
                self.chars.next();
                self.quoted()?
            }
            _ => self.plain()?,
        };
        Ok((oid, value))
    }

    fn skip_spaces(&mut self) {
        while self.chars.next_if(|(_, c)| *c == ' ').is_some() {}
    }

    fn encoded(&mut self) -> Result<Value, X509Error> {
        let mut digits = String::new();
        while let Some((_, digit)) = self.chars.next_if(|(_, c)| c.is_ascii_hexdigit()) {
            digits.push(digit);
        }
        self.skip_spaces();
        let octets = hex::decode(digits).map_err(|e| error(self.text, e))?;
        let mut reader = Reader::new("name", &octets);
        reader.any()?;
        reader.finish()?;
        Ok(Value::Encoded(octets))
    }

    fn quoted(&mut self) -> Result<Value, X509Error> {
        let mut octets = Vec::new();
        loop {
            match self.chars.next() {
                Some((_, '"')) => break,
                Some((_, '\\')) => self.escaped(&mut octets)?,
                Some((_, c)) => octets.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => return Err(error(self.text, "a quotation mark is missing")),
            }
        }
        self.skip_spaces();
        self.utf8(octets)
    }

    fn plain(&mut self) -> Result<Value, X509Error> {
        let mut octets = Vec::new();
        // Spaces at the end belong to the value only if they are escaped.
        let mut keep = 0;
        while let Some((_, c)) = self.chars.next_if(|(_, c)| !matches!(c, ',' | ';' | '+')) {
            match c {
                '\\' => self.escaped(&mut octets)?,
                '"' => return Err(error(self.text, "a quotation mark inside a value has to be escaped")),
                c => octets.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            if c != ' ' {
                keep = octets.len();
            }
        }
        octets.truncate(keep);
        self.utf8(octets)
    }

    /// What follows a backslash: a special character, or two hex digits for one octet of UTF-8.
    fn escaped(&mut self, octets: &mut Vec<u8>) -> Result<(), X509Error> {
        let dangling = || error(self.text, "a backslash has to be followed by a special character or two hex digits");
        let (_, first) = self.chars.next().ok_or_else(dangling)?;
        if let Some(high) = first.to_digit(16) {
            let low = self.chars.next().and_then(|(_, c)| c.to_digit(16)).ok_or_else(dangling)?;
            octets.push((high << 4 | low) as u8);
        } else if first.is_ascii_punctuation() || first == ' ' {
            octets.push(first as u8);
        } else {
            return Err(dangling());
        }
        Ok(())
    }

    fn utf8(&self, octets: Vec<u8>) -> Result<Value, X509Error> {
        String::from_utf8(octets).map(Value::Text).map_err(|e| error(self.text, e))
    }
}

/// Appends a value with what is special in it escaped (RFC 4514 section 2.4); control characters by their octets.
pub(super) fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        match c {
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            '#' if index == 0 => out.push_str("\\#"),
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', c]),
            c if c.is_control() => {
                for octet in c.encode_utf8(&mut [0; 4]).bytes() {
                    out.push_str(&format!("\\{octet:02X}"));
                }
            }
            c => out.push(c),
        }
    }
}

fn error(text: &str, why: impl std::fmt::Display) -> X509Error {
    X509Error::malformed("name", format_args!("{text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        rdns(text)
            .unwrap()
            .into_iter()
            .flatten()
            .map(|(_, v)| match v {
                Value::Text(text) => text,
                Value::Encoded(octets) => hex::encode(octets),
            })
            .collect()
    }

    #[test]
    fn the_examples_of_the_standard() {
        assert_eq!(values("UID=jsmith,DC=example,DC=net"), ["jsmith", "example", "net"]);
        assert_eq!(values("OU=Sales+CN=J.  Smith,DC=example"), ["Sales", "J.  Smith", "example"]);
        assert_eq!(values(r#"CN=James \"Jim\" Smith\, III,DC=x"#), [r#"James "Jim" Smith, III"#, "x"]);
        assert_eq!(values(r"CN=Before\0dAfter"), ["Before\rAfter"]);
        assert_eq!(values("1.3.6.1.4.1.1466.0=#04024869"), ["04024869"]);
        assert_eq!(values(r"CN=Lu\C4\8Di\C4\87"), ["Lučić"]);
    }

    #[test]
    fn spaces_and_quotes() {
        assert_eq!(values(r#" cn = a b  , O = "x, y" ; OU=\ z\  "#), ["a b", "x, y", " z "]);
        assert_eq!(values("CN=,O=x"), ["", "x"]);
        assert_eq!(values("CN=a=b"), ["a=b"]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "router-1",
            "CN=a,",
            "CN=a,,O=b",
            "XX=a",
            r"CN=a\",
            r"CN=\g",
            r"CN=\C4",
            "CN=#0",
            "CN=#04",
            "CN=#zz",
            "CN=\"a",
            "CN=a\"b",
            "CN=\"a\"b",
        ] {
            assert!(rdns(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_escaped_is_read_again() {
        for value in ["", " ", "  a  ", "#a", "a#", "a,b+c\"d\\e<f>g;h=i", "\0\u{7f}\u{85}", "Lučić ", "\n"] {
            let mut text = "CN=".to_owned();
            escape(value, &mut text);
            assert_eq!(values(&text), [value], "{text}");
        }
    }
}
