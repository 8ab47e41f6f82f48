//! Keys that are encrypted with a password as JSON Web Encryption (RFC 7516): PBES2 with AES key wrap (RFC 7518 section 4.8) and AES-GCM,
//! as step-ca keeps the keys of its provisioners.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::JoseError;
use crate::algorithm::{ContentCipher, Digest, KeyWrap};
use crate::crypto::provider;

/// A JWE in its flattened JSON form (RFC 7516 section 7.2.2), or taken out of the compact one.
#[derive(Deserialize)]
pub(super) struct Sealed {
    protected: String,
    encrypted_key: String,
    iv: String,
    ciphertext: String,
    tag: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    p2s: String,
    p2c: u32,
}

/// More iterations than anybody asks for: 600,000 are usual.
const MOST_ITERATIONS: u32 = 10_000_000;

impl Sealed {
    /// The compact form (RFC 7516 section 7.1): five parts with dots between them.
    pub(super) fn compact(text: &str) -> Option<Self> {
        let [protected, encrypted_key, iv, ciphertext, tag] = <[&str; 5]>::try_from(text.split('.').collect::<Vec<_>>()).ok()?;
        let part = str::to_owned;
        Some(Self {
            protected: part(protected),
            encrypted_key: part(encrypted_key),
            iv: part(iv),
            ciphertext: part(ciphertext),
            tag: part(tag),
        })
    }

    /// Opens it.
    pub(super) fn open(&self, password: &str) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let malformed = |what: &str| JoseError::Malformed(format!("the encrypted key has a malformed {what}"));
        let read = |what: &str, text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed(what));
        let header: Header = serde_json::from_slice(&read("header", &self.protected)?)
            .map_err(|_| malformed("header, or one without a password"))?;
        let (digest, wrap) = match header.alg.as_str() {
            "PBES2-HS256+A128KW" => (Digest::Sha256, KeyWrap::Aes128),
            "PBES2-HS512+A256KW" => (Digest::Sha512, KeyWrap::Aes256),
            other => return Err(JoseError::Malformed(format!("a key encrypted with {other:?} is not supported"))),
        };
        let cipher = match header.enc.as_str() {
            "A128GCM" => ContentCipher::Aes128Gcm,
            "A256GCM" => ContentCipher::Aes256Gcm,
            other => return Err(JoseError::Malformed(format!("a key encrypted with {other:?} is not supported"))),
        };
        if header.p2c > MOST_ITERATIONS {
            return Err(malformed("number of iterations"));
        }
        // RFC 7518 section 4.8.1.1: the salt is the name of the algorithm, a zero octet and the salt input.
        let salt = [header.alg.as_bytes(), &[0], &read("salt", &header.p2s)?].concat();
        let wrapping = provider().ciphers.pbkdf2(digest, password.as_bytes(), &salt, header.p2c, wrap.key_len())?;
        let key = provider().kem.unwrap(wrap, &wrapping, &read("key", &self.encrypted_key)?, cipher.key_len())?;
        let sealed = [read("ciphertext", &self.ciphertext)?, read("tag", &self.tag)?].concat();
        let nonce = read("nonce", &self.iv)?;
        let opened = provider().ciphers.open_beside(cipher, &key, &nonce, self.protected.as_bytes(), &sealed);
        opened.map_err(|_| JoseError::WrongPassword)
    }
}
