//! Patterns and templates of policy files: `CN={name:[a-z0-9-]{1,32}},O=Example` and `{name}.branch.example.net`.
//!
//! A pattern is text with holes. `{name:regex}` takes what the regular expression matches and remembers it as `name`; `{name}` in a
//! subject pattern takes any 1 to 64 characters, everywhere else it stands for what was remembered. Whatever is outside holes has to
//! be there literally; `\{`, `\}`, `\,` and `\\` write those characters. A match always covers the whole value.

use std::collections::{BTreeMap, BTreeSet};

use der::oid::ObjectIdentifier;
use regex::{Regex, RegexBuilder};

use super::select::{select, selector};
use crate::x509::name::{Attribute, attribute_oid};
use crate::x509::{DistinguishedName, SubjectAltName};

/// What the holes of a subject pattern took, by name.
pub type Captures = BTreeMap<String, String>;

/// A subject that is let through: attributes in any order, those of one type in the order of the pattern, each exactly once. A `*`
/// among them lets attributes of types that the pattern does not name through as well.
#[derive(Clone, Debug)]
pub struct SubjectPattern {
    text: String,
    attributes: Vec<AttributePattern>,
    open: bool,
}

#[derive(Clone, Debug)]
struct AttributePattern {
    oid: ObjectIdentifier,
    parts: Vec<Part>,
    regex: Regex,
}

impl SubjectPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut attributes = Vec::new();
        let mut open = false;
        let mut names = BTreeSet::new();
        for piece in split_attributes(text)? {
            if piece.trim() == "*" {
                open = true;
                continue;
            }
            let (oid, value) = attribute(&piece)?;
            let mut parts = parts(value)?;
            for part in &mut parts {
                if let Part::Reference(name) = part {
                    *part = Part::Capture { name: std::mem::take(name), regex: ANY_VALUE.into() };
                }
            }
            for part in &parts {
                if let Part::Capture { name, .. } = part
                    && !names.insert(name.clone())
                {
                    return Err(PatternError::Repeated(name.clone()));
                }
            }
            let regex = compile(&parts, &Captures::new(), false).ok_or(PatternError::TooLarge)?;
            attributes.push(AttributePattern { oid, parts, regex });
        }
        if attributes.is_empty() && !open {
            return Err(PatternError::Empty);
        }
        Ok(SubjectPattern { text: text.to_owned(), attributes, open })
    }

    /// What the holes took, if the subject fits.
    pub fn matches(&self, subject: &DistinguishedName) -> Option<Captures> {
        let mut captures = Captures::new();
        let mut taken: BTreeMap<ObjectIdentifier, usize> = BTreeMap::new();
        let all = || subject.rdns().iter().flatten();
        for pattern in &self.attributes {
            let index = taken.entry(pattern.oid).or_default();
            let attribute = all().filter(|a| a.oid == pattern.oid).nth(*index)?;
            *index += 1;
            let found = pattern.regex.captures(&attribute.value)?;
            for (number, name) in holes(&pattern.parts).enumerate() {
                let value = found.name(&group(number)).map_or("", |m| m.as_str());
                captures.insert(name.to_owned(), value.to_owned());
            }
        }
        let fits = all().all(|a| match taken.get(&a.oid) {
            Some(count) => all().filter(|other| other.oid == a.oid).count() == *count,
            None => self.open,
        });
        fits.then_some(captures)
    }

    /// The names of the holes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().flat_map(|a| holes(&a.parts))
    }

    /// The text, as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether no subject can fit both: one of them asks for a literal value that the other does not take. What is not seen here is
    /// taken to overlap.
    pub fn excludes(&self, other: &SubjectPattern) -> bool {
        let one_way = |a: &SubjectPattern, b: &SubjectPattern| {
            a.attributes.iter().any(|pattern| {
                let of_type = |p: &&AttributePattern| p.oid == pattern.oid;
                let (here, there) = (a.attributes.iter().filter(of_type).count(), b.attributes.iter().filter(of_type).count());
                match (here, there) {
                    (_, 0) => !b.open,
                    (1, 1) => {
                        let counterpart = b.attributes.iter().find(|p| p.oid == pattern.oid).expect("counted");
                        literal(&pattern.parts).is_some_and(|value| !counterpart.regex.is_match(&value))
                    }
                    (here, there) => here != there,
                }
            })
        };
        one_way(self, other) || one_way(other, self)
    }
}

