//! The RA's keys and certificates from the first to the next ones.

use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::algorithm::{Form, IssuerRef, KeyTransport};
use crate::crypto::ra::RaPhase;
use crate::crypto::{CryptoPool, RecipientKey};
use crate::upstream::local::{LocalCa, NewCa};
use crate::upstream::{IdempotencyKey, IssuanceOrder, Submission, UpstreamCa};
use crate::x509::{DistinguishedName, KeyUsage, VerifiedCsr};

const PASSPHRASE: &str = "a passphrase for tests";
const DAY: Duration = Duration::from_secs(86_400);

/// A CA (P-256 issuing below an RSA root), a folder for the RA, and the time.
struct Site {
    dir: TempDir,
    ca: LocalCa,
    store: RaStore,
    now: Timestamp,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let new = |subject: &str, key, parent: Option<&str>| NewCa {
            subject: DistinguishedName::parse(subject, true).unwrap(),
            key,
            alternative: None,
            not_before: now - DAY,
            validity: 3650 * DAY,
            crl_urls: Vec::new(),
            path_len: None,
            parent: parent.map(str::to_owned),
        };
        let cas = dir.path().join("ca");
        let create = |name: &str, ca: NewCa| LocalCa::create_ca(&cas, PASSPHRASE, name, &ca).unwrap();
        create("root", new("CN=Root", KeyAlgorithm::EcdsaP384, None));
        create("devices", new("CN=Devices", KeyAlgorithm::EcdsaP256, Some("root")));
        let ca = LocalCa::load("local", &cas, PASSPHRASE, CryptoPool::start(1, 4)).unwrap();
        let store = RaStore::new(dir.path().join("ra"), PASSPHRASE);
        Site { dir, ca, store, now }
    }

    fn subjects(&self) -> RaSubjects {
        RaSubjects::named("Test").unwrap()
    }

    fn self_made(&self) -> Result<RaIdentity, RaError> {
        self.store.self_made(&self.ca, "devices", &self.subjects(), self.now - DAY, 365 * DAY, self.now)
    }

    fn chain(&self) -> Vec<Certificate> {
        self.ca.chain("devices").unwrap().iter().map(|c| Certificate::clone(c)).collect()
    }

    /// Plays the CA outside: certifies a key under a name.
    fn certify(&self, spki: &[u8], key: KeyAlgorithm, usage: KeyUsage, from: Timestamp, to: Timestamp) -> Certificate {
        let order = IssuanceOrder {
            group: String::new(),
            rule: String::new(),
            profile: String::new(),
            form: Form::Single,
            signature: self.ca.preferred_signature("devices").unwrap(),
            issuer: IssuerRef { upstream: "local".into(), ca: "devices".into() },
            issuer_key: None,
            failover: Vec::new(),
            spread: false,
            alternative: None,
            sibling: None,
            related: None,
            csr: Vec::new(),
            spki: spki.to_vec(),
            key,
            alternative_spki: Vec::new(),
            subject: DistinguishedName::parse("CN=From outside", true).unwrap().der().to_vec(),
            subject_alt_names: Vec::new(),
            key_usage: usage,
            extended_key_usages: Vec::new(),
            allowed: None,
            extensions: Default::default(),
            not_before: from,
            not_after: to,
            device: None,
            renews: None,
            snapshot: String::new(),
        };
        match self.ca.issue(&order, &IdempotencyKey(provider().random())) {
            Submission::Issued { certificate, .. } => Certificate::clone(&certificate),
            other => panic!("{other:?}"),
        }
    }

    fn certify_request(&self, request: &[u8]) -> Certificate {
        let request = VerifiedCsr::from_der(request).unwrap();
        let usage = request.key_usage().unwrap();
        self.certify(request.spki(), request.key(), usage, self.now - DAY, self.now + 100 * DAY)
    }
}

