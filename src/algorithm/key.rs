//! Subject keys: what a device may bring.

use std::fmt;
use std::str::FromStr;

use super::UnknownAlgorithm;

/// The kind and size of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyAlgorithm {
    /// RSA with a modulus of this many bits.
    Rsa(u32),
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// ML-DSA-44 (RFC 9881).
    MlDsa44,
    /// ML-DSA-65 (RFC 9881).
    MlDsa65,
    /// ML-DSA-87 (RFC 9881).
    MlDsa87,
}

impl KeyAlgorithm {
    /// Whether a content-encryption key can be transported to the holder: what decides how a SCEP reply travels.
    pub const fn can_decrypt(self) -> bool {
        matches!(self, KeyAlgorithm::Rsa(_))
    }

    /// Whether `keyEncipherment` may stand in the certificate (RFC 5280 section 4.2.1.3, RFC 9881 section 5).
    pub const fn can_key_encipherment(self) -> bool {
        matches!(self, KeyAlgorithm::Rsa(_))
    }

    /// Whether no quantum computer is known to break the key.
    pub const fn is_post_quantum(self) -> bool {
        matches!(self, KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87)
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyAlgorithm::Rsa(bits) => write!(f, "rsa-{bits}"),
            KeyAlgorithm::EcdsaP256 => f.write_str("ecdsa-p256"),
            KeyAlgorithm::EcdsaP384 => f.write_str("ecdsa-p384"),
            KeyAlgorithm::EcdsaP521 => f.write_str("ecdsa-p521"),
            KeyAlgorithm::Ed25519 => f.write_str("ed25519"),
            KeyAlgorithm::MlDsa44 => f.write_str("ml-dsa-44"),
            KeyAlgorithm::MlDsa65 => f.write_str("ml-dsa-65"),
            KeyAlgorithm::MlDsa87 => f.write_str("ml-dsa-87"),
        }
    }
}

impl FromStr for KeyAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(match s {
            "ecdsa-p256" => KeyAlgorithm::EcdsaP256,
            "ecdsa-p384" => KeyAlgorithm::EcdsaP384,
            "ecdsa-p521" => KeyAlgorithm::EcdsaP521,
            "ed25519" => KeyAlgorithm::Ed25519,
            "ml-dsa-44" => KeyAlgorithm::MlDsa44,
            "ml-dsa-65" => KeyAlgorithm::MlDsa65,
            "ml-dsa-87" => KeyAlgorithm::MlDsa87,
            _ => match s.strip_prefix("rsa-").map(str::parse) {
                Some(Ok(bits @ 512..=16384)) => KeyAlgorithm::Rsa(bits),
                _ => {
                    return Err(UnknownAlgorithm {
                        kind: "key algorithm",
                        name: s.to_owned(),
                        known: "rsa-BITS, ecdsa-p256, ecdsa-p384, ecdsa-p521, ed25519, ml-dsa-44, ml-dsa-65, ml-dsa-87".into(),
                    });
                }
            },
        })
    }
}

/// One entry of an `accepts` list: an algorithm, or a range of RSA sizes such as `rsa-2048..4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyRule {
    /// RSA with at least `min` and at most `max` bits.
    RsaRange {
        /// Smallest modulus in bits.
        min: u32,
        /// Largest modulus in bits.
        max: u32,
    },
    /// Exactly this algorithm.
    Exactly(KeyAlgorithm),
}

impl KeyRule {
    /// Whether the key is one that the rule lets through.
    pub fn admits(&self, key: KeyAlgorithm) -> bool {
        match (self, key) {
            (KeyRule::RsaRange { min, max }, KeyAlgorithm::Rsa(bits)) => (*min..=*max).contains(&bits),
            (KeyRule::Exactly(wanted), key) => *wanted == key,
            _ => false,
        }
    }
}

impl fmt::Display for KeyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyRule::RsaRange { min, max } => write!(f, "rsa-{min}..{max}"),
            KeyRule::Exactly(key) => key.fmt(f),
        }
    }
}

impl FromStr for KeyRule {
    type Err = UnknownAlgorithm;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if let Some((low, high)) = s.strip_prefix("rsa-").and_then(|r| r.split_once(".."))
            && let (Ok(min), Ok(max)) = (low.parse(), high.parse())
            && min <= max
            && (512..=16384).contains(&min)
            && max <= 16384
        {
            return Ok(KeyRule::RsaRange { min, max });
        }
        s.parse().map(KeyRule::Exactly)
    }
}

/// Serde by the name that `Display` and `FromStr` agree on.
macro_rules! serde_by_name {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
serde_by_name!(KeyAlgorithm, KeyRule);
