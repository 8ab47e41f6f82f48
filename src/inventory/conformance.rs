//! What every store has to do, as tests against the trait. A store's own tests call [`tests!`] with a function that makes an
//! empty one, in a value with a field `inventory: Arc<dyn Inventory>`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::*;

pub(crate) mod audit;
pub(crate) mod certificates;
pub(crate) mod challenges;
pub(crate) mod concurrency;
pub(crate) mod devices;
pub(crate) mod lifecycle;
pub(crate) mod pairs;
pub(crate) mod recall;
pub(crate) mod rollouts;
pub(crate) mod shadow;
pub(crate) mod work;

/// Makes a test of every case.
macro_rules! tests {
    ($make:ident) => {
        $crate::inventory::conformance::tests!($make: recall {
            an_unknown_request_is_unknown, a_transaction_comes_back_as_it_was_written, the_same_message_brings_the_same_reply,
            other_wire_identifier_joins_while_open, a_joined_identifier_finds_the_final_transaction,
            different_keys_do_not_meet, a_final_transaction_is_known_and_may_recur, a_poll_finds_the_newest,
            a_refusal_is_kept_with_its_reply, a_refusal_gives_way_to_what_came_later, the_first_reply_to_a_message_stays,
        });
        $crate::inventory::conformance::tests!($make: lifecycle {
            opening_twice_changes_nothing, a_request_that_was_overtaken_gets_what_was_issued,
            the_checks_come_in_their_order, a_device_limit_counts_issued_and_open, issuing_ends_it, rejecting_frees_the_challenge,
            waiting_and_unclear_attempts_stay_open, what_was_not_taken_goes_to_the_next_issuer, only_an_open_transaction_is_concluded, secrets_go_when_no_longer_needed,
            a_failed_command_leaves_nothing,
        });
        $crate::inventory::conformance::tests!($make: work {
            approval_lets_it_go_on, denial_keeps_the_challenge_spent, an_unclear_transaction_can_be_decided,
            states_are_listed_oldest_first, due_work_is_claimed_once, released_work_can_be_claimed,
            a_lease_that_ran_out_can_be_claimed, what_a_crash_left_is_work_again, who_lost_an_attempt_says_nothing_more,
            a_certificate_counts_from_whoever_brings_it_first, what_was_placed_anew_is_not_taken_from_the_attempt_before,
            upstreams_are_asked_as_far_as_they_have_room,
            questions_have_room_of_their_own,
            what_could_go_elsewhere_is_found_behind_what_could_not,
        });
        $crate::inventory::conformance::tests!($make: challenges {
            a_challenge_comes_back_as_it_was_written, lists_show_the_newest_first, revoking_needs_a_prefix_that_fits_one,
            a_revoked_or_expired_challenge_is_not_redeemed, old_rows_are_purged_and_the_rest_stays,
            old_transactions_are_purged_and_their_certificates_stay, a_long_purge_reaches_the_end,
        });
        $crate::inventory::conformance::tests!($make: certificates {
            a_certificate_is_found_by_all_its_names, a_renewal_supersedes_what_it_renews, revocation_happens_once,
            crl_numbers_only_grow, a_key_used_elsewhere_is_found, a_device_is_counted_from_then_on,
            searches_combine_their_conditions, text_is_looked_for_in_many_places, pages_follow_each_other,
            statistics_count_rows, a_certificate_that_came_too_late_is_set_aside,
            what_was_set_aside_is_no_part_of_a_devices_share, a_ca_is_owed_the_word_until_it_is_told,
        });
        $crate::inventory::conformance::tests!($make: pairs {
            a_pair_is_whole_with_its_second_certificate, a_pair_is_superseded_and_revoked_whole, a_pair_counts_as_one_certificate,
            a_pair_that_comes_to_nothing_leaves_nothing_valid,
        });
        $crate::inventory::conformance::tests!($make: audit {
            the_chain_has_no_gaps, events_of_every_kind_are_chained,
        });
        $crate::inventory::conformance::tests!($make: rollouts {
            a_rollout_stands_where_it_was_put, a_setback_is_kept_once_a_device, figures_count_devices_and_not_requests,
            the_census_counts_valid_certificates,
        });
        $crate::inventory::conformance::tests!($make: devices {
            what_was_learned_holds_until_it_is_taken_back, a_device_is_told_what_it_was_given,
            valid_certificates_come_in_pages, renewals_have_a_pace,
        });
        $crate::inventory::conformance::tests!($make: shadow {
            the_latest_run_of_a_device_counts,
        });
        $crate::inventory::conformance::tests!($make: concurrency {
            one_of_many_redeems_a_challenge, one_of_many_opens_a_transaction, a_limit_holds_under_concurrency,
            one_of_many_concludes, work_is_never_claimed_twice, the_chain_holds_under_concurrency,
        });
    };
    ($make:ident: $room:ident { $($case:ident),+ $(,)? }) => {
        mod $room {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let made = super::$make();
                    $crate::inventory::conformance::$room::$case(std::sync::Arc::clone(&made.inventory)).await;
                }
            )+
        }
    };
}
pub(crate) use tests;

