//! Deadlines: from a day on, a group gets no signature that is classical only.
//!
//! What counts is the profile: whether anything in what it issues, be it the signature, the alternative one or the sibling, holds
//! against a quantum computer. Exceptions name devices, and end.

use jiff::Timestamp;

use super::DevicePattern;

/// The day from which on a group gets no signature that is classical only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// From then on.
    pub from: Timestamp,
    /// Who may be late, and until when.
    pub exceptions: Vec<Exception>,
}

/// Devices that may be late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Which.
    pub devices: Vec<DevicePattern>,
    /// Until then.
    pub until: Timestamp,
    /// Why, in the words of whoever granted it.
    pub why: String,
}

/// What a deadline says of a certificate that is about to be ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing: there is no deadline, it has not come, or the profile is not classical only.
    #[default]
    Free,
    /// The deadline has passed, and this exception covers the device.
    Excepted(Exception),
    /// The deadline has passed.
    Passed,
}

impl Deadline {
    /// Whether it has come.
    pub fn is_past(&self, now: Timestamp) -> bool {
        now >= self.from
    }

    /// The exception that covers a device now: of several, the one that ends last.
    pub fn exception(&self, device: Option<&str>, now: Timestamp) -> Option<&Exception> {
        let device = device?;
        let covers =
            |exception: &&Exception| now < exception.until && exception.devices.iter().any(|pattern| pattern.matches(device));
        self.exceptions.iter().filter(covers).max_by_key(|exception| exception.until)
    }

    /// What it says of a profile for a device.
    pub fn rule(&self, post_quantum: bool, device: Option<&str>, now: Timestamp) -> Ruling {
        if post_quantum || !self.is_past(now) {
            return Ruling::Free;
        }
        match self.exception(device, now) {
            Some(exception) => Ruling::Excepted(exception.clone()),
            None => Ruling::Passed,
        }
    }
}

impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let devices = self.devices.iter().map(DevicePattern::text).collect::<Vec<_>>().join(", ");
        write!(f, "{devices} until {}: {}", self.until, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn exception(device: &str, until: &str, why: &str) -> Exception {
        Exception { devices: vec![DevicePattern::parse(device).unwrap()], until: at(until), why: why.into() }
    }

    #[test]
    fn classical_ends_on_its_day_and_exceptions_on_theirs() {
        let deadline = Deadline {
            from: at("2028-01-01T00:00:00Z"),
            exceptions: vec![
                exception("serialNumber=OLD*", "2028-03-01T00:00:00Z", "the vendor's firmware is late"),
                exception("serialNumber=OLD7", "2028-06-01T00:00:00Z", "on a mountain"),
            ],
        };
        let rule = |post_quantum, device, now: &str| deadline.rule(post_quantum, device, at(now));
        let why = |ruling| match ruling {
            Ruling::Excepted(exception) => exception.why,
            other => format!("{other:?}"),
        };
        assert_eq!(rule(false, Some("serialNumber=NEW1"), "2027-12-31T23:59:59Z"), Ruling::Free);
        assert_eq!(rule(false, Some("serialNumber=NEW1"), "2028-01-01T00:00:00Z"), Ruling::Passed);
        assert_eq!(rule(true, Some("serialNumber=NEW1"), "2028-01-01T00:00:00Z"), Ruling::Free);
        assert_eq!(rule(false, None, "2028-01-01T00:00:00Z"), Ruling::Passed, "who is not known is not excepted");
        let (six, seven) = (Some("serialNumber=OLD6"), Some("serialNumber=OLD7"));
        assert_eq!(why(rule(false, six, "2028-02-29T23:59:59Z")), "the vendor's firmware is late");
        assert_eq!(rule(false, six, "2028-03-01T00:00:00Z"), Ruling::Passed);
        assert_eq!(why(rule(false, seven, "2028-02-01T00:00:00Z")), "on a mountain", "the one that ends last");
        assert_eq!(rule(false, seven, "2028-06-01T00:00:00Z"), Ruling::Passed);
    }
}
