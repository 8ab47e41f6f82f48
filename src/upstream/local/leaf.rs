//! From an order to what stands in the certificate (RFC 5280 section 4).
//!
//! Every extension is chosen here: nothing of the CSR is copied, so what a device asks for beyond its order has no way in.

use der::oid::ObjectIdentifier;
use jiff::Timestamp;

use super::authority::{Authority, same_key};
use super::{Refused, settings};
use crate::algorithm::KeyAlgorithm;
use crate::crypto::provider;
use crate::upstream::{IdempotencyKey, IssuanceOrder, RelatedCertificate};
use crate::x509::builder::{self, CertificateTemplate};
use crate::x509::{DistinguishedName, Extension, KeyUsage, X509Error, alternative, extension, related, spki};

/// What the certificate for this order says. The same order with the same key gives the same, serial number included, for as
/// long as the CA stays the same.
pub(super) fn template(
    authority: &Authority,
    order: &IssuanceOrder,
    key: &IdempotencyKey,
) -> Result<CertificateTemplate, Refused> {
    let malformed = |what: &str, e: X509Error| Refused::for_good(format!("the {what} of the order cannot be used: {e}"));

    if spki::key_algorithm(&order.spki).map_err(|e| malformed("subject key", e))? != order.key {
        return Err(Refused::for_good(format!("the subject key of the order is not the {} that it says", order.key)));
    }
    if same_key(&order.spki, authority.certificate.spki()) {
        return Err(Refused::for_good("the subject key is the key of the CA itself".into()));
    }
    let subject = DistinguishedName::from_der(&order.subject).map_err(|e| malformed("subject", e))?;
    let extensions = extensions(authority, order, &subject)?;
    let (not_before, not_after) = validity(authority, order)?;

    let mut template = CertificateTemplate {
        serial: Vec::new(),
        issuer: authority.certificate.subject().clone(),
        subject,
        not_before,
        not_after,
        spki: order.spki.clone(),
        extensions,
    };
    template.serial = serial(&authority.serial_key, &template, key);
    Ok(template)
}

/// The usages that a key of this kind can have in a device's certificate: RFC 3279 section 2.3 for RSA, RFC 5480 section 3 for
/// elliptic curves, RFC 8410 section 5, RFC 9881 section 5, RFC 9935 section 5. Never those of a CA.
pub(super) fn usage_for(key: KeyAlgorithm, wanted: KeyUsage) -> KeyUsage {
    if !key.can_sign() {
        return wanted.intersection(KeyUsage::KEY_ENCIPHERMENT);
    }
    let mut possible = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::NON_REPUDIATION);
    if key.can_key_encipherment() {
        possible = possible.union(KeyUsage::KEY_ENCIPHERMENT).union(KeyUsage::DATA_ENCIPHERMENT);
    }
    if matches!(key, KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521) {
        possible = possible.union(KeyUsage::KEY_AGREEMENT);
        // encipherOnly and decipherOnly mean nothing without keyAgreement.
        if wanted.contains(KeyUsage::KEY_AGREEMENT) {
            possible = possible.union(KeyUsage::ENCIPHER_ONLY).union(KeyUsage::DECIPHER_ONLY);
        }
    }
    wanted.intersection(possible)
}

fn extensions(authority: &Authority, order: &IssuanceOrder, subject: &DistinguishedName) -> Result<Vec<Extension>, Refused> {
    let building = |e: X509Error| Refused::for_good(format!("cannot build the extensions: {e}"));
    let mut extensions =
        vec![Extension { oid: BASIC_CONSTRAINTS, critical: true, value: EMPTY_SEQUENCE.to_vec() /* not a CA */ }];

    let usage = usage_for(order.key, order.key_usage);
    if !usage.is_empty() {
        extensions.push(Extension { oid: KEY_USAGE, critical: true, value: extension::key_usage(usage) });
    } else if !order.key_usage.is_empty() {
        // Leaving the extension out would allow everything, which is more than was ordered.
        return Err(Refused::for_good(format!("none of the ordered key usages fits a key {}", order.key)));
    }

    if !order.extended_key_usages.is_empty() {
        let usages = order
            .extended_key_usages
            .iter()
            .map(|oid| ObjectIdentifier::new(oid))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Refused::for_good("the order names an extended key usage that is no object identifier".into()))?;
        let value = extension::extended_key_usage(&usages).map_err(building)?;
        extensions.push(Extension { oid: EXTENDED_KEY_USAGE, critical: false, value });
    }

    if !order.subject_alt_names.is_empty() {
        let names = extension::read_subject_alt_names(&order.subject_alt_names).map_err(building)?;
        if names.is_empty() {
            return Err(Refused::for_good("the order has a SubjectAltName without a name".into()));
        }
        // RFC 5280 section 4.2.1.6: critical exactly if the subject is empty.
        let value = order.subject_alt_names.clone();
        extensions.push(Extension { oid: SUBJECT_ALT_NAME, critical: subject.is_empty(), value });
    } else if subject.is_empty() {
        return Err(Refused::for_good("the order names nobody: the subject and the SubjectAltName are empty".into()));
    }

    extensions.push(builder::subject_key_identifier(&order.spki).map_err(building)?);
    let identifier = authority.key_identifier().map_err(|e| Refused::for_good(e.to_string()))?;
    extensions.push(builder::authority_key_identifier(&identifier).map_err(building)?);
    let crls = match order.extensions.crl_urls.as_slice() {
        [] => authority.settings.distribution_points(&authority.certificate),
        urls => settings::with_key_name(urls, &authority.certificate),
    };
    if !crls.is_empty() {
        extensions.push(builder::crl_distribution_points(&crls).map_err(building)?);
    }
    extensions.extend(of_profile(order)?);
    if let Some(RelatedCertificate { digest, hash }) = &order.related {
        extensions.push(related::extension(*digest, hash));
    }
    // The signature with the key of the CA comes later; all else that tells this certificate from others has to be here.
    if let Some(alternative) = order.alternative {
        if !order.alternative_spki.is_empty() {
            spki::key_algorithm(&order.alternative_spki)
                .map_err(|e| Refused::for_good(format!("the alternative key of the order cannot be used: {e}")))?;
            extensions.push(alternative::key_extension(&order.alternative_spki));
        }
        extensions.push(alternative::algorithm_extension(alternative));
    }
    Ok(extensions)
}

