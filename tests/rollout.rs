//! Moving a group from one profile to another: who gets the candidate, when it stops by itself, and how it goes back.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use ravelin::inventory::{SetbackKind, SetbackSearch};
use ravelin::rollout::Phase;
use ravelin::snapshot::Snapshot;
use ravelin::upstream::{Capabilities, IdempotencyKey, IssuanceOrder, Submission, UpstreamCa, UpstreamError};
use ravelin::x509::Certificate;
use support::{Device, ROUTERS, World};

/// Routers on RSA signatures, with ECDSA ones tried as `rollout` says.
fn policy(rollout: &str) -> String {
    let policy = ROUTERS.replace("profile = \"ecdsa-p256\"", "profile = \"rsa-sha256\"");
    format!("{policy}\n[rollout]\ncandidate = \"ecdsa-p256\"\n{rollout}\n")
}

/// Gates that say something after three devices.
const SOON: &str = "gates = { min-devices = 3 }";

async fn enroll(world: &World, name: &str) -> String {
    let challenge = world.challenge("routers").await;
    world.enroll(world.request("routers", &Device::new(name), Some(&challenge))).await
}

/// The profile that a new certificate of this device is of.
async fn enrolled(world: &World, name: &str) -> String {
    let answer = enroll(world, name).await;
    let certificate = world.certificate(&answer).await;
    let record = world.inventory.certificate(&certificate.fingerprint()).await.expect("reads").expect("stored");
    whole(&certificate, &record.profile);
    record.profile
}

/// The signature and the issuer are those of the profile.
fn whole(certificate: &Certificate, profile: &str) {
    let signature = certificate.signature_algorithm().map(|algorithm| algorithm.name());
    let (expected, issuer) = match profile {
        "ecdsa-p256" => ("ecdsa-sha256", "Test CA"),
        "rsa-sha256" => ("rsa-sha256", "Test RSA CA"),
        other => panic!("{other}"),
    };
    assert_eq!(signature, Some(expected), "{profile}");
    assert_eq!(certificate.issuer().common_name(), Some(issuer), "{profile}");
}

async fn phase(world: &World) -> (Phase, String) {
    let report = world.enroller.rollout("routers").await.expect("a rollout");
    (report.phase, report.why.unwrap_or_default())
}

async fn events(world: &World, start: &str) -> Vec<String> {
    let log = world.inventory.audit_log(0, 10_000).await.expect("reads");
    log.into_iter().map(|record| record.event.event).filter(|event| event.starts_with(start)).collect()
}

#[tokio::test]
async fn named_devices_get_the_candidate_and_others_do_not() {
    let rollout = "devices = [\"commonName=r1\", \"commonName=r2\", \"commonName=lab-*\"]";
    let world = World::new(&[("routers", &policy(rollout))]);
    for (name, profile) in
        [("r1", "ecdsa-p256"), ("r3", "rsa-sha256"), ("r2", "ecdsa-p256"), ("lab-7", "ecdsa-p256"), ("r10", "rsa-sha256")]
    {
        assert_eq!(enrolled(&world, name).await, profile, "{name}");
    }
    // The audit says which, and why.
    let log = world.inventory.audit_log(0, 100).await.expect("reads");
    let placed: Vec<_> =
        log.iter().filter(|record| record.event.event == "order.placed").map(|record| &record.event.fields).collect();
    assert_eq!((placed[0]["profile"].as_str(), placed[0]["chosen_by"].as_str()), (Some("ecdsa-p256"), Some("rollout-device")));
    assert_eq!(
        (placed[1]["profile"].as_str(), placed[1]["chosen_by"].as_str()),
        (Some("rsa-sha256"), Some("rollout-not-reached"))
    );
    // What is explained is what happens.
    for (name, profile, code) in [("r1", "ecdsa-p256", "rollout-device"), ("r3", "rsa-sha256", "rollout-not-reached")] {
        let told = world.enroller.explain(&world.request("routers", &Device::new(name), None), true).await.expect("explains");
        assert_eq!((told.profile.as_deref(), told.chosen_by.as_deref()), (Some(profile), Some(code)), "{told:?}");
    }
}

