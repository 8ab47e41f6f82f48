//! What is wrong with a configuration, told as compilers do: file, line, caret, suggestion.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin as SnippetOrigin, Renderer, Snippet};
use serde::Serialize;

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostic {
    /// The stable code: `unknown-key`, `bad-value`, …
    pub code: &'static str,
    /// Whether it stops the start.
    pub severity: Severity,
    /// The file, as its name was shown to us; `None` for what came from the environment or the command line.
    pub file: Option<PathBuf>,
    /// The line, from 1; 0 if the finding is about no line.
    pub line: usize,
    /// The column in characters, from 1; 0 if the finding is about no line.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    #[serde(skip)]
    origin: Option<Origin>,
    #[serde(skip)]
    label: Option<String>,
    #[serde(skip)]
    secret: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It stops the start.
    Error,
    /// It is worth a look.
    Warning,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Diagnostic {
            code,
            severity,
            file: None,
            line: 0,
            column: 0,
            message,
            help: None,
            origin: None,
            label: None,
            secret: false,
        }
    }

    /// Says where.
    pub fn at(mut self, origin: &Origin) -> Self {
        (self.line, self.column) = origin.position();
        self.file = origin.source.file.clone();
        self.origin = Some(origin.clone());
        self
    }

    /// Says which file, where there is no text to point at.
    pub fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Says what stands there, beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Keeps the text out of the report: what stands there may be a secret in the wrong place.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn report(&self) -> Group<'_> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()).id(self.code));
        if let Some(origin) = self.origin.as_ref().filter(|_| !self.secret) {
            let annotation = AnnotationKind::Primary.span(origin.span.clone()).label(self.label.as_deref());
            let snippet = Snippet::source(origin.source.text.as_str()).path(origin.source.name.as_str());
            group = group.element(snippet.line_start(1).annotation(annotation));
        } else if let Some(file) = &self.file {
            let place = SnippetOrigin::path(file.display().to_string());
            group = group.element(if self.line > 0 { place.line(self.line).char_column(self.column) } else { place });
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }
}

/// All findings of one load.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    all: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.all.push(diagnostic);
    }

    /// Adds the findings of another round.
    pub fn extend(&mut self, other: Diagnostics) {
        self.all.extend(other.all);
    }

    /// All findings.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.all.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether one of them stops the start.
    pub fn has_errors(&self) -> bool {
        self.all.iter().any(|d| d.severity == Severity::Error)
    }

    /// How many errors and how many warnings there are.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.all.iter().filter(|d| d.severity == Severity::Error).count();
        (errors, self.all.len() - errors)
    }

    /// The report for people; `styled` for a terminal with colours.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let reports: Vec<_> = self.all.iter().map(|d| renderer.render(&[d.report()])).collect();
        reports.join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// Where a value came from: a stretch of a file, an environment variable, or an argument.
#[derive(Clone)]
pub struct Origin {
    pub(super) source: Arc<Source>,
    pub(super) span: Range<usize>,
}

impl Origin {
    /// Line and column, both from 1.
    fn position(&self) -> (usize, usize) {
        if self.source.file.is_none() {
            return (0, 0);
        }
        let before = self.source.text.get(..self.span.start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// Short, because a source may be long.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// A text that values come from.
pub(super) struct Source {
    /// The name that reports show.
    pub(super) name: String,
    /// The file, if it is one.
    pub(super) file: Option<PathBuf>,
    /// The text.
    pub(super) text: String,
}

/// The name among `known` that was probably meant.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |s: &str| s.to_ascii_lowercase().replace('_', "-");
    let wrong = folded(wrong);
    let close = |name: &&str| strsim::damerau_levenshtein(&wrong, &folded(name));
    // A third of the letters may be wrong.
    known.into_iter().min_by_key(close).filter(|name| close(name) <= (name.len().max(wrong.len()) / 3).max(1))
}

/// `did you mean …?`, or else the list of what is known.
pub fn suggestion<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match did_you_mean(wrong, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => listing(wrong, known),
    }
}

/// All that is known, or of a long list what begins like the wrong name.
pub fn listing<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let known: Vec<_> = known.into_iter().collect();
    let stem: String = wrong.chars().filter(|c| *c != '-').take(5).map(|c| c.to_ascii_lowercase()).collect();
    let alike = |name: &&&str| name.replace('-', "").starts_with(&stem);
    let listed: Vec<_> = match known.len() > MOST && known.iter().any(|name| alike(&name)) {
        true => known.iter().filter(alike).copied().collect(),
        false => known.clone(),
    };
    match listed.len() {
        0 => "there is none".into(),
        all if all == known.len() => format!("known are {}", listed.join(", ")),
        _ => format!("of this kind are known {}", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_close() {
        let known = ["accept-ciphers", "accept-digests", "ca-certs"];
        assert_eq!(did_you_mean("acept_ciphers", known), Some("accept-ciphers"));
        assert_eq!(did_you_mean("ca-cert", known), Some("ca-certs"));
        assert_eq!(did_you_mean("zebra", known), None);
        assert_eq!(suggestion("zebra", known), "known are accept-ciphers, accept-digests, ca-certs");
        let many = ["ml-dsa-44", "ml-dsa-65"].into_iter().chain(["x"; 20]);
        assert_eq!(listing("mldsa-tiny", many), "of this kind are known ml-dsa-44, ml-dsa-65");
    }

    #[test]
    fn positions_count_characters() {
        let source = Source { name: "x.toml".into(), file: Some("x.toml".into()), text: "a = 1\nä = bad\n".into() };
        let at = source.text.find("bad").unwrap();
        let origin = Origin { source: Arc::new(source), span: at..at + 3 };
        assert_eq!(origin.position(), (2, 5));
        let found = Diagnostic::error("bad-value", "no").at(&origin).label("here").help("do better");
        assert_eq!((found.line, found.column), (2, 5));
        let mut all = Diagnostics::default();
        all.push(found);
        let text = all.render(false);
        for part in ["error[bad-value]: no", "x.toml:2:5", "^^^ here", "help: do better"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
