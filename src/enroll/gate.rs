//! The gate before an upstream: how fast it is asked, how many orders are under way, how many may be open, and whether it is asked at
//! all ([`Limits`]). Every way to a CA goes through its gate: a request's own task, the worker, the second leg of a pair.
//!
//! A gate belongs to the name of an upstream and outlives reloads. Before an upstream without limits, such as the embedded CA, there is
//! none. What finds no room waits in the inventory, as an attempt that is prepared and that nobody holds, for the worker to take it up
//! in its turn; while any wait there, new requests queue up behind them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;

use super::breaker::{Breaker, Heard};
use crate::upstream::{Limits, UpstreamCa};

/// The gates of one node, by the name of the upstream.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Arc<Gate>>>);

impl Gates {
    /// The gate before an upstream, with the limits that it has now; `None` if it has none. `wake` is told when there is room again.
    pub(crate) fn of(&self, upstream: &dyn UpstreamCa, wake: &Arc<Notify>) -> Option<Arc<Gate>> {
        let limits = upstream.limits();
        if limits == Limits::NONE {
            return None;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(upstream.name()) {
            Some(gate) => {
                gate.state().change(limits);
                Some(Arc::clone(gate))
            }
            None => {
                let gate = Arc::new(Gate::new(upstream.name(), limits, wake, Instant::now()));
                all.insert(upstream.name().to_owned(), Arc::clone(&gate));
                Some(gate)
            }
        }
    }
}

/// The gate before one upstream.
pub(crate) struct Gate {
    name: String,
    wake: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    /// Orders that may go now by the rate, as of a moment.
    tokens: f64,
    filled_at: Instant,
    under_way: usize,
    /// Requests that wait for what becomes of their orders here.
    waiting: usize,
    breaker: Breaker,
    queue: Queue,
    last_error: Option<(Timestamp, String)>,
}

/// What this node knows of the attempts in the inventory that wait here.
#[derive(Default)]
struct Queue {
    /// Whether the inventory had something due that nobody held, when it was last asked.
    due: bool,
    /// How many are being written.
    entering: usize,
    /// How many were written since it was asked.
    entered: usize,
    /// How many attempts are open, as far as is known.
    open: u64,
}

/// How a new order goes on.
pub(crate) enum Entry {
    /// At once.
    Now(Pass),
    /// When its turn comes: it is to be written down as prepared.
    Later(Turn),
}

/// How a gate stands, for people and metrics.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateView {
    /// The upstream.
    pub upstream: String,
    /// `closed`: it is asked; `open`: it is left alone; `half-open`: it is asked one order at a time.
    pub breaker: &'static str,
    /// Failures in a row.
    pub failures: u32,
    /// Attempts that are open: those that wait for their turn, those under way, and those that wait for the CA.
    pub open: u64,
    /// How many there may be.
    pub queue: usize,
    /// Orders under way.
    pub under_way: usize,
    /// Requests that wait for an answer.
    pub waiting: usize,
    /// In how many seconds it is looked whether the CA answers again.
    pub probe_in: Option<u64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When.
    pub last_error_at: Option<Timestamp>,
}

impl Gate {
    fn new(name: &str, limits: Limits, wake: &Arc<Notify>, now: Instant) -> Self {
        let state = State {
            limits,
            tokens: limits.rate.map_or(f64::INFINITY, |rate| rate.burst.max(1.0)),
            filled_at: now,
            under_way: 0,
            waiting: 0,
            breaker: Breaker::default(),
            queue: Queue::default(),
            last_error: None,
        };
        Self { name: name.to_owned(), wake: Arc::clone(wake), state: Mutex::new(state) }
    }