type Store = std::sync::Arc<dyn Inventory>;

/// A time so many seconds from the start of the tests, which is about now.
fn at(seconds: i64) -> Timestamp {
    static START: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| Timestamp::now().as_second());
    Timestamp::from_second(start + seconds).expect("time")
}

/// 32 octets that stand for a digest.
fn digest(seed: u32) -> [u8; 32] {
    let mut digest = [0xA5; 32];
    digest[..4].copy_from_slice(&seed.to_be_bytes());
    digest
}

fn event(name: &str) -> AuditEvent {
    let mut fields = serde_json::Map::new();
    fields.insert("group".to_owned(), Value::from("routers"));
    AuditEvent { at: at(0), event: name.to_owned(), actor: "system".to_owned(), object: "object".to_owned(), fields }
}

/// The key of a first enrollment, by device number.
fn key(device: u32) -> TransactionKey {
    TransactionKey {
        endpoint: "routers".to_owned(),
        wire_id: format!("wire-{device}"),
        signer_key: digest(device),
        csr_key: digest(device),
        renews: None,
        wish: digest(3_000_000 + device),
    }
}

fn transaction(key: TransactionKey) -> Transaction {
    Transaction {
        id: TransactionId::new(),
        key,
        state: TransactionState::Issuing,
        protocol: "scep".to_owned(),
        group: Some("routers".to_owned()),
        csr: vec![0x30, 0x82, 0x01],
        subject: "CN=router,O=Example".to_owned(),
        source: Some("192.0.2.7".parse().expect("address")),
        received_at: at(0),
        updated_at: at(0),
        order: Some("{\"profile\":\"ecdsa-p256\"}".to_owned()),
        rejection: None,
        detail: None,
        snapshot: "c0ffee".to_owned(),
        certificate: None,
        challenge: None,
        sealed_challenge: None,
    }
}

fn attempt() -> Attempt {
    Attempt {
        id: AttemptId::new(),
        state: AttemptState::Prepared,
        upstream: "local".to_owned(),
        ca: "classical".to_owned(),
        reference: None,
        due_at: at(0),
        held_by: Some("node-a".to_owned()),
        held_until: Some(at(60)),
    }
}

/// A transaction that goes straight to the issuer.
fn new(device: u32) -> NewTransaction {
    NewTransaction {
        transaction: transaction(key(device)),
        attempt: Some(attempt()),
        redeem: None,
        limit: None,
        events: vec![event("request.ordered")],
    }
}

