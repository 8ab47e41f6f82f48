//! Loads the configuration again when its files change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::reload::{Cause, Reloader};

/// An editor or a deployment writes several files: look once they are quiet for so long.
const QUIET: Duration = Duration::from_millis(300);

/// Watches until the task ends. Where watching is off or impossible it waits for nothing.
pub async fn watch(reloader: Arc<Reloader>, enabled: bool) {
    if !enabled {
        return;
    }
    loop {
        let watched = reloader.watched();
        let (tell, mut told) = mpsc::channel(1);
        let interest = watched.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && !matches!(event.kind, EventKind::Access(_))
                && event.paths.iter().any(|path| concerns(&interest, path))
            {
                // One waiting message is as good as many.
                let _ = tell.try_send(());
            }
        });
        let mut watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => return tracing::warn!("Files cannot be watched, so changes need a reload: {error}."),
        };
        for folder in folders(&watched) {
            if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                tracing::warn!("{} cannot be watched: {error}.", folder.display());
            }
        }
        // The list of files changes with the configuration: after a load, watch what it names then.
        while told.recv().await.is_some() {
            while tokio::time::timeout(QUIET, told.recv()).await.is_ok_and(|event| event.is_some()) {}
            let _ = reloader.reload(Cause::FileChange).await;
            if reloader.watched() != watched {
                break;
            }
        }
    }
}

/// Folders are watched rather than files: a file that is replaced by a rename is another file.
fn folders(watched: &[PathBuf]) -> BTreeSet<PathBuf> {
    let folder = |path: &PathBuf| if path.is_dir() { Some(path.clone()) } else { path.parent().map(Path::to_owned) };
    watched.iter().filter_map(folder).collect()
}

/// Whether a change at `path` is one of what is watched: a file itself, or a file right in a watched folder. Editors' own files
/// do not count.
fn concerns(watched: &[PathBuf], path: &Path) -> bool {
    watched.iter().any(|known| {
        known == path || (path.parent() == Some(known) && path.extension().is_some_and(|extension| extension == "toml"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_read_counts() {
        let watched = [PathBuf::from("/d/ravelin.toml"), PathBuf::from("/d/policies")];
        assert!(concerns(&watched, Path::new("/d/ravelin.toml")));
        assert!(concerns(&watched, Path::new("/d/policies/new.toml")));
        assert!(!concerns(&watched, Path::new("/d/policies/.new.toml.swp")));
        assert!(!concerns(&watched, Path::new("/d/inventory.sqlite-wal")));
    }
}
