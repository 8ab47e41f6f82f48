//! Rollouts: where they stand, setbacks, and figures.

use std::time::Duration;

use super::*;
use crate::rollout::{Figures, Phase, RolloutState};

fn change(phase: Phase, from: &[Phase], name: &str) -> RolloutChange {
    let state = RolloutState {
        group: "routers".to_owned(),
        candidate: "next".to_owned(),
        phase,
        since: at(5),
        why: "refusals: 6 of 20".to_owned(),
        by: "system".to_owned(),
    };
    RolloutChange { state, from: from.to_vec(), event: event(name) }
}

pub(crate) async fn a_rollout_stands_where_it_was_put(store: Store) {
    assert_eq!(store.rollout("routers", "next").await.expect("reads"), None);
    let halt = change(Phase::Halted, &[Phase::Running], "rollout.halted");
    assert!(store.change_rollout(halt.clone()).await.expect("writes"), "what was never written is running");
    assert_eq!(store.rollout("routers", "next").await.expect("reads"), Some(halt.state.clone()));
    assert_eq!(store.rollout("routers", "other").await.expect("reads"), None);
    assert_eq!(store.rollout("cameras", "next").await.expect("reads"), None);
    // Another node saw the same gate trip.
    assert!(!store.change_rollout(halt.clone()).await.expect("writes"));
    let resume = change(Phase::Running, &[Phase::Halted, Phase::RolledBack], "rollout.resumed");
    assert!(store.change_rollout(resume.clone()).await.expect("writes"));
    assert_eq!(store.rollouts().await.expect("reads"), [resume.state]);
    assert_eq!(events(&store).await, ["rollout.halted", "rollout.resumed"]);
}

fn setback(device: &str, kind: SetbackKind, seconds: i64) -> Setback {
    Setback {
        group: "routers".to_owned(),
        profile: "next".to_owned(),
        device: device.to_owned(),
        kind,
        code: "key-not-accepted".to_owned(),
        detail: "no".to_owned(),
        first_at: at(seconds),
        at: at(seconds),
        count: 1,
    }
}

pub(crate) async fn a_setback_is_kept_once_a_device(store: Store) {
    for new in [
        setback("S1", SetbackKind::Refused, 1),
        setback("S1", SetbackKind::Refused, 7),
        setback("S1", SetbackKind::UpstreamError, 3),
        setback("S2", SetbackKind::Refused, 4),
    ] {
        store.add_setback(new).await.expect("writes");
    }
    let search = |profile: Option<&str>, since: i64, limit: usize| SetbackSearch {
        group: "routers".to_owned(),
        profile: profile.map(str::to_owned),
        since: at(since),
        limit,
    };
    let all = store.setbacks(&search(None, 0, 10)).await.expect("reads");
    let told: Vec<_> = all.iter().map(|one| (one.device.as_str(), one.kind, one.count)).collect();
    assert_eq!(told, [("S1", SetbackKind::Refused, 2), ("S2", SetbackKind::Refused, 1), ("S1", SetbackKind::UpstreamError, 1)]);
    assert_eq!((all[0].first_at, all[0].at), (at(1), at(7)));
    assert_eq!(store.setbacks(&search(Some("next"), 5, 10)).await.expect("reads").len(), 1);
    assert_eq!(store.setbacks(&search(Some("now"), 0, 10)).await.expect("reads").len(), 0);
    assert_eq!(store.setbacks(&search(None, 0, 1)).await.expect("reads").len(), 1);
    // Old ones go with the rest that is kept for a while.
    store.purge(PurgeBefore { leavings: at(5), transactions: at(-1000) }).await.expect("purges");
    assert_eq!(store.setbacks(&search(None, 0, 10)).await.expect("reads").len(), 1);
}

pub(crate) async fn figures_count_devices_and_not_requests(store: Store) {
    let mut number = 0;
    let mut give = async |device: &str, profile: &str, issued: i64| {
        number += 1;
        let record = |id| CertificateRecord {
            device: Some(device.to_owned()),
            profile: profile.to_owned(),
            issued_at: at(issued),
            ..certificate(number, id)
        };
        enrolled(&store, number, record).await;
    };
    give("S0", "now", -50).await;
    give("S1", "now", 10).await;
    give("S2", "next", 10).await;
    // It comes back twice, and is one device that came back.
    give("S2", "next", 12).await;
    give("S2", "next", 14).await;
    give("S3", "next", 20).await;
    // Half of its life is over: that is a renewal.
    give("S3", "next", 20 + 43_201).await;
    give("S4", "next", 30).await;
    give("S4", "now", 40).await;
    for (device, kind) in [("S2", SetbackKind::Refused), ("S5", SetbackKind::Refused), ("S5", SetbackKind::UpstreamError)] {
        store.add_setback(setback(device, kind, 15)).await.expect("writes");
    }
    store.add_setback(setback("S6", SetbackKind::Refused, -5)).await.expect("writes");

    let day = Duration::from_secs(86_400);
    let figures = store.figures("routers", at(0), day).await.expect("reads");
    assert_eq!(figures["next"], Figures { devices: 4, issued: 3, refused: 2, upstream_errors: 1, returned: 2 });
    assert_eq!(figures["now"], Figures { devices: 2, issued: 2, ..Figures::default() });
    let soon = store.figures("routers", at(0), Duration::from_secs(5)).await.expect("reads");
    assert_eq!(soon["next"].returned, 1);
    assert!(store.figures("cameras", at(0), day).await.expect("reads").is_empty());

    let known = async |device: &str| store.device_knowledge("routers", device).await.expect("reads").newest_profile;
    assert_eq!(known("S4").await.as_deref(), Some("now"));
    assert_eq!(known("S2").await.as_deref(), Some("next"));
    assert_eq!(known("S5").await, None);
}

pub(crate) async fn the_census_counts_valid_certificates(store: Store) {
    for (number, profile, key) in
        [(1, "now", "rsa-2048"), (2, "now", "rsa-2048"), (3, "next", "rsa-2048"), (4, "now", "ecdsa-p256")]
    {
        let record = |id| CertificateRecord {
            profile: profile.to_owned(),
            key_algorithm: key.to_owned(),
            not_after: at(1_000_000),
            ..certificate(number, id)
        };
        enrolled(&store, number, record).await;
    }
    enrolled(&store, 5, |id| CertificateRecord { not_after: at(-10), ..certificate(5, id) }).await;
    let counted = store.census("routers").await.expect("reads");
    let told: Vec<_> = counted.iter().map(|one| (one.profile.as_str(), one.key_algorithm.as_str(), one.count)).collect();
    assert_eq!(told, [("next", "rsa-2048", 1), ("now", "ecdsa-p256", 1), ("now", "rsa-2048", 2)]);
    assert!(store.census("cameras").await.expect("reads").is_empty());
}
