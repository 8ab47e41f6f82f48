//! What a server wants of requests: CSR attributes (RFC 7030 section 4.5.2, RFC 8951 section 3.5, RFC 9908).

use std::collections::BTreeSet;

use der::oid::ObjectIdentifier;

use crate::algorithm::KeyAlgorithm;
use crate::x509::tlv::{Reader, Tlv, tag};
use crate::x509::{X509Error, extension, spki};

/// What a server wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CsrAttributes {
    /// The kind of the key, in words.
    pub(super) key: Option<WantedKey>,
    /// Whether the request has to be tied to the TLS connection by a challengePassword (RFC 7030 section 3.5).
    pub(super) channel_binding: bool,
    /// Attributes that have to be there, by dotted OID; not the usual ones.
    pub(super) attributes: BTreeSet<String>,
    /// Extensions that have to be asked for, by name.
    pub(super) extensions: BTreeSet<String>,
    /// Whether the subject is prescribed, or parts of it are.
    pub(super) subject: bool,
}

/// The kind of key that a server wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WantedKey {
    /// One that we know.
    Known(KeyAlgorithm),
    /// RSA of any size.
    Rsa,
    /// Elliptic curves, any.
    Ec,
    /// One by its OID.
    Other(String),
}

impl std::fmt::Display for WantedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WantedKey::Known(key) => key.fmt(f),
            WantedKey::Rsa => f.write_str("RSA"),
            WantedKey::Ec => f.write_str("elliptic curve"),
            WantedKey::Other(oid) => oid.fmt(f),
        }
    }
}

const CHALLENGE_PASSWORD: &str = "1.2.840.113549.1.9.7";
const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
const TEMPLATE: &str = "1.2.840.113549.1.9.16.2.61";
const EXTENSION_TEMPLATE: &str = "1.2.840.113549.1.9.16.2.62";
const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";

impl CsrAttributes {
    /// Reads `CsrAttrs ::= SEQUENCE OF CHOICE { OBJECT IDENTIFIER, Attribute }`. Where there is a template, nothing else counts (RFC
    /// 9908 section 3.4).
    pub(super) fn read(der: &[u8]) -> Result<Self, X509Error> {
        let mut found = Self::default();
        let mut reader = Reader::single("CSR attributes", der, tag::SEQUENCE)?.reader();
        let mut template = None;
        while !reader.is_empty() {
            let one = reader.any()?;
            if one.tag == tag::OID {
                found.named(&dotted(&one));
                continue;
            }
            let mut attribute = one.reader();
            let kind = dotted(&attribute.tag(tag::OID)?);
            let values = attribute.tag(tag::SET)?;
            if kind == TEMPLATE {
                template = Some(values.reader().any()?);
            }
            found.attribute(&kind, &values)?;
        }
        template.map_or(Ok(found), |template| Self::of_template(&template))
    }

    /// An OID alone: an attribute that has to be there, or a kind of key or signature.
    fn named(&mut self, oid: &str) {
        match oid {
            CHALLENGE_PASSWORD => self.channel_binding = true,
            EXTENSION_REQUEST | TEMPLATE => {}
            RSA => self.key = Some(WantedKey::Rsa),
            EC => self.key = Some(WantedKey::Ec),
            other => match key_by_oid(other) {
                Some(key) => self.key = Some(WantedKey::Known(key)),
                None if matches!(key_of_curve(other), WantedKey::Known(_)) => self.key = Some(key_of_curve(other)),
                // What RFC 7030 calls a hint at a digest is none of the device's doing here: an RA cannot sign anew.
                None if is_signature(other) => {}
                None => drop(self.attributes.insert(other.to_owned())),
            },
        }
    }

    fn attribute(&mut self, kind: &str, values: &Tlv<'_>) -> Result<(), X509Error> {
        let mut values = values.reader();
        match kind {
            TEMPLATE => {}
            CHALLENGE_PASSWORD => self.channel_binding = true,
            RSA => {
                let bits = if values.is_empty() { None } else { values.any()?.unsigned() };
                let known = bits.and_then(|bits| u32::try_from(bits).ok()).map(KeyAlgorithm::Rsa);
                self.key = Some(known.map_or(WantedKey::Rsa, WantedKey::Known));
            }
            EC => {
                let curve = if values.is_empty() { None } else { Some(dotted(&values.any()?)) };
                self.key = Some(curve.map_or(WantedKey::Ec, |curve| key_of_curve(&curve)));
            }
            EXTENSION_REQUEST | EXTENSION_TEMPLATE => {
                while !values.is_empty() {
                    let mut extensions = values.any()?.reader();
                    while !extensions.is_empty() {
                        let extension = extensions.any()?;
                        let oid = if extension.tag == tag::OID { extension } else { extension.reader().tag(tag::OID)? };
                        self.extensions.insert(extension_name(&dotted(&oid)));
                    }
                }
            }
            other => self.named(other),
        }
        Ok(())
    }

