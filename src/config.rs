//! The configuration: what people write, read with file, line and caret, turned into values that cannot be wrong.
//!
//! `ravelin.toml` holds what belongs to the server; each file in `algorithms/` is an algorithm profile, each in `policies/` a device
//! group. All are read against one [`schema`], from which the reference is made too. The environment and the command line are laid
//! over `ravelin.toml` value by value. One run reports all mistakes of all files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::algorithm::AlgorithmProfile;
use crate::policy::{DeviceGroup, ScepSettings};

mod build;
pub mod diagnostic;
mod group_file;
mod profile_file;
mod reader;
pub mod reference;
pub mod schema;
mod server_file;
pub mod shipped;
pub mod template;
mod tree;
pub mod value;

pub use build::Parts;
pub use diagnostic::{Diagnostic, Diagnostics, Origin, Severity};
pub use tree::Overrides;

use diagnostic::Source;
use reader::Sink;

/// Reads `ravelin.toml` at `path`, or in the folder `path`, with `algorithms/` and `policies/` beside it. Warnings are in
/// [`Config::warnings`]; an error comes with all findings.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Config, Diagnostics> {
    let path = if path.is_dir() { path.join("ravelin.toml") } else { path.to_owned() };
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("."),
    };
    let mut loader = Loader { folder: folder.clone(), sink: Sink::default(), origins: Origins::default(), read: Vec::new() };
    let Some(text) = loader.text(&path) else { return Err(loader.sink.into_inner()) };
    let mut root = loader.parse(&path, text);
    overrides.apply(&mut root);
    let file = server_file::read(&root, &folder, &loader.sink, &mut loader.origins);
    let profiles = loader.profiles();
    let groups = loader.groups();
    loader.cross_check(&file, &groups, &profiles);

    let Loader { sink, origins, mut read, .. } = loader;
    let findings = sink.into_inner();
    if findings.has_errors() {
        return Err(findings);
    }
    let mut watched = vec![path.clone(), folder.join("algorithms"), folder.join("policies")];
    watched.extend(file.server.tls.iter().flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]));
    watched.extend(read.iter().map(|(path, _)| path.clone()));
    watched.sort();
    watched.dedup();
    Ok(Config {
        path,
        digest: digest(&mut read, overrides),
        data: file.data,
        server: file.server,
        log: file.log,
        ra_dir: file.ra_dir,
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
    let mut loader = Loader { folder: PathBuf::from("."), sink: Sink::default(), origins: Origins::default(), read: Vec::new() };
    let group = loader.group(name, Path::new(&format!("policies/{name}.toml")), text.to_owned());
    let findings = loader.sink.into_inner();
    group.filter(|_| !findings.has_errors()).ok_or(findings)
}

/// Reads the text of one profile file: for tests and for tools that have no folder.
pub fn read_profile(name: &str, text: &str) -> Result<AlgorithmProfile, Diagnostics> {
    let mut loader = Loader { folder: PathBuf::from("."), sink: Sink::default(), origins: Origins::default(), read: Vec::new() };
    let profile = loader.profile(name, Path::new(&format!("algorithms/{name}.toml")), text.to_owned());
    let findings = loader.sink.into_inner();
    profile.filter(|_| !findings.has_errors()).ok_or(findings)
}

/// Everything that was read and checked, before issuers and keys are opened.
#[derive(Debug)]
pub struct Config {
    /// Where `ravelin.toml` is.
    pub path: PathBuf,
    /// The folder for keys, inventory and the control socket.
    pub data: PathBuf,
    /// Listeners, limits, workers.
    pub server: ServerSettings,
    /// Logs.
    pub log: LogSettings,
    /// The folder of the RA's keys and certificates.
    pub ra_dir: PathBuf,
    /// File with the passphrase of private keys.
    pub passphrase_file: PathBuf,
    /// The upstreams.
    pub upstreams: Vec<UpstreamSettings>,
    /// Shared endpoints.
    pub endpoints: Vec<EndpointSettings>,
    /// Name of the endpoint that takes unknown paths.
    pub default_endpoint: Option<String>,
    /// The device groups, each with the SCEP settings of its own endpoint.
    pub groups: Vec<(Arc<DeviceGroup>, ScepSettings)>,
    /// The algorithm profiles.
    pub profiles: Vec<Arc<AlgorithmProfile>>,
    /// SHA-256 over all files that were read, in a fixed order.
    pub digest: [u8; 32],
    /// All files and folders that were read: what a file watch looks at.
    pub watched: Vec<PathBuf>,
    /// What is worth a look, and stops nothing.
    pub warnings: Diagnostics,
    /// Where values stand, for findings of later checks.
    origins: Origins,
}

impl Config {
    /// The group with this name.
    pub fn group(&self, name: &str) -> Option<&Arc<DeviceGroup>> {
        self.groups.iter().map(|(group, _)| group).find(|group| group.name == name)
    }

    /// The profile with this name.
    pub fn profile(&self, name: &str) -> Option<&Arc<AlgorithmProfile>> {
        self.profiles.iter().find(|profile| profile.name == name)
    }
}

/// `[server]`, `[limits]` and `[worker]` of `ravelin.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Name of this node in leases and logs.
    pub node: String,
    /// Plain HTTP listeners for devices.
    pub listen: Vec<SocketAddr>,
    /// HTTPS listeners for devices.
    pub listen_tls: Vec<SocketAddr>,
    /// Certificate chain (PEM) and key (PEM) of the HTTPS listeners.
    pub tls: Option<TlsSettings>,
    /// Health and metrics.
    pub admin: Option<SocketAddr>,
    /// The control socket.
    pub control_socket: PathBuf,
    /// How long a request waits for its issuer before the answer is PENDING.
    pub patience: Duration,
    /// Threads for cryptography; the number of cores if not set.
    pub crypto_threads: usize,
    /// Jobs that may wait for them.
    pub crypto_queue: usize,
    /// Connections at a time.
    pub max_connections: usize,
    /// Requests under way at a time.
    pub max_requests: usize,
    /// Requests per second from one source address, and how many at once; `None` is no limit.
    pub per_source: Option<(u32, u32)>,
    /// Largest request body and target in octets.
    pub max_body: usize,
    /// How long a client may take to send its request head.
    pub header_timeout: Duration,
    /// How long a client may take to send its request body.
    pub body_timeout: Duration,
    /// How long an idle connection stays open.
    pub idle_timeout: Duration,
    /// How long requests may go on after a signal to stop.
    pub shutdown_grace: Duration,
    /// How long finished transactions, spent challenges and replies are kept.
    pub retention: Duration,
    /// Whether changed files are loaded without being told.
    pub watch: bool,
}

