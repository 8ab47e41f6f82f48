//! Decisions of people, and who works on what.

use super::*;

fn waiting(device: u32) -> NewTransaction {
    let mut new = new(device);
    new.transaction.state = TransactionState::AwaitingApproval;
    new.attempt = None;
    new
}

fn approve() -> Decision {
    Decision::Approve { attempt: attempt(), event: event("request.approved") }
}

fn deny() -> Decision {
    Decision::Deny { detail: "unknown device".to_owned(), event: event("request.denied") }
}

async fn claimed(store: &Store, node: &str, now: i64, limit: usize) -> Vec<TransactionId> {
    let work = store.claim(node, at(now), at(now + 60), limit, &BTreeMap::new()).await.expect("claims");
    for (transaction, attempt) in &work {
        assert_eq!(transaction.state, TransactionState::Issuing);
        assert_eq!((attempt.held_by.as_deref(), attempt.held_until), (Some(node), Some(at(now + 60))));
    }
    work.into_iter().map(|(transaction, _)| transaction.id).collect()
}

pub(crate) async fn approval_lets_it_go_on(store: Store) {
    let new = waiting(1);
    opened(&store, &new).await;
    assert!(claimed(&store, "node-b", 1000, 10).await.is_empty(), "there is nothing to do yet");
    let approved = store.decide(new.transaction.id, approve()).await.expect("decides").expect("it waited");
    assert_eq!(approved.state, TransactionState::Issuing);
    assert_eq!(approved.order, new.transaction.order, "what was approved is what was stored");
    assert_eq!(store.decide(approved.id, deny()).await.expect("decides"), None);
    assert_eq!(store.decide(TransactionId::new(), approve()).await.expect("decides"), None);
    assert_eq!(claimed(&store, "node-b", 1000, 10).await, [approved.id]);
    assert_eq!(events(&store).await, ["request.ordered", "request.approved"]);
}

pub(crate) async fn denial_keeps_the_challenge_spent(store: Store) {
    store.add_challenges(vec![challenge(1)]).await.expect("adds");
    let mut new = NewTransaction { redeem: Some(challenge(1).digest), ..waiting(1) };
    new.transaction.sealed_challenge = Some(vec![1]);
    opened(&store, &new).await;
    let denied = store.decide(new.transaction.id, deny()).await.expect("decides").expect("it waited");
    assert_eq!(denied.state, TransactionState::Refused);
    assert_eq!((denied.rejection.as_deref(), denied.detail.as_deref()), (Some("denied"), Some("unknown device")));
    assert_eq!(denied.sealed_challenge, None);
    let spent = store.challenge(&challenge(1).digest).await.expect("reads").expect("it is there");
    assert_eq!(spent.redeemed_by, Some(denied.id));
    let again = NewTransaction { redeem: new.redeem, ..super::new(2) };
    assert_eq!(store.open(again).await.expect("opens"), Opened::ChallengeSpent);
    assert_eq!(events(&store).await, ["request.ordered", "request.denied"]);
}

pub(crate) async fn an_unclear_transaction_can_be_decided(store: Store) {
    for (device, decision, state) in [(1, approve(), TransactionState::Issuing), (2, deny(), TransactionState::Refused)] {
        let new = new(device);
        opened(&store, &new).await;
        let unclear = AttemptResult::Unknown { detail: "connection lost".to_owned() };
        store.conclude(concluded(&new, unclear)).await.expect("concludes");
        let decided = store.decide(new.transaction.id, decision).await.expect("decides").expect("it waited");
        assert_eq!(decided.state, state);
        let expected = if state == TransactionState::Issuing { 2 } else { 1 };
        assert_eq!(store.attempts(new.transaction.id).await.expect("reads").len(), expected);
    }
}

pub(crate) async fn states_are_listed_oldest_first(store: Store) {
    let mut ids = Vec::new();
    for device in 1..=3 {
        let new = waiting(device);
        opened(&store, &new).await;
        ids.push(new.transaction.id);
    }
    let list = async |state, limit| -> Vec<TransactionId> {
        let found = store.transactions(state, limit).await.expect("reads");
        found.into_iter().map(|transaction| transaction.id).collect()
    };
    assert_eq!(list(TransactionState::AwaitingApproval, 10).await, ids);
    assert_eq!(list(TransactionState::AwaitingApproval, 2).await, ids[..2]);
    store.decide(ids[0], deny()).await.expect("decides");
    assert_eq!(list(TransactionState::AwaitingApproval, 10).await, ids[1..]);
    assert_eq!(list(TransactionState::Refused, 10).await, ids[..1]);
    assert!(list(TransactionState::Issued, 10).await.is_empty());
}

