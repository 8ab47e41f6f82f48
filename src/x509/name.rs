//! Distinguished names, read with tolerance: any string type, any character.

use std::fmt;

use der::oid::ObjectIdentifier;

use super::X509Error;
use super::tlv::{Reader, Tlv, encode, encode_oid, encode_set_of, is_printable, tag};

mod attributes;
mod parse;

pub use attributes::{attribute_name, attribute_oid};

/// A distinguished name: its original DER, and its attributes in the order of the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DistinguishedName {
    der: Vec<u8>,
    rdns: Vec<Vec<Attribute>>,
}

/// One attribute of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// The attribute type.
    pub oid: ObjectIdentifier,
    /// The value as text; what is no string is given as `#` and hex (RFC 4514 section 2.4).
    pub value: String,
}

impl DistinguishedName {
    /// Reads a DER Name.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let mut rdns = Vec::new();
        for_each_rdn(der, |rdn| {
            rdns.push(rdn.iter().map(|(oid, value)| Attribute { oid: *oid, value: text(value) }).collect());
            Ok(())
        })?;
        Ok(DistinguishedName { der: der.to_vec(), rdns })
    }

    /// Reads the string form of RFC 4514, written in the order of the encoding or reversed: `CN=router-1,O=Example` gives the
    /// RDNSequence (CN, O) in that order when `first_is_first` is true, and (O, CN) when it is false (RFC 4514 section 2.1).
    /// Values become UTF8String, `C` and `serialNumber` PrintableString, `DC` and `emailAddress` IA5String.
    pub fn parse(text: &str, first_is_first: bool) -> Result<Self, X509Error> {
        let mut rdns = parse::rdns(text)?;
        if !first_is_first {
            rdns.reverse();
        }
        Self::encode(rdns.into_iter().map(|rdn| rdn.into_iter().map(|(oid, value)| (oid, value.encode(&oid))).collect()))
    }

    /// Builds a name out of RDNs, in the order of the encoding, with the string types of [`parse`](Self::parse). Values are taken
    /// as text: one that starts with `#` is not decoded.
    pub fn from_rdns(rdns: Vec<Vec<Attribute>>) -> Result<Self, X509Error> {
        Self::encode(
            rdns.into_iter().map(|rdn| rdn.into_iter().map(|a| (a.oid, encode_text(&a.oid, &a.value))).collect::<Vec<_>>()),
        )
    }

    /// Encodes RDNs of attribute types and encoded values.
    fn encode(rdns: impl Iterator<Item = Vec<(ObjectIdentifier, Vec<u8>)>>) -> Result<Self, X509Error> {
        let rdns: Vec<_> = rdns
            .map(|rdn| {
                encode_set_of(
                    rdn.iter().map(|(oid, value)| encode(tag::SEQUENCE, &[&encode_oid(oid), value])).collect::<Vec<_>>(),
                )
            })
            .collect();
        Self::from_der(&encode(tag::SEQUENCE, &rdns))
    }

    /// The DER, as it came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The relative distinguished names in the order of the encoding.
    pub fn rdns(&self) -> &[Vec<Attribute>] {
        &self.rdns
    }

    /// Whether the name has no attribute.
    pub fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    /// All values of the attribute with this short name (`CN`, `O`, `OU`, `serialNumber`, `emailAddress`, …) or dotted OID.
    pub fn values(&self, attribute: &str) -> Vec<&str> {
        let Some(oid) = attribute_oid(attribute) else { return Vec::new() };
        self.rdns.iter().flatten().filter(|a| a.oid == oid).map(|a| a.value.as_str()).collect()
    }

    /// The first common name.
    pub fn common_name(&self) -> Option<&str> {
        self.values("CN").into_iter().next()
    }

    /// Whether every attribute of the other name stands in this one, wherever; values are compared as in [`matches`](Self::matches).
    pub fn contains(&self, other: &DistinguishedName) -> bool {
        let folded = |name: &DistinguishedName| name.rdns.iter().flatten().map(|a| (a.oid, fold(&a.value))).collect::<Vec<_>>();
        let ours = folded(self);
        folded(other).iter().all(|attribute| ours.contains(attribute))
    }

    /// Whether both name the same entity, for building chains: letter case, runs of white space and the string type do not count
    /// (after RFC 5280 section 7.1, without the rarer mappings of RFC 4518).
    pub fn matches(&self, other: &DistinguishedName) -> bool {
        if self.der == other.der {
            return true;
        }
        self.folded() == other.folded()
    }

    /// The same where the order does not count in which attributes of different types follow each other: many CAs have one of their own, such
    /// as country, organization, common name. Several of one type have to follow each other in the same order.
    pub fn matches_in_any_order(&self, other: &DistinguishedName) -> bool {
        let sorted = |name: &DistinguishedName| {
            let mut rdns = name.folded();
            // A stable sort, so that those of one type stay as they are.
            rdns.sort_by_key(|rdn| rdn.first().map(|(oid, _)| *oid));
            rdns
        };
        sorted(self) == sorted(other)
    }

    fn folded(&self) -> Vec<Vec<(ObjectIdentifier, String)>> {
        let folded = |rdn: &Vec<Attribute>| {
            let mut attributes: Vec<_> = rdn.iter().map(|a| (a.oid, fold(&a.value))).collect();
            attributes.sort();
            attributes
        };
        self.rdns.iter().map(folded).collect()
    }
}

