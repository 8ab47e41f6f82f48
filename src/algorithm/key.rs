//! Subject keys: what a device may bring.

use std::fmt;
use std::str::FromStr;

use super::{Composite, Family, MlKem, SignatureAlgorithm, SlhDsa, UnknownAlgorithm};

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
    /// SLH-DSA (RFC 9909).
    SlhDsa(SlhDsa),
    /// ML-DSA and a classical key in one ([`COMPOSITE_DRAFT`](super::COMPOSITE_DRAFT)).
    Composite(Composite),
    /// ML-KEM (RFC 9935): encrypts and never signs, so no device can ask for a certificate for it.
    MlKem(MlKem),
}

impl KeyAlgorithm {
    /// Whether a content-encryption key can be transported to the holder: what decides how a SCEP reply travels.
    pub const fn can_decrypt(self) -> bool {
        matches!(self, KeyAlgorithm::Rsa(_))
    }

    /// Whether a secret can be encapsulated to the holder (RFC 9629): the other way for a SCEP reply to travel.
    pub const fn can_decapsulate(self) -> bool {
        matches!(self, KeyAlgorithm::MlKem(_))
    }

    /// Whether the key can sign.
    pub const fn can_sign(self) -> bool {
        !self.can_decapsulate()
    }

    /// Whether `keyEncipherment` may stand in the certificate (RFC 5280 section 4.2.1.3, RFC 9881 section 5, RFC 9935 section 5); not for a
    /// composite with RSA either.
    pub const fn can_key_encipherment(self) -> bool {
        matches!(self, KeyAlgorithm::Rsa(_)) || self.can_decapsulate()
    }

    /// Whether no quantum computer is known to break the key; a composite counts, by its ML-DSA half.
    pub const fn is_post_quantum(self) -> bool {
        self.family().is_post_quantum()
    }

    /// The family that it belongs to.
    pub const fn family(self) -> Family {
        match self {
            KeyAlgorithm::Rsa(_) => Family::Rsa,
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521 => Family::Ecdsa,
            KeyAlgorithm::Ed25519 => Family::Ed25519,
            KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87 => Family::MlDsa,
            KeyAlgorithm::SlhDsa(_) => Family::SlhDsa,
            KeyAlgorithm::Composite(_) => Family::Composite,
            KeyAlgorithm::MlKem(_) => Family::MlKem,
        }
    }

    /// What the key signs with, where there is only one way: all but RSA and ECDSA. The identifier of such a key is that of its
    /// signatures.
    pub const fn only_signature(self) -> Option<SignatureAlgorithm> {
        Some(match self {
            KeyAlgorithm::Ed25519 => SignatureAlgorithm::Ed25519,
            KeyAlgorithm::MlDsa44 => SignatureAlgorithm::MlDsa44,
            KeyAlgorithm::MlDsa65 => SignatureAlgorithm::MlDsa65,
            KeyAlgorithm::MlDsa87 => SignatureAlgorithm::MlDsa87,
            KeyAlgorithm::SlhDsa(set) => SignatureAlgorithm::SlhDsa(set),
            KeyAlgorithm::Composite(composite) => SignatureAlgorithm::Composite(composite),
            _ => return None,
        })
    }

    /// The NIST security category, 1 to 5; `None` for what a quantum computer breaks. That of a composite is its ML-DSA half's.
    pub const fn nist_level(self) -> Option<u8> {
        Some(match self {
            KeyAlgorithm::MlDsa44 => 2,
            KeyAlgorithm::MlDsa65 => 3,
            KeyAlgorithm::MlDsa87 => 5,
            KeyAlgorithm::SlhDsa(set) => set.nist_level(),
            KeyAlgorithm::Composite(composite) => composite.nist_level(),
            KeyAlgorithm::MlKem(set) => set.nist_level(),
            _ => return None,
        })
    }

    /// Length of the subjectPublicKey in octets, where every key of the kind has the same.
    pub const fn public_key_len(self) -> Option<usize> {
        Some(match self {
            KeyAlgorithm::Ed25519 => 32,
            KeyAlgorithm::MlDsa44 => 1312,
            KeyAlgorithm::MlDsa65 => 1952,
            KeyAlgorithm::MlDsa87 => 2592,
            KeyAlgorithm::SlhDsa(set) => set.public_key_len(),
            KeyAlgorithm::MlKem(set) => set.public_key_len(),
            _ => return None,
        })
    }