/// A text that is let through, such as a DNS name.
#[derive(Clone, Debug)]
pub struct TextPattern {
    text: String,
    parts: Vec<Part>,
    ignore_case: bool,
    /// How many parts at the start and at the end are fixed once they are filled in.
    fixed: (usize, usize),
    /// Ready for what lies between them; `None` where holes to be filled lie there too, which takes a fresh expression each time.
    middle: Option<Regex>,
}

impl TextPattern {
    /// Reads a pattern. Letter case does not count where `ignore_case` says so (RFC 4343 for DNS names).
    pub fn parse(text: &str, ignore_case: bool) -> Result<Self, PatternError> {
        let parts = parts(text)?;
        if parts.is_empty() {
            return Err(PatternError::Empty);
        }
        check_selectors(&parts)?;
        let is_fixed = |part: &&Part| !matches!(part, Part::Capture { .. });
        let start = parts.iter().take_while(is_fixed).count();
        let end = parts[start..].iter().rev().take_while(is_fixed).count();
        let between = &parts[start..parts.len() - end];
        let needs_filling = between.iter().any(|part| matches!(part, Part::Reference(_)));
        let middle = match needs_filling {
            true => None,
            false => Some(compile(between, &Captures::new(), ignore_case).ok_or(PatternError::TooLarge)?),
        };
        Ok(TextPattern { text: text.to_owned(), parts, ignore_case, fixed: (start, end), middle })
    }

    /// Whether the value fits, with holes filled from what a subject pattern took.
    pub fn matches(&self, value: &str, scope: &Scope<'_>) -> bool {
        if let Some(middle) = &self.middle {
            // Most patterns: `{name}.example.net` has nothing between, `{name}.{domain:…}` has one expression after a fixed start.
            let (start, end) = self.fixed;
            let rest = self.strip(value, &self.parts[..start], scope, Side::Start);
            let rest = rest.and_then(|rest| self.strip(rest, &self.parts[self.parts.len() - end..], scope, Side::End));
            return rest.is_some_and(|rest| middle.is_match(rest));
        }
        let mut filled = Captures::new();
        for part in &self.parts {
            if let Part::Reference(name) = part {
                let Some(value) = scope.value(name) else { return false };
                filled.insert(name.clone(), value);
            }
        }
        compile(&self.parts, &filled, self.ignore_case).is_some_and(|regex| regex.is_match(value))
    }

    /// The names that have to be filled in.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        references(&self.parts)
    }

    /// The text, as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value without the fixed parts at one side; `None` if they are not there.
    fn strip<'v>(&self, value: &'v str, parts: &[Part], scope: &Scope<'_>, side: Side) -> Option<&'v str> {
        let mut fixed = String::new();
        for part in parts {
            match part {
                Part::Literal(text) => fixed.push_str(text),
                Part::Reference(name) | Part::Capture { name, .. } => fixed.push_str(&scope.value(name)?),
            }
        }
        let (found, rest) = match side {
            Side::Start => value.split_at_checked(fixed.len())?,
            Side::End => {
                let (rest, found) = value.split_at_checked(value.len().checked_sub(fixed.len())?)?;
                (found, rest)
            }
        };
        let same = if self.ignore_case { found.eq_ignore_ascii_case(&fixed) } else { found == fixed };
        same.then_some(rest)
    }
}

/// At which side of a value fixed parts are looked for.
#[derive(Clone, Copy)]
enum Side {
    Start,
    End,
}

/// A text with holes to be filled: `{name}` with what a subject pattern took, `{subject.serialNumber}` with what stands in the
/// request.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let parts = parts(text)?;
        if parts.is_empty() {
            return Err(PatternError::Empty);
        }
        if let Some(Part::Capture { name, .. }) = parts.iter().find(|part| matches!(part, Part::Capture { .. })) {
            return Err(PatternError::NotATemplate(name.clone()));
        }
        check_selectors(&parts)?;
        Ok(Template { parts })
    }

    /// The text with its holes filled; the name of the hole that could not be filled otherwise.
    pub fn expand(&self, scope: &Scope<'_>) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Reference(name) | Part::Capture { name, .. } => {
                    out.push_str(&scope.value(name).ok_or_else(|| name.clone())?);
                }
            }
        }
        Ok(out)
    }

    /// The names that have to be filled in.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        references(&self.parts)
    }
}

/// A subject to be written: `CN={name},O=Example`. The certificate gets the attributes in the order of the text.
#[derive(Clone, Debug)]
pub struct SubjectTemplate {
    attributes: Vec<(ObjectIdentifier, Template)>,
}

