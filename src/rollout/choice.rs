//! The choice of a profile for one request.

use jiff::Timestamp;

use super::{Phase, Plan, Reach, RolloutState, Share};

/// What the choice is made of. It is the same function for a request and for `ravelin explain`.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The device group.
    pub group: &'a str,
    /// The profile that its file names.
    pub incumbent: &'a str,
    /// What its file says about a candidate.
    pub plan: Option<&'a Plan>,
    /// Where that candidate's rollout stands; `None` is running.
    pub state: Option<&'a RolloutState>,
    /// The device, as the group recognises it.
    pub device: Option<&'a str>,
    /// What is known of that device.
    pub knowledge: &'a DeviceKnowledge,
    /// Now.
    pub now: Timestamp,
}

/// What is known of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceKnowledge {
    /// The profile of the newest certificate that it was given in this group.
    pub newest_profile: Option<String>,
}

/// The profile that a request gets, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The profile.
    pub profile: String,
    /// Why.
    pub why: ChoiceReason,
    /// The profiles to try in its place, best first, where this one turns out not to do.
    pub ladder: Vec<String>,
}

/// Why a request gets a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChoiceReason {
    /// It is the group's, and there is no candidate.
    Profile,
    /// The rollout reaches the device: it gets the candidate.
    Reached(Reach),
    /// The rollout does not reach the device.
    NotReached {
        /// The percentage that holds now.
        share: Share,
    },
    /// The request has nothing that tells a device.
    NoDevice,
    /// The rollout is halted, and the device has a certificate of the candidate already.
    Kept,
    /// The rollout is halted, and the device has no certificate of the candidate.
    Halted,
    /// The rollout was rolled back.
    RolledBack,
    /// The device has shown that it cannot digest what was chosen for it.
    Learned {
        /// What was chosen for it.
        from: String,
    },
    /// The reply would be too large under what was chosen for it.
    TooLarge {
        /// What was chosen for it.
        from: String,
        /// How large, in words.
        why: String,
    },
}

impl ChoiceReason {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            ChoiceReason::Profile => "profile",
            ChoiceReason::Reached(Reach::Named) => "rollout-device",
            ChoiceReason::Reached(Reach::Within(_)) => "rollout-percent",
            ChoiceReason::Reached(Reach::RingNamed(_) | Reach::RingWithin(..)) => "rollout-ring",
            ChoiceReason::NotReached { .. } => "rollout-not-reached",
            ChoiceReason::NoDevice => "rollout-no-device",
            ChoiceReason::Kept => "rollout-kept",
            ChoiceReason::Halted => "rollout-halted",
            ChoiceReason::RolledBack => "rollout-rolled-back",
            ChoiceReason::Learned { .. } => "fallback-learned",
            ChoiceReason::TooLarge { .. } => "fallback-size",
        }
    }
}

impl std::fmt::Display for ChoiceReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChoiceReason::Profile => f.write_str("it is the profile of the group"),
            ChoiceReason::Reached(Reach::Named) => f.write_str("the rollout names the device"),
            ChoiceReason::Reached(Reach::Within(share)) => write!(f, "the device is among the {share} that the rollout reaches"),
            ChoiceReason::Reached(Reach::RingNamed(from)) => write!(f, "the ring of {from} names the device"),
            ChoiceReason::Reached(Reach::RingWithin(from, share)) => {
                write!(f, "the device is among the {share} that the ring of {from} reaches")
            }
            ChoiceReason::NotReached { share } => {
                write!(f, "the rollout reaches {share} of the devices now, and not this one")
            }
            ChoiceReason::NoDevice => f.write_str("nothing in the request tells the device, so no rollout reaches it"),
            ChoiceReason::Kept => f.write_str("the rollout is halted, and the device has a certificate of the candidate already"),
            ChoiceReason::Halted => f.write_str("the rollout is halted, and the device has no certificate of the candidate yet"),
            ChoiceReason::RolledBack => f.write_str("the rollout was rolled back"),
            ChoiceReason::Learned { from } => write!(f, "the device has shown that it cannot digest {from}"),
            ChoiceReason::TooLarge { from, why } => write!(f, "under {from} {why}"),
        }
    }
}

