//! One call to a CA, and what its failure says about whether the CA has heard of it.

use std::time::Duration;

use crate::upstream::Submission;

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The CA surely did not receive it: no address, no connection, no TLS, or the CA (or what stands before it) says that it takes
    /// nothing now (HTTP 429; 503 with a time to come again).
    #[error("{reason}")]
    NotTaken {
        /// What happened.
        reason: String,
        /// When it may be tried again, if the CA said so.
        after: Option<Duration>,
    },
    /// The CA may have received it, and acted on it: no answer in time, the connection broke, HTTP 408, 500, 502, 503, 504, or an answer
    /// that makes no sense.
    #[error("{0}")]
    Unclear(String),
    /// The CA received it, and said no.
    #[error("{0}")]
    Refused(String),
}

impl CallError {
    /// The CA surely did not receive it.
    pub fn not_taken(reason: impl Into<String>) -> Self {
        CallError::NotTaken { reason: reason.into(), after: None }
    }

    /// Nothing came within that time.
    pub fn no_answer(within: Duration) -> Self {
        CallError::Unclear(format!("no answer within {} ms", within.as_millis()))
    }

    /// What it means for the submission of an order.
    pub fn submission(self) -> Submission {
        match self {
            CallError::NotTaken { reason, after } => Submission::NotTaken { reason, retry_after: after },
            CallError::Unclear(reason) => Submission::Unknown { reason },
            CallError::Refused(reason) => Submission::Rejected { reason },
        }
    }

    /// What it means for asking after an order that waits: it is asked after again.
    pub fn still_waiting(self, reference: &str) -> Submission {
        let retry_after = match &self {
            CallError::NotTaken { after: Some(after), .. } => *after,
            _ => Duration::from_secs(15),
        };
        match self {
            CallError::Refused(reason) => Submission::Rejected { reason },
            CallError::NotTaken { .. } | CallError::Unclear(_) => {
                tracing::warn!("The CA did not say how an order stands: {self}.");
                Submission::Waiting { reference: reference.to_owned(), retry_after }
            }
        }
    }
}
