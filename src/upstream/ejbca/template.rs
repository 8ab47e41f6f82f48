//! Names of end entities: text with places for what is known of an order.

use std::fmt;
use std::str::FromStr;

use crate::upstream::{IdempotencyKey, IssuanceOrder};
use crate::x509::DistinguishedName;

/// Text with places: `ravelin-{key}`, `{group}/{device}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// What can stand in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The idempotency key of the attempt: 32 hex digits, new for each certificate.
    Key,
    /// The device as its group recognises it.
    Device,
    /// The common name that is ordered.
    CommonName,
    /// The device group.
    Group,
}

const PLACES: &[(&str, Place)] =
    &[("key", Place::Key), ("device", Place::Device), ("cn", Place::CommonName), ("group", Place::Group)];

/// The longest name that EJBCA stores.
const LONGEST: usize = 250;

impl NameTemplate {
    /// Whether no two attempts have the same, so that an attempt can be found by it.
    pub fn is_unique(&self) -> bool {
        self.0.contains(&Piece::Place(Place::Key))
    }

    /// Puts in what is known of an order; the error says what is missing.
    pub(super) fn fill(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<String, String> {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Place(Place::Key) => name.push_str(&key.to_string()),
                Piece::Place(Place::Group) => push_safe(&mut name, &order.group),
                Piece::Place(Place::Device) => {
                    let device =
                        order.device.as_deref().ok_or("nothing names the device, and {device} stands in the template")?;
                    push_safe(&mut name, device);
                }
                Piece::Place(Place::CommonName) => {
                    let subject = DistinguishedName::from_der(&order.subject).map_err(|error| error.to_string())?;
                    push_safe(&mut name, subject.common_name().ok_or("the subject has no CN, and {cn} stands in the template")?);
                }
            }
        }
        match name.len() {
            0 => Err(format!("the template {self} gave an empty name")),
            1..=LONGEST => Ok(name),
            long => Err(format!("the template {self} gave a name of {long} octets, and EJBCA stores {LONGEST}")),
        }
    }
}

/// EJBCA changes some characters in names, and would not find the name again as it was sent: they are changed here.
fn push_safe(name: &mut String, text: &str) {
    let safe = |c: char| if c.is_control() || "%`<>?$~;!\"\\".contains(c) { '_' } else { c };
    name.extend(text.chars().map(safe));
}

impl FromStr for NameTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (place, after) = after.split_once('}').ok_or_else(|| format!("{text:?} has a `{{` without `}}`"))?;
            let known = PLACES.iter().find(|(name, _)| *name == place).ok_or_else(|| {
                let names: Vec<_> = PLACES.iter().map(|(name, _)| format!("{{{name}}}")).collect();
                format!("{text:?} has the place {{{place}}}; there are {}", names.join(", "))
            })?;
            pieces.push(Piece::Place(known.1));
            rest = after;
        }
        if rest.contains('}') {
            return Err(format!("{text:?} has a `}}` without `{{`"));
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let mut fixed = String::new();
        for piece in &pieces {
            if let Piece::Text(text) = piece {
                push_safe(&mut fixed, text);
                if !fixed.ends_with(text.as_str()) {
                    return Err(format!("{text:?} has characters that EJBCA changes in names"));
                }
            }
        }
        if pieces.is_empty() { Err("an empty template".to_owned()) } else { Ok(Self(pieces)) }
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Place(place) => {
                    let name = PLACES.iter().find(|(_, known)| known == place).map_or("", |(name, _)| name);
                    write!(f, "{{{name}}}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::KeyAlgorithm;
    use crate::upstream::testing::TestCa;

    #[test]
    fn places_are_filled_and_what_ejbca_would_change_is_changed_before() {
        let mut order = TestCa::new(KeyAlgorithm::EcdsaP256).order("a");
        order.device = Some("Kasse <7>;%".into());
        let key = IdempotencyKey([0xab; 16]);
        let fill = |text: &str| text.parse::<NameTemplate>().unwrap().fill(&order, &key);
        assert_eq!(fill("ravelin-{key}").unwrap(), format!("ravelin-{}", "ab".repeat(16)));
        assert_eq!(fill("{group}/{device}").unwrap(), "routers/Kasse _7___");
        assert_eq!(fill("{cn}").unwrap(), "router-1");
        assert!(fill(&format!("{{cn}}{}", "x".repeat(250))).unwrap_err().contains("258 octets"));
        order.device = None;
        assert!("{device}".parse::<NameTemplate>().unwrap().fill(&order, &key).unwrap_err().contains("{device}"));
    }

    #[test]
    fn wrong_templates_are_refused_and_good_ones_come_out_as_they_went_in() {
        for wrong in ["", "{", "a}", "{serial}", "a;b", "{key"] {
            assert!(wrong.parse::<NameTemplate>().is_err(), "{wrong}");
        }
        for (good, unique) in [("ravelin-{key}", true), ("{cn}", false), ("fixed", false), ("{group}-{device}-{key}.x", true)] {
            let template: NameTemplate = good.parse().unwrap();
            assert_eq!((template.to_string().as_str(), template.is_unique()), (good, unique));
        }
    }
}
