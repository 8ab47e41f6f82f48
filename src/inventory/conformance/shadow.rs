//! Shadow runs, summed up by devices.

use super::*;

fn outcome(device: &str, code: &str, reply: Option<u64>, micros: Option<u64>, seconds: i64) -> ShadowOutcome {
    ShadowOutcome {
        group: "routers".to_owned(),
        candidate: "next".to_owned(),
        device: device.to_owned(),
        code: code.to_owned(),
        detail: "why".to_owned(),
        reply,
        signing_micros: micros,
        first_at: at(seconds),
        at: at(seconds),
        count: 1,
    }
}

pub(crate) async fn the_latest_run_of_a_device_counts(store: Store) {
    assert_eq!(store.shadow_tally("routers", "next", 5).await.expect("reads"), ShadowTally::default());
    let last = outcome("S4", "reply-too-large", Some(9000), None, 9);
    for one in [
        outcome("S1", "key-not-accepted", None, None, 1),
        outcome("S1", "ok", Some(5000), Some(700), 3),
        outcome("S2", "ok", Some(5200), Some(300), 4),
        outcome("S3", "ok", Some(5100), Some(900), 5),
        outcome("S5", "key-not-accepted", None, None, 6),
        last.clone(),
        ShadowOutcome { candidate: "other".to_owned(), ..last.clone() },
    ] {
        store.add_shadow(one).await.expect("writes");
    }
    let tally = store.shadow_tally("routers", "next", 1).await.expect("reads");
    let devices: Vec<_> = tally.devices.iter().map(|(code, count)| (code.as_str(), *count)).collect();
    assert_eq!(devices, [("key-not-accepted", 1), ("ok", 3), ("reply-too-large", 1)]);
    assert_eq!((tally.runs, tally.since), (6, Some(at(1))));
    assert_eq!(tally.reply, Spread { median: Some(5100), max: Some(9000) });
    assert_eq!(tally.signing_micros, Spread { median: Some(700), max: Some(900) });
    assert_eq!(tally.examples, [last], "the latest, and no more than asked for");
    assert_eq!(store.shadow_tally("cameras", "next", 5).await.expect("reads").runs, 0);
}
