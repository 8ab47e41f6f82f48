//! The configuration: what people write, read with file, line and caret, turned into values that cannot be wrong.
//!
//! `ravelin.toml` holds what belongs to the server; each file in `algorithms/` is an algorithm profile, each in `policies/` a device
//! group. All are read against one [`schema`], from which the reference is made too. The environment and the command line are laid
//! over `ravelin.toml` value by value. One run reports all mistakes of all files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::algorithm::AlgorithmProfile;
use crate::crypto::backend::Choice;
use crate::policy::{DeviceGroup, ScepSettings};
use crate::upstream::remote::RemoteUpstream;

mod build;
mod cross_check;
mod deadline_table;
pub mod diagnostic;
mod fallback_table;
mod group_file;
mod loader;
pub mod online;
mod profile_file;
mod reader;
pub mod reference;
mod rollout_table;
pub mod schema;
mod server_file;
mod shadow_table;
pub mod shipped;
pub mod template;
mod tree;
mod upstream;
pub mod value;

pub use build::{Parts, in_use};
pub use diagnostic::{Diagnostic, Diagnostics, Origin, Severity};
pub use loader::{load, load_with, read_group, read_profile};
pub use tree::Overrides;

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
    /// Further keys and certificates of the RA, for endpoints that name them.
    pub ras: Vec<RaSettings>,
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
    /// SHA-256 over the certificates, keys and secrets that upstreams are configured with: those are no part of the digest, which nodes
    /// with credentials of their own agree on.
    pub credentials: [u8; 32],
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

/// `[server]`, `[limits]`, `[worker]` and `[crypto]` of `ravelin.toml`.
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
    /// How devices and those who check their certificates reach the plain HTTP listener, without a slash at the end: what the
    /// CRL distribution points of new embedded CAs begin with.
    pub public_url: String,
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
    /// Threads for slow signatures; half the number of cores if not set.
    pub slow_threads: usize,
    /// Slow signatures that may wait for them.
    pub slow_queue: usize,
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
    /// How long refused transactions, spent challenges and replies are kept.
    pub retention: Duration,
    /// How long transactions that were issued or failed are kept. Their certificates stay.
    pub keep_transactions: Duration,
    /// Whether changed files are loaded without being told.
    pub watch: bool,
    /// Which cryptography backend serves which family: `[crypto]`.
    pub backends: Choice,
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
    /// Certificates, keys and secrets that it is configured with, beside what the embedded CA has in its folder.
    pub files: Vec<PathBuf>,
}

/// What an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there are as many as there are upstreams")]
pub enum UpstreamKind {
    /// A CA behind a network.
    Remote(RemoteUpstream),
    /// The embedded CA: a folder with one folder per CA.
    Local {
        /// The folder.
        dir: PathBuf,
    },
}

