//! Changes one policy file in place: comments and layout stay, the whole configuration is checked before anything is written, and what
//! was there is kept so that it can come back.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item, Value};

use super::Failed;
use crate::config::{self, Config, Overrides};
use crate::server::instance;

/// The policy file of a group.
#[derive(Debug)]
pub struct PolicyFile {
    /// The group.
    pub group: String,
    /// The file.
    pub path: PathBuf,
    /// `ravelin.toml`.
    config: PathBuf,
    /// What it holds.
    pub text: String,
}

/// A change of a policy file that was checked and not made yet.
#[derive(Debug)]
pub struct Edit {
    /// The file as it is.
    pub file: PolicyFile,
    /// What it will hold.
    pub after: String,
    /// The profile that it names now.
    pub from: String,
    /// The profile that it will name.
    pub to: String,
    /// The configuration that will be.
    pub config: Config,
}

impl PolicyFile {
    /// Reads the policy of a group, beside the configuration file.
    pub fn read(config: &Path, group: &str) -> Result<Self, Failed> {
        let config = if config.is_dir() { config.join("ravelin.toml") } else { config.to_owned() };
        let folder = match config.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        // A name is a file's stem, and no path.
        let named = !group.is_empty() && group.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let path = folder.join("policies").join(format!("{group}.toml"));
        if !named || !path.is_file() {
            return Err(Failed::new(format!("there is no group {group:?}: no file {}", path.display())));
        }
        let text = fs::read_to_string(&path).map_err(|error| Failed::new(format!("{}: {error}", path.display())))?;
        Ok(Self { group: group.to_owned(), path, config, text })
    }

    /// The profile that the text names, and the candidate.
    pub fn profiles(text: &str) -> Result<(String, Option<String>), Failed> {
        let document = document(text)?;
        let profile = document.get("profile").and_then(Item::as_str).unwrap_or_default().to_owned();
        let candidate = document.get("rollout").and_then(|rollout| rollout.get("candidate")).and_then(Item::as_str);
        Ok((profile, candidate.map(str::to_owned)))
    }

    /// Checks what would be if the file held `after`; the error is what `check-config` would print.
    pub fn propose(self, after: String) -> Result<Edit, Failed> {
        let texts = BTreeMap::from([(self.path.clone(), after.clone())]);
        let config = config::load_with(&self.config, &Overrides::from_environment(), &texts)
            .map_err(|found| Failed::config(instance::report(&found)))?;
        let (from, to) = (Self::profiles(&self.text)?.0, Self::profiles(&after)?.0);
        Ok(Edit { file: self, after, from, to, config })
    }
}

impl Edit {
    /// The lines that differ.
    pub fn diff(&self) -> String {
        let name = format!("policies/{}.toml", self.file.group);
        diff(&name, &self.file.text, &self.after)
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self) -> Result<(), Failed> {
        replace(&self.file.path, &self.after)
    }

    /// Writes what was there before.
    pub fn take_back(&self) -> Result<(), Failed> {
        replace(&self.file.path, &self.file.text)
    }

    /// Where the history of the group is kept.
    pub fn history(&self) -> History {
        History { folder: self.config.data.join("history").join(&self.file.group) }
    }
}

fn document(text: &str) -> Result<DocumentMut, Failed> {
    text.parse().map_err(|error: toml_edit::TomlError| Failed::config(error.to_string()))
}

/// The text with another profile; all else stays as it is, the comment behind the value too.
pub fn with_profile(text: &str, profile: &str) -> Result<String, Failed> {
    let mut document = document(text)?;
    if !document.get("profile").is_some_and(Item::is_value) {
        return Err(Failed::config("the file names no profile at its top"));
    }
    set_value(&mut document, "profile", profile);
    Ok(document.to_string())
}

