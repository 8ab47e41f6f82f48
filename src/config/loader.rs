//! Reading the files of a configuration: which there are, what stands in them, and what all of it comes to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Diagnostics, Source};
use super::reader::Sink;
use super::tree::{self, Overrides};
use super::{Config, Origins, UpstreamSettings, checked_name, group_file, profile_file, server_file, shipped};
use crate::algorithm::AlgorithmProfile;
use crate::policy::{DeviceGroup, ScepSettings};

/// Reads `ravelin.toml` at `path`, or in the folder `path`, with `algorithms/` and `policies/` beside it. Warnings are in
/// [`Config::warnings`]; an error comes with all findings.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Config, Diagnostics> {
    load_with(path, overrides, &BTreeMap::new())
}

/// Reads it as if the files at these paths held these texts: what a change would be, before it is made.
pub fn load_with(path: &Path, overrides: &Overrides, texts: &BTreeMap<PathBuf, String>) -> Result<Config, Diagnostics> {
    let path = if path.is_dir() { path.join("ravelin.toml") } else { path.to_owned() };
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("."),
    };
    let mut loader = Loader { texts: texts.clone(), ..Loader::new(folder.clone()) };
    let Some(text) = loader.text(&path) else { return Err(loader.sink.into_inner()) };
    let file = loader.parse(&path, text).map(|mut root| {
        overrides.apply(&mut root);
        server_file::read(&root, &folder, &loader.sink, &mut loader.origins)
    });
    let profiles = loader.profiles();
    let groups = loader.groups();
    let Some(file) = file else { return Err(loader.sink.into_inner()) };
    loader.cross_check(&file, &groups, &profiles);

    let Loader { sink, origins, mut read, .. } = loader;
    let findings = sink.into_inner();
    if findings.has_errors() {
        return Err(findings);
    }
    let mut watched = vec![path.clone(), folder.join("algorithms"), folder.join("policies")];
    watched.extend(file.server.tls.iter().flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]));
    watched.extend(read.iter().map(|(path, _)| path.clone()));
    watched.extend(file.upstreams.iter().flat_map(|upstream| upstream.files.clone()));
    watched.sort();
    watched.dedup();
    Ok(Config {
        path,
        credentials: credentials(&file.upstreams),
        digest: digest(&folder, &mut read, overrides),
        data: file.data,
        server: file.server,
        log: file.log,
        ra_dir: file.ra_dir,
        ras: file.ras,
        passphrase_file: file.passphrase_file,
        upstreams: file.upstreams,
        endpoints: file.endpoints,
        default_endpoint: file.default_endpoint,
        groups,
        profiles,
        watched,
        warnings: findings,
        origins,
    })
}

/// Reads the text of one policy file: for tests and for tools that have no folder.
pub fn read_group(name: &str, text: &str) -> Result<(DeviceGroup, ScepSettings), Diagnostics> {
    let mut loader = Loader::new(PathBuf::from("."));
    let group = loader.group(name, Path::new(&format!("policies/{name}.toml")), text.to_owned());
    let findings = loader.sink.into_inner();
    group.filter(|_| !findings.has_errors()).ok_or(findings)
}

/// Reads the text of one profile file: for tests and for tools that have no folder.
pub fn read_profile(name: &str, text: &str) -> Result<AlgorithmProfile, Diagnostics> {
    let mut loader = Loader::new(PathBuf::from("."));
    let profile = loader.profile(name, Path::new(&format!("algorithms/{name}.toml")), text.to_owned());
    let findings = loader.sink.into_inner();
    profile.filter(|_| !findings.has_errors()).ok_or(findings)
}
/// Reads files and collects findings.
pub(super) struct Loader {
    pub(super) folder: PathBuf,
    pub(super) sink: Sink,
    pub(super) origins: Origins,
    read: Vec<(PathBuf, Vec<u8>)>,
    /// Texts that count in place of what the files hold.
    texts: BTreeMap<PathBuf, String>,
}

impl Loader {
    fn new(folder: PathBuf) -> Self {
        Self { folder, sink: Sink::default(), origins: Origins::default(), read: Vec::new(), texts: BTreeMap::new() }
    }

    pub(super) fn report(&self, finding: Diagnostic) {
        self.sink.borrow_mut().push(finding);
    }

