//! Flows through the enrollment core: every way in, every way out, retries, waits, restarts.

mod support;

use std::sync::Arc;

use ravelin::enroll::EnrollError;
use ravelin::enroll::operate::NewChallenges;
use ravelin::inventory::{CertificateStatus, TransactionState};
use ravelin::x509::crl::RevocationReason;
use support::{Device, PlainReply, ROUTERS, World, text};

const DAY: i64 = 86_400;

fn manual() -> String {
    ROUTERS.replace("[enforce]", "[enforce]\napproval = \"manual\"")
}

#[tokio::test]
async fn a_device_with_a_challenge_gets_a_certificate() {
    let world = World::new(&[("routers", ROUTERS)]);
    let device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let answer = world.enroll(world.request("routers", &device, Some(&challenge))).await;
    assert!(answer.starts_with("issued "), "{answer}");
    let certificate = world.certificate(&answer).await;
    assert_eq!(certificate.spki(), device.key.spki());
    assert_eq!(certificate.subject().to_string(), "CN=r1,O=Example");
    let events: Vec<_> = world.inventory.audit_log(0, 10).await.expect("a log").into_iter().map(|r| r.event.event).collect();
    assert_eq!(events, ["challenge.created", "order.placed", "certificate.issued"]);
}

#[tokio::test]
async fn p02_the_same_message_gets_the_same_bytes_and_a_new_one_the_same_certificate() {
    let world = World::new(&[("routers", ROUTERS)]);
    let device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", &device, Some(&challenge));
    let first = world.enroller.enroll(request.clone()).await.expect("an answer");
    let again = world.enroller.enroll(request.clone()).await.expect("an answer");
    assert_eq!(first.reply, again.reply);
    assert!(again.outcome.is_none(), "the second answer is the stored one");
    let mut fresh = request;
    fresh.message = [9; 32];
    assert_eq!(world.enroll(fresh).await, text(&first));
    assert_eq!(world.inventory.statistics().await.expect("counted").certificates, 1);
}

#[tokio::test]
async fn p05_a_device_that_starts_over_with_a_new_challenge_gets_a_new_certificate() {
    let world = World::new(&[("routers", ROUTERS)]);
    let device = Device::new("r1");
    let (one, two) = (world.challenge("routers").await, world.challenge("routers").await);
    let first = world.enroll(world.request("routers", &device, Some(&one))).await;
    let second = world.enroll(world.request("routers", &device, Some(&two))).await;
    assert!(first.starts_with("issued ") && second.starts_with("issued ") && first != second, "{first} {second}");
}

/// One key, two wishes: most clients make the transactionID from the key, so it may be the same.
#[tokio::test]
async fn p05_another_wish_of_the_same_key_is_not_answered_with_the_first() {
    for same_wire_id in [true, false] {
        let world = World::new(&[("routers", &manual())]);
        let device = Device::new("r1");
        let other = Device { name: "r2".into(), key: Arc::clone(&device.key), certificate: None };
        let (one, two) = (world.challenge("routers").await, world.challenge("routers").await);
        let request = |device: &Device, challenge: &str| {
            let mut request = world.request("routers", device, Some(challenge));
            if device.name == "r2" && !same_wire_id {
                request.wire_id = "another".into();
            }
            request
        };
        assert_eq!(world.enroll(request(&device, &one)).await, "pending");
        // The challenge of the first wish is spent, and lets no second one in.
        assert_eq!(world.enroll(request(&other, &one)).await, "refused challenge-spent");
        assert_eq!(world.enroll(request(&other, &two)).await, "pending");
        let waiting = world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("read");
        assert_eq!(waiting.iter().map(|t| t.subject.as_str()).collect::<Vec<_>>(), ["CN=r1,O=Example", "CN=r2,O=Example"]);
        for transaction in waiting {
            world.enroller.approve(transaction.id, "tester").await.expect("approved");
        }
        assert_eq!(world.work().await, 2);
        for (device, challenge) in [(&device, &one), (&other, &two)] {
            let answer = world.enroll(request(device, challenge)).await;
            let certificate = world.certificate(&answer).await;
            assert_eq!(certificate.subject().to_string(), format!("CN={},O=Example", device.name));
        }
    }
}

