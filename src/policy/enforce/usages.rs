//! Key usages and extended key usages: which are let through, left out or refused.

use der::oid::ObjectIdentifier;

use super::{Denial, DenialCode, PermitInput, Rules, Unlisted, deny};
use crate::algorithm::{Family, KeyAlgorithm, UnfitUsage};
use crate::x509::KeyUsage;
use crate::x509::extension::extended_key_usage_name;

impl Rules {
    pub(super) fn key_usage(&self, input: &PermitInput<'_>, changes: &mut Vec<String>) -> Result<KeyUsage, Denial> {
        let fit = fitting(input.csr.key());
        let Some(requested) = input.csr.key_usage() else {
            let usage = self.key_usage.intersection(fit);
            if usage.is_empty() {
                let key = input.csr.key();
                return deny(DenialCode::UsageNotAllowed, format!("no key usage that the group allows fits a key of {key}"));
            }
            return Ok(usage);
        };
        // Whatever is asked, no device gets a CA. An issuer that decides for itself is not even asked.
        let ca = KeyUsage::KEY_CERT_SIGN.union(KeyUsage::CRL_SIGN);
        if !input.issuer.overrides_usages && !requested.intersection(ca).is_empty() {
            let asked = usage_names(requested.intersection(ca));
            return deny(DenialCode::IssuerCannot, format!("the issuer might give key usage {asked}, which no device gets"));
        }
        let unfit = KeyUsage(requested.0 & !possible(input.csr.key()).0 & !ca.0);
        if !unfit.is_empty() && input.profile.key_usage == UnfitUsage::Refuse {
            let (key, unfit) = (input.csr.key(), usage_names(unfit));
            let why = format!("a key of {key} cannot have key usage {unfit}, and profile {} refuses it", input.profile.name);
            return deny(DenialCode::UsageNotAllowed, why);
        }
        let unlisted = KeyUsage(requested.0 & fit.0 & !self.key_usage.0 & !ca.0);
        if !unlisted.is_empty() && self.unlisted_key_usage == Unlisted::Refuse {
            return deny(DenialCode::UsageNotAllowed, format!("key usage {} is not allowed", usage_names(unlisted)));
        }
        let usage = requested.intersection(fit).intersection(self.key_usage);
        if usage.is_empty() {
            return deny(DenialCode::UsageNotAllowed, format!("nothing is left of key usage {}", usage_names(requested)));
        }
        if usage != requested {
            // An issuer that decides for itself sees what was requested; what it made of that is looked at afterwards.
            changes.push(match input.issuer.overrides_usages {
                true => format!("key usage {} becomes {}", usage_names(requested), usage_names(usage)),
                false => format!("key usage {} is the issuer's to decide, within what the group allows", usage_names(requested)),
            });
        }
        Ok(usage)
    }

    pub(super) fn extended_key_usages(
        &self,
        input: &PermitInput<'_>,
        changes: &mut Vec<String>,
    ) -> Result<Vec<ObjectIdentifier>, Denial> {
        let requested = input.csr.extended_key_usages();
        let decides = !input.issuer.overrides_usages;
        let mut usages = Vec::new();
        for usage in requested {
            let name = extended_key_usage_name(usage);
            if self.usages.contains(usage) {
                if !usages.contains(usage) {
                    usages.push(*usage);
                }
            } else if self.unlisted_usages == Unlisted::Drop {
                changes.push(match decides {
                    false => format!("extended key usage {name} is left out"),
                    true => format!("extended key usage {name} has to be left out by the issuer"),
                });
            } else {
                return deny(DenialCode::UsageNotAllowed, format!("extended key usage {name} is not allowed"));
            }
        }
        if !requested.is_empty() && usages.is_empty() {
            return deny(DenialCode::UsageNotAllowed, "nothing is left of the extended key usages".into());
        }
        if requested.is_empty() && !self.default_usages.is_empty() {
            usages = self.default_usages.clone();
            let names: Vec<_> = usages.iter().map(extended_key_usage_name).collect();
            if !decides {
                changes.push(format!("extended key usage {} is added", names.join(", ")));
            }
        }
        Ok(usages)
    }
}

/// The key usages that a device's key may have by the standards, whether it is of any use or not.
fn possible(key: KeyAlgorithm) -> KeyUsage {
    match key.family() {
        // Both mean something beside keyAgreement (RFC 5480 section 3).
        Family::Ecdsa => fitting(key).union(KeyUsage::ENCIPHER_ONLY).union(KeyUsage::DECIPHER_ONLY),
        _ => fitting(key),
    }
}

/// The key usages that fit a key: RFC 5280 section 4.2.1.3; RFC 5480 section 3 for elliptic curves, RFC 9295 section 3 for Ed25519,
/// RFC 9881 section 5 for ML-DSA, RFC 9909 section 5 for SLH-DSA.
pub fn fitting(key: KeyAlgorithm) -> KeyUsage {
    let signing = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::NON_REPUDIATION);
    match key {
        KeyAlgorithm::Rsa(_) => signing.union(KeyUsage::KEY_ENCIPHERMENT).union(KeyUsage::DATA_ENCIPHERMENT),
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521 => signing.union(KeyUsage::KEY_AGREEMENT),
        // A composite is for signatures alone, whatever its classical half could do by itself.
        KeyAlgorithm::Ed25519
        | KeyAlgorithm::MlDsa44
        | KeyAlgorithm::MlDsa65
        | KeyAlgorithm::MlDsa87
        | KeyAlgorithm::SlhDsa(_)
        | KeyAlgorithm::Composite(_) => signing,
        // RFC 9935 section 5: that and nothing else.
        KeyAlgorithm::MlKem(_) => KeyUsage::KEY_ENCIPHERMENT,
    }
}

/// The key usages of RFC 5280 section 4.2.1.3 by name.
pub const KEY_USAGE_NAMES: &[(&str, KeyUsage)] = &[
    ("digitalSignature", KeyUsage::DIGITAL_SIGNATURE),
    ("nonRepudiation", KeyUsage::NON_REPUDIATION),
    ("keyEncipherment", KeyUsage::KEY_ENCIPHERMENT),
    ("dataEncipherment", KeyUsage::DATA_ENCIPHERMENT),
    ("keyAgreement", KeyUsage::KEY_AGREEMENT),
    ("keyCertSign", KeyUsage::KEY_CERT_SIGN),
    ("cRLSign", KeyUsage::CRL_SIGN),
    ("encipherOnly", KeyUsage::ENCIPHER_ONLY),
    ("decipherOnly", KeyUsage::DECIPHER_ONLY),
];

/// Key usages by name, comma separated.
pub fn usage_names(usage: KeyUsage) -> String {
    let names: Vec<_> = KEY_USAGE_NAMES.iter().filter(|(_, bit)| usage.contains(*bit)).map(|(name, _)| *name).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
