//! The same operations by the `openssl` command, where it is there: what one makes, the other has to take.

use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// A folder for files, and the command.
struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    fn find() -> Option<Self> {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: no openssl command here");
            return None;
        }
        Some(Self(tempfile::tempdir().unwrap()))
    }

    /// Writes a file and gives its path.
    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs the command line, words separated by spaces, and says whether it succeeded.
    fn succeeds(&self, line: &str) -> bool {
        let output = Command::new("openssl").args(line.split(' ')).output().unwrap();
        if !output.status.success() {
            println!("openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    fn run(&self, line: &str) {
        assert!(self.succeeds(line), "openssl {line}");
    }
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(path)).unwrap()
}

#[test]
fn signatures_go_both_ways() {
    let Some(openssl) = OpenSsl::find() else { return };
    for kind in [KeyAlgorithm::Rsa(2048), KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::EcdsaP521] {
        let key = P.keys.generate(kind).unwrap();
        let private = openssl.file("key.der", &key.export_pkcs8().unwrap());
        let public = openssl.file("public.der", key.spki());
        let message = openssl.file("message", b"to be signed");
        let theirs = openssl.path("theirs");
        for algorithm in SignatureAlgorithm::ALL.iter().copied().filter(|&a| fits(kind, a)) {
            let digest = algorithm.digest().unwrap().name().replace("sha-", "sha");
            let pss = if algorithm.is_pss() { " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest" } else { "" };
            openssl.run(&format!("dgst -{digest}{pss} -keyform DER -sign {private} -out {theirs} {message}"));
            let held = P.verifier.verify(algorithm, key.spki(), b"to be signed", &read(&theirs));
            if (kind, algorithm) == (KeyAlgorithm::EcdsaP384, SignatureAlgorithm::EcdsaSha1) {
                assert_eq!(held, Err(CryptoError::Unsupported));
            } else {
                assert_eq!(held, Ok(()), "{kind} {algorithm}");
            }
            if key.algorithms().contains(&algorithm) {
                let ours = openssl.file("ours", &key.sign(algorithm, b"to be signed").unwrap());
                let check = format!("dgst -{digest}{pss} -keyform DER -verify {public} -signature");
                openssl.run(&format!("{check} {ours} {message}"));
                assert!(!openssl.succeeds(&format!("{check} {ours} {public}")), "another message");
            }
        }
    }
}

#[test]
fn ed25519_signatures_go_both_ways() {
    let Some(openssl) = OpenSsl::find() else { return };
    let key = P.keys.generate(KeyAlgorithm::Ed25519).unwrap();
    let private = openssl.file("key.der", &key.export_pkcs8().unwrap());
    let public = openssl.file("public.der", key.spki());
    let message = openssl.file("message", b"to be signed");
    let ours = openssl.file("ours", &key.sign(SignatureAlgorithm::Ed25519, b"to be signed").unwrap());
    openssl.run(&format!("pkeyutl -verify -rawin -pubin -keyform DER -inkey {public} -in {message} -sigfile {ours}"));
    let theirs = openssl.path("theirs");
    openssl.run(&format!("pkeyutl -sign -rawin -keyform DER -inkey {private} -in {message} -out {theirs}"));
    // Ed25519 is deterministic.
    assert_eq!(read(&theirs), read(&ours));
}

#[test]
fn wrapped_keys_go_both_ways() {
    let Some(openssl) = OpenSsl::find() else { return };
    let key = P.keys.generate(KeyAlgorithm::Rsa(2048)).unwrap();
    let opener = P.keys.decrypter(&key.export_pkcs8().unwrap()).unwrap();
    let private = openssl.file("key.der", &key.export_pkcs8().unwrap());
    let public = openssl.file("public.der", key.spki());
    let cek = P.random::<16>();
    let plain = openssl.file("plain", &cek);
    let (sealed, opened) = (openssl.path("sealed"), openssl.path("opened"));
    for transport in transports() {
        let padding = match transport {
            KeyTransport::Pkcs1v15 => "-pkeyopt rsa_padding_mode:pkcs1".to_owned(),
            KeyTransport::Oaep { digest, mgf1 } => {
                let (digest, mgf1) = (digest.name().replace('-', ""), mgf1.name().replace('-', ""));
                format!("-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:{digest} -pkeyopt rsa_mgf1_md:{mgf1}")
            }
        };
        openssl.run(&format!("pkeyutl -encrypt -pubin -keyform DER -inkey {public} -in {plain} -out {sealed} {padding}"));
        assert_eq!(*opener.unwrap_key(transport, &read(&sealed), 16).unwrap(), cek, "{transport:?}");
        let ours = openssl.file("ours", &P.transport.wrap_key(transport, key.spki(), &cek).unwrap());
        openssl.run(&format!("pkeyutl -decrypt -keyform DER -inkey {private} -in {ours} -out {opened} {padding}"));
        assert_eq!(read(&opened), cek, "{transport:?}");
    }
}

#[test]
fn content_goes_both_ways() {
    let Some(openssl) = OpenSsl::find() else { return };
    let plain = vec![0x42; 1234];
    let file = openssl.file("plain", &plain);
    let (sealed, opened) = (openssl.path("sealed"), openssl.path("opened"));
    for &cipher in ContentCipher::ALL.iter().filter(|cipher| !cipher.is_aead()) {
        let (key, iv) = (P.random::<32>()[..cipher.key_len()].to_vec(), P.random::<16>()[..cipher.iv_len()].to_vec());
        let with = format!("enc -{cipher} -K {} -iv {} -provider default -provider legacy", hex::encode(&key), hex::encode(&iv));
        if !openssl.succeeds(&format!("{with} -in {file} -out {sealed}")) {
            println!("skipped: this openssl command has no {cipher}");
            continue;
        }
        let ours = P.ciphers.encrypt(cipher, &key, &iv, &plain).unwrap();
        assert_eq!(ours, read(&sealed), "{cipher}");
        assert_eq!(*P.ciphers.decrypt(cipher, &key, &iv, &read(&sealed)).unwrap(), plain);
        openssl.run(&format!("{with} -d -in {} -out {opened}", openssl.file("ours", &ours)));
        assert_eq!(read(&opened), plain);
    }
}
