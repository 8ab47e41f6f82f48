//! CAs and the RA are rolled to other keys while devices enroll: every step, over HTTP, with commands beside the running server.

#[allow(dead_code)]
#[path = "ops/harness.rs"]
mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::{Data, Server, good, text, tools};
use ravelin::algorithm::KeyAlgorithm;
use ravelin::scep::client::{Authority, Capabilities, Client, ClientError, CsrSource, DeviceKey, Options, Outcome, Request};
use ravelin::x509::{Certificate, DistinguishedName};
use serde_json::Value;

/// What a certificate file says, by our own reader: it knows more algorithms than the `openssl` command of the day.
fn certificate(data: &Data, name: &str) -> Certificate {
    Certificate::from_pem(&data.read(name)).unwrap()
}

fn signed_by(data: &Data, name: &str) -> String {
    certificate(data, name).signature_algorithm().expect("a known algorithm").to_string()
}

#[track_caller]
fn issue(data: &Data, server: &Server, name: &str) {
    let issued = data.enroll_with(&server.url(), name, "rsa-2048", &[]);
    assert_eq!(issued["status"], "issued", "{issued}\n{}", server.log());
}

#[track_caller]
fn renew(data: &Data, server: &Server, name: &str, to: &str) {
    let (old, key, url) = (data.name(&format!("{name}.crt")), data.name(&format!("{name}.key")), server.url());
    let (next, out) = (data.name(&format!("{to}.key")), data.name(&format!("{to}.crt")));
    let args = ["enroll", &url, "--renew", &old, "--renew-key", &key, "--key", &next, "--key-type", "rsa-2048", "--out", &out];
    let renewed = data.json(&args);
    assert_eq!(renewed["status"], "issued", "{renewed}");
}

/// The generations of a CA by phase, from `rollover status`.
fn phases(data: &Data, ca: &str) -> Vec<(String, Value)> {
    let status = data.json(&["ca", "rollover", "status", ca]);
    let rows = status["cas"][0]["generations"].as_array().unwrap().clone();
    rows.into_iter().map(|row| (row["phase"].as_str().unwrap().to_owned(), row)).collect()
}

fn names(phases: &[(String, Value)]) -> Vec<&str> {
    phases.iter().map(|(phase, _)| phase.as_str()).collect()
}

#[track_caller]
fn refused(data: &Data, args: &[&str]) -> String {
    let done = data.run(args);
    assert!(!done.status.success(), "{args:?}: {}", text(&done.stdout));
    text(&done.stderr)
}

