//! Message digests.

use der::oid::ObjectIdentifier;

/// A message digest, by its registered name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// MD5. RFC 8894 section 2.9 forbids it; some Cisco IOS releases still send it.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256: what RFC 8894 section 2.9 requires.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

super::named!(Digest, "digest", {
    Md5 => "md5",
    Sha1 => "sha-1",
    Sha256 => "sha-256",
    Sha384 => "sha-384",
    Sha512 => "sha-512",
});

impl Digest {
    /// The object identifier of the digest.
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Digest::Md5 => "1.2.840.113549.2.5",
            Digest::Sha1 => "1.3.14.3.2.26",
            Digest::Sha256 => "2.16.840.1.101.3.4.2.1",
            Digest::Sha384 => "2.16.840.1.101.3.4.2.2",
            Digest::Sha512 => "2.16.840.1.101.3.4.2.3",
        })
    }

    /// The digest with this object identifier, if it is one of ours.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL.iter().copied().find(|d| d.oid() == *oid)
    }

    /// Length of the output in octets.
    pub const fn output_len(self) -> usize {
        match self {
            Digest::Md5 => 16,
            Digest::Sha1 => 20,
            Digest::Sha256 => 32,
            Digest::Sha384 => 48,
            Digest::Sha512 => 64,
        }
    }

    /// Whether an endpoint has to name this digest before it is taken (RFC 8894 section 2.9, RFC 6151, RFC 6194).
    pub const fn is_legacy(self) -> bool {
        matches!(self, Digest::Md5 | Digest::Sha1)
    }
}
