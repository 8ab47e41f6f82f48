//! Signature algorithms.

use std::str::FromStr;

use der::asn1::Null;
use der::oid::ObjectIdentifier;
use der::{Any, Encode};
use spki::AlgorithmIdentifierOwned;

use super::{Composite, Digest, Family, KeyAlgorithm, SlhDsa, UnknownAlgorithm};

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
    /// SLH-DSA (RFC 9909).
    SlhDsa(SlhDsa),
    /// ML-DSA and a classical algorithm in one ([`COMPOSITE_DRAFT`](super::COMPOSITE_DRAFT)).
    Composite(Composite),
}

super::shown_by_name!(SignatureAlgorithm);

impl SignatureAlgorithm {
    /// Every value: the single ones weakest first, then SLH-DSA, then the composites.
    pub const ALL: &'static [SignatureAlgorithm] = &ALL;

    /// The registered name, as configuration and reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            SignatureAlgorithm::RsaMd5 => "rsa-md5",
            SignatureAlgorithm::RsaSha1 => "rsa-sha1",
            SignatureAlgorithm::RsaSha256 => "rsa-sha256",
            SignatureAlgorithm::RsaSha384 => "rsa-sha384",
            SignatureAlgorithm::RsaSha512 => "rsa-sha512",
            SignatureAlgorithm::RsaPssSha256 => "rsa-pss-sha256",
            SignatureAlgorithm::RsaPssSha384 => "rsa-pss-sha384",
            SignatureAlgorithm::RsaPssSha512 => "rsa-pss-sha512",
            SignatureAlgorithm::EcdsaSha1 => "ecdsa-sha1",
            SignatureAlgorithm::EcdsaSha256 => "ecdsa-sha256",
            SignatureAlgorithm::EcdsaSha384 => "ecdsa-sha384",
            SignatureAlgorithm::EcdsaSha512 => "ecdsa-sha512",
            SignatureAlgorithm::Ed25519 => "ed25519",
            SignatureAlgorithm::MlDsa44 => "ml-dsa-44",
            SignatureAlgorithm::MlDsa65 => "ml-dsa-65",
            SignatureAlgorithm::MlDsa87 => "ml-dsa-87",
            SignatureAlgorithm::SlhDsa(set) => set.name(),
            SignatureAlgorithm::Composite(composite) => composite.name(),
        }
    }
}

/// The values that have nothing inside: RSA, ECDSA, Ed25519 and ML-DSA.
const PLAIN: [SignatureAlgorithm; 16] = [
    SignatureAlgorithm::RsaMd5,
    SignatureAlgorithm::RsaSha1,
    SignatureAlgorithm::RsaSha256,
    SignatureAlgorithm::RsaSha384,
    SignatureAlgorithm::RsaSha512,
    SignatureAlgorithm::RsaPssSha256,
    SignatureAlgorithm::RsaPssSha384,
    SignatureAlgorithm::RsaPssSha512,
    SignatureAlgorithm::EcdsaSha1,
    SignatureAlgorithm::EcdsaSha256,
    SignatureAlgorithm::EcdsaSha384,
    SignatureAlgorithm::EcdsaSha512,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::MlDsa44,
    SignatureAlgorithm::MlDsa65,
    SignatureAlgorithm::MlDsa87,
];

const COUNT: usize = PLAIN.len() + SlhDsa::ALL.len() + Composite::ALL.len();

static ALL: [SignatureAlgorithm; COUNT] = all();

const fn all() -> [SignatureAlgorithm; COUNT] {
    let mut all = [SignatureAlgorithm::RsaMd5; COUNT];
    let mut i = 0;
    while i < COUNT {
        let slh_dsa = i.wrapping_sub(PLAIN.len());
        let composite = slh_dsa.wrapping_sub(SlhDsa::ALL.len());
        all[i] = if i < PLAIN.len() {
            PLAIN[i]
        } else if slh_dsa < SlhDsa::ALL.len() {
            SignatureAlgorithm::SlhDsa(SlhDsa::ALL[slh_dsa])
        } else {
            SignatureAlgorithm::Composite(Composite::ALL[composite])
        };
        i += 1;
    }
    all
}

/// The identifiers of [`ALL`], so that reading a certificate parses no text.
static OIDS: [ObjectIdentifier; COUNT] = {
    let all = all();
    let mut oids = [ID_RSASSA_PSS; COUNT];
    let mut i = 0;
    while i < COUNT {
        oids[i] = all[i].oid();
        i += 1;
    }
    oids
};