    /// The upstream.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Lets a new order in: at once if there is room and nobody is before it, or into the queue; `None` if that is full.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Entry> {
        self.enter_at(Instant::now())
    }

    fn enter_at(self: &Arc<Self>, now: Instant) -> Option<Entry> {
        let mut state = self.state();
        if state.queue.open >= state.limits.queue as u64 {
            return None;
        }
        if !state.queue.is_empty() || state.room(now) == 0 {
            drop(state);
            return Some(Entry::Later(self.queue()));
        }
        state.take();
        Some(Entry::Now(self.pass()))
    }

    /// An order that is open already goes on here: in the same way, but never turned away.
    pub(crate) fn go_on(self: &Arc<Self>) -> Entry {
        let mut state = self.state();
        if state.queue.is_empty() && state.room(Instant::now()) > 0 {
            state.take();
            return Entry::Now(self.pass());
        }
        drop(state);
        Entry::Later(self.queue())
    }

    /// An order that is open already waits for its turn here.
    pub(crate) fn queue(self: &Arc<Self>) -> Turn {
        self.state().queue.entering += 1;
        Turn { gate: Arc::clone(self) }
    }

    /// Room for as many as there is, and `most` at most: for what waits.
    pub(crate) fn reserve(self: &Arc<Self>, most: usize) -> Vec<Pass> {
        let mut state = self.state();
        let count = state.room(Instant::now()).min(most);
        (0..count)
            .map(|_| {
                state.take();
                self.pass()
            })
            .collect()
    }

    fn pass(self: &Arc<Self>) -> Pass {
        Pass { gate: Arc::clone(self), used: AtomicBool::new(false) }
    }

    /// Lets a request wait here for what becomes of its order, if no more than `most` do and there is a prospect of an answer.
    pub(crate) fn wait(self: &Arc<Self>, most: usize) -> Option<Waiting> {
        let mut state = self.state();
        if state.waiting >= most || state.breaker.is_open() {
            return None;
        }
        state.waiting += 1;
        Some(Waiting(Arc::clone(self)))
    }

    /// Whether an order has no prospect here for now: the CA is left alone, or the queue is full.
    pub(crate) fn is_shut(&self) -> bool {
        let state = self.state();
        state.breaker.is_open() || state.queue.open >= state.limits.queue as u64
    }

    /// Whether the CA is left alone.
    pub(crate) fn is_open(&self) -> bool {
        self.state().breaker.is_open()
    }

    /// To be called before the inventory is asked what is due: what is written from now on is not in the answer.
    pub(crate) fn before_look(&self) -> usize {
        self.state().queue.entered
    }

    /// What the inventory said; `before` is what [`before_look`](Self::before_look) gave.
    pub(crate) fn looked(&self, before: usize, due: bool) {
        let queue = &mut self.state().queue;
        queue.entered = queue.entered.saturating_sub(before);
        queue.due = due;
    }

    /// How many attempts are open here, by the inventory.
    pub(crate) fn counted(&self, open: u64) {
        self.state().queue.open = open;
    }

    /// An attempt is open here from now on.
    pub(crate) fn opened(&self) {
        self.state().queue.open += 1;
    }

    /// An attempt is open here no more.
    pub(crate) fn closed(&self) {
        let queue = &mut self.state().queue;
        queue.open = queue.open.saturating_sub(1);
    }

    /// Whether it is time to see if the CA answers again; says so once, until [`probed`](Self::probed) is told.
    pub(crate) fn is_to_be_probed(&self) -> bool {
        self.state().breaker.begin_probe(Instant::now())
    }

    /// What the CA said to that.
    pub(crate) fn probed(&self, answer: Result<(), String>, at: Timestamp) {
        let mut state = self.state();
        match answer {
            Ok(()) => {
                tracing::info!(upstream = self.name, "The CA answers again: orders are sent one at a time at first.");
                state.breaker.probed_well();
            }
            Err(reason) => {
                let rest = state.breaker.probed_in_vain(Instant::now());
                tracing::warn!(upstream = self.name, rest_seconds = rest.as_secs(), "The CA does not answer yet: {reason}.");
                state.last_error = Some((at, reason));
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    /// In which time there is something to do for whoever empties the queue; `None` if only an event changes that.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(until) = state.breaker.resting_until() {
            return Some(until.saturating_duration_since(now));
        }
        if state.queue.is_empty() || state.breaker.is_open() || state.under_way >= state.limits.places {
            return None;
        }
        state.fill(now);
        let rate = state.limits.rate?;
        Some(Duration::from_secs_f64(((1.0 - state.tokens).max(0.0) / rate.per_second).min(60.0)))
    }

    /// How it stands.
    pub(crate) fn view(&self) -> GateView {
        let state = self.state();
        let (at, error) = state.last_error.clone().unzip();
        let rest = state.breaker.resting_until().map(|until| until.saturating_duration_since(Instant::now()).as_secs());
        GateView {
            upstream: self.name.clone(),
            breaker: state.breaker.name(),
            failures: state.breaker.failures(),
            open: state.queue.open,
            queue: state.limits.queue,
            under_way: state.under_way,
            waiting: state.waiting,
            probe_in: rest,
            last_error: error,
            last_error_at: at,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every step leaves the numbers whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, limits: Limits) {
        if self.limits != limits {
            self.fill(Instant::now());
            self.limits = limits;
            self.tokens =
                limits.rate.map_or(f64::INFINITY, |rate| if self.tokens.is_finite() { self.tokens } else { rate.burst });
            self.fill(self.filled_at);
        }
    }

    fn fill(&mut self, now: Instant) {
        if let Some(rate) = self.limits.rate {
            let came = now.saturating_duration_since(self.filled_at).as_secs_f64() * rate.per_second;
            self.tokens = (self.tokens + came).min(rate.burst.max(1.0));
        }
        self.filled_at = self.filled_at.max(now);
    }

    /// How many orders may go now.
    fn room(&mut self, now: Instant) -> usize {
        self.fill(now);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
        let by_rate = self.tokens.floor() as usize;
        let by_breaker = self.breaker.room(self.under_way);
        self.limits.places.saturating_sub(self.under_way).min(by_rate).min(by_breaker)
    }

    fn take(&mut self) {
        self.under_way += 1;
        self.tokens -= 1.0;
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        !self.due && self.entering == 0 && self.entered == 0
    }
}

/// The right to ask the CA once. It holds a place until it is dropped.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    used: AtomicBool,
}

