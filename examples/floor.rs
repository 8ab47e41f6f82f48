//! Prints what the cryptography of one SCEP enrollment costs on this machine, as one line of JSON: `floor_us` is the CPU time in
//! microseconds, `parts` says of what it is made.
//!
//! ```text
//! cargo run --release --example floor [ROUNDS]
//! ```

use std::time::Duration;

use ravelin::crypto::floor::Enrollment;

fn main() -> anyhow::Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(300), |rounds| rounds.parse())?;
    let floor = Enrollment::prepare()?.measure(rounds, thread_cpu_time)?;
    println!("{}", serde_json::to_string(&floor)?);
    Ok(())
}

/// The CPU time that this thread has used: what other processes do on the machine does not count.
fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
