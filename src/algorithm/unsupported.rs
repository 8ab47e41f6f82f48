//! Algorithms that we know the name or the identifier of, and do not take: so that a refusal can say why.

use std::fmt;

use der::oid::ObjectIdentifier;

use super::composite::COMPOSITE_DRAFT;

/// Why an algorithm is refused though it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// The composite needs a brainpool curve.
    Brainpool,
    /// The composite needs Ed448.
    Ed448,
    /// A composite of an earlier draft.
    OldDraft,
    /// HashML-DSA.
    HashMlDsa,
    /// HashSLH-DSA.
    HashSlhDsa,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Brainpool => f.write_str("the cryptography library has no brainpool curves"),
            Why::Ed448 => f.write_str("the cryptography library has no Ed448"),
            Why::OldDraft => {
                write!(f, "an earlier draft of composite ML-DSA, which does not interoperate with {COMPOSITE_DRAFT}")
            }
            Why::HashMlDsa => f.write_str("HashML-DSA must not be used in certificates (RFC 9881); use ml-dsa-44, -65 or -87"),
            Why::HashSlhDsa => f.write_str("HashSLH-DSA is not supported; use SLH-DSA in its pure form"),
        }
    }
}

/// An algorithm that is known and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// Its name, in the style of ours.
    pub name: &'static str,
    /// Why.
    pub why: Why,
}

/// What is known and refused, if this identifier is one of them.
pub fn by_oid(oid: &ObjectIdentifier) -> Option<Refused> {
    if OLD_COMPOSITES.iter().any(|arc| oid.starts_with(*arc)) {
        return Some(Refused { name: "composite of an earlier draft", why: Why::OldDraft });
    }
    NAMED.iter().find(|(known, _)| known == oid).map(|(_, refused)| *refused)
}

/// What is known and refused, if this name is one of them: in our spelling, or in that of its standard with `id-` before it.
pub fn by_name(name: &str) -> Option<Refused> {
    let name = name.strip_prefix("id-").unwrap_or(name);
    NAMED.iter().find(|(_, refused)| refused.name.eq_ignore_ascii_case(name)).map(|(_, refused)| *refused)
}

/// The arcs of composite ML-DSA in the drafts before the identifiers of IANA.
const OLD_COMPOSITES: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("2.16.840.1.114027.80.8.1"), ObjectIdentifier::new_unwrap("2.16.840.1.114027.80.9.1")];

const fn entry(oid: &str, name: &'static str, why: Why) -> (ObjectIdentifier, Refused) {
    (ObjectIdentifier::new_unwrap(oid), Refused { name, why })
}

static NAMED: [(ObjectIdentifier, Refused); 18] = [
    entry("1.3.6.1.5.5.7.6.47", "mldsa65-ecdsa-brainpoolp256r1-sha512", Why::Brainpool),
    entry("1.3.6.1.5.5.7.6.50", "mldsa87-ecdsa-brainpoolp384r1-sha512", Why::Brainpool),
    entry("1.3.6.1.5.5.7.6.51", "mldsa87-ed448-shake256", Why::Ed448),
    entry("2.16.840.1.101.3.4.3.32", "hash-ml-dsa-44-with-sha512", Why::HashMlDsa),
    entry("2.16.840.1.101.3.4.3.33", "hash-ml-dsa-65-with-sha512", Why::HashMlDsa),
    entry("2.16.840.1.101.3.4.3.34", "hash-ml-dsa-87-with-sha512", Why::HashMlDsa),
    entry("2.16.840.1.101.3.4.3.35", "hash-slh-dsa-sha2-128s-with-sha256", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.36", "hash-slh-dsa-sha2-128f-with-sha256", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.37", "hash-slh-dsa-sha2-192s-with-sha512", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.38", "hash-slh-dsa-sha2-192f-with-sha512", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.39", "hash-slh-dsa-sha2-256s-with-sha512", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.40", "hash-slh-dsa-sha2-256f-with-sha512", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.41", "hash-slh-dsa-shake-128s-with-shake128", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.42", "hash-slh-dsa-shake-128f-with-shake128", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.43", "hash-slh-dsa-shake-192s-with-shake256", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.44", "hash-slh-dsa-shake-192f-with-shake256", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.45", "hash-slh-dsa-shake-256s-with-shake256", Why::HashSlhDsa),
    entry("2.16.840.1.101.3.4.3.46", "hash-slh-dsa-shake-256f-with-shake256", Why::HashSlhDsa),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};

    #[test]
    fn what_is_refused_says_why_by_name_and_by_identifier() {
        for (oid, refused) in &NAMED {
            assert_eq!(by_oid(oid), Some(*refused));
            assert_eq!(by_name(refused.name), Some(*refused));
            let error = refused.name.parse::<SignatureAlgorithm>().unwrap_err().to_string();
            assert!(error.contains(&refused.why.to_string()), "{error}");
            let error = refused.name.parse::<KeyAlgorithm>().unwrap_err().to_string();
            assert!(error.contains(&refused.why.to_string()), "{error}");
            assert_eq!(SignatureAlgorithm::from_oid(oid), None, "{}", refused.name);
        }
        assert_eq!(by_name("id-MLDSA87-Ed448-SHAKE256").unwrap().why, Why::Ed448);
        assert_eq!(by_name("id-MLDSA65-ECDSA-brainpoolP256r1-SHA512").unwrap().why, Why::Brainpool);
    }

    #[test]
    fn earlier_drafts_are_refused_by_their_arcs() {
        for oid in ["2.16.840.1.114027.80.8.1.21", "2.16.840.1.114027.80.9.1.3"] {
            assert_eq!(by_oid(&ObjectIdentifier::new_unwrap(oid)).unwrap().why, Why::OldDraft);
        }
        assert_eq!(by_oid(&ObjectIdentifier::new_unwrap("2.16.840.1.114027.80.6.1")), None);
        assert_eq!(by_oid(&SignatureAlgorithm::MlDsa44.oid()), None);
    }
}
