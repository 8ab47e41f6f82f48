//! Private keys in files: PKCS#8, encrypted (RFC 5958 section 3, PBES2 of RFC 8018), mode 0600.
//!
//! What is written is scrypt (RFC 7914) with AES-256-CBC, which OpenSSL 1.1 and later read too. What is read is any PBES2 with
//! PBKDF2 or scrypt and AES, as `openssl genpkey -aes256` makes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use der::pem::LineEnding;
use der::{Decode, SecretDocument};
use pkcs8::pkcs5::pbes2;
use pkcs8::pkcs5::scrypt;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use zeroize::Zeroizing;

/// Reads a PEM file with an encrypted (or, if `passphrase` is `None`, plain) PKCS#8 key and gives the plain PKCS#8.
pub fn read_key(path: &Path, passphrase: Option<&str>) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let malformed = |why: &str| KeystoreError::Malformed { path: path.to_owned(), why: why.to_owned() };
    let pem = Zeroizing::new(fs::read_to_string(path).map_err(|source| io_error(path, source))?);
    let (label, document) =
        SecretDocument::from_pem(&pem).map_err(|error| malformed(&format!("not a PEM file with one private key ({error})")))?;
    match (label, passphrase) {
        (ENCRYPTED, Some(passphrase)) => {
            let unsupported = |error: &dyn std::fmt::Display| {
                malformed(&format!(
                    "not an encrypted PKCS#8 key, or encrypted in a way that is not supported ({error}); \
                     convert it with `openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW`"
                ))
            };
            let sealed = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|error| unsupported(&error))?;
            let _turn = turn();
            let opened = sealed.decrypt(passphrase).map_err(|error| match error {
                pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
                    KeystoreError::WrongPassphrase { path: path.to_owned() }
                }
                other => unsupported(&other),
            })?;
            // One wrong passphrase in 256 gives good padding around nonsense.
            PrivateKeyInfoRef::from_der(opened.as_bytes())
                .map_err(|_| KeystoreError::WrongPassphrase { path: path.to_owned() })?;
            Ok(opened.to_bytes())
        }
        (ENCRYPTED, None) => Err(malformed("the key is encrypted; say where its passphrase is")),
        (PLAIN, None) => {
            PrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| malformed("the PEM block is not a PKCS#8 key"))?;
            Ok(document.to_bytes())
        }
        (PLAIN, Some(_)) => Err(malformed(
            "the key is not encrypted, though a passphrase is given for it; \
             encrypt it with `openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW`",
        )),
        (other, _) => Err(malformed(&format!(
            "the PEM block is {other:?}, not a PKCS#8 private key; convert it with `openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW`"
        ))),
    }
}

/// A turn at opening a key: scrypt takes 16 MiB each, so that two at a time keep both the memory and the time of a start low.
fn turn() -> MutexGuard<'static, ()> {
    static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];
    static PREPARED: Once = Once::new();
    PREPARED.call_once(super::ffi::give_large_blocks_back);
    // Nothing is behind the locks, so nothing can be left broken by a panic.
    match TURNS[0].try_lock() {
        Ok(turn) => turn,
        Err(_) => TURNS[1].lock().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Writes a PKCS#8 key to a PEM file, encrypted with the passphrase, mode 0600, by an atomic rename, synced to disk.
///
/// A file that is there is replaced, or stays as it was: there is no state in between.
pub fn write_key(path: &Path, pkcs8: &[u8], passphrase: &str) -> Result<(), KeystoreError> {
    write_secret(path, sealed(path, pkcs8, passphrase)?.as_bytes())
}

/// The same, but leaves a file that is there as it is, which somebody else may have written just now.
pub fn write_new_key(path: &Path, pkcs8: &[u8], passphrase: &str) -> Result<(), KeystoreError> {
    write_beside(path, sealed(path, pkcs8, passphrase)?.as_bytes(), |new| match fs::hard_link(new, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::remove_file(new),
    })
}

/// An encrypted key as it stands in a file.
fn sealed(path: &Path, pkcs8: &[u8], passphrase: &str) -> Result<Zeroizing<String>, KeystoreError> {
    let failed = |why: String| KeystoreError::Malformed { path: path.to_owned(), why };
    let key = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| failed("what is to be written is not a PKCS#8 key".into()))?;
    let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).expect("the parameters are in range");
    let random = super::provider();
    let sealed = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &random.random::<16>(), random.random::<16>())
        .map_err(pkcs8::Error::from)
        .and_then(|parameters| key.encrypt_with_params(parameters, passphrase))
        .map_err(|error| failed(format!("the key cannot be encrypted ({error})")))?;
    sealed.to_pem(ENCRYPTED, LineEnding::LF).map_err(|error| failed(format!("the key cannot be encoded ({error})")))
}

