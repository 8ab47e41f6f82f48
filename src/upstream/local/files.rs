//! Files that are whole or not there: written beside their place, synced, and renamed into it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file by an atomic rename, synced to disk.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".new");
    let result = write_new(&temporary, content, 0o644).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_parent(path)
}

/// Writes a secret that only its owner may read, by an atomic rename, synced to disk.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".new");
    let result = write_new(&temporary, content, 0o600).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_parent(path)
}

/// Renames within one folder, synced to disk.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Gives a file a second name, so that the first may be renamed over. That it is there already with the same content is fine: a
/// step that was broken off is taken again.
pub(crate) fn keep_as(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => sync_parent(to),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && fs::read(from)? == fs::read(to)? => Ok(()),
        Err(e) => Err(e),
    }
}

/// Removes a file; that it is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Overwrites and removes a file with a secret; that it is not there is fine. A second name of the same file is left as it is, and
/// so is its content. What a medium or a backup still keeps of it is out of reach: the key in it is encrypted.
pub(crate) fn destroy(path: &Path) -> io::Result<()> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    #[cfg(unix)]
    let alone = std::os::unix::fs::MetadataExt::nlink(&metadata) == 1;
    #[cfg(not(unix))]
    let alone = true;
    if alone {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(&vec![0; usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(1 << 20)])?;
        file.sync_all()?;
    }
    remove(path)
}

/// Makes a folder that only its owner may enter.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Syncs the folder that holds `path`, so that a rename in it outlives a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The numbers N for which a file `PREFIX-N.SUFFIX` is in the folder, in order.
pub(crate) fn numbered(dir: &Path, prefix: &str, suffix: &str) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u32> = name.to_str().and_then(|n| n.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_for_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_secret(&path, b"one").unwrap();
        write_secret(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn keeping_twice_is_fine_but_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        write(&a, b"old").unwrap();
        keep_as(&a, &b).unwrap();
        keep_as(&a, &b).unwrap();
        write(&a, b"new").unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"old");
        assert!(keep_as(&a, &b).is_err());
    }

    #[test]
    fn what_is_destroyed_is_gone_but_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        write_secret(&a, b"secret").unwrap();
        keep_as(&a, &b).unwrap();
        destroy(&a).unwrap();
        assert!(!a.exists());
        assert_eq!(fs::read(&b).unwrap(), b"secret");
        // Who still has it open sees that it was overwritten.
        let mut open = File::open(&b).unwrap();
        destroy(&b).unwrap();
        destroy(&b).unwrap();
        let mut left = Vec::new();
        io::Read::read_to_end(&mut open, &mut left).unwrap();
        assert_eq!((b.exists(), left), (false, vec![0; 6]));
    }

    #[test]
    fn numbers_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["old-10.pem", "old-2.pem", "old-x.pem", "old-3.key", "other"] {
            write(&dir.path().join(name), b"").unwrap();
        }
        assert_eq!(numbered(dir.path(), "old-", ".pem").unwrap(), [2, 10]);
    }
}