/// What a purge leaves: the certificate, which can be renewed, and a challenge that nobody can spend again.
#[tokio::test]
async fn a_purged_transaction_breaks_no_renewal_and_no_rule() {
    let world = World::new(&[("routers", ROUTERS)]);
    let mut device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", &device, Some(&challenge));
    let answer = world.enroll(request.clone()).await;
    let certificate = world.certificate(&answer).await;
    let id = world.inventory.transactions(TransactionState::Issued, 10).await.expect("read")[0].id;
    world.clock.forward(9 * DAY);
    world.worker().purge().await.expect("purged");
    assert!(world.inventory.transaction(id).await.expect("read").is_some(), "ten days are not over");
    world.clock.forward(340 * DAY);
    world.worker().purge().await.expect("purged");
    assert!(world.inventory.transaction(id).await.expect("read").is_none());
    assert_eq!(world.certificate(&answer).await.fingerprint(), certificate.fingerprint());
    // The very same message is a new one now.
    assert_eq!(world.enroll(request).await, "refused challenge-wrong");
    device.certificate = Some(certificate);
    let renewed = world.enroll(world.request("routers", &device, None)).await;
    assert!(renewed.starts_with("issued "), "{renewed}");
}

/// The hash of a shared challenge is slow on purpose, and strangers can send as many as they like.
#[tokio::test]
async fn a_flood_of_wrong_shared_challenges_holds_up_nobody_who_knows_it() {
    use argon2::password_hash::{PasswordHasher, SaltString};
    let params = argon2::Params::new(8, 1, 1, None).expect("the smallest there are");
    let hasher = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let salt = SaltString::encode_b64(&[9; 16]).expect("a salt");
    let hash = hasher.hash_password(b"the right one", &salt);
    let hash = hash.expect("hashed").to_string();
    let shared = ROUTERS.replace("{ kind = \"one-time\", ttl = \"1h\" }", &format!("{{ kind = \"shared\", hash = \"{hash}\" }}"));
    let world = World::new(&[("routers", &shared)]);
    let first = world.enroll(world.request("routers", &Device::new("r1"), Some("the right one"))).await;
    assert!(first.starts_with("issued "), "{first}");
    let (mut refused, mut later) = (0, 0);
    for number in 0..100 {
        match world.enroller.enroll(world.request("routers", &Device::new("r2"), Some(&format!("guess {number}")))).await {
            Ok(answer) => refused += usize::from(text(&answer) == "refused challenge-wrong"),
            Err(EnrollError::Busy) => later += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused >= 19 && later > 0 && refused + later == 100, "{refused} refused, {later} told to come again");
    let honest = world.enroll(world.request("routers", &Device::new("r3"), Some("the right one"))).await;
    assert!(honest.starts_with("issued "), "{honest}");
}

#[tokio::test]
async fn a_group_that_names_its_networks_is_for_nobody_else() {
    let inside = format!("{ROUTERS}\n[match]\nsources = [\"192.0.2.0/24\"]\n");
    let world = World::new(&[("inside", &inside)]);
    let challenge = world.challenge("inside").await;
    let mut request = world.request("inside", &Device::new("r1"), Some(&challenge));
    request.peer.address = "198.51.100.7:4711".parse().expect("an address");
    assert_eq!(world.enroll(request.clone()).await, "refused no-group", "at the group's own endpoint");
    let told = world.enroller.explain(&request, false).await.expect("explained");
    assert_eq!((told.verdict.as_str(), told.code.as_deref()), ("refuse", Some("no-group")));
    let request = world.request("inside", &Device::new("r1"), Some(&challenge));
    assert!(world.enroll(request).await.starts_with("issued "), "192.0.2.7 is one of them");
}

#[tokio::test]
async fn p15_without_any_way_in_nobody_enrolls() {
    let closed =
        ROUTERS.lines().filter(|l| !l.starts_with("challenge") && !l.starts_with("renewal")).collect::<Vec<_>>().join("\n");
    let world = World::new(&[("routers", &closed)]);
    let device = Device::new("r1");
    assert_eq!(world.enroll(world.request("routers", &device, Some("anything"))).await, "refused no-credential");
    assert_eq!(world.enroll(world.request("routers", &device, None)).await, "refused no-credential");
}

#[tokio::test]
async fn p11_wrong_spent_expired_revoked_and_foreign_challenges_are_refused_and_told_apart_in_the_log() {
    let bound = ROUTERS.replace("ttl = \"1h\"", "ttl = \"1h\", bind = [\"subject.commonName\"]");
    let world = World::new(&[("routers", ROUTERS), ("bound", &bound)]);
    let refuse =
        async |challenge: &str, group: &str| world.enroll(world.request(group, &Device::new("r2"), Some(challenge))).await;

    assert_eq!(refuse("no such thing", "routers").await, "refused challenge-wrong");

    let spent = world.challenge("routers").await;
    assert!(world.enroll(world.request("routers", &Device::new("r1"), Some(&spent))).await.starts_with("issued "));
    assert_eq!(refuse(&spent, "routers").await, "refused challenge-spent");

    let revoked = world.enroller.mint_challenges(NewChallenges { group: "routers".into(), ..Default::default() }, "tester").await;
    let (revoked, row) = revoked.expect("made").remove(0);
    let event = world.inventory.audit_log(0, 1).await.expect("a log").remove(0).event;
    assert!(world.inventory.revoke_challenge(&row.id, event).await.expect("written"));
    assert_eq!(refuse(&revoked, "routers").await, "refused challenge-revoked");

    let other = NewChallenges {
        group: "bound".into(),
        bind: [("subject.commonName".to_owned(), "r9".to_owned())].into(),
        ..Default::default()
    };
    let (other, _) = world.enroller.mint_challenges(other, "tester").await.expect("made").remove(0);
    assert_eq!(refuse(&other, "bound").await, "refused challenge-not-bound");
    assert_eq!(refuse(&other, "routers").await, "refused challenge-wrong");
    let missing = world.enroller.mint_challenges(NewChallenges { group: "bound".into(), ..Default::default() }, "tester").await;
    assert!(missing.is_err(), "a group that binds its challenges needs the value");

    let late = world.challenge("routers").await;
    world.clock.forward(3601);
    assert_eq!(refuse(&late, "routers").await, "refused challenge-expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_challenge_is_redeemed_once_however_many_try() {
    let world = Arc::new(World::new(&[("routers", ROUTERS)]));
    let challenge = world.challenge("routers").await;
    let tasks: Vec<_> = (0..24)
        .map(|number| {
            let (world, challenge) = (Arc::clone(&world), challenge.clone());
            tokio::spawn(async move {
                world.enroll(world.request("routers", &Device::new(&format!("r{number}")), Some(&challenge))).await
            })
        })
        .collect();
    let mut issued = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            answer if answer.starts_with("issued ") => issued += 1,
            answer => assert_eq!(answer, "refused challenge-spent"),
        }
    }
    assert_eq!(issued, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p18_many_copies_of_one_request_get_one_certificate() {
    let world = Arc::new(World::new(&[("routers", ROUTERS)]));
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", &Device::new("r1"), Some(&challenge));
    let tasks: Vec<_> = (0..24)
        .map(|number: u8| {
            let (world, mut request) = (Arc::clone(&world), request.clone());
            if number.is_multiple_of(2) {
                request.message = [number; 32];
            }
            tokio::spawn(async move { world.enroll(request).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("no panic"));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(world.inventory.statistics().await.expect("counted").certificates, 1);
}

#[tokio::test]
async fn p03_approval_waits_for_days_over_a_restart_and_issues_what_was_approved() {
    let world = World::new(&[("routers", &manual())]);
    let device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", &device, Some(&challenge));
    assert_eq!(world.enroll(request.clone()).await, "pending");
    // The very same message again, as scepclient polls; and a fresh one.
    assert_eq!(world.enroll(request.clone()).await, "pending");
    assert_eq!(world.enroll(world.request("routers", &device, Some(&challenge))).await, "pending");
    let waiting = world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("listed");
    assert_eq!(waiting.len(), 1);

    let world = world.restart();
    world.clock.forward(2 * DAY);
    // The group moves on meanwhile; what was asked for stands.
    world.change_policy("routers", &manual().replace("ecdsa-p256", "rsa-sha256"));
    world.enroller.approve(waiting[0].id, "alice").await.expect("approved");
    assert!(world.enroller.approve(waiting[0].id, "bob").await.is_err(), "once is enough");
    assert_eq!(world.work().await, 1);
    let answer = world.enroll(request).await;
    assert!(answer.starts_with("issued "), "{answer}");
    let record = world.enroller.find_certificate(answer.split(' ').nth(1).expect("a serial")).await.expect("found");
    assert_eq!(record.profile, "ecdsa-p256");
}

#[tokio::test]
async fn a_denied_request_is_refused_and_its_challenge_stays_spent() {
    let world = World::new(&[("routers", &manual())]);
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", &Device::new("r1"), Some(&challenge));
    assert_eq!(world.enroll(request.clone()).await, "pending");
    let waiting = world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("listed");
    world.enroller.deny(waiting[0].id, "never heard of it", "alice").await.expect("denied");
    assert_eq!(world.work().await, 0);
    assert_eq!(world.enroll(request).await, "refused denied");
    assert_eq!(world.enroll(world.request("routers", &Device::new("r2"), Some(&challenge))).await, "refused challenge-spent");
    let events: Vec<_> = world.inventory.audit_log(0, 10).await.expect("a log").into_iter().map(|r| r.event.event).collect();
    assert_eq!(events, ["challenge.created", "approval.requested", "approval.denied", "request.refused"]);
}

#[tokio::test]
async fn p10_renewal_needs_no_challenge_and_is_bound_to_what_it_renews() {
    let world = World::new(&[("routers", ROUTERS), ("others", ROUTERS)]);
    let mut device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let answer = world.enroll(world.request("routers", &device, Some(&challenge))).await;
    let certificate = world.certificate(&answer).await;
    device.certificate = Some(Arc::clone(&certificate));
    let with_new_key = |name: &str| Device { certificate: Some(Arc::clone(&certificate)), ..Device::new(name) };

    assert_eq!(world.enroll(world.request("routers", &with_new_key("r1"), None)).await, "refused renewal-window");
    world.clock.forward(340 * DAY);
    assert_eq!(world.enroll(world.request("routers", &with_new_key("r2"), None)).await, "refused renewal-name-changed");
    assert_eq!(world.enroll(world.request("others", &with_new_key("r1"), None)).await, "refused renewal-not-allowed");

    let renewed = world.enroll(world.request("routers", &with_new_key("r1"), None)).await;
    assert!(renewed.starts_with("issued "), "{renewed}");
    let old = world.inventory.certificate(&certificate.fingerprint()).await.expect("read").expect("there");
    assert_eq!(old.status, CertificateStatus::Superseded);

    world.clock.forward(60 * DAY);
    assert_eq!(world.enroll(world.request("routers", &with_new_key("r1"), None)).await, "refused renewal-window");
}

#[tokio::test]
async fn p21_a_revoked_certificate_renews_nothing_and_a_new_challenge_does() {
    let world = World::new(&[("routers", &ROUTERS.replace(", window = \"30d\"", ""))]);
    let mut device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let answer = world.enroll(world.request("routers", &device, Some(&challenge))).await;
    let certificate = world.certificate(&answer).await;
    let record = world.inventory.certificate(&certificate.fingerprint()).await.expect("read").expect("there");
    assert!(world.enroller.revoke(&record, RevocationReason::KeyCompromise, "alice").await.expect("revoked"));
    assert!(!world.enroller.revoke(&record, RevocationReason::KeyCompromise, "alice").await.expect("no error"));
    device.certificate = Some(Arc::clone(&certificate));
    assert_eq!(world.enroll(world.request("routers", &device, None)).await, "refused key-reused");
    let fresh = Device { certificate: Some(certificate), ..Device::new("r1") };
    assert_eq!(world.enroll(world.request("routers", &fresh, None)).await, "refused renewal-revoked");
    // P21: the old certificate does not count, the new challenge does.
    let challenge = world.challenge("routers").await;
    assert!(world.enroll(world.request("routers", &fresh, Some(&challenge))).await.starts_with("issued "));
}

#[tokio::test]
async fn r03_what_cannot_be_delivered_is_not_issued() {
    let world = World::new(&[("routers", ROUTERS)]);
    let challenge = world.challenge("routers").await;
    let mut request = world.request("routers", &Device::new("r1"), Some(&challenge));
    request.reply = Arc::new(PlainReply { deliverable: false, needs_challenge: true });
    assert_eq!(world.enroll(request).await, "refused not-deliverable");
    assert_eq!(world.inventory.statistics().await.expect("counted").certificates, 0);
    assert!(world.enroll(world.request("routers", &Device::new("r1"), Some(&challenge))).await.starts_with("issued "));
}

#[tokio::test]
async fn the_challenge_is_kept_sealed_for_a_late_reply_that_needs_it() {
    let world = World::new(&[("routers", &manual())]);
    let challenge = world.challenge("routers").await;
    let mut request = world.request("routers", &Device::new("r1"), Some(&challenge));
    request.reply = Arc::new(PlainReply { deliverable: true, needs_challenge: true });
    assert_eq!(world.enroll(request.clone()).await, "pending");
    let waiting = world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("listed").remove(0);
    let sealed = waiting.sealed_challenge.expect("kept");
    assert!(!sealed.windows(challenge.len()).any(|window| window == challenge.as_bytes()), "not in clear");
    world.enroller.approve(waiting.id, "alice").await.expect("approved");
    world.work().await;
    request.message = [1; 32];
    assert!(world.enroll(request).await.ends_with(&format!("Some({challenge:?})")));
}

#[tokio::test]
async fn a_device_gets_no_more_than_its_share() {
    let world = World::new(&[("routers", &format!("{ROUTERS}\n[limits]\nper-device = \"2/day\"\n"))]);
    let enroll = async || {
        let challenge = world.challenge("routers").await;
        world.enroll(world.request("routers", &Device::new("r1"), Some(&challenge))).await
    };
    assert!(enroll().await.starts_with("issued "));
    assert!(enroll().await.starts_with("issued "));
    assert_eq!(enroll().await, "refused limit-reached");
    world.clock.forward(DAY + 1);
    assert!(enroll().await.starts_with("issued "));
}

#[tokio::test]
async fn a_shared_endpoint_finds_the_group_by_its_challenge() {
    let endpoint = "\n[[endpoint]]\nname = \"shared\"\npath = \"/scep/shared\"\ngroups = [\"routers\", \"others\"]\n";
    let others = ROUTERS.replace("profile = ", "priority = 5\nprofile = ");
    let world = World::with_endpoints(&[("routers", ROUTERS), ("others", &others)], endpoint);
    let challenge = world.challenge("routers").await;
    let answer = world.enroll(world.request("shared", &Device::new("r1"), Some(&challenge))).await;
    let record = world.enroller.find_certificate(answer.split(' ').nth(1).expect("issued")).await.expect("found");
    assert_eq!(record.group, "routers");
}

#[tokio::test]
async fn moving_a_group_changes_what_signs_from_the_next_request_on() {
    let world = World::new(&[("routers", ROUTERS)]);
    let enroll = async |name: &str| {
        let challenge = world.challenge("routers").await;
        let answer = world.enroll(world.request("routers", &Device::new(name), Some(&challenge))).await;
        world.enroller.find_certificate(answer.split(' ').nth(1).expect("issued")).await.expect("found").signature_algorithm
    };
    assert_eq!(enroll("r1").await, "ecdsa-sha256");
    world.change_policy("routers", &ROUTERS.replace("ecdsa-p256", "rsa-sha256"));
    assert_eq!(enroll("r2").await, "rsa-sha256");
}

#[tokio::test]
async fn a_refusal_is_looked_at_afresh_once_policy_has_changed() {
    let world = World::new(&[("routers", &ROUTERS.replace("CN={name", "CN=x{name"))]);
    let device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let mut request = world.request("routers", &device, Some(&challenge));
    assert_eq!(world.enroll(request.clone()).await, "refused subject-not-allowed");
    world.change_policy("routers", ROUTERS);
    let fresh = world.request("routers", &device, Some(&challenge));
    (request.snapshot, request.endpoint) = (fresh.snapshot, fresh.endpoint);
    assert!(world.enroll(request).await.starts_with("issued "), "the same bytes, another policy");
}

#[tokio::test]
async fn explain_says_what_would_happen_and_does_nothing() {
    let world = World::new(&[("routers", &manual())]);
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", &Device::new("r1"), Some(&challenge));
    let told = world.enroller.explain(&request, false).await.expect("told");
    assert_eq!((told.verdict.as_str(), told.group.as_deref()), ("wait for approval", Some("routers")));
    assert!(told.rule.expect("a rule").starts_with("one-time challenge "));
    assert_eq!(told.issuer.as_deref(), Some("local/ecdsa-p256"));
    let wrong = world.enroller.explain(&world.request("routers", &Device::new("r1"), Some("x")), false).await.expect("told");
    assert_eq!((wrong.verdict.as_str(), wrong.code.as_deref()), ("refuse", Some("challenge-wrong")));
    assert!(world.inventory.transactions(TransactionState::AwaitingApproval, 1).await.expect("listed").is_empty());
    assert_eq!(world.enroll(request).await, "pending");
}

#[tokio::test]
async fn the_same_message_after_a_change_of_policy_waits_and_is_issued() {
    let world = World::new(&[("routers", &manual().replace("CN={name:[a-z0-9-]{1,32}}", "CN={name:[0-9]+}"))]);
    let device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let request = world.request("routers", &device, Some(&challenge));
    assert_eq!(world.enroll(request.clone()).await, "refused subject-not-allowed");
    world.change_policy("routers", &manual());
    let again = || {
        let mut again = world.request("routers", &device, Some(&challenge));
        again.message = request.message;
        again
    };
    assert_eq!(world.enroll(again()).await, "pending");
    // The refusal is older than the wait, and does not come back.
    assert_eq!(world.enroll(again()).await, "pending");
    let waiting = world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("listed");
    assert_eq!(waiting.len(), 1);
    world.enroller.approve(waiting[0].id, "alice").await.expect("approved");
    world.work().await;
    let answer = world.enroll(again()).await;
    assert!(answer.starts_with("issued "), "{answer}");
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_does_not_skip_the_first_approval() {
    let careful = ROUTERS.replace("[enforce]", "[enforce]\napproval = \"manual-first\"");
    let world = World::new(&[("routers", &careful), ("others", ROUTERS)]);
    let mut device = Device::new("r1");
    let challenge = world.challenge("others").await;
    let answer = world.enroll(world.request("others", &device, Some(&challenge))).await;
    let certificate = world.certificate(&answer).await;
    device.certificate = Some(Arc::clone(&certificate));
    // Signed with a certificate of another group, let in by the challenge: the first enrollment in this one.
    let newcomer = Device { certificate: device.certificate.clone(), ..Device::new("r1") };
    let challenge = world.challenge("routers").await;
    assert_eq!(world.enroll(world.request("routers", &newcomer, Some(&challenge))).await, "pending");
}

#[tokio::test]
async fn the_record_holds_no_challenge() {
    let world = World::new(&[("routers", ROUTERS), ("slow", &manual())]);
    let issued = world.challenge("routers").await;
    let answer = world.enroll(world.request("routers", &Device::new("r1"), Some(&issued))).await;
    assert!(answer.starts_with("issued "), "{answer}");
    let waiting = world.challenge("slow").await;
    assert_eq!(world.enroll(world.request("slow", &Device::new("r2"), Some(&waiting))).await, "pending");
    let refused = "a-shared-secret-of-somebody";
    assert_eq!(world.enroll(world.request("routers", &Device::new("r3"), Some(refused))).await, "refused challenge-wrong");
    for file in std::fs::read_dir(world.folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if !file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("inventory.sqlite")) {
            continue;
        }
        let octets = std::fs::read(&file).expect("read");
        for challenge in [issued.as_str(), &waiting, refused] {
            for form in [challenge.to_owned(), hex::encode(challenge)] {
                assert!(!octets.windows(form.len()).any(|w| w == form.as_bytes()), "{form} stands in {}", file.display());
            }
        }
    }
}

#[tokio::test]
async fn a_compromised_key_gets_no_certificate_by_a_new_challenge() {
    let world = World::new(&[("routers", ROUTERS)]);
    let device = Device::new("r1");
    let challenge = world.challenge("routers").await;
    let answer = world.enroll(world.request("routers", &device, Some(&challenge))).await;
    let record = world.enroller.find_certificate(answer.split(' ').nth(1).expect("a serial")).await.expect("found");
    world.enroller.revoke(&record, RevocationReason::KeyCompromise, "alice").await.expect("revoked");
    // The message is signed with a certificate that the device made for itself, so nothing points to the revoked one.
    let challenge = world.challenge("routers").await;
    assert_eq!(world.enroll(world.request("routers", &device, Some(&challenge))).await, "refused key-reused");
    let answer = world.enroll(world.request("routers", &Device::new("r1"), Some(&challenge))).await;
    assert!(answer.starts_with("issued "), "the challenge is not spent: {answer}");
}

#[tokio::test]
async fn a_stranger_with_a_long_name_leaves_a_short_trace() {
    let world = World::new(&[("routers", ROUTERS)]);
    let device = Device::new(&"x".repeat(20_000));
    assert_eq!(world.enroll(world.request("routers", &device, Some("guessed"))).await, "refused challenge-wrong");
    let challenge = world.challenge("routers").await;
    assert_eq!(world.enroll(world.request("routers", &device, Some(&challenge))).await, "refused subject-not-allowed");
    let refused = world.inventory.transactions(TransactionState::Refused, 10).await.expect("listed");
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|one| one.subject.len() < 600 && one.detail.as_ref().is_some_and(|text| text.len() < 600)));
    let log = world.inventory.audit_log(0, 10).await.expect("a log");
    assert!(log.iter().all(|record| record.event.fields.values().all(|value| value.to_string().len() < 600)));
}

#[tokio::test]
async fn an_approval_that_comes_too_late_issues_no_expired_certificate() {
    let world = World::new(&[("routers", &manual())]);
    let challenge = world.challenge("routers").await;
    assert_eq!(world.enroll(world.request("routers", &Device::new("r1"), Some(&challenge))).await, "pending");
    let waiting = world.inventory.transactions(TransactionState::AwaitingApproval, 10).await.expect("listed").remove(0);
    world.clock.forward(400 * DAY);
    let error = world.enroller.approve(waiting.id, "alice").await.expect_err("it is too late");
    assert!(error.to_string().contains("too late"), "{error}");
    world.enroller.deny(waiting.id, "too old", "alice").await.expect("denied");
    let error = world.enroller.approve(waiting.id, "alice").await.expect_err("it was denied");
    assert!(error.to_string().contains("waits for a decision"), "{error}");
}
