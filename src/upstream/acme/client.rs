//! Requests of an ACME account: signed (RFC 8555 section 6.2), each with a fresh nonce (section 6.5).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{Request, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::AcmeSettings;
use super::message::{Directory, Problem};
use crate::algorithm::KeyAlgorithm;
use crate::crypto::{keystore, provider};
use crate::upstream::http::{Answer, Http};
use crate::upstream::jose::{JwsSigner, encode};
use crate::upstream::remote::{CallError, RemoteError};

/// An account at a CA.
pub(super) struct Client {
    http: Http,
    key_file: PathBuf,
    passphrase: Zeroizing<String>,
    /// Name and secret.
    binding: Option<(String, Zeroizing<Vec<u8>>)>,
    contact: Vec<String>,
    session: tokio::sync::Mutex<Session>,
    nonces: Mutex<Vec<String>>,
}

/// What was found out since the start.
#[derive(Default)]
struct Session {
    directory: Option<Directory>,
    account: Option<Arc<Account>>,
}

/// The key, and the address of its account.
pub(super) struct Account {
    key: Arc<JwsSigner>,
    id: String,
}

/// What came back, with a status of 2xx.
pub(super) struct Reply(Answer);

impl Reply {
    pub(super) fn body(&self) -> &[u8] {
        &self.0.body
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after()
    }

    pub(super) fn location(&self) -> Option<String> {
        self.0.headers.get(LOCATION)?.to_str().ok().map(str::to_owned)
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        let unclear = |error| CallError::Unclear(format!("the answer is not as it should be: {error}"));
        serde_json::from_slice(self.body()).map_err(unclear)
    }
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The CA says so.
    #[error("{0}")]
    Problem(Problem),
    /// Something else.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Failure {
    /// Whether the CA says this.
    pub(super) fn is(&self, error: &str) -> bool {
        matches!(self, Failure::Problem(problem) if problem.is(error))
    }

    /// What it means for a request. What people have to mend at the account is no refusal of an order.
    pub(super) fn into_call_error(self) -> CallError {
        let problem = match self {
            Failure::Call(error) => return error,
            Failure::Problem(problem) => problem,
        };
        const ACCOUNT: &[&str] =
            &["accountDoesNotExist", "externalAccountRequired", "userActionRequired", "badNonce", "rateLimited"];
        let text = problem.to_string();
        match problem.status {
            _ if ACCOUNT.iter().any(|error| problem.is(error)) => CallError::not_taken(text),
            // 401 is about the account (section 7.3.6), which people may have deactivated.
            401 | 429 | 503 => CallError::not_taken(text),
            408 => CallError::Unclear(text),
            400..500 => CallError::Refused(text),
            _ => CallError::Unclear(text),
        }
    }
}

/// How often a request is signed anew because its nonce was not good.
const NONCES: usize = 6;

/// How many nonces are kept.
const KEPT: usize = 64;

