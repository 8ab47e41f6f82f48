//! Families of algorithms: what a cryptography backend has as a whole, or not at all.

/// A family of algorithms and their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// RSA in both paddings.
    Rsa,
    /// ECDSA on the NIST curves.
    Ecdsa,
    /// Ed25519.
    Ed25519,
    /// ML-DSA (FIPS 204).
    MlDsa,
    /// SLH-DSA (FIPS 205).
    SlhDsa,
    /// ML-DSA with a classical algorithm; made of the parts of others.
    Composite,
    /// ML-KEM (FIPS 203), which does not sign.
    MlKem,
}

super::named!(Family, "algorithm family", {
    Rsa => "rsa",
    Ecdsa => "ecdsa",
    Ed25519 => "ed25519",
    MlDsa => "ml-dsa",
    SlhDsa => "slh-dsa",
    Composite => "composite",
    MlKem => "ml-kem",
});

impl Family {
    /// Whether no quantum computer is known to break it; a composite counts, by its ML-DSA half.
    pub const fn is_post_quantum(self) -> bool {
        matches!(self, Family::MlDsa | Family::SlhDsa | Family::Composite | Family::MlKem)
    }
}