#[tokio::test]
async fn a_percentage_takes_the_same_devices_and_only_adds() {
    let world = World::new(&[("routers", &policy("percent = 50"))]);
    let reached = async |percent: u32| {
        world.change_policy("routers", &policy(&format!("percent = {percent}")));
        let mut reached = BTreeSet::new();
        for number in 0..200 {
            let name = format!("r{number}");
            let told =
                world.enroller.explain(&world.request("routers", &Device::new(&name), None), true).await.expect("explains");
            if told.profile.as_deref() == Some("ecdsa-p256") {
                reached.insert(name);
            }
        }
        reached
    };
    let (few, some, again, all) = (reached(10).await, reached(40).await, reached(40).await, reached(100).await);
    assert!((8..=35).contains(&few.len()) && (55..=105).contains(&some.len()), "{} {}", few.len(), some.len());
    assert!(few.is_subset(&some));
    assert_eq!(some, again);
    assert_eq!(all.len(), 200);
}

#[tokio::test]
async fn a_ring_begins_on_its_date() {
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let rollout = format!("rings = [{{ from = \"{tomorrow}\", percent = 100 }}]");
    let world = World::new(&[("routers", &policy(&rollout))]);
    assert_eq!(enrolled(&world, "r1").await, "rsa-sha256");
    let report = world.enroller.rollout("routers").await.expect("a rollout");
    assert_eq!((report.percent.as_str(), report.next_ring), ("0 %", Some(tomorrow)));
    world.clock.forward(24 * 3600 + 60);
    assert_eq!(enrolled(&world, "r2").await, "ecdsa-p256");
    let report = world.enroller.rollout("routers").await.expect("a rollout");
    assert_eq!((report.percent.as_str(), report.next_ring, report.rings[0].begun), ("100 %", None, true));
    assert_eq!((report.certificates["rsa-sha256"], report.certificates["ecdsa-p256"]), (1, 1));
}

/// A candidate that takes RSA keys only, which these devices do not have.
fn pick_a_bad_candidate(world: &World, rollout: &str) {
    let profile =
        "accepts = [\"rsa-2048..4096\"]\nsignature = \"ecdsa-sha256\"\nissuer = { upstream = \"local\", ca = \"ecdsa-p256\" }\n";
    std::fs::write(world.folder.path().join("algorithms/picky.toml"), profile).expect("written");
    world.change_policy("routers", &policy(rollout).replace("candidate = \"ecdsa-p256\"", "candidate = \"picky\""));
}

#[tokio::test]
async fn a_gate_trips_by_refusals_and_the_next_request_gets_the_incumbent() {
    let world = World::new(&[("routers", &policy("percent = 100"))]);
    pick_a_bad_candidate(&world, &format!("devices = [\"commonName=new-*\"]\n{SOON}"));
    assert_eq!(enrolled(&world, "r1").await, "rsa-sha256");
    for name in ["new-1", "new-2"] {
        assert_eq!(enroll(&world, name).await, "refused key-not-accepted");
    }
    // One device that asks again and again is one device.
    assert_eq!(enroll(&world, "new-2").await, "refused key-not-accepted");
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 0);
    assert_eq!(phase(&world).await.0, Phase::Running);

    let challenge = world.challenge("routers").await;
    let stubborn = world.request("routers", &Device::new("new-3"), Some(&challenge));
    assert_eq!(world.enroll(stubborn.clone()).await, "refused key-not-accepted");
    assert_eq!(world.enroll(stubborn.clone()).await, "refused key-not-accepted");
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 1);
    let (phase_now, why) = phase(&world).await;
    assert_eq!(phase_now, Phase::Halted);
    assert!(why.starts_with("refusals: 3 of 3 devices were refused"), "{why}");
    for name in ["new-4", "new-1"] {
        assert_eq!(enrolled(&world, name).await, "rsa-sha256");
    }
    // A device that only ever sends the same message again is not stuck with its refusal.
    let answer = world.enroll(stubborn.clone()).await;
    let certificate = world.certificate(&answer).await;
    whole(&certificate, "rsa-sha256");
    assert_eq!(world.enroll(stubborn).await, answer);
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 0, "it trips once");
    assert_eq!(events(&world, "rollout.").await, ["rollout.halted"]);
    let report = world.enroller.rollout("routers").await.expect("a rollout");
    let devices: BTreeSet<_> = report.setbacks.iter().map(|one| (one.device.as_str(), one.code.as_str(), one.count)).collect();
    let refused = "key-not-accepted";
    assert_eq!(
        devices,
        BTreeSet::from([("commonName=new-1", refused, 1), ("commonName=new-2", refused, 2), ("commonName=new-3", refused, 1)])
    );

    // It is still so after a restart, until somebody goes on; what was before does not count again then.
    let world = world.restart();
    assert_eq!(phase(&world).await.0, Phase::Halted);
    assert_eq!(enrolled(&world, "new-5").await, "rsa-sha256");
    world.clock.forward(1);
    world.enroller.change_rollout("routers", Phase::Running, "keys were replaced", "ada").await.expect("resumes");
    assert_eq!(enroll(&world, "new-6").await, "refused key-not-accepted");
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 0);
    assert_eq!(phase(&world).await, (Phase::Running, "keys were replaced".to_owned()));
    let again = world.enroller.change_rollout("routers", Phase::Running, "", "ada").await;
    assert_eq!(again.expect_err("it runs").to_string(), "the rollout of group \"routers\" is running already");
    assert_eq!(events(&world, "rollout.").await, ["rollout.halted", "rollout.resumed"]);
}

