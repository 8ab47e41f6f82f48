//! Credentials for CAs: out of a file or the environment, never in the configuration itself, and never in a log.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::remote::RemoteError;

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file; white space at its end does not count.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

impl SecretSource {
    /// Reads the secret. Blocks.
    pub fn read(&self) -> Result<Zeroizing<String>, RemoteError> {
        let failed = |why: String| RemoteError::File { path: self.to_string(), why };
        let text = match self {
            SecretSource::File(path) => Zeroizing::new(std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?),
            SecretSource::Environment(name) => {
                Zeroizing::new(std::env::var(name).map_err(|_| failed("is not set, or is no text".to_owned()))?)
            }
        };
        let secret = Zeroizing::new(text.trim_end().to_owned());
        match secret.is_empty() {
            true => Err(failed("is empty".to_owned())),
            false => Ok(secret),
        }
    }
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretSource::File(path) => path.display().fmt(f),
            SecretSource::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_end_before_the_line_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pass word \n\n").unwrap();
        let source = SecretSource::File(file.path().to_owned());
        assert_eq!(source.read().unwrap().as_str(), "pass word");
        std::fs::write(file.path(), "\n").unwrap();
        assert!(source.read().unwrap_err().to_string().contains("is empty"));
        let missing = SecretSource::Environment("RAVELIN_NO_SUCH_SECRET".into());
        assert!(missing.read().unwrap_err().to_string().contains("RAVELIN_NO_SUCH_SECRET"));
    }
}
