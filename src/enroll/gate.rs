//! The gate before an upstream: how fast it is asked, how many orders are under way, how many may be open, and whether it is asked at
//! all ([`Limits`]). Every way to a CA goes through its gate: a request's own task, the worker, the second leg of a pair.
//!
//! A gate belongs to the name of an upstream and outlives reloads. Before an upstream without limits, such as the embedded CA, there is
//! none. What finds no room waits in the inventory, as an attempt that is prepared and that nobody holds, for the worker to take it up
//! in its turn; while any wait there, new requests queue up behind them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;

use super::breaker::{Breaker, Heard};
use super::bucket::Bucket;
use crate::inventory::{Due, Room};
use crate::upstream::Limits;

/// The gates of one node, by the name of the upstream.
#[derive(Default)]
pub(crate) struct Gates {
    all: Mutex<HashMap<String, Arc<Gate>>>,
    /// Requests that wait, before whichever gate.
    waiting: Arc<AtomicUsize>,
}

impl Gates {
    /// The gate before an upstream. `then` are the limits that it had when somebody's work began, `now` those that it has now, which count;
    /// `None` where it is gone. `wake` is told when there is room again.
    pub(crate) fn of(&self, upstream: &str, then: Limits, now: Option<Limits>, wake: &Arc<Notify>) -> Arc<Gate> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = all.get(upstream) {
            if let Some(limits) = now {
                gate.state().change(limits);
            }
            return Arc::clone(gate);
        }
        let gate = Gate::new(upstream, now.unwrap_or(then), wake, &self.waiting, Instant::now());
        Arc::clone(all.entry(upstream.to_owned()).or_insert_with(|| Arc::new(gate)))
    }
}

/// The gate before one upstream.
pub(crate) struct Gate {
    name: String,
    wake: Arc<Notify>,
    /// Requests that wait, before whichever gate.
    waiting_anywhere: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    /// Orders that may go now by the rate.
    orders: Bucket,
    /// Questions after orders that wait at the CA, by the same rate: they neither hold up orders, nor are they held up by them.
    polls: Bucket,
    /// Which of the two is given what is odd, where there is not room for both.
    polls_next: bool,
    under_way: usize,
    /// Requests that wait for what becomes of their orders here.
    waiting: usize,
    breaker: Breaker,
    /// When the CA was left alone last: what began before says nothing of how it is since.
    tripped_at: Option<Instant>,
    queue: Queue,
    last_error: Option<(Timestamp, String)>,
}

/// What this node knows of the attempts in the inventory that wait here.
#[derive(Default)]
struct Queue {
    /// What the inventory had due that nobody held, when it was last asked.
    due: Due,
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
    fn new(name: &str, limits: Limits, wake: &Arc<Notify>, waiting: &Arc<AtomicUsize>, now: Instant) -> Self {
        let state = State {
            limits,
            orders: Bucket::new(limits.rate, now),
            polls: Bucket::new(limits.rate, now),
            polls_next: true,
            under_way: 0,
            waiting: 0,
            breaker: Breaker::default(),
            tripped_at: None,
            queue: Queue::default(),
            last_error: None,
        };
        let (wake, waiting_anywhere) = (Arc::clone(wake), Arc::clone(waiting));
        Self { name: name.to_owned(), wake, waiting_anywhere, state: Mutex::new(state) }
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
        Some(Entry::Now(self.pass(&mut state, Kind::Order)))
    }

