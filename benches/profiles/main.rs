//! What each algorithm profile costs, from the key of its CA to the reply on the wire. `benches/profiles/run` runs it.
//!
//! ```text
//! benches/profiles/run [--quick] [--rounds 3] [--only NAME]... [--json FILE] [--docs]
//! ```
//!
//! Every profile is measured in a process of its own, so that none finds the caches warm or the memory grown; the profiles take
//! turns, and the medians of the rounds count. Times are CPU times: they say little of who else used the machine. Not with Criterion,
//! which measures by the clock.

mod flood;
mod measure;
mod one;
mod world;

#[path = "../../tests/wire_support/mod.rs"]
mod wire_support;

use std::process::{Command, Stdio};

use ravelin::config::shipped::PROFILES;
use serde_json::{Value, json};

use measure::{Counting, Effort, median};
use world::LARGEST;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Default)]
struct Options {
    quick: bool,
    rounds: Option<usize>,
    only: Vec<String>,
    json: Option<String>,
    /// Measures one profile in this process.
    one: Option<String>,
    /// Measures many replies at once in this process.
    flood: Option<String>,
}

impl Options {
    fn read() -> Self {
        let mut options = Options::default();
        let mut bench = false;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} wants a value"));
            match argument.as_str() {
                // What `cargo bench` says; `cargo test` does not.
                "--bench" => bench = true,
                "--quick" | "--test" => options.quick = true,
                "--rounds" => options.rounds = Some(value().parse().expect("a number")),
                "--only" => options.only.push(value()),
                "--json" => options.json = Some(value()),
                "--one" => options.one = Some(value()),
                "--flood" => options.flood = Some(value()),
                other => panic!("unknown argument {other}"),
            }
        }
        options.quick |= !bench;
        options
    }

    fn names(&self) -> Vec<String> {
        let all = PROFILES.iter().map(|profile| profile.name).chain([LARGEST]);
        match (self.only.as_slice(), self.quick) {
            ([], false) => all.map(str::to_owned).collect(),
            // One of each form, and the largest.
            ([], true) => [
                "ecdsa-p256",
                "ml-dsa-87",
                "composite-mldsa65-ecdsa-p256",
                "catalyst-ecdsa-p256-mldsa65",
                "paired-ecdsa-p256-mldsa65",
                LARGEST,
            ]
            .map(str::to_owned)
            .to_vec(),
            (only, _) => only.to_vec(),
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::read();
    let effort = Effort { quick: options.quick };
    if let Some(name) = &options.one {
        println!("{}", Value::Object(one::measure(name, effort).await));
    } else if let Some(name) = &options.flood {
        println!("{}", Value::Object(flood::measure(name, effort).await));
    } else {
        all(&options);
    }
}

/// Runs this program once more, for one thing, and gives what it printed.
fn run(options: &Options, what: &str, name: &str) -> Value {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args([what, name]).stdout(Stdio::piped());
    // Without `--bench` it is quick.
    if !options.quick {
        command.arg("--bench");
    }
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{what} {name}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn all(options: &Options) {
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 });
    let names = options.names();
    let mut measured: Vec<Vec<Value>> = vec![Vec::new(); names.len()];
    let mut floods = Vec::new();
    for round in 1..=rounds {
        for (name, values) in names.iter().zip(&mut measured) {
            eprintln!("round {round} of {rounds}: {name}");
            values.push(run(options, "--one", name));
        }
        if names.iter().any(|name| name == LARGEST) {
            eprintln!("round {round} of {rounds}: many replies at once");
            floods.push(run(options, "--flood", LARGEST));
        }
    }
    let profiles: serde_json::Map<_, _> = names.iter().cloned().zip(measured.iter().map(|values| medians(values))).collect();
    let flood = if floods.is_empty() { Value::Null } else { medians(&floods) };
    let result = json!({ "machine": machine(), "quick": options.quick, "rounds": rounds, "profiles": profiles, "flood": flood });
    print(&result);
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&result).expect("it is JSON");
        std::fs::write(path, text + "\n").unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// The medians of figures with the same names, however deep.
fn medians(values: &[Value]) -> Value {
    match &values[0] {
        Value::Object(first) => {
            let of = |name: &String| values.iter().filter_map(|value| value.get(name)).cloned().collect::<Vec<_>>();
            Value::Object(first.keys().map(|name| (name.clone(), medians(&of(name)))).collect())
        }
        Value::Number(_) => json!(median(values.iter().filter_map(Value::as_f64).collect())),
        other => other.clone(),
    }
}

/// What it ran on, and how busy that was.
fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()));
    let load = read("/proc/loadavg").split(' ').nth(1).and_then(|load| load.parse::<f64>().ok());
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "load_5_minutes": load,
        "optimised": !cfg!(debug_assertions),
    })
}

fn print(result: &Value) {
    println!(
        "{:32} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>9} {:>6} {:>7} {:>9} {:>6}",
        "profile", "sign us", "verify us", "enroll us", "crypto %", "rest us", "leaf", "reply", "alloc", "KiB", "large", "MiB"
    );
    for (name, all) in result["profiles"].as_object().expect("an object") {
        let get = |figure: &str| all[figure].as_f64().unwrap_or(f64::NAN);
        let (total, cryptography) = (get("enrollment_us"), get("cryptography_us"));
        println!(
            "{name:32} {:9.0} {:9.0} {total:9.0} {:8.0} {:8.0} {:8.0} {:9.0} {:6.0} {:7.0} {:9.1} {:6.1}",
            get("sign_us"),
            get("verify_us"),
            cryptography / total * 100.0,
            total - cryptography,
            get("certificate_octets"),
            get("reply_octets"),
            get("allocations"),
            get("allocated_octets") / 1024.0,
            get("large_blocks"),
            get("peak_octets") / 1048576.0
        );
    }
    if result["flood"].is_object() {
        println!("{}", serde_json::to_string_pretty(&result["flood"]).expect("it is JSON"));
    }
}
