//! Moving a group from one profile to another: who gets the candidate, when it stops by itself, and how it goes back.

mod support;

use support::{Device, ROUTERS, World};

/// Routers on RSA signatures, with ECDSA ones tried as `rollout` says.
fn policy(rollout: &str) -> String {
    let policy = ROUTERS.replace("profile = \"ecdsa-p256\"", "profile = \"rsa-sha256\"");
    format!("{policy}\n[rollout]\ncandidate = \"ecdsa-p256\"\n{rollout}\n")
}

/// The profile that a new certificate of this device is of.
async fn enrolled(world: &World, name: &str) -> String {
    let challenge = world.challenge("routers").await;
    let answer = world.enroll(world.request("routers", &Device::new(name), Some(&challenge))).await;
    let certificate = world.certificate(&answer).await;
    let record = world.inventory.certificate(&certificate.fingerprint()).await.expect("reads").expect("stored");
    // The row, the order and the signature agree.
    let signature = certificate.signature_algorithm().map(|algorithm| algorithm.name());
    let expected = if record.profile == "ecdsa-p256" { "ecdsa-sha256" } else { "rsa-sha256" };
    assert_eq!(signature, Some(expected), "{}", record.profile);
    record.profile
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
}

#[tokio::test]
async fn a_ring_begins_on_its_date() {
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let rollout = format!("rings = [{{ from = \"{tomorrow}\", percent = 100 }}]");
    let world = World::new(&[("routers", &policy(&rollout))]);
    assert_eq!(enrolled(&world, "r1").await, "rsa-sha256");
    world.clock.forward(24 * 3600 + 60);
    assert_eq!(enrolled(&world, "r2").await, "ecdsa-p256");
}
