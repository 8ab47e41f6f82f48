//! The `[rollout]` table of a policy.

use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::reader::{Located, Reader, values};
use super::value::{date, show_duration};
use super::{Origins, schema};
use crate::rollout::{DevicePattern, Gates, OnTrip, Plan, ReturnsGate, Ring, Share, Threshold};

/// What the table says of a group; `None` if there is none, or its candidate is missing, which is reported.
pub(super) fn read(root: &Reader<'_>, name: &str, profile: &str, device_ids: &[String], origins: &mut Origins) -> Option<Plan> {
    let table = root.table("rollout", &schema::ROLLOUT)?;
    let candidate = table.required("candidate");
    if let Some(candidate) = &candidate {
        origins.note(format!("group/{name}/rollout.candidate"), &candidate.origin);
        if candidate.value == profile {
            let finding = Diagnostic::error("bad-value", format!("`{profile}` is the profile of the group already"));
            table.report(finding.at(&candidate.origin).help("name another candidate, or take the table `[rollout]` out"));
        }
    }
    let labels: Vec<&str> = device_ids.iter().map(|id| id.rsplit('.').next().unwrap_or(id)).collect();
    let devices = devices(&table, &labels);
    let share = table.share("percent");
    let rings = rings(&table, &labels, share.as_ref().map_or(Share::NONE, |share| share.value));
    let gates = table.table("gates", &schema::GATES);
    if let Some(origin) = gates.as_ref().and_then(|gates| gates.origin_of("window")) {
        origins.note(format!("group/{name}/rollout.gates.window"), &origin);
    }
    let gates = gates.map_or_else(Gates::default, |gates| read_gates(&gates));
    // A percentage that cannot be read is reported as that.
    let share = match table.origin_of("percent") {
        Some(_) => share.map(|share| share.value),
        None => Some(Share::NONE),
    };
    let says_something = ["devices", "rings"].iter().any(|key| table.origin_of(key).is_some());
    if !says_something && share == Some(Share::NONE) {
        let finding = Diagnostic::warning("never-fits", "this rollout reaches no device");
        let origin = root.key_origin_of("rollout").unwrap_or_else(|| table.origin().clone());
        table.report(finding.at(&origin).help("say `devices`, `percent` or `rings`"));
    }
    Some(Plan { candidate: candidate?.value, devices, share: share?, rings, gates })
}

/// The devices of `devices`, each of which the group could know.
pub(super) fn devices(table: &Reader<'_>, labels: &[&str]) -> Vec<DevicePattern> {
    let found = table.parsed_list("devices", |text| {
        let pattern = DevicePattern::parse(text)?;
        if labels.contains(&pattern.label()) {
            return Ok(pattern);
        }
        let known = labels.iter().map(|label| format!("{label}=")).collect::<Vec<_>>().join(", ");
        Err(format!("no device of this group is called {text:?}: by `id` in `[device]`, their identifiers begin with {known}"))
    });
    let found: Vec<Located<DevicePattern>> = found.unwrap_or_default();
    for (index, one) in found.iter().enumerate() {
        if found[..index].iter().any(|earlier| earlier.value == one.value) {
            let finding = Diagnostic::error("duplicate-name", format!("device `{}` stands there twice", one.value.text()));
            table.report(finding.at(&one.origin));
        }
    }
    values(found)
}