impl Pass {
    /// The CA is asked now.
    pub(crate) fn used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// What came of asking.
    pub(crate) fn heard(&self, heard: Heard<'_>, at: Timestamp) {
        let mut state = self.gate.state();
        if let Heard::Failure(reason) = &heard {
            state.last_error = Some((at, (*reason).to_owned()));
        }
        let trip_after = state.limits.trip_after;
        let cooldown = state.limits.cooldown;
        let name = &self.gate.name;
        match state.breaker.heard(&heard, trip_after, cooldown, Instant::now()) {
            Some(true) => {
                tracing::error!(upstream = name, "The CA has failed too often, and is left alone for a while.");
            }
            Some(false) => tracing::info!(upstream = name, "The CA is asked as before."),
            None => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.under_way -= 1;
        if !*self.used.get_mut() {
            state.tokens += 1.0;
        }
        let others = !state.queue.is_empty();
        drop(state);
        if others {
            self.gate.wake.notify_one();
        }
    }
}

/// A place in the queue, until it is written down.
pub(crate) struct Turn {
    gate: Arc<Gate>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.queue.entering -= 1;
        // If it was not written, nothing is found, and that is that.
        state.queue.entered += 1;
        drop(state);
        self.gate.wake.notify_one();
    }
}

/// A request that waits.
pub(crate) struct Waiting(Arc<Gate>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Rate;

    const LIMITS: Limits = Limits { places: 3, queue: 5, trip_after: 2, cooldown: Duration::from_secs(10), ..Limits::NONE };

    fn gate(limits: Limits, now: Instant) -> Arc<Gate> {
        Arc::new(Gate::new("ca", limits, &Arc::new(Notify::new()), now))
    }

    fn at_once(entry: Option<Entry>) -> Pass {
        match entry {
            Some(Entry::Now(pass)) => pass,
            Some(Entry::Later(_)) => panic!("it has to wait"),
            None => panic!("it is turned away"),
        }
    }

    #[test]
    fn a_rate_is_kept_whoever_asks() {
        let start = Instant::now();
        let rate = Some(Rate { per_second: 7.0, burst: 7.0 });
        let gate = gate(Limits { places: 1000, rate, ..LIMITS }, start);
        let passed = |from: Duration, to: Duration| {
            let mut count = 0;
            let mut now = start + from;
            while now < start + to {
                while let Some(Entry::Now(pass)) = gate.enter_at(now) {
                    pass.used();
                    count += 1;
                }
                // Nobody is in the queue, whatever was tried.
                gate.looked(gate.before_look(), false);
                now += Duration::from_millis(5);
            }
            count
        };
        assert_eq!(passed(Duration::ZERO, Duration::from_millis(10)), 7, "at once after a rest");
        let count = passed(Duration::from_millis(10), Duration::from_secs(10));
        assert!((68..=70).contains(&count), "{count} in ten seconds");
    }

    #[test]
    fn a_pass_that_was_not_used_is_given_back() {
        let start = Instant::now();
        let rate = Some(Rate { per_second: 0.001, burst: 1.0 });
        let gate = gate(Limits { rate, ..LIMITS }, start);
        drop(at_once(gate.enter_at(start)));
        let pass = at_once(gate.enter_at(start));
        pass.used();
        drop(pass);
        assert!(matches!(gate.enter_at(start), Some(Entry::Later(_))));
    }

    #[test]
    fn nobody_overtakes_the_queue() {
        let now = Instant::now();
        let gate = gate(LIMITS, now);
        let passes: Vec<Pass> = (0..3).map(|_| at_once(gate.enter_at(now))).collect();
        let Some(Entry::Later(turn)) = gate.enter_at(now) else { panic!("all places are taken") };
        drop(passes);
        assert!(matches!(gate.enter_at(now), Some(Entry::Later(_))), "it is being written");
        let before = gate.before_look();
        drop(turn);
        gate.looked(before, false);
        assert!(matches!(gate.enter_at(now), Some(Entry::Later(_))), "it was written since");
        gate.looked(gate.before_look(), true);
        assert!(matches!(gate.enter_at(now), Some(Entry::Later(_))), "it is due");
        assert_eq!(gate.reserve(10).len(), 3, "what is due goes first");
        gate.looked(gate.before_look(), false);
        at_once(gate.enter_at(now));
    }

    #[test]
    fn the_queue_has_a_bound() {
        let now = Instant::now();
        let gate = gate(LIMITS, now);
        gate.counted(4);
        assert!(gate.enter_at(now).is_some() && !gate.is_shut());
        gate.opened();
        assert!(gate.enter_at(now).is_none() && gate.is_shut());
        assert!(matches!(gate.go_on(), Entry::Later(_) | Entry::Now(_)), "what is open goes on");
        gate.closed();
        assert!(gate.enter_at(now).is_some());
    }

    #[test]
    fn a_ca_that_fails_is_left_alone_and_comes_back_one_order_at_a_time() {
        let now = Instant::now();
        let gate = gate(LIMITS, now);
        let at = Timestamp::now();
        let fail = || at_once(gate.enter()).heard(Heard::Failure("no route"), at);
        fail();
        at_once(gate.enter()).heard(Heard::Answer, at);
        fail();
        assert_eq!((gate.view().breaker, gate.view().failures), ("closed", 1), "only failures in a row count");
        let late = at_once(gate.enter());
        fail();
        assert!(gate.is_open() && gate.wait(10).is_none());
        late.heard(Heard::Failure("no route"), at);
        drop(late);
        assert!(matches!(gate.enter(), Some(Entry::Later(_))));
        gate.looked(gate.before_look(), false);
        assert!(gate.reserve(10).is_empty() && !gate.is_to_be_probed());
        assert!(gate.next_look().is_some_and(|rest| rest > Duration::from_secs(7) && rest <= Duration::from_secs(12)));
        assert_eq!(gate.view().last_error.as_deref(), Some("no route"));
        gate.probed(Err("still no route".into()), at);
        assert!(gate.next_look().is_some_and(|rest| rest > Duration::from_secs(15)), "twice as long");
        gate.probed(Ok(()), at);
        assert_eq!(gate.view().breaker, "half-open");
        let trial = gate.reserve(10);
        assert_eq!(trial.len(), 1);
        assert!(matches!(gate.enter(), Some(Entry::Later(_))));
        gate.looked(gate.before_look(), false);
        trial[0].heard(Heard::Answer, at);
        drop(trial);
        assert_eq!((gate.view().breaker, gate.reserve(10).len()), ("closed", 3));
    }

    #[test]
    fn only_so_many_wait() {
        let gate = gate(LIMITS, Instant::now());
        let first = gate.wait(1);
        assert!(first.is_some() && gate.wait(1).is_none());
        drop(first);
        assert!(gate.wait(1).is_some());
    }
}