/// Writes a PKCS#8 key to a PEM file that is not encrypted, mode 0600, by an atomic rename, synced to disk: for a device's own key,
/// never for one of the RA or of a CA.
pub fn write_plain_key(path: &Path, pkcs8: &[u8]) -> Result<(), KeystoreError> {
    let failed = |why: String| KeystoreError::Malformed { path: path.to_owned(), why };
    let key = SecretDocument::try_from(pkcs8).map_err(|_| failed("what is to be written is not a PKCS#8 key".into()))?;
    let pem = key.to_pem(PLAIN, LineEnding::LF).map_err(|error| failed(format!("the key cannot be encoded ({error})")))?;
    write_secret(path, pem.as_bytes())
}

/// Writes a passphrase to a file, mode 0600, by an atomic rename, synced to disk.
pub fn write_passphrase(path: &Path, passphrase: &str) -> Result<(), KeystoreError> {
    write_secret(path, Zeroizing::new(format!("{passphrase}\n")).as_bytes())
}

/// Reads a passphrase from the first line of a file.
pub fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, KeystoreError> {
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|source| io_error(path, source))?);
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(KeystoreError::Malformed { path: path.to_owned(), why: "the first line has to be the passphrase".into() });
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// A passphrase that nobody can guess: 160 random bits, in letters and digits that are not mixed up.
pub fn random_passphrase() -> Zeroizing<String> {
    // Crockford's alphabet: 32 characters, five bits each, none of them I, L, O or U.
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let random = Zeroizing::new(super::provider().random::<32>());
    Zeroizing::new(random.iter().map(|octet| char::from(ALPHABET[usize::from(octet & 31)])).collect())
}

/// What went wrong with a key file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a PKCS#8 PEM file.
    #[error("{path}: {why}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The passphrase does not open the key.
    #[error("{path}: the passphrase does not open this key")]
    WrongPassphrase {
        /// Which file.
        path: PathBuf,
    },
}

/// Writes a file that only its owner may read: a new file beside it, synced, renamed, and the folder synced.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), KeystoreError> {
    write_beside(path, content, |new| fs::rename(new, path))
}

/// Writes a file beside this one, and has it put into its place.
fn write_beside(path: &Path, content: &[u8], put: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), KeystoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io_error(path, io::ErrorKind::InvalidInput.into()))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.new", hex::encode(super::provider().random::<8>())));
    let temporary = folder.join(temporary);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        put(&temporary)
    };
    write().map_err(|source| {
        // It may not have come into being; what counts is the first error.
        let _ = fs::remove_file(&temporary);
        io_error(path, source)
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| io_error(folder, source))
}

fn io_error(path: &Path, source: io::Error) -> KeystoreError {
    KeystoreError::Io { path: path.to_owned(), source }
}

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const PLAIN: &str = "PRIVATE KEY";

