//! Composite ML-DSA: one ML-DSA and one classical signature that are a single key and a single signature to everybody else, and
//! hold only together.
//!
//! The draft is pinned: [`COMPOSITE_DRAFT`]. Earlier drafts had other identifiers and another construction, and do not interoperate
//! with this one; they are refused by their identifiers (see [`super::unsupported`]).
//!
//! The names are those of the draft in lower case, with `id-` taken off: `id-MLDSA65-ECDSA-P256-SHA512` is
//! `mldsa65-ecdsa-p256-sha512`. The draft's own spelling is read too. The combinations that need a brainpool curve or Ed448 are
//! known and refused, because the cryptography library has neither.

use std::borrow::Cow;

use der::oid::ObjectIdentifier;

use super::{Digest, KeyAlgorithm, SignatureAlgorithm};

/// The draft that the composites here follow, until it is an RFC.
pub const COMPOSITE_DRAFT: &str = "draft-ietf-lamps-pq-composite-sigs-19";

/// A combination of ML-DSA with a classical algorithm, by the numbers of [`COMPOSITE_DRAFT`], weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Composite {
    /// id-MLDSA44-RSA2048-PSS-SHA256, 37.
    MlDsa44Rsa2048Pss,
    /// id-MLDSA44-RSA2048-PKCS15-SHA256, 38.
    MlDsa44Rsa2048Pkcs15,
    /// id-MLDSA44-Ed25519-SHA512, 39.
    MlDsa44Ed25519,
    /// id-MLDSA44-ECDSA-P256-SHA256, 40.
    MlDsa44EcdsaP256,
    /// id-MLDSA65-RSA3072-PSS-SHA512, 41.
    MlDsa65Rsa3072Pss,
    /// id-MLDSA65-RSA3072-PKCS15-SHA512, 42.
    MlDsa65Rsa3072Pkcs15,
    /// id-MLDSA65-RSA4096-PSS-SHA512, 43.
    MlDsa65Rsa4096Pss,
    /// id-MLDSA65-RSA4096-PKCS15-SHA512, 44.
    MlDsa65Rsa4096Pkcs15,
    /// id-MLDSA65-ECDSA-P256-SHA512, 45: the draft's recommendation.
    MlDsa65EcdsaP256,
    /// id-MLDSA65-ECDSA-P384-SHA512, 46.
    MlDsa65EcdsaP384,
    /// id-MLDSA65-Ed25519-SHA512, 48.
    MlDsa65Ed25519,
    /// id-MLDSA87-ECDSA-P384-SHA512, 49.
    MlDsa87EcdsaP384,
    /// id-MLDSA87-RSA3072-PSS-SHA512, 52.
    MlDsa87Rsa3072Pss,
    /// id-MLDSA87-RSA4096-PSS-SHA512, 53.
    MlDsa87Rsa4096Pss,
    /// id-MLDSA87-ECDSA-P521-SHA512, 54.
    MlDsa87EcdsaP521,
}

super::named!(Composite, "composite", {
    MlDsa44Rsa2048Pss => "mldsa44-rsa2048-pss-sha256",
    MlDsa44Rsa2048Pkcs15 => "mldsa44-rsa2048-pkcs15-sha256",
    MlDsa44Ed25519 => "mldsa44-ed25519-sha512",
    MlDsa44EcdsaP256 => "mldsa44-ecdsa-p256-sha256",
    MlDsa65Rsa3072Pss => "mldsa65-rsa3072-pss-sha512",
    MlDsa65Rsa3072Pkcs15 => "mldsa65-rsa3072-pkcs15-sha512",
    MlDsa65Rsa4096Pss => "mldsa65-rsa4096-pss-sha512",
    MlDsa65Rsa4096Pkcs15 => "mldsa65-rsa4096-pkcs15-sha512",
    MlDsa65EcdsaP256 => "mldsa65-ecdsa-p256-sha512",
    MlDsa65EcdsaP384 => "mldsa65-ecdsa-p384-sha512",
    MlDsa65Ed25519 => "mldsa65-ed25519-sha512",
    MlDsa87EcdsaP384 => "mldsa87-ecdsa-p384-sha512",
    MlDsa87Rsa3072Pss => "mldsa87-rsa3072-pss-sha512",
    MlDsa87Rsa4096Pss => "mldsa87-rsa4096-pss-sha512",
    MlDsa87EcdsaP521 => "mldsa87-ecdsa-p521-sha512",
});

