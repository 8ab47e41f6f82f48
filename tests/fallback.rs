//! Fallback: over the budget of its profile, or because a device has shown that it cannot digest it, a device gets the next rung of the
//! ladder, never one below the deadline of its group.

mod support;

use std::path::Path;
use std::sync::Arc;

use ravelin::algorithm::KeyAlgorithm;
use ravelin::enroll::operate::OperateError;
use ravelin::inventory::AuditRecord;
use support::{Device, ROUTERS, World, create_ca};

const HOUR: i64 = 3600;
const DEVICE: &str = "commonName=r1";

/// A post-quantum profile above the classical one.
const BIG: &str = "accepts = [\"ed25519\", \"ecdsa-*\"]\nsignature = \"ml-dsa-44\"\nfallback = \"ecdsa-p256\"\n\
                   issuer = { upstream = \"local\", ca = \"ml-dsa-44\" }\n";

fn policy(more: &str) -> String {
    let policy = ROUTERS.replace("profile = \"ecdsa-p256\"", "profile = \"big\"").replace(", window = \"30d\"", "");
    format!("{policy}\n{more}")
}

fn world_with(big: &str, policy: &str) -> World {
    let prepare = |folder: &Path| {
        create_ca(folder, "ml-dsa-44", KeyAlgorithm::MlDsa44, None);
        std::fs::create_dir_all(folder.join("algorithms")).expect("a folder");
        std::fs::write(folder.join("algorithms/big.toml"), big).expect("written");
    };
    World::prepared(&[("routers", policy)], "", Arc::new(|upstream| upstream), prepare)
}

async fn enroll(world: &World, device: &Device) -> String {
    let challenge = world.challenge("routers").await;
    world.enroll(world.request("routers", device, Some(&challenge))).await
}

async fn profile(world: &World, answer: &str) -> String {
    let certificate = world.certificate(answer).await;
    world.inventory.certificate(&certificate.fingerprint()).await.expect("reads").expect("stored").profile
}

/// The profile of a new certificate of a device that comes with a challenge and a new key.
async fn enrolled(world: &World, name: &str) -> String {
    let answer = enroll(world, &Device::new(name)).await;
    profile(world, &answer).await
}

/// The profile of the certificate that it is given for the one it has; more than a day later, so that it is no retry.
async fn renewed(world: &World, device: &Device) -> String {
    world.clock.forward(25 * HOUR);
    let answer = world.enroll(world.request("routers", device, None)).await;
    profile(world, &answer).await
}

async fn events(world: &World, name: &str) -> Vec<AuditRecord> {
    let log = world.inventory.audit_log(0, 10_000).await.expect("reads");
    log.into_iter().filter(|record| record.event.event == name).collect()
}

#[tokio::test]
async fn over_the_budget_the_next_rung_is_taken() {
    let world = world_with(&format!("{BIG}max-reply = 4800\n"), &policy(""));
    assert_eq!(enrolled(&world, "r1").await, "ecdsa-p256");
    let placed = &events(&world, "order.placed").await[0].event.fields;
    assert_eq!((placed["profile"].as_str(), placed["chosen_by"].as_str()), (Some("ecdsa-p256"), Some("fallback-size")));
    assert_eq!(placed["fallback_from"], "big");
    assert!(placed["fallback_because"].as_str().is_some_and(|why| why.contains("the profile allows 4800")), "{placed:?}");
    let told = world.enroller.explain(&world.request("routers", &Device::new("r2"), None), true).await.expect("explains");
    assert_eq!((told.profile.as_deref(), told.chosen_by.as_deref()), (Some("ecdsa-p256"), Some("fallback-size")));
    // Nothing was learned of the device: a smaller name may fit.
    assert!(matches!(world.enroller.device("routers", DEVICE).await, Ok(report) if report.findings.is_empty()));
}

#[tokio::test]
async fn over_the_budget_no_rung_below_the_deadline_is_taken() {
    let world = world_with(&format!("{BIG}max-reply = 4800\n"), &policy("[deadline]\nfrom = \"2020-01-01\"\n"));
    assert_eq!(enroll(&world, &Device::new("r1")).await, "refused reply-too-large");
    let told = world.enroller.explain(&world.request("routers", &Device::new("r2"), None), true).await.expect("explains");
    assert!(told.why.contains("the deadline of the group"), "{}", told.why);
}

