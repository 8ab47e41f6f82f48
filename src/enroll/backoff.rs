//! When an order is tried again, where that is safe.

use std::time::Duration;

use jiff::Timestamp;

use crate::inventory::Attempt;
use crate::upstream::ASK_AGAIN;

/// The shortest rest between two tries.
const SHORTEST: Duration = Duration::from_secs(5);

/// The longest.
const LONGEST: Duration = Duration::from_secs(300);

/// The longest that a CA may put us off.
const PUT_OFF: Duration = Duration::from_secs(3600);

/// How long an attempt rests after a try in vain: as long as the CA said, or else about as long as it has been tried already, so that
/// rests double.
pub(super) fn rest(attempt: &Attempt, now: Timestamp, asked_for: Option<Duration>) -> Duration {
    if let Some(asked) = asked_for {
        return put_off(asked);
    }
    let age = attempt.id.made_at().map(|made| now.duration_since(made));
    let age = age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default();
    jitter(age.clamp(SHORTEST, LONGEST))
}

/// How long until an order that waits at its CA is asked after again, where the CA did not take the question.
pub(super) fn ask_again(asked_for: Option<Duration>) -> Duration {
    asked_for.map_or_else(|| jitter(ASK_AGAIN), put_off)
}

/// Never earlier than the CA said.
fn put_off(asked: Duration) -> Duration {
    jitter(asked.min(PUT_OFF)).max(asked.min(PUT_OFF)).max(Duration::from_secs(1))
}

/// Up to a fifth longer or shorter: what failed together does not come back together.
pub(super) fn jitter(rest: Duration) -> Duration {
    let random: [u8; 4] = crate::crypto::provider().random();
    rest.mul_f64(0.8 + 0.4 * f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enroll::core::after;
    use crate::inventory::{AttemptId, AttemptState};

    #[test]
    fn rests_grow_with_the_age_of_an_attempt() {
        let now = Timestamp::now();
        let attempt = Attempt {
            id: AttemptId::new(),
            state: AttemptState::Submitted,
            upstream: "ca".into(),
            ca: "one".into(),
            reference: None,
            due_at: now,
            held_by: None,
            held_until: None,
        };
        for (age, least, most) in [(0, 4, 6), (5, 4, 7), (60, 47, 73), (100_000, 240, 360)] {
            let rest = rest(&attempt, after(now, Duration::from_secs(age)), None).as_secs();
            assert!((least..=most).contains(&rest), "{rest} at {age}");
        }
        for (asked, least, most) in [(0, 1, 1), (30, 30, 36), (1_000_000, 3600, 4320)] {
            let rest = rest(&attempt, now, Some(Duration::from_secs(asked))).as_secs();
            assert!((least..=most).contains(&rest), "{rest} for {asked}");
        }
    }
}
