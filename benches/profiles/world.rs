//! A data folder with one profile in use, under a root, and the SCEP service over it: all that a server has but HTTP.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use ravelin::algorithm::{AlgorithmProfile, Form, KeyAlgorithm, SignatureAlgorithm};
use ravelin::cli::setup;
use ravelin::config::shipped::PROFILES;
use ravelin::config::{Config, Overrides};
use ravelin::enroll::Peer;
use ravelin::enroll::operate::NewChallenges;
use ravelin::inventory::{CertificateRecord, CertificateSearch};
use ravelin::scep::{PkiMessage, PkiStatus, ScepService};
use ravelin::server::{Folder, Instance, instance};
use ravelin::upstream::local::{LocalCa, NewCa};
use ravelin::x509::{Certificate, DistinguishedName};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::wire_support::{Draft, Holder};

/// The largest signatures there are: no such profile is shipped, for few devices can take in a reply of that size.
pub const LARGEST: &str = "slh-dsa-sha2-256f";

/// Queues that hold all who come at once, and no end of patience: what is measured is the work, not when it is refused.
const SERVER: &str = r#"
version = 1
data = "."

[server]
admin = "off"
patience = "60s"

[worker]
crypto-queue = 8192
slow-queue = 8192

[[endpoint]]
name = "chain"
groups = ["bench"]
scep = { reply-certs = "leaf+chain+root" }
"#;

const GROUP: &str = r#"
[device]
id = ["subject.commonName"]

[authenticate]
challenge = { kind = "one-time", ttl = "1d" }

[enforce]
allow-shared-keys = true
subject = { allow = "CN={name:[a-z0-9-]{1,32}},O=Example" }
san = { dns = ["{name}.example.net"] }
usages = { allow = ["clientAuth"], default = ["clientAuth"] }
"#;

pub struct World {
    instance: Instance,
    service: ScepService,
    pub profile: Arc<AlgorithmProfile>,
    /// One RSA-2048 key for all devices: making one takes as long as a hundred enrollments.
    pub device: Holder,
    made: usize,
    _folder: TempDir,
}

impl World {
    pub async fn open(profile: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = set_up(folder.path(), profile);
        let profile = Arc::clone(config.profile(profile).expect("it is there"));
        let instance = Instance::open(config).await.unwrap_or_else(|error| panic!("{error}"));
        let service = ScepService::new(instance.enroller().clone(), Arc::clone(instance.metrics()));
        let device = Holder::new("device", KeyAlgorithm::Rsa(2048));
        Self { instance, service, profile, device, made: 0, _folder: folder }
    }

    pub fn ra(&self) -> Arc<Certificate> {
        Arc::clone(&self.instance.enroller().snapshot().ra.decrypter().certificate)
    }

    /// The issuing CA and what is above it.
    pub fn chain(&self) -> Arc<[Arc<Certificate>]> {
        self.instance.enroller().snapshot().chain_of(&self.profile.issuer)
    }

    /// First requests, each of a device of its own; the name of the last device is `device-N`.
    pub async fn requests(&mut self, count: usize) -> Vec<Bytes> {
        let ra = self.ra();
        let new = NewChallenges { group: "bench".into(), count, ..NewChallenges::default() };
        let challenges = self.instance.enroller().mint_challenges(new, "bench").await.expect("challenges");
        let mut request = |challenge: String| {
            self.made += 1;
            let csr = self.device.csr(&format!("device-{}", self.made), Some(&challenge));
            let mut draft = Draft::request(&self.device, &csr, &ra);
            draft.transaction_id = Some(format!("{:08x}", self.made));
            Bytes::from(draft.der())
        };
        challenges.into_iter().map(|(challenge, _)| request(challenge)).collect()
    }

    /// Sends a message, and gives the reply.
    pub fn send(&self, endpoint: &str, message: Bytes) -> impl Future<Output = Bytes> + Send + use<> {
        let service = self.service.clone();
        let target = format!("/scep/{endpoint}?operation=PKIOperation");
        async move {
            let mut request = Request::post(target).body(Full::new(message)).expect("a request");
            request.extensions_mut().insert(Peer { address: "192.0.2.7:50000".parse().expect("an address"), tls: false });
            let response = service.oneshot(request).await.expect("never fails");
            response.into_body().collect().await.expect("never fails").to_bytes()
        }
    }

