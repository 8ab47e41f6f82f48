//! Answers that are not to be believed: the CA may have issued, or may never have seen the request.

use super::*;

#[tokio::test]
async fn nothing_is_believed_that_is_not_tied_to_the_request() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let issued = ca.issue(&order);
    let good = || accepted(&issued).implicit();
    let other = Credential::Secret { secret: Zeroizing::new("another".into()), kind: MacKind::Pbm };
    let at = |minutes: i64| Timestamp::now() + SignedDuration::from_mins(minutes);
    for (answer, says) in [
        (Answered { nonce: Some(vec![1; 16]), ..good() }, "our nonce"),
        (Answered { nonce: Some(Vec::new()), ..good() }, "our nonce"),
        (Answered { transaction: Some(vec![1; 16]), ..good() }, "another transaction"),
        (Answered { transaction: Some(Vec::new()), ..good() }, "another transaction"),
        (Answered { by: Some(other), ..good() }, "our shared secret"),
        (Answered { by: None, ..good() }, "not protected"),
        (Answered { pvno: 1, ..good() }, "version 1"),
        (Answered { pvno: 4, ..good() }, "version 4"),
        (Answered { time: at(6), ..good() }, "clock-tolerance"),
        (Answered { time: at(-6), ..good() }, "clock-tolerance"),
        (Answered { by: None, ..error(Some(19)) }, "unprotected-errors"),
    ] {
        let server = playing(vec![answer]).await;
        let submission = cmp(&server, by_secret(&ca)).submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), "unknown", "{says}");
        let reason = reason(submission);
        assert!(reason.contains(says), "{reason}");
    }
    for good in [Answered { time: at(4), ..good() }, Answered { pvno: 3, ..good() }] {
        let server = playing(vec![good]).await;
        assert_eq!(name_of(&cmp(&server, by_secret(&ca)).submit(&remote, &order, &KEY).await), "issued");
    }
}

#[tokio::test]
async fn every_octet_of_an_answer_counts() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let issued = ca.issue(&order);
    let good = accepted(&issued).implicit();
    let (number, length) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let length = std::sync::Arc::new(length);
    let seen_length = std::sync::Arc::clone(&length);
    // Whatever is cut off or turned over: it is never taken for an answer.
    let server = Scripted::answering(move |seen| {
        let mut octets = good.to(seen);
        seen_length.store(octets.len(), Ordering::Relaxed);
        let turn = number.fetch_add(1, Ordering::Relaxed);
        if turn % 2 == 0 {
            octets.truncate(octets.len() * turn / 60);
        } else {
            let at = octets.len() * turn / 60;
            octets[at] ^= 1;
        }
        Play::body(200, "application/pkixcmp", octets)
    })
    .await;
    let cmp = cmp(&server, by_secret(&ca));
    for turn in 0..60 {
        // As if the one before had been good: otherwise the CA would be asked something else first.
        cmp.peers["devices"].believe(peer::Belief::Good);
        let submission = cmp.submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), "unknown", "turn {turn} of {length:?}");
    }
}

/// What the operator allows, and only that: an error without protection, of this transaction if it names one.
#[tokio::test]
async fn unprotected_errors_are_believed_where_that_is_set() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (order, remote) = (ca.order("devices"), ca.remote_ca("devices"));
    let bare = |failure| Answered { by: None, ..error(Some(failure)) };
    let without = |field: Vec<u8>| Answered { transaction: Some(field.clone()), nonce: Some(field), ..bare(20) };
    for (answer, expected) in [
        (bare(19), "rejected"),
        (bare(24), "not taken"),
        (without(Vec::new()), "not taken"),
        (without(vec![1; 16]), "unknown"),
        (Answered { by: None, ..accepted(&ca.issue(&order)).implicit() }, "unknown"),
    ] {
        let server = playing(vec![answer]).await;
        let settings = CmpCaSettings { unprotected_errors: true, ..by_secret(&ca) };
        let submission = cmp(&server, settings).submit(&remote, &order, &KEY).await;
        assert_eq!(name_of(&submission), expected, "{submission:?}");
    }
}

#[test]
fn nonsense_is_read_without_harm() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let content = cert_rep(0, &status(0, None), Some(&ca.certificate));
    for (number, content) in
        [(3, content), (12, vec![0x30, 0]), (22, vec![0x30, 2, 0x30, 0]), (26, vec![0x30, 0]), (23, vec![0x30, 0])]
    {
        for at in 0..content.len() {
            for bit in [0, 3, 7] {
                let mut changed = content.clone();
                changed[at] ^= 1 << bit;
                let _ = body::read_any(number, &changed);
            }
            let _ = body::read_any(number, &content[..at]);
        }
    }
}
