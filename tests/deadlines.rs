//! Deadlines: from a day on a group gets no signature that is classical only, but for devices that are excepted until theirs.

mod support;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ravelin::algorithm::KeyAlgorithm;
use ravelin::enroll::operate::OperateError;
use ravelin::inventory::{AuditRecord, TransactionState};
use ravelin::rollout::Phase;
use support::{Device, ROUTERS, World, create_ca};

const DAY: i64 = 86_400;

fn in_days(days: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(days * DAY)
}

/// Routers on ECDSA until ten days from now, and OLD ones until twenty days from now.
fn policy(more: &str) -> String {
    let (from, until) = (in_days(10), in_days(20));
    let exceptions = format!("[{{ devices = [\"commonName=old-*\"], until = \"{until}\", why = \"no firmware yet\" }}]");
    format!("{ROUTERS}\n[deadline]\nfrom = \"{from}\"\nexceptions = {exceptions}\n{more}")
}

fn world(policy: &str) -> World {
    World::prepared(&[("routers", policy)], "", Arc::new(|upstream| upstream), |folder| {
        create_ca(folder, "ml-dsa-44", KeyAlgorithm::MlDsa44, None);
    })
}

async fn enroll(world: &World, name: &str) -> String {
    let challenge = world.challenge("routers").await;
    world.enroll(world.request("routers", &Device::new(name), Some(&challenge))).await
}

async fn events(world: &World, name: &str) -> Vec<AuditRecord> {
    let log = world.inventory.audit_log(0, 10_000).await.expect("reads");
    log.into_iter().filter(|record| record.event.event == name).collect()
}

#[tokio::test]
async fn classical_ends_on_its_day_and_exceptions_end_on_theirs() {
    let world = world(&policy(""));
    assert!(enroll(&world, "r1").await.starts_with("issued"));
    world.clock.forward(10 * DAY + 60);
    assert_eq!(enroll(&world, "r2").await, "refused deadline-passed");
    assert!(enroll(&world, "old-1").await.starts_with("issued"));
    let placed = events(&world, "order.placed").await;
    assert_eq!(placed.len(), 2);
    assert_eq!(placed[0].event.fields.get("deadline_exception"), None);
    let said = placed[1].event.fields["deadline_exception"].as_str().expect("a text");
    assert!(said.contains("commonName=old-*") && said.ends_with("no firmware yet"), "{said}");
    // What is explained is what happens.
    let explain = async |name: &str| {
        world.enroller.explain(&world.request("routers", &Device::new(name), None), true).await.expect("explains")
    };
    let told = explain("r3").await;
    assert_eq!((told.verdict.as_str(), told.code.as_deref()), ("refuse", Some("deadline-passed")));
    assert!(told.why.contains("commonName=r3"), "{}", told.why);
    let told = explain("old-2").await;
    assert_eq!(told.verdict, "issue");
    assert!(told.exception.is_some_and(|exception| exception.contains("no firmware yet")));
    world.clock.forward(10 * DAY);
    assert_eq!(enroll(&world, "old-3").await, "refused deadline-passed");
}

#[tokio::test]
async fn a_post_quantum_profile_is_not_touched() {
    let world = world(&policy("").replace("profile = \"ecdsa-p256\"", "profile = \"ml-dsa-44\""));
    world.clock.forward(30 * DAY);
    assert!(enroll(&world, "r1").await.starts_with("issued"));
    assert_eq!(events(&world, "order.placed").await[0].event.fields.get("deadline_exception"), None);
}

#[tokio::test]
async fn what_waits_for_people_when_the_day_comes_is_not_approved_any_more() {
    let manual = policy("").replace("[enforce]", "[enforce]\napproval = \"manual\"");
    let world = world(&manual);
    for name in ["r1", "old-1"] {
        assert_eq!(enroll(&world, name).await, "pending");
    }
    world.clock.forward(11 * DAY);
    let waiting = world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("reads");
    let of = |name: &str| waiting.iter().find(|one| one.subject.contains(name)).expect("it waits").id;
    let refused = world.enroller.approve(of("CN=r1"), "anna").await;
    assert!(matches!(refused, Err(OperateError::DeadlinePassed { .. })), "{refused:?}");
    world.enroller.approve(of("CN=old-1"), "anna").await.expect("an exception covers it");
}

