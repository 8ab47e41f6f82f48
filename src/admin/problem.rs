//! Errors of the control socket: RFC 9457 problem details, each with a stable code.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::json;

use crate::enroll::EnrollError;
use crate::enroll::operate::OperateError;
use crate::inventory::InventoryError;

/// What the type of a problem begins with (RFC 9457 section 3.1.1); its code follows.
const TYPE_BASE: &str = "urn:ravelin:problem:";

/// Every code with its HTTP status and what it means, in alphabetical order: `docs/src/problems.md` is made from it.
pub const CODES: &[(&str, u16, &str)] = &[
    ("already-revoked", 409, "The certificate is revoked already."),
    ("ambiguous", 409, "The identifier fits several things: give more of it."),
    (
        "bad-configuration",
        422,
        "The changed configuration has mistakes; `detail` is the whole report. The one before goes on serving.",
    ),
    ("bad-request", 400, "The request makes no sense; `detail` says why."),
    ("bind-missing", 400, "The group binds its challenges to a value that was not given."),
    ("busy", 503, "Too much work is waiting: come again."),
    ("deadline-passed", 409, "What is asked for is signed classically only, and the deadline of the group has passed."),
    ("internal", 500, "A fault of the service; its log says more."),
    ("inventory-busy", 503, "Too many writes wait for the inventory: come again."),
    ("inventory-damaged", 500, "The inventory holds something that cannot be; its log says more."),
    ("inventory-unavailable", 503, "The inventory cannot be read or written: a full disk, say."),
    ("no-deadline", 400, "No day was given, and the group has no deadline."),
    ("no-one-time-challenges", 409, "The group takes no one-time challenges."),
    ("no-rollout", 409, "The group tries no candidate: its policy has no table `[rollout]`."),
    ("no-shadow", 409, "The group tries nothing in its shadow: its policy has no table `[shadow]`."),
    ("not-as-ordered", 422, "The certificate that was handed in is not the one that was ordered; `detail` says what differs."),
    ("not-unknown", 409, "The outcome of the transaction is not unknown: there is nothing to hand in."),
    ("not-waiting", 409, "The transaction does not wait for a decision."),
    ("order-ended", 409, "The certificate that was asked for would have ended by now: deny it, and let the device ask again."),
    ("overtaken", 409, "Another decided about the transaction meanwhile, or its CA answered."),
    ("rollout-phase", 409, "The rollout stands so already."),
    ("unknown-certificate", 404, "No certificate has this serial number or fingerprint."),
    ("unknown-challenge", 404, "No challenge that can still be redeemed has this identifier."),
    ("unknown-device", 404, "Nothing is known of this device in this group."),
    ("unknown-endpoint", 404, "No endpoint has this name or path, or none answers this source."),
    ("unknown-group", 404, "No group has this name."),
    ("unknown-method", 405, "The control socket knows GET, POST and DELETE."),
    ("unknown-path", 404, "The control socket has no such path."),
    ("unknown-profile", 404, "No algorithm profile has this name."),
    ("unknown-transaction", 404, "No transaction has this identifier, or none in this state."),
    ("unreadable", 422, "What is to be explained is neither a certification request nor a SCEP message that can be read."),
    ("upstream-failed", 502, "The CA behind failed, or has no such CA."),
];

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
        debug_assert!(CODES.iter().any(|known| known.0 == code && known.1 == status.as_u16()), "{code} is not in the list");
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
            OperateError::NoSuchProfile(_) => (StatusCode::NOT_FOUND, "unknown-profile"),
            OperateError::NoRollout(_) => (StatusCode::CONFLICT, "no-rollout"),
            OperateError::NoShadow(_) => (StatusCode::CONFLICT, "no-shadow"),
            OperateError::NoDeadline(_) => (StatusCode::BAD_REQUEST, "no-deadline"),
            OperateError::RolloutPhase { .. } => (StatusCode::CONFLICT, "rollout-phase"),
            OperateError::NoOneTimeChallenges(_) => (StatusCode::CONFLICT, "no-one-time-challenges"),
            OperateError::BindMissing { .. } => (StatusCode::BAD_REQUEST, "bind-missing"),
            OperateError::NotUnknown(_) => (StatusCode::CONFLICT, "not-unknown"),
            OperateError::NotAsOrdered { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not-as-ordered"),
            OperateError::Overtaken { .. } => (StatusCode::CONFLICT, "overtaken"),
            OperateError::NotWaiting(_) => (StatusCode::CONFLICT, "not-waiting"),
            OperateError::BelowDeadline { .. } | OperateError::DeadlinePassed { .. } => (StatusCode::CONFLICT, "deadline-passed"),
            OperateError::OrderEnded { .. } => (StatusCode::CONFLICT, "order-ended"),
            OperateError::NoSuchDevice { .. } => (StatusCode::NOT_FOUND, "unknown-device"),
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
        assert_eq!(body["type"], "urn:ravelin:problem:unknown-group");
        assert_eq!(body["code"], "unknown-group");
        assert_eq!(body["status"], 404);
    }

    fn markdown() -> String {
        let mut out = String::from(
            "# Problems of the control socket\n\n\
             <!-- Made from the code by a test: RAVELIN_UPDATE_GOLDEN=1 cargo test --lib admin::problem -->\n\n\
             What the control socket cannot do it answers with `application/problem+json` (RFC 9457). Programs go by `code`, or by `type`,\n\
             which is `urn:ravelin:problem:CODE`; commands print the code in brackets. `detail` is for people.\n\n\
             | code | HTTP status | what it means |\n|---|--:|---|\n",
        );
        for (code, status, meaning) in CODES {
            out.push_str(&format!("| `{code}` | {status} | {meaning} |\n"));
        }
        out
    }

    #[test]
    fn the_list_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/problems.md");
        if std::env::var_os("RAVELIN_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == markdown(), "{} is out of date", path.display());
        assert!(CODES.is_sorted_by_key(|known| known.0));
    }

    /// A code in the list that nothing gives is as wrong as one that is not in it, which [`Problem::new`] sees.
    #[test]
    fn every_code_in_the_list_is_given_somewhere() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
        let mut sources = String::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let code = text.split("pub const CODES").map(|part| part.split_once("];").map_or(part, |(_, rest)| rest));
            sources.extend(std::iter::once(text.split("pub const CODES").next().unwrap_or_default()));
            sources.extend(code.skip(1));
        }
        for (code, ..) in CODES {
            assert!(sources.contains(&format!("\"{code}\"")), "{code}");
        }
    }
}
