//! What a group's file says about its candidate: the profile, the devices that it is tried on, and the gates.

use jiff::Timestamp;

use super::Gates;

/// A rollout as the `[rollout]` table of a group says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The profile that is tried.
    pub candidate: String,
    /// Devices that get it, whatever the percentage.
    pub devices: Vec<DevicePattern>,
    /// How many of all devices get it.
    pub share: Share,
    /// What is added on certain dates; their dates rise, and so do their percentages.
    pub rings: Vec<Ring>,
    /// When to stop.
    pub gates: Gates,
}

/// What is added on a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// From then on.
    pub from: Timestamp,
    /// How many of all devices get the candidate, if this ring says so.
    pub share: Option<Share>,
    /// Devices that get it besides.
    pub devices: Vec<DevicePattern>,
}

/// Why a device is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The list names it.
    Named,
    /// It is within the percentage.
    Within(Share),
    /// A ring names it.
    RingNamed(Timestamp),
    /// It is within the percentage of a ring.
    RingWithin(Timestamp, Share),
}

impl Plan {
    /// Why this device gets the candidate now; `None` if it does not. A device that cannot be told apart is never reached: it would
    /// be in the percentage today and out of it tomorrow.
    pub fn reach(&self, group: &str, device: Option<&str>, now: Timestamp) -> Option<Reach> {
        let device = device?;
        if names(&self.devices, device) {
            return Some(Reach::Named);
        }
        let begun = || self.rings.iter().filter(|ring| ring.from <= now);
        if let Some(ring) = begun().find(|ring| names(&ring.devices, device)) {
            return Some(Reach::RingNamed(ring.from));
        }
        let slot = Slot::of(group, device);
        if self.share.includes(slot) {
            return Some(Reach::Within(self.share));
        }
        let of_ring = |ring: &Ring| ring.share.filter(|share| share.includes(slot)).map(|share| (ring.from, share));
        begun().find_map(of_ring).map(|(from, share)| Reach::RingWithin(from, share))
    }

    /// The percentage that holds now: the largest of what has begun.
    pub fn share_at(&self, now: Timestamp) -> Share {
        let begun = self.rings.iter().filter(|ring| ring.from <= now).filter_map(|ring| ring.share);
        begun.fold(self.share, Share::max)
    }

    /// The next ring to begin.
    pub fn next_ring(&self, now: Timestamp) -> Option<&Ring> {
        self.rings.iter().filter(|ring| ring.from > now).min_by_key(|ring| ring.from)
    }
}

fn names(patterns: &[DevicePattern], device: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(device))
}

/// A share of a group's devices, in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// None.
    pub const NONE: Share = Share(0);
    /// All of them.
    pub const ALL: Share = Share(10_000);

    /// So many percent; `None` above 100.
    pub const fn percent(percent: u32) -> Option<Self> {
        if percent <= 100 { Some(Share(percent * 100)) } else { None }
    }

    /// Reads `5`, `0.5`, `5%`, `0.25 %`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no percentage; write a number from 0 to 100, as in 5 or \"0.5\"");
        let number = text.trim();
        let number = number.strip_suffix('%').unwrap_or(number).trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 2 || number.ends_with('.') {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let fraction: u32 = format!("{fraction:0<2}").parse().map_err(|_| wrong())?;
        let total = whole.checked_mul(100).and_then(|hundredths| hundredths.checked_add(fraction)).ok_or_else(wrong)?;
        if total <= Self::ALL.0 { Ok(Share(total)) } else { Err(wrong()) }
    }

    /// As a fraction of one.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    fn includes(self, slot: Slot) -> bool {
        u32::from(slot.0) < self.0
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match hundredths {
            0 => write!(f, "{whole} %"),
            tenths if tenths.is_multiple_of(10) => write!(f, "{whole}.{} %", tenths / 10),
            _ => write!(f, "{whole}.{hundredths:02} %"),
        }
    }
}

/// Where a device stands in its group, from 0 to 9999: the same at each request and on each node, whatever the candidate. So a larger
/// percentage only ever adds devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(u16);

impl Slot {
    /// The first eight octets of SHA-256 over the group, a zero octet and the device, as a fraction of 2⁶⁴.
    fn of(group: &str, device: &str) -> Self {
        let text = [group.as_bytes(), &[0], device.as_bytes()].concat();
        let digest = crate::crypto::provider().digester.sha256(&text);
        let head = u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 octets"));
        Slot(((u128::from(head) * 10_000) >> 64) as u16)
    }
}

/// Devices by their identifier, as in `serialNumber=FOC1234`; `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePattern(String);

