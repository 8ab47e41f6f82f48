//! Published vectors for tests, from the vectors folder beside the project.

use std::path::PathBuf;

/// A file of the folder, if it is there; says so if not.
pub(crate) fn beside(folder: &str, name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("RAVELIN_SHARED_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors")), PathBuf::from);
    let path = root.join(folder).join(name);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(std::fs::read(path).unwrap())
}