#[test]
fn a_ca_goes_from_p256_to_ml_dsa_65_and_back() {
    let data = Data::copy();
    let server = data.serve(&[], &[]);
    let step = |args: &[&str]| good(data.run(&[&["ca", "rollover"], args].concat()));
    let next = || server.get("/scep/default?operation=GetNextCACert");
    issue(&data, &server, "before");
    assert_eq!(signed_by(&data, "before.crt"), "ecdsa-sha256");
    assert_eq!((names(&phases(&data, "ecdsa-p256")), next().status), (vec!["current"], 404));

    // Prepared, taken back, and prepared again.
    step(&["prepare", "ecdsa-p256"]);
    assert!(data.path("ca/ecdsa-p256/next-key.pem").exists());
    step(&["cancel", "ecdsa-p256"]);
    let left: Vec<_> = std::fs::read_dir(data.path("ca/ecdsa-p256")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("next-")), "{left:?}");
    assert!(refused(&data, &["ca", "rollover", "cancel", "ecdsa-p256"]).contains("no next certificate"));
    assert!(!server.capabilities().contains("GetNextCACert"));
    let told = step(&["prepare", "ecdsa-p256", "--key", "ml-dsa-65"]);
    assert!(told.contains("Profile ecdsa-p256 promises ecdsa-sha256") && told.contains("ml-dsa-65"), "{told}");

    // Announced, signed by the key of today.
    assert!(server.capabilities().contains("GetNextCACert\n"));
    assert_eq!((next().status, next().header("content-type")), (200, Some("application/x-x509-next-ca-cert")));
    assert_eq!(names(&phases(&data, "ecdsa-p256")), ["next", "current"]);
    issue(&data, &server, "during");
    assert_eq!(signed_by(&data, "during.crt"), "ecdsa-sha256");

    // The switch would break a promise: it says which, and changes nothing.
    let why = refused(&data, &["ca", "rollover", "switch", "ecdsa-p256"]);
    for part in ["algorithms/ecdsa-p256.toml", "--profile ecdsa-p256", "Nothing was changed"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    assert!(refused(&data, &["ca", "rollover", "switch", "ecdsa-p256", "--profile", "rsa-sha256"]).contains("another issuer"));
    issue(&data, &server, "still");
    assert_eq!(signed_by(&data, "still.crt"), "ecdsa-sha256");

    // Both at once, without a restart.
    step(&["switch", "ecdsa-p256", "--profile", "ecdsa-p256"]);
    assert!(
        data.read("algorithms/ecdsa-p256.toml").contains("signature   = \"ml-dsa-65\""),
        "{}",
        data.read("algorithms/ecdsa-p256.toml")
    );
    issue(&data, &server, "after");
    assert_eq!(signed_by(&data, "after.crt"), "ml-dsa-65");
    let current = certificate(&data, "ca/ecdsa-p256/certificate.pem");
    certificate(&data, "after.crt").verify_signed_by(current.spki()).unwrap();
    assert!(!server.capabilities().contains("GetNextCACert"));

    // What the earlier key signed is renewed, and its CRL goes on; three certificates depend on it.
    renew(&data, &server, "before", "renewed");
    assert_eq!(signed_by(&data, "renewed.crt"), "ml-dsa-65");
    let found = phases(&data, "ecdsa-p256");
    assert_eq!(names(&found), ["current", "earlier"]);
    assert_eq!((&found[0].1["certificates"], &found[1].1["certificates"]), (&2.into(), &3.into()), "{found:?}");
    let crl = |key: &str| server.get(&format!("/crl/local/ecdsa-p256/{key}.crl")).status;
    let (new_key, old_key) = (found[0].1["key"].as_str().unwrap(), found[1].1["key"].as_str().unwrap());
    assert_eq!((crl(new_key), crl(old_key)), (200, 200));
    let why = refused(&data, &["ca", "rollover", "retire", "ecdsa-p256"]);
    assert!(why.contains("3 certificates of devices") && why.contains("--force"), "{why}");
    let audit = data.json(&["audit", "list"]).to_string();
    assert!(audit.contains("ca.key-changed") && audit.contains(new_key), "{audit}");

    // Back, and forth.
    assert!(refused(&data, &["ca", "rollover", "undo", "ecdsa-p256"]).contains("undo ecdsa-p256 --profile ecdsa-p256"));
    assert_eq!(names(&phases(&data, "ecdsa-p256")), ["current", "earlier"]);
    step(&["undo", "ecdsa-p256", "--profile", "ecdsa-p256"]);
    issue(&data, &server, "back");
    assert_eq!(signed_by(&data, "back.crt"), "ecdsa-sha256");
    assert_eq!((crl(new_key), crl(old_key)), (200, 200));
    renew(&data, &server, "after", "after-back");
    step(&["undo", "ecdsa-p256", "--profile", "ecdsa-p256"]);
    issue(&data, &server, "forth");
    assert_eq!(signed_by(&data, "forth.crt"), "ml-dsa-65");

    // The end of the earlier key.
    let told = step(&["retire", "ecdsa-p256", "--force"]);
    assert!(told.contains(old_key) && told.contains("Left without its CRL"), "{told}");
    assert_eq!((crl(new_key), crl(old_key)), (200, 404));
    assert_eq!(names(&phases(&data, "ecdsa-p256")), ["current", "retired"]);
    assert!(refused(&data, &["ca", "rollover", "undo", "ecdsa-p256", "--profile", "ecdsa-p256"]).contains("retired"));
    renew(&data, &server, "back", "back-renewed");
    good(data.run(&["check-config", "--online"]));
}