    /// The name that findings show: relative to the configuration's folder where it is in there.
    fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.folder).unwrap_or(path).to_owned()
    }

    fn text(&mut self, path: &Path) -> Option<String> {
        let bytes = match self.texts.get(path) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => std::fs::read(path).map_err(|error| error.to_string()),
        };
        let text = bytes.and_then(|bytes| {
            self.read.push((path.to_owned(), bytes.clone()));
            String::from_utf8(bytes).map_err(|error| error.to_string())
        });
        text.map_err(|why| {
            let finding = Diagnostic::error("unreadable-file", format!("the file cannot be read: {why}"));
            self.report(finding.in_file(self.shown(path)));
        })
        .ok()
    }

    /// `None` if the file is not TOML: what is left of it would only give rise to findings that are not the people's fault.
    fn parse(&self, path: &Path, text: String) -> Option<tree::Table> {
        let shown = self.shown(path);
        let source = Source { name: shown.display().to_string(), file: Some(shown), text };
        let mut findings = Diagnostics::default();
        let table = tree::parse(&Arc::new(source), &mut findings);
        let sound = findings.is_empty();
        self.sink.borrow_mut().extend(findings);
        sound.then_some(table)
    }

    /// The TOML files of a folder by their stems, sorted; hidden files and other endings are left alone.
    fn files(&mut self, folder: &str) -> Vec<(String, PathBuf)> {
        let folder = self.folder.join(folder);
        let mut found = Vec::new();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return found,
            Err(error) => {
                let finding = Diagnostic::error("unreadable-file", format!("the folder cannot be read: {error}"));
                self.report(finding.in_file(self.shown(&folder)));
                return found;
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        // What would be there.
        let new = self.texts.keys().filter(|path| path.parent() == Some(&folder) && !paths.contains(path));
        let new: Vec<_> = new.cloned().collect();
        paths.extend(new);
        for path in paths {
            let (Some(stem), Some("toml")) =
                (path.file_stem().and_then(|s| s.to_str()), path.extension().and_then(|e| e.to_str()))
            else {
                continue;
            };
            if stem.starts_with('.') {
                continue;
            }
            match checked_name(stem) {
                Ok(name) => found.push((name, path.clone())),
                Err(why) => self.report(Diagnostic::error("bad-value", why).in_file(self.shown(&path))),
            }
        }
        found.sort();
        found
    }

    fn profiles(&mut self) -> Vec<Arc<AlgorithmProfile>> {
        let mut found = BTreeMap::new();
        for shipped in shipped::PROFILES {
            let path = PathBuf::from(format!("algorithms/{}.toml (shipped)", shipped.name));
            found.insert(shipped.name.to_owned(), self.profile(shipped.name, &path, shipped.text.to_owned()));
        }
        for (name, path) in self.files("algorithms") {
            if let Some(text) = self.text(&path) {
                let profile = self.profile(&name, &path, text);
                found.insert(name, profile);
            }
        }
        found.into_values().flatten().map(Arc::new).collect()
    }

    fn profile(&mut self, name: &str, path: &Path, text: String) -> Option<AlgorithmProfile> {
        let table = self.parse(path, text)?;
        profile_file::read(name, &table, &self.sink, &mut self.origins)
    }

    fn groups(&mut self) -> Vec<(Arc<DeviceGroup>, ScepSettings)> {
        let mut found = Vec::new();
        for (name, path) in self.files("policies") {
            if let Some(text) = self.text(&path) {
                found.extend(self.group(&name, &path, text).map(|(group, scep)| (Arc::new(group), scep)));
            }
        }
        if found.is_empty() && !self.sink.borrow().has_errors() {
            let finding = Diagnostic::warning("nobody-enrolls", "there is no device group: nobody enrolls");
            self.report(finding.in_file("policies").help("`ravelin init` writes one to start from"));
        }
        found
    }

    fn group(&mut self, name: &str, path: &Path, text: String) -> Option<(DeviceGroup, ScepSettings)> {
        let table = self.parse(path, text)?;
        let mut context = group_file::Context { name, folder: &self.folder, sink: &self.sink, read: &mut self.read };
        group_file::read(&table, &mut context, &mut self.origins)
    }
}

/// SHA-256 over the files of all upstreams. One that cannot be read counts as empty: whoever needs it says so.
fn credentials(upstreams: &[UpstreamSettings]) -> [u8; 32] {
    let mut digests = Vec::new();
    for path in upstreams.iter().flat_map(|upstream| &upstream.files) {
        let content = zeroize::Zeroizing::new(std::fs::read(path).unwrap_or_default());
        digests.extend(crate::crypto::provider().digester.sha256(&content));
    }
    crate::crypto::provider().digester.sha256(&digests)
}

/// SHA-256 over all that was read, sorted by path, each with its length, and over what the environment says.
fn digest(folder: &Path, read: &mut [(PathBuf, Vec<u8>)], overrides: &Overrides) -> [u8; 32] {
    read.sort();
    let mut all = Vec::new();
    for (path, content) in read.iter() {
        // Nodes that keep the same configuration in different folders agree.
        let path = path.strip_prefix(folder).unwrap_or(path);
        for part in [path.as_os_str().as_encoded_bytes(), content, overrides.fingerprint().as_bytes()] {
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part);
        }
    }
    crate::crypto::provider().digester.sha256(&all)
}