    /// An order that is open already goes on here: in the same way, but never turned away.
    pub(crate) fn go_on(self: &Arc<Self>) -> Entry {
        let mut state = self.state();
        if state.queue.is_empty() && state.room(Instant::now()) > 0 {
            return Entry::Now(self.pass(&mut state, Kind::Order));
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
    pub(crate) fn reserve(self: &Arc<Self>, due: Due, most: usize) -> Reserved {
        let mut state = self.state();
        let Room { orders, polls } = state.share(due, most, Instant::now());
        let mut passes = |kind, count| (0..count).map(|_| self.pass(&mut state, kind)).collect();
        Reserved { orders: passes(Kind::Order, orders), polls: passes(Kind::Poll, polls) }
    }

    fn pass(self: &Arc<Self>, state: &mut State, kind: Kind) -> Pass {
        state.under_way += 1;
        state.bucket(kind).take();
        Pass { gate: Arc::clone(self), kind, used: AtomicBool::new(false) }
    }

    /// Lets a request wait here for what becomes of its order, if no more than `most` do, no more than twice as many before all gates,
    /// and there is a prospect of an answer.
    pub(crate) fn wait(self: &Arc<Self>, most: usize) -> Option<Waiting> {
        let mut state = self.state();
        if state.waiting >= most || state.breaker.is_open() {
            return None;
        }
        let more = |all: usize| (all < most.saturating_mul(2)).then_some(all + 1);
        self.waiting_anywhere.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
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
    pub(crate) fn looked(&self, before: usize, due: Due) {
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
        // Where there is no room, whoever leaves tells.
        if state.free() == 0 {
            return None;
        }
        let orders = if state.queue.is_empty() { None } else { state.orders.next(now) };
        let polls = if state.queue.due.polls { state.polls.next(now) } else { None };
        orders.into_iter().chain(polls).min()
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
            self.limits = limits;
            let now = Instant::now();
            self.orders.change(limits.rate, now);
            self.polls.change(limits.rate, now);
        }
    }

    /// How many may ask now, whatever they ask, but for the rate.
    fn free(&self) -> usize {
        self.limits.places.saturating_sub(self.under_way).min(self.breaker.room(self.under_way))
    }

    /// How many orders may go now.
    fn room(&mut self, now: Instant) -> usize {
        self.free().min(self.orders.room(now))
    }

    /// What there is room for now of what is due. Where there is not enough for both, each gets half.
    fn share(&mut self, due: Due, most: usize, now: Instant) -> Room {
        let free = self.free().min(most);
        let orders = if due.orders { self.orders.room(now).min(free) } else { 0 };
        let polls = if due.polls { self.polls.room(now).min(free) } else { 0 };
        if orders + polls <= free {
            return Room { orders, polls };
        }
        let half = if self.polls_next { free.div_ceil(2) } else { free / 2 };
        self.polls_next = !self.polls_next;
        let polls = polls.min(half.max(free - orders));
        Room { orders: orders.min(free - polls), polls }
    }

    fn bucket(&mut self, kind: Kind) -> &mut Bucket {
        match kind {
            Kind::Order => &mut self.orders,
            Kind::Poll => &mut self.polls,
        }
    }
}

impl Queue {
    /// Whether no order is before a new one.
    fn is_empty(&self) -> bool {
        !self.due.orders && self.entering == 0 && self.entered == 0
    }
}

/// What was reserved.
#[derive(Default)]
pub(crate) struct Reserved {
    /// For orders.
    pub(crate) orders: Vec<Pass>,
    /// For questions after orders that wait at the CA.
    pub(crate) polls: Vec<Pass>,
}

/// What a CA is asked.
#[derive(Clone, Copy)]
enum Kind {
    Order,
    Poll,
}

/// The right to ask the CA once. It holds a place until it is dropped.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    kind: Kind,
    used: AtomicBool,
}

impl Pass {
    /// The CA is asked now.
    pub(crate) fn used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// What came of asking; `began` is when that began.
    pub(crate) fn heard(&self, heard: Heard<'_>, began: Instant, at: Timestamp) {
        let mut state = self.gate.state();
        if let Heard::Failure(reason) = &heard {
            state.last_error = Some((at, (*reason).to_owned()));
            if state.tripped_at.is_some_and(|tripped| began <= tripped) {
                return;
            }
        }
        let trip_after = state.limits.trip_after;
        let cooldown = state.limits.cooldown;
        let name = &self.gate.name;
        let now = Instant::now();
        match state.breaker.heard(&heard, trip_after, cooldown, now) {
            Some(true) => {
                state.tripped_at = Some(now);
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
            state.bucket(self.kind).give_back();
        }
        let others = !state.queue.is_empty() || state.queue.due.polls;
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
        self.0.waiting_anywhere.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Rate;

    const NOTHING: Due = Due { orders: false, polls: false };
    const ORDERS: Due = Due { orders: true, polls: false };
    const BOTH: Due = Due { orders: true, polls: true };

    const LIMITS: Limits = Limits { places: 3, queue: 5, trip_after: 2, cooldown: Duration::from_secs(10), ..Limits::NONE };

    fn gate(limits: Limits, now: Instant) -> Arc<Gate> {
        Arc::new(Gate::new("ca", limits, &Arc::new(Notify::new()), &Arc::default(), now))
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
                gate.looked(gate.before_look(), NOTHING);
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
        gate.looked(before, NOTHING);
        assert!(matches!(gate.enter_at(now), Some(Entry::Later(_))), "it was written since");
        gate.looked(gate.before_look(), ORDERS);
        assert!(matches!(gate.enter_at(now), Some(Entry::Later(_))), "it is due");
        assert_eq!(gate.reserve(ORDERS, 10).orders.len(), 3, "what is due goes first");
        gate.looked(gate.before_look(), NOTHING);
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
        let fail = || at_once(gate.enter()).heard(Heard::Failure("no route"), Instant::now(), at);
        fail();
        at_once(gate.enter()).heard(Heard::Answer, Instant::now(), at);
        fail();
        assert_eq!((gate.view().breaker, gate.view().failures), ("closed", 1), "only failures in a row count");
        let (late, before) = (at_once(gate.enter()), Instant::now());
        fail();
        assert!(gate.is_open() && gate.wait(10).is_none());
        late.heard(Heard::Failure("no route"), Instant::now(), at);
        assert!(matches!(gate.enter(), Some(Entry::Later(_))));
        gate.looked(gate.before_look(), NOTHING);
        assert!(gate.reserve(ORDERS, 10).orders.is_empty() && !gate.is_to_be_probed());
        assert!(gate.next_look().is_some_and(|rest| rest > Duration::from_secs(7) && rest <= Duration::from_secs(12)));
        assert_eq!(gate.view().last_error.as_deref(), Some("no route"));
        gate.probed(Err("still no route".into()), at);
        assert!(gate.next_look().is_some_and(|rest| rest > Duration::from_secs(15)), "twice as long");
        gate.probed(Ok(()), at);
        assert_eq!(gate.view().breaker, "half-open");
        gate.looked(gate.before_look(), ORDERS);
        assert!(gate.reserve(BOTH, 10).orders.is_empty() && gate.next_look().is_none(), "the late one has the only place");
        late.heard(Heard::Failure("no route"), before, at);
        drop(late);
        assert_eq!(gate.view().breaker, "half-open", "it was asked before it was left alone");
        let trial = gate.reserve(ORDERS, 10).orders;
        assert_eq!(trial.len(), 1);
        assert!(matches!(gate.enter(), Some(Entry::Later(_))));
        gate.looked(gate.before_look(), NOTHING);
        trial[0].heard(Heard::Answer, Instant::now(), at);
        drop(trial);
        assert_eq!((gate.view().breaker, gate.reserve(ORDERS, 10).orders.len()), ("closed", 3));
    }

    #[test]
    fn only_so_many_wait() {
        let gate = gate(LIMITS, Instant::now());
        let first = gate.wait(1);
        assert!(first.is_some() && gate.wait(1).is_none());
        drop(first);
        assert!(gate.wait(1).is_some());
    }

    #[test]
    fn questions_and_orders_do_not_hold_up_each_other() {
        let start = Instant::now();
        let rate = Some(Rate { per_second: 7.0, burst: 7.0 });
        let gate = gate(Limits { places: 1000, rate, ..LIMITS }, start);
        let reserved = gate.reserve(BOTH, 100);
        assert_eq!((reserved.orders.len(), reserved.polls.len()), (7, 7), "each has the whole rate");
        reserved.polls.iter().for_each(Pass::used);
        drop(reserved);
        let reserved = gate.reserve(BOTH, 100);
        assert_eq!((reserved.orders.len(), reserved.polls.len()), (7, 0), "and what was not used is given back");
        // A new order is not behind questions that are due.
        drop(reserved);
        gate.looked(gate.before_look(), Due { orders: false, polls: true });
        assert!(matches!(gate.enter(), Some(Entry::Now(_))));
    }

    #[test]
    fn places_are_shared_by_turns() {
        let one = gate(Limits { places: 1, ..LIMITS }, Instant::now());
        let turns: Vec<_> = (0..4).map(|_| one.reserve(BOTH, 10)).map(|turn| (turn.orders.len(), turn.polls.len())).collect();
        assert_eq!(turns, [(0, 1), (1, 0), (0, 1), (1, 0)]);
        let many = gate(Limits { places: 9, ..LIMITS }, Instant::now());
        let turn = many.reserve(BOTH, 100);
        assert_eq!((turn.orders.len(), turn.polls.len()), (4, 5));
        drop(turn);
        assert_eq!(many.reserve(ORDERS, 100).orders.len(), 9);
    }

    #[test]
    fn four_slow_cas_do_not_fill_the_house() {
        let (gates, wake) = (Gates::default(), Arc::new(Notify::new()));
        let all: Vec<_> = ["a", "b", "c", "d"].map(|name| gates.of(name, LIMITS, None, &wake)).into_iter().collect();
        let waiting: Vec<_> = all.iter().flat_map(|gate| (0..10).filter_map(|_| gate.wait(5))).collect();
        assert_eq!(waiting.len(), 10, "five before one, ten before all");
        drop(waiting);
        assert!(all[3].wait(5).is_some());
    }

    #[test]
    fn the_limits_of_now_count_for_work_that_began_before() {
        let (gates, wake) = (Gates::default(), Arc::new(Notify::new()));
        let old = gates.of("ca", LIMITS, Some(LIMITS), &wake);
        let new = Limits { places: 1, ..LIMITS };
        for now in [Some(new), None] {
            assert_eq!(gates.of("ca", LIMITS, now, &wake).reserve(ORDERS, 10).orders.len(), 1);
        }
        assert_eq!(old.reserve(ORDERS, 10).orders.len(), 1);
    }
}