#[test]
fn what_was_approved_is_issued_by_the_key_of_the_order() {
    let data = Data::copy();
    data.edit("policies/default.toml", "approval = \"automatic\"", "approval = \"manual\"");
    let server = data.serve(&[], &[]);
    let args = data.enroll_args(&server.url(), "patient", "rsa-2048", &["--poll-interval", "1"]);
    let patient = data.spawn(&args);
    let mut waiting = Value::Null;
    harness::eventually("the request waits", || {
        waiting = data.json(&["pending", "list"]);
        waiting["transactions"].as_array().is_some_and(|all| all.len() == 1)
    });
    let old = certificate(&data, "ca/ecdsa-p256/certificate.pem");
    good(data.run(&["ca", "rollover", "prepare", "ecdsa-p256", "--key", "ml-dsa-65"]));
    good(data.run(&["ca", "rollover", "switch", "ecdsa-p256", "--profile", "ecdsa-p256"]));
    let earlier = phases(&data, "ecdsa-p256").remove(1).1;
    assert_eq!((&earlier["phase"], &earlier["orders"]), (&"earlier".into(), &1.into()));
    assert!(refused(&data, &["ca", "rollover", "retire", "ecdsa-p256"]).contains("1 open orders"));
    let id = waiting["transactions"][0]["id"].as_str().unwrap().to_owned();
    good(data.run(&["pending", "approve", &id]));
    let done = patient.wait_with_output().unwrap();
    assert!(done.status.success(), "{}{}\n{}", text(&done.stdout), text(&done.stderr), server.log());
    // The order was for the P-256 key, and so are the certificate and what comes with it.
    let issued = Certificate::chain_from_pem(&data.read("patient.crt")).unwrap();
    assert_eq!(issued[0].signature_algorithm().unwrap().to_string(), "ecdsa-sha256");
    issued[0].verify_signed_by(old.spki()).unwrap();
}

#[test]
fn cross_certificates_lead_from_either_root_to_either_leaf() {
    if !tools() {
        return;
    }
    let data = Data::copy();
    let server = data.serve(&[], &[]);
    issue(&data, &server, "old");
    data.write("old-root.pem", data.read("ca/ecdsa-p256/certificate.pem"));
    good(data.run(&["ca", "rollover", "prepare", "ecdsa-p256"]));
    good(data.run(&["ca", "rollover", "switch", "ecdsa-p256"]));
    issue(&data, &server, "new");
    data.write("new-root.pem", data.read("ca/ecdsa-p256/certificate.pem"));
    let cross = "ca/ecdsa-p256/previous-1-cross.pem";
    for (root, leaf) in [("old-root.pem", "new.crt"), ("new-root.pem", "old.crt")] {
        let verify = ["verify", "-x509_strict", "-CAfile", root, "-untrusted", cross, leaf];
        let shown = data.openssl(&verify);
        assert!(shown.contains("OK"), "{shown}");
        assert!(!data.try_openssl(&["verify", "-x509_strict", "-CAfile", root, leaf]).status.success(), "only so");
    }
}

#[test]
fn getcacert_brings_both_generations_above_the_ra() {
    let data = Data::copy();
    let server = data.serve(&[], &[]);
    let listed = |endpoint: &str| {
        let answer = server.get(&format!("/scep/{endpoint}?operation=GetCACert"));
        ravelin::scep::certs_only::CertsOnly::read(&answer.body).unwrap().certificates.len()
    };
    assert_eq!(listed("default"), 3);
    good(data.run(&["ca", "rollover", "prepare", "rsa"]));
    assert_eq!(listed("default"), 3);
    good(data.run(&["ca", "rollover", "switch", "rsa"]));
    assert_eq!(listed("default"), 4);
    issue(&data, &server, "device");
    // The RA's own certificates are by the earlier key.
    let why = refused(&data, &["ca", "rollover", "retire", "rsa"]);
    assert!(why.contains("of the RA"), "{why}");
    good(data.run(&["ra", "renew", "--ca", "rsa"]));
    assert_eq!(listed("default"), 4);
    issue(&data, &server, "other");
}