/// `[[ra]]` with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaSettings {
    /// Its name.
    pub name: String,
    /// The folder of its keys and certificates.
    pub dir: PathBuf,
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

    /// Whether a path was noted.
    fn has(&self, path: &str) -> bool {
        self.all.contains_key(path)
    }

    /// Points a finding at the first of these paths that is known.
    fn point(&self, finding: Diagnostic, paths: &[String]) -> Diagnostic {
        match paths.iter().find_map(|path| self.all.get(path)) {
            Some(origin) => finding.at(origin),
            None => finding,
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::algorithm::{Family, Form, SignatureAlgorithm, SlhDsa, UnfitUsage};
    use crate::crypto::backend::Backend;
    use crate::policy::{Approval, ChallengePolicy};

    fn testdata(folder: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config").join(folder)
    }

    fn cases(folder: &str) -> Vec<PathBuf> {
        let mut found: Vec<_> = fs::read_dir(testdata(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        assert!(!found.is_empty());
        found
    }

    /// Compares with a file, or writes it where asked to.
    fn golden(path: &Path, text: &str) {
        let text = if text.is_empty() { String::new() } else { format!("{text}\n") };
        if std::env::var_os("RAVELIN_UPDATE_GOLDEN").is_some() {
            match text.is_empty() {
                true => drop(fs::remove_file(path)),
                false => fs::write(path, &text).unwrap(),
            }
        }
        let expected = fs::read_to_string(path).unwrap_or_default();
        assert!(text == expected, "{} differs:\n{text}", path.display());
    }

    #[test]
    fn bad_configurations_are_reported_word_for_word() {
        for case in cases("bad") {
            let findings = load(&case, &Overrides::none()).map(|_| ()).expect_err(&case.display().to_string());
            assert!(findings.has_errors());
            golden(&case.join("report.txt"), &findings.to_string());
        }
    }

    #[test]
    fn good_configurations_load_with_their_warnings() {
        for case in cases("good") {
            let config = load(&case, &Overrides::none()).unwrap_or_else(|findings| panic!("{}:\n{findings}", case.display()));
            golden(&case.join("warnings.txt"), &config.warnings.to_string());
        }
    }

    #[test]
    fn every_key_is_read() {
        let folder = testdata("good/full");
        let config = load(&folder, &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"));
        let server = &config.server;
        assert_eq!((config.data.clone(), server.node.as_str()), (folder.join("state"), "n1"));
        assert_eq!((server.listen.len(), server.listen_tls.len(), server.admin), (2, 1, None));
        assert_eq!(server.public_url, "https://ra.example.net");
        assert_eq!(server.tls.as_ref().unwrap().key, folder.join("tls/key.pem"));
        assert_eq!(server.control_socket, Path::new("/run/ravelin/control.sock"));
        assert_eq!((server.patience.as_secs(), server.shutdown_grace.as_secs()), (5, 60));
        assert_eq!((server.retention.as_secs(), server.watch), (90 * 86_400, false));
        assert_eq!(server.keep_transactions.as_secs(), 365 * 86_400);
        assert_eq!((server.max_connections, server.max_requests, server.max_body), (100, 50, 256 * 1024));
        assert_eq!(server.per_source, Some((20, 40)));
        let times = [server.header_timeout, server.body_timeout, server.idle_timeout].map(|time| time.as_secs());
        assert_eq!(times, [5, 10, 30]);
        assert_eq!((server.crypto_threads, server.crypto_queue), (3, 30));
        assert_eq!((server.slow_threads, server.slow_queue), (2, 20));
        assert_eq!(server.backends.of(Family::MlDsa), Backend::RustCrypto);
        assert_eq!((config.log.format.as_str(), config.log.filter.as_str()), ("json", "debug"));
        assert_eq!(config.ra_dir, folder.join("state/transport"));
        assert_eq!(config.passphrase_file, Path::new("/run/credentials/passphrase"));
        let UpstreamKind::Local { dir } = &config.upstreams[0].kind else { panic!("it is local") };
        assert_eq!(*dir, folder.join("state/authorities"));
        let endpoint = &config.endpoints[0];
        assert_eq!((endpoint.path.as_str(), endpoint.hosts.len(), endpoint.sources.len()), ("/enroll", 1, 2));
        assert_eq!(endpoint.scep.max_message, 16 * 1024);

        let gates = config.group("gates").unwrap();
        assert_eq!((gates.priority, gates.profile.as_str(), gates.approval), (7, "slow", Approval::Manual));
        assert_eq!(gates.device, ["subject.OU"]);
        assert!(matches!(&gates.challenges[0], ChallengePolicy::Shared(_)));
        assert!(
            matches!(&gates.challenges[1], ChallengePolicy::OneTime { ttl, bind } if ttl.as_secs() == 7200 && bind.len() == 1)
        );
        let renewal = gates.renewal.as_ref().unwrap();
        assert!(renewal.own && renewal.allow_name_change && !renewal.allow_same_key);
        assert_eq!((gates.per_device.unwrap().count, gates.replay.as_secs(), gates.allow_shared_keys), (1, 300, true));
        let rules = gates.rules();
        assert_eq!((rules.keys.len(), rules.subject.len(), rules.set_subject.is_some()), (1, 1, true));
        assert_eq!((rules.usages.len(), rules.default_usages.len()), (2, 0));
        assert_eq!(rules.key_usage, crate::x509::KeyUsage::DIGITAL_SIGNATURE);
        assert_eq!((rules.names.dns.len(), rules.names.ip.len(), rules.names.add.len()), (1, 1, 1));
        assert!(gates.matching().challenge);
        let deadline = gates.deadline.as_ref().unwrap();
        let exception = &deadline.exceptions[0];
        // The end of that day.
        let [from, until] = [deadline.from, exception.until].map(|at| at.to_string());
        assert_eq!((from.as_str(), until.as_str()), ("2090-01-01T00:00:00Z", "2090-07-01T00:00:00Z"));
        assert_eq!((exception.devices[0].text(), exception.why.as_str()), ("OU=Old*", "the vendor is late"));
        assert_eq!(gates.shadow.as_deref(), Some("pair"));
        assert_eq!((gates.fallback.learn, gates.fallback.returns, gates.fallback.within.as_secs()), (true, 3, 12 * 3600));

        let slow = config.profile("slow").unwrap();
        let others: Vec<_> = slow.failover.iter().map(ToString::to_string).collect();
        assert_eq!((others, slow.spread), (vec!["local/spare".to_owned(), "local/other".to_owned()], true));
        assert_eq!((slow.max_reply, slow.validity.as_secs()), (Some(24 * 1024), 10 * 365 * 86_400));
        let pair = config.profile("pair").unwrap();
        assert_eq!((pair.form, pair.signature), (Form::Paired, SignatureAlgorithm::EcdsaSha384));
        let (signature, issuer) = pair.sibling().unwrap();
        assert_eq!((signature, issuer.to_string().as_str()), (SignatureAlgorithm::SlhDsa(SlhDsa::Sha2_128s), "local/slh-dsa"));
        assert_eq!((pair.fallback.as_deref(), pair.key_usage), (Some("slow"), UnfitUsage::Refuse));
        let said = &pair.extensions;
        assert_eq!([&said.policies, &said.crl_urls, &said.ca_issuers, &said.ocsp].map(Vec::len), [2, 1, 1, 1]);
        assert!(config.profile("ecdsa-p384").unwrap().description.contains("takes the place"));
        assert!(config.profile("ecdsa-p256").is_some(), "shipped profiles are there");
        assert!(config.watched.contains(&folder.join("secrets/gates.phc")));
    }

    #[test]
    fn a_rollout_is_read() {
        use crate::rollout::{OnTrip, Share, Threshold};
        let config = load(&testdata("good/rollout"), &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"));
        let routers = config.group("routers").unwrap();
        assert_eq!(routers.profiles().collect::<Vec<_>>(), ["ecdsa-p256", "ecdsa-p384"]);
        let plan = routers.rollout.as_ref().unwrap();
        assert_eq!((plan.devices.len(), plan.share), (2, Share::parse("0.5").unwrap()));
        let rings: Vec<_> = plan.rings.iter().map(|ring| (ring.from.to_string(), ring.share, ring.devices.len())).collect();
        assert_eq!(rings[0], ("2027-01-10T00:00:00Z".to_owned(), Share::percent(5), 0));
        assert_eq!(rings[1], ("2027-02-01T06:00:00Z".to_owned(), None, 1));
        let gates = &plan.gates;
        assert_eq!((gates.window.as_secs(), gates.min_devices, gates.on_trip), (7 * 86_400, 50, OnTrip::RollBack));
        assert_eq!((gates.refusals, gates.upstream_errors), (Some(Threshold::parse("+3%").unwrap()), None));
        let returns = gates.returns.unwrap();
        assert_eq!((returns.within.as_secs(), returns.more_than), (36 * 3600, Threshold::parse("10%").unwrap()));
        let nobody = config.group("nobody").unwrap().rollout.as_ref().unwrap();
        assert_eq!(nobody.gates, crate::rollout::Gates::default());
    }

    /// Every key of the reference is in the full example but for those that are alternatives to one another.
    #[test]
    fn the_full_example_is_full() {
        let folder = testdata("good/full");
        let mut text = String::new();
        for file in
            ["ravelin.toml", "policies/gates.toml", "policies/sensors.toml", "algorithms/slow.toml", "algorithms/pair.toml"]
        {
            text += &fs::read_to_string(folder.join(file)).unwrap();
        }
        let rollout = fs::read_to_string(testdata("good/rollout/policies/routers.toml")).unwrap();
        let legacy = fs::read_to_string(testdata("good/legacy/ravelin.toml")).unwrap();
        let shipped = [shipped::POLICIES, shipped::PROFILES].concat().iter().map(|file| file.text).collect::<String>();
        let all = [text, rollout, legacy, shipped].concat();
        for table in [schema::SERVER_FILE, schema::GROUP_FILE, schema::PROFILE_FILE].concat() {
            for key in table.keys {
                let known = all.contains(&format!("{} ", key.name))
                    || all.contains(&format!("[{}", key.name))
                    || all.contains(&format!(".{}]", key.name));
                let alternative = ["hash", "per-source-burst", "accept-oaep", "reply-includes-signer"].contains(&key.name);
                assert!(known || alternative, "{} of {}", key.name, table.shown());
            }
        }
    }

    #[test]
    fn every_shipped_file_loads() {
        for shipped in shipped::PROFILES {
            read_profile(shipped.name, shipped.text).unwrap_or_else(|findings| panic!("{findings}"));
        }
        for shipped in shipped::POLICIES {
            let (group, _) = read_group(shipped.name, shipped.text).unwrap_or_else(|findings| panic!("{findings}"));
            assert!(shipped::PROFILES.iter().any(|profile| profile.name == group.profile), "{}", group.profile);
        }
    }

    #[test]
    fn the_environment_and_the_command_line_win() {
        let overrides =
            Overrides::none().set("server.node", "n2").set("server.listen", "[\"127.0.0.1:1\"]").set("log.format", "text");
        let config = load(&testdata("good/full"), &overrides).unwrap();
        assert_eq!((config.server.node.as_str(), config.server.listen.len(), config.log.format.as_str()), ("n2", 1, "text"));
        let plain = load(&testdata("good/full"), &Overrides::none()).unwrap();
        assert_ne!(plain.digest, config.digest);

        let wrong = Overrides::none().set("server.lisen", "x").set("server.patience", "soon");
        let findings = load(&testdata("good/full"), &wrong).unwrap_err().to_string();
        for part in ["unknown key `lisen`", "did you mean `listen`?", "--set server.patience=soon", "command line"] {
            assert!(findings.contains(part), "{part} is not in\n{findings}");
        }
    }

    #[test]
    fn the_digest_is_of_the_content() {
        let dir = tempfile::tempdir().unwrap();
        template::write(dir.path(), &template::Options::default()).unwrap();
        let digest = || load(dir.path(), &Overrides::none()).unwrap().digest;
        let first = digest();
        assert_eq!(first, digest());
        let policy = dir.path().join("policies/default.toml");
        fs::write(&policy, fs::read_to_string(&policy).unwrap().replace("ecdsa-p256", "rsa-sha256")).unwrap();
        assert_ne!(first, digest());
    }

    /// P15: no challenge configured is no open door.
    #[test]
    fn a_group_without_a_challenge_lets_nobody_in() {
        let (group, _) = read_group("x", "profile = \"ecdsa-p256\"").unwrap();
        assert!(group.challenges.is_empty() && group.renewal.is_none());
    }

    #[test]
    fn a_missing_file_is_a_finding() {
        let findings = load(Path::new("/nowhere/ravelin.toml"), &Overrides::none()).unwrap_err();
        assert!(findings.to_string().contains("unreadable-file"), "{findings}");
    }
}
