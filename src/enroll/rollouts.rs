//! What happens to rollouts: gates that trip, operators who halt and resume, and how they all stand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::core::{Core, before};
use super::issue::fields;
use super::operate::OperateError;
use super::{EnrollError, Enroller};
use crate::inventory::{AuditEvent, RolloutChange, Setback, SetbackSearch};
use crate::policy::DeviceGroup;
use crate::rollout::{Figures, OnTrip, Phase, Plan, ReturnsGate, RolloutState, Verdict, judge};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{GateMetric, RolloutMetric};

/// How many devices that fared badly a report names.
const NAMED_SETBACKS: usize = 50;

/// How the rollout of a group stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutReport {
    /// The device group.
    pub group: String,
    /// The profile that it is on.
    pub incumbent: String,
    /// The profile that is tried.
    pub candidate: String,
    /// Where it stands.
    pub phase: Phase,
    /// Since when, if anything ever happened to it.
    pub since: Option<Timestamp>,
    /// Why.
    pub why: Option<String>,
    /// Who did it.
    pub by: Option<String>,
    /// Devices that the plan names.
    pub devices: Vec<String>,
    /// The percentage that holds now.
    pub percent: String,
    /// The rings.
    pub rings: Vec<RingReport>,
    /// When the next ring begins.
    pub next_ring: Option<Timestamp>,
    /// How far back the gates look, from when.
    pub counted_since: Timestamp,
    /// How many devices the candidate must have met before a gate trips.
    pub min_devices: u64,
    /// Whether it has.
    pub enough: bool,
    /// What happens when one trips.
    pub on_trip: OnTrip,
    /// How devices fared under each profile since then.
    pub figures: BTreeMap<String, Figures>,
    /// The gates.
    pub gates: Vec<GateReport>,
    /// Valid certificates of the group by profile.
    pub certificates: BTreeMap<String, u64>,
    /// Devices that fared badly under the candidate, the latest first.
    pub setbacks: Vec<Setback>,
}

/// A ring of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RingReport {
    /// From then on.
    pub from: Timestamp,
    /// Whether it has begun.
    pub begun: bool,
    /// Its percentage.
    pub percent: Option<String>,
    /// The devices that it names.
    pub devices: Vec<String>,
}

/// A gate of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateReport {
    /// Where it stands.
    #[serde(flatten)]
    pub reading: crate::rollout::GateReading,
    /// How near it is: 1 is at the limit, more trips it.
    pub near: f64,
    /// The same in words.
    pub text: String,
}

/// How the gates of one group stand.
struct Judged {
    state: Option<RolloutState>,
    since: Timestamp,
    figures: BTreeMap<String, Figures>,
    verdict: Verdict,
}

impl Enroller {
    /// How the rollout of a group stands.
    pub async fn rollout(&self, group: &str) -> Result<RolloutReport, OperateError> {
        let core = self.core();
        let snapshot = self.snapshot();
        let group = snapshot.groups.get(group).ok_or_else(|| OperateError::NoSuchGroup(group.to_owned()))?;
        let plan = group.rollout.as_ref().ok_or_else(|| OperateError::NoRollout(group.name.clone()))?;
        let now = core.now();
        let judged = look(core, group, plan, now).await?;
        let mut certificates: BTreeMap<String, u64> = BTreeMap::new();
        for counted in core.inventory.census(&group.name).await? {
            *certificates.entry(counted.profile).or_default() += counted.count;
        }
        let search = SetbackSearch {
            group: group.name.clone(),
            profile: Some(plan.candidate.clone()),
            since: judged.since,
            limit: NAMED_SETBACKS,
        };
        let setbacks = core.inventory.setbacks(&search).await?;
        Ok(report(group, plan, judged, certificates, setbacks, now))
    }