    /// Length of the longest signature in octets; none for a key that does not sign.
    pub const fn max_signature_len(self) -> usize {
        match self {
            KeyAlgorithm::Rsa(bits) => (bits as usize).div_ceil(8),
            // Ecdsa-Sig-Value in DER: two INTEGERs that may need a zero in front.
            KeyAlgorithm::EcdsaP256 => 72,
            KeyAlgorithm::EcdsaP384 => 104,
            KeyAlgorithm::EcdsaP521 => 139,
            KeyAlgorithm::Ed25519 => 64,
            KeyAlgorithm::MlDsa44 => 2420,
            KeyAlgorithm::MlDsa65 => 3309,
            KeyAlgorithm::MlDsa87 => 4627,
            KeyAlgorithm::SlhDsa(set) => set.signature_len(),
            KeyAlgorithm::Composite(composite) => composite.max_signature_len(),
            KeyAlgorithm::MlKem(_) => 0,
        }
    }

    /// The registered name, of all but RSA keys, which have their size in it.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            KeyAlgorithm::Rsa(_) => return None,
            KeyAlgorithm::EcdsaP256 => "ecdsa-p256",
            KeyAlgorithm::EcdsaP384 => "ecdsa-p384",
            KeyAlgorithm::EcdsaP521 => "ecdsa-p521",
            KeyAlgorithm::MlKem(set) => set.name(),
            other => match other.only_signature() {
                Some(signature) => signature.name(),
                None => return None,
            },
        })
    }

    /// Every kind of key that signs but RSA, weakest first, then SLH-DSA, then the composites.
    pub fn all_but_rsa() -> impl Iterator<Item = KeyAlgorithm> + Clone {
        let slh_dsa = SlhDsa::ALL.iter().copied().map(KeyAlgorithm::SlhDsa);
        let composites = Composite::ALL.iter().copied().map(KeyAlgorithm::Composite);
        PLAIN.iter().copied().chain(slh_dsa).chain(composites)
    }
}

/// The kinds that have nothing inside.
const PLAIN: &[KeyAlgorithm] = &[
    KeyAlgorithm::EcdsaP256,
    KeyAlgorithm::EcdsaP384,
    KeyAlgorithm::EcdsaP521,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::MlDsa44,
    KeyAlgorithm::MlDsa65,
    KeyAlgorithm::MlDsa87,
];

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.name()) {
            (_, Some(name)) => f.write_str(name),
            (KeyAlgorithm::Rsa(bits), None) => write!(f, "rsa-{bits}"),
            (_, None) => unreachable!("only RSA keys have no fixed name"),
        }
    }
}

impl FromStr for KeyAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if let Some(Ok(bits @ 512..=16384)) = s.strip_prefix("rsa-").map(str::parse) {
            return Ok(KeyAlgorithm::Rsa(bits));
        }
        let name = super::composite::plain_name(s);
        KeyAlgorithm::all_but_rsa().find(|key| key.name() == Some(&*name)).ok_or_else(|| {
            let known = KeyAlgorithm::all_but_rsa().filter_map(KeyAlgorithm::name);
            UnknownAlgorithm::new("key algorithm", s, ["rsa-BITS"].into_iter().chain(known))
        })
    }
}

/// One entry of an `accepts` list: an algorithm, a range of RSA sizes such as `rsa-2048..4096`, or a family such as `ml-dsa-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyRule {
    /// RSA with at least `min` and at most `max` bits.
    RsaRange {
        /// Smallest modulus in bits.
        min: u32,
        /// Largest modulus in bits.
        max: u32,
    },
    /// Every algorithm of this family.
    Family(Family),
    /// Exactly this algorithm.
    Exactly(KeyAlgorithm),
}

impl KeyRule {
    /// Whether the key is one that the rule lets through.
    pub fn admits(&self, key: KeyAlgorithm) -> bool {
        match (self, key) {
            (KeyRule::RsaRange { min, max }, KeyAlgorithm::Rsa(bits)) => (*min..=*max).contains(&bits),
            (KeyRule::Family(family), key) => key.family() == *family,
            (KeyRule::Exactly(wanted), key) => *wanted == key,
            _ => false,
        }
    }

