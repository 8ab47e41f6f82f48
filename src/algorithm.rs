//! Algorithms by their registered names, and the profiles that are swapped per device group.
//!
//! Everything here is data: names, OIDs, sizes. What can be *computed* with an algorithm is the business of [`crate::crypto`].

pub mod cipher;
pub mod digest;
pub mod key;
pub mod profile;
pub mod signature;

pub use cipher::{ContentCipher, KeyTransport};
pub use digest::Digest;
pub use key::{KeyAlgorithm, KeyRule};
pub use profile::{AlgorithmProfile, Form, IssuerRef};
pub use signature::SignatureAlgorithm;

/// A name that is not in our registry of algorithms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} {name:?}; known are {known}")]
pub struct UnknownAlgorithm {
    /// What was looked for: `digest`, `content cipher`, …
    pub kind: &'static str,
    /// The name as it was given.
    pub name: String,
    /// All names that would have done, comma separated.
    pub known: String,
}

/// Gives a fieldless enum its registered names: `ALL`, `name`, `FromStr`, `Display` and serde by name.
macro_rules! named {
    ($type:ident, $kind:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, weakest first.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The registered name, as configuration and reports write it.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::algorithm::UnknownAlgorithm;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|v| v.name() == s).ok_or_else(|| {
                    $crate::algorithm::UnknownAlgorithm {
                        kind: $kind,
                        name: s.to_owned(),
                        known: Self::ALL.iter().map(|v| v.name()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                name.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use named;