    /// Halts, resumes or rolls back the rollout of a group.
    pub async fn change_rollout(
        &self,
        group: &str,
        phase: Phase,
        reason: &str,
        operator: &str,
    ) -> Result<RolloutState, OperateError> {
        let core = self.core();
        let snapshot = self.snapshot();
        let group = snapshot.groups.get(group).ok_or_else(|| OperateError::NoSuchGroup(group.to_owned()))?;
        let plan = group.rollout.as_ref().ok_or_else(|| OperateError::NoRollout(group.name.clone()))?;
        if phase == Phase::RolledBack && too_late_for(&snapshot, group, core.now()) {
            return Err(OperateError::BelowDeadline { group: group.name.clone(), profile: group.profile.clone() });
        }
        let why = if reason.is_empty() { "an operator said so".to_owned() } else { reason.to_owned() };
        let by = format!("operator:{operator}");
        let state = state_of(group, plan, phase, core.now(), why, by);
        let from = Phase::ALL.iter().copied().filter(|from| *from != phase).collect();
        let event = event(&state, group, None);
        match core.inventory.change_rollout(RolloutChange { state: state.clone(), from, event }).await? {
            true => Ok(state),
            false => Err(OperateError::RolloutPhase { group: group.name.clone(), phase }),
        }
    }

    /// Looks at the gates of all groups that try a candidate, and stops those where one trips. Gives how many it stopped.
    pub async fn watch_rollouts(&self) -> Result<usize, EnrollError> {
        let core = self.core();
        let snapshot = self.snapshot();
        let now = core.now();
        let (mut stopped, mut metrics) = (0, Vec::new());
        for group in snapshot.groups.values() {
            let Some(plan) = &group.rollout else { continue };
            let mut judged = look(core, group, plan, now).await?;
            let phase = judged.state.as_ref().map_or(Phase::Running, |state| state.phase);
            if phase == Phase::Running
                && let Some(why) = judged.verdict.trip()
            {
                stopped += usize::from(stop(core, group, plan, &judged, why, too_late_for(&snapshot, group, now), now).await?);
                judged.state = core.inventory.rollout(&group.name, &plan.candidate).await?;
            }
            metrics.push(metric(group, plan, &judged, now));
        }
        core.metrics.rollouts(&metrics);
        Ok(stopped)
    }
}

/// Reads what the gates of a group look at. What was before somebody resumed does not count against it again.
async fn look(core: &Core, group: &DeviceGroup, plan: &Plan, now: Timestamp) -> Result<Judged, EnrollError> {
    let state = core.inventory.rollout(&group.name, &plan.candidate).await?;
    let mut since = before(now, plan.gates.window);
    if let Some(state) = state.as_ref().filter(|state| state.phase == Phase::Running) {
        since = since.max(state.since);
    }
    let within = plan.gates.returns.map_or(ReturnsGate::DEFAULT.within, |returns| returns.within);
    let figures = core.inventory.figures(&group.name, since, within).await?;
    let of = |profile: &str| figures.get(profile).copied().unwrap_or_default();
    let verdict = judge(&plan.gates, &of(&plan.candidate), &of(&group.profile));
    Ok(Judged { state, since, figures, verdict })
}

/// Whether the profile that a group is on is below its deadline by now.
fn too_late_for(snapshot: &Snapshot, group: &DeviceGroup, now: Timestamp) -> bool {
    let classical = || snapshot.profile_of(group).is_some_and(|profile| !profile.is_post_quantum());
    group.deadline.as_ref().is_some_and(|deadline| deadline.is_past(now)) && classical()
}

/// Writes that a gate tripped; `false` if another node was faster.
async fn stop(
    core: &Core,
    group: &DeviceGroup,
    plan: &Plan,
    judged: &Judged,
    why: String,
    too_late: bool,
    now: Timestamp,
) -> Result<bool, EnrollError> {
    // Back to what is no longer issued would leave all devices without.
    let (phase, why) = match plan.gates.on_trip {
        OnTrip::RollBack if !too_late => (Phase::RolledBack, why),
        OnTrip::RollBack => (Phase::Halted, format!("{why}; it is not rolled back, which the deadline of the group rules out")),
        OnTrip::Halt => (Phase::Halted, why),
    };
    let state = state_of(group, plan, phase, now, why, "system".to_owned());
    let event = event(&state, group, Some(judged));
    let change = RolloutChange { state: state.clone(), from: vec![Phase::Running], event };
    let first = core.inventory.change_rollout(change).await?;
    if first {
        core.metrics.rollout_tripped(&group.name, &plan.candidate);
        tracing::error!(
            group = group.name,
            candidate = plan.candidate,
            phase = phase.name(),
            "A gate stopped the rollout: {}. Go on with: ravelin rollout resume {}",
            state.why,
            group.name
        );
    }
    Ok(first)
}

