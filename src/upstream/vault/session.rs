//! Logged in: a token that is kept in memory only, renewed before it ends, and had anew where it is refused.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::wire::{self, Data};
use crate::upstream::http::{Answer, Http};
use crate::upstream::remote::CallError;
use crate::upstream::secret::SecretSource;

/// How we log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// With a token that somebody gave us.
    Token(SecretSource),
    /// As an AppRole.
    AppRole {
        /// Where the auth method is mounted.
        mount: String,
        /// The role's id.
        role_id: String,
        /// Its secret id.
        secret_id: SecretSource,
    },
    /// With the TLS client certificate.
    Certificate {
        /// Where the auth method is mounted.
        mount: String,
        /// The role; none is the first that fits.
        role: Option<String>,
    },
}

/// The connection, with or without a token.
pub(super) struct Wire {
    pub(super) http: Http,
    pub(super) namespace: Option<HeaderValue>,
}

/// Who we are there.
pub(super) struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    wire: Wire,
    login: Login,
    /// Held over a login, so that there is one at a time.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lease: Option<Lease>,
    /// Counts logins.
    generation: u64,
    /// What the last login failed with, and when.
    failed: Option<(Instant, String)>,
    /// Until when a refusal is taken for one of the policy: a fresh token was refused too.
    denied_until: Option<Instant>,
    /// How long that was taken so the last time; no time once a fresh token was of use.
    denied_for: Duration,
}

struct Lease {
    token: Arc<Zeroizing<String>>,
    /// `None`: never.
    ends: Option<Instant>,
}

