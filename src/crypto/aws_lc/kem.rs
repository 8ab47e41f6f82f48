//! ML-KEM (FIPS 203), HKDF and the AES key wrap.

use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::kem::{
    Algorithm, AlgorithmId, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_512, ML_KEM_768, ML_KEM_1024,
};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap as _};
use der::asn1::OctetStringRef;
use der::{Decode, Reader, SliceReader, Tag};
use pkcs8::PrivateKeyInfoRef;
use spki::SubjectPublicKeyInfoRef;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{AwsLc, PROVIDER};
use crate::algorithm::{KeyWrap, MlKem};
use crate::crypto::kem::{Decapsulator, Encapsulated, KeyEncapsulation};
use crate::crypto::{CryptoError, ffi};

impl KeyEncapsulation for AwsLc {
    fn algorithms(&self) -> &'static [MlKem] {
        MlKem::ALL
    }

    fn generate(&self, set: MlKem) -> Result<Arc<dyn Decapsulator>, CryptoError> {
        // d and z (FIPS 203 algorithm 19): the whole key follows from these.
        let mut seed = Zeroizing::new([0; SEED]);
        PROVIDER.random.fill(&mut *seed);
        Ok(Arc::new(MlKemKey::from_seed(set, &seed)?))
    }

    fn decapsulator(&self, pkcs8: &[u8]) -> Result<Arc<dyn Decapsulator>, CryptoError> {
        let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| CryptoError::BadKey)?;
        let set = MlKem::from_oid(&info.algorithm.oid).ok_or(CryptoError::BadKey)?;
        if info.algorithm.parameters.is_some() {
            return Err(CryptoError::BadKey);
        }
        let (seed, expanded) = private_key(info.private_key.as_bytes()).map_err(|_| CryptoError::BadKey)?;
        let key = MlKemKey::from_seed(set, &seed)?;
        // RFC 9935 section 6: the two have to be one key.
        match expanded {
            Some(expanded) if !bool::from(key.expanded()?.ct_eq(&expanded)) => Err(CryptoError::BadKey),
            _ => Ok(Arc::new(key)),
        }
    }

    fn can_encapsulate(&self, spki: &[u8]) -> bool {
        public_key(spki).is_ok()
    }

    fn encapsulate(&self, spki: &[u8]) -> Result<Encapsulated, CryptoError> {
        let (set, key) = public_key(spki)?;
        // The coefficients are checked here (FIPS 203 section 7.2).
        let key = EncapsulationKey::new(algorithm(set), key).map_err(|_| CryptoError::BadKey)?;
        let (ciphertext, secret) = key.encapsulate().map_err(|_| CryptoError::BadKey)?;
        Ok(Encapsulated { ciphertext: ciphertext.as_ref().to_vec(), secret: Zeroizing::new(secret.as_ref().to_vec()) })
    }

    fn hkdf_sha256(&self, secret: &[u8], info: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut out = Zeroizing::new(vec![0; len]);
        Salt::new(HKDF_SHA256, &[])
            .extract(secret)
            .expand(&[info], Octets(len))
            .and_then(|okm| okm.fill(&mut out))
            .map_err(|_| CryptoError::Unsupported)?;
        Ok(out)
    }

    fn wrap(&self, wrap: KeyWrap, wrapping_key: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut out = vec![0; key.len() + WRAP_OVERHEAD];
        let len = kek(wrap, wrapping_key)?.wrap(key, &mut out).map_err(|_| CryptoError::BadKey)?.len();
        out.truncate(len);
        Ok(out)
    }

    fn unwrap(
        &self,
        wrap: KeyWrap,
        wrapping_key: &[u8],
        wrapped: &[u8],
        key_len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        // What will be given if the wrapped key is no good is made first, in every case.
        let mut key = Zeroizing::new(vec![0; key_len]);
        PROVIDER.random.fill(&mut key);
        let mut out = Zeroizing::new(vec![0; wrapped.len()]);
        // The library compares the check value in constant time, and says nothing but yes or no.
        if let Ok(opened) = kek(wrap, wrapping_key)?.unwrap(wrapped, &mut out)
            && opened.len() == key_len
        {
            key.copy_from_slice(opened);
        }
        Ok(key)
    }
}

