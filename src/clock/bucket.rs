//! A token bucket: so much at once, so much per second in the long run.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A token bucket.
pub struct TokenBucket {
    burst: f64,
    per_second: f64,
    /// Tokens that were left, and when.
    state: Mutex<(f64, Instant)>,
}

impl TokenBucket {
    /// A full one.
    pub fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second, state: Mutex::new((burst, Instant::now())) }
    }

    /// Takes a token, if there is one.
    pub fn pays(&self) -> bool {
        self.pays_at(Instant::now())
    }

    /// The same, at this time.
    pub fn pays_at(&self, now: Instant) -> bool {
        // Two numbers are whole between any two steps.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, last) = *state;
        let filled = (tokens + now.saturating_duration_since(last).as_secs_f64() * self.per_second).min(self.burst);
        let pays = filled >= 1.0;
        *state = (if pays { filled - 1.0 } else { filled }, now.max(last));
        pays
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_pays_what_it_has_and_what_comes() {
        let bucket = TokenBucket::new(1000.0, 1.0);
        let start = Instant::now();
        let paid = (0..5000).filter(|_| bucket.pays_at(start)).count();
        assert!((1000..=1001).contains(&paid), "{paid}");
        let later = start + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| bucket.pays_at(later)).count(), 10);
    }
}
