//! Shadow runs: live requests tried under another profile, without anything coming of it.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ravelin::algorithm::KeyAlgorithm;
use ravelin::enroll::operate::OperateError;
use ravelin::upstream::{Capabilities, IdempotencyKey, IssuanceOrder, Submission, UpstreamCa, UpstreamError};
use ravelin::x509::Certificate;
use support::{Device, ROUTERS, World, Wrap, create_ca};

/// Counts what it is asked for, by profile.
struct Counting {
    inner: Arc<dyn UpstreamCa>,
    live: Arc<AtomicUsize>,
    others: Arc<AtomicUsize>,
}

#[async_trait]
impl UpstreamCa for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn capabilities(&self, ca: &str) -> Option<Capabilities> {
        self.inner.capabilities(ca)
    }
    async fn submit(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let counter = if order.profile == "ecdsa-p256" { &self.live } else { &self.others };
        counter.fetch_add(1, Ordering::SeqCst);
        self.inner.submit(order, key).await
    }
    async fn poll(&self, order: &IssuanceOrder, reference: &str) -> Submission {
        self.others.fetch_add(1, Ordering::SeqCst);
        self.inner.poll(order, reference).await
    }
    async fn health(&self) -> Result<(), UpstreamError> {
        self.inner.health().await
    }
    fn chain(&self, ca: &str) -> Option<Arc<[Arc<Certificate>]>> {
        self.inner.chain(ca)
    }
}

struct Lab {
    world: World,
    live: Arc<AtomicUsize>,
    others: Arc<AtomicUsize>,
}

/// Routers on ECDSA, with this profile in their shadow.
fn policy(candidate: &str) -> String {
    format!("{ROUTERS}\n[shadow]\ncandidate = \"{candidate}\"\n")
}

fn lab(candidate: &str, profile: &str) -> Lab {
    let (live, others) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counters = (Arc::clone(&live), Arc::clone(&others));
    let wrap: Wrap = Arc::new(move |inner| {
        let (live, others) = (Arc::clone(&counters.0), Arc::clone(&counters.1));
        Arc::new(Counting { inner, live, others })
    });
    let prepare = |folder: &Path| {
        create_ca(folder, "ml-dsa-44", KeyAlgorithm::MlDsa44, None);
        create_ca(folder, "catalyst", KeyAlgorithm::EcdsaP384, Some(KeyAlgorithm::MlDsa44));
        std::fs::create_dir_all(folder.join("algorithms")).expect("a folder");
        std::fs::write(folder.join(format!("algorithms/{candidate}.toml")), profile).expect("written");
    };
    Lab { world: World::prepared(&[("routers", &policy(candidate))], "", wrap, prepare), live, others }
}

async fn enroll(world: &World, name: &str) -> String {
    let challenge = world.challenge("routers").await;
    world.enroll(world.request("routers", &Device::new(name), Some(&challenge))).await
}

const TRIED: &str = "accepts = [\"ed25519\", \"ecdsa-*\"]\nsignature = \"ml-dsa-44\"\n\
                     issuer = { upstream = \"local\", ca = \"ml-dsa-44\" }\n";

#[tokio::test]
async fn live_requests_are_tried_and_no_issuer_hears_of_it() {
    let Lab { world, live, others } = lab("tried", TRIED);
    for name in ["r1", "r2", "r1"] {
        assert!(enroll(&world, name).await.starts_with("issued"));
    }
    // Strangers are not tried.
    assert!(world.enroll(world.request("routers", &Device::new("r9"), Some("made up"))).await.starts_with("refused"));
    assert_eq!(world.enroller.settle_shadows().await, 3);
    assert_eq!((live.load(Ordering::SeqCst), others.load(Ordering::SeqCst)), (3, 0));
    let report = world.enroller.shadow("routers").await.expect("a shadow");
    assert_eq!((report.candidate.as_str(), report.tally.runs), ("tried", 3));
    assert_eq!(report.tally.devices.iter().map(|(code, count)| (code.as_str(), *count)).collect::<Vec<_>>(), [("ok", 2)]);
    let (median, max) = (report.tally.reply.median.expect("sizes"), report.tally.reply.max.expect("sizes"));
    assert!(median <= max && (4500..12_000).contains(&max), "{median} {max}");
    assert!(report.tally.signing_micros.max.is_some_and(|micros| micros > 0));
    assert_eq!(world.enroller.settle_shadows().await, 0);
}

#[tokio::test]
async fn would_be_refusals_are_told_and_the_live_request_does_not_notice() {
    let Lab { world, others, .. } = lab("tried", &TRIED.replace("\"ecdsa-*\"", "\"rsa-2048\"").replace("\"ed25519\", ", ""));
    assert!(enroll(&world, "r1").await.starts_with("issued"));
    assert_eq!(world.enroller.settle_shadows().await, 1);
    let report = world.enroller.shadow("routers").await.expect("a shadow");
    assert_eq!(report.tally.devices.get("key-not-accepted"), Some(&1), "{report:?}");
    let example = &report.tally.examples[0];
    assert_eq!(
        (example.device.as_str(), example.code.as_str(), example.signing_micros),
        ("commonName=r1", "key-not-accepted", None)
    );
    assert_eq!(others.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn replies_over_the_budget_are_measured() {
    let Lab { world, .. } = lab("tried", &format!("{TRIED}max-reply = 4800\n"));
    assert!(enroll(&world, "r1").await.starts_with("issued"));
    world.enroller.settle_shadows().await;
    let report = world.enroller.shadow("routers").await.expect("a shadow");
    assert_eq!(report.tally.devices.get("reply-too-large"), Some(&1), "{report:?}");
    assert!(report.tally.reply.max.is_some_and(|octets| octets > 4800) && report.max_reply == Some(4800));
}

#[tokio::test]
async fn alternative_signatures_and_pairs_are_signed_as_well() {
    let catalyst = "accepts = [\"ecdsa-*\"]\nform = \"catalyst\"\nsignature = \"ecdsa-sha384\"\nalternative = \"ml-dsa-44\"\n\
                    issuer = { upstream = \"local\", ca = \"catalyst\" }\n";
    let paired = "accepts = [\"ecdsa-*\"]\nform = \"paired\"\nsignature = \"ecdsa-sha256\"\nalternative = \"ml-dsa-44\"\n\
                  issuer = { upstream = \"local\", ca = \"ecdsa-p256\" }\nalternative-issuer = { upstream = \"local\", ca = \"ml-dsa-44\" }\n";
    for profile in [catalyst, paired] {
        let Lab { world, others, .. } = lab("tried", profile);
        assert!(enroll(&world, "r1").await.starts_with("issued"));
        world.enroller.settle_shadows().await;
        let report = world.enroller.shadow("routers").await.expect("a shadow");
        assert_eq!((report.tally.devices.get("ok"), others.load(Ordering::SeqCst)), (Some(&1), 0), "{report:?}");
    }
}

/// Nobody takes requests out of the queue here: it fills up, and the live requests go on.
#[tokio::test]
async fn a_full_queue_holds_nobody_up() {
    let Lab { world, .. } = lab("tried", TRIED);
    for number in 0..300 {
        assert!(enroll(&world, &format!("r{number}")).await.starts_with("issued"), "{number}");
    }
    assert_eq!(world.enroller.settle_shadows().await, 256);
    let none = world.enroller.shadow("nobody").await;
    assert!(matches!(none, Err(OperateError::NoSuchGroup(_))), "{none:?}");
}