/// What is encrypted to the certificate of a decrypter is opened by its key.
fn opens(decrypter: &RaDecrypter) {
    let sealed = provider().transport.wrap_key(KeyTransport::Pkcs1v15, decrypter.certificate.spki(), &[5; 16]).unwrap();
    let RecipientKey::Transport(key) = &decrypter.key else { panic!("an RSA key") };
    assert_eq!(*key.unwrap_key(KeyTransport::Pkcs1v15, &sealed, 16).unwrap(), [5; 16]);
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|f| f.code).collect()
}

#[test]
fn a_local_ca_makes_two_certificates() {
    let site = Site::new();
    assert!(!site.store.exists());
    assert!(matches!(site.store.load(), Err(RaError::NoIdentity { .. })));
    assert!(matches!(site.self_made(), Err(RaError::NoKeys { .. })));
    site.store.create_keys(RaKeys::default()).unwrap();
    assert!(matches!(site.store.create_keys(RaKeys::default()), Err(RaError::KeysWaiting { .. })));
    site.self_made().unwrap();

    let ra = load(&site.dir.path().join("ra"), PASSPHRASE).unwrap();
    assert!(site.store.exists() && !site.store.has_waiting_keys() && !ra.is_single());
    assert_eq!(ra.signer_certificate.subject().common_name(), Some("Test RA signing"));
    assert_eq!(ra.signer_certificate.key_usage(), Some(KeyUsage::DIGITAL_SIGNATURE));
    assert_eq!(ra.decrypter().certificate.subject().common_name(), Some("Test RA encryption"));
    assert_eq!(ra.decrypter().certificate.key_usage(), Some(KeyUsage::KEY_ENCIPHERMENT));
    assert_eq!(ra.chain.iter().map(|c| c.subject().to_string()).collect::<Vec<_>>(), ["CN=Devices", "CN=Root"]);
    assert_eq!(check(&ra, site.now, 30 * DAY), []);
    opens(ra.decrypter());
    let algorithm = ra.signer.algorithms()[0];
    let signature = ra.signer.sign(algorithm, b"reply").unwrap();
    provider().verifier.verify(algorithm, ra.signer_certificate.spki(), b"reply", &signature).unwrap();

    let own = &ra.decrypter().certificate;
    assert!(ra.decrypter_by_serial(own.issuer().der(), own.serial()).is_some());
    assert!(ra.decrypter_by_serial(own.subject().der(), own.serial()).is_none());
    assert!(ra.decrypter_by_key_identifier(&own.subject_key_identifier().unwrap()).is_some());
    let signers = ra.signer_certificate.subject_key_identifier().unwrap();
    assert!(ra.decrypter_by_key_identifier(&signers).is_none());
    #[cfg(unix)]
    for key in ["signer.key.pem", "decrypter.key.pem"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(site.store.dir.join(key)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn what_a_local_ca_makes_satisfies_openssl() {
    let site = Site::new();
    site.store.create_keys(RaKeys::default()).unwrap();
    let requests = site.store.requests(&site.subjects()).unwrap();
    let ra = site.self_made().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = site.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let root = file("root.pem", ra.chain[1].to_pem().as_bytes());
    let devices = file("devices.pem", ra.chain[0].to_pem().as_bytes());
    for (name, certificate, request) in [
        ("signer", &ra.signer_certificate, &requests.signer),
        ("decrypter", &ra.decrypter().certificate, requests.decrypter.as_ref().unwrap()),
    ] {
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-x509_strict", "-CAfile"]).arg(&root).arg("-untrusted").arg(&devices);
        let Ok(said) = verify.arg(file(&format!("{name}.pem"), certificate.to_pem().as_bytes())).output() else {
            println!("skipped: no openssl command here");
            return;
        };
        assert!(said.status.success(), "{said:?}");
        let request = file(&format!("{name}.csr"), request);
        let said =
            Command::new("openssl").args(["req", "-verify", "-noout", "-inform", "DER", "-in"]).arg(request).output().unwrap();
        // Older versions end with success whatever they found.
        assert!(String::from_utf8_lossy(&said.stderr).contains("verify OK"), "{said:?}");
    }
}

#[test]
fn renewal_keeps_what_devices_encrypt_to() {
    let site = Site::new();
    site.store.create_keys(RaKeys::default()).unwrap();
    let first = site.self_made().unwrap();
    let renew = |fresh| site.store.renew(&site.ca, "devices", fresh, site.now - DAY, 365 * DAY, site.now).unwrap();

    let same = renew(None);
    assert_eq!(same.signer.spki(), first.signer.spki());
    assert_ne!(same.decrypter().certificate, first.decrypter().certificate);
    assert_eq!(same.decrypters.len(), 2, "the same key, under the serial numbers of both certificates");

    let fresh = renew(Some(RaKeys::default()));
    assert_ne!(fresh.signer.spki(), first.signer.spki());
    assert_eq!(fresh.signer_certificate.subject(), first.signer_certificate.subject());
    let known: Vec<_> = fresh.decrypters.iter().map(|d| Arc::clone(&d.certificate)).collect();
    let newest = fresh.decrypter().certificate.clone();
    assert_eq!(known, [newest, same.decrypter().certificate.clone(), first.decrypter().certificate.clone()]);
    fresh.decrypters.iter().for_each(opens);
    for earlier in [&same, &first] {
        let certificate = &earlier.decrypter().certificate;
        opens(fresh.decrypter_by_serial(certificate.issuer().der(), certificate.serial()).unwrap());
    }

    // One certificate for both, and back.
    let single = renew(Some(RaKeys::Single { bits: 2048 }));
    assert!(single.is_single());
    assert_eq!(single.decrypters.len(), 4);
    single.decrypters.iter().for_each(opens);
    assert_eq!(codes(&check(&single, site.now, 30 * DAY)), ["ra-key-shared"]);
    let pair = renew(Some(RaKeys::default()));
    assert!(!pair.is_single());
    assert_eq!(pair.decrypters[1].certificate, single.signer_certificate);
    pair.decrypters.iter().for_each(opens);
    assert_eq!(check(&pair, site.now, 30 * DAY), []);
}

#[test]
fn earlier_ones_go_when_they_have_ended() {
    let site = Site::new();
    site.store.create_keys(RaKeys::default()).unwrap();
    let make =
        |now: Timestamp, validity| site.store.self_made(&site.ca, "devices", &site.subjects(), now - DAY, validity, now).unwrap();
    make(site.now, 3 * DAY);
    make(site.now, 100 * DAY);
    let third = make(site.now + 10 * DAY, 100 * DAY);
    // The first has ended; the second is still good.
    assert_eq!(third.decrypters.len(), 2);
    assert!(third.decrypters.iter().all(|d| d.certificate.not_after() > site.now + 10 * DAY));
    assert!(!site.store.dir.join("decrypter-1.key.pem").exists());
    // The one in use is kept even if it has ended.
    let late = make(site.now + 200 * DAY, 100 * DAY);
    assert_eq!(late.decrypters.len(), 2);
    assert_eq!(late.decrypters[1].certificate, third.decrypters[0].certificate);
}

#[test]
fn a_ca_outside_certifies_requests() {
    let site = Site::new();
    site.store.create_keys(RaKeys::default()).unwrap();
    let requests = site.store.requests(&site.subjects()).unwrap();
    let signer = site.certify_request(&requests.signer);
    let decrypter = site.certify_request(requests.decrypter.as_ref().unwrap());
    assert_eq!(signer.key_usage(), Some(KeyUsage::DIGITAL_SIGNATURE));

    // In any order, with more than is needed.
    let mut chain = site.chain();
    chain.reverse();
    chain.push(signer.clone());
    let ra = site.store.install(signer.clone(), Some(decrypter.clone()), chain, site.now).unwrap();
    assert_eq!(*ra.signer_certificate, signer);
    assert_eq!(ra.chain.len(), 2);
    assert_eq!(ra.chain[0].subject().to_string(), "CN=Devices");
    assert_eq!(check(&ra, site.now, 30 * DAY), []);

    // New keys wait; what still comes for those in use is taken for those.
    site.store.create_keys(RaKeys::default()).unwrap();
    let ra = site.store.install(signer.clone(), Some(decrypter), site.chain(), site.now).unwrap();
    assert_eq!(*ra.signer_certificate, signer);
    assert!(site.store.has_waiting_keys());
    assert!(matches!(site.store.renew(&site.ca, "devices", None, site.now, DAY, site.now), Err(RaError::KeysWaiting { .. })));
    site.store.discard_waiting_keys().unwrap();
    assert!(!site.store.has_waiting_keys());
}

#[test]
fn mistakes_are_refused_and_named() {
    let site = Site::new();
    let (now, usage) = (site.now, KeyUsage::DIGITAL_SIGNATURE);
    assert!(matches!(site.store.create_keys(RaKeys::Pair { bits: 1024 }), Err(RaError::UnsuitableSize { bits: 1024 })));
    site.store.create_keys(RaKeys::default()).unwrap();
    let requests = site.store.requests(&site.subjects()).unwrap();
    let own = VerifiedCsr::from_der(&requests.signer).unwrap();
    let signer = site.certify_request(&requests.signer);
    let decrypter = site.certify_request(requests.decrypter.as_ref().unwrap());
    let install = |signer: &Certificate, decrypter: &Certificate, chain: Vec<Certificate>| {
        site.store.install(signer.clone(), Some(decrypter.clone()), chain, now).err().expect("a refusal")
    };
    let own_key = |usage, from, to| site.certify(own.spki(), own.key(), usage, from, to);

    let exchanged = install(&decrypter, &signer, site.chain());
    assert!(matches!(exchanged, RaError::KeyMismatch { role: Role::Signer, .. }));
    assert!(exchanged.to_string().contains("exchanged"), "{exchanged}");
    let foreign = provider().keys.generate(KeyAlgorithm::Rsa(2048)).unwrap();
    let foreign = site.certify(foreign.spki(), foreign.key(), KeyUsage::KEY_ENCIPHERMENT, now - DAY, now + DAY);
    assert!(matches!(install(&signer, &foreign, site.chain()), RaError::KeyMismatch { role: Role::Decrypter, .. }));
    assert!(matches!(install(&signer, &signer, site.chain()), RaError::SharedKey));
    let one = site.store.install(signer.clone(), None, site.chain(), now).err().unwrap();
    assert!(matches!(one, RaError::WrongCount { keys: 2, certificates: 1 }));

    let useless = own_key(KeyUsage::NON_REPUDIATION, now - DAY, now + DAY);
    let refused = install(&useless, &decrypter, site.chain());
    assert!(matches!(refused, RaError::MissingKeyUsage { role: Role::Signer, missing: "digitalSignature" }), "{refused}");
    assert!(matches!(install(&own_key(usage, now - DAY, now), &decrypter, site.chain()), RaError::Expired { .. }));
    assert!(matches!(install(&own_key(usage, now + DAY, now + 2 * DAY), &decrypter, site.chain()), RaError::NotYetValid { .. }));

    let no_chain = install(&signer, &decrypter, Vec::new());
    assert!(matches!(&no_chain, RaError::NoIssuer { issuer, .. } if issuer == "CN=Devices"), "{no_chain}");
    let other = Site::new();
    assert!(matches!(install(&signer, &decrypter, other.chain()), RaError::BrokenChain { .. }), "same names, other keys");
    assert!(!site.store.exists(), "nothing was installed");

    // An EC key, which no device can encrypt to: the store would not make it, so it is put there.
    let ec = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    keystore::write_key(&site.store.dir.join("next-signer.key.pem"), &ec.export_pkcs8().unwrap(), PASSPHRASE).unwrap();
    let signer = site.certify(ec.spki(), ec.key(), usage, now - DAY, now + DAY);
    assert!(matches!(install(&signer, &decrypter, site.chain()), RaError::NotRsa { role: Role::Signer }));
}

#[test]
fn an_installation_that_was_broken_off_is_ended() {
    let site = Site::new();
    site.store.create_keys(RaKeys::default()).unwrap();
    let old = site.self_made().unwrap();
    site.store.create_keys(RaKeys::default()).unwrap();
    let saved = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    let new = site.self_made().unwrap();
    let before = |name: &str| fs::read(site.store.dir.join(name)).unwrap();

    // Lay the folder out as it is at the moment that counts, and break the moving off after each file.
    for moved in 0..=5 {
        let dir = saved.path().join(format!("ra-{moved}"));
        copy(&site.store.dir, &dir);
        let incoming = dir.join("incoming");
        files::create_private_dir(&incoming).unwrap();
        // The order in which `finish` moves.
        let order = ["decrypter.key.pem", "signer.key.pem", "decrypter.pem", "signer.pem", "chain.pem"];
        for (position, name) in order.iter().enumerate() {
            if position >= moved {
                fs::rename(dir.join(name), incoming.join(name)).unwrap();
                // In its place is what was there before.
                let earlier = match *name {
                    "decrypter.key.pem" => Some("decrypter-1.key.pem"),
                    "decrypter.pem" => Some("decrypter-1.pem"),
                    _ => None,
                };
                if let Some(earlier) = earlier {
                    fs::copy(dir.join(earlier), dir.join(name)).unwrap();
                }
            }
        }
        fs::write(dir.join("next-signer.key.pem"), before("signer.key.pem")).unwrap();
        fs::write(dir.join("next-decrypter.key.pem"), before("decrypter.key.pem")).unwrap();

        let store = RaStore::new(&dir, PASSPHRASE);
        assert!(store.exists());
        let loaded = store.load().unwrap();
        assert_eq!(loaded.signer_certificate, new.signer_certificate);
        assert_eq!(loaded.decrypter().certificate, new.decrypter().certificate);
        assert_eq!(loaded.decrypters[1].certificate, old.decrypter().certificate);
        assert_eq!(check(&loaded, site.now, 30 * DAY), []);
        assert!(!store.has_waiting_keys() && !incoming.exists());
    }
}

#[test]
fn findings_name_what_keeps_devices_away() {
    let site = Site::new();
    site.store.create_keys(RaKeys::default()).unwrap();
    let good = site.self_made().unwrap();
    let found = |change: &dyn Fn(&mut RaIdentity)| {
        let mut identity = good.clone();
        change(&mut identity);
        codes(&check(&identity, site.now, 30 * DAY))
    };
    let with = |usage, from: Timestamp, to: Timestamp| {
        let certificate = &good.signer_certificate;
        Arc::new(site.certify(certificate.spki(), certificate.key().unwrap(), usage, from, to))
    };
    let (now, signs) = (site.now, KeyUsage::DIGITAL_SIGNATURE);

    assert_eq!(found(&|ra| ra.signer_certificate = with(signs, now - DAY, now + 20 * DAY)), ["ra-certificate-expires"]);
    assert_eq!(found(&|ra| ra.signer_certificate = with(signs, now - DAY, now)), ["ra-certificate-expired"]);
    assert_eq!(found(&|ra| ra.signer_certificate = with(signs, now + DAY, now + 90 * DAY)), ["ra-certificate-not-yet-valid"]);
    // C03: without the usage, macOS encrypts to the CA.
    let useless = with(KeyUsage::NON_REPUDIATION, now - DAY, now + 90 * DAY);
    assert_eq!(found(&|ra| ra.signer_certificate = Arc::clone(&useless)), ["ra-key-usage"]);
    let both = with(signs.union(KeyUsage::KEY_ENCIPHERMENT), now - DAY, now + 90 * DAY);
    assert_eq!(found(&|ra| ra.signer_certificate = Arc::clone(&both)), ["ra-key-usage-ambiguous"]);
    // R02: one key under two certificates.
    let encrypts = with(KeyUsage::KEY_ENCIPHERMENT, now - DAY, now + 90 * DAY);
    assert_eq!(found(&|ra| ra.decrypters[0].certificate = Arc::clone(&encrypts)), ["ra-key-shared"]);
    assert_eq!(found(&|ra| ra.chain.clear()), ["ra-chain-missing"]);
    assert_eq!(found(&|ra| drop(ra.chain.remove(0))), ["ra-chain-broken", "ra-chain-broken"]);
    // E06: the key of a CA.
    let root = Arc::clone(&good.chain[1]);
    assert!(found(&|ra| ra.signer_certificate = Arc::clone(&root)).contains(&"ra-key-is-ca"));
}

#[test]
fn sha_1_is_found() {
    let site = Site::new();
    site.store.create_keys(RaKeys::default()).unwrap();
    let mut identity = site.self_made().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1", "-days", "365", "-subj", "/CN=Old"])
        .args(["-addext", "keyUsage=critical,digitalSignature", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    if !made.is_ok_and(|o| o.status.success()) {
        println!("skipped: no openssl command here that signs with SHA-1");
        return;
    }
    identity.signer_certificate = Arc::new(Certificate::from_pem(&fs::read_to_string(certificate).unwrap()).unwrap());
    let found = codes(&check(&identity, site.now + DAY, 30 * DAY));
    assert_eq!(found, ["ra-signature-weak", "ra-chain-broken"]);
}

/// A single certificate is a set too, and so is one with an ML-KEM key: each signs the replies to what is encrypted to it.
#[test]
fn sets_of_every_kind_roll_over() {
    let pair = RaKeys::Encapsulation { signer: KeyAlgorithm::MlDsa44, recipient: MlKem::MlKem512 };
    for (first, next) in [(RaKeys::Single { bits: 2048 }, RaKeys::Pair { bits: 2048 }), (pair, pair)] {
        let site = Site::new();
        site.store.create_keys(first).unwrap();
        let old = site.self_made().unwrap();
        assert!(matches!(site.store.switch(site.now), Err(RaError::NotPrepared)));
        assert!(matches!(site.store.undo(site.now), Err(RaError::NoEarlier)));

        let prepare = || site.store.prepare_by(&site.ca, "devices", next, site.now - DAY, 100 * DAY, site.now);
        let prepared = prepare().unwrap();
        assert_eq!(prepared.signer_certificate, old.signer_certificate);
        let coming = prepared.rollover.next.clone().unwrap();
        assert_eq!(*prepared.signer_for(Some(&coming.decrypter)).1, coming.signer);
        assert_eq!(prepared.phase_of(&coming.decrypter), RaPhase::Next);
        assert!(matches!(prepare(), Err(RaError::KeysWaiting { .. })));
        site.store.cancel().unwrap();
        assert!(site.store.load().unwrap().rollover.next.is_none() && !site.store.has_waiting_keys());

        let coming = prepare().unwrap().rollover.next.unwrap();
        site.store.switch(site.now).unwrap();
        for (sets, check) in [(2, &coming), (2, &coming)] {
            let ra = site.store.load().unwrap();
            assert_eq!((&ra.signer_certificate, &ra.decrypter().certificate), (&check.signer, &check.decrypter));
            assert_eq!((ra.decrypters.len(), site.store.sets().unwrap().len(), ra.rollover.next.is_none()), (sets, sets, true));
            let before = &old.decrypter().certificate;
            assert_eq!(*ra.signer_for(Some(before)).1, old.signer_certificate);
            assert_eq!((ra.phase_of(before), ra.phase_of(&check.decrypter)), (RaPhase::Earlier, RaPhase::Current));
            // What signs is the key of the certificate.
            let (signer, certificate) = ra.signer_for(Some(before));
            assert!(same_key(signer.spki(), certificate.spki()));
            // There and back again.
            let back = site.store.undo(site.now).unwrap();
            assert_eq!((&back.signer_certificate, back.decrypter().certificate.der()), (&old.signer_certificate, before.der()));
            assert_eq!(back.is_single(), old.is_single());
            site.store.undo(site.now).unwrap();
        }
        assert_eq!(site.store.retire(Some(site.now - DAY)).unwrap(), 0);
        assert!(site.store.retire(None).unwrap() >= 1);
        let ra = site.store.load().unwrap();
        assert_eq!((ra.decrypters.len(), ra.rollover.signers.len()), (1, 0));
        assert_eq!(ra.signer_certificate, coming.signer);
    }
}
