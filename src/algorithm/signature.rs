//! Signature algorithms.

use der::asn1::Null;
use der::oid::ObjectIdentifier;
use der::{Any, Encode};
use spki::AlgorithmIdentifierOwned;

use super::Digest;

/// A signature algorithm, as it stands in a certificate, by its registered name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with MD5: read from old clients, never made.
    RsaMd5,
    /// RSASSA-PKCS1-v1_5 with SHA-1.
    RsaSha1,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaSha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaSha512,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, salt of 32 octets.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384, salt of 48 octets.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 with SHA-512, salt of 64 octets.
    RsaPssSha512,
    /// ECDSA with SHA-1: read, never made.
    EcdsaSha1,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// ML-DSA-44 (RFC 9881).
    MlDsa44,
    /// ML-DSA-65 (RFC 9881).
    MlDsa65,
    /// ML-DSA-87 (RFC 9881).
    MlDsa87,
}

super::named!(SignatureAlgorithm, "signature algorithm", {
    RsaMd5 => "rsa-md5",
    RsaSha1 => "rsa-sha1",
    RsaSha256 => "rsa-sha256",
    RsaSha384 => "rsa-sha384",
    RsaSha512 => "rsa-sha512",
    RsaPssSha256 => "rsa-pss-sha256",
    RsaPssSha384 => "rsa-pss-sha384",
    RsaPssSha512 => "rsa-pss-sha512",
    EcdsaSha1 => "ecdsa-sha1",
    EcdsaSha256 => "ecdsa-sha256",
    EcdsaSha384 => "ecdsa-sha384",
    EcdsaSha512 => "ecdsa-sha512",
    Ed25519 => "ed25519",
    MlDsa44 => "ml-dsa-44",
    MlDsa65 => "ml-dsa-65",
    MlDsa87 => "ml-dsa-87",
});

/// id-RSASSA-PSS (RFC 4055); the digest stands in the parameters.
pub const ID_RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

impl SignatureAlgorithm {
    /// The object identifier; the three RSASSA-PSS algorithms share one.
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            SignatureAlgorithm::RsaMd5 => "1.2.840.113549.1.1.4",
            SignatureAlgorithm::RsaSha1 => "1.2.840.113549.1.1.5",
            SignatureAlgorithm::RsaSha256 => "1.2.840.113549.1.1.11",
            SignatureAlgorithm::RsaSha384 => "1.2.840.113549.1.1.12",
            SignatureAlgorithm::RsaSha512 => "1.2.840.113549.1.1.13",
            SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::RsaPssSha384 | SignatureAlgorithm::RsaPssSha512 => {
                "1.2.840.113549.1.1.10"
            }
            SignatureAlgorithm::EcdsaSha1 => "1.2.840.10045.4.1",
            SignatureAlgorithm::EcdsaSha256 => "1.2.840.10045.4.3.2",
            SignatureAlgorithm::EcdsaSha384 => "1.2.840.10045.4.3.3",
            SignatureAlgorithm::EcdsaSha512 => "1.2.840.10045.4.3.4",
            SignatureAlgorithm::Ed25519 => "1.3.101.112",
            SignatureAlgorithm::MlDsa44 => "2.16.840.1.101.3.4.3.17",
            SignatureAlgorithm::MlDsa65 => "2.16.840.1.101.3.4.3.18",
            SignatureAlgorithm::MlDsa87 => "2.16.840.1.101.3.4.3.19",
        })
    }

    /// The digest that the algorithm names, if it names one.
    pub const fn digest(self) -> Option<Digest> {
        Some(match self {
            SignatureAlgorithm::RsaMd5 => Digest::Md5,
            SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::EcdsaSha1 => Digest::Sha1,
            SignatureAlgorithm::RsaSha256 | SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::EcdsaSha256 => Digest::Sha256,
            SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::RsaPssSha384 | SignatureAlgorithm::EcdsaSha384 => Digest::Sha384,
            SignatureAlgorithm::RsaSha512 | SignatureAlgorithm::RsaPssSha512 | SignatureAlgorithm::EcdsaSha512 => Digest::Sha512,
            SignatureAlgorithm::Ed25519
            | SignatureAlgorithm::MlDsa44
            | SignatureAlgorithm::MlDsa65
            | SignatureAlgorithm::MlDsa87 => return None,
        })
    }

    /// Whether this is one of the three RSASSA-PSS algorithms.
    pub const fn is_pss(self) -> bool {
        matches!(self, SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::RsaPssSha384 | SignatureAlgorithm::RsaPssSha512)
    }

    /// Whether no quantum computer is known to forge the signature.
    pub const fn is_post_quantum(self) -> bool {
        matches!(self, SignatureAlgorithm::MlDsa44 | SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87)
    }

    /// The AlgorithmIdentifier for certificates: NULL parameters for RSA PKCS#1 (RFC 4055 section 5), absent for ECDSA
    /// (RFC 5758 section 3.2), Ed25519 (RFC 8410 section 3) and ML-DSA (RFC 9881 section 2), RSASSA-PSS-params for PSS.
    pub fn identifier(self) -> AlgorithmIdentifierOwned {
        let parameters = if self.is_pss() {
            Some(pss_parameters(self.digest().expect("PSS names a digest")))
        } else if matches!(
            self,
            SignatureAlgorithm::RsaMd5
                | SignatureAlgorithm::RsaSha1
                | SignatureAlgorithm::RsaSha256
                | SignatureAlgorithm::RsaSha384
                | SignatureAlgorithm::RsaSha512
        ) {
            Some(Any::from(Null))
        } else {
            None
        };
        AlgorithmIdentifierOwned { oid: self.oid(), parameters }
    }
}

/// RSASSA-PSS-params ::= SEQUENCE { [0] HashAlgorithm, [1] MaskGenAlgorithm, [2] saltLength } (RFC 4055 section 3.1).
fn pss_parameters(digest: Digest) -> Any {
    use der::Tag;
    use der::asn1::ContextSpecific;
    use der::{TagMode, TagNumber};

    let hash = AlgorithmIdentifierOwned { oid: digest.oid(), parameters: Some(Any::from(Null)) };
    let mgf = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8"),
        parameters: Some(Any::encode_from(&hash).expect("an AlgorithmIdentifier encodes")),
    };
    let mut content = Vec::new();
    let field = |number: u32, value: Vec<u8>| {
        ContextSpecific {
            tag_number: TagNumber(number),
            tag_mode: TagMode::Explicit,
            value: <Any as der::Decode>::from_der(&value).expect("just encoded"),
        }
        .to_der()
        .expect("a context-specific field encodes")
    };
    content.extend(field(0, hash.to_der().expect("encodes")));
    content.extend(field(1, mgf.to_der().expect("encodes")));
    content.extend(field(2, (digest.output_len() as u32).to_der().expect("encodes")));
    Any::new(Tag::Sequence, content).expect("short content")
}

impl SignatureAlgorithm {
    /// The usual length of a signature in octets; for RSA that of a 3072-bit key. For budgets, not for buffers.
    pub const fn typical_len(self) -> usize {
        match self {
            SignatureAlgorithm::EcdsaSha1 | SignatureAlgorithm::EcdsaSha256 => 72,
            SignatureAlgorithm::EcdsaSha384 => 104,
            SignatureAlgorithm::EcdsaSha512 => 139,
            SignatureAlgorithm::Ed25519 => 64,
            SignatureAlgorithm::MlDsa44 => 2420,
            SignatureAlgorithm::MlDsa65 => 3309,
            SignatureAlgorithm::MlDsa87 => 4627,
            _ => 384,
        }
    }
}