impl SubjectTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut attributes = Vec::new();
        for piece in split_attributes(text)? {
            let (oid, value) = attribute(&piece)?;
            attributes.push((oid, Template::parse(value)?));
        }
        if attributes.is_empty() {
            return Err(PatternError::Empty);
        }
        Ok(SubjectTemplate { attributes })
    }

    /// The subject with its holes filled.
    pub fn expand(&self, scope: &Scope<'_>) -> Result<DistinguishedName, String> {
        let mut rdns = Vec::with_capacity(self.attributes.len());
        for (oid, template) in &self.attributes {
            let value = template.expand(scope).map_err(|name| format!("nothing to fill {{{name}}} with"))?;
            rdns.push(vec![Attribute { oid: *oid, value }]);
        }
        DistinguishedName::from_rdns(rdns).map_err(|e| e.to_string())
    }

    /// The names that have to be filled in.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().flat_map(|(_, template)| template.references())
    }
}

/// Where holes are filled from.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// What the subject pattern took.
    pub captures: &'a Captures,
    /// The subject of the request.
    pub subject: &'a DistinguishedName,
    /// The alternative names of the request.
    pub names: &'a [SubjectAltName],
}

impl Scope<'_> {
    fn value(&self, name: &str) -> Option<String> {
        match name.contains('.') {
            true => select(name, self.subject, self.names),
            false => self.captures.get(name).cloned(),
        }
    }
}

/// What is wrong with a pattern or template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// There is nothing in it.
    #[error("the pattern is empty")]
    Empty,
    /// A hole is not closed, or closed without being open.
    #[error("unbalanced braces; write \\{{ and \\}} for the characters themselves")]
    Braces,
    /// The name of a hole.
    #[error("{0:?} is no name for a hole: letters, digits, - and _ only")]
    Name(String),
    /// Two holes of one name.
    #[error("the hole {{{0}}} stands there twice")]
    Repeated(String),
    /// The regular expression of a hole.
    #[error("the regular expression of {{{name}}} is wrong: {why}")]
    Regex {
        /// The hole.
        name: String,
        /// What the regular expression engine says.
        why: String,
    },
    /// The compiled pattern is over the limit.
    #[error("the pattern is too large when compiled")]
    TooLarge,
    /// A piece that is not `ATTRIBUTE=value`.
    #[error("{0:?} is not of the form ATTRIBUTE=value")]
    NotAnAttribute(String),
    /// An attribute that is not known.
    #[error("unknown attribute {0:?}; use a name such as CN, O, OU, serialNumber, or a dotted OID")]
    Attribute(String),
    /// A regular expression in a template.
    #[error("a template is filled, it does not match: write {{{0}}} without a regular expression")]
    NotATemplate(String),
    /// A dotted reference that is no selector.
    #[error("{{{0}}} is no selector; use subject.ATTRIBUTE, san.dns, san.ip, san.uri or san.email")]
    Selector(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Capture { name: String, regex: String },
    Reference(String),
}

fn holes(parts: &[Part]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|part| match part {
        Part::Capture { name, .. } => Some(name.as_str()),
        _ => None,
    })
}

fn references(parts: &[Part]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|part| match part {
        Part::Reference(name) => Some(name.as_str()),
        _ => None,
    })
}

fn literal(parts: &[Part]) -> Option<String> {
    parts.iter().map(|part| if let Part::Literal(text) = part { Some(text.as_str()) } else { None }).collect()
}

fn check_selectors(parts: &[Part]) -> Result<(), PatternError> {
    match references(parts).find(|name| name.contains('.') && selector(name).is_err()) {
        Some(name) => Err(PatternError::Selector(name.to_owned())),
        None => Ok(()),
    }
}

/// Splits `CN=a,O=b` at commas that are neither escaped nor in a hole.
fn split_attributes(text: &str) -> Result<Vec<String>, PatternError> {
    let mut pieces = vec![String::new()];
    let mut depth = 0usize;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let piece = pieces.last_mut().expect("there is always one");
        match c {
            '\\' => {
                piece.push(c);
                piece.extend(chars.next());
            }
            ',' if depth == 0 => pieces.push(String::new()),
            _ => {
                depth = match c {
                    '{' => depth + 1,
                    '}' => depth.checked_sub(1).ok_or(PatternError::Braces)?,
                    _ => depth,
                };
                piece.push(c);
            }
        }
    }
    match depth {
        0 => Ok(pieces.into_iter().filter(|piece| !piece.trim().is_empty()).collect()),
        _ => Err(PatternError::Braces),
    }
}

