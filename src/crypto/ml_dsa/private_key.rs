//! The three forms of an ML-DSA private key (RFC 9881 section 6).
//!
//! ```text
//! ML-DSA-44-PrivateKey ::= CHOICE {
//!   seed [0] OCTET STRING (SIZE (32)),
//!   expandedKey OCTET STRING (SIZE (2560)),
//!   both SEQUENCE { seed OCTET STRING (SIZE (32)), expandedKey OCTET STRING (SIZE (2560)) } }
//! ```
//!
//! The tag decides, never the length.

use der::asn1::OctetStringRef;
use der::{Decode, Encode, Reader, SliceReader};
use zeroize::Zeroizing;

use super::SEED_LEN;
use crate::algorithm::KeyAlgorithm;
use crate::crypto::CryptoError;

/// What stands in the privateKey of PKCS#8.
pub(super) enum MlDsaPrivateKey {
    /// What the key is made from: the recommended form.
    Seed(Zeroizing<[u8; SEED_LEN]>),
    /// What a signature is computed with.
    Expanded(Zeroizing<Vec<u8>>),
    /// Both; they have to agree.
    Both {
        /// As above.
        seed: Zeroizing<[u8; SEED_LEN]>,
        /// As above.
        expanded: Zeroizing<Vec<u8>>,
    },
}

impl MlDsaPrivateKey {
    /// Reads the CHOICE; lengths have to fit the parameter set, and nothing may follow.
    pub(super) fn from_der(set: KeyAlgorithm, der: &[u8]) -> Result<Self, CryptoError> {
        let bad = |_| CryptoError::BadKey;
        let seed = |octets: &[u8]| octets.try_into().map(Zeroizing::new).map_err(|_| CryptoError::BadKey);
        let expanded = |octets: &[u8]| match Some(octets.len()) == expanded_len(set) {
            true => Ok(Zeroizing::new(octets.to_vec())),
            false => Err(CryptoError::BadKey),
        };
        match der.first() {
            Some(&SEED) => match der.split_first_chunk() {
                Some(([SEED, SEED_OCTETS], octets)) => Ok(Self::Seed(seed(octets)?)),
                _ => Err(CryptoError::BadKey),
            },
            Some(&OCTET_STRING) => Ok(Self::Expanded(expanded(<&OctetStringRef>::from_der(der).map_err(bad)?.as_bytes())?)),
            Some(&SEQUENCE) => {
                let mut reader = SliceReader::new(der).map_err(bad)?;
                let (one, two) = reader
                    .sequence(|inner| Ok::<_, der::Error>((<&OctetStringRef>::decode(inner)?, <&OctetStringRef>::decode(inner)?)))
                    .map_err(bad)?;
                reader.finish().map_err(bad)?;
                Ok(Self::Both { seed: seed(one.as_bytes())?, expanded: expanded(two.as_bytes())? })
            }
            _ => Err(CryptoError::BadKey),
        }
    }

    /// Writes the CHOICE.
    pub(super) fn to_der(&self) -> Zeroizing<Vec<u8>> {
        let octets = |octets: &[u8]| {
            let string = OctetStringRef::new(octets).expect("a private key is short");
            Zeroizing::new(string.to_der().expect("an OCTET STRING in memory has an encoding"))
        };
        match self {
            Self::Seed(seed) => Zeroizing::new([&[SEED, SEED_OCTETS][..], seed.as_ref()].concat()),
            Self::Expanded(expanded) => octets(expanded),
            Self::Both { seed, expanded } => {
                let (seed, expanded) = (octets(seed.as_ref()), octets(expanded));
                let len = u16::try_from(seed.len() + expanded.len()).expect("a private key is short");
                let [high, low] = len.to_be_bytes();
                // More than 255 octets for every parameter set, so that the length always takes two.
                Zeroizing::new([&[SEQUENCE, 0x82, high, low][..], &seed, &expanded].concat())
            }
        }
    }
}

/// Octets of an expanded key (FIPS 204 table 2).
fn expanded_len(set: KeyAlgorithm) -> Option<usize> {
    Some(match set {
        KeyAlgorithm::MlDsa44 => 2560,
        KeyAlgorithm::MlDsa65 => 4032,
        KeyAlgorithm::MlDsa87 => 4896,
        _ => return None,
    })
}

/// `[0] IMPLICIT`
const SEED: u8 = 0x80;
const SEED_OCTETS: u8 = SEED_LEN as u8;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(der: &[u8]) -> Result<MlDsaPrivateKey, CryptoError> {
        MlDsaPrivateKey::from_der(KeyAlgorithm::MlDsa44, der)
    }

    #[test]
    fn each_form_is_known_by_its_tag() {
        let (seed, expanded) = (Zeroizing::new([7; 32]), Zeroizing::new(vec![9; 2560]));
        for (form, tag) in [
            (MlDsaPrivateKey::Seed(seed.clone()), SEED),
            (MlDsaPrivateKey::Expanded(expanded.clone()), OCTET_STRING),
            (MlDsaPrivateKey::Both { seed, expanded }, SEQUENCE),
        ] {
            let der = form.to_der();
            assert_eq!(der[0], tag);
            assert_eq!(read(&der).unwrap().to_der(), der);
            let longer = [&der[..], &[0]].concat();
            for wrong in [&der[..der.len() - 1], &der[1..], &longer, b""] {
                assert!(read(wrong).is_err());
            }
        }
    }

    #[test]
    fn lengths_have_to_fit_and_a_bare_seed_is_no_key() {
        assert!(read(&[5; 32]).is_err());
        // An expanded key of another set, and a seed in an OCTET STRING.
        assert!(read(&MlDsaPrivateKey::Expanded(Zeroizing::new(vec![1; 4032])).to_der()).is_err());
        assert!(read(&MlDsaPrivateKey::Expanded(Zeroizing::new(vec![1; 32])).to_der()).is_err());
        // Something behind the two in a SEQUENCE.
        let both = MlDsaPrivateKey::Both { seed: Zeroizing::new([1; 32]), expanded: Zeroizing::new(vec![1; 2560]) }.to_der();
        let mut more = [&both[..], &[5, 0]].concat();
        let len = u16::from_be_bytes([more[2], more[3]]) + 2;
        more[2..4].copy_from_slice(&len.to_be_bytes());
        assert!(read(&more).is_err());
    }
}