impl Client {
    pub(super) fn open(settings: &AcmeSettings, passphrase: &str, http: Http) -> Result<Self, RemoteError> {
        let binding = match &settings.binding {
            Some((name, source)) => {
                let text = source.read()?;
                let secret = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| RemoteError::File {
                    path: source.to_string(),
                    why: "the secret of an external account is base64url".to_owned(),
                })?;
                Some((name.clone(), Zeroizing::new(secret)))
            }
            None => None,
        };
        Ok(Self {
            http,
            key_file: settings.account_key.clone(),
            passphrase: Zeroizing::new(passphrase.to_owned()),
            binding,
            contact: settings.contact.clone(),
            session: tokio::sync::Mutex::default(),
            nonces: Mutex::default(),
        })
    }

    pub(super) fn is_bound(&self) -> bool {
        self.binding.is_some()
    }

    /// The directory, as it was told once.
    pub(super) async fn directory(&self) -> Result<Directory, CallError> {
        if let Some(known) = &self.session.lock().await.directory {
            return Ok(known.clone());
        }
        self.ask_directory().await
    }

    /// The directory, as it is told now.
    pub(super) async fn ask_directory(&self) -> Result<Directory, CallError> {
        let harmless = |error: CallError| match error {
            CallError::Unclear(reason) | CallError::Refused(reason) => CallError::not_taken(format!("the directory: {reason}")),
            not_taken => not_taken,
        };
        let request =
            Request::get(self.http.address()).body(Bytes::new()).map_err(|error| CallError::not_taken(error.to_string()))?;
        let answer = self.http.send(request).await.and_then(Answer::success).map_err(harmless)?;
        let directory: Directory =
            serde_json::from_slice(&answer.body).map_err(|error| CallError::not_taken(format!("the directory: {error}")))?;
        self.session.lock().await.directory = Some(directory.clone());
        Ok(directory)
    }

    /// The account: found by its key, or made.
    pub(super) async fn account(&self) -> Result<Arc<Account>, CallError> {
        let directory = self.directory().await?;
        // One at a time: whoever comes second finds what the first has made.
        let mut session = self.session.lock().await;
        if let Some(known) = &session.account {
            return Ok(Arc::clone(known));
        }
        let key = self.key().await?;
        let url = &directory.new_account;
        let found = self.post_by_key(&key, &directory, url, &json!({ "onlyReturnExisting": true })).await;
        let reply = match found {
            Err(failure) if failure.is("accountDoesNotExist") => {
                let mut new = json!({ "termsOfServiceAgreed": true });
                if !self.contact.is_empty() {
                    new["contact"] = self.contact.clone().into();
                }
                if let Some((name, secret)) = &self.binding {
                    new["externalAccountBinding"] = binding(&key, name, secret, url)?;
                }
                let made = self.post_by_key(&key, &directory, url, &new).await;
                tracing::info!("An account was asked for at {url}.");
                made
            }
            found => found,
        };
        // Whatever is wrong with the account, no order was made.
        let reply = reply.map_err(|failure| CallError::not_taken(format!("the account: {}", failure.into_call_error())))?;
        let id = reply.location().ok_or_else(|| CallError::not_taken("the CA gives the account no address"))?;
        let account = Arc::new(Account { key, id });
        session.account = Some(Arc::clone(&account));
        Ok(account)
    }

    /// The key of the account. One that is made is on disk before the CA hears of it, so that an account whose answer was lost is found
    /// by it: the secret of a binding is often good for one account only.
    async fn key(&self) -> Result<Arc<JwsSigner>, CallError> {
        let (path, passphrase) = (self.key_file.clone(), self.passphrase.clone());
        let read = move || -> Result<JwsSigner, String> {
            let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            // A disk that cannot tell now must not cost us the account.
            if !path.try_exists().map_err(|error| at(&error))? {
                let signer = provider().keys.generate(KeyAlgorithm::EcdsaP256).map_err(|error| at(&error))?;
                let pkcs8 = signer.export_pkcs8().ok_or_else(|| at(&"the key cannot be kept"))?;
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|error| at(&error))?;
                }
                keystore::write_new_key(&path, &pkcs8, &passphrase).map_err(|error| error.to_string())?;
            }
            // Another node may have been quicker to make one: what is on disk counts.
            let encrypted = std::fs::read_to_string(&path).map_err(|error| at(&error))?.contains("-----BEGIN ENCRYPTED ");
            let pkcs8 = keystore::read_key(&path, encrypted.then_some(&*passphrase)).map_err(|error| error.to_string())?;
            let signer = provider().keys.signer(&pkcs8).map_err(|error| at(&error))?;
            JwsSigner::new(signer).map_err(|error| at(&error))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(key) => key.map(Arc::new).map_err(CallError::not_taken),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Sends a request of the account; without a payload it reads (section 6.3).
    pub(super) async fn post(&self, url: &str, payload: Option<&Value>) -> Result<Reply, Failure> {
        let directory = self.directory().await?;
        let account = self.account().await?;
        let payload = payload.map(Value::to_string).unwrap_or_default();
        let sent = self.signed(&account.key, &directory, url, payload.as_bytes(), ("kid", account.id.as_str().into())).await;
        if sent.as_ref().is_err_and(|failure| failure.is("accountDoesNotExist")) {
            // It is looked for again, and made again if need be, when it is needed next.
            self.session.lock().await.account = None;
        }
        sent
    }

    async fn post_by_key(
        &self,
        key: &Arc<JwsSigner>,
        directory: &Directory,
        url: &str,
        payload: &Value,
    ) -> Result<Reply, Failure> {
        let jwk = key.public_jwk().map_err(|error| CallError::not_taken(error.to_string()))?;
        self.signed(key, directory, url, payload.to_string().as_bytes(), ("jwk", jwk)).await
    }

    async fn signed(
        &self,
        key: &Arc<JwsSigner>,
        directory: &Directory,
        url: &str,
        payload: &[u8],
        (member, value): (&str, Value),
    ) -> Result<Reply, Failure> {
        let mut problem = Problem::default();
        for _ in 0..NONCES {
            let nonce = self.nonce(directory).await?;
            let mut header = json!({ "nonce": nonce, "url": url });
            header[member] = value.clone();
            let jws = key.sign_octets(header, payload).map_err(|error| CallError::not_taken(error.to_string()))?;
            let request = Request::post(url)
                .header(CONTENT_TYPE, "application/jose+json")
                .body(Bytes::from(flattened(&jws).to_string()))
                .map_err(|error| CallError::not_taken(error.to_string()))?;
            let answer = self.http.send(request).await?;
            self.keep_nonce(&answer);
            if answer.status.is_success() {
                return Ok(Reply(answer));
            }
            problem = problem_of(answer)?;
            if !problem.is("badNonce") {
                break;
            }
        }
        Err(Failure::Problem(problem))
    }

    async fn nonce(&self, directory: &Directory) -> Result<String, CallError> {
        if let Some(kept) = self.lock().pop() {
            return Ok(kept);
        }
        let harmless = |reason: String| CallError::not_taken(format!("no nonce: {reason}"));
        let request = Request::head(&directory.new_nonce).body(Bytes::new()).map_err(|error| harmless(error.to_string()))?;
        let answer = self.http.send(request).await.and_then(Answer::success).map_err(|error| harmless(error.to_string()))?;
        self.keep_nonce(&answer);
        self.lock().pop().ok_or_else(|| harmless("the CA gives none".into()))
    }

    fn keep_nonce(&self, answer: &Answer) {
        let nonce = answer.headers.get("replay-nonce").and_then(|nonce| nonce.to_str().ok());
        let mut nonces = self.lock();
        if let Some(nonce) = nonce.filter(|_| nonces.len() < KEPT) {
            nonces.push(nonce.to_owned());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The problem in an answer; one that has none says what its status says.
fn problem_of(answer: Answer) -> Result<Problem, Failure> {
    let status = answer.status;
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(mut problem) if status != StatusCode::SERVICE_UNAVAILABLE && status != StatusCode::TOO_MANY_REQUESTS => {
            problem.status = status.as_u16();
            Ok(problem)
        }
        _ => Err(answer.success().err().unwrap_or_else(|| CallError::Unclear(status.to_string())).into()),
    }
}

/// The JSON form of a compact JWS.
fn flattened(jws: &str) -> Value {
    let mut parts = jws.split('.');
    let mut part = || parts.next().unwrap_or_default();
    json!({ "protected": part(), "payload": part(), "signature": part() })
}

/// Binds the key of the account to an account that the CA has (section 7.3.4).
fn binding(key: &JwsSigner, name: &str, secret: &[u8], url: &str) -> Result<Value, CallError> {
    let jwk = key.public_jwk().map_err(|error| CallError::not_taken(error.to_string()))?;
    let header = json!({ "alg": "HS256", "kid": name, "url": url });
    let signed = format!("{}.{}", encode(header.to_string()), encode(jwk.to_string()));
    let signature = provider().digester.hmac_sha256(secret, signed.as_bytes());
    Ok(flattened(&format!("{signed}.{}", encode(signature))))
}