// --- the RA ---

/// A request for a key that only signs: the reply comes under the challenge.
fn request(challenge: &str, name: &str) -> Request {
    Request {
        key: DeviceKey::generate(KeyAlgorithm::EcdsaP256).unwrap(),
        csr: CsrSource::Template {
            subject: DistinguishedName::parse(&format!("CN={name}"), true).unwrap(),
            subject_alt_names: Vec::new(),
            extended_key_usages: Vec::new(),
            key_usage: None,
        },
        challenge: Some(challenge.to_owned().into()),
        renewal: None,
        transport_key: None,
        reply_key: None,
        message_type: None,
        transaction_id: None,
    }
}

/// Challenges, each good once.
struct Challenges(Vec<String>);

impl Challenges {
    fn mint(data: &Data, count: usize) -> Self {
        let minted = data.json(&["challenge", "new", "--group", "default", "--count", &count.to_string()]);
        let all = minted["challenges"].as_array().unwrap();
        Self(all.iter().map(|one| one["challenge"].as_str().unwrap().to_owned()).collect())
    }

    fn next(&mut self) -> String {
        self.0.pop().expect("there are enough of them")
    }
}

/// A device with the GetCACert of some day: it encrypts to what is in there, and takes replies of nobody else.
struct Device<'a> {
    runtime: &'a tokio::runtime::Runtime,
    client: &'a Client,
    capabilities: &'a Capabilities,
}

impl Device<'_> {
    fn enroll(&self, authority: &Arc<Authority>, challenges: &mut Challenges, name: &str) -> Result<Outcome, ClientError> {
        self.runtime.block_on(async {
            let asks = request(&challenges.next(), name);
            let transaction = self.client.prepare_with(asks, Arc::clone(authority), self.capabilities).await?;
            self.client.send(&transaction).await
        })
    }

    #[track_caller]
    fn issued(&self, authority: &Arc<Authority>, challenges: &mut Challenges, name: &str) {
        let outcome = self.enroll(authority, challenges, name);
        assert!(matches!(outcome, Ok(Outcome::Issued(_))), "{name}: {outcome:?}");
    }
}

