//! Content encryption and key transport of CMS EnvelopedData.

use der::oid::ObjectIdentifier;

use super::{Digest, MlKem};

/// A content-encryption algorithm, by its registered name, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContentCipher {
    /// Single DES in CBC mode. RFC 8894 section 2.9 forbids it.
    DesCbc,
    /// Three-key triple DES in CBC mode.
    DesEde3Cbc,
    /// AES-128 in CBC mode: what RFC 8894 section 2.9 requires.
    Aes128Cbc,
    /// AES-192 in CBC mode.
    Aes192Cbc,
    /// AES-256 in CBC mode.
    Aes256Cbc,
    /// AES-128 in GCM mode (RFC 5084), taken but never sent.
    Aes128Gcm,
    /// AES-256 in GCM mode (RFC 5084), taken but never sent.
    Aes256Gcm,
}

super::named!(ContentCipher, "content cipher", {
    DesCbc => "des-cbc",
    DesEde3Cbc => "des-ede3-cbc",
    Aes128Cbc => "aes-128-cbc",
    Aes192Cbc => "aes-192-cbc",
    Aes256Cbc => "aes-256-cbc",
    Aes128Gcm => "aes-128-gcm",
    Aes256Gcm => "aes-256-gcm",
});

impl ContentCipher {
    /// The object identifier of the cipher.
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            ContentCipher::DesCbc => "1.3.14.3.2.7",
            ContentCipher::DesEde3Cbc => "1.2.840.113549.3.7",
            ContentCipher::Aes128Cbc => "2.16.840.1.101.3.4.1.2",
            ContentCipher::Aes192Cbc => "2.16.840.1.101.3.4.1.22",
            ContentCipher::Aes256Cbc => "2.16.840.1.101.3.4.1.42",
            ContentCipher::Aes128Gcm => "2.16.840.1.101.3.4.1.6",
            ContentCipher::Aes256Gcm => "2.16.840.1.101.3.4.1.46",
        })
    }

    /// The cipher with this object identifier, if it is one of ours.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.oid() == *oid)
    }

    /// Length of the content-encryption key in octets.
    pub const fn key_len(self) -> usize {
        match self {
            ContentCipher::DesCbc => 8,
            ContentCipher::DesEde3Cbc | ContentCipher::Aes192Cbc => 24,
            ContentCipher::Aes128Cbc | ContentCipher::Aes128Gcm => 16,
            ContentCipher::Aes256Cbc | ContentCipher::Aes256Gcm => 32,
        }
    }

    /// Length of the initialisation vector (CBC) or nonce (GCM) in octets.
    pub const fn iv_len(self) -> usize {
        match self {
            ContentCipher::DesCbc | ContentCipher::DesEde3Cbc => 8,
            ContentCipher::Aes128Gcm | ContentCipher::Aes256Gcm => 12,
            _ => 16,
        }
    }

    /// Whether the cipher authenticates its content.
    pub const fn is_aead(self) -> bool {
        matches!(self, ContentCipher::Aes128Gcm | ContentCipher::Aes256Gcm)
    }

    /// Whether an endpoint has to name this cipher before it is taken.
    pub const fn is_legacy(self) -> bool {
        matches!(self, ContentCipher::DesCbc | ContentCipher::DesEde3Cbc)
    }

    /// The cipher of the reply to a request in this cipher: the same one, or the CBC cipher of the same key length for GCM,
    /// which few SCEP clients could open.
    pub const fn for_reply(self) -> ContentCipher {
        match self {
            ContentCipher::Aes128Gcm => ContentCipher::Aes128Cbc,
            ContentCipher::Aes256Gcm => ContentCipher::Aes256Cbc,
            other => other,
        }
    }
}

/// How the content-encryption key travels to an RSA recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyTransport {
    /// RSAES-PKCS1-v1_5 (RFC 8017 section 7.2).
    Pkcs1v15,
    /// RSAES-OAEP (RFC 8017 section 7.1) with this digest, and MGF1 with the second.
    Oaep {
        /// The label digest.
        digest: Digest,
        /// The digest of the mask generation function.
        mgf1: Digest,
    },
}

/// How a content-encryption key is wrapped by a key that came out of a key encapsulation (RFC 3394).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyWrap {
    /// AES-128 key wrap.
    Aes128,
    /// AES-256 key wrap.
    Aes256,
}

impl KeyWrap {
    /// id-aes128-wrap or id-aes256-wrap (RFC 3565 section 2.3.2); their parameters are absent.
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            KeyWrap::Aes128 => "2.16.840.1.101.3.4.1.5",
            KeyWrap::Aes256 => "2.16.840.1.101.3.4.1.45",
        })
    }

    /// The wrap with this object identifier, if it is one of ours.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        [KeyWrap::Aes128, KeyWrap::Aes256].into_iter().find(|wrap| wrap.oid() == *oid)
    }

    /// Length of the wrapping key in octets.
    pub const fn key_len(self) -> usize {
        match self {
            KeyWrap::Aes128 => 16,
            KeyWrap::Aes256 => 32,
        }
    }

    /// The wrap for secrets of this kind of key (RFC 9936 section 2.2.1): no weaker than the key itself.
    pub const fn for_kem(key: MlKem) -> Self {
        match key {
            MlKem::MlKem512 => KeyWrap::Aes128,
            _ => KeyWrap::Aes256,
        }
    }
}