#[tokio::test]
async fn a_device_that_comes_back_gets_the_next_rung_until_it_shows_the_contrary() {
    let world = world_with(BIG, &policy(""));
    assert_eq!(enrolled(&world, "r1").await, "big");
    // A message that comes again is answered as before, and shows nothing.
    let mut able = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", &able, Some(&challenge));
    let answer = world.enroll(request.clone()).await;
    assert_eq!(world.enroll(request).await, answer);
    assert_eq!(profile(&world, &answer).await, "big");
    // A stranger shows nothing either.
    assert_eq!(world.enroll(world.request("routers", &Device::new("r1"), Some("made up"))).await, "refused challenge-wrong");
    assert_eq!(events(&world, "device.learned").await.len(), 0);

    assert_eq!(enrolled(&world, "r1").await, "ecdsa-p256", "it was given two, and is here again");
    let learned = events(&world, "device.learned").await;
    let fields = &learned[0].event.fields;
    assert_eq!((learned.len(), learned[0].event.object.as_str()), (1, DEVICE));
    assert_eq!((fields["profile"].as_str(), fields["next"].as_str()), (Some("big"), Some("ecdsa-p256")));
    assert_eq!(fields["kind"], "came-back");
    let placed = events(&world, "order.placed").await;
    assert_eq!(placed[2].event.fields["chosen_by"], "fallback-learned");
    assert_eq!(enrolled(&world, "r2").await, "big", "others are not concerned");
    let told = world.enroller.explain(&world.request("routers", &Device::new("r1"), None), true).await.expect("explains");
    assert_eq!((told.profile.as_deref(), told.findings.len()), (Some("ecdsa-p256"), 1), "{told:?}");
    let listed = world.inventory.findings(Some("routers"), 10).await.expect("reads");
    assert_eq!((listed.len(), listed[0].device.as_str()), (1, DEVICE));

    // It lasts, whatever the time.
    world.clock.forward(30 * 24 * HOUR);
    assert_eq!(enrolled(&world, "r1").await, "ecdsa-p256");
    // It signs with a certificate of the profile that it was thought not to digest.
    able.certificate = Some(world.certificate(&answer).await);
    assert_eq!(renewed(&world, &able).await, "big");
    assert_eq!(events(&world, "device.unlearned").await[0].event.fields["profile"], "big");
    assert_eq!(world.inventory.findings(None, 10).await.expect("reads"), []);
    assert_eq!(enrolled(&world, "r1").await, "big", "what was before does not count again");
    assert_eq!(events(&world, "device.learned").await.len(), 1);
}

#[tokio::test]
async fn a_device_that_renews_an_older_certificate_gets_the_next_rung() {
    let world = world_with(BIG, &policy("").replace("\"big\"", "\"ecdsa-p256\""));
    let mut device = Device::new("r1");
    let answer = enroll(&world, &device).await;
    device.certificate = Some(world.certificate(&answer).await);
    world.change_policy("routers", &policy(""));
    assert_eq!(renewed(&world, &device).await, "big");
    assert_eq!(renewed(&world, &device).await, "big", "once may be an accident");
    assert_eq!(renewed(&world, &device).await, "ecdsa-p256");
    let learned = events(&world, "device.learned").await;
    assert_eq!((learned.len(), learned[0].event.fields["kind"].as_str()), (1, Some("older-certificate")));
}

#[tokio::test]
async fn what_was_learned_can_be_forgotten() {
    let world = world_with(BIG, &policy("[fallback]\nreturns = 1\nwithin = \"1h\"\n"));
    assert_eq!(enrolled(&world, "r1").await, "big");
    assert_eq!(enrolled(&world, "r1").await, "ecdsa-p256");
    let report = world.enroller.device("routers", DEVICE).await.expect("known");
    assert_eq!((report.findings.len(), report.certificates.len()), (1, 2));
    let other = world.enroller.forget_device("routers", DEVICE, Some("small"), "", "anna").await;
    assert!(matches!(other, Err(OperateError::NoSuchDevice { .. })), "{other:?}");
    let forgotten = world.enroller.forget_device("routers", DEVICE, None, "new firmware", "anna").await.expect("forgotten");
    assert_eq!(forgotten[0].profile, "big");
    let event = &events(&world, "device.forgotten").await[0].event;
    assert_eq!((event.actor.as_str(), event.fields["reason"].as_str()), ("operator:anna", Some("new firmware")));
    assert_eq!(enrolled(&world, "r1").await, "big");
    assert!(world.enroller.device("routers", "commonName=nobody").await.is_err());
}

#[tokio::test]
async fn what_is_learned_leads_nowhere_below_the_deadline() {
    let world = world_with(BIG, &policy("[deadline]\nfrom = \"2020-01-01\"\n"));
    for _ in 0..3 {
        assert_eq!(enrolled(&world, "r1").await, "big");
    }
    let learned = events(&world, "device.learned").await;
    let fields = &learned[0].event.fields;
    assert_eq!((learned.len(), fields["next"].as_str()), (1, Some("big")));
    assert!(fields["held"].is_string(), "{fields:?}");
    let placed = events(&world, "order.placed").await;
    let last = &placed.last().expect("placed").event.fields;
    assert!(last["held"].is_string() && last["cannot_digest"][0] == "big", "{last:?}");
}

#[tokio::test]
async fn nothing_is_learned_where_it_is_switched_off() {
    let world = world_with(BIG, &policy("[fallback]\nlearn = false\n"));
    for _ in 0..4 {
        assert_eq!(enrolled(&world, "r1").await, "big");
    }
    assert_eq!(events(&world, "device.").await.len(), 0);
}
