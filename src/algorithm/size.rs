//! How large certificates and replies get: for budgets and reports, to within a few dozen octets.

use super::{AlgorithmProfile, KeyAlgorithm, ProfileExtensions, SignatureAlgorithm};

/// The length of a SubjectPublicKeyInfo with this key.
pub fn spki_len(key: KeyAlgorithm) -> usize {
    // SEQUENCE, AlgorithmIdentifier with an OID of 8 or 9 octets, BIT STRING.
    const FRAME: usize = 22;
    match key {
        KeyAlgorithm::Rsa(bits) => 38 + bits.div_ceil(8) as usize,
        KeyAlgorithm::EcdsaP256 => 91,
        KeyAlgorithm::EcdsaP384 => 120,
        KeyAlgorithm::EcdsaP521 => 158,
        KeyAlgorithm::Ed25519 => 44,
        KeyAlgorithm::Composite(composite) => composite.max_public_key_len() + FRAME,
        KeyAlgorithm::MlDsa44
        | KeyAlgorithm::MlDsa65
        | KeyAlgorithm::MlDsa87
        | KeyAlgorithm::SlhDsa(_)
        | KeyAlgorithm::MlKem(_) => key.public_key_len().unwrap_or_default() + FRAME,
    }
}

/// About how large a certificate gets. `subject` is what the subject brings: keys and names, in octets.
pub fn certificate_len(
    subject: usize,
    signature: SignatureAlgorithm,
    alternative: Option<SignatureAlgorithm>,
    extensions: &ProfileExtensions,
) -> usize {
    /// Issuer, dates, serial number, identifiers, and the extensions that every certificate has.
    const FRAME: usize = 400;
    /// altSignatureAlgorithm, and what is around altSignatureValue.
    const ALTERNATIVE_FRAME: usize = 45;
    let alternative = alternative.map_or(0, |algorithm| algorithm.typical_len() + ALTERNATIVE_FRAME);
    FRAME + subject + signature.typical_len() + alternative + extensions_len(extensions)
}

/// About how large the reply with a certificate gets: with what CMS and the RA's signature put around it. `chain` is what comes along
/// of the chain above it, in octets.
pub fn reply_len(certificate: usize, chain: usize) -> usize {
    const FRAME: usize = 1900;
    FRAME + certificate + chain
}

fn extensions_len(extensions: &ProfileExtensions) -> usize {
    let ProfileExtensions { policies, crl_urls, ca_issuers, ocsp } = extensions;
    let urls = crl_urls.iter().chain(ca_issuers).chain(ocsp).map(|url| url.len() + 16).sum::<usize>();
    urls + 14 * policies.len() + if extensions.is_empty() { 0 } else { 30 }
}

impl AlgorithmProfile {
    /// About how large a certificate of this profile gets, with the smallest and with the largest key that it accepts.
    pub fn certificate_lens(&self) -> (usize, usize) {
        /// A subject such as `CN=router-1`, and no alternative names.
        const NAMES: usize = 25;
        let spkis = self.accepts.iter().flat_map(|rule| rule.bounds()).map(spki_len);
        let of = |spki: Option<usize>| {
            let alternative = self.alternative.filter(|_| self.sibling().is_none());
            certificate_len(spki.unwrap_or_default() + NAMES, self.signature, alternative, &self.extensions)
        };
        (of(spkis.clone().min()), of(spkis.max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Composite, SlhDsa};

    #[test]
    fn public_keys_have_the_lengths_of_their_standards() {
        for (key, length) in [
            (KeyAlgorithm::Rsa(2048), 294),
            (KeyAlgorithm::Rsa(3072), 422),
            (KeyAlgorithm::Rsa(4096), 550),
            (KeyAlgorithm::MlDsa44, 1334),
            (KeyAlgorithm::MlDsa65, 1974),
            (KeyAlgorithm::MlDsa87, 2614),
        ] {
            assert_eq!(spki_len(key), length, "{key}");
        }
        // Within a few octets, by the length of the length.
        assert!((48..=54).contains(&spki_len(KeyAlgorithm::SlhDsa(SlhDsa::Sha2_128s))));
        assert!((2035..=2045).contains(&spki_len(KeyAlgorithm::Composite(Composite::MlDsa65EcdsaP256))));
    }
}
