//! ML-KEM (FIPS 203): keys that a secret is encapsulated to. They encrypt and never sign, so no device can ask for a certificate for
//! one by a PKCS#10 request; here they open what is sent to the RA, and replies.

use der::oid::ObjectIdentifier;

/// A parameter set of ML-KEM, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MlKem {
    /// ML-KEM-512.
    MlKem512,
    /// ML-KEM-768.
    MlKem768,
    /// ML-KEM-1024.
    MlKem1024,
}

super::named!(MlKem, "key encapsulation", {
    MlKem512 => "ml-kem-512",
    MlKem768 => "ml-kem-768",
    MlKem1024 => "ml-kem-1024",
});

impl MlKem {
    /// The object identifier, of keys (RFC 9935 section 3) and of encapsulations (RFC 9936 section 2.1) alike; parameters are absent.
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            MlKem::MlKem512 => "2.16.840.1.101.3.4.4.1",
            MlKem::MlKem768 => "2.16.840.1.101.3.4.4.2",
            MlKem::MlKem1024 => "2.16.840.1.101.3.4.4.3",
        })
    }

    /// The parameter set with this object identifier.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL.iter().copied().find(|set| set.oid() == *oid)
    }

    /// Length of the public key in octets (FIPS 203 table 3).
    pub const fn public_key_len(self) -> usize {
        match self {
            MlKem::MlKem512 => 800,
            MlKem::MlKem768 => 1184,
            MlKem::MlKem1024 => 1568,
        }
    }

    /// Length of a ciphertext in octets (FIPS 203 table 3).
    pub const fn ciphertext_len(self) -> usize {
        match self {
            MlKem::MlKem512 => 768,
            MlKem::MlKem768 => 1088,
            MlKem::MlKem1024 => 1568,
        }
    }

    /// The NIST security category.
    pub const fn nist_level(self) -> u8 {
        match self {
            MlKem::MlKem512 => 1,
            MlKem::MlKem768 => 3,
            MlKem::MlKem1024 => 5,
        }
    }
}
