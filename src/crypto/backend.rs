//! Which backend computes what: AWS-LC for all that it has, and for the post-quantum families the one that the configuration names.
//!
//! The choice is made once, when a process has read its configuration, and holds to its end: keys that were opened by one backend
//! are never handed to another.

use std::sync::OnceLock;

use super::{CryptoProvider, Families, aws_lc, ml_dsa::MlDsaBackend, rustcrypto, slh_dsa::SlhDsaBackend};
use crate::algorithm::Family;

/// A cryptography library that we can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// AWS-LC, through `aws-lc-rs` and `aws-lc-sys`. Everything classical is done by it.
    AwsLc,
    /// The crates of the RustCrypto project: `ml-dsa` and `slh-dsa`.
    RustCrypto,
    /// liboqs of the Open Quantum Safe project, through the crate `oqs`.
    Liboqs,
}

crate::algorithm::named!(Backend, "cryptography backend", {
    AwsLc => "aws-lc",
    RustCrypto => "rustcrypto",
    Liboqs => "liboqs",
});

impl Backend {
    /// Whether this build has it; liboqs comes with the cargo feature `oqs` only.
    pub const fn is_built_in(self) -> bool {
        match self {
            Backend::AwsLc | Backend::RustCrypto => true,
            Backend::Liboqs => cfg!(feature = "oqs"),
        }
    }

    /// What it can do with keys of a family; `None` if it has not the family at all, or is never asked for it. Composites are made
    /// of the parts of others and no backend's own, and ML-KEM signs nothing.
    pub const fn abilities(self, family: Family) -> Option<Abilities> {
        use Ability::{Absent, Helped, Itself};
        match (self, family) {
            (Backend::AwsLc, Family::Rsa | Family::Ecdsa | Family::Ed25519) => Some(Abilities {
                generate: Itself,
                import_seed: Absent,
                import_expanded: Itself,
                export: Itself,
                sign: Itself,
                verify: Itself,
                context: Absent,
            }),
            (Backend::AwsLc, Family::MlDsa) => Some(Abilities {
                generate: Itself,
                import_seed: Itself,
                import_expanded: Itself,
                export: Itself,
                sign: Itself,
                verify: Itself,
                context: Itself,
            }),
            (Backend::RustCrypto, Family::MlDsa) => Some(Abilities {
                generate: Itself,
                import_seed: Itself,
                // It takes any octets of the right length, whether or not they belong together.
                import_expanded: Absent,
                export: Itself,
                sign: Itself,
                verify: Itself,
                context: Itself,
            }),
            (Backend::Liboqs, Family::MlDsa) => Some(Abilities {
                // It makes keys without a seed, computes no public key from a private one, and looks at nothing when it takes one.
                generate: Helped,
                import_seed: Helped,
                import_expanded: Helped,
                export: Itself,
                sign: Itself,
                // What it has is faulty; see there.
                verify: Helped,
                context: Itself,
            }),
            (Backend::RustCrypto, Family::SlhDsa) => Some(Abilities {
                generate: Itself,
                import_seed: Absent,
                import_expanded: Itself,
                export: Itself,
                sign: Itself,
                verify: Itself,
                // FIPS 205 has one; nothing that we do uses it.
                context: Absent,
            }),
            _ => None,
        }
    }

    /// The ML-DSA of it, if this build has one.
    pub(super) fn ml_dsa(self) -> Option<&'static dyn MlDsaBackend> {
        match self {
            Backend::AwsLc => Some(aws_lc::ML_DSA),
            Backend::RustCrypto => Some(&rustcrypto::RustCrypto),
            #[cfg(feature = "oqs")]
            Backend::Liboqs => Some(&super::liboqs::Liboqs),
            #[cfg(not(feature = "oqs"))]
            Backend::Liboqs => None,
        }
    }

    /// The SLH-DSA of it, if it has one.
    pub(super) fn slh_dsa(self) -> Option<&'static dyn SlhDsaBackend> {
        match self {
            Backend::RustCrypto => Some(&rustcrypto::RustCrypto),
            Backend::AwsLc | Backend::Liboqs => None,
        }
    }
}

/// How a backend comes to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// It does it itself.
    Itself,
    /// AWS-LC does it for the backend, which goes on with the result.
    Helped,
    /// It cannot, and says so.
    Absent,
}

/// What a backend can do with the keys of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Abilities {
    /// Make a key.
    pub generate: Ability,
    /// Read a private key that is a seed.
    pub import_seed: Ability,
    /// Read a private key in its full form, and refuse one whose parts do not belong together.
    pub import_expanded: Ability,
    /// Give the private key out, in the full form.
    pub export: Ability,
    /// Sign.
    pub sign: Ability,
    /// Check a signature.
    pub verify: Ability,
    /// Sign and check in a context, which composites need.
    pub context: Ability,
}

/// Which backend serves which family: `[crypto]` of `ravelin.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    ml_dsa: Backend,
    slh_dsa: Backend,
}

/// The choice of who chooses nothing: the fastest of each.
impl Default for Choice {
    fn default() -> Self {
        Self { ml_dsa: Backend::AwsLc, slh_dsa: Backend::RustCrypto }
    }
}

impl Choice {
    /// The families that there is a choice for.
    pub const FAMILIES: &'static [Family] = &[Family::MlDsa, Family::SlhDsa];

    /// Has `backend` serve `family`.
    pub fn with(self, family: Family, backend: Backend) -> Result<Self, Unavailable> {
        if !Self::FAMILIES.contains(&family) || backend.abilities(family).is_none() {
            return Err(Unavailable::LacksFamily { backend, family });
        }
        if !backend.is_built_in() {
            return Err(Unavailable::NotBuiltIn { backend });
        }
        Ok(match family {
            Family::SlhDsa => Self { slh_dsa: backend, ..self },
            _ => Self { ml_dsa: backend, ..self },
        })
    }