/// What the profile adds.
fn of_profile(order: &IssuanceOrder) -> Result<Vec<Extension>, Refused> {
    let building = |e: X509Error| Refused::for_good(format!("cannot build the extensions: {e}"));
    let mut extensions = Vec::new();
    let profile = &order.extensions;
    if !profile.policies.is_empty() {
        let policies = profile
            .policies
            .iter()
            .map(|oid| ObjectIdentifier::new(oid))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Refused::for_good("the order names a certificate policy that is no object identifier".into()))?;
        extensions.push(builder::certificate_policies(&policies).map_err(building)?);
    }
    if !profile.ocsp.is_empty() || !profile.ca_issuers.is_empty() {
        extensions.push(builder::authority_info_access(&profile.ocsp, &profile.ca_issuers).map_err(building)?);
    }
    Ok(extensions)
}

/// The ordered validity within that of the CA's own certificate, in whole seconds.
fn validity(authority: &Authority, order: &IssuanceOrder) -> Result<(Timestamp, Timestamp), Refused> {
    let seconds = |t: Timestamp| Timestamp::from_second(t.as_second()).expect("cutting off the fraction stays in range");
    let not_before = seconds(order.not_before.max(authority.certificate.not_before()));
    let not_after = seconds(order.not_after.min(authority.certificate.not_after()));
    if not_before < not_after {
        Ok((not_before, not_after))
    } else if order.not_after <= order.not_before {
        Err(Refused::for_good("the ordered validity ends before it begins".into()))
    } else {
        Err(Refused::for_now(format!(
            "the certificate of the CA, valid from {} to {}, leaves nothing of the ordered validity; roll the CA over",
            authority.certificate.not_before(),
            authority.certificate.not_after()
        )))
    }
}

/// 16 octets that only the holder of the serial key can foretell. They depend on the attempt and on everything else that stands
/// in the certificate: two certificates that differ never share a serial number, and a repeated attempt repeats it.
///
/// RFC 5280 section 4.1.2.2 wants a positive number of at most 20 octets. The first octet is 0x40 to 0x7f: positive, not zero,
/// and of the same length always.
fn serial(serial_key: &[u8], template: &CertificateTemplate, key: &IdempotencyKey) -> Vec<u8> {
    let mut input = Vec::new();
    let mut field = |bytes: &[u8]| {
        input.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        input.extend_from_slice(bytes);
    };
    field(&key.0);
    field(template.issuer.der());
    field(template.subject.der());
    field(&template.not_before.as_second().to_be_bytes());
    field(&template.not_after.as_second().to_be_bytes());
    field(&template.spki);
    for extension in &template.extensions {
        field(extension.oid.as_bytes());
        field(&[u8::from(extension.critical)]);
        field(&extension.value);
    }
    let mut serial = provider().digester.hmac_sha256(serial_key, &input)[..16].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const EMPTY_SEQUENCE: &[u8] = &[0x30, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usages_fit_the_key() {
        let wanted = KeyUsage(0x1ff);
        let rsa = usage_for(KeyAlgorithm::Rsa(2048), wanted);
        assert_eq!(rsa, KeyUsage(0b0_0000_1111));
        let ec = usage_for(KeyAlgorithm::EcdsaP256, wanted);
        assert_eq!(ec, KeyUsage(0b1_1001_0011));
        assert_eq!(usage_for(KeyAlgorithm::MlDsa65, wanted), KeyUsage(0b11));
        assert_eq!(usage_for(KeyAlgorithm::MlKem(crate::algorithm::MlKem::MlKem768), wanted), KeyUsage::KEY_ENCIPHERMENT);
        // Without keyAgreement, encipherOnly goes too.
        assert!(usage_for(KeyAlgorithm::EcdsaP256, KeyUsage::ENCIPHER_ONLY).is_empty());
        // A device is no CA, whatever was ordered.
        assert!(usage_for(KeyAlgorithm::Rsa(2048), KeyUsage::KEY_CERT_SIGN.union(KeyUsage::CRL_SIGN)).is_empty());
    }
}
