//! A file with a private key for JWS: PEM, a JWK, or either of them encrypted.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::private_jwk::PrivateJwk;
use super::sealed::Sealed;
use super::{JoseError, JwsSigner};
use crate::crypto::{Signer, keystore, provider};
use crate::upstream::remote::RemoteError;

/// A private key out of a file.
pub struct KeyFile {
    /// The key.
    pub signer: Arc<dyn Signer>,
    /// The `kid` that stands beside it.
    pub kid: Option<String>,
}

/// A provisioner as step-ca lists it: the key stands in it, encrypted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provisioner {
    encrypted_key: String,
}

/// Reads a private key: PEM (PKCS#8, plain or encrypted), a JWK, a JWE around a JWK (compact or JSON), or a provisioner of step-ca with
/// its `encryptedKey`. `password` opens what is encrypted. Blocks.
pub fn read_key_file(path: &Path, password: Option<&str>) -> Result<KeyFile, RemoteError> {
    let failed = |why: String| RemoteError::File { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| failed(error.to_string()))?;
    if text.contains("-----BEGIN ") {
        let password = password.filter(|_| text.contains("ENCRYPTED"));
        let pkcs8 = keystore::read_key(path, password).map_err(|error| RemoteError::File {
            path: path.display().to_string(),
            why: match error {
                keystore::KeystoreError::Io { source, .. } => source.to_string(),
                keystore::KeystoreError::Malformed { why, .. } => why,
                other => other.to_string(),
            },
        })?;
        let signer = provider().keys.signer(&pkcs8).map_err(|error| failed(error.to_string()))?;
        return Ok(KeyFile { signer, kid: None });
    }
    read(text.trim(), password).map_err(|error| failed(error.to_string()))
}

fn read(text: &str, password: Option<&str>) -> Result<KeyFile, JoseError> {
    let jwk = |json: &[u8]| -> Result<KeyFile, JoseError> {
        let jwk: PrivateJwk =
            serde_json::from_slice(json).map_err(|_| JoseError::Malformed("it is no private JSON Web Key".to_owned()))?;
        Ok(KeyFile { signer: provider().keys.signer(&jwk.to_pkcs8()?)?, kid: jwk.kid().map(str::to_owned) })
    };
    let sealed = match text.starts_with('{') {
        false => Sealed::compact(text),
        true => match serde_json::from_str::<Provisioner>(text) {
            Ok(provisioner) => Sealed::compact(&provisioner.encrypted_key),
            Err(_) => match serde_json::from_str::<Sealed>(text) {
                Ok(sealed) => Some(sealed),
                Err(_) => return jwk(text.as_bytes()),
            },
        },
    };
    let unreadable = || JoseError::Malformed("it is neither PEM, nor a JSON Web Key, nor an encrypted one".to_owned());
    let sealed = sealed.ok_or_else(unreadable)?;
    let password = password.ok_or_else(|| JoseError::Malformed("the key is encrypted; say where its password is".to_owned()))?;
    jwk(&sealed.open(password)?)
}

impl KeyFile {
    /// What signs with it, and its `kid`: the thumbprint, where none stands beside it.
    pub fn into_jws(self) -> Result<(JwsSigner, String), JoseError> {
        let signer = JwsSigner::new(self.signer)?;
        let kid = match self.kid {
            Some(kid) => kid,
            None => signer.thumbprint()?,
        };
        Ok((signer, kid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keystore;

    // A P-256 key as the library of step-ca encrypts it (go.step.sm/crypto 0.77.1, `jose.EncryptJWK`), with the password `correct horse`.
    const SEALED: &str = "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJjdHkiOiJqd2sranNvbiIsImVuYyI6IkEyNTZHQ00iLCJwMmMiOjYwMDAwMCwicDJzIjoiZWdNRUdncmto\
         cGpkQnN4UnFKaFpJdyJ9.vnGjPRp7iGz1c3FG-33zzSQgtIpSNcXqMMDXmXDLMgxfat2B6doqYw.5utCWKD6eZj8ekfE.-9DGr362oDST_VU5RS77yWrmmws\
         fopHE0dd_DBtAVQ4yNRYi-lHd7YDQf3p1Ay1iYDlBaILyy63S4FOgZBYzfux_1uqN_eJmp1BBHa0PaHuo3DtftgOCclP33gnPixQizOWawyxuMaC_hCZ5fLT\
         Gbi-87Psh__2YDzhjkXm98XUyKA7mPBfB_CTPFqtDzcpWcz5HGW5CYGZdfuMSxSrQ1RQHfYE_7H5tnW2QEErDpJ1-WG8ReeEWDMsYF6iQJKarzxcaS30dBr4\
         SUhtoEEB577NX4ZVLgEZnhICepRYM_A1hnA_grc8iu6c1G19A2pqUstpIDOrpNTvFhJSHJK8.8U2NUn679rqF_00UYzeXuA";
    const KID: &str = "fu6YqU5gXoGRO3aTD7sl044BHE3ZBDBp78wTsdXcnJ8";

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_key_that_step_ca_encrypted_is_opened() {
        let parts: Vec<&str> = SEALED.split('.').collect();
        let flattened = serde_json::json!({
            "protected": parts[0], "encrypted_key": parts[1], "iv": parts[2], "ciphertext": parts[3], "tag": parts[4]
        });
        let provisioner = serde_json::json!({ "type": "JWK", "name": "x", "key": { "kid": KID }, "encryptedKey": SEALED });
        for text in [format!("{SEALED}\n"), flattened.to_string(), provisioner.to_string()] {
            let file = read_key_file(written(&text).path(), Some("correct horse")).unwrap();
            assert_eq!(file.kid.as_deref(), Some(KID));
            let (signer, _) = file.into_jws().unwrap();
            assert_eq!(signer.thumbprint().unwrap(), KID);
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let fails = |text: &str, password| read_key_file(written(text).path(), password).err().unwrap().to_string();
        assert!(fails(SEALED, Some("wrong")).ends_with("the password does not open this key"));
        assert!(fails(SEALED, None).ends_with("say where its password is"));
        let changed = SEALED.replacen("eyJ", "eyK", 1);
        assert!(fails(&changed, Some("correct horse")).contains("malformed"), "{}", fails(&changed, Some("correct horse")));
        assert!(fails("nonsense", None).ends_with("nor an encrypted one"));
        assert!(fails("{}", None).ends_with("it is no private JSON Web Key"));
        let header = super::super::encode(r#"{"alg":"dir","enc":"A256GCM","p2s":"AAAA","p2c":1}"#);
        let other = format!("{header}.{}", SEALED.split_once('.').unwrap().1);
        assert!(fails(&other, Some("x")).ends_with("a key encrypted with \"dir\" is not supported"));
        let header = super::super::encode(r#"{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2s":"AAAA","p2c":4000000000}"#);
        let endless = format!("{header}.{}", SEALED.split_once('.').unwrap().1);
        assert!(fails(&endless, Some("x")).ends_with("malformed number of iterations"));
    }

    #[test]
    fn pem_is_read_plain_and_encrypted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = provider().keys.generate(crate::algorithm::KeyAlgorithm::Ed25519).unwrap();
        let pkcs8 = key.export_pkcs8().unwrap();
        keystore::write_plain_key(&path, &pkcs8).unwrap();
        assert_eq!(read_key_file(&path, Some("not needed")).unwrap().signer.spki(), key.spki());
        keystore::write_key(&path, &pkcs8, "needed").unwrap();
        assert_eq!(read_key_file(&path, Some("needed")).unwrap().signer.spki(), key.spki());
        assert!(read_key_file(&path, Some("other")).is_err());
    }
}
