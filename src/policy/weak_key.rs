//! Keys that are of an accepted kind and still no good.

use std::sync::LazyLock;

use der::asn1::UintRef;
use der::{Decode, Sequence};
use spki::SubjectPublicKeyInfoRef;

/// Says what is weak about the key in a DER SubjectPublicKeyInfo, if anything is. Elliptic curve points need no check here: a
/// signature by a key that is not on its curve does not verify, and every CSR's does.
pub(super) fn weakness(spki: &[u8]) -> Option<String> {
    let Ok(info) = SubjectPublicKeyInfoRef::try_from(spki) else { return Some("the key cannot be read".into()) };
    if info.algorithm.oid != const_oid::db::rfc5912::RSA_ENCRYPTION {
        return None;
    }
    let Ok(key) = RsaPublicKey::from_der(info.subject_public_key.raw_bytes()) else {
        return Some("the RSA key cannot be read".into());
    };
    rsa_weakness(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}

/// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017 appendix A.1.1)
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

/// What SP 800-89 section 5.3.3 and section 6.1.6 of the CA/Browser Forum's baseline requirements ask of RSA keys, but for the lower
/// bound of the exponent: 3 and 17 are common in old devices, and sound for signatures with the padding of today.
fn rsa_weakness(modulus: &[u8], exponent: &[u8]) -> Option<String> {
    if exponent.len() > 32 {
        return Some("the RSA exponent is larger than 256 bits".into());
    }
    if exponent.last().is_none_or(|last| last & 1 == 0) || matches!(exponent, [1]) {
        return Some("the RSA exponent is even or 1".into());
    }
    static PRODUCTS: LazyLock<Vec<(u64, Vec<u32>)>> = LazyLock::new(products);
    // One long division for several primes at a time: the remainder by their product tells the remainder by each.
    PRODUCTS.iter().find_map(|(product, primes)| {
        let (head, limbs) = modulus.as_rchunks::<4>();
        let head = head.iter().fold(0, |rest, octet| (rest << 8) | u64::from(*octet)) % product;
        let rest = limbs.iter().fold(head, |rest, limb| ((rest << 32) | u64::from(u32::from_be_bytes(*limb))) % product);
        let factor = primes.iter().find(|prime| rest % u64::from(**prime) == 0)?;
        Some(format!("the RSA modulus can be divided by {factor}"))
    })
}

/// The small primes in groups, each with its product below 2^32, so that another four octets can be shifted in.
fn products() -> Vec<(u64, Vec<u32>)> {
    let mut groups: Vec<(u64, Vec<u32>)> = Vec::new();
    for prime in small_primes() {
        match groups.last_mut().filter(|(product, _)| *product < (1 << 32) / u64::from(prime)) {
            Some((product, primes)) => {
                *product *= u64::from(prime);
                primes.push(prime);
            }
            None => groups.push((prime.into(), vec![prime])),
        }
    }
    groups
}

/// All primes below 752, the bound of the baseline requirements.
fn small_primes() -> impl Iterator<Item = u32> {
    (2..752).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product of two primes above the bound: 65537 * 65539.
    const SOUND: [u8; 5] = [0x01, 0x00, 0x04, 0x00, 0x03];

    #[test]
    fn small_primes_are_primes() {
        assert_eq!(small_primes().take(6).collect::<Vec<_>>(), [2, 3, 5, 7, 11, 13]);
        assert_eq!(small_primes().last(), Some(751));
    }

    #[test]
    fn exponents() {
        for good in [&[3][..], &[17], &[1, 0, 1]] {
            assert_eq!(rsa_weakness(&SOUND, good), None);
        }
        for bad in [&[1][..], &[2], &[1, 0, 0], &[0], &[0xff; 33]] {
            assert!(rsa_weakness(&SOUND, bad).unwrap().contains("exponent"));
        }
    }

    #[test]
    fn moduli_with_small_factors() {
        assert!(rsa_weakness(&[0xff, 0xfe], &[3]).unwrap().contains("divided by 2"));
        // 751 * 65537
        assert!(rsa_weakness(&(751u64 * 65537).to_be_bytes(), &[3]).unwrap().contains("divided by 751"));
    }

    #[test]
    fn every_small_prime_is_found_alone() {
        for prime in small_primes() {
            let found = rsa_weakness(&(u64::from(prime) * 65537).to_be_bytes(), &[3]).unwrap_or_default();
            assert!(found.ends_with(&format!("by {prime}")), "{prime}: {found}");
        }
    }

    #[test]
    fn rubbish_is_weak() {
        assert!(weakness(&[0x30, 0]).is_some());
    }
}
