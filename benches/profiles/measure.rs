//! Clocks that other processes do not disturb, and an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Counts what Rust code allocates while [`counted`] says so. What C code takes with `malloc` (SQLite, AWS-LC) does not pass here.
pub struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static BLOCKS: AtomicU64 = AtomicU64::new(0);
static OCTETS: AtomicU64 = AtomicU64::new(0);
static LARGE: AtomicU64 = AtomicU64::new(0);
static LARGE_FROM: AtomicUsize = AtomicUsize::new(usize::MAX);
static HELD: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);

fn took(size: usize) {
    if !ON.load(Relaxed) {
        return;
    }
    BLOCKS.fetch_add(1, Relaxed);
    OCTETS.fetch_add(size as u64, Relaxed);
    LARGE.fetch_add(u64::from(size >= LARGE_FROM.load(Relaxed)), Relaxed);
    let held = HELD.fetch_add(size as i64, Relaxed) + size as i64;
    MOST.fetch_max(held, Relaxed);
}

fn gave(size: usize) {
    if ON.load(Relaxed) {
        HELD.fetch_sub(size as i64, Relaxed);
    }
}

// SAFETY: every call goes on to the system's allocator as it came; the counters beside it touch none of the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        gave(layout.size());
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave(layout.size());
        took(size);
        unsafe { System.realloc(block, layout, size) }
    }
}

/// What was allocated meanwhile, by all threads.
#[derive(Clone, Copy, Debug)]
pub struct Allocated {
    pub blocks: u64,
    pub octets: u64,
    /// Blocks that a large thing has room in.
    pub large: u64,
    /// The most that was held at once, over what was held before.
    pub most: u64,
}

/// Counts what `work` allocates; blocks of `large` octets and more besides.
pub async fn counted(large: usize, work: impl Future<Output = ()>) -> Allocated {
    for counter in [&BLOCKS, &OCTETS, &LARGE] {
        counter.store(0, Relaxed);
    }
    HELD.store(0, Relaxed);
    MOST.store(0, Relaxed);
    LARGE_FROM.store(large, Relaxed);
    ON.store(true, Relaxed);
    work.await;
    ON.store(false, Relaxed);
    let most = u64::try_from(MOST.load(Relaxed)).unwrap_or(0);
    Allocated { blocks: BLOCKS.load(Relaxed), octets: OCTETS.load(Relaxed), large: LARGE.load(Relaxed), most }
}

/// CPU time that this process has used, all threads together.
pub fn process_time() -> Duration {
    time(ClockId::ProcessCPUTime)
}

/// CPU time that this thread has used.
pub fn thread_time() -> Duration {
    time(ClockId::ThreadCPUTime)
}

fn time(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("it is not negative")
}

/// How long things are measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Once each, to see that it works.
    pub quick: bool,
}

impl Effort {
    /// Microseconds of CPU time that one call takes: the median of samples of 50 µs and more, for 0.6 s and from 3 to 300 samples.
    pub fn cost(self, mut call: impl FnMut()) -> f64 {
        let mut sample = |calls: u32| {
            let begun = thread_time();
            for _ in 0..calls {
                call();
            }
            (thread_time() - begun).as_secs_f64() * 1e6 / f64::from(calls)
        };
        let first = sample(1);
        if self.quick {
            return first;
        }
        let calls = (50.0 / first).clamp(1.0, 1000.0) as u32;
        let samples = (0.6e6 / (first * f64::from(calls))).clamp(3.0, 300.0) as usize;
        median((0..samples).map(|_| sample(calls)).collect())
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

/// Forgets the peak of the resident memory, where the kernel lets us.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The peak of the resident memory in octets; 0 where the kernel does not tell.
pub fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().strip_suffix("kB")).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
