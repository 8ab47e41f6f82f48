//! Named points at which a test can halt the process, to kill it there.
//!
//! With debug assertions on, and `RAVELIN_HALT_AT=POINT:FILE` in the environment, the thread that comes by the point writes FILE and
//! sleeps for ever; the test then sends SIGKILL. In release builds there is nothing here.

/// All points, in the order in which an enrollment passes them.
pub const POINTS: &[&str] = &[
    "received",
    "before-open",
    "after-open",
    "before-submit",
    "after-submit",
    "before-conclude",
    "after-conclude",
    "before-reply",
];

/// The points between the two certificates of a pair, which other enrollments do not pass.
pub const POINTS_OF_PAIRS: &[&str] = &["before-first-of-pair", "after-first-of-pair"];

/// Halts here if the environment says so.
#[inline]
pub fn point(_name: &'static str) {
    #[cfg(debug_assertions)]
    halt(_name);
}

#[cfg(debug_assertions)]
fn halt(name: &'static str) {
    use std::sync::OnceLock;
    static HALT: OnceLock<Option<(String, String)>> = OnceLock::new();
    let wanted = HALT.get_or_init(|| {
        let value = std::env::var("RAVELIN_HALT_AT").ok()?;
        let (point, file) = value.split_once(':')?;
        Some((point.to_owned(), file.to_owned()))
    });
    if let Some((point, file)) = wanted
        && point == name
    {
        let _ = std::fs::write(file, name);
        loop {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
    }
}