fn state_of(group: &DeviceGroup, plan: &Plan, phase: Phase, since: Timestamp, why: String, by: String) -> RolloutState {
    RolloutState { group: group.name.clone(), candidate: plan.candidate.clone(), phase, since, why, by }
}

fn event(state: &RolloutState, group: &DeviceGroup, judged: Option<&Judged>) -> AuditEvent {
    let name = match state.phase {
        Phase::Running => "rollout.resumed",
        Phase::Halted => "rollout.halted",
        Phase::RolledBack => "rollout.rolled-back",
    };
    AuditEvent {
        at: state.since,
        event: name.to_owned(),
        actor: state.by.clone(),
        object: state.group.clone(),
        fields: fields(json!({
            "group": state.group, "incumbent": group.profile, "candidate": state.candidate, "why": state.why,
            "counted_since": judged.map(|judged| judged.since), "figures": judged.map(|judged| &judged.figures),
        })),
    }
}

fn metric(group: &DeviceGroup, plan: &Plan, judged: &Judged, now: Timestamp) -> RolloutMetric {
    let of = |profile: &str| judged.figures.get(profile).copied().unwrap_or_default().devices;
    RolloutMetric {
        group: group.name.clone(),
        candidate: plan.candidate.clone(),
        phase: judged.state.as_ref().map_or(Phase::Running, |state| state.phase).name(),
        share: plan.share_at(now).fraction(),
        devices: vec![(group.profile.clone(), of(&group.profile)), (plan.candidate.clone(), of(&plan.candidate))],
        gates: judged
            .verdict
            .readings
            .iter()
            .map(|reading| GateMetric { gate: reading.gate.name(), share: reading.candidate, limit: reading.limit })
            .collect(),
    }
}

fn report(
    group: &DeviceGroup,
    plan: &Plan,
    judged: Judged,
    certificates: BTreeMap<String, u64>,
    setbacks: Vec<Setback>,
    now: Timestamp,
) -> RolloutReport {
    let Judged { state, since, figures, verdict } = judged;
    let names = |patterns: &[crate::rollout::DevicePattern]| patterns.iter().map(|one| one.text().to_owned()).collect();
    let rings = plan.rings.iter().map(|ring| RingReport {
        from: ring.from,
        begun: ring.from <= now,
        percent: ring.share.map(|share| share.to_string()),
        devices: names(&ring.devices),
    });
    let gates = verdict.readings.iter().map(|reading| GateReport {
        near: match reading.limit {
            limit if limit > 0.0 => reading.candidate / limit,
            _ if reading.count > 0 => 2.0,
            _ => 0.0,
        },
        text: reading.to_string(),
        reading: reading.clone(),
    });
    RolloutReport {
        group: group.name.clone(),
        incumbent: group.profile.clone(),
        candidate: plan.candidate.clone(),
        phase: state.as_ref().map_or(Phase::Running, |state| state.phase),
        since: state.as_ref().map(|state| state.since),
        why: state.as_ref().map(|state| state.why.clone()),
        by: state.as_ref().map(|state| state.by.clone()),
        devices: names(&plan.devices),
        percent: plan.share_at(now).to_string(),
        rings: rings.collect(),
        next_ring: plan.next_ring(now).map(|ring| ring.from),
        counted_since: since,
        min_devices: plan.gates.min_devices,
        enough: verdict.enough,
        on_trip: plan.gates.on_trip,
        figures,
        gates: gates.collect(),
        certificates,
        setbacks,
    }
}
