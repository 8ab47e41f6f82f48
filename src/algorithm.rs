//! Algorithms by their registered names, and the profiles that are swapped per device group.
//!
//! Everything here is data: names, OIDs, sizes. What can be *computed* with an algorithm is the business of [`crate::crypto`].

pub mod cipher;
pub mod composite;
pub mod digest;
pub mod family;
pub mod key;
pub mod ml_kem;
pub mod profile;
pub mod signature;
pub mod size;
pub mod slh_dsa;
pub mod unsupported;

pub use cipher::{ContentCipher, KeyTransport, KeyWrap};
pub use composite::{COMPOSITE_DRAFT, Composite};
pub use digest::Digest;
pub use family::Family;
pub use key::{KeyAlgorithm, KeyRule};
pub use ml_kem::MlKem;
pub use profile::{AlgorithmProfile, Form, IssuerRef, ProfileExtensions, UnfitUsage};
pub use signature::SignatureAlgorithm;
pub use slh_dsa::SlhDsa;

/// A name that is not in our registry of algorithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm {
    /// What was looked for: `digest`, `content cipher`, …
    pub kind: &'static str,
    /// The name as it was given.
    pub name: String,
    /// All names that would have done, comma separated.
    pub known: String,
    /// Why it is not taken, if it is a name that we know all the same.
    pub refused: Option<unsupported::Why>,
}

impl UnknownAlgorithm {
    /// For a name that is none of `known`.
    pub(crate) fn new(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'static str>) -> Self {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        Self { kind, name: name.to_owned(), known, refused: unsupported::by_name(name).map(|refused| refused.why) }
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl std::fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, name, known, refused } = self;
        match refused {
            Some(why) => write!(f, "the {kind} {name:?} is not taken: {why}; known are {known}"),
            None => write!(f, "unknown {kind} {name:?}; known are {known}"),
        }
    }
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

        impl std::str::FromStr for $type {
            type Err = $crate::algorithm::UnknownAlgorithm;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let unknown = || $crate::algorithm::UnknownAlgorithm::new($kind, s, Self::ALL.iter().map(|v| v.name()));
                Self::ALL.iter().copied().find(|v| v.name() == s).ok_or_else(unknown)
            }
        }

        $crate::algorithm::shown_by_name!($type);
    };
}
pub(crate) use named;

/// `Display` and serde for a type that has `name` and `FromStr`.
macro_rules! shown_by_name {
    ($type:ident) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
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
pub(crate) use shown_by_name;