impl FromStr for SignatureAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let name = super::composite::plain_name(s);
        let unknown = || UnknownAlgorithm::new("signature algorithm", s, ALL.iter().map(|a| a.name()));
        ALL.iter().copied().find(|a| a.name() == name).ok_or_else(unknown)
    }
}

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
            SignatureAlgorithm::SlhDsa(set) => return set.oid(),
            SignatureAlgorithm::Composite(composite) => return composite.oid(),
        })
    }

    /// The algorithm with this identifier, if it is one of ours; RSASSA-PSS is not, since its digest stands in its parameters.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        if *oid == ID_RSASSA_PSS {
            return None;
        }
        OIDS.iter().position(|known| known == oid).map(|index| ALL[index])
    }

    /// Whether the AlgorithmIdentifier must have no parameters, not even NULL: Ed25519 (RFC 8410 section 3), ML-DSA (RFC 9881
    /// section 2), SLH-DSA (RFC 9909 section 3) and the composites.
    pub const fn forbids_parameters(self) -> bool {
        matches!(self.family(), Family::Ed25519 | Family::MlDsa | Family::SlhDsa | Family::Composite)
    }

    /// The family that it belongs to.
    pub const fn family(self) -> Family {
        match self {
            SignatureAlgorithm::RsaMd5
            | SignatureAlgorithm::RsaSha1
            | SignatureAlgorithm::RsaSha256
            | SignatureAlgorithm::RsaSha384
            | SignatureAlgorithm::RsaSha512
            | SignatureAlgorithm::RsaPssSha256
            | SignatureAlgorithm::RsaPssSha384
            | SignatureAlgorithm::RsaPssSha512 => Family::Rsa,
            SignatureAlgorithm::EcdsaSha1
            | SignatureAlgorithm::EcdsaSha256
            | SignatureAlgorithm::EcdsaSha384
            | SignatureAlgorithm::EcdsaSha512 => Family::Ecdsa,
            SignatureAlgorithm::Ed25519 => Family::Ed25519,
            SignatureAlgorithm::MlDsa44 | SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87 => Family::MlDsa,
            SignatureAlgorithm::SlhDsa(_) => Family::SlhDsa,
            SignatureAlgorithm::Composite(_) => Family::Composite,
        }
    }

    /// The kind of key that makes it, where there is only one: all but RSA and ECDSA.
    pub const fn only_key(self) -> Option<KeyAlgorithm> {
        Some(match self {
            SignatureAlgorithm::Ed25519 => KeyAlgorithm::Ed25519,
            SignatureAlgorithm::MlDsa44 => KeyAlgorithm::MlDsa44,
            SignatureAlgorithm::MlDsa65 => KeyAlgorithm::MlDsa65,
            SignatureAlgorithm::MlDsa87 => KeyAlgorithm::MlDsa87,
            SignatureAlgorithm::SlhDsa(set) => KeyAlgorithm::SlhDsa(set),
            SignatureAlgorithm::Composite(composite) => KeyAlgorithm::Composite(composite),
            _ => return None,
        })
    }

    /// Whether a key of this kind can make such a signature.
    pub fn fits(self, key: KeyAlgorithm) -> bool {
        match self.only_key() {
            Some(only) => only == key,
            None => self.family() == key.family(),
        }
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
            | SignatureAlgorithm::MlDsa87
            | SignatureAlgorithm::SlhDsa(_)
            | SignatureAlgorithm::Composite(_) => return None,
        })
    }

    /// Whether this is one of the three RSASSA-PSS algorithms.
    pub const fn is_pss(self) -> bool {
        matches!(self, SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::RsaPssSha384 | SignatureAlgorithm::RsaPssSha512)
    }

    /// Whether no quantum computer is known to forge the signature; a composite counts, by its ML-DSA half.
    pub const fn is_post_quantum(self) -> bool {
        self.family().is_post_quantum()
    }

    /// The NIST security category, 1 to 5; `None` for what a quantum computer breaks. That of a composite is its ML-DSA half's.
    pub const fn nist_level(self) -> Option<u8> {
        match self.only_key() {
            Some(key) => key.nist_level(),
            None => None,
        }
    }

    /// Whether one signature takes so long (from 10 ms to a second) that it has to run on the slow threads of the crypto pool.
    pub const fn is_slow(self) -> bool {
        matches!(self, SignatureAlgorithm::SlhDsa(_))
    }

    /// Whether a signature takes so little (some tens of microseconds) that a trip to the crypto pool and back costs as much.
    pub const fn is_brief(self) -> bool {
        matches!(self, SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::Ed25519)
    }

    /// The AlgorithmIdentifier for certificates: NULL parameters for RSA PKCS#1 (RFC 4055 section 5), absent for ECDSA
    /// (RFC 5758 section 3.2) and for all that [`forbids_parameters`](Self::forbids_parameters), RSASSA-PSS-params for PSS.
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
            SignatureAlgorithm::SlhDsa(set) => set.signature_len(),
            SignatureAlgorithm::Composite(composite) => composite.max_signature_len(),
            _ => 384,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_and_identifier_leads_back() {
        let names: BTreeSet<_> = SignatureAlgorithm::ALL.iter().map(|a| a.name()).collect();
        assert_eq!(names.len(), SignatureAlgorithm::ALL.len());
        for &algorithm in SignatureAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            let json = serde_json::to_string(&algorithm).unwrap();
            assert_eq!(serde_json::from_str::<SignatureAlgorithm>(&json).unwrap(), algorithm);
            let expected = (!algorithm.is_pss()).then_some(algorithm);
            assert_eq!(SignatureAlgorithm::from_oid(&algorithm.oid()), expected);
            assert_eq!(algorithm.identifier().parameters.is_some(), algorithm.family() == Family::Rsa);
            if let Some(key) = algorithm.only_key() {
                assert_eq!(key.only_signature(), Some(algorithm));
                assert_eq!(key.name(), Some(algorithm.name()));
                assert_eq!(key.nist_level().is_some(), algorithm.is_post_quantum());
                assert!(algorithm.fits(key));
            }
        }
    }

    #[test]
    fn the_spelling_of_the_draft_is_read_too() {
        let recommended = SignatureAlgorithm::Composite(Composite::MlDsa65EcdsaP256);
        assert_eq!("id-MLDSA65-ECDSA-P256-SHA512".parse(), Ok(recommended));
        assert_eq!("id-MLDSA44-Ed25519-SHA512".parse::<SignatureAlgorithm>().unwrap().name(), "mldsa44-ed25519-sha512");
        assert!("MLDSA65-ECDSA-P256-SHA512".parse::<SignatureAlgorithm>().is_err());
        assert!("id-ed25519".parse::<SignatureAlgorithm>().is_err());
    }
}