fn sets(data: &Data) -> Vec<String> {
    let status = data.json(&["ra", "rollover", "status"]);
    status["sets"].as_array().unwrap().iter().map(|set| set["phase"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_ra_rolls_over_while_devices_enroll() {
    let data = Data::copy();
    data.edit("ravelin.toml", "[limits]", "[limits]\nper-source = 1000\nper-source-burst = 1000");
    let server = data.serve(&[], &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let options = Options { timeout: harness::PATIENCE, ..Options::default() };
    let client = Client::new(&server.url(), options).unwrap();
    let get = || Arc::new(runtime.block_on(client.ca_certificates()).unwrap());
    let capabilities = runtime.block_on(client.capabilities()).unwrap();
    let device = Device { runtime: &runtime, client: &client, capabilities: &capabilities };
    let mut challenges = Challenges::mint(&data, 60);
    let step = |args: &[&str]| good(data.run(&[&["ra", "rollover"], args].concat()));

    let old = get();
    device.issued(&old, &mut challenges, "before");
    assert_eq!(sets(&data), ["current"]);
    assert!(refused(&data, &["ra", "rollover", "switch"]).contains("prepare"));

    // Prepared: announced by the CA above, taken back, and announced again.
    step(&["prepare", "--ca", "rsa"]);
    step(&["cancel"]);
    assert_eq!(sets(&data), ["current"]);
    assert_eq!(server.get("/scep/default?operation=GetNextCACert").status, 404);
    step(&["prepare", "--ca", "rsa", "--validity", "10d"]);
    assert_eq!(sets(&data), ["next", "current"]);
    assert!(server.capabilities().contains("GetNextCACert\n"));
    let announced = runtime.block_on(client.next_ca_certificate()).unwrap();
    let next = Arc::new(Authority::new(announced, &[], jiff::Timestamp::now()).unwrap());
    assert_ne!(next.encryption(), old.encryption());
    assert_eq!(get().encryption(), old.encryption(), "not in use yet");
    // Nobody takes a reply that the other set's key signed, so what follows says who signed.
    let known = |authority: &Authority, certificate: &Certificate| authority.signers().contains(&certificate);
    let signer_of = |authority: &Authority| authority.certificates()[0].clone();
    assert!(!known(&old, &signer_of(&next)) && !known(&next, &signer_of(&old)));
    device.issued(&old, &mut challenges, "during-old");
    device.issued(&next, &mut challenges, "during-next");

    // The switch, with twenty enrollments under way all the time: half with what they learned before, half asking anew.
    let running: Vec<_> = (0..20)
        .map(|number| {
            let (client, capabilities, old) = (client.clone(), capabilities.clone(), Arc::clone(&old));
            let challenge = challenges.next();
            runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(40 * number)).await;
                let asks = request(&challenge, &format!("load-{number}"));
                let authority = if number % 2 == 0 { old } else { Arc::new(client.ca_certificates().await?) };
                let transaction = client.prepare_with(asks, authority, &capabilities).await?;
                client.send(&transaction).await
            })
        })
        .collect();
    step(&["switch"]);
    for (number, one) in running.into_iter().enumerate() {
        let outcome = runtime.block_on(one).unwrap();
        assert!(matches!(outcome, Ok(Outcome::Issued(_))), "{number}: {outcome:?}\n{}", server.log());
    }
    assert_eq!(sets(&data), ["current", "earlier"]);
    let new = get();
    assert_eq!((new.encryption(), signer_of(&new)), (next.encryption(), signer_of(&next)));
    for (authority, name) in [(&old, "after-old"), (&next, "after-next"), (&new, "after-new")] {
        device.issued(authority, &mut challenges, name);
    }
    // What is wrong with a message is told by the key that its sender knows, too.
    let wrong = device.enroll(&old, &mut Challenges(vec!["wrong".into()]), "wrong");
    assert!(matches!(wrong, Ok(Outcome::Failed(_))), "{wrong:?}");
    assert!(server.log().contains("\"ra\":\"earlier\""));
    let warnings = data.json(&["status"])["warnings"].to_string();
    assert!(warnings.contains("signing certificate of RA default ends") && warnings.contains("rollover prepare"), "{warnings}");

    // Back and forth, both answered throughout.
    step(&["undo"]);
    assert_eq!(get().encryption(), old.encryption());
    device.issued(&old, &mut challenges, "back-old");
    device.issued(&new, &mut challenges, "back-new");
    step(&["undo"]);
    assert_eq!(get().encryption(), new.encryption());
    device.issued(&old, &mut challenges, "forth-old");
    device.issued(&new, &mut challenges, "forth-new");

    // The end of the earlier keys.
    assert!(refused(&data, &["ra", "rollover", "retire"]).contains("--force"));
    step(&["retire", "--force"]);
    assert_eq!(sets(&data), ["current"]);
    device.issued(&new, &mut challenges, "end-new");
    let late = device.enroll(&old, &mut challenges, "end-old");
    assert!(!matches!(late, Ok(Outcome::Issued(_) | Outcome::Pending)), "{late:?}");
    let left: Vec<_> = std::fs::read_dir(data.path("ra")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
    good(data.run(&["ra", "check"]));
}