pub(crate) async fn due_work_is_claimed_once(store: Store) {
    let mut first = new(1);
    let mut second = new(2);
    for (new, due) in [(&mut first, 20), (&mut second, 10)] {
        let attempt = new.attempt.as_mut().expect("attempt");
        (attempt.held_by, attempt.held_until, attempt.due_at) = (None, None, at(due));
        opened(&store, new).await;
    }
    assert!(claimed(&store, "node-b", 9, 10).await.is_empty(), "nothing is due");
    assert_eq!(claimed(&store, "node-b", 20, 1).await, [second.transaction.id], "what is due longest comes first");
    assert_eq!(claimed(&store, "node-c", 20, 10).await, [first.transaction.id]);
    assert!(claimed(&store, "node-d", 20, 10).await.is_empty(), "both are held");
    // What is to be asked later is nobody's until then.
    let later = AttemptResult::Waiting { reference: "17".to_owned(), due_at: at(50) };
    assert_eq!(store.conclude(held(concluded(&first, later), "node-c", 80)).await.expect("concludes"), Concluded::Done);
    assert!(claimed(&store, "node-d", 49, 10).await.is_empty());
    assert_eq!(claimed(&store, "node-d", 50, 10).await, [first.transaction.id]);
    // What is final is never work again.
    store.conclude(issued(&first, certificate(1, first.transaction.id))).await.expect("concludes");
    store.conclude(held(concluded(&second, rejected()), "node-b", 80)).await.expect("concludes");
    assert!(claimed(&store, "node-d", 10_000, 10).await.is_empty());
}

pub(crate) async fn released_work_can_be_claimed(store: Store) {
    for device in 1..=3 {
        opened(&store, &new(device)).await;
    }
    let mut other = new(4);
    other.attempt.as_mut().expect("attempt").held_by = Some("node-z".to_owned());
    opened(&store, &other).await;
    assert!(claimed(&store, "node-b", 1, 10).await.is_empty(), "those who opened them hold them");
    assert_eq!(store.release("node-a").await.expect("releases"), 3);
    assert_eq!(store.release("node-a").await.expect("releases"), 0);
    assert_eq!(claimed(&store, "node-b", 1, 10).await.len(), 3);
}

pub(crate) async fn a_lease_that_ran_out_can_be_claimed(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    assert!(claimed(&store, "node-b", 59, 10).await.is_empty());
    assert_eq!(claimed(&store, "node-b", 60, 10).await, [new.transaction.id]);
}

/// What was claimed may have reached the issuer, and a crash does not make it anything else; nor is it forgotten.
pub(crate) async fn what_a_crash_left_is_work_again(store: Store) {
    let mut new = new(1);
    new.attempt.as_mut().expect("attempt").state = AttemptState::Submitted;
    opened(&store, &new).await;
    let mut prepared = super::new(2);
    prepared.attempt.as_mut().expect("attempt").state = AttemptState::Prepared;
    opened(&store, &prepared).await;
    let states = async |node: &str, now| -> Vec<AttemptState> {
        let work = store.claim(node, at(now), at(now + 60), 10, &BTreeMap::new()).await.expect("claims");
        work.into_iter().map(|(_, attempt)| attempt.state).collect()
    };
    store.release("node-a").await.expect("releases");
    assert_eq!(states("node-a", 1000).await, [AttemptState::Submitted, AttemptState::Prepared], "as they were");
    store.release("node-a").await.expect("releases");
    assert_eq!(states("node-a", 1000).await, [AttemptState::Submitted, AttemptState::Submitted], "as they are since");
    // One that the issuer has a reference for is asked about, and not sent again.
    let later = AttemptResult::Waiting { reference: "17".to_owned(), due_at: at(1001) };
    assert_eq!(store.conclude(held(concluded(&new, later), "node-a", 1060)).await.expect("concludes"), Concluded::Done);
    assert_eq!(states("node-a", 1001).await, [AttemptState::Waiting]);
    store.release("node-a").await.expect("releases");
    assert_eq!(states("node-b", 2000).await.iter().filter(|state| **state == AttemptState::Waiting).count(), 1);
}

