//! `ca.toml`: what people may change about a local CA.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::LocalCaError;
use crate::upstream::crl_key_name;
use crate::x509::Certificate;

/// The settings of one CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where its CRL is found; these stand in every certificate that it issues. `{key}` is the name of the key that signs
    /// ([`crl_key_name`](crate::upstream::crl_key_name)): after a rollover each key has a CRL of its own.
    pub crl_urls: Vec<String>,
    /// How long a CRL is valid.
    pub crl_validity: Duration,
    /// The CA in the neighbouring folder that certified this one.
    pub parent: Option<String>,
}

/// What serde reads.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct SettingsFile {
    crl_urls: Vec<String>,
    crl_validity: Option<String>,
    parent: Option<String>,
}

impl Settings {
    /// Reads `ca.toml`; a missing file means the defaults.
    pub(super) fn read(path: &Path) -> Result<Self, LocalCaError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(LocalCaError::io(path)(e)),
        };
        Self::parse(&text).map_err(|why| LocalCaError::Settings { path: path.to_owned(), why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: SettingsFile = toml::from_str(text).map_err(|e| e.to_string())?;
        let crl_validity = match &file.crl_validity {
            Some(text) => duration(text).ok_or_else(|| {
                format!("crl-validity = {text:?} is not a duration of at least a minute; write it as \"7d\" or \"24h\"")
            })?,
            None => DEFAULT_CRL_VALIDITY,
        };
        Self::checked(Settings { crl_urls: file.crl_urls, crl_validity, parent: file.parent })
    }

    /// Refuses URLs that could not stand in a certificate (RFC 5280 section 4.2.1.6: IA5String, absolute URI).
    pub(super) fn checked(settings: Self) -> Result<Self, String> {
        for url in &settings.crl_urls {
            let known_scheme = ["http://", "https://", "ldap://"].iter().any(|scheme| url.starts_with(scheme));
            let literal = url.replace("{key}", "");
            if !known_scheme || !literal.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '{' | '}')) {
                return Err(format!("crl-urls: {url:?} is not an http, https or ldap URL in ASCII without blanks"));
            }
        }
        Ok(settings)
    }

    /// What stands in the certificates that the key in `issuer` signs.
    pub(super) fn distribution_points(&self, issuer: &Certificate) -> Vec<String> {
        with_key_name(&self.crl_urls, issuer)
    }

    /// The commented file.
    pub(super) fn to_toml(&self) -> String {
        let urls = self.crl_urls.iter().cloned().map(toml::Value::String).collect();
        let mut text = format!(
            "# Where the CRL of this CA is found: stands in every certificate that it issues. {{key}} becomes the name of the key that\n\
             # signs, since after a rollover each key has a CRL of its own.\n\
             crl-urls = {}\n\
             # How long a CRL is valid; a new one is made when half of that is over, or something was revoked.\n\
             crl-validity = \"{}\"\n",
            toml::Value::Array(urls),
            friendly(self.crl_validity),
        );
        if let Some(parent) = &self.parent {
            text.push_str("# The local CA that certified this one, and will certify its next key.\n");
            text.push_str(&format!("parent = {}\n", toml::Value::String(parent.clone())));
        }
        text
    }
}

/// URLs with the name of the key in `issuer` where they say `{key}`.
pub(super) fn with_key_name(urls: &[String], issuer: &Certificate) -> Vec<String> {
    let name = crl_key_name(issuer);
    urls.iter().map(|url| url.replace("{key}", &name)).collect()
}

impl Default for Settings {
    fn default() -> Self {
        Settings { crl_urls: Vec::new(), crl_validity: DEFAULT_CRL_VALIDITY, parent: None }
    }
}

/// `7d`, `24h`, `2w`: days have 24 hours.
fn duration(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(signed).ok().filter(|d| *d >= Duration::from_secs(60))
}

fn friendly(duration: Duration) -> String {
    match duration.as_secs() {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A week: long enough for a weekend without anybody on duty.
const DEFAULT_CRL_VALIDITY: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for settings in [
            Settings::default(),
            Settings {
                crl_urls: vec!["http://crl.example.net/a.crl".into(), "ldap://x/cn=y?z".into()],
                crl_validity: Duration::from_secs(90 * 60),
                parent: Some("root".into()),
            },
        ] {
            assert_eq!(Settings::parse(&settings.to_toml()).unwrap(), settings);
        }
        assert!(Settings::default().to_toml().contains("crl-validity = \"7d\""));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(Settings::parse("crl-url = []").unwrap_err().contains("crl-url"));
        assert!(Settings::parse("crl-validity = \"soon\"").unwrap_err().contains("\"soon\""));
        assert!(Settings::parse("crl-validity = \"5s\"").is_err());
        assert!(Settings::parse("crl-urls = [\"ftp://x\"]").unwrap_err().contains("ftp://x"));
        assert!(Settings::parse("crl-urls = [\"http://ü\"]").is_err());
        assert!(Settings::parse("crl-urls = [\"http://x/{ca}.crl\"]").is_err());
        assert!(Settings::parse("crl-urls = [\"http://x/{key}.crl\"]").is_ok());
    }
}
