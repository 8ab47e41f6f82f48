//! RSA key transport: content-encryption keys in, content-encryption keys out.

use subtle::{Choice, ConditionallySelectable};
use zeroize::Zeroizing;

use super::public_key::{PublicKey, RSA_BITS};
use super::{AwsLc, PROVIDER, padding};
use crate::algorithm::{Digest, KeyAlgorithm, KeyTransport};
use crate::crypto::{CryptoError, Decrypter, KeyEncrypter, ffi};

impl KeyEncrypter for AwsLc {
    fn wrap_key(&self, transport: KeyTransport, spki: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let PublicKey::Rsa(public) = PublicKey::from_spki(spki)? else { return Err(CryptoError::BadKey) };
        match transport {
            KeyTransport::Pkcs1v15 => public.encrypt_pkcs1(key),
            KeyTransport::Oaep { digest, mgf1 } => {
                refuse_md5(digest, mgf1)?;
                let mut seed = Zeroizing::new(vec![0; digest.output_len()]);
                PROVIDER.random.fill(&mut seed);
                let padded = padding::oaep_encode(digest, mgf1, key, &seed, public.size()).ok_or(CryptoError::BadKey)?;
                public.encrypt_raw(&padded)
            }
        }
    }

    fn can_wrap(&self, spki: &[u8]) -> bool {
        matches!(PublicKey::from_spki(spki), Ok(PublicKey::Rsa(_)))
    }

    fn has_room(&self, transport: KeyTransport, spki: &[u8], key_len: usize) -> bool {
        let Ok(PublicKey::Rsa(public)) = PublicKey::from_spki(spki) else { return false };
        let padding = match transport {
            KeyTransport::Pkcs1v15 => 11,
            KeyTransport::Oaep { digest, mgf1 } if refuse_md5(digest, mgf1).is_ok() => 2 * digest.output_len() + 2,
            KeyTransport::Oaep { .. } => return false,
        };
        padding + key_len <= public.size()
    }
}

/// An RSA key that opens content-encryption keys.
pub(super) struct RsaDecrypter {
    key: ffi::PrivateKey,
    bits: u32,
    spki: Vec<u8>,
}

impl RsaDecrypter {
    pub(super) fn new(key: ffi::PrivateKey) -> Result<Self, CryptoError> {
        match key.algorithm()? {
            KeyAlgorithm::Rsa(bits) if RSA_BITS.contains(&bits) => {
                let spki = key.spki()?;
                Ok(Self { key, bits, spki })
            }
            _ => Err(CryptoError::BadKey),
        }
    }
}

impl Decrypter for RsaDecrypter {
    fn key(&self) -> KeyAlgorithm {
        KeyAlgorithm::Rsa(self.bits)
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn unwrap_key(&self, transport: KeyTransport, encrypted: &[u8], key_len: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if let KeyTransport::Oaep { digest, mgf1 } = transport {
            refuse_md5(digest, mgf1)?;
        }
        // What will be given if the ciphertext is no good is made first, in every case.
        let mut key = Zeroizing::new(vec![0; key_len]);
        PROVIDER.random.fill(&mut key);
        let mut message = Zeroizing::new(vec![0; self.bits.div_ceil(8) as usize]);
        // This fails only for a ciphertext of another length than the modulus, for one that is 0, 1 or n-1 and more (which
        // its sender knows), or for a fault in the computation. There is no plaintext then, and zeros are no good padding.
        let computed = Choice::from(u8::from(self.key.rsa_raw(encrypted, &mut message).is_ok()));
        let opened = match transport {
            KeyTransport::Pkcs1v15 => padding::pkcs1_decode(&message, key_len),
            KeyTransport::Oaep { digest, mgf1 } => padding::oaep_decode(digest, mgf1, &message, key_len),
        };
        // `None` depends on the lengths of modulus and key alone.
        if let Some((good, opened)) = opened {
            for (out, real) in key.iter_mut().zip(opened.iter()) {
                *out = u8::conditional_select(out, real, good & computed);
            }
        }
        Ok(key)
    }
}

/// Nobody makes OAEP with MD5.
fn refuse_md5(digest: Digest, mgf1: Digest) -> Result<(), CryptoError> {
    if digest == Digest::Md5 || mgf1 == Digest::Md5 { Err(CryptoError::Unsupported) } else { Ok(()) }
}