/// Chooses the profile of a request.
pub fn choose(situation: &Situation<'_>) -> Choice {
    let Situation { group, incumbent, plan, state, device, knowledge, now } = *situation;
    let choice = |profile: &str, why| Choice { profile: profile.to_owned(), why, ladder: Vec::new() };
    let Some(plan) = plan else { return choice(incumbent, ChoiceReason::Profile) };
    let candidate = plan.candidate.as_str();
    match state.map_or(Phase::Running, |state| state.phase) {
        Phase::RolledBack => choice(incumbent, ChoiceReason::RolledBack),
        Phase::Halted if knowledge.newest_profile.as_deref() == Some(candidate) => choice(candidate, ChoiceReason::Kept),
        Phase::Halted => choice(incumbent, ChoiceReason::Halted),
        Phase::Running => match (plan.reach(group, device, now), device) {
            (Some(reach), _) => choice(candidate, ChoiceReason::Reached(reach)),
            (None, None) => choice(incumbent, ChoiceReason::NoDevice),
            (None, Some(_)) => choice(incumbent, ChoiceReason::NotReached { share: plan.share_at(now) }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DevicePattern, Gates};
    use super::*;

    fn plan() -> Plan {
        Plan {
            candidate: "next".into(),
            devices: vec![DevicePattern::parse("serialNumber=ONE").unwrap()],
            share: Share::NONE,
            rings: Vec::new(),
            gates: Gates::default(),
        }
    }

    fn state(phase: Phase) -> RolloutState {
        RolloutState {
            group: "routers".into(),
            candidate: "next".into(),
            phase,
            since: Timestamp::UNIX_EPOCH,
            why: "a gate".into(),
            by: "system".into(),
        }
    }

    fn chosen(plan: Option<&Plan>, phase: Option<Phase>, device: Option<&str>, newest: Option<&str>) -> (String, &'static str) {
        let state = phase.map(state);
        let knowledge = DeviceKnowledge { newest_profile: newest.map(str::to_owned) };
        let situation = Situation {
            group: "routers",
            incumbent: "now",
            plan,
            state: state.as_ref(),
            device,
            knowledge: &knowledge,
            now: Timestamp::UNIX_EPOCH,
        };
        let choice = choose(&situation);
        assert!(!choice.why.to_string().is_empty());
        (choice.profile, choice.why.code())
    }

    #[test]
    fn the_guide_tells_every_code() {
        let guide = include_str!("../../docs/src/migration.md");
        let share = Share::ALL;
        let from = Timestamp::UNIX_EPOCH;
        let all = [
            ChoiceReason::Profile,
            ChoiceReason::Reached(Reach::Named),
            ChoiceReason::Reached(Reach::Within(share)),
            ChoiceReason::Reached(Reach::RingNamed(from)),
            ChoiceReason::Reached(Reach::RingWithin(from, share)),
            ChoiceReason::NotReached { share },
            ChoiceReason::NoDevice,
            ChoiceReason::Kept,
            ChoiceReason::Halted,
            ChoiceReason::RolledBack,
        ];
        for why in all {
            assert!(guide.contains(&format!("| `{}` |", why.code())), "docs/src/migration.md does not tell of {}", why.code());
            assert!(!why.to_string().is_empty());
        }
    }

    #[test]
    fn each_case_has_its_reason() {
        let plan = plan();
        let (one, two) = (Some("serialNumber=ONE"), Some("serialNumber=TWO"));
        let is = |profile: &str, code| (profile.to_owned(), code);
        assert_eq!(chosen(None, None, one, None), is("now", "profile"));
        assert_eq!(chosen(Some(&plan), None, one, None), is("next", "rollout-device"));
        assert_eq!(chosen(Some(&plan), Some(Phase::Running), one, Some("now")), is("next", "rollout-device"));
        assert_eq!(chosen(Some(&plan), None, two, Some("next")), is("now", "rollout-not-reached"));
        assert_eq!(chosen(Some(&plan), None, None, None), is("now", "rollout-no-device"));
        assert_eq!(chosen(Some(&plan), Some(Phase::Halted), one, Some("next")), is("next", "rollout-kept"));
        assert_eq!(chosen(Some(&plan), Some(Phase::Halted), one, Some("now")), is("now", "rollout-halted"));
        assert_eq!(chosen(Some(&plan), Some(Phase::RolledBack), one, Some("next")), is("now", "rollout-rolled-back"));
    }
}