/// Whoever is refused before it is let in says nothing about the candidate.
#[tokio::test]
async fn strangers_trip_no_gate() {
    let world = World::new(&[("routers", &policy(&format!("percent = 100\n{SOON}")))]);
    for number in 0..5 {
        let answer = world.enroll(world.request("routers", &Device::new(&format!("r{number}")), Some("guessed"))).await;
        assert_eq!(answer, "refused challenge-wrong");
    }
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 0);
    assert!(world.enroller.rollout("routers").await.expect("a rollout").figures.is_empty());
}

#[tokio::test]
async fn devices_that_come_back_roll_it_back() {
    let rollout =
        "percent = 100\ngates = { min-devices = 3, returns = { within = \"1h\", more-than = \"50%\" }, on-trip = \"roll-back\" }";
    let world = World::new(&[("routers", &policy(rollout))]);
    for name in ["r1", "r2", "r3"] {
        assert_eq!(enrolled(&world, name).await, "ecdsa-p256");
    }
    world.clock.forward(60);
    assert_eq!(enrolled(&world, "r1").await, "ecdsa-p256");
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 0);
    // The third of three is back an hour later than soon.
    assert_eq!(enrolled(&world, "r2").await, "ecdsa-p256");
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 1);
    let (phase_now, why) = phase(&world).await;
    assert_eq!(phase_now, Phase::RolledBack);
    assert!(why.starts_with("returns: 2 of 3 devices came back for another certificate"), "{why}");
    // Everybody is back on the incumbent, whatever it had.
    for name in ["r3", "r4"] {
        assert_eq!(enrolled(&world, name).await, "rsa-sha256");
    }
    assert_eq!(events(&world, "rollout.").await, ["rollout.rolled-back"]);
}

#[tokio::test]
async fn a_halted_rollout_takes_nobody_back() {
    let world = World::new(&[("routers", &policy("devices = [\"commonName=r1\", \"commonName=r2\"]"))]);
    assert_eq!(enrolled(&world, "r1").await, "ecdsa-p256");
    world.enroller.change_rollout("routers", Phase::Halted, "", "ada").await.expect("halts");
    assert_eq!(enrolled(&world, "r1").await, "ecdsa-p256", "it has one already");
    assert_eq!(enrolled(&world, "r2").await, "rsa-sha256", "it has none yet");
    world.enroller.change_rollout("routers", Phase::RolledBack, "", "ada").await.expect("rolls back");
    assert_eq!(enrolled(&world, "r1").await, "rsa-sha256");
    world.enroller.change_rollout("routers", Phase::Running, "", "ada").await.expect("resumes");
    assert_eq!(enrolled(&world, "r2").await, "ecdsa-p256");
}

/// The embedded CA, with one CA that is out of order.
struct OutOfOrder(Arc<dyn UpstreamCa>);