    /// The keys that the rule lets through: of RSA the smallest and the largest, of all else every one.
    pub fn bounds(self) -> impl Iterator<Item = KeyAlgorithm> + Clone {
        let (min, max) = match self {
            KeyRule::RsaRange { min, max } => (Some(KeyAlgorithm::Rsa(min)), Some(KeyAlgorithm::Rsa(max))),
            KeyRule::Exactly(key @ KeyAlgorithm::Rsa(_)) => (Some(key), None),
            KeyRule::Exactly(_) | KeyRule::Family(_) => (None, None),
        };
        min.into_iter().chain(max).chain(KeyAlgorithm::all_but_rsa().filter(move |key| self.admits(*key)))
    }
}

/// The families that an entry can name. RSA has sizes, and Ed25519 is alone in its own.
const WILDCARDS: [(&str, Family); 4] =
    [("ecdsa-*", Family::Ecdsa), ("ml-dsa-*", Family::MlDsa), ("slh-dsa-*", Family::SlhDsa), ("composite-*", Family::Composite)];

impl fmt::Display for KeyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyRule::RsaRange { min, max } => write!(f, "rsa-{min}..{max}"),
            KeyRule::Family(family) => write!(f, "{family}-*"),
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
        if let Some((_, family)) = WILDCARDS.iter().find(|(name, _)| *name == s) {
            return Ok(KeyRule::Family(*family));
        }
        s.parse().map(KeyRule::Exactly).map_err(|unknown: UnknownAlgorithm| {
            let wildcards = WILDCARDS.map(|(name, _)| name).join(", ");
            UnknownAlgorithm { known: format!("{}, {wildcards}", unknown.known), ..unknown }
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back() {
        for key in KeyAlgorithm::all_but_rsa().chain([KeyAlgorithm::Rsa(2048)]) {
            assert_eq!(key.to_string().parse(), Ok(key));
            assert_eq!(key.to_string().parse(), Ok(KeyRule::Exactly(key)));
            assert_eq!(key.can_key_encipherment(), key == KeyAlgorithm::Rsa(2048));
            assert_eq!(key.nist_level().is_some(), key.is_post_quantum());
        }
        assert_eq!("id-MLDSA65-Ed25519-SHA512".parse(), Ok(KeyAlgorithm::Composite(Composite::MlDsa65Ed25519)));
        assert!("rsa-100".parse::<KeyAlgorithm>().is_err());
        assert!("slh-dsa".parse::<KeyAlgorithm>().unwrap_err().to_string().contains("slh-dsa-sha2-128s, "));
    }

    #[test]
    fn a_family_is_named_with_a_star() {
        for (name, family) in WILDCARDS {
            let rule: KeyRule = name.parse().unwrap();
            assert_eq!((rule, rule.to_string().as_str()), (KeyRule::Family(family), name));
            assert!(rule.bounds().count() >= 3 && rule.bounds().all(|key| rule.admits(key) && key.family() == family));
        }
        assert!("ml-dsa-*".parse::<KeyRule>().unwrap().admits(KeyAlgorithm::MlDsa87));
        assert!(!"ml-dsa-*".parse::<KeyRule>().unwrap().admits(KeyAlgorithm::Composite(Composite::MlDsa65Ed25519)));
        assert!("rsa-*".parse::<KeyRule>().unwrap_err().to_string().ends_with("composite-*"));
        let range: KeyRule = "rsa-2048..4096".parse().unwrap();
        assert_eq!(range.bounds().collect::<Vec<_>>(), [KeyAlgorithm::Rsa(2048), KeyAlgorithm::Rsa(4096)]);
    }

    #[test]
    fn sizes_of_slh_dsa() {
        let sizes: Vec<_> =
            SlhDsa::ALL.iter().map(|set| (set.public_key_len(), set.private_key_len(), set.signature_len())).collect();
        assert_eq!(sizes[0], (32, 64, 7856));
        assert_eq!(sizes[5], (48, 96, 35_664));
        assert_eq!(sizes[10], (64, 128, 29_792));
        for set in SlhDsa::ALL {
            assert_eq!(set.name().ends_with('s'), set.is_small());
            assert!(set.name().contains(&(set.n() * 8).to_string()));
        }
    }
}