/// Everything but a certificate: what it thinks of the issuer is out of date, and the one that holds it now is believed.
pub(crate) async fn who_lost_an_attempt_says_nothing_more(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    assert_eq!(claimed(&store, "node-b", 60, 10).await, [new.transaction.id], "the lease of node-a ran out");
    let was = stored(&store, new.transaction.id).await;
    let held_by_b = store.attempts(was.id).await.expect("reads");
    for late in [
        rejected(),
        AttemptResult::Unknown { detail: "no answer".to_owned() },
        AttemptResult::Waiting { reference: "stale".to_owned(), due_at: at(5) },
    ] {
        let mut conclusion = concluded(&new, late);
        conclusion.reply = Some(([7; 32], Bytes::from_static(b"late")));
        assert_eq!(store.conclude(conclusion).await.expect("concludes"), Concluded::Lost(was.clone()));
    }
    // Also when nobody claims to hold it, and when the same node holds it anew.
    let nobody = Conclusion { lease: None, ..concluded(&new, rejected()) };
    assert_eq!(store.conclude(nobody).await.expect("concludes"), Concluded::Lost(was.clone()));
    assert_eq!(claimed(&store, "node-b", 120, 10).await, [new.transaction.id]);
    let before = held(concluded(&new, rejected()), "node-b", 120);
    assert_eq!(store.conclude(before).await.expect("concludes"), Concluded::Lost(was.clone()));
    assert_ne!(store.attempts(was.id).await.expect("reads"), held_by_b, "it is held longer");
    assert_eq!(stored(&store, was.id).await, was);
    assert_eq!(events(&store).await, ["request.ordered"]);
    assert_eq!(store.recall(&[7; 32], &key(1)).await.expect("reads"), Some(Known::Transaction(was)));
    // Who holds it is believed, and also a little after its time, as long as nobody else took it.
    let now = Conclusion { at: at(500), ..held(concluded(&new, rejected()), "node-b", 180) };
    assert_eq!(store.conclude(now).await.expect("concludes"), Concluded::Done);
}

pub(crate) async fn a_certificate_counts_from_whoever_brings_it_first(store: Store) {
    let new = new(1);
    opened(&store, &new).await;
    assert_eq!(claimed(&store, "node-b", 60, 10).await, [new.transaction.id]);
    assert_eq!(store.conclude(issued(&new, certificate(1, new.transaction.id))).await.expect("concludes"), Concluded::Done);
    let last = stored(&store, new.transaction.id).await;
    assert_eq!((last.state, last.certificate), (TransactionState::Issued, Some(certificate(1, last.id).fingerprint)));
    let second = held(issued(&new, certificate(2, last.id)), "node-b", 120);
    assert_eq!(store.conclude(second).await.expect("concludes"), Concluded::AlreadyFinal(last));
    assert!(claimed(&store, "node-c", 10_000, 10).await.is_empty());
}

pub(crate) async fn what_was_placed_anew_is_not_taken_from_the_attempt_before(store: Store) {
    let first = new(1);
    opened(&store, &first).await;
    let unclear = AttemptResult::Unknown { detail: "no answer".to_owned() };
    store.conclude(concluded(&first, unclear)).await.expect("concludes");
    let (id, again) = (first.transaction.id, attempt());
    let decision = Decision::Approve { attempt: again.clone(), event: event("request.approved") };
    let was = store.decide(id, decision).await.expect("decides").expect("it waited");
    // The issuer answers the first one after all: the second has a key of its own, and may bring another certificate.
    let late = store.conclude(issued(&first, certificate(1, id))).await.expect("concludes");
    assert_eq!(late, Concluded::Lost(was));
    assert_eq!(store.certificate(&certificate(1, id).fingerprint).await.expect("reads"), None);
    let second = Conclusion { attempt: again.id, lease: again.lease(), ..issued(&first, certificate(2, id)) };
    assert_eq!(store.conclude(second).await.expect("concludes"), Concluded::Done);
}

