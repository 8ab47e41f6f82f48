//! What goes to a template that takes names, and perhaps usages, from the request to the API.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::upstream::IssuanceOrder;
use crate::x509::extension::read_subject_alt_names;
use crate::x509::{DistinguishedName, KeyUsage, SubjectAltName, VerifiedCsr};

/// `ApiPassthrough`.
pub(super) fn of(order: &IssuanceOrder, usages: bool) -> Result<Value, String> {
    let subject = DistinguishedName::from_der(&order.subject).map_err(|error| error.to_string())?;
    let mut passed = json!({});
    if !subject.is_empty() {
        passed["Subject"] = name(&subject)?;
    }
    if !order.subject_alt_names.is_empty() {
        let names = read_subject_alt_names(&order.subject_alt_names).map_err(|error| error.to_string())?;
        let names = names.iter().map(general_name).collect::<Result<Vec<_>, _>>()?;
        passed["Extensions"]["SubjectAlternativeNames"] = names.into();
    }
    if usages {
        let extended: Vec<Value> =
            order.extended_key_usages.iter().map(|oid| json!({ "ExtendedKeyUsageObjectIdentifier": oid })).collect();
        if !extended.is_empty() {
            passed["Extensions"]["ExtendedKeyUsage"] = extended.into();
        }
        let set = KEY_USAGES.iter().filter(|(bit, _)| order.key_usage.contains(*bit));
        let set: serde_json::Map<_, _> = set.map(|(_, name)| ((*name).to_owned(), Value::Bool(true))).collect();
        if !set.is_empty() {
            passed["Extensions"]["KeyUsage"] = set.into();
        }
    }
    Ok(passed)
}

/// Refuses an order that leaves out what the CSR has. Subject and alternative names that the API is not given are taken from the CSR, and
/// usages are by a template that copies them.
pub(super) fn nothing_left_out(order: &IssuanceOrder, copies_usages: bool) -> Result<(), String> {
    let has_subject = DistinguishedName::from_der(&order.subject).is_ok_and(|subject| !subject.is_empty());
    let has_names = !order.subject_alt_names.is_empty();
    let has_usages = !copies_usages || !order.extended_key_usages.is_empty();
    if has_subject && has_names && has_usages {
        return Ok(());
    }
    let csr = VerifiedCsr::from_der(&order.csr).map_err(|error| error.to_string())?;
    for (stays_out, what) in [
        (has_subject || csr.subject().is_empty(), "the subject"),
        (has_names || csr.subject_alt_names().is_empty(), "the alternative names"),
        (has_usages || csr.extended_key_usages().is_empty(), "the extended key usages"),
    ] {
        if !stays_out {
            return Err(format!("AWS Private CA cannot leave out {what} that the CSR has"));
        }
    }
    Ok(())
}

/// A name by the identifiers of its attributes, which keeps their order.
fn name(name: &DistinguishedName) -> Result<Value, String> {
    let mut attributes = Vec::new();
    for rdn in name.rdns() {
        let [attribute] = rdn.as_slice() else {
            return Err("the API of AWS Private CA has no names with several attributes in one place".to_owned());
        };
        attributes.push(json!({ "ObjectIdentifier": attribute.oid.to_string(), "Value": attribute.value }));
    }
    Ok(json!({ "CustomAttributes": attributes }))
}

fn general_name(general: &SubjectAltName) -> Result<Value, String> {
    Ok(match general {
        SubjectAltName::Dns(value) => json!({ "DnsName": value }),
        SubjectAltName::Ip(address) => json!({ "IpAddress": address.to_string() }),
        SubjectAltName::Uri(value) => json!({ "UniformResourceIdentifier": value }),
        SubjectAltName::Email(value) => json!({ "Rfc822Name": value }),
        SubjectAltName::Directory(value) => json!({ "DirectoryName": name(value)? }),
        SubjectAltName::Other(der) => {
            return Err(format!("the API of AWS Private CA is not given names such as {}", STANDARD.encode(der)));
        }
    })
}

const KEY_USAGES: &[(KeyUsage, &str)] = &[
    (KeyUsage::DIGITAL_SIGNATURE, "DigitalSignature"),
    (KeyUsage::NON_REPUDIATION, "NonRepudiation"),
    (KeyUsage::KEY_ENCIPHERMENT, "KeyEncipherment"),
    (KeyUsage::DATA_ENCIPHERMENT, "DataEncipherment"),
    (KeyUsage::KEY_AGREEMENT, "KeyAgreement"),
    (KeyUsage::KEY_CERT_SIGN, "KeyCertSign"),
    (KeyUsage::CRL_SIGN, "CRLSign"),
    (KeyUsage::ENCIPHER_ONLY, "EncipherOnly"),
    (KeyUsage::DECIPHER_ONLY, "DecipherOnly"),
];
