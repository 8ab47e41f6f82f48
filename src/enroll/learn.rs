//! What a request shows of its device, and the rung of the ladder that it gets because of that.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::core::Core;
use super::issue::fields;
use super::{EnrollError, EnrollmentRequest};
use crate::algorithm::AlgorithmProfile;
use crate::inventory::{AuditEvent, DeviceFinding};
use crate::policy::DeviceGroup;
use crate::rollout::{Choice, Evidence, Given, Ruling, Rung, Stand, descend, weigh};
use crate::snapshot::Snapshot;
use crate::x509::Certificate;

/// How many certificates of a device are looked at.
const LOOK_BACK: usize = 32;

/// What a request has taught.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lesson {
    /// What it has shown that the device cannot digest.
    pub(super) learned: Option<DeviceFinding>,
    /// What it has shown that the device can digest, though it was thought not to.
    pub(super) unlearned: Option<DeviceFinding>,
    /// What holds now.
    pub(super) known: Vec<DeviceFinding>,
    /// Whether the device keeps a profile that it cannot digest, for there is nothing else that it may have.
    pub(super) held: bool,
}

/// The rungs below a profile.
fn rungs(snapshot: &Snapshot, group: &DeviceGroup, from: &AlgorithmProfile, device: Option<&str>, now: Timestamp) -> Vec<Rung> {
    let below = std::iter::successors(next(snapshot, from), |rung| next(snapshot, rung));
    // A ladder that loops is refused when the configuration is read; no ladder is longer than there are profiles.
    below
        .take(snapshot.profiles.len())
        .map(|profile| Rung { profile: profile.name.clone(), ruled_out: ruling(group, profile, device, now) == Ruling::Passed })
        .collect()
}

fn next<'a>(snapshot: &'a Snapshot, profile: &AlgorithmProfile) -> Option<&'a AlgorithmProfile> {
    snapshot.profiles.get(profile.fallback.as_deref()?).map(Arc::as_ref)
}

/// What the deadline of a group says of a profile for a device.
pub(super) fn ruling(group: &DeviceGroup, profile: &AlgorithmProfile, device: Option<&str>, now: Timestamp) -> Ruling {
    group.deadline.as_ref().map_or(Ruling::Free, |deadline| deadline.rule(profile.is_post_quantum(), device, now))
}

/// Goes down the ladder as far as the device has shown that it must, by this request too. Nothing is written.
pub(super) async fn look(
    core: &Core,
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    first: Choice,
    device: Option<&str>,
    renews: Option<&Certificate>,
    now: Timestamp,
) -> Result<(Choice, Lesson), EnrollError> {
    let snapshot = &request.snapshot;
    let rungs = snapshot.profiles.get(&first.profile).map(|from| rungs(snapshot, group, from, device, now)).unwrap_or_default();
    let rungs = rungs.as_slice();
    let Some(device) = device.filter(|_| group.fallback.learn) else {
        return Ok((descend(first, rungs, |_| false).choice, Lesson::default()));
    };
    let mut findings = core.inventory.findings_of(&group.name, device).await?;
    let given = core.inventory.given(&group.name, device, LOOK_BACK).await?;
    let renews = renews.map(Certificate::fingerprint);
    let mut lesson = Lesson::default();
    // Whoever signs with a certificate of a profile can digest it.
    let shown = renews.and_then(|renews| given.iter().find(|one| one.fingerprint == renews));
    if let Some(shown) = shown
        && let Some(wrong) = findings.iter_mut().find(|finding| finding.gone_at.is_none() && finding.profile == shown.profile)
    {
        wrong.gone_at = Some(now);
        lesson.unlearned = Some(wrong.clone());
    }
    let chokes = |findings: &[DeviceFinding], profile: &str| {
        findings.iter().any(|finding| finding.gone_at.is_none() && finding.profile == profile)
    };
    let stand = descend(first.clone(), rungs, |profile| chokes(&findings, profile));
    let stand = match evidence_against(request, group, &stand, &given, &findings, renews.as_ref(), now) {
        None => stand,
        Some(Evidence { kind, detail }) => {
            let profile = stand.choice.profile.clone();
            findings.retain(|finding| finding.profile != profile);
            let (group, device) = (group.name.clone(), device.to_owned());
            let finding = DeviceFinding { group, device, profile, kind, detail, at: now, gone_at: None };
            findings.push(finding.clone());
            lesson.learned = Some(finding);
            descend(first, rungs, |profile| chokes(&findings, profile))
        }
    };
    findings.retain(|finding| finding.gone_at.is_none());
    let Stand { choice, held } = stand;
    Ok((choice, Lesson { known: findings, held, ..lesson }))
}

/// What the request says against the profile that the device would get; nothing, if that has no fallback or is known.
fn evidence_against(
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    stand: &Stand,
    given: &[Given],
    findings: &[DeviceFinding],
    renews: Option<&[u8; 32]>,
    now: Timestamp,
) -> Option<Evidence> {
    let profile = request.snapshot.profiles.get(&stand.choice.profile)?;
    if stand.held || profile.fallback.is_none() {
        return None;
    }
    let since = findings.iter().filter(|finding| finding.profile == profile.name).filter_map(|finding| finding.gone_at).max();
    weigh(&profile.name, given, since, renews, &group.fallback, now)
}

/// Writes what a request has taught.
pub(super) async fn remember(core: &Core, lesson: &Lesson, choice: &Choice, now: Timestamp) -> Result<(), EnrollError> {
    if let Some(wrong) = &lesson.unlearned {
        let why = "it has signed with a certificate of this profile";
        let event = event("device.unlearned", "device", wrong, json!({ "why": why, "was": wrong.detail }), now);
        core.inventory.unlearn(&wrong.group, &wrong.device, &wrong.profile, now, event).await?;
        tracing::info!(
            group = wrong.group,
            device = wrong.device,
            profile = wrong.profile,
            "The device digests this profile after all."
        );
    }
    if let Some(learned) = &lesson.learned {
        let more = json!({
            "kind": learned.kind.name(), "why": learned.detail, "next": choice.profile,
            "held": lesson.held.then_some("no profile of its ladder is left that its group may have"),
        });
        let event = event("device.learned", "device", learned, more, now);
        if core.inventory.learn(learned.clone(), event).await? {
            core.metrics.fallback(&learned.group, &learned.profile, "learned");
            tracing::warn!(
                group = learned.group,
                device = learned.device,
                profile = learned.profile,
                next = choice.profile,
                "The device cannot digest this profile: {}.",
                learned.detail
            );
        }
    }
    Ok(())
}

/// The audit event of something that is known of a device.
pub(super) fn event(name: &str, actor: &str, finding: &DeviceFinding, more: serde_json::Value, at: Timestamp) -> AuditEvent {
    let DeviceFinding { group, device, profile, .. } = finding;
    let mut all = fields(json!({ "group": group, "device": device, "profile": profile }));
    all.extend(fields(more));
    AuditEvent { at, event: name.to_owned(), actor: actor.to_owned(), object: device.clone(), fields: all }
}
