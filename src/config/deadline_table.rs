//! The `[deadline]` table of a policy.

use jiff::Timestamp;
use jiff::civil::Date;

use super::diagnostic::Diagnostic;
use super::reader::Reader;
use super::rollout_table::devices;
use super::value::date;
use super::{Config, Origins, schema};
use crate::policy::DeviceGroup;
use crate::rollout::{Deadline, Exception};

/// The code of what is wrong because a deadline has passed: time alone brings it about, so it does not keep a service from starting.
pub(super) const PASSED: &str = "deadline-passed";

/// What the table says of a group; `None` if there is none, or its date is missing, which is reported.
pub(super) fn read(root: &Reader<'_>, name: &str, device_ids: &[String], origins: &mut Origins) -> Option<Deadline> {
    let table = root.table("deadline", &schema::DEADLINE)?;
    let from = table.required("from").and_then(|from| table.read(&from, date));
    if let Some(origin) = table.origin_of("from") {
        origins.note(format!("group/{name}/deadline.from"), &origin);
    }
    let labels: Vec<&str> = device_ids.iter().map(|id| id.rsplit('.').next().unwrap_or(id)).collect();
    let mut exceptions = Vec::new();
    for exception in table.tables("exceptions", &schema::EXCEPTION).unwrap_or_default() {
        exception.must_have("devices");
        let devices = devices(&exception, &labels);
        if let Some(origin) = exception.empty_array("devices") {
            exception.bad(&origin, "this exception covers no device");
        }
        let until = exception.required("until").and_then(|until| exception.read(&until, end_of));
        let why = exception.required("why");
        if let Some(why) = why.as_ref().filter(|why| why.value.trim().is_empty()) {
            exception.bad(&why.origin, "say why: whoever reads the audit log wants to know");
        }
        if let (Some(from), Some(until)) = (&from, &until)
            && until.value <= from.value
        {
            let finding = Diagnostic::error("bad-value", "this exception ends before the deadline comes").at(&until.origin);
            exception.report(finding.help(format!("nobody needs one before {}: name a later day, or take it out", from.value)));
        }
        let (Some(until), Some(why)) = (until, why) else { continue };
        origins.note(format!("group/{name}/deadline.exceptions.{}", exceptions.len()), &until.origin);
        exceptions.push(Exception { devices, until: until.value, why: why.value });
    }
    Some(Deadline { from: from?.value, exceptions })
}

/// Reads `2028-06-30` (its end, UTC) or `2028-06-30T12:00:00Z`.
fn end_of(text: &str) -> Result<Timestamp, String> {
    let day = text.parse::<Date>().ok().filter(|_| text.len() == "2028-06-30".len()).and_then(|day| day.tomorrow().ok());
    match day {
        Some(next) => date(&next.to_string()),
        None => date(text),
    }
}

/// Reports what the deadline of a group and the time of now make of its configuration: what, and at which key.
pub(super) fn check(group: &DeviceGroup, config: &Config, now: Timestamp) -> Vec<(Diagnostic, String)> {
    let Some(deadline) = &group.deadline else { return Vec::new() };
    let mut found = Vec::new();
    for (index, exception) in deadline.exceptions.iter().enumerate().filter(|(_, exception)| exception.until <= now) {
        let message = format!("this exception ended at {}", exception.until);
        let finding = Diagnostic::warning("exception-ended", message).help("take it out, or name a later day if it still holds");
        found.push((finding, format!("deadline.exceptions.{index}")));
    }
    if !deadline.is_past(now) {
        return found;
    }
    let covered = deadline.exceptions.iter().any(|exception| exception.until > now);
    let candidate = group.rollout.as_ref().map(|plan| (plan.candidate.as_str(), "rollout.candidate"));
    for (name, key) in std::iter::once((group.profile.as_str(), "profile")).chain(candidate) {
        let Some(profile) = config.profile(name).filter(|profile| !profile.is_post_quantum()) else { continue };
        let message =
            format!("what `{}` signs is classical only, and the deadline of this group was {}", profile.name, deadline.from);
        let finding = match covered {
            true => Diagnostic::warning(PASSED, message).label("only devices with an exception are let through"),
            false => Diagnostic::error(PASSED, message).label("nobody would be let through"),
        };
        let ways = config.profiles.iter().filter(|other| other.is_post_quantum()).map(|other| other.name.as_str());
        let ways: Vec<&str> = ways.take(NAMED).collect();
        let way = match ways.as_slice() {
            [] => "put the group on a post-quantum profile".to_owned(),
            ways => format!("put the group on a post-quantum profile ({}, …)", ways.join(", ")),
        };
        let help = format!("{way}, grant `exceptions` that end, or move `from` in `[deadline]`");
        found.push((finding.help(help), key.to_owned()));
    }
    found
}

/// How many profiles a report names.
const NAMED: usize = 3;
