//! Calls of the API: JSON 1.1, signed.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Uri};
use jiff::Timestamp;
use serde_json::Value;

use super::AwsPcaSettings;
use super::credentials::Credentials;
use super::sigv4::{Scope, authorization};
use crate::upstream::http::{Answer, Http};
use crate::upstream::remote::{CallError, RemoteError};

/// The name of the service in signatures.
const SERVICE: &str = "acm-pca";

/// What its operations are called by.
const TARGET: &str = "ACMPrivateCA";

const JSON: &str = "application/x-amz-json-1.1";

pub(super) struct Client {
    http: Http,
    credentials: Credentials,
    region: String,
    host: String,
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The API says so.
    #[error("{kind}: {message}")]
    Exception { kind: String, message: String, status: u16 },
    /// Something else.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Failure {
    /// Whether it is this exception.
    pub(super) fn is(&self, exception: &str) -> bool {
        matches!(self, Failure::Exception { kind, .. } if kind == exception)
    }

    /// What it means for a call. What people have to mend, at the credentials or at the CA, is no refusal of an order.
    pub(super) fn into_call_error(self) -> CallError {
        const LATER: &[&str] = &[
            "ThrottlingException",
            "Throttling",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "LimitExceededException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "MissingAuthenticationTokenException",
            "MissingAuthenticationToken",
            "ExpiredToken",
            "ExpiredTokenException",
            "RequestExpired",
            "AccessDeniedException",
            "AccessDenied",
            "NotAuthorized",
            "OptInRequired",
            "UnknownOperationException",
            "InvalidArnException",
            "InvalidStateException",
            "ResourceNotFoundException",
        ];
        // These come with a status that says that the request was wrong, and mean that something went wrong on the way.
        const UNCLEAR: &[&str] =
            &["RequestFailedException", "RequestAbortedException", "RequestTimeoutException", "OtherException"];
        let (kind, status) = match &self {
            Failure::Call(error) => return error.clone(),
            Failure::Exception { kind, status, .. } => (kind.as_str(), *status),
        };
        let text = self.to_string();
        match status {
            _ if LATER.contains(&kind) => CallError::not_taken(text),
            400..500 if !UNCLEAR.contains(&kind) => CallError::Refused(text),
            _ => CallError::Unclear(text),
        }
    }
}

impl Client {
    pub(super) fn open(settings: &AwsPcaSettings, http: Http) -> Result<Self, RemoteError> {
        let bad = || RemoteError::File { path: http.url().to_owned(), why: "it names no host".to_owned() };
        let uri: Uri = http.url().parse().map_err(|_| bad())?;
        // The path is signed too.
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            let why = "the API has no path: it is https://acm-pca.REGION.amazonaws.com".to_owned();
            return Err(RemoteError::File { path: http.url().to_owned(), why });
        }
        // As hyper writes it: without a port that goes without saying.
        let authority = uri.authority().ok_or_else(bad)?;
        let host = match (uri.scheme_str(), authority.port_u16()) {
            (Some("https"), Some(443)) | (Some("http"), Some(80)) => authority.host().to_owned(),
            _ => authority.as_str().to_owned(),
        };
        let credentials = Credentials::open(&settings.credentials)?;
        Ok(Self { credentials, region: settings.region.clone(), host, http })
    }

    /// Calls an operation.
    pub(super) async fn call(&self, operation: &str, wanted: &Value) -> Result<Value, Failure> {
        let key = self.credentials.key().await?;
        let body = wanted.to_string();
        let target = format!("{TARGET}.{operation}");
        let scope = Scope { region: &self.region, service: SERVICE, at: Timestamp::now() };
        let date = scope.date_time();
        let mut signed: Vec<(&str, &str)> =
            vec![("content-type", JSON), ("host", &self.host), ("x-amz-date", &date), ("x-amz-target", &target)];
        if let Some(token) = &key.token {
            signed.push(("x-amz-security-token", token));
        }
        let authorization = authorization(&key, &scope, ("POST", "/"), &signed, body.as_bytes());
        let bad = |error: &dyn std::fmt::Display| Failure::Call(CallError::not_taken(error.to_string()));
        let mut request = Request::post(format!("{}/", self.http.url()))
            .header(CONTENT_TYPE, JSON)
            .header("x-amz-date", &date)
            .header("x-amz-target", &target)
            .body(Bytes::from(body))
            .map_err(|error| bad(&error))?;
        let sensitive = |text: &str| {
            let mut value = HeaderValue::try_from(text).map_err(|_| bad(&"a credential that fits into no header field"))?;
            value.set_sensitive(true);
            Ok::<_, Failure>(value)
        };
        request.headers_mut().insert(AUTHORIZATION, sensitive(&authorization)?);
        if let Some(token) = &key.token {
            request.headers_mut().insert("x-amz-security-token", sensitive(token)?);
        }
        let answer = self.http.send(request).await?;
        if !answer.status.is_success() {
            return Err(exception(answer));
        }
        // Some operations answer with nothing.
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        let unclear = |error| Failure::Call(CallError::Unclear(format!("the answer is not as it should be: {error}")));
        serde_json::from_slice(&answer.body).map_err(unclear)
    }
}

/// The exception in an answer; one that has none says what its status says.
fn exception(answer: Answer) -> Failure {
    let status = answer.status.as_u16();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let Some(kind) = body["__type"].as_str() else {
        return answer.success().err().unwrap_or_else(|| CallError::Unclear(status.to_string())).into();
    };
    // `com.amazonaws.acmpca#ThrottlingException`, or the last part alone.
    let kind = kind.rsplit('#').next().unwrap_or_default();
    let message = body["message"].as_str().or(body["Message"].as_str()).unwrap_or_default();
    let clean = |text: &str, most: usize| text.chars().filter(|c| !c.is_control()).take(most).collect::<String>();
    Failure::Exception { kind: clean(kind, 80), message: clean(message, 300), status }
}