/// An ML-KEM private key.
struct MlKemKey {
    set: MlKem,
    key: DecapsulationKey,
    seed: Zeroizing<[u8; SEED]>,
    spki: Vec<u8>,
}

impl MlKemKey {
    fn from_seed(set: MlKem, seed: &[u8; SEED]) -> Result<Self, CryptoError> {
        let parsed = ffi::PrivateKey::from_pkcs8(&pkcs8(set, seed))?;
        let expanded = parsed.raw_private()?;
        let key = DecapsulationKey::new(algorithm(set), &expanded).map_err(|_| CryptoError::BadKey)?;
        Ok(Self { set, key, seed: Zeroizing::new(*seed), spki: parsed.spki()? })
    }

    fn expanded(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let octets = self.key.key_bytes().map_err(|_| CryptoError::Backend)?;
        Ok(Zeroizing::new(octets.as_ref().to_vec()))
    }
}

impl Decapsulator for MlKemKey {
    fn key(&self) -> MlKem {
        self.set
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if ciphertext.len() != self.set.ciphertext_len() {
            return Err(CryptoError::BadCiphertext);
        }
        let secret = self.key.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| CryptoError::Backend)?;
        Ok(Zeroizing::new(secret.as_ref().to_vec()))
    }

    fn export_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        Some(pkcs8(self.set, &self.seed))
    }
}

/// How the safe API calls the parameter set.
fn algorithm(set: MlKem) -> &'static Algorithm<AlgorithmId> {
    match set {
        MlKem::MlKem512 => &ML_KEM_512,
        MlKem::MlKem768 => &ML_KEM_768,
        MlKem::MlKem1024 => &ML_KEM_1024,
    }
}

/// The raw key in a SubjectPublicKeyInfo (RFC 9935 section 4): no parameters, the octets right in the BIT STRING.
fn public_key(spki: &[u8]) -> Result<(MlKem, &[u8]), CryptoError> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| CryptoError::BadKey)?;
    let set = MlKem::from_oid(&spki.algorithm.oid).ok_or(CryptoError::BadKey)?;
    let key = spki.subject_public_key.as_bytes().ok_or(CryptoError::BadKey)?;
    if spki.algorithm.parameters.is_some() || key.len() != set.public_key_len() {
        return Err(CryptoError::BadKey);
    }
    Ok((set, key))
}

/// What [`private_key`] finds.
type SeedAndExpanded = (Zeroizing<[u8; SEED]>, Option<Zeroizing<Vec<u8>>>);

/// ML-KEM-PrivateKey ::= CHOICE { seed [0] OCTET STRING, expandedKey OCTET STRING, both SEQUENCE { seed, expandedKey } } (RFC 9935
/// section 6). An expanded key alone is not taken: it cannot be checked, nor written as a seed.
fn private_key(der: &[u8]) -> Result<SeedAndExpanded, der::Error> {
    let mut reader = SliceReader::new(der)?;
    let fixed = |octets: &[u8]| {
        <[u8; SEED]>::try_from(octets).map(Zeroizing::new).map_err(|_| der::Error::from(Tag::OctetString.value_error()))
    };
    let found = match der.first() {
        // All of a fixed length: tag, length, seed.
        Some(0x80) => match der.split_at_checked(2) {
            Some(([_, length], seed)) if usize::from(*length) == seed.len() => return Ok((fixed(seed)?, None)),
            _ => return Err(Tag::OctetString.value_error().into()),
        },
        _ => reader.sequence(|both| {
            let seed = <&OctetStringRef>::decode(both)?;
            let expanded = <&OctetStringRef>::decode(both)?;
            Ok::<_, der::Error>((fixed(seed.as_bytes())?, Some(Zeroizing::new(expanded.as_bytes().to_vec()))))
        })?,
    };
    reader.finish()?;
    Ok(found)
}