#[tokio::test]
async fn a_rollout_is_not_rolled_back_below_the_deadline() {
    let world = world(&policy("[rollout]\ncandidate = \"ml-dsa-44\"\npercent = 100\n"));
    world.clock.forward(11 * DAY);
    assert!(enroll(&world, "r1").await.starts_with("issued"), "the candidate is post-quantum");
    let refused = world.enroller.change_rollout("routers", Phase::RolledBack, "", "anna").await;
    assert!(matches!(refused, Err(OperateError::BelowDeadline { .. })), "{refused:?}");
    world.enroller.change_rollout("routers", Phase::Halted, "", "anna").await.expect("it is halted");
    assert_eq!(enroll(&world, "r2").await, "refused deadline-passed");
}

/// A candidate that takes RSA keys only, which these devices do not have.
const PICKY: &str =
    "accepts = [\"rsa-2048..4096\"]\nsignature = \"ml-dsa-44\"\nissuer = { upstream = \"local\", ca = \"ml-dsa-44\" }\n";

#[tokio::test]
async fn a_gate_that_would_roll_back_below_the_deadline_halts() {
    let gates = "[rollout]\ncandidate = \"picky\"\npercent = 100\ngates = { min-devices = 2, on-trip = \"roll-back\" }\n";
    let world = World::prepared(&[("routers", &policy(gates))], "", Arc::new(|upstream| upstream), |folder| {
        create_ca(folder, "ml-dsa-44", KeyAlgorithm::MlDsa44, None);
        std::fs::create_dir_all(folder.join("algorithms")).expect("a folder");
        std::fs::write(folder.join("algorithms/picky.toml"), PICKY).expect("written");
    });
    world.clock.forward(11 * DAY);
    for name in ["r1", "r2"] {
        assert_eq!(enroll(&world, name).await, "refused key-not-accepted");
    }
    assert_eq!(world.enroller.watch_rollouts().await.expect("looks"), 1);
    let report = world.enroller.rollout("routers").await.expect("a rollout");
    assert_eq!(report.phase, Phase::Halted);
    assert!(report.why.as_ref().is_some_and(|why| why.contains("the deadline of the group rules out")), "{:?}", report.why);
}

/// Time makes the date pass while the service is down: the other groups need it to start.
#[tokio::test]
async fn a_start_after_the_deadline_serves_the_other_groups() {
    let late = ROUTERS.replace("[enforce]", "[deadline]\nfrom = \"2020-01-01\"\n\n[enforce]");
    let world = World::new(&[("routers", &late), ("others", ROUTERS)]);
    assert_eq!(enroll(&world, "r1").await, "refused deadline-passed");
    let challenge = world.challenge("others").await;
    assert!(world.enroll(world.request("others", &Device::new("o1"), Some(&challenge))).await.starts_with("issued"));
}

#[tokio::test]
async fn a_forecast_follows_certificates_to_the_day() {
    let world = world(&policy(""));
    for name in ["r1", "old-1"] {
        assert!(enroll(&world, name).await.starts_with("issued"));
    }
    let told = world.enroller.forecast("routers", None, 10).await.expect("tells");
    assert_eq!((told.certificates, told.classical, told.excepted, told.already), (2, 2, 1, 0), "{told:?}");
    assert_eq!((told.examples.len(), told.pace.renewals), (2, 0));
    assert!(told.examples.iter().all(|late| (353..=356).contains(&late.days_over)), "{told:?}");
    // Nobody is renewed after the deadline and its exceptions: all has ended with the life of what was issued before.
    let told = world.enroller.forecast("routers", Some(in_days(400)), 10).await.expect("tells");
    assert_eq!((told.classical, told.ended), (0, 2), "{told:?}");

    world.change_policy("routers", &policy("").replace("profile = \"ecdsa-p256\"", "profile = \"ml-dsa-44\""));
    assert!(enroll(&world, "r2").await.starts_with("issued"));
    let told = world.enroller.forecast("routers", Some(in_days(360)), 1).await.expect("tells");
    assert_eq!((told.certificates, told.already, told.renewed, told.classical), (3, 1, 2, 0), "{told:?}");
    // Before the window of renewals opens, what is there is there.
    let told = world.enroller.forecast("routers", Some(in_days(300)), 1).await.expect("tells");
    assert_eq!((told.already, told.classical, told.examples.len()), (1, 2, 1), "{told:?}");
}

#[tokio::test]
async fn a_forecast_needs_a_day() {
    let world = World::new(&[("routers", ROUTERS)]);
    let refused = world.enroller.forecast("routers", None, 10).await;
    assert!(matches!(refused, Err(OperateError::NoDeadline(_))), "{refused:?}");
}