    /// What the device that asked last was given: its certificate, and the sibling where there is one.
    pub async fn issued(&self) -> (Certificate, Option<Certificate>) {
        // Newest first: one certificate, or the two of a pair.
        let limit = 1 + usize::from(self.profile.form == Form::Paired);
        let search = CertificateSearch { group: Some("bench".into()), limit, ..CertificateSearch::default() };
        let records = self.instance.enroller().inventory().certificates(&search).await.expect("a list");
        let read = |record: &CertificateRecord| Certificate::from_der(&record.der).expect("a certificate");
        let leaf = records.iter().find(|record| record.sibling_of.is_none()).expect("it was issued");
        (read(leaf), records.iter().find(|record| record.sibling_of.is_some()).map(read))
    }
}

/// That a reply is a SUCCESS.
pub fn succeeded(reply: &[u8]) -> bool {
    let status = PkiMessage::read(reply).ok().and_then(|message| message.attributes().pki_status);
    status.and_then(PkiStatus::from_number) == Some(PkiStatus::Success)
}

/// The key of a CA that signs so.
pub fn key_for(signature: SignatureAlgorithm) -> KeyAlgorithm {
    match signature {
        SignatureAlgorithm::EcdsaSha256 => KeyAlgorithm::EcdsaP256,
        SignatureAlgorithm::EcdsaSha384 => KeyAlgorithm::EcdsaP384,
        SignatureAlgorithm::EcdsaSha512 => KeyAlgorithm::EcdsaP521,
        other => other.only_key().unwrap_or(KeyAlgorithm::Rsa(3072)),
    }
}

fn set_up(dir: &Path, name: &str) -> Config {
    let write = |file: &str, text: &str| {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write("ravelin.toml", SERVER);
    write("policies/bench.toml", &format!("profile = \"{name}\"\n{GROUP}"));
    let largest = format!(
        "accepts = [\"rsa-2048..4096\"]\nform = \"single\"\nsignature = \"{LARGEST}\"\nvalidity = \"1y\"\n\
         issuer = {{ upstream = \"local\", ca = \"{LARGEST}\" }}\n"
    );
    write(&format!("algorithms/{LARGEST}.toml"), &largest);
    // Some profiles are for stronger keys only. Here all devices have the same, so that the profiles can be compared.
    if let Some(shipped) = PROFILES.iter().find(|shipped| shipped.name == name) {
        let lines = shipped.text.lines().map(|line| match line.starts_with("accepts") {
            true => "accepts = [\"rsa-2048..4096\"]",
            false => line,
        });
        write(&format!("algorithms/{name}.toml"), &lines.collect::<Vec<_>>().join("\n"));
    }
    let config = instance::load(&dir.join("ravelin.toml"), &Overrides::none()).unwrap_or_else(|error| panic!("{error}"));
    let profile = config.profile(name).unwrap_or_else(|| panic!("there is no profile {name}"));

    // A root and the issuing CA below it, with keys of the same kind: a chain of three.
    let folder = Folder::of(&config);
    folder.create().unwrap_or_else(|error| panic!("{error}"));
    let passphrase = folder.passphrase().unwrap_or_else(|error| panic!("{error}"));
    let new = |name: &str, parent: Option<&str>| NewCa {
        subject: DistinguishedName::parse(&format!("O=Example,CN={name}"), true).expect("a name"),
        key: key_for(profile.signature),
        alternative: profile.alternative.filter(|_| profile.form == Form::Catalyst).map(key_for),
        validity: Duration::from_secs(10 * 365 * 86400),
        not_before: Timestamp::now() - jiff::SignedDuration::from_hours(1),
        crl_urls: vec!["http://ca.example.net/{key}.crl".into()],
        path_len: Some(u8::from(parent.is_none())),
        parent: parent.map(str::to_owned),
    };
    let cas = dir.join("ca");
    LocalCa::create_ca(&cas, &passphrase, "root", &new("root", None)).expect("a root");
    let issuing = &profile.issuer.ca;
    LocalCa::create_ca(&cas, &passphrase, issuing, &new(issuing, Some("root"))).expect("a CA");
    setup::make(&config).unwrap_or_else(|failed| panic!("{}", failed.message()));
    config
}