fn attribute(piece: &str) -> Result<(ObjectIdentifier, &str), PatternError> {
    let (name, value) = piece.split_once('=').ok_or_else(|| PatternError::NotAnAttribute(piece.trim().to_owned()))?;
    let oid = attribute_oid(name.trim()).ok_or_else(|| PatternError::Attribute(name.trim().to_owned()))?;
    Ok((oid, value.trim()))
}

/// Takes a text apart into literals and holes.
fn parts(text: &str) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            '}' => return Err(PatternError::Braces),
            '{' => {
                if !plain.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut plain)));
                }
                let mut inner = String::new();
                let mut depth = 1;
                while depth > 0 {
                    match chars.next().ok_or(PatternError::Braces)? {
                        '\\' => {
                            inner.push('\\');
                            inner.push(chars.next().ok_or(PatternError::Braces)?);
                        }
                        '{' => {
                            depth += 1;
                            inner.push('{');
                        }
                        '}' => {
                            depth -= 1;
                            if depth > 0 {
                                inner.push('}');
                            }
                        }
                        other => inner.push(other),
                    }
                }
                parts.push(hole(&inner)?);
            }
            other => plain.push(other),
        }
    }
    if !plain.is_empty() {
        parts.push(Part::Literal(plain));
    }
    Ok(parts)
}

fn hole(inner: &str) -> Result<Part, PatternError> {
    let (name, regex) = match inner.split_once(':') {
        Some((name, regex)) => (name, Some(regex)),
        None => (inner, None),
    };
    // Dots belong to selectors, which take no regular expression.
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || (c == '.' && regex.is_none());
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(PatternError::Name(name.to_owned()));
    }
    match regex {
        None => Ok(Part::Reference(name.to_owned())),
        Some(regex) => {
            // Checked by itself, so that an unbalanced parenthesis cannot reach around the hole.
            let alone = RegexBuilder::new(regex).size_limit(SIZE_LIMIT).build();
            alone.map_err(|e| PatternError::Regex { name: name.to_owned(), why: last_line(&e.to_string()) })?;
            Ok(Part::Capture { name: name.to_owned(), regex: regex.to_owned() })
        }
    }
}

/// The name of the n-th hole inside the compiled expression: people's names may hold characters that its syntax does not take.
fn group(number: usize) -> String {
    format!("ravelin_{number}")
}