/// A challenge by number.
fn challenge(number: u32) -> Challenge {
    Challenge {
        id: format!("{number:016x}"),
        digest: digest(1_000_000 + number),
        group: "routers".to_owned(),
        bind: BTreeMap::from([("subject.serialNumber".to_owned(), "S1".to_owned())]),
        note: Some("for the branch".to_owned()),
        created_by: "operator:ada".to_owned(),
        created_at: at(-10),
        expires_at: at(3600),
        redeemed_by: None,
        redeemed_at: None,
        revoked_at: None,
    }
}

/// A certificate by number, of a transaction.
fn certificate(number: u32, transaction: TransactionId) -> CertificateRecord {
    CertificateRecord {
        fingerprint: digest(2_000_000 + number),
        der: vec![0x30, 0x82, number as u8],
        serial: [&[0x0B][..], &number.to_be_bytes()].concat(),
        issuer: vec![0x30, 0x00],
        issuer_text: "CN=Example CA".to_owned(),
        subject: format!("CN=router-{number},O=Example"),
        common_name: Some(format!("router-{number}")),
        subject_alt_names: vec![format!("dns:router-{number}.branch.example.net")],
        not_before: at(0),
        not_after: at(86_400),
        key_algorithm: "rsa-2048".to_owned(),
        spki_digest: digest(number),
        signature_algorithm: "ecdsa-with-SHA256".to_owned(),
        status: CertificateStatus::Valid,
        revoked_at: None,
        revocation_reason: None,
        group: "routers".to_owned(),
        profile: "ecdsa-p256".to_owned(),
        upstream: "local".to_owned(),
        ca: "classical".to_owned(),
        device: Some(format!("S{number}")),
        transaction,
        authenticated_by: "one-time challenge".to_owned(),
        source: Some("2001:db8::7".parse().expect("address")),
        renews: None,
        sibling_of: None,
        set_aside: false,
        issued_at: at(1),
    }
}

/// What concludes the first attempt of `new` with a certificate.
fn issued(new: &NewTransaction, certificate: CertificateRecord) -> Conclusion {
    Conclusion {
        transaction: new.transaction.id,
        attempt: new.attempt.as_ref().expect("it has an attempt").id,
        lease: new.attempt.as_ref().and_then(Attempt::lease),
        result: AttemptResult::Issued { certificate: Arc::new(certificate), keep_secret: false },
        at: at(1),
        reply: None,
        events: vec![event("certificate.issued")],
    }
}

/// What concludes the first attempt of `new` otherwise.
fn concluded(new: &NewTransaction, result: AttemptResult) -> Conclusion {
    Conclusion { result, ..issued(new, certificate(0, new.transaction.id)) }
}

/// The same, written by who holds the attempt now.
fn held(conclusion: Conclusion, node: &str, until: i64) -> Conclusion {
    Conclusion { lease: Some(Lease { node: node.to_owned(), until: at(until) }), ..conclusion }
}

fn rejected() -> AttemptResult {
    AttemptResult::Rejected { code: "issuer-refused".to_owned(), detail: "bad name".to_owned() }
}

/// Opens it, which has to succeed.
async fn opened(store: &Store, new: &NewTransaction) {
    assert_eq!(store.open(new.clone()).await.expect("opens"), Opened::Created);
}

/// Opens a transaction for this device and issues its certificate.
async fn enrolled(store: &Store, device: u32, certificate: impl FnOnce(TransactionId) -> CertificateRecord) -> CertificateRecord {
    let new = new(device);
    opened(store, &new).await;
    let certificate = certificate(new.transaction.id);
    let done = store.conclude(issued(&new, certificate.clone())).await.expect("concludes");
    assert_eq!(done, Concluded::Done);
    certificate
}

async fn stored(store: &Store, id: TransactionId) -> Transaction {
    store.transaction(id).await.expect("reads").expect("it is there")
}

async fn events(store: &Store) -> Vec<String> {
    let records = store.audit_log(0, usize::MAX).await.expect("reads");
    records.into_iter().map(|record| record.event.event).collect()
}