/// Certificate and key of the HTTPS listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `auto`, `text` or `json`.
    pub format: String,
    /// Filter directives, as `tracing-subscriber` reads them.
    pub filter: String,
}

/// `[[upstream]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: UpstreamKind,
}

/// What an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// The embedded CA: a folder with one folder per CA.
    Local {
        /// The folder.
        dir: PathBuf,
    },
}

/// `[[endpoint]]`: one that several groups share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Host names.
    pub hosts: Vec<String>,
    /// Networks.
    pub sources: Vec<ipnet::IpNet>,
    /// Names of its groups.
    pub groups: Vec<String>,
    /// How it speaks SCEP.
    pub scep: ScepSettings,
}

/// Where values stand, by a path such as `group/branch-routers/profile`.
#[derive(Clone, Debug, Default)]
struct Origins {
    all: BTreeMap<String, Origin>,
}

impl Origins {
    fn note(&mut self, path: String, origin: &Origin) {
        self.all.insert(path, origin.clone());
    }

    /// Points a finding at the first of these paths that is known.
    fn point(&self, finding: Diagnostic, paths: &[String]) -> Diagnostic {
        match paths.iter().find_map(|path| self.all.get(path)) {
            Some(origin) => finding.at(origin),
            None => finding,
        }
    }
}

/// Reads files and collects findings.
struct Loader {
    folder: PathBuf,
    sink: Sink,
    origins: Origins,
    read: Vec<(PathBuf, Vec<u8>)>,
}

impl Loader {
    fn report(&self, finding: Diagnostic) {
        self.sink.borrow_mut().push(finding);
    }