pub(crate) async fn upstreams_are_asked_as_far_as_they_have_room(store: Store) {
    let devices = [(1, "slow"), (2, "quick"), (3, "slow"), (4, "gone"), (5, "slow")];
    for (device, upstream) in devices {
        let mut new = new(device);
        let attempt = new.attempt.as_mut().expect("attempt");
        (attempt.held_by, attempt.held_until, attempt.upstream) = (None, None, upstream.to_owned());
        opened(&store, &new).await;
    }
    let open = [("gone", 1), ("quick", 1), ("slow", 3)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(store.open_attempts().await.expect("reads"), BTreeMap::from(open.clone()));
    let due = async |upstream: &str, now| store.due(upstream, at(now)).await.expect("reads");
    let (orders, nothing) = (Due { orders: true, polls: false }, Due::default());
    assert_eq!((due("slow", 1).await, due("slow", -1).await, due("none", 1).await), (orders, nothing, nothing));
    let claimed = async |room: &[(&str, usize)]| {
        let room = room.iter().map(|(name, room)| ((*name).to_owned(), Room { orders: *room, polls: *room })).collect();
        let work = store.claim("node-b", at(1), at(61), 10, &room).await.expect("claims");
        let mut upstreams: Vec<_> = work.into_iter().map(|(_, attempt)| attempt.upstream).collect();
        upstreams.sort();
        upstreams
    };
    assert_eq!(claimed(&[("slow", 0), ("gone", 0)]).await, ["quick"]);
    assert_eq!(claimed(&[("slow", 2), ("quick", 5)]).await, ["gone", "slow", "slow"]);
    assert_eq!(due("slow", 1).await, orders, "one is left");
    assert_eq!(claimed(&[]).await, ["slow"]);
    assert_eq!(due("slow", 1).await, nothing, "all are held");
    assert_eq!(store.open_attempts().await.expect("reads"), BTreeMap::from(open), "held, and open still");
}

/// What waits at the issuer is asked after beside a long queue, and not behind it.
pub(crate) async fn questions_have_room_of_their_own(store: Store) {
    let mut asked_after = new(1);
    for device in 2..=5 {
        let mut new = new(device);
        let attempt = new.attempt.as_mut().expect("attempt");
        (attempt.held_by, attempt.held_until, attempt.state) = (None, None, AttemptState::Prepared);
        opened(&store, &new).await;
    }
    asked_after.attempt.as_mut().expect("attempt").due_at = at(0);
    opened(&store, &asked_after).await;
    let upstream = asked_after.attempt.as_ref().expect("attempt").upstream.clone();
    let later = AttemptResult::Waiting { reference: "17".to_owned(), due_at: at(50) };
    assert_eq!(store.conclude(concluded(&asked_after, later)).await.expect("concludes"), Concluded::Done);
    let due = async |now| store.due(&upstream, at(now)).await.expect("reads");
    assert_eq!((due(49).await, due(50).await), (Due { orders: true, polls: false }, Due { orders: true, polls: true }));
    let claimed = async |orders, polls| {
        let room = BTreeMap::from([(upstream.clone(), Room { orders, polls })]);
        let work = store.claim("node-b", at(50), at(110), 10, &room).await.expect("claims");
        work.into_iter().map(|(_, attempt)| attempt.state).collect::<Vec<_>>()
    };
    assert_eq!(claimed(0, 0).await, []);
    assert_eq!(claimed(1, 1).await, [AttemptState::Waiting, AttemptState::Prepared]);
    assert_eq!(due(50).await, Due { orders: true, polls: false });
    assert_eq!(claimed(0, 9).await, []);
    assert_eq!(claimed(9, 9).await, [AttemptState::Prepared; 3]);
    assert_eq!(due(50).await, Due::default());
}

/// All that waits is looked through, and what cannot go elsewhere hides nothing.
pub(crate) async fn what_could_go_elsewhere_is_found_behind_what_could_not(store: Store) {
    let mut ids = Vec::new();
    for (device, order) in [(1, r#"{"failover":["x"]}"#), (2, "{}"), (3, r#"{"failover":["y"]}"#)] {
        let mut new = new(device);
        new.transaction.order = Some(order.to_owned());
        let attempt = new.attempt.as_mut().expect("attempt");
        (attempt.held_by, attempt.held_until, attempt.state, attempt.upstream) =
            (None, None, AttemptState::Prepared, "dead".into());
        opened(&store, &new).await;
        ids.push(new.transaction.id);
    }
    let mut found = Vec::new();
    let mut after = Looked::default();
    loop {
        let looked = store.movable("dead", at(1), after, 1).await.expect("reads");
        found.push(looked.found.iter().map(|(transaction, _)| transaction.id).collect::<Vec<_>>());
        match looked.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(found, [vec![ids[0]], vec![], vec![ids[2]], vec![]]);
    let all = store.movable("dead", at(1), Looked::default(), 10).await.expect("reads");
    assert_eq!((all.found.len(), all.next), (2, None));
}