impl Composite {
    /// The object identifier, of keys and of signatures alike: 1.3.6.1.5.5.7.6.37 to .54.
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Composite::MlDsa44Rsa2048Pss => "1.3.6.1.5.5.7.6.37",
            Composite::MlDsa44Rsa2048Pkcs15 => "1.3.6.1.5.5.7.6.38",
            Composite::MlDsa44Ed25519 => "1.3.6.1.5.5.7.6.39",
            Composite::MlDsa44EcdsaP256 => "1.3.6.1.5.5.7.6.40",
            Composite::MlDsa65Rsa3072Pss => "1.3.6.1.5.5.7.6.41",
            Composite::MlDsa65Rsa3072Pkcs15 => "1.3.6.1.5.5.7.6.42",
            Composite::MlDsa65Rsa4096Pss => "1.3.6.1.5.5.7.6.43",
            Composite::MlDsa65Rsa4096Pkcs15 => "1.3.6.1.5.5.7.6.44",
            Composite::MlDsa65EcdsaP256 => "1.3.6.1.5.5.7.6.45",
            Composite::MlDsa65EcdsaP384 => "1.3.6.1.5.5.7.6.46",
            Composite::MlDsa65Ed25519 => "1.3.6.1.5.5.7.6.48",
            Composite::MlDsa87EcdsaP384 => "1.3.6.1.5.5.7.6.49",
            Composite::MlDsa87Rsa3072Pss => "1.3.6.1.5.5.7.6.52",
            Composite::MlDsa87Rsa4096Pss => "1.3.6.1.5.5.7.6.53",
            Composite::MlDsa87EcdsaP521 => "1.3.6.1.5.5.7.6.54",
        })
    }

    /// The domain separator of the construction, which is the ML-DSA context too.
    pub const fn label(self) -> &'static str {
        match self {
            Composite::MlDsa44Rsa2048Pss => "COMPSIG-MLDSA44-RSA2048-PSS-SHA256",
            Composite::MlDsa44Rsa2048Pkcs15 => "COMPSIG-MLDSA44-RSA2048-PKCS15-SHA256",
            Composite::MlDsa44Ed25519 => "COMPSIG-MLDSA44-Ed25519-SHA512",
            Composite::MlDsa44EcdsaP256 => "COMPSIG-MLDSA44-ECDSA-P256-SHA256",
            Composite::MlDsa65Rsa3072Pss => "COMPSIG-MLDSA65-RSA3072-PSS-SHA512",
            Composite::MlDsa65Rsa3072Pkcs15 => "COMPSIG-MLDSA65-RSA3072-PKCS15-SHA512",
            Composite::MlDsa65Rsa4096Pss => "COMPSIG-MLDSA65-RSA4096-PSS-SHA512",
            Composite::MlDsa65Rsa4096Pkcs15 => "COMPSIG-MLDSA65-RSA4096-PKCS15-SHA512",
            Composite::MlDsa65EcdsaP256 => "COMPSIG-MLDSA65-ECDSA-P256-SHA512",
            Composite::MlDsa65EcdsaP384 => "COMPSIG-MLDSA65-ECDSA-P384-SHA512",
            Composite::MlDsa65Ed25519 => "COMPSIG-MLDSA65-Ed25519-SHA512",
            Composite::MlDsa87EcdsaP384 => "COMPSIG-MLDSA87-ECDSA-P384-SHA512",
            Composite::MlDsa87Rsa3072Pss => "COMPSIG-MLDSA87-RSA3072-PSS-SHA512",
            Composite::MlDsa87Rsa4096Pss => "COMPSIG-MLDSA87-RSA4096-PSS-SHA512",
            Composite::MlDsa87EcdsaP521 => "COMPSIG-MLDSA87-ECDSA-P521-SHA512",
        }
    }

    /// The ML-DSA half.
    pub const fn ml_dsa(self) -> SignatureAlgorithm {
        match self {
            Composite::MlDsa44Rsa2048Pss
            | Composite::MlDsa44Rsa2048Pkcs15
            | Composite::MlDsa44Ed25519
            | Composite::MlDsa44EcdsaP256 => SignatureAlgorithm::MlDsa44,
            Composite::MlDsa65Rsa3072Pss
            | Composite::MlDsa65Rsa3072Pkcs15
            | Composite::MlDsa65Rsa4096Pss
            | Composite::MlDsa65Rsa4096Pkcs15
            | Composite::MlDsa65EcdsaP256
            | Composite::MlDsa65EcdsaP384
            | Composite::MlDsa65Ed25519 => SignatureAlgorithm::MlDsa65,
            Composite::MlDsa87EcdsaP384
            | Composite::MlDsa87Rsa3072Pss
            | Composite::MlDsa87Rsa4096Pss
            | Composite::MlDsa87EcdsaP521 => SignatureAlgorithm::MlDsa87,
        }
    }

    /// The key of the ML-DSA half.
    pub const fn ml_dsa_key(self) -> KeyAlgorithm {
        match self.ml_dsa() {
            SignatureAlgorithm::MlDsa44 => KeyAlgorithm::MlDsa44,
            SignatureAlgorithm::MlDsa65 => KeyAlgorithm::MlDsa65,
            _ => KeyAlgorithm::MlDsa87,
        }
    }

    /// The classical half: how it signs. The salt of RSASSA-PSS is as long as its digest.
    pub const fn classical(self) -> SignatureAlgorithm {
        match self {
            Composite::MlDsa44Rsa2048Pss | Composite::MlDsa65Rsa3072Pss | Composite::MlDsa87Rsa3072Pss => {
                SignatureAlgorithm::RsaPssSha256
            }
            Composite::MlDsa65Rsa4096Pss | Composite::MlDsa87Rsa4096Pss => SignatureAlgorithm::RsaPssSha384,
            Composite::MlDsa44Rsa2048Pkcs15 | Composite::MlDsa65Rsa3072Pkcs15 => SignatureAlgorithm::RsaSha256,
            Composite::MlDsa65Rsa4096Pkcs15 => SignatureAlgorithm::RsaSha384,
            Composite::MlDsa44Ed25519 | Composite::MlDsa65Ed25519 => SignatureAlgorithm::Ed25519,
            Composite::MlDsa44EcdsaP256 | Composite::MlDsa65EcdsaP256 => SignatureAlgorithm::EcdsaSha256,
            Composite::MlDsa65EcdsaP384 | Composite::MlDsa87EcdsaP384 => SignatureAlgorithm::EcdsaSha384,
            Composite::MlDsa87EcdsaP521 => SignatureAlgorithm::EcdsaSha512,
        }
    }

    /// The key of the classical half.
    pub const fn classical_key(self) -> KeyAlgorithm {
        match self {
            Composite::MlDsa44Rsa2048Pss | Composite::MlDsa44Rsa2048Pkcs15 => KeyAlgorithm::Rsa(2048),
            Composite::MlDsa65Rsa3072Pss | Composite::MlDsa65Rsa3072Pkcs15 | Composite::MlDsa87Rsa3072Pss => {
                KeyAlgorithm::Rsa(3072)
            }
            Composite::MlDsa65Rsa4096Pss | Composite::MlDsa65Rsa4096Pkcs15 | Composite::MlDsa87Rsa4096Pss => {
                KeyAlgorithm::Rsa(4096)
            }
            Composite::MlDsa44Ed25519 | Composite::MlDsa65Ed25519 => KeyAlgorithm::Ed25519,
            Composite::MlDsa44EcdsaP256 | Composite::MlDsa65EcdsaP256 => KeyAlgorithm::EcdsaP256,
            Composite::MlDsa65EcdsaP384 | Composite::MlDsa87EcdsaP384 => KeyAlgorithm::EcdsaP384,
            Composite::MlDsa87EcdsaP521 => KeyAlgorithm::EcdsaP521,
        }
    }

    /// The digest by which a message goes into the construction. In CMS it is the digestAlgorithm as well.
    pub const fn pre_hash(self) -> Digest {
        match self {
            Composite::MlDsa44Rsa2048Pss | Composite::MlDsa44Rsa2048Pkcs15 | Composite::MlDsa44EcdsaP256 => Digest::Sha256,
            _ => Digest::Sha512,
        }
    }

    /// Length of the longest public key in octets.
    pub const fn max_public_key_len(self) -> usize {
        let classical = match self.classical_key() {
            // RSAPublicKey in DER with an exponent of three octets, which is what everybody takes.
            KeyAlgorithm::Rsa(bits) => bits as usize / 8 + 14,
            KeyAlgorithm::EcdsaP256 => 65,
            KeyAlgorithm::EcdsaP384 => 97,
            KeyAlgorithm::EcdsaP521 => 133,
            _ => 32,
        };
        match self.ml_dsa_key().public_key_len() {
            Some(ml_dsa) => ml_dsa + classical,
            None => unreachable!(),
        }
    }

    /// Length of the longest signature in octets.
    pub const fn max_signature_len(self) -> usize {
        self.ml_dsa_key().max_signature_len() + self.classical_key().max_signature_len()
    }

    /// The NIST security category of the ML-DSA half: 2, 3 or 5.
    pub const fn nist_level(self) -> u8 {
        match self.ml_dsa() {
            SignatureAlgorithm::MlDsa44 => 2,
            SignatureAlgorithm::MlDsa65 => 3,
            _ => 5,
        }
    }
}