/// The empty name.
impl Default for DistinguishedName {
    fn default() -> Self {
        DistinguishedName { der: vec![tag::SEQUENCE, 0], rdns: Vec::new() }
    }
}

/// The order of the encoding, left to right, escaped as RFC 4514 section 2.4 says: `O=Example,CN=router-1`.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The DER is walked again, because in `rdns` a string that begins with `#` looks like a value that is no string.
        let mut out = String::new();
        let walked = for_each_rdn(&self.der, |rdn| {
            for (index, (oid, value)) in rdn.iter().enumerate() {
                if index > 0 {
                    out.push('+');
                } else if !out.is_empty() {
                    out.push(',');
                }
                out.push_str(&attribute_name(oid));
                out.push('=');
                match value.text() {
                    Some(text) => parse::escape(&text, &mut out),
                    None => out.push_str(&hash_hex(value)),
                }
            }
            Ok(())
        });
        debug_assert!(walked.is_ok(), "the DER of a name was read before");
        f.write_str(&out)
    }
}

/// Walks through a Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY } (RFC 5280 section 4.1.2.4).
fn for_each_rdn(
    der: &[u8],
    mut each: impl FnMut(&[(ObjectIdentifier, Tlv<'_>)]) -> Result<(), X509Error>,
) -> Result<(), X509Error> {
    let mut sequence = Reader::single("name", der, tag::SEQUENCE)?.reader();
    let mut rdn = Vec::with_capacity(1);
    while !sequence.is_empty() {
        let mut set = sequence.tag(tag::SET)?.reader();
        rdn.clear();
        while !set.is_empty() {
            let mut attribute = set.tag(tag::SEQUENCE)?.reader();
            let oid = attribute.tag(tag::OID)?;
            let oid = oid.oid().ok_or_else(|| oid.error("not an OBJECT IDENTIFIER"))?;
            rdn.push((oid, attribute.any()?));
            attribute.finish()?;
        }
        if rdn.is_empty() {
            return Err(set.error("a relative distinguished name without attributes"));
        }
        each(&rdn)?;
    }
    Ok(())
}

fn text(value: &Tlv<'_>) -> String {
    value.text().unwrap_or_else(|| hash_hex(value))
}

fn hash_hex(value: &Tlv<'_>) -> String {
    format!("#{}", hex::encode(value.raw))
}

/// Encodes a value with the string type that its attribute asks for (RFC 5280 appendix A.1), or as UTF8String where the characters
/// do not fit that type.
fn encode_text(oid: &ObjectIdentifier, value: &str) -> Vec<u8> {
    let tag = match attributes::string_type(oid) {
        tag::PRINTABLE_STRING if is_printable(value) => tag::PRINTABLE_STRING,
        tag::IA5_STRING if value.is_ascii() => tag::IA5_STRING,
        _ => tag::UTF8_STRING,
    };
    encode(tag, &[value])
}

fn fold(value: &str) -> String {
    value.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text, true).unwrap()
    }

    #[test]
    fn the_order_is_chosen() {
        assert_eq!(name("CN=router-1,O=Example").to_string(), "CN=router-1,O=Example");
        assert_eq!(DistinguishedName::parse("CN=router-1,O=Example", false).unwrap().to_string(), "O=Example,CN=router-1");
        assert!(name("").is_empty());
        assert_eq!(name(""), DistinguishedName::default());
    }

    #[test]
    fn values_get_their_string_types() {
        let der = |text| hex::encode(name(text).der());
        assert_eq!(der("CN=ab"), "300d310b300906035504030c026162");
        assert_eq!(der("C=DE"), "300d310b3009060355040613024445");
        assert_eq!(der("serialNumber=ab"), "300d310b3009060355040513026162");
        assert_eq!(der("DC=ab"), "301431123010060a0992268993f22c64011916026162");
        // An underscore is no PrintableString.
        assert_eq!(der("serialNumber=_b"), "300d310b300906035504050c025f62");
    }

    #[test]
    fn attributes_of_one_rdn_are_sorted() {
        let multi = name("OU=b+CN=a,O=x");
        assert_eq!(multi.to_string(), "CN=a+OU=b,O=x");
        assert_eq!(multi.rdns()[0].len(), 2);
        assert_eq!(multi, name("CN=a+OU=b,O=x"));
    }

    #[test]
    fn odd_values_are_read() {
        // CN as BMPString "Kö", and an INTEGER where a string belongs.
        let cn = |value| (attribute_oid("CN").unwrap(), value);
        let odd = [vec![cn(encode(tag::BMP_STRING, &[b"\x00K\x00\xf6"]))], vec![cn(vec![tag::INTEGER, 1, 5])]];
        let der = DistinguishedName::encode(odd.into_iter()).unwrap().der;
        let read = DistinguishedName::from_der(&der).unwrap();
        assert_eq!(read.values("cn"), ["Kö", "#020105"]);
        assert_eq!(read.to_string(), "CN=Kö,CN=#020105");
        assert_eq!(name(&read.to_string()).values("CN"), read.values("CN"));
    }

    #[test]
    fn a_string_that_begins_with_a_hash_stays_a_string() {
        let attribute = Attribute { oid: attribute_oid("CN").unwrap(), value: "#020105".into() };
        let built = DistinguishedName::from_rdns(vec![vec![attribute]]).unwrap();
        assert_eq!(built.to_string(), r"CN=\#020105");
        assert_eq!(name(&built.to_string()), built);
        assert_eq!(hex::encode(name("CN=#020105").der()), "300c310a30080603550403020105");
    }

    #[test]
    fn names_match_whatever_their_spelling() {
        let printable = DistinguishedName::from_der(&hex::decode("300f310d300b0603550403130441622063").unwrap()).unwrap();
        assert!(printable.matches(&name(r"CN=\ ab   C")));
        assert!(!printable.matches(&name("CN=abc")));
        assert!(!printable.matches(&name("O=ab c")));
        assert!(!printable.matches(&name("CN=ab c,O=x")));
    }

    #[test]
    fn malformed_names_are_refused() {
        for bad in ["", "300000", "30023100", "300b3109300706035504030c", "310d", "300e310c300a06035504030c0261620500"] {
            assert!(DistinguishedName::from_der(&hex::decode(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
