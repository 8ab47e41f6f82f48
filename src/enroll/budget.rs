//! How many refusals of strangers are written down: each costs disk, and anybody can cause them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A token bucket for records of requests that nobody has authenticated. What it does not pay for is answered, counted and logged as
/// ever, and leaves no row.
pub(super) struct RefusalBudget {
    bucket: Mutex<(f64, Instant)>,
}

/// Records that may be written at once.
const BURST: f64 = 1000.0;

/// Records that may be written per second in the long run: under a gigabyte in a month of flood.
const PER_SECOND: f64 = 1.0;

impl RefusalBudget {
    /// A full bucket.
    pub(super) fn new() -> Self {
        Self { bucket: Mutex::new((BURST, Instant::now())) }
    }

    /// Whether one more may be written.
    pub(super) fn pays(&self) -> bool {
        self.pays_at(Instant::now())
    }

    fn pays_at(&self, now: Instant) -> bool {
        // Two numbers are whole between any two steps.
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, last) = *bucket;
        let filled = (tokens + now.saturating_duration_since(last).as_secs_f64() * PER_SECOND).min(BURST);
        let pays = filled >= 1.0;
        *bucket = (if pays { filled - 1.0 } else { filled }, now.max(last));
        pays
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_written_down_in_part() {
        let budget = RefusalBudget::new();
        let start = Instant::now();
        let written = (0..5000).filter(|_| budget.pays_at(start)).count();
        assert!((1000..=1001).contains(&written), "{written}");
        let later = start + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| budget.pays_at(later)).count(), 10);
    }
}