/// The cost of scrypt: N = 2^14 with 16 MiB, what OpenSSL takes by default too and some tens of milliseconds a key. A start
/// opens three keys. The passphrases that we make have 160 bits and need no stretching; this is for those that people choose.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;
    use crate::algorithm::KeyAlgorithm;
    use crate::crypto::provider;

    fn a_key() -> Zeroizing<Vec<u8>> {
        provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap().export_pkcs8().unwrap()
    }

    #[test]
    fn what_is_written_is_read_with_the_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ra.key");
        let key = a_key();
        write_key(&path, &key, "first").unwrap();
        write_key(&path, &key, "correct horse").unwrap();
        assert_eq!(read_key(&path, Some("correct horse")).unwrap(), key);
        for wrong in ["first", "Correct horse", ""] {
            assert!(matches!(read_key(&path, Some(wrong)), Err(KeystoreError::WrongPassphrase { .. })));
        }
        let without = read_key(&path, None).unwrap_err().to_string();
        assert!(without.ends_with("ra.key: the key is encrypted; say where its passphrase is"), "{without}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["ra.key"], "nothing is left beside the key");
        let pem = fs::read_to_string(&path).unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_and_says_where() {
        let folder = tempfile::tempdir().unwrap();
        // A folder stands where the file should.
        let path = folder.path().join("taken");
        fs::create_dir_all(path.join("full")).unwrap();
        let error = write_key(&path, &a_key(), "p").unwrap_err();
        assert!(matches!(&error, KeystoreError::Io { path: named, .. } if *named == path), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(matches!(write_key(&folder.path().join("none/ra.key"), &a_key(), "p"), Err(KeystoreError::Io { .. })));
        assert!(matches!(write_key(&folder.path().join("k"), b"no key", "p"), Err(KeystoreError::Malformed { .. })));
        assert!(matches!(read_key(&folder.path().join("k"), None), Err(KeystoreError::Io { .. })));
    }

    #[test]
    fn other_files_are_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.pem");
        let plain = SecretDocument::try_from(&a_key()[..]).unwrap();
        let pem = |label| plain.to_pem(label, LineEnding::LF).unwrap().to_string();
        for (content, passphrase, part) in [
            (pem(PLAIN), Some("p"), "is not encrypted, though a passphrase"),
            (pem("EC PRIVATE KEY"), None, "openssl pkcs8 -topk8"),
            (pem("CERTIFICATE"), Some("p"), "\"CERTIFICATE\", not a PKCS#8"),
            (pem(ENCRYPTED), Some("p"), "not an encrypted PKCS#8"),
            ("hello".into(), None, "not a PEM file"),
        ] {
            fs::write(&path, content).unwrap();
            let error = read_key(&path, passphrase).unwrap_err();
            assert!(matches!(error, KeystoreError::Malformed { .. }));
            assert!(error.to_string().contains(part), "{error}");
        }
        fs::write(&path, pem(PLAIN)).unwrap();
        assert_eq!(&**read_key(&path, None).unwrap(), plain.as_bytes());
    }

    #[test]
    fn passphrases_are_random_and_survive_their_file() {
        let (one, two) = (random_passphrase(), random_passphrase());
        assert_ne!(one, two);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        write_passphrase(&path, &one).unwrap();
        assert_eq!(read_passphrase(&path).unwrap(), one);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "a b c\r\nnext line\n").unwrap();
        assert_eq!(&**read_passphrase(&path).unwrap(), "a b c");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(read_passphrase(&path), Err(KeystoreError::Malformed { .. })));
    }

    #[test]
    fn openssl_reads_ours_and_we_read_what_it_makes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let openssl = |arguments: &[&str]| Command::new("openssl").args(arguments).output();
        if openssl(&["version"]).is_err() {
            println!("skipped: no openssl command here");
            return;
        }
        let run = |arguments: &[&str]| {
            let output = openssl(arguments).unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let ours = a_key();
        write_key(Path::new(&path("ours")), &ours, "from us").unwrap();
        run(&["pkcs8", "-in", &path("ours"), "-passin", "pass:from us", "-out", &path("ours.plain")]);
        assert_eq!(
            provider().keys.signer(&read_key(Path::new(&path("ours.plain")), None).unwrap()).unwrap().spki(),
            provider().keys.signer(&ours).unwrap().spki()
        );
        for (cipher, kind) in [
            ("-aes256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..]),
            ("-aes128", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
            ("-aes192", &["-algorithm", "ED25519"]),
        ] {
            let theirs = path("theirs");
            run(&[&["genpkey"], kind, &[cipher, "-pass", "pass:from them", "-out", &theirs]].concat());
            let key = provider().keys.signer(&read_key(Path::new(&theirs), Some("from them")).unwrap()).unwrap();
            let public = run(&["pkey", "-in", &theirs, "-passin", "pass:from them", "-pubout", "-outform", "DER"]);
            assert_eq!(key.spki(), public);
            assert!(matches!(read_key(Path::new(&theirs), Some("x")), Err(KeystoreError::WrongPassphrase { .. })));
        }
        // What we cannot open has to be named as such, not as a wrong passphrase.
        run(&["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-in", &path("ours.plain"), "-passout", "pass:p", "-out", &path("old")]);
        let old = read_key(Path::new(&path("old")), Some("p")).unwrap_err();
        assert!(old.to_string().contains("not supported"), "{old}");
    }
}