    /// ```text
    /// CertificationRequestInfoTemplate ::= SEQUENCE { version, subject OPTIONAL, subjectPKInfo [0] OPTIONAL, attributes [1] }
    /// ```
    fn of_template(template: &Tlv<'_>) -> Result<Self, X509Error> {
        let mut found = Self::default();
        let mut fields = template.reader();
        fields.tag(tag::INTEGER)?;
        if let Some(subject) = fields.optional(tag::SEQUENCE)? {
            found.subject = !subject.value.is_empty();
        }
        if let Some(key) = fields.optional(tag::context_constructed(0))? {
            let mut inside = key.reader();
            let mut algorithm = inside.tag(tag::SEQUENCE)?;
            // With the tag around the SEQUENCE, or in its place.
            if algorithm.reader().peek() == Some(tag::SEQUENCE) {
                inside = algorithm.reader();
                algorithm = inside.tag(tag::SEQUENCE)?;
            }
            let mut identifier = algorithm.reader();
            let kind = dotted(&identifier.tag(tag::OID)?);
            found.key = Some(match (kind.as_str(), identifier.optional(tag::OID)?) {
                (EC, Some(curve)) => key_of_curve(&dotted(&curve)),
                (EC, None) => WantedKey::Ec,
                // The size is that of a modulus that stands for all of its length.
                (RSA, _) => rsa_size(&algorithm, inside.optional(tag::BIT_STRING)?),
                (other, _) => key_by_oid(other).map_or_else(|| WantedKey::Other(other.to_owned()), WantedKey::Known),
            });
        }
        if let Some(attributes) = fields.optional(tag::context_constructed(1))? {
            let mut attributes = attributes.reader();
            while !attributes.is_empty() {
                let mut attribute = attributes.any()?.reader();
                let kind = dotted(&attribute.tag(tag::OID)?);
                let key = found.key.clone();
                found.attribute(&kind, &attribute.tag(tag::SET)?)?;
                found.key = key;
            }
        }
        Ok(found)
    }

    /// What a device behind an RA cannot be sure to bring, in sentences.
    pub(super) fn demands(&self) -> Vec<String> {
        let mut said = Vec::new();
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        if let Some(key) = &self.key {
            said.push(format!("it wants keys of the kind {key}"));
        }
        if !self.extensions.is_empty() {
            said.push(format!("it wants requests to ask for the extensions {}", list(&self.extensions)));
        }
        if !self.attributes.is_empty() {
            said.push(format!("it wants requests with the attributes {}", list(&self.attributes)));
        }
        if self.subject {
            said.push("it prescribes the subject, or parts of it".to_owned());
        }
        if self.channel_binding {
            said.push(
                "it wants a challengePassword that ties the request to the TLS connection, which no request has that passes through an \
                 RA: have the server except our certificate (id-kp-cmcRA) from it"
                    .to_owned(),
            );
        }
        said
    }
}

fn rsa_size(algorithm: &Tlv<'_>, placeholder: Option<Tlv<'_>>) -> WantedKey {
    let Some(placeholder) = placeholder else { return WantedKey::Rsa };
    let whole = crate::x509::tlv::encode(tag::SEQUENCE, &[algorithm.raw, placeholder.raw]);
    spki::key_algorithm(&whole).map_or(WantedKey::Rsa, WantedKey::Known)
}

fn dotted(oid: &Tlv<'_>) -> String {
    oid.oid().map_or_else(|| "an unknown OID".to_owned(), |oid| oid.to_string())
}

fn key_of_curve(curve: &str) -> WantedKey {
    match curve {
        "1.2.840.10045.3.1.7" => WantedKey::Known(KeyAlgorithm::EcdsaP256),
        "1.3.132.0.34" => WantedKey::Known(KeyAlgorithm::EcdsaP384),
        "1.3.132.0.35" => WantedKey::Known(KeyAlgorithm::EcdsaP521),
        other => WantedKey::Other(other.to_owned()),
    }
}

/// A kind of key whose identifier is that of its signatures.
fn key_by_oid(oid: &str) -> Option<KeyAlgorithm> {
    let oid = ObjectIdentifier::new(oid).ok()?;
    KeyAlgorithm::all_but_rsa().find(|key| key.only_signature().is_some_and(|signature| signature.identifier().oid == oid))
}

/// A signature or digest algorithm, by the arcs under which they are registered.
fn is_signature(oid: &str) -> bool {
    ["1.2.840.113549.1.1.", "1.2.840.10045.4.", "2.16.840.1.101.3.4.2.", "2.16.840.1.101.3.4.3."]
        .iter()
        .any(|arc| oid.starts_with(arc))
        || oid == "1.3.14.3.2.26"
}

