//! What a signing request says.

use serde_json::{Map, Value, json};

use super::{Mode, NamesFrom, RoleSettings};
use crate::algorithm::SignatureAlgorithm;
use crate::upstream::IssuanceOrder;
use crate::x509::tlv::{Reader, tag};
use crate::x509::{DistinguishedName, KeyUsage, SubjectAltName, extension, pem};

/// The parameters of `sign` or `sign-verbatim` for an order; why it cannot be asked for, if it cannot.
pub(super) fn body(role: &RoleSettings, order: &IssuanceOrder) -> Result<Value, String> {
    let mut body = Map::new();
    let mut say = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    say("csr", pem::write("CERTIFICATE REQUEST", &order.csr).into());
    say("format", "pem".into());
    say("not_after", order.not_after.to_string().into());
    // Or else the common name would stand among the alternative names too, where nobody ordered it.
    say("exclude_cn_from_sans", true.into());
    match role.mode {
        Mode::Sign => {
            for (name, value) in names(role, order)? {
                say(name, value);
            }
        }
        Mode::SignVerbatim => {
            // For a CSR that does not say itself.
            say("key_usage", key_usages(order.key_usage).into());
            say("ext_key_usage", json!([]));
            say("ext_key_usage_oids", order.extended_key_usages.clone().into());
            if let Some(bits) = signature_bits(order.signature) {
                say("signature_bits", bits.into());
                say("use_pss", order.signature.is_pss().into());
            }
        }
    }
    Ok(Value::Object(body))
}

/// Common name and alternative names. A role that takes them from the CSR ignores them.
fn names(role: &RoleSettings, order: &IssuanceOrder) -> Result<Vec<(&'static str, Value)>, String> {
    let subject = DistinguishedName::from_der(&order.subject).map_err(|error| error.to_string())?;
    let alternative = match order.subject_alt_names.as_slice() {
        [] => Vec::new(),
        value => extension::read_subject_alt_names(value).map_err(|error| error.to_string())?,
    };
    let (mut plain, mut addresses, mut uris, mut others) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in &alternative {
        match name {
            SubjectAltName::Dns(name) | SubjectAltName::Email(name) => plain.push(name.clone()),
            SubjectAltName::Ip(address) => addresses.push(address.to_string()),
            SubjectAltName::Uri(uri) => uris.push(uri.clone()),
            SubjectAltName::Other(der) => match (other_name(der), role.names_from) {
                (Some(other), _) => others.push(other),
                (None, _) => return Err(format!("a role gives no alternative name such as {}", name.value())),
            },
            SubjectAltName::Directory(name) => return Err(format!("a role gives no directory name: {name}")),
        }
    }
    if plain.iter().any(|name| name.contains(',')) {
        return Err("an alternative name with a comma in it cannot be asked for".to_owned());
    }
    let mut names = vec![
        ("common_name", subject.common_name().unwrap_or_default().into()),
        ("alt_names", plain.join(",").into()),
        ("ip_sans", addresses.into()),
        ("uri_sans", uris.into()),
    ];
    if role.names_from == NamesFrom::Request {
        // A role adds what stands here to what stands in the CSR: said only where it does not read that.
        names.push(("other_sans", others.into()));
    }
    if let Some(number) = subject.values("serialNumber").first() {
        names.push(("serial_number", (*number).into()));
    }
    let users = subject.values("0.9.2342.19200300.100.1.1");
    if !users.is_empty() {
        names.push(("user_ids", users.into()));
    }
    Ok(names)
}

/// OtherName ::= SEQUENCE { type-id OBJECT IDENTIFIER, value [0] EXPLICIT ANY } under the tag [0], with text in it: as `other_sans` have it.
fn other_name(der: &[u8]) -> Option<String> {
    let mut fields = Reader::single("otherName", der, tag::context_constructed(0)).ok()?.reader();
    let kind = fields.tag(tag::OID).ok()?.oid()?;
    let value = fields.tag(tag::context_constructed(0)).ok()?;
    fields.finish().ok()?;
    let text = Reader::single("otherName", value.value, tag::UTF8_STRING).ok()?.text()?;
    Some(format!("{kind};UTF8:{text}"))
}

/// The digest, where the issuer's key leaves a choice.
fn signature_bits(signature: SignatureAlgorithm) -> Option<u32> {
    use SignatureAlgorithm as S;
    match signature {
        S::RsaSha256 | S::RsaPssSha256 | S::EcdsaSha256 => Some(256),
        S::RsaSha384 | S::RsaPssSha384 | S::EcdsaSha384 => Some(384),
        S::RsaSha512 | S::RsaPssSha512 | S::EcdsaSha512 => Some(512),
        _ => None,
    }
}

/// Key usages by the names of Go's constants, which OpenBao and Vault know them by.
fn key_usages(usage: KeyUsage) -> Vec<&'static str> {
    const NAMES: [(KeyUsage, &str); 9] = [
        (KeyUsage::DIGITAL_SIGNATURE, "DigitalSignature"),
        (KeyUsage::NON_REPUDIATION, "ContentCommitment"),
        (KeyUsage::KEY_ENCIPHERMENT, "KeyEncipherment"),
        (KeyUsage::DATA_ENCIPHERMENT, "DataEncipherment"),
        (KeyUsage::KEY_AGREEMENT, "KeyAgreement"),
        (KeyUsage::KEY_CERT_SIGN, "CertSign"),
        (KeyUsage::CRL_SIGN, "CRLSign"),
        (KeyUsage::ENCIPHER_ONLY, "EncipherOnly"),
        (KeyUsage::DECIPHER_ONLY, "DecipherOnly"),
    ];
    NAMES.iter().filter(|(bit, _)| usage.contains(*bit)).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::tlv::{encode, encode_oid};

    #[test]
    fn other_names_are_told_if_they_are_text() {
        let oid = der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");
        let with = |kind: u8, text: &[u8]| {
            let value = encode(tag::context_constructed(0), &[encode(kind, &[text])]);
            encode(tag::context_constructed(0), &[encode_oid(&oid), value])
        };
        assert_eq!(other_name(&with(tag::UTF8_STRING, b"d@example.net")).unwrap(), "1.3.6.1.4.1.311.20.2.3;UTF8:d@example.net");
        assert_eq!(other_name(&with(tag::OCTET_STRING, b"x")), None);
        assert_eq!(other_name(&[0x88, 1, 42]), None);
    }
}