fn rings(table: &Reader<'_>, labels: &[&str], share: Share) -> Vec<Ring> {
    let mut rings: Vec<Ring> = Vec::new();
    let mut largest = share;
    for ring in table.tables("rings", &schema::RING).unwrap_or_default() {
        let from = ring.required("from").and_then(|from| ring.read(&from, date));
        let own = ring.share("percent");
        let devices = devices(&ring, labels);
        if own.is_none() && ring.origin_of("percent").is_none() && ring.origin_of("devices").is_none() {
            ring.bad(ring.origin(), "this ring adds nothing: it says neither `percent` nor `devices`");
        }
        if let Some(own) = &own {
            if own.value < largest {
                let message = format!("this ring has {}, and {largest} are reached before it", own.value);
                let finding = Diagnostic::error("bad-value", message).at(&own.origin);
                ring.report(finding.help("a ring only ever adds devices: its percentage is no less than those before"));
            }
            largest = largest.max(own.value);
        }
        let Some(from) = from else { continue };
        if let Some(before) = rings.last().filter(|before| before.from >= from.value) {
            let message = format!("this ring begins no later than the one before it ({})", before.from);
            ring.report(Diagnostic::error("bad-value", message).at(&from.origin).help("write rings in the order of their dates"));
        }
        rings.push(Ring { from: from.value, share: own.map(|own| own.value), devices });
    }
    rings
}

fn read_gates(table: &Reader<'_>) -> Gates {
    let defaults = Gates::default();
    let mut window = defaults.window;
    if let Some(found) = table.duration("window") {
        window = found;
        if window < SHORTEST_WINDOW
            && let Some(origin) = table.origin_of("window")
        {
            let least = show_duration(SHORTEST_WINDOW);
            table.bad(&origin, format!("a window of {} sees nothing; it should be {least} or more", show_duration(window)));
        }
    }
    let returns = match table.is_table("returns") {
        true => table.table("returns", &schema::RETURNS).map(|returns| read_returns(&returns)),
        false => threshold(table, "returns", Some(DEFAULT_RETURNS.more_than))
            .map(|more_than| ReturnsGate { more_than, ..DEFAULT_RETURNS }),
    };
    if let Some(returns) = returns
        && returns.within > window
        && let Some(origin) = table.origin_of("returns").or_else(|| table.origin_of("window"))
    {
        let (within, window) = (show_duration(returns.within), show_duration(window));
        let finding =
            Diagnostic::error("bad-value", format!("who comes back within {within} is not seen in a window of {window}"));
        table.report(finding.at(&origin).help("make `window` longer, or `within` in `returns` shorter"));
    }
    Gates {
        window,
        min_devices: table.integer("min-devices", 1, 1_000_000).map_or(defaults.min_devices, |least| least.unsigned_abs()),
        refusals: threshold(table, "refusals", defaults.refusals),
        upstream_errors: threshold(table, "upstream-errors", defaults.upstream_errors),
        returns,
        on_trip: table.named::<OnTrip>("on-trip").map_or(defaults.on_trip, |on_trip| on_trip.value),
    }
}

fn read_returns(table: &Reader<'_>) -> ReturnsGate {
    let within = table.duration("within").unwrap_or(DEFAULT_RETURNS.within);
    if within.is_zero()
        && let Some(origin) = table.origin_of("within")
    {
        table.bad(&origin, "nobody comes back within no time");
    }
    let more_than = table.parsed("more-than", |text| reachable(Threshold::parse(text)?)).map(|more_than| more_than.value);
    ReturnsGate { within, more_than: more_than.unwrap_or(DEFAULT_RETURNS.more_than) }
}

/// A threshold, `off`, or what holds where nothing is said.
fn threshold(table: &Reader<'_>, key: &str, default: Option<Threshold>) -> Option<Threshold> {
    let read = |text: &str| match text {
        "off" => Ok(None),
        text => Threshold::parse(text).and_then(reachable).map(Some),
    };
    table.parsed(key, read).map_or(default, |found| found.value)
}

/// A share of more than all of them is never reached: that would be a gate that never trips.
fn reachable(threshold: Threshold) -> Result<Threshold, String> {
    match threshold.share == Share::ALL {
        true => Err(format!("more than {threshold} of the devices are never reached; write \"off\" for no gate")),
        false => Ok(threshold),
    }
}

const SHORTEST_WINDOW: Duration = Duration::from_secs(60);

const DEFAULT_RETURNS: ReturnsGate = ReturnsGate::DEFAULT;