impl DevicePattern {
    /// Reads a pattern; a device's identifier is `LABEL=VALUE`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let label = text.split_once('=').map(|(label, _)| label);
        match label {
            Some(label) if !label.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "{text:?} fits no device; write LABEL=VALUE, as in \"serialNumber=FOC1234\" or \"serialNumber=FOC*\""
            )),
        }
    }

    /// What stands before the `=`.
    pub fn label(&self) -> &str {
        self.0.split('=').next().unwrap_or_default()
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether a device is meant.
    pub fn matches(&self, device: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = device.strip_prefix(first) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn patterns(texts: &[&str]) -> Vec<DevicePattern> {
        texts.iter().map(|text| DevicePattern::parse(text).unwrap()).collect()
    }

    fn plan(percent: u32) -> Plan {
        let share = Share::percent(percent).unwrap();
        Plan { candidate: "next".into(), devices: Vec::new(), share, rings: Vec::new(), gates: Gates::default() }
    }

    fn devices() -> impl Iterator<Item = String> {
        (0..10_000).map(|number| format!("serialNumber=FOC{number:05}"))
    }

    fn reached(plan: &Plan, group: &str, now: Timestamp) -> Vec<String> {
        devices().filter(|device| plan.reach(group, Some(device), now).is_some()).collect()
    }

    #[test]
    fn a_larger_percentage_only_adds() {
        let now = Timestamp::UNIX_EPOCH;
        let mut before = Vec::new();
        for percent in [0, 1, 5, 20, 50, 99, 100] {
            let reached = reached(&plan(percent), "routers", now);
            let wanted = percent as usize * 100;
            assert!(reached.len().abs_diff(wanted) <= 150, "{percent} % are {} of 10,000", reached.len());
            assert!(before.iter().all(|device| reached.contains(device)), "{percent} % lost a device");
            before = reached;
        }
        assert_eq!(before.len(), 10_000);
        assert_ne!(reached(&plan(5), "routers", now), reached(&plan(5), "cameras", now), "groups try it on other devices");
    }

    /// Whoever computes it elsewhere gets the same: this is documented.
    #[test]
    fn the_place_of_a_device_never_changes() {
        assert_eq!(Slot::of("branch-routers", "serialNumber=FOC1234"), Slot(SLOT_OF_FOC1234));
        assert_eq!(plan(100).reach("g", None, Timestamp::UNIX_EPOCH), None, "a device without an identifier is never reached");
    }

    /// From outside: python3 -c 'import hashlib; print(int.from_bytes(hashlib.sha256(b"branch-routers\0serialNumber=FOC1234").digest()[:8], "big") * 10000 >> 64)'
    const SLOT_OF_FOC1234: u16 = 7183;

    #[test]
    fn named_devices_and_rings() {
        let ring = |from: &str, percent: Option<u32>, devices: &[&str]| Ring {
            from: at(from),
            share: percent.and_then(Share::percent),
            devices: patterns(devices),
        };
        let plan = Plan {
            devices: patterns(&["serialNumber=FOC00001", "serialNumber=LAB*"]),
            rings: vec![
                ring("2027-01-10T00:00:00Z", Some(5), &[]),
                ring("2027-02-01T00:00:00Z", None, &["serialNumber=FOC0*"]),
                ring("2027-03-01T00:00:00Z", Some(100), &[]),
            ],
            ..plan(0)
        };
        let reach = |device: &str, now: &str| plan.reach("routers", Some(device), at(now));
        assert_eq!(reach("serialNumber=FOC00001", "2027-01-01T00:00:00Z"), Some(Reach::Named));
        assert_eq!(reach("serialNumber=LAB7", "2027-01-01T00:00:00Z"), Some(Reach::Named));
        assert_eq!(reach("serialNumber=FOC00002", "2027-01-31T00:00:00Z"), None);
        let second = at("2027-02-01T00:00:00Z");
        assert_eq!(reach("serialNumber=FOC00002", "2027-02-01T00:00:00Z"), Some(Reach::RingNamed(second)));
        let third = at("2027-03-01T00:00:00Z");
        assert_eq!(reach("serialNumber=X", "2027-03-02T00:00:00Z"), Some(Reach::RingWithin(third, Share::ALL)));

        assert_eq!(reached(&plan, "routers", at("2027-01-09T00:00:00Z")).len(), 1);
        let early = reached(&plan, "routers", at("2027-01-10T00:00:00Z")).len();
        assert!((350..=650).contains(&early), "{early}");
        assert_eq!(plan.share_at(at("2027-01-09T00:00:00Z")), Share::NONE);
        assert_eq!(plan.share_at(at("2027-02-09T00:00:00Z")), Share::percent(5).unwrap());
        assert_eq!(plan.next_ring(at("2027-02-09T00:00:00Z")).map(|ring| ring.from), Some(third));
        assert_eq!(plan.next_ring(at("2027-03-09T00:00:00Z")), None);
    }

    #[test]
    fn patterns_match_whole_identifiers() {
        for (pattern, device, fits) in [
            ("dns=a.example", "dns=a.example", true),
            ("dns=a.example", "dns=a.example.net", false),
            ("dns=*.example", "dns=a.example", true),
            ("dns=a*c*e", "dns=abcde", true),
            ("dns=a*c*e", "dns=abde", false),
            ("dns=*", "serialNumber=1", false),
            ("dns=a*a", "dns=a", false),
            ("dns=**", "dns=", true),
        ] {
            assert_eq!(DevicePattern::parse(pattern).unwrap().matches(device), fits, "{pattern} {device}");
        }
        for bad in ["", "FOC1234", "=x", "*"] {
            assert!(DevicePattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(DevicePattern::parse("serialNumber=a=b").unwrap().label(), "serialNumber");
    }

    #[test]
    fn shares_are_read_and_shown() {
        for (text, shown) in
            [("5", "5 %"), ("0.5%", "0.5 %"), ("0.25 %", "0.25 %"), ("100", "100 %"), ("0", "0 %"), ("1.05", "1.05 %")]
        {
            assert_eq!(Share::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", "101", "100.01", "-1", "5.", ".5", "0.125", "five", "99999999999", "5%%"] {
            assert!(Share::parse(bad).is_err(), "{bad}");
        }
    }
}
