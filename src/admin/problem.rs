//! Errors of the control socket: RFC 9457 problem details, each with a stable code.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::json;

use crate::enroll::EnrollError;
use crate::enroll::operate::OperateError;
use crate::inventory::InventoryError;

/// Where the codes are explained.
const TYPE_BASE: &str = "https://ravelin.invalid/problems/";

/// Why a request to the control socket was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code, to be matched by programs.
    pub code: &'static str,
    /// What is wrong and what to do, for people.
    pub detail: String,
}

impl Problem {
    /// A problem.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    /// The request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// There is no such thing.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// The response (RFC 9457 section 3).
    pub fn response(&self) -> Response<Bytes> {
        let body = json!({
            "type": format!("{TYPE_BASE}{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        response
    }
}

impl From<InventoryError> for Problem {
    fn from(error: InventoryError) -> Self {
        let (status, code) = match &error {
            InventoryError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "inventory-busy"),
            InventoryError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "inventory-unavailable"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "inventory-damaged"),
        };
        Problem::new(status, code, error.to_string())
    }
}

impl From<EnrollError> for Problem {
    fn from(error: EnrollError) -> Self {
        match error {
            EnrollError::Inventory(error) => error.into(),
            EnrollError::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error.to_string()),
            _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
        }
    }
}

impl From<OperateError> for Problem {
    fn from(error: OperateError) -> Self {
        let (status, code) = match error {
            OperateError::Inventory(error) => return error.into(),
            OperateError::Internal(error) => return error.into(),
            OperateError::NoSuchGroup(_) => (StatusCode::NOT_FOUND, "unknown-group"),
            OperateError::NoOneTimeChallenges(_) => (StatusCode::CONFLICT, "no-one-time-challenges"),
            OperateError::BindMissing { .. } => (StatusCode::BAD_REQUEST, "bind-missing"),
            OperateError::NotWaiting(_) => (StatusCode::CONFLICT, "not-waiting"),
            OperateError::NoSuchCertificate(_) => (StatusCode::NOT_FOUND, "unknown-certificate"),
            OperateError::Ambiguous(_) => (StatusCode::CONFLICT, "ambiguous"),
            OperateError::Upstream(_) => (StatusCode::BAD_GATEWAY, "upstream-failed"),
        };
        Problem::new(status, code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_its_media_type_and_code() {
        let response = Problem::not_found("unknown-group", "there is no group \"x\"").response();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["code"], "unknown-group");
        assert_eq!(body["status"], 404);
    }
}