    /// The name that findings show: relative to the configuration's folder where it is in there.
    fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.folder).unwrap_or(path).to_owned()
    }

    fn text(&mut self, path: &Path) -> Option<String> {
        let text = std::fs::read(path).map_err(|error| error.to_string()).and_then(|bytes| {
            self.read.push((path.to_owned(), bytes.clone()));
            String::from_utf8(bytes).map_err(|error| error.to_string())
        });
        text.map_err(|why| {
            let finding = Diagnostic::error("unreadable-file", format!("the file cannot be read: {why}"));
            self.report(finding.in_file(self.shown(path)));
        })
        .ok()
    }

    fn parse(&self, path: &Path, text: String) -> tree::Table {
        let shown = self.shown(path);
        let source = Source { name: shown.display().to_string(), file: Some(shown), text };
        tree::parse(&Arc::new(source), &mut self.sink.borrow_mut())
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
        for entry in entries.flatten() {
            let path = entry.path();
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
        let table = self.parse(path, text);
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
        let table = self.parse(path, text);
        let mut context = group_file::Context { name, folder: &self.folder, sink: &self.sink, read: &mut self.read };
        group_file::read(&table, &mut context, &mut self.origins)
    }

    /// Checks names that refer to other files.
    fn cross_check(
        &self,
        file: &server_file::ServerFile,
        groups: &[(Arc<DeviceGroup>, ScepSettings)],
        profiles: &[Arc<AlgorithmProfile>],
    ) {
        // A broken file has no entry here, and what refers to it is not wrong for that.
        let exists = |folder: &str, name: &str| self.folder.join(folder).join(format!("{name}.toml")).exists();
        let unknown = |what: &str, name: &str, known: Vec<&str>, path: String| {
            let finding = Diagnostic::error("unknown-name", format!("there is no {what} `{name}`"));
            self.report(self.origins.point(finding.help(diagnostic::suggestion(name, known)), &[path]));
        };
        let group_names: Vec<&str> = groups.iter().map(|(group, _)| group.name.as_str()).collect();
        for (group, _) in groups {
            let known = profiles.iter().any(|profile| profile.name == group.profile);
            if !known && !exists("algorithms", &group.profile) {
                let names = profiles.iter().map(|profile| profile.name.as_str()).collect();
                unknown("algorithm profile", &group.profile, names, format!("group/{}/profile", group.name));
            }
        }
        for profile in profiles {
            let used = groups.iter().any(|(group, _)| group.profile == profile.name);
            if used && !file.upstreams.iter().any(|upstream| upstream.name == profile.issuer.upstream) {
                let names = file.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
                unknown("upstream", &profile.issuer.upstream, names, format!("profile/{}/issuer.upstream", profile.name));
            }
        }
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for endpoint in &file.endpoints {
            let at = |key: &str| format!("endpoint/{}/{key}", endpoint.name);
            if group_names.contains(&endpoint.name.as_str()) || taken.contains_key(endpoint.name.as_str()) {
                let message = format!("there is another endpoint `{}`", endpoint.name);
                let help = "every group has an endpoint of its own name";
                self.report(self.origins.point(Diagnostic::error("duplicate-name", message).help(help), &[at("name")]));
            }
            if groups.iter().any(|(group, _)| format!("/scep/{}", group.name) == endpoint.path)
                || taken.values().any(|path| *path == endpoint.path)
            {
                let message = format!("there is another endpoint at {}", endpoint.path);
                self.report(self.origins.point(Diagnostic::error("duplicate-name", message), &[at("path"), at("name")]));
            }
            taken.insert(&endpoint.name, &endpoint.path);
            for group in
                endpoint.groups.iter().filter(|group| !group_names.contains(&group.as_str()) && !exists("policies", group))
            {
                unknown("device group", group, group_names.clone(), at(&format!("groups/{group}")));
            }
            self.check_ties(endpoint, groups);
        }
        if let Some(name) = &file.default_endpoint
            && !group_names.contains(&name.as_str())
            && !taken.contains_key(name.as_str())
            && !exists("policies", name)
        {
            let known = group_names.iter().copied().chain(taken.keys().copied()).collect();
            unknown("endpoint", name, known, "default-endpoint".into());
        }
        let largest =
            file.endpoints.iter().map(|e| &e.scep).chain(groups.iter().map(|(_, scep)| scep)).map(|scep| scep.max_message);
        if let Some(largest) = largest.max().filter(|largest| *largest > file.server.max_body) {
            let message =
                format!("`max-message` of {largest} octets is never reached: `max-body` is {} octets", file.server.max_body);
            self.report(Diagnostic::warning("bad-value", message).in_file("ravelin.toml").help("raise `max-body` in `[limits]`"));
        }
    }

    /// Two groups of one endpoint that a request can both fit need different priorities.
    fn check_ties(&self, endpoint: &EndpointSettings, groups: &[(Arc<DeviceGroup>, ScepSettings)]) {
        let named = |name: &String| groups.iter().map(|(group, _)| group).find(|group| group.name == *name);
        let here: Vec<_> = endpoint.groups.iter().filter_map(named).collect();
        for (index, one) in here.iter().enumerate() {
            for other in &here[index + 1..] {
                if one.name == other.name {
                    let at = [format!("endpoint/{}/groups/{}", endpoint.name, other.name)];
                    let message = format!("group `{}` stands there twice", other.name);
                    self.report(self.origins.point(Diagnostic::error("duplicate-name", message), &at));
                } else if one.priority == other.priority && !one.matching().excludes(other.matching()) {
                    let message = format!(
                        "groups `{}` and `{}` of endpoint `{}` may both fit a request, and have the same priority {}",
                        one.name, other.name, endpoint.name, one.priority
                    );
                    let help = "give one of them a higher `priority`, or tell them apart in `[match]`";
                    let at =
                        [format!("group/{}/priority", other.name), format!("endpoint/{}/groups/{}", endpoint.name, other.name)];
                    self.report(self.origins.point(Diagnostic::error("tie", message).help(help), &at));
                }
            }
        }
    }
}

/// Takes what can stand in a path, a file name and a metrics label without more ado.
fn checked_name(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = name.len() <= 63 && name.chars().all(fits) && name.starts_with(|c: char| c != '-') && !name.ends_with('-');
    if good && !name.is_empty() {
        Ok(name.to_owned())
    } else {
        Err(format!("{name:?} is no name: at most 63 lower-case letters, digits and hyphens"))
    }
}

/// SHA-256 over all that was read, sorted by path, each with its length, and over what the environment says.
fn digest(read: &mut [(PathBuf, Vec<u8>)], overrides: &Overrides) -> [u8; 32] {
    read.sort();
    let mut all = Vec::new();
    for (path, content) in read.iter() {
        for part in [path.as_os_str().as_encoded_bytes(), content, overrides.fingerprint().as_bytes()] {
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part);
        }
    }
    crate::crypto::provider().digester.sha256(&all)
}