/// Puts a text behind a key at the top of a file; a comment behind the one before stays.
pub fn set_value(document: &mut DocumentMut, key: &str, text: &str) {
    let mut changed = Value::from(text);
    match document.get_mut(key).and_then(Item::as_value_mut) {
        Some(value) => {
            *changed.decor_mut() = value.decor().clone();
            *value = changed;
        }
        None => drop(document.insert(key, Item::Value(changed))),
    }
}

/// The text without its `[rollout]`.
pub fn without_rollout(text: &str) -> Result<String, Failed> {
    let mut document = document(text)?;
    document.remove("rollout");
    Ok(document.to_string())
}

/// The lines that differ, with two lines around them, as `diff -u` shows them.
fn diff(name: &str, before: &str, after: &str) -> String {
    const AROUND: usize = 2;
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same_head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = |lines: &[&str]| lines.len() - same_head;
    let same_tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count().min(tail(&old)).min(tail(&new));
    if old.len() == new.len() && same_head == old.len() {
        return String::new();
    }
    let start = same_head.saturating_sub(AROUND);
    let (old_end, new_end) = (old.len() - same_tail, new.len() - same_tail);
    let after_end = (old_end + AROUND).min(old.len());
    let trailing = after_end - old_end;
    let mut text = format!("--- {name}\n+++ {name}\n");
    text.push_str(&format!("@@ -{},{} +{},{} @@\n", start + 1, after_end - start, start + 1, new_end + trailing - start));
    // Lines that are in both stand once: what changes is often a few lines apart.
    for (sign, line) in old[start..same_head]
        .iter()
        .map(|line| (' ', line))
        .chain(between(&old[same_head..old_end], &new[same_head..new_end]))
        .chain(old[old_end..after_end].iter().map(|line| (' ', line)))
    {
        text.push(sign);
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The shortest way from one list of lines to the other, by their longest common subsequence. Policy files are short.
fn between<'a>(old: &'a [&'a str], new: &'a [&'a str]) -> Vec<(char, &'a &'a str)> {
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            common[i][j] = if a == b { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', &old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(('-', &old[i]));
            i += 1;
        } else {
            lines.push(('+', &new[j]));
            j += 1;
        }
    }
    lines
}

/// Puts a new file in the place of the old one, with its mode and owner. A crash leaves the one or the other.
pub fn replace(path: &Path, text: &str) -> Result<(), Failed> {
    let failed = |error: io::Error| Failed::new(format!("{}: {error}", path.display()));
    // A hidden name: no policy, should it ever be left behind.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let written = || -> io::Result<()> {
        let old = fs::metadata(path)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.sync_all()?;
        fs::rename(&beside, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    written().map_err(|error| {
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

/// What a policy file was before each change that a command made, the newest last.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was made.
    pub at: jiff::Timestamp,
    /// The profile before.
    pub from: String,
    /// The profile after.
    pub to: String,
    /// What the file held before.
    pub before: String,
    /// What it held after: a file that was changed by hand since is not overwritten.
    pub after: String,
}

impl History {
    /// The newest entry, with its file.
    pub fn newest(&self) -> Result<Option<(PathBuf, Entry)>, Failed> {
        let Some((_, path)) = self.entries()?.pop() else { return Ok(None) };
        let failed = |error: &dyn std::fmt::Display| Failed::new(format!("{}: {error}", path.display()));
        let text = fs::read_to_string(&path).map_err(|error| failed(&error))?;
        let entry = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        Ok(Some((path, entry)))
    }

    /// Appends an entry; gives its file.
    pub fn push(&self, entry: &Entry) -> Result<PathBuf, Failed> {
        let number = self.entries()?.last().map_or(1, |(number, _)| number + 1);
        let path = self.folder.join(format!("{number:06}.json"));
        let failed = |error: io::Error| Failed::new(format!("{}: {error}", path.display()));
        let written = || -> io::Result<()> {
            make_private(&self.folder)?;
            // Policies may hold hashes of passwords.
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&serde_json::to_vec_pretty(entry).map_err(io::Error::other)?)?;
            file.sync_all()
        };
        written().map_err(failed)?;
        Ok(path)
    }

    fn entries(&self) -> Result<Vec<(u64, PathBuf)>, Failed> {
        let listed = match fs::read_dir(&self.folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failed::new(format!("{}: {error}", self.folder.display()))),
        };
        let numbered = listed.flatten().filter_map(|entry| {
            let path = entry.path();
            let number = path.file_stem()?.to_str()?.parse().ok()?;
            Some((number, path))
        });
        let mut found: Vec<_> = numbered.collect();
        found.sort();
        Ok(found)
    }
}

/// Makes the folder and those above it, for the owner of the data folder only.
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "# Ours\n\ndescription = \"Routers\"\nprofile     = \"ecdsa-p256\"            # the switch\npriority = 3\n\n# try it\n[rollout]\ncandidate = \"ecdsa-p384\" # soon\npercent = 5\n\n[rollout.gates]\nwindow = \"7d\"\n\n[device] # last\nid = [\"subject.CN\"]\n";

    #[test]
    fn one_value_changes_and_nothing_else() {
        let changed = with_profile(POLICY, "ml-dsa-65").unwrap();
        assert_eq!(changed, POLICY.replace("\"ecdsa-p256\"", "\"ml-dsa-65\""));
        assert_eq!(PolicyFile::profiles(&changed).unwrap(), ("ml-dsa-65".into(), Some("ecdsa-p384".into())));
        assert!(with_profile("[device]\nprofile = \"x\"\n", "y").is_err());
        assert!(with_profile("profile = \n", "y").is_err());
    }

    #[test]
    fn a_rollout_is_taken_out_with_its_gates() {
        let changed = without_rollout(POLICY).unwrap();
        assert!(!changed.contains("candidate") && !changed.contains("window"), "{changed}");
        for kept in ["# Ours", "# the switch", "[device] # last", "priority = 3"] {
            assert!(changed.contains(kept), "{kept}: {changed}");
        }
        let inline = "profile = \"a\"\nrollout = { candidate = \"b\" }\n# end\n";
        assert_eq!(without_rollout(inline).unwrap(), "profile = \"a\"\n# end\n");
    }

    #[test]
    fn a_diff_shows_what_differs() {
        let shown = diff("p", POLICY, &with_profile(POLICY, "x").unwrap());
        assert_eq!(
            shown,
            "--- p\n+++ p\n@@ -2,5 +2,5 @@\n \n description = \"Routers\"\n-profile     = \"ecdsa-p256\"            # the switch\n\
             +profile     = \"x\"            # the switch\n priority = 3\n \n"
        );
        assert_eq!(diff("p", POLICY, POLICY), "");
        assert_eq!(diff("p", "a\nb\n", "a\n"), "--- p\n+++ p\n@@ -1,2 +1,1 @@\n a\n-b\n");
        assert_eq!(diff("p", "a\nb\nc\nd\n", "x\nb\nc\n"), "--- p\n+++ p\n@@ -1,4 +1,3 @@\n-a\n+x\n b\n c\n-d\n");
    }

    #[test]
    fn a_file_keeps_its_mode_and_history_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        fs::write(&path, "a").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "b").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");

        let history = History { folder: dir.path().join("history/x") };
        assert!(history.newest().unwrap().is_none());
        let entry = |from: &str| Entry {
            at: jiff::Timestamp::UNIX_EPOCH,
            from: from.into(),
            to: "t".into(),
            before: "b".into(),
            after: "a".into(),
        };
        history.push(&entry("one")).unwrap();
        let second = history.push(&entry("two")).unwrap();
        assert_eq!(history.newest().unwrap(), Some((second.clone(), entry("two"))));
        assert_eq!(fs::metadata(&second).unwrap().mode() & 0o777, 0o600);
        fs::remove_file(second).unwrap();
        assert_eq!(history.newest().unwrap().unwrap().1, entry("one"));
    }
}