/// What a login and a renewal answer.
#[derive(Deserialize)]
struct Auth {
    auth: Option<Granted>,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Granted {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

/// What a token says of itself.
#[derive(Deserialize)]
struct Looked {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

/// A login that failed is not tried again at once by all who wait for one.
const REST: Duration = Duration::from_secs(2);

/// So long the refusal of a fresh token counts at first; twice as long each time that another one is refused, up to the longest. Each
/// login leaves a token behind, which nobody revokes: with it a role with `generate_lease` would have all that it issued revoked.
const DENIED: Duration = Duration::from_secs(30);
const LONGEST_DENIED: Duration = Duration::from_secs(480);

impl Wire {
    /// Sends a request to `/v1/` and a path.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        token: Option<&str>,
        correlation: Option<&str>,
    ) -> Result<Answer, CallError> {
        let octets = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder().method(method).uri(format!("{}/v1/{path}", self.http.url())).body(octets);
        let mut request = request.map_err(|error| CallError::Refused(error.to_string()))?;
        let headers = request.headers_mut();
        let mut say = |name: HeaderName, value: HeaderValue| drop(headers.insert(name, value));
        // Some gateways insist on it, against requests that browsers are tricked into.
        say(X_VAULT_REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            say(X_VAULT_NAMESPACE, namespace.clone());
        }
        if let Some(token) = token {
            let unfit = |_| CallError::not_taken("the token does not fit into a header field");
            let mut value = HeaderValue::try_from(token).map_err(unfit)?;
            value.set_sensitive(true);
            say(X_VAULT_TOKEN, value);
        }
        if let Some(correlation) = correlation.and_then(|text| HeaderValue::try_from(text).ok()) {
            say(X_CORRELATION_ID, correlation);
        }
        if body.is_some() {
            say(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.http.send(request).await
    }
}

const X_VAULT_REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const X_VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const X_VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

impl Session {
    pub(super) fn new(wire: Wire, login: Login) -> Self {
        Self { inner: Arc::new(Inner { wire, login, state: Mutex::default() }) }
    }

    /// The connection without a token.
    pub(super) fn wire(&self) -> &Wire {
        &self.inner.wire
    }

    /// Sends a request with our token. Where the token is refused, it is had anew, once.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        correlation: Option<&str>,
    ) -> Result<Answer, CallError> {
        let begun = Instant::now();
        let (token, generation) = self.inner.token(None).await?;
        self.in_time(begun)?;
        let answer = self.inner.wire.send(method.clone(), path, body, Some(token.as_str()), correlation).await?;
        if answer.status != StatusCode::FORBIDDEN || self.inner.is_denied(generation).await {
            return Ok(answer);
        }
        // Nothing was done: it ended or was revoked, or the policy does not allow this.
        let (token, generation) = self.inner.token(Some(generation)).await?;
        self.in_time(begun)?;
        let answer = self.inner.wire.send(method, path, body, Some(token.as_str()), correlation).await?;
        match answer.status {
            StatusCode::FORBIDDEN => self.inner.deny(generation).await,
            _ => self.inner.state.lock().await.denied_for = Duration::ZERO,
        }
        Ok(answer)
    }

    /// Nothing is sent when there is little time left for the answer: an order would become unclear for nothing.
    fn in_time(&self, begun: Instant) -> Result<(), CallError> {
        match begun.elapsed() > self.inner.wire.http.timeout() / 2 {
            true => Err(CallError::not_taken("the login took so long that there was no time left for the order")),
            false => Ok(()),
        }
    }
}

impl Inner {
    /// The token, and which one it is; another than the one that was `refused`. Nothing was sent yet where this fails.
    async fn token(self: &Arc<Self>, refused: Option<u64>) -> Result<(Arc<Zeroizing<String>>, u64), CallError> {
        let mut state = self.state.lock().await;
        let lives = |lease: &&Lease| lease.ends.is_none_or(|ends| Instant::now() < ends);
        if refused != Some(state.generation)
            && let Some(lease) = state.lease.as_ref().filter(lives)
        {
            return Ok((Arc::clone(&lease.token), state.generation));
        }
        if let Some((_, why)) = state.failed.as_ref().filter(|(at, _)| at.elapsed() < REST) {
            return Err(CallError::not_taken(why.clone()));
        }
        state.lease = None;
        match self.log_in().await {
            Ok(granted) => Ok(self.keep(&mut state, granted)),
            Err(error) => {
                let why = format!("no login: {error}");
                state.failed = Some((Instant::now(), why.clone()));
                Err(CallError::not_taken(why))
            }
        }
    }

    /// Whether a fresh token was refused too, a moment ago.
    async fn is_denied(&self, generation: u64) -> bool {
        let state = self.state.lock().await;
        state.generation == generation && state.denied_until.is_some_and(|until| Instant::now() < until)
    }

    async fn deny(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.denied_for = longer(state.denied_for);
            state.denied_until = Some(Instant::now() + state.denied_for);
        }
    }

    /// Takes over what was granted, and has it renewed in time.
    fn keep(self: &Arc<Self>, state: &mut State, granted: Granted) -> (Arc<Zeroizing<String>>, u64) {
        let lasts = Duration::from_secs(granted.lease_duration);
        let ends = (granted.lease_duration > 0).then(|| Instant::now() + lasts);
        let token = Arc::new(Zeroizing::new(granted.client_token.clone()));
        state.lease = Some(Lease { token: Arc::clone(&token), ends });
        state.generation += 1;
        (state.failed, state.denied_until) = (None, None);
        if ends.is_some() {
            tokio::spawn(renew(Arc::downgrade(self), state.generation, lasts, granted.renewable));
        }
        (token, state.generation)
    }

    async fn log_in(&self) -> Result<Granted, CallError> {
        let (mount, body) = match &self.login {
            Login::Token(source) => return self.look_up(read(source).await?).await,
            Login::AppRole { mount, role_id, secret_id } => {
                let secret = read(secret_id).await?;
                (mount, json!({ "role_id": role_id, "secret_id": secret.as_str() }))
            }
            Login::Certificate { mount, role: Some(role) } => (mount, json!({ "name": role })),
            Login::Certificate { mount, role: None } => (mount, json!({})),
        };
        let answer = self.wire.send(Method::POST, &format!("auth/{mount}/login"), Some(&body), None, None).await?;
        granted(answer)
    }

    /// How long a token that was given to us lasts.
    async fn look_up(&self, token: Zeroizing<String>) -> Result<Granted, CallError> {
        let answer = self.wire.send(Method::GET, "auth/token/lookup-self", None, Some(token.as_str()), None).await?;
        let body = wire::success(answer)?.body;
        let Data::<Looked> { data } = serde_json::from_slice(&body).map_err(wire::unclear)?;
        Ok(Granted { client_token: token.as_str().to_owned(), lease_duration: data.ttl, renewable: data.renewable })
    }

    /// Renews the token of this generation; how long it lasts then. `None`: it is not ours any more.
    async fn renew(&self, generation: u64) -> Result<Option<Duration>, CallError> {
        let token = {
            let state = self.state.lock().await;
            match &state.lease {
                Some(lease) if state.generation == generation => Arc::clone(&lease.token),
                _ => return Ok(None),
            }
        };
        // Orders go on with it meanwhile.
        let answer = self.wire.send(Method::POST, "auth/token/renew-self", Some(&json!({})), Some(token.as_str()), None).await?;
        let lasts = Duration::from_secs(granted(answer)?.lease_duration);
        let mut state = self.state.lock().await;
        let same = state.generation == generation;
        match &mut state.lease {
            Some(lease) if same => lease.ends = Some(Instant::now() + lasts),
            _ => return Ok(None),
        }
        Ok(Some(lasts))
    }

    /// Lets go of the token of this generation, so that the next request logs in.
    async fn drop_lease(self: &Arc<Self>, generation: u64) {
        let mut state = self.state.lock().await;
        // A token that was given to us is used to its very end.
        if state.generation == generation && !matches!(self.login, Login::Token(_)) {
            state.lease = None;
        }
    }
}

/// Renews a token each time two thirds of its life are over, for as long as it can be and there is someone to use it.
async fn renew(inner: Weak<Inner>, generation: u64, granted: Duration, renewable: bool) {
    let mut lasts = granted;
    loop {
        tokio::time::sleep(lasts * 2 / 3).await;
        let Some(inner) = inner.upgrade() else { return };
        if !renewable {
            return inner.drop_lease(generation).await;
        }
        match inner.renew(generation).await {
            Ok(None) => return,
            // At its maximum a token is given less and less.
            Ok(Some(now)) if now < granted / 4 => {
                tracing::info!("The token of an upstream cannot be renewed any longer: it ends in {} s.", now.as_secs());
                return inner.drop_lease(generation).await;
            }
            Ok(Some(now)) => lasts = now,
            Err(CallError::Refused(why)) => {
                tracing::warn!("The token of an upstream could not be renewed: {why}.");
                return inner.drop_lease(generation).await;
            }
            // It may be better a moment later; a third is left, and then a ninth.
            Err(error) if lasts > Duration::from_secs(3) => {
                tracing::warn!("The token of an upstream could not be renewed yet: {error}.");
                lasts /= 3;
            }
            Err(_) => return inner.drop_lease(generation).await,
        }
    }
}

/// How long the next refusal of a fresh token counts.
fn longer(denied_for: Duration) -> Duration {
    (denied_for * 2).clamp(DENIED, LONGEST_DENIED)
}

async fn read(source: &SecretSource) -> Result<Zeroizing<String>, CallError> {
    let source = source.clone();
    let read = tokio::task::spawn_blocking(move || source.read()).await;
    read.map_err(|error| CallError::not_taken(error.to_string()))?.map_err(|error| CallError::not_taken(error.to_string()))
}

fn granted(answer: Answer) -> Result<Granted, CallError> {
    let body = wire::success(answer)?.body;
    // The error would show what it does not understand: nothing of a login belongs into a log.
    let read: Option<Auth> = serde_json::from_slice(&body).ok();
    read.and_then(|read| read.auth).ok_or_else(|| wire::unclear("no token was granted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_stays_as_it_is_is_asked_less_and_less() {
        let rests = std::iter::successors(Some(longer(Duration::ZERO)), |last| Some(longer(*last)));
        assert_eq!(rests.take(6).map(|rest| rest.as_secs()).collect::<Vec<_>>(), [30, 60, 120, 240, 480, 480]);
    }
}