#[async_trait]
impl UpstreamCa for OutOfOrder {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn capabilities(&self, ca: &str) -> Option<Capabilities> {
        self.0.capabilities(ca)
    }
    async fn submit(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        match order.issuer.ca.as_str() {
            "ecdsa-p256" => Submission::Rejected { reason: "the HSM is gone".into() },
            _ => self.0.submit(order, key).await,
        }
    }
    async fn poll(&self, order: &IssuanceOrder, reference: &str) -> Submission {
        self.0.poll(order, reference).await
    }
    fn chain(&self, ca: &str) -> Option<Arc<[Arc<Certificate>]>> {
        self.0.chain(ca)
    }
    async fn health(&self) -> Result<(), UpstreamError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_issuer_that_fails_trips_its_gate() {
    let world = World::new(&[("routers", &policy(&format!("devices = [\"commonName=new-*\"]\n{SOON}")))]);
    let old = world.snapshot.load_full();
    let local: Arc<dyn UpstreamCa> = Arc::new(OutOfOrder(Arc::clone(&old.upstreams["local"])));
    world.snapshot.store(Arc::new(Snapshot {
        generation: old.generation + 1,
        digest: old.digest,
        loaded_at: old.loaded_at,
        endpoints: old.endpoints.clone(),
        groups: old.groups.clone(),
        profiles: old.profiles.clone(),
        upstreams: [("local".to_owned(), local)].into(),
        ra: Arc::clone(&old.ra),
        ras: old.ras.clone(),
        patience: old.patience,
        most_waiting: old.most_waiting,
        renewal_issuers: old.renewal_issuers.clone(),
    }));
    for name in ["new-1", "new-2", "new-3"] {
        assert_eq!(enroll(&world, name).await, "refused upstream-rejected");
    }
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 1);
    assert!(phase(&world).await.1.starts_with("upstream-errors: 3 of 3 devices"));
    assert_eq!(enrolled(&world, "new-4").await, "rsa-sha256");
    let search = SetbackSearch { group: "routers".into(), profile: None, since: jiff::Timestamp::UNIX_EPOCH, limit: 10 };
    let setbacks = world.inventory.setbacks(&search).await.expect("reads");
    assert!(setbacks.len() == 3 && setbacks.iter().all(|one| one.kind == SetbackKind::UpstreamError), "{setbacks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_mixes_two_profiles_while_they_are_swapped() {
    let world = Arc::new(World::new(&[("routers", &policy("percent = 50"))]));
    let texts = [
        ROUTERS.to_owned(),
        policy("percent = 100"),
        policy("percent = 0\ndevices = [\"commonName=*1\"]"),
        policy("percent = 50"),
    ];
    let snapshots = texts.map(|text| {
        world.change_policy("routers", &text);
        world.snapshot.load_full()
    });
    let done = Arc::new(AtomicBool::new(false));
    let flipper = {
        let (world, done) = (Arc::clone(&world), Arc::clone(&done));
        tokio::spawn(async move {
            let mut flips = 0;
            while !done.load(Ordering::Relaxed) {
                world.snapshot.store(Arc::clone(&snapshots[flips % snapshots.len()]));
                flips += 1;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            flips
        })
    };
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..6 {
        let world = Arc::clone(&world);
        tasks.spawn(async move {
            let mut profiles = Vec::new();
            for number in 0..12 {
                profiles.push(enrolled(&world, &format!("d{lane}-{number}")).await);
            }
            profiles
        });
    }
    let profiles: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    done.store(true, Ordering::Relaxed);
    let flips = flipper.await.expect("flips");
    assert_eq!(profiles.len(), 72);
    let distinct: BTreeSet<_> = profiles.iter().collect();
    assert!(distinct.len() == 2 && flips > 20, "{distinct:?} after {flips} flips");
    // The order that was written before the CA was asked is of the same profile as the certificate.
    for record in world.inventory.certificates(&Default::default()).await.expect("reads") {
        let transaction = world.inventory.transaction(record.transaction).await.expect("reads").expect("stored");
        let order: serde_json::Value = serde_json::from_str(&transaction.order.expect("an order")).expect("JSON");
        assert_eq!(order["profile"], record.profile.as_str());
    }
}
