//! Content encryption and password-based keys.
//!
//! CBC runs without the library's padding, which it would take off with early exits; see `padding.rs`.

use std::num::NonZeroU32;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use super::{AwsLc, padding};
use crate::algorithm::{ContentCipher, Digest};
use crate::crypto::{ContentEncryption, CryptoError};

impl ContentEncryption for AwsLc {
    fn encrypt(&self, cipher: ContentCipher, key: &[u8], iv: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if cipher.is_aead() {
            let (key, nonce) = (gcm_key(cipher, key)?, Nonce::try_assume_unique_for_key(iv).map_err(|_| CryptoError::BadKey)?);
            let mut out = Vec::with_capacity(plain.len() + key.algorithm().tag_len());
            out.extend_from_slice(plain);
            key.seal_in_place_append_tag(nonce, Aad::empty(), &mut out).map_err(|_| CryptoError::Backend)?;
            return Ok(out);
        }
        let padding = block_len(cipher) - plain.len() % block_len(cipher);
        let mut blocks = Vec::with_capacity(plain.len() + padding);
        blocks.extend_from_slice(plain);
        blocks.resize(plain.len() + padding, padding as u8);
        encrypt_cbc(cipher, key, iv, &mut blocks)?;
        Ok(blocks)
    }

    fn decrypt(&self, cipher: ContentCipher, key: &[u8], iv: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if cipher.is_aead() {
            return self.open_beside(cipher, key, iv, &[], sealed);
        }
        let mut out = Zeroizing::new(sealed.to_vec());
        decrypt_cbc(cipher, key, iv, &mut out)?;
        let len = padding::pkcs7_content_len(&out, block_len(cipher)).ok_or(CryptoError::BadCiphertext)?;
        out.truncate(len);
        Ok(out)
    }

    fn open_beside(
        &self,
        cipher: ContentCipher,
        key: &[u8],
        nonce: &[u8],
        beside: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if !cipher.is_aead() {
            return Err(CryptoError::Unsupported);
        }
        let key = gcm_key(cipher, key).map_err(|_| CryptoError::BadCiphertext)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::BadCiphertext)?;
        let mut out = Zeroizing::new(sealed.to_vec());
        let len = key.open_in_place(nonce, Aad::from(beside), &mut out).map_err(|_| CryptoError::BadCiphertext)?.len();
        out.truncate(len);
        Ok(out)
    }

    fn encrypt_blocks(&self, cipher: ContentCipher, key: &[u8], iv: &[u8], blocks: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut out = blocks.to_vec();
        encrypt_cbc(cipher, key, iv, &mut out)?;
        Ok(out)
    }

    fn decrypt_blocks(
        &self,
        cipher: ContentCipher,
        key: &[u8],
        iv: &[u8],
        blocks: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut out = Zeroizing::new(blocks.to_vec());
        decrypt_cbc(cipher, key, iv, &mut out)?;
        Ok(out)
    }

    fn pbkdf2(
        &self,
        digest: Digest,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        key_len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let algorithm = match digest {
            Digest::Md5 => return Err(CryptoError::Unsupported),
            Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Digest::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let iterations = NonZeroU32::new(iterations).ok_or(CryptoError::Unsupported)?;
        if key_len == 0 || key_len > MAX_DERIVED {
            return Err(CryptoError::Unsupported);
        }
        let mut key = Zeroizing::new(vec![0; key_len]);
        pbkdf2::derive(algorithm, iterations, salt, password, &mut key);
        Ok(key)
    }
}

/// Encrypts whole blocks in place.
fn encrypt_cbc(cipher: ContentCipher, key: &[u8], iv: &[u8], blocks: &mut [u8]) -> Result<(), CryptoError> {
    let key = cbc_key(cipher, key).and_then(EncryptingKey::cbc).map_err(|_| CryptoError::BadKey)?;
    let context = if block_len(cipher) == 8 {
        EncryptionContext::Iv64(fixed(iv).ok_or(CryptoError::BadKey)?)
    } else {
        EncryptionContext::Iv128(fixed(iv).ok_or(CryptoError::BadKey)?)
    };
    key.less_safe_encrypt(blocks, context).map(drop).map_err(|_| CryptoError::Backend)
}

/// Decrypts whole blocks in place; one error for whatever is wrong.
fn decrypt_cbc(cipher: ContentCipher, key: &[u8], iv: &[u8], blocks: &mut [u8]) -> Result<(), CryptoError> {
    let key = cbc_key(cipher, key).and_then(DecryptingKey::cbc).map_err(|_| CryptoError::BadCiphertext)?;
    let context = if block_len(cipher) == 8 {
        DecryptionContext::Iv64(fixed(iv).ok_or(CryptoError::BadCiphertext)?)
    } else {
        DecryptionContext::Iv128(fixed(iv).ok_or(CryptoError::BadCiphertext)?)
    };
    key.decrypt(blocks, context).map(drop).map_err(|_| CryptoError::BadCiphertext)
}

/// The key of a CBC cipher.
fn cbc_key(cipher: ContentCipher, key: &[u8]) -> Result<UnboundCipherKey, aws_lc_rs::error::Unspecified> {
    // The DES names are deprecated to warn those who do not mean it; here an endpoint has to name the cipher first.
    #[allow(deprecated)]
    let algorithm = match cipher {
        ContentCipher::DesCbc => &cipher::DES_FOR_LEGACY_USE_ONLY,
        // Two-key triple DES travels as a key of three parts, the last of which is the first: old devices make such keys. The
        // library wants to be told. Two equal neighbours would be single DES in disguise, which it refuses, as weak keys.
        ContentCipher::DesEde3Cbc if key.len() == 24 && key[..8] == key[16..] => {
            return UnboundCipherKey::new(&cipher::DES_EDE_FOR_LEGACY_USE_ONLY, &key[..16]);
        }
        ContentCipher::DesEde3Cbc => &cipher::DES_EDE3_FOR_LEGACY_USE_ONLY,
        ContentCipher::Aes128Cbc => &cipher::AES_128,
        ContentCipher::Aes192Cbc => &cipher::AES_192,
        ContentCipher::Aes256Cbc => &cipher::AES_256,
        ContentCipher::Aes128Gcm | ContentCipher::Aes256Gcm => return Err(aws_lc_rs::error::Unspecified),
    };
    UnboundCipherKey::new(algorithm, key)
}

/// The key of a GCM cipher.
fn gcm_key(cipher: ContentCipher, key: &[u8]) -> Result<LessSafeKey, CryptoError> {
    let algorithm = if cipher == ContentCipher::Aes128Gcm { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
    UnboundKey::new(algorithm, key).map(LessSafeKey::new).map_err(|_| CryptoError::BadKey)
}

/// An initialisation vector of the length that the cipher has.
fn fixed<const N: usize>(iv: &[u8]) -> Option<FixedLength<N>> {
    <[u8; N]>::try_from(iv).ok().map(FixedLength::from)
}

/// Block length of a CBC cipher.
const fn block_len(cipher: ContentCipher) -> usize {
    match cipher {
        ContentCipher::DesCbc | ContentCipher::DesEde3Cbc => 8,
        _ => 16,
    }
}

/// No key that is derived from a password is longer.
const MAX_DERIVED: usize = 1024;