/// The name in our spelling, if it is one of the draft's: `id-MLDSA…`. Any other name stays as it is.
pub(super) fn plain_name(name: &str) -> Cow<'_, str> {
    match name.strip_prefix("id-") {
        Some(rest) if rest.starts_with("MLDSA") => rest.to_ascii_lowercase().into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_the_parts_agrees_with_the_names() {
        for &composite in Composite::ALL {
            let name = composite.name();
            let label = composite.label().strip_prefix("COMPSIG-").unwrap();
            assert_eq!(label.to_ascii_lowercase(), name);
            assert_eq!(plain_name(&format!("id-{label}")), name);
            let ml_dsa = composite.ml_dsa().name().replace("ml-dsa-", "mldsa");
            assert!(name.starts_with(&ml_dsa), "{name}");
            assert!(name.ends_with(&composite.pre_hash().name().replace('-', "")), "{name}");
            let classical = match composite.classical_key() {
                KeyAlgorithm::Rsa(bits) if composite.classical().is_pss() => format!("-rsa{bits}-pss-"),
                KeyAlgorithm::Rsa(bits) => format!("-rsa{bits}-pkcs15-"),
                other => format!("-{other}-"),
            };
            assert!(name.contains(&classical), "{name} {classical}");
            assert!(composite.classical().fits(composite.classical_key()), "{name}");
            assert_eq!(composite.ml_dsa().only_key(), Some(composite.ml_dsa_key()));
        }
    }

    #[test]
    fn sizes_of_the_draft() {
        let sizes = |composite: Composite| (composite.max_public_key_len(), composite.max_signature_len());
        assert_eq!(sizes(Composite::MlDsa44Rsa2048Pss), (1582, 2676));
        assert_eq!(sizes(Composite::MlDsa44Ed25519), (1344, 2484));
        assert_eq!(sizes(Composite::MlDsa44EcdsaP256), (1377, 2492));
        assert_eq!(sizes(Composite::MlDsa65Rsa3072Pkcs15), (2350, 3693));
        assert_eq!(sizes(Composite::MlDsa65Rsa4096Pss), (2478, 3821));
        assert_eq!(sizes(Composite::MlDsa65EcdsaP256), (2017, 3381));
        assert_eq!(sizes(Composite::MlDsa87EcdsaP384), (2689, 4731));
        assert_eq!(sizes(Composite::MlDsa87Rsa4096Pss), (3118, 5139));
        assert_eq!(sizes(Composite::MlDsa87EcdsaP521), (2725, 4766));
    }
}