/// PKCS#8 with the seed: all lengths are fixed and short.
///
/// ```text
/// SEQUENCE { INTEGER 0, SEQUENCE { OBJECT IDENTIFIER }, OCTET STRING { [0] seed } }
/// ```
fn pkcs8(set: MlKem, seed: &[u8; SEED]) -> Zeroizing<Vec<u8>> {
    let oid = set.oid();
    let oid = oid.as_bytes();
    let key = 2 + SEED;
    let total = 3 + 2 + 2 + oid.len() + 2 + key;
    let mut out = Zeroizing::new(Vec::with_capacity(2 + total));
    out.extend_from_slice(&[0x30, total as u8, 0x02, 1, 0, 0x30, 2 + oid.len() as u8, 0x06, oid.len() as u8]);
    out.extend_from_slice(oid);
    out.extend_from_slice(&[0x04, key as u8, 0x80, SEED as u8]);
    out.extend_from_slice(seed);
    out
}

fn kek(wrap: KeyWrap, wrapping_key: &[u8]) -> Result<AesKek, CryptoError> {
    let cipher = match wrap {
        KeyWrap::Aes128 => &AES_128,
        KeyWrap::Aes256 => &AES_256,
    };
    AesKek::new(cipher, wrapping_key).map_err(|_| CryptoError::BadKey)
}

/// So many octets out of HKDF.
struct Octets(usize);

impl KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

/// d and z (FIPS 203 section 7.1).
const SEED: usize = 64;

/// What the wrap of RFC 3394 adds.
const WRAP_OVERHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const KEM: &dyn KeyEncapsulation = PROVIDER.kem;

    #[test]
    fn what_is_encapsulated_is_found_again() {
        for &algorithm in KEM.algorithms() {
            let key = KEM.generate(algorithm).unwrap();
            assert_eq!(key.key(), algorithm);
            assert!(KEM.can_encapsulate(key.spki()));
            let Encapsulated { ciphertext, secret } = KEM.encapsulate(key.spki()).unwrap();
            assert_eq!(key.decapsulate(&ciphertext).unwrap(), secret);
            // Implicit rejection: another secret, always the same one, and no error.
            let mut changed = ciphertext.clone();
            changed[17] ^= 1;
            let rejected = key.decapsulate(&changed).unwrap();
            assert_ne!(rejected, secret);
            assert_eq!(rejected, key.decapsulate(&changed).unwrap());
            assert_eq!(key.decapsulate(&ciphertext[1..]).unwrap_err(), CryptoError::BadCiphertext);
            // The seed is the key.
            let exported = key.export_pkcs8().unwrap();
            let again = KEM.decapsulator(&exported).unwrap();
            assert_eq!((again.spki(), again.decapsulate(&ciphertext).unwrap()), (key.spki(), secret));
        }
    }

    #[test]
    fn a_public_key_out_of_range_is_refused() {
        let key = KEM.generate(MlKem::MlKem768).unwrap();
        let mut spki = key.spki().to_vec();
        // Twelve bits of ones are no coefficient below 3329.
        let at = spki.len() - 1184;
        spki[at] = 0xff;
        spki[at + 1] = 0xff;
        assert!(KEM.encapsulate(&spki).is_err());
        assert!(!KEM.can_encapsulate(&spki[..spki.len() - 1]));
    }

    #[test]
    fn hkdf_and_the_key_wrap_give_their_known_answers() {
        // RFC 5869 appendix A.3: no salt, no info.
        let okm = KEM.hkdf_sha256(&[0x0b; 22], b"", 42).unwrap();
        assert_eq!(hex::encode(&*okm), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
        // RFC 3394 section 4.1.
        let kek: Vec<u8> = (0..16).collect();
        let key = hex::decode("00112233445566778899aabbccddeeff").unwrap();
        let wrapped = KEM.wrap(KeyWrap::Aes128, &kek, &key).unwrap();
        assert_eq!(hex::encode(&wrapped), "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5");
        assert_eq!(*KEM.unwrap(KeyWrap::Aes128, &kek, &wrapped, 16).unwrap(), key);
        // Whatever does not unwrap is random octets of the right length.
        for (wrapped, len) in [(&wrapped[..], 32), (&wrapped[1..], 16), (&[7; 24][..], 16), (&[], 16)] {
            let random = KEM.unwrap(KeyWrap::Aes128, &kek, wrapped, len).unwrap();
            assert_eq!(random.len(), len);
            assert_ne!(random, KEM.unwrap(KeyWrap::Aes128, &kek, wrapped, len).unwrap());
        }
        assert!(KEM.unwrap(KeyWrap::Aes256, &kek, &wrapped, 16).is_err());
    }
}