fn compile(parts: &[Part], filled: &Captures, ignore_case: bool) -> Option<Regex> {
    let mut expression = String::from(r"\A(?:");
    let mut number = 0;
    for part in parts {
        match part {
            Part::Literal(text) => expression.push_str(&regex::escape(text)),
            Part::Reference(name) => expression.push_str(&regex::escape(filled.get(name)?)),
            Part::Capture { regex, .. } => {
                expression.push_str(&format!("(?P<{}>(?:{regex}))", group(number)));
                number += 1;
            }
        }
    }
    expression.push_str(r")\z");
    RegexBuilder::new(&expression).case_insensitive(ignore_case).size_limit(SIZE_LIMIT).build().ok()
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// What `{name}` in a subject pattern takes: the upper bound of most attributes is 64 characters (RFC 5280 appendix A.1).
const ANY_VALUE: &str = ".{1,64}";

/// The most memory that one compiled pattern may take.
const SIZE_LIMIT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text, true).unwrap()
    }

    fn captured(pattern: &str, subject: &str) -> Option<Vec<(String, String)>> {
        SubjectPattern::parse(pattern).unwrap().matches(&name(subject)).map(|c| c.into_iter().collect())
    }

    #[test]
    fn a_subject_fits_in_any_order_and_as_a_whole() {
        let pattern = "CN={name:[a-z0-9-]{1,32}},O=Example";
        let expected = Some(vec![("name".to_owned(), "router-1".to_owned())]);
        assert_eq!(captured(pattern, "CN=router-1,O=Example"), expected);
        assert_eq!(captured(pattern, "O=Example,CN=router-1"), expected);
        for bad in [
            "CN=router-1",
            "CN=Router-1,O=Example",
            "CN=router-1,O=Example,OU=x",
            "CN=router-1,CN=router-2,O=Example",
            "CN=router-1,O=Example2",
            "CN=router-1\\,O\\=x,O=Example",
            "",
        ] {
            assert_eq!(captured(pattern, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_regular_expression_cannot_reach_around_its_anchors() {
        assert_eq!(captured("CN={name:a|b}", "CN=a"), Some(vec![("name".into(), "a".into())]));
        assert_eq!(captured("CN={name:a|b}", "CN=ax"), None);
        assert_eq!(captured("CN={name:a|b}", "CN=xb"), None);
        assert_eq!(captured("CN={name:(?m)^a$}", "CN=a\\0Ab"), None);
        assert!(matches!(SubjectPattern::parse("CN={name:a)|(b}"), Err(PatternError::Regex { .. })));
        assert!(matches!(
            SubjectPattern::parse("CN={name:[a-z]{1000}{1000}}"),
            Err(PatternError::Regex { .. } | PatternError::TooLarge)
        ));
    }

    #[test]
    fn a_star_opens_a_pattern_for_other_types() {
        assert!(captured("CN={name},*", "CN=x,O=y,OU=z").is_some());
        assert!(captured("CN={name},*", "CN=x,CN=y").is_none());
        assert!(captured("*", "").is_some());
        assert!(captured("CN={name},*", "O=y").is_none());
    }

    #[test]
    fn several_holes_and_literals_in_one_value() {
        let found = captured("CN={site:[a-z]+}-{number:\\d{2}}.example", "CN=berlin-07.example").unwrap();
        assert_eq!(found, [("number".to_owned(), "07".to_owned()), ("site".to_owned(), "berlin".to_owned())]);
        assert_eq!(captured("O=A\\, B\\{c\\}", "O=A\\, B{c}"), Some(vec![]));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text| SubjectPattern::parse(text).unwrap_err();
        assert_eq!(error(""), PatternError::Empty);
        assert_eq!(error("CN={name"), PatternError::Braces);
        assert_eq!(error("CN=name}"), PatternError::Braces);
        assert_eq!(error("CN={na me}"), PatternError::Name("na me".into()));
        assert_eq!(error("CN={a},O={a}"), PatternError::Repeated("a".into()));
        assert_eq!(error("CN"), PatternError::NotAnAttribute("CN".into()));
        assert_eq!(error("XX=a"), PatternError::Attribute("XX".into()));
        assert_eq!(Template::parse("{a:b}").unwrap_err(), PatternError::NotATemplate("a".into()));
        assert_eq!(Template::parse("{subject.}").unwrap_err(), PatternError::Selector("subject.".into()));
        assert_eq!(Template::parse("").unwrap_err(), PatternError::Empty);
    }

    #[test]
    fn texts_are_matched_with_what_was_captured() {
        let captures = Captures::from([("name".to_owned(), "a.b".to_owned())]);
        let subject = name("CN=a.b,serialNumber=7");
        let scope = Scope { captures: &captures, subject: &subject, names: &[] };
        let fits = |pattern: &str, value: &str| TextPattern::parse(pattern, true).unwrap().matches(value, &scope);
        assert!(fits("{name}.example.net", "A.B.example.NET"));
        assert!(!fits("{name}.example.net", "axb.example.net"), "what was captured is text, not an expression");
        assert!(fits("{name}-{n:[0-9]}.x", "a.b-3.x"));
        assert!(!fits("{missing}.x", ".x"));
        assert!(fits("r{subject.serialNumber}", "r7"));
        assert!(fits("{h:[a-z]+}.example.net", "host.example.net"));
    }

    #[test]
    fn templates_are_filled() {
        let captures = Captures::from([("name".to_owned(), "a,b".to_owned())]);
        let subject = name("CN=x");
        let scope = Scope { captures: &captures, subject: &subject, names: &[] };
        let filled = SubjectTemplate::parse("O=Example,CN={name}").unwrap().expand(&scope).unwrap();
        assert_eq!(filled.values("CN"), ["a,b"], "a captured comma does not make a new attribute");
        assert_eq!(filled.rdns().len(), 2);
        assert!(SubjectTemplate::parse("CN={other}").unwrap().expand(&scope).is_err());
    }

    #[test]
    fn patterns_that_cannot_both_fit() {
        let excludes = |a, b| SubjectPattern::parse(a).unwrap().excludes(&SubjectPattern::parse(b).unwrap());
        assert!(excludes("CN={n},OU=Routers", "CN={n},OU=Printers"));
        assert!(excludes("CN={n},O=Example", "CN={n}"));
        assert!(!excludes("CN={n},OU=Routers,*", "CN={n},*"));
        assert!(excludes("CN={n},OU=Routers,*", "CN={n},OU={u:P.*},*"));
        assert!(!excludes("CN={n}", "CN={n:[a-z]+}"));
    }
}
