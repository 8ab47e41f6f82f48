//! Where the key of AWS comes from: the configuration, the agent of a container, or the metadata service of an instance.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::sigv4::Key;
use crate::upstream::http::{Answer, Http, HttpSettings, Proxy};
use crate::upstream::remote::{CallError, RemoteError};
use crate::upstream::secret::SecretSource;

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// They are configured.
    Static {
        /// The access key's name.
        id: SecretSource,
        /// The access key.
        secret: SecretSource,
        /// The token of a session, for keys that hold for a while only.
        token: Option<SecretSource>,
    },
    /// The agent of a container: ECS, EKS Pod Identity. Its address is in the environment.
    Container,
    /// The role of an EC2 instance (IMDSv2).
    Instance,
}

/// Gives the key of the day.
pub(super) struct Credentials {
    source: Source,
    known: tokio::sync::Mutex<Option<(Key, Timestamp)>>,
}

enum Source {
    Static(Key),
    Container { http: Http, url: String, token: Option<Token> },
    Instance(Http),
}

/// What the agent of a container is shown.
enum Token {
    Text(Zeroizing<String>),
    /// It changes from time to time.
    File(std::path::PathBuf),
}

/// How long before its end a key is no longer used.
const MARGIN: Duration = Duration::from_secs(300);

/// Where an instance asks.
const INSTANCE: &str = "http://169.254.169.254";

/// Where a container asks, unless it is told.
const CONTAINER: &str = "http://169.254.170.2";

/// What both answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<Timestamp>,
}

impl Credentials {
    pub(super) fn open(source: &CredentialSource) -> Result<Self, RemoteError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::with_environment(source, &variable)
    }

    pub(super) fn with_environment(
        source: &CredentialSource,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, RemoteError> {
        let source = match source {
            CredentialSource::Static { id, secret, token } => Source::Static(Key {
                id: id.read()?.as_str().to_owned(),
                secret: secret.read()?,
                token: token.as_ref().map(SecretSource::read).transpose()?,
            }),
            CredentialSource::Container => {
                let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
                let url =
                    relative.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")).ok_or_else(|| RemoteError::File {
                        path: "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".to_owned(),
                        why: "this is no container that is given credentials: the variable is not set".to_owned(),
                    })?;
                let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(|path| Token::File(path.into()));
                let token = file.or_else(|| variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(|text| Token::Text(text.into())));
                Source::Container { http: nearby(&url)?, url, token }
            }
            CredentialSource::Instance => {
                let url = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned());
                Source::Instance(nearby(&url)?)
            }
        };
        Ok(Self { source, known: tokio::sync::Mutex::default() })
    }

    /// The key to sign with now.
    pub(super) async fn key(&self) -> Result<Key, CallError> {
        if let Source::Static(key) = &self.source {
            return Ok(key.clone());
        }
        // One at a time: whoever comes second finds what the first was given.
        let mut known = self.known.lock().await;
        if let Some((key, until)) = &*known
            && Timestamp::now() < *until
        {
            return Ok(key.clone());
        }
        let given = self.ask().await.map_err(|error| CallError::not_taken(format!("no credentials: {error}")))?;
        let given: Given = serde_json::from_slice(&given.body)
            .map_err(|_| CallError::not_taken("no credentials: the answer is not as it should be".to_owned()))?;
        let key = Key { id: given.access_key_id, secret: given.secret_access_key.into(), token: given.token.map(Zeroizing::new) };
        let until = given.expiration.and_then(|end| end.checked_sub(jiff::SignedDuration::try_from(MARGIN).ok()?).ok());
        *known = until.map(|until| (key.clone(), until));
        Ok(key)
    }

    async fn ask(&self) -> Result<Answer, CallError> {
        let bad = |error: http::Error| CallError::not_taken(error.to_string());
        match &self.source {
            Source::Static(_) => Err(CallError::not_taken("they are configured")),
            Source::Container { http, url, token } => {
                let mut request = Request::get(url);
                match token {
                    Some(Token::Text(text)) => request = request.header("authorization", text.as_str()),
                    Some(Token::File(path)) => {
                        let text =
                            tokio::fs::read_to_string(path).await.map_err(|error| CallError::not_taken(error.to_string()))?;
                        request = request.header("authorization", text.trim());
                    }
                    None => {}
                }
                http.send(request.body(Bytes::new()).map_err(bad)?).await?.success()
            }
            Source::Instance(http) => {
                let base = http.url();
                let request = Request::put(format!("{base}/latest/api/token"))
                    .header("x-aws-ec2-metadata-token-ttl-seconds", "300")
                    .body(Bytes::new())
                    .map_err(bad)?;
                let token = http.send(request).await?.success()?.body;
                let get = async |path: &str| {
                    let request = Request::get(format!("{base}/latest/meta-data/iam/security-credentials/{path}"))
                        .header("x-aws-ec2-metadata-token", &token[..])
                        .body(Bytes::new())
                        .map_err(bad)?;
                    http.send(request).await?.success()
                };
                let role = get("").await?;
                let role = String::from_utf8_lossy(&role.body);
                get(role.lines().next().unwrap_or_default().trim()).await
            }
        }
    }
}

/// What is asked on the machine itself, or next to it.
fn nearby(url: &str) -> Result<Http, RemoteError> {
    let settings = HttpSettings {
        url: url.to_owned(),
        trust: None,
        client: None,
        proxy: Proxy::None,
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        max_answer: 64 * 1024,
    };
    Http::open(&settings, "")
}
