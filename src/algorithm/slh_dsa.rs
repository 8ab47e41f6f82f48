//! SLH-DSA (FIPS 205): the twelve parameter sets in their pure form, as RFC 9909 has them in certificates.

use der::oid::ObjectIdentifier;

/// A parameter set of SLH-DSA. `s` signs slowly and small, `f` fast and large; the hash is SHA-2 or SHAKE256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SlhDsa {
    /// SLH-DSA-SHA2-128s.
    Sha2_128s,
    /// SLH-DSA-SHA2-128f.
    Sha2_128f,
    /// SLH-DSA-SHAKE-128s.
    Shake128s,
    /// SLH-DSA-SHAKE-128f.
    Shake128f,
    /// SLH-DSA-SHA2-192s.
    Sha2_192s,
    /// SLH-DSA-SHA2-192f.
    Sha2_192f,
    /// SLH-DSA-SHAKE-192s.
    Shake192s,
    /// SLH-DSA-SHAKE-192f.
    Shake192f,
    /// SLH-DSA-SHA2-256s.
    Sha2_256s,
    /// SLH-DSA-SHA2-256f.
    Sha2_256f,
    /// SLH-DSA-SHAKE-256s.
    Shake256s,
    /// SLH-DSA-SHAKE-256f.
    Shake256f,
}

super::named!(SlhDsa, "SLH-DSA parameter set", {
    Sha2_128s => "slh-dsa-sha2-128s",
    Sha2_128f => "slh-dsa-sha2-128f",
    Shake128s => "slh-dsa-shake-128s",
    Shake128f => "slh-dsa-shake-128f",
    Sha2_192s => "slh-dsa-sha2-192s",
    Sha2_192f => "slh-dsa-sha2-192f",
    Shake192s => "slh-dsa-shake-192s",
    Shake192f => "slh-dsa-shake-192f",
    Sha2_256s => "slh-dsa-sha2-256s",
    Sha2_256f => "slh-dsa-sha2-256f",
    Shake256s => "slh-dsa-shake-256s",
    Shake256f => "slh-dsa-shake-256f",
});

impl SlhDsa {
    /// The object identifier, of keys and of signatures alike (RFC 9909 section 3).
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            SlhDsa::Sha2_128s => "2.16.840.1.101.3.4.3.20",
            SlhDsa::Sha2_128f => "2.16.840.1.101.3.4.3.21",
            SlhDsa::Sha2_192s => "2.16.840.1.101.3.4.3.22",
            SlhDsa::Sha2_192f => "2.16.840.1.101.3.4.3.23",
            SlhDsa::Sha2_256s => "2.16.840.1.101.3.4.3.24",
            SlhDsa::Sha2_256f => "2.16.840.1.101.3.4.3.25",
            SlhDsa::Shake128s => "2.16.840.1.101.3.4.3.26",
            SlhDsa::Shake128f => "2.16.840.1.101.3.4.3.27",
            SlhDsa::Shake192s => "2.16.840.1.101.3.4.3.28",
            SlhDsa::Shake192f => "2.16.840.1.101.3.4.3.29",
            SlhDsa::Shake256s => "2.16.840.1.101.3.4.3.30",
            SlhDsa::Shake256f => "2.16.840.1.101.3.4.3.31",
        })
    }

    /// The security parameter `n` in octets (FIPS 205 section 11).
    pub const fn n(self) -> usize {
        match self {
            SlhDsa::Sha2_128s | SlhDsa::Sha2_128f | SlhDsa::Shake128s | SlhDsa::Shake128f => 16,
            SlhDsa::Sha2_192s | SlhDsa::Sha2_192f | SlhDsa::Shake192s | SlhDsa::Shake192f => 24,
            SlhDsa::Sha2_256s | SlhDsa::Sha2_256f | SlhDsa::Shake256s | SlhDsa::Shake256f => 32,
        }
    }

    /// Whether this is one of the sets that sign slowly.
    pub const fn is_small(self) -> bool {
        matches!(
            self,
            SlhDsa::Sha2_128s | SlhDsa::Sha2_192s | SlhDsa::Sha2_256s | SlhDsa::Shake128s | SlhDsa::Shake192s | SlhDsa::Shake256s
        )
    }

    /// Length of a public key in octets.
    pub const fn public_key_len(self) -> usize {
        2 * self.n()
    }

    /// Length of a private key in octets: SK.seed, SK.prf, PK.seed and PK.root (RFC 9909 section 6).
    pub const fn private_key_len(self) -> usize {
        4 * self.n()
    }

    /// Length of a signature in octets (FIPS 205 table 2).
    pub const fn signature_len(self) -> usize {
        match (self.n(), self.is_small()) {
            (16, true) => 7856,
            (16, false) => 17_088,
            (24, true) => 16_224,
            (24, false) => 35_664,
            (_, true) => 29_792,
            (_, false) => 49_856,
        }
    }

    /// The NIST security category, 1 to 5.
    pub const fn nist_level(self) -> u8 {
        match self.n() {
            16 => 1,
            24 => 3,
            _ => 5,
        }
    }
}