    /// The backend that serves a family. Of a composite it is that of the ML-DSA half; the classical one is AWS-LC's.
    pub const fn of(self, family: Family) -> Backend {
        match family {
            Family::Rsa | Family::Ecdsa | Family::Ed25519 | Family::MlKem => Backend::AwsLc,
            Family::MlDsa | Family::Composite => self.ml_dsa,
            Family::SlhDsa => self.slh_dsa,
        }
    }

    /// A provider that is made so. It lives to the end of the process: there is one, and those of tests.
    pub fn provider(self) -> &'static CryptoProvider {
        let families: &'static Families = Box::leak(Box::new(Families {
            classical: Backend::AwsLc.name(),
            classical_verifier: aws_lc::PROVIDER.verifier,
            classical_keys: aws_lc::PROVIDER.keys,
            ml_dsa: self.ml_dsa.ml_dsa().expect("a choice names only what is built in"),
            slh_dsa: self.slh_dsa.slh_dsa().expect("a choice names only what has the family"),
            digester: aws_lc::PROVIDER.digester,
            random: aws_lc::PROVIDER.random,
        }));
        Box::leak(Box::new(CryptoProvider { verifier: families, keys: families, ..aws_lc::PROVIDER }))
    }
}

/// Why a backend cannot be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It has no such algorithms.
    #[error("{backend} does not serve {family}")]
    LacksFamily {
        /// Which.
        backend: Backend,
        /// What for.
        family: Family,
    },
    /// This build was made without it.
    #[error("{backend} is not in this build")]
    NotBuiltIn {
        /// Which.
        backend: Backend,
    },
}

impl Unavailable {
    /// What can be done.
    pub fn help(&self) -> String {
        match self {
            Unavailable::LacksFamily { family, .. } => {
                let able: Vec<_> =
                    Backend::ALL.iter().filter(|other| other.abilities(*family).is_some()).map(|other| other.name()).collect();
                format!("{family} is served by {}", able.join(", "))
            }
            Unavailable::NotBuiltIn { .. } => {
                "build it with `cargo build --release --features oqs`, which needs cmake, clang and libclang; or choose another"
                    .to_owned()
            }
        }
    }
}

/// Takes a choice into use, the first time that it is called; after that it changes nothing. Gives the choice that holds.
pub fn install(choice: Choice) -> Choice {
    INSTALLED.get_or_init(|| (choice, choice.provider())).0
}

/// The choice that holds.
pub fn installed() -> Choice {
    INSTALLED.get().map_or_else(Choice::default, |(choice, _)| *choice)
}

/// The provider that was taken into use, if one was.
pub(super) fn provider() -> Option<&'static CryptoProvider> {
    INSTALLED.get().map(|(_, provider)| *provider)
}

static INSTALLED: OnceLock<(Choice, &'static CryptoProvider)> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_can_be_chosen() {
        let choice = Choice::default();
        assert_eq!(choice.with(Family::MlDsa, Backend::RustCrypto).unwrap().of(Family::Composite), Backend::RustCrypto);
        assert_eq!(choice.with(Family::MlDsa, Backend::RustCrypto).unwrap().of(Family::Rsa), Backend::AwsLc);
        assert_eq!(
            choice.with(Family::Rsa, Backend::AwsLc),
            Err(Unavailable::LacksFamily { backend: Backend::AwsLc, family: Family::Rsa })
        );
        for backend in [Backend::AwsLc, Backend::Liboqs] {
            let refused = choice.with(Family::SlhDsa, backend).unwrap_err();
            assert_eq!(refused, Unavailable::LacksFamily { backend, family: Family::SlhDsa });
            assert_eq!(refused.help(), "slh-dsa is served by rustcrypto");
        }
        match choice.with(Family::MlDsa, Backend::Liboqs) {
            Ok(choice) => assert!(cfg!(feature = "oqs") && choice.of(Family::MlDsa) == Backend::Liboqs),
            Err(refused) => assert!(!cfg!(feature = "oqs") && refused.help().contains("--features oqs")),
        }
    }

    /// `docs/src/backends.md` has this table.
    #[test]
    fn the_page_tells_what_is_declared() {
        let mut table = "| family | backend | make | read a seed | read a full key | give out | sign | verify | contexts |\n\
                         |---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for &family in Family::ALL {
            for &backend in Backend::ALL {
                let Some(Abilities { generate, import_seed, import_expanded, export, sign, verify, context }) =
                    backend.abilities(family)
                else {
                    continue;
                };
                let cells =
                    [generate, import_seed, import_expanded, export, sign, verify, context].map(|ability| match ability {
                        Ability::Itself => "yes",
                        Ability::Helped => "by `aws-lc`",
                        Ability::Absent => "–",
                    });
                table += &format!("| {family} | `{backend}` | {} |\n", cells.join(" | "));
            }
        }
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/backends.md")).unwrap();
        assert!(page.contains(&table), "docs/src/backends.md has to have\n\n{table}");
    }

    #[test]
    fn what_has_abilities_has_a_backend() {
        for &backend in Backend::ALL.iter().filter(|backend| backend.is_built_in()) {
            assert_eq!(backend.abilities(Family::MlDsa).is_some(), backend.ml_dsa().is_some());
            assert_eq!(backend.abilities(Family::SlhDsa).is_some(), backend.slh_dsa().is_some());
            assert_eq!(backend.ml_dsa().map_or(backend.name(), |it| it.name()), backend.name());
            assert_eq!(backend.slh_dsa().map_or(backend.name(), |it| it.name()), backend.name());
        }
    }
}
