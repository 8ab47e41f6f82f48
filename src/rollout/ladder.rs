//! Ladders: the profile that was chosen, its fallback, the fallback of that, and so on.
//!
//! A device goes down because of what it has shown, or because a reply would be too large. It never goes down to a rung that the
//! deadline of its group rules out.

use super::{Choice, ChoiceReason};

/// A profile of a ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Its name.
    pub profile: String,
    /// Whether the deadline of the group rules it out for this device now.
    pub ruled_out: bool,
}

/// Where a device stands on its ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The profile that it gets, why, and the rungs that are left below.
    pub choice: Choice,
    /// Whether it is known not to digest the profile that it gets all the same: no rung below is left to it.
    pub held: bool,
}

/// Goes down from a choice as far as a device has shown that it must: to the first rung that it is not known to choke on. Where there
/// is none, it stays on the lowest that it may have. `rungs` are those below the choice.
pub fn descend(first: Choice, rungs: &[Rung], chokes_on: impl Fn(&str) -> bool) -> Stand {
    let open: Vec<&str> = rungs.iter().filter(|rung| !rung.ruled_out).map(|rung| rung.profile.as_str()).collect();
    let digests = |profile: &str| !chokes_on(profile);
    let ladder = |below: &[&str]| below.iter().copied().filter(|rung| digests(rung)).map(str::to_owned).collect();
    if digests(&first.profile) {
        return Stand { choice: Choice { ladder: ladder(&open), ..first }, held: false };
    }
    let (at, held) = match open.iter().position(|rung| digests(rung)) {
        Some(at) => (at, false),
        None if open.is_empty() => return Stand { choice: Choice { ladder: Vec::new(), ..first }, held: true },
        None => (open.len() - 1, true),
    };
    let why = ChoiceReason::Learned { from: first.profile };
    Stand { choice: Choice { profile: open[at].to_owned(), why, ladder: ladder(&open[at + 1..]) }, held }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The profile, whether it is held there, the code, and what is left below.
    fn stand(rungs: &[(&str, bool)], chokes: &[&str]) -> (String, bool, &'static str, Vec<String>) {
        let first = Choice { profile: "big".into(), why: ChoiceReason::Profile, ladder: Vec::new() };
        let rungs: Vec<Rung> =
            rungs.iter().map(|(profile, ruled_out)| Rung { profile: (*profile).into(), ruled_out: *ruled_out }).collect();
        let Stand { choice, held } = descend(first, &rungs, |profile| chokes.contains(&profile));
        (choice.profile, held, choice.why.code(), choice.ladder)
    }

    #[test]
    fn a_device_goes_down_as_far_as_it_must_and_no_further() {
        let rungs = [("middle", false), ("small", false)];
        let is = |profile: &str, held, code, ladder: &[&str]| {
            (profile.to_owned(), held, code, ladder.iter().map(|rung| (*rung).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(stand(&rungs, &[]), is("big", false, "profile", &["middle", "small"]));
        assert_eq!(stand(&rungs, &["big"]), is("middle", false, "fallback-learned", &["small"]));
        assert_eq!(stand(&rungs, &["big", "middle"]), is("small", false, "fallback-learned", &[]));
        assert_eq!(stand(&rungs, &["middle"]), is("big", false, "profile", &["small"]));
        assert_eq!(stand(&rungs, &["big", "middle", "small"]), is("small", true, "fallback-learned", &[]));
        assert_eq!(stand(&[], &["big"]), is("big", true, "profile", &[]));
    }

    #[test]
    fn no_rung_below_the_deadline_is_stepped_on() {
        let rungs = [("middle", false), ("small", true)];
        assert_eq!(stand(&rungs, &[]).3, ["middle"]);
        assert_eq!(stand(&rungs, &["big"]).0, "middle");
        let (profile, held, ..) = stand(&rungs, &["big", "middle"]);
        assert_eq!((profile.as_str(), held), ("middle", true));
        let (profile, held, code, ladder) = stand(&[("small", true)], &["big"]);
        assert_eq!((profile.as_str(), held, code, ladder.len()), ("big", true, "profile", 0));
        // A rung that is ruled out may have one below that is not.
        assert_eq!(stand(&[("middle", true), ("small", false)], &["big"]).0, "small");
    }
}
