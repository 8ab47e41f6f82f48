//! The data folder: what lies where, and the lock that lets one process write.
//!
//! ```text
//! <data>/lock                     held by the process that writes
//!        keys.lock                held by the command that changes keys or certificates of the RA or of a CA, beside a server or not
//!        secrets/key-passphrase   opens the keys below (systemd's LoadCredential= can bring it instead)
//!        secrets/seal-key         seals challenges of open transactions
//!        ra/                      keys and certificates of the RA
//!        ra-NAME/                 further ones, for endpoints that name them
//!        ca/NAME/                 one folder per CA of the embedded upstream
//!        inventory/ravelin.sqlite
//!        history/GROUP/           what policies were before commands changed them
//!        control.sock             while a server runs
//! ```
//!
//! The configuration may put the passphrase, the RA's folder and the CAs somewhere else.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::OpenError;
use crate::config::{Config, RaSettings};
use crate::crypto::{keystore, provider};
use crate::ra::RaStore;

/// Where things lie in a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
    ra: PathBuf,
    ras: Vec<RaSettings>,
    passphrase: PathBuf,
}

/// The right to write in a data folder, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Folder {
    /// The folder of a configuration; nothing is read yet.
    pub fn of(config: &Config) -> Self {
        Self {
            path: config.data.clone(),
            ra: config.ra_dir.clone(),
            ras: config.ras.clone(),
            passphrase: config.passphrase_file.clone(),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The SQLite file. It has a folder of its own, so that who watches the configuration does not hear each write.
    pub fn inventory(&self) -> PathBuf {
        self.path.join("inventory/ravelin.sqlite")
    }

    /// The RA's keys and certificates.
    pub fn ra(&self, passphrase: &str) -> RaStore {
        RaStore::new(&self.ra, passphrase)
    }

    /// Further keys and certificates of the RA.
    pub fn other_ras(&self, passphrase: &str) -> Vec<(String, RaStore)> {
        self.ras.iter().map(|ra| (ra.name.clone(), RaStore::new(&ra.dir, passphrase))).collect()
    }

    /// Makes the folder and its secrets, as far as they are not there yet.
    pub fn create(&self) -> Result<(), OpenError> {
        for dir in [self.path.clone(), self.path.join("inventory"), self.path.join("secrets")] {
            private_dir(&dir).map_err(OpenError::io(&dir))?;
        }
        if !self.passphrase.exists() && credential().is_none() {
            if let Some(dir) = self.passphrase.parent() {
                private_dir(dir).map_err(OpenError::io(dir))?;
            }
            keystore::write_passphrase(&self.passphrase, &keystore::random_passphrase())?;
        }
        let seal = self.seal_file();
        if !seal.exists() {
            let key = Zeroizing::new(hex::encode(provider().random::<32>()));
            keystore::write_passphrase(&seal, &key)?;
        }
        Ok(())
    }

    /// Takes the lock; fails at once if another process holds it.
    pub fn lock(&self) -> Result<Lock, OpenError> {
        let path = self.path.join("lock");
        take(&path)?.ok_or(OpenError::Locked(path))
    }

    /// Takes the lock on key files; fails at once if another command holds it. A server only reads them, so that this lock can be
    /// taken beside one.
    pub fn lock_keys(&self) -> Result<Lock, OpenError> {
        let path = self.path.join("keys.lock");
        take(&path)?.ok_or(OpenError::KeysLocked(path))
    }

    /// What opens the private keys.
    pub fn passphrase(&self) -> Result<Zeroizing<String>, OpenError> {
        let path = credential().unwrap_or_else(|| self.passphrase.clone());
        if !path.exists() {
            let why = "there is no passphrase; make the data folder with: ravelin init";
            return Err(OpenError::Config(format!("{}: {why}", path.display())));
        }
        Ok(keystore::read_passphrase(&path)?)
    }

    /// The key that seals challenges of open transactions.
    pub fn seal_key(&self) -> Result<[u8; 32], OpenError> {
        let path = self.seal_file();
        let text = keystore::read_passphrase(&path)?;
        let mut key = [0; 32];
        hex::decode_to_slice(text.as_str(), &mut key).map_err(|_| {
            OpenError::Config(format!("{}: not 64 hex digits; put back the file that belongs there", path.display()))
        })?;
        Ok(key)
    }

    fn seal_file(&self) -> PathBuf {
        self.path.join("secrets/seal-key")
    }
}

/// `None` if another process holds it.
fn take(path: &Path) -> Result<Option<Lock>, OpenError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(OpenError::io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(OpenError::io(path)(error)),
    }
}

/// The passphrase that systemd brought, if it did (`LoadCredential=ravelin-passphrase:...`).
fn credential() -> Option<PathBuf> {
    let path = Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join("ravelin-passphrase");
    path.exists().then_some(path)
}

fn private_dir(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(path: &Path) -> Folder {
        Folder { path: path.to_owned(), ra: path.join("ra"), ras: Vec::new(), passphrase: path.join("secrets/key-passphrase") }
    }

    #[test]
    fn secrets_are_private_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir.path().join("data"));
        folder.create().unwrap();
        let (passphrase, seal) = (folder.passphrase().unwrap(), folder.seal_key().unwrap());
        folder.create().unwrap();
        assert_eq!(folder.passphrase().unwrap(), passphrase);
        assert_eq!(folder.seal_key().unwrap(), seal);
        for (name, mode) in [("", 0o700), ("secrets/key-passphrase", 0o600), ("secrets/seal-key", 0o600)] {
            let found = fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{name}");
        }
    }

    #[test]
    fn one_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        let lock = folder.lock().unwrap();
        assert!(matches!(folder.lock(), Err(OpenError::Locked(_))));
        // Keys are changed beside a running server, by one command at a time.
        let keys = folder.lock_keys().unwrap();
        assert!(matches!(folder.lock_keys(), Err(OpenError::KeysLocked(_))));
        drop((lock, keys));
        folder.lock().unwrap();
        folder.lock_keys().unwrap();
    }
}
