//! One call to a CA, and what its failure says about whether the CA has heard of it.

use std::time::Duration;

use crate::upstream::{ASK_AGAIN, Submission};

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

    /// What it means for asking after an order that waits: that changes nothing at the CA, so where the answer was lost, it is as if the
    /// question had never been taken. The core asks it again, and counts the failure.
    pub fn poll(self) -> Submission {
        match self {
            CallError::Unclear(reason) => Submission::NotTaken { reason, retry_after: None },
            other => other.submission(),
        }
    }

    /// The same where a "no" to the question says nothing of the order.
    pub fn poll_again(self, reference: &str) -> Submission {
        match self {
            CallError::Refused(reason) => {
                tracing::warn!("The CA did not say how an order stands: {reason}.");
                Submission::Waiting { reference: reference.to_owned(), retry_after: ASK_AGAIN }
            }
            other => other.poll(),
        }
    }
}