fn extension_name(oid: &str) -> String {
    match oid {
        "2.5.29.15" => "keyUsage".to_owned(),
        "2.5.29.17" => "subjectAltName".to_owned(),
        "2.5.29.19" => "basicConstraints".to_owned(),
        "2.5.29.37" => "extKeyUsage".to_owned(),
        other => ObjectIdentifier::new(other).map_or_else(|_| other.to_owned(), |oid| extension::extended_key_usage_name(&oid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::provider;
    use crate::x509::tlv::{encode, encode_oid, encode_unsigned};

    fn oid(dotted: &str) -> Vec<u8> {
        encode_oid(&ObjectIdentifier::new(dotted).unwrap())
    }

    fn attribute(kind: &str, values: &[Vec<u8>]) -> Vec<u8> {
        encode(tag::SEQUENCE, &[oid(kind), encode(tag::SET, values)])
    }

    fn read(items: &[Vec<u8>]) -> CsrAttributes {
        CsrAttributes::read(&encode(tag::SEQUENCE, items)).unwrap()
    }

    #[test]
    fn nothing_is_wanted_by_an_empty_list() {
        assert_eq!(read(&[]), CsrAttributes::default());
        assert!(read(&[]).demands().is_empty());
        assert!(CsrAttributes::read(b"").is_err());
        assert!(CsrAttributes::read(&[0x30, 0x02, 0x06, 0x05]).is_err());
    }

    #[test]
    fn the_example_of_the_rfc_is_understood() {
        // RFC 7030 section 4.5.2: challengePassword, P-384, the extension request with a MAC address, ECDSA with SHA-384.
        let mac = attribute(EXTENSION_REQUEST, &[encode(tag::SEQUENCE, &[oid("1.3.6.1.1.1.1.22")])]);
        let found = read(&[oid(CHALLENGE_PASSWORD), attribute(EC, &[oid("1.3.132.0.34")]), mac, oid("1.2.840.10045.4.3.3")]);
        assert_eq!(found.key, Some(WantedKey::Known(KeyAlgorithm::EcdsaP384)));
        assert!(found.channel_binding && found.attributes.is_empty());
        assert_eq!(found.extensions.iter().collect::<Vec<_>>(), ["1.3.6.1.1.1.1.22"]);
        let demands = found.demands().join("\n");
        assert!(demands.contains("ecdsa-p384") && demands.contains("challengePassword"), "{demands}");
    }

    #[test]
    fn keys_are_named_in_several_ways() {
        let of = |item| read(&[item]).key.unwrap();
        assert_eq!(of(attribute(RSA, &[encode_unsigned(&[0x10, 0x00])])), WantedKey::Known(KeyAlgorithm::Rsa(4096)));
        assert_eq!(of(attribute(RSA, &[])), WantedKey::Rsa);
        assert_eq!(of(oid(EC)), WantedKey::Ec);
        let ml_dsa = crate::algorithm::SignatureAlgorithm::MlDsa65.identifier().oid.to_string();
        assert_eq!(of(oid(&ml_dsa)), WantedKey::Known(KeyAlgorithm::MlDsa65));
        assert_eq!(of(oid("1.3.132.0.34")), WantedKey::Known(KeyAlgorithm::EcdsaP384));
        assert_eq!(read(&[oid("1.2.3.4")]).attributes.len(), 1);
    }

    #[test]
    fn a_template_outweighs_the_rest() {
        let rsa = provider().keys.generate(KeyAlgorithm::Rsa(2048)).unwrap();
        let key = {
            let mut tagged = rsa.spki().to_vec();
            tagged[0] = tag::context_constructed(0);
            tagged
        };
        let wanted = encode(tag::SEQUENCE, &[oid("2.5.29.17")]);
        let attributes =
            encode(tag::context_constructed(1), &[attribute(EXTENSION_TEMPLATE, &[encode(tag::SEQUENCE, &[wanted])])]);
        let name = encode(tag::SEQUENCE, &[encode(tag::SET, &[encode(tag::SEQUENCE, &[oid("2.5.4.3")])])]);
        let template = encode(tag::SEQUENCE, &[encode_unsigned(&[0]), name, key, attributes]);
        let found = read(&[oid("1.2.3.4"), attribute(TEMPLATE, &[template])]);
        assert_eq!(found.key, Some(WantedKey::Known(KeyAlgorithm::Rsa(2048))));
        assert!(found.subject && found.attributes.is_empty());
        assert_eq!(found.extensions.iter().collect::<Vec<_>>(), ["subjectAltName"]);

        let explicit = encode(tag::context_constructed(0), &[encode(tag::SEQUENCE, &[encode(tag::SEQUENCE, &[oid(EC)])])]);
        let template = encode(tag::SEQUENCE, &[encode_unsigned(&[0]), explicit, encode(tag::context_constructed(1), &[b""])]);
        assert_eq!(read(&[attribute(TEMPLATE, &[template])]).key, Some(WantedKey::Ec));
    }
}
