//! The operations, as a small HTTP interface: the control socket serves it, and commands call it in their own process when no
//! server runs. Requests and answers are JSON; errors are [`Problem`]s.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Health, OpenMessage, Problem, audit, certificates, challenges, configuration, devices, explain, rollouts, transactions,
};
use crate::enroll::Enroller;
use crate::inventory::Inventory;

/// Who asks: a name for the audit log, given by the client. What guards the socket is the file system.
pub const OPERATOR_HEADER: &str = "x-ravelin-operator";

/// The operations of one data folder.
pub struct Control {
    /// The core.
    pub enroller: Enroller,
    /// Whether all is well.
    pub health: Arc<Health>,
    /// Loads the configuration again.
    pub reload: Arc<dyn Reload>,
    /// Opens SCEP messages for `explain`.
    pub messages: Arc<dyn OpenMessage>,
    /// Name of this node.
    pub node: String,
    /// When this process began to serve.
    pub started_at: Timestamp,
}

/// Loads the configuration again, all or nothing.
#[async_trait]
pub trait Reload: Send + Sync {
    /// Loads it; the error is what `check-config` would print, and the old configuration still serves.
    async fn reload(&self, operator: &str) -> Result<Loaded, String>;
}

/// A configuration that was loaded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Loaded {
    /// Its generation.
    pub generation: u64,
    /// Hex digest over all files.
    pub digest: String,
}

/// What a handler gives.
pub(super) type Handled = Result<Value, Problem>;

/// A request, taken apart.
pub(super) struct Call {
    /// The query's parameters.
    pub query: BTreeMap<String, String>,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub operator: String,
}

impl Call {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}")))
    }

    /// A parameter of the query, parsed.
    pub fn parameter<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: std::fmt::Display,
    {
        match self.query.get(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|error| Problem::bad_request(format!("{name}={text}: {error}"))),
        }
    }
}

impl Control {
    /// The store.
    pub fn inventory(&self) -> &Arc<dyn Inventory> {
        self.enroller.inventory()
    }

    /// Does what a request asks for.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        match self.route(request).await {
            Ok(value) => {
                let mut response = Response::new(Bytes::from(value.to_string()));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(problem) => {
                tracing::debug!(code = problem.code, "A control request failed: {}", problem.detail);
                problem.response()
            }
        }
    }

    async fn route(&self, request: Request<Bytes>) -> Handled {
        let (head, body) = request.into_parts();
        let operator = head.headers.get(OPERATOR_HEADER).and_then(|value| value.to_str().ok()).unwrap_or("local");
        let operator = operator.chars().filter(char::is_ascii_graphic).take(64).collect();
        let call = Call { query: parameters(head.uri.query().unwrap_or(""))?, body, operator };
        let path = head.uri.path().to_owned();
        let segments = path.split('/').skip(1).map(decode).collect::<Result<Vec<String>, Problem>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let method = &head.method;

        match (method.as_str(), segments.as_slice()) {
            ("GET", ["v1", "status"]) => configuration::status(self).await,
            ("POST", ["v1", "reload"]) => self.reload(&call).await,
            ("GET", ["v1", "groups"]) => Ok(configuration::groups(self)),
            ("GET", ["v1", "groups", name]) => configuration::group(self, name).await,
            ("GET", ["v1", "groups", name, "preview"]) => rollouts::preview(self, &call, name).await,
            ("GET", ["v1", "rollouts"]) => rollouts::list(self).await,
            ("GET", ["v1", "groups", group, "shadow"]) => rollouts::shadow(self, group).await,
            ("GET", ["v1", "groups", group, "forecast"]) => rollouts::forecast(self, &call, group).await,
            ("GET", ["v1", "rollouts", group]) => rollouts::show(self, group).await,
            ("POST", ["v1", "rollouts", group, action]) => rollouts::change(self, &call, group, action).await,
            ("GET", ["v1", "profiles"]) => Ok(configuration::profiles(self)),
            ("GET", ["v1", "profiles", name]) => configuration::profile(self, name),
            ("GET", ["v1", "cas", upstream, ca, "crl"]) => configuration::crl(self, upstream, ca).await,
            ("GET", ["v1", "cas", upstream, ca, "dependants"]) => {
                Ok(json!({ "keys": self.enroller.dependants(upstream, ca).await? }))
            }
            ("GET", ["v1", "challenges"]) => challenges::list(self, &call).await,
            ("POST", ["v1", "challenges"]) => challenges::mint(self, &call).await,
            ("DELETE", ["v1", "challenges", id]) => challenges::revoke(self, &call, id).await,
            ("GET", ["v1", "transactions"]) => transactions::list(self, &call).await,
            ("GET", ["v1", "transactions", id]) => transactions::show(self, id).await,
            ("POST", ["v1", "transactions", id, "approve"]) => transactions::approve(self, &call, id).await,
            ("POST", ["v1", "transactions", id, "adopt"]) => transactions::adopt(self, &call, id).await,
            ("POST", ["v1", "transactions", id, "deny"]) => transactions::deny(self, &call, id).await,
            ("GET", ["v1", "certificates"]) => certificates::search(self, &call).await,
            ("GET", ["v1", "certificates", id]) => certificates::show(self, id).await,
            ("POST", ["v1", "certificates", id, "revoke"]) => certificates::revoke(self, &call, id).await,
            ("GET", ["v1", "devices"]) => devices::list(self, &call).await,
            ("GET", ["v1", "devices", group, device]) => devices::show(self, group, device).await,
            ("POST", ["v1", "devices", group, device, "forget"]) => devices::forget(self, &call, group, device).await,
            ("GET", ["v1", "audit"]) => audit::list(self, &call).await,
            ("GET", ["v1", "audit", "verify"]) => audit::verify(self).await,
            ("POST", ["v1", "explain"]) => explain::explain(self, &call).await,
            _ if matches!(*method, Method::GET | Method::POST | Method::DELETE) => {
                Err(Problem::not_found("unknown-path", format!("there is no {method} {path}")))
            }
            _ => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "unknown-method", format!("{method} is not known here"))),
        }
    }

    async fn reload(&self, call: &Call) -> Handled {
        match self.reload.reload(&call.operator).await {
            Ok(loaded) => Ok(json!(loaded)),
            Err(why) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-configuration", why)),
        }
    }
}

fn parameters(query: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.insert(decode(name)?, decode(value)?);
    }
    Ok(parameters)
}

fn decode(text: &str) -> Result<String, Problem> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| Problem::bad_request("the target is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let parameters = parameters("text=a%20b%26c&limit=5&all").unwrap();
        assert_eq!(parameters["text"], "a b&c");
        assert_eq!(parameters["limit"], "5");
        assert_eq!(parameters["all"], "");
        assert_eq!(super::parameters("x=%ff").unwrap_err().code, "bad-request");
    }
}
