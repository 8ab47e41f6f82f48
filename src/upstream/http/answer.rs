//! What a CA answered, and what its status says about whether it has taken the request.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};

use crate::upstream::remote::CallError;

/// What the CA answered, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The answer if its status is 2xx; otherwise what the status says.
    ///
    /// Nothing was taken by 401, 407, 421 and 429, by 503 where [`takes_nothing_now`](Self::takes_nothing_now) holds, and by redirects
    /// that have the same request sent elsewhere, which are not followed: a POST is sent to nobody who is not configured. Other 4xx but
    /// 408 were refused. Anything else leaves it unclear: a server may give up with 408 or 503 on a request that it has begun with.
    pub fn success(self) -> Result<Self, CallError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let said = self.status_line();
        Err(match self.status {
            StatusCode::UNAUTHORIZED => CallError::NotTaken {
                reason: format!("the credentials of this upstream are not accepted: {said}"),
                after: self.retry_after(),
            },
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                CallError::not_taken(format!("the proxy does not accept our credentials: {said}"))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::MISDIRECTED_REQUEST => {
                CallError::NotTaken { reason: said, after: self.retry_after() }
            }
            StatusCode::SERVICE_UNAVAILABLE if self.takes_nothing_now() => {
                CallError::NotTaken { reason: said, after: self.retry_after() }
            }
            StatusCode::REQUEST_TIMEOUT => CallError::Unclear(said),
            StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                CallError::not_taken(format!("{said}; redirects are not followed, set `url` to where it is"))
            }
            status if status.is_client_error() => CallError::Refused(said),
            _ => CallError::Unclear(said),
        })
    }

    /// Whether a 503 says that the server surely did not take the request: it names a time to come again, and is no page for people.
    ///
    /// By itself a 503 says no such thing. Proxies answer it for a CA that died over a request which it had received (Envoy, and
    /// Varnish, whose page names a time too), and servers for one that took them too long. A connector that knows what its CA
    /// itself says, before it does anything, looks at that first.
    pub fn takes_nothing_now(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE && self.retry_after().is_some() && !self.media_type().contains("html")
    }

    /// The status, where a redirect leads, and the beginning of the body, for logs.
    pub fn status_line(&self) -> String {
        let mut said = self.status.to_string();
        if let Some(place) = self.headers.get(LOCATION).and_then(|place| place.to_str().ok()) {
            said.push_str(" to ");
            said.extend(place.chars().filter(|c| !c.is_control()).take(200));
        }
        let excerpt = self.excerpt();
        if !excerpt.is_empty() {
            said.push_str(": ");
            said.push_str(&excerpt);
        }
        said
    }

    /// The media type without its parameters, in lower case; empty if there is none.
    pub fn media_type(&self) -> String {
        let field = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        field.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// When to come again: Retry-After in seconds or as a date (RFC 9110 section 10.2.3); a week at most.
    pub fn retry_after(&self) -> Option<Duration> {
        const MOST: Duration = Duration::from_secs(7 * 24 * 3600);
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds).min(MOST));
        }
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        // A date that has passed is now.
        Some(Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default().min(MOST))
    }

    /// The beginning of a body that is text, for logs; nothing that could move a terminal's cursor. Of HTML only what is between the
    /// tags.
    pub fn excerpt(&self) -> String {
        let start = &self.body[..self.body.len().min(4096)];
        // A character may have been cut in two.
        let text = match std::str::from_utf8(start) {
            Ok(text) => text,
            Err(error) if start.len() < self.body.len() && error.error_len().is_none() => {
                std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return String::new(),
        };
        let plain = if self.media_type().contains("html") { without_tags(text) } else { text.to_owned() };
        let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().filter(|c| !c.is_control()).take(300).collect()
    }
}

/// What is between the tags of HTML, without styles and scripts.
fn without_tags(html: &str) -> String {
    let mut plain = String::new();
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        plain.push_str(text);
        plain.push(' ');
        // Octets stay where they are.
        let lower = after.to_ascii_lowercase();
        let hidden = ["style", "script"].into_iter().find(|name| lower.starts_with(name));
        let after = hidden.map_or(after, |name| lower.find(&format!("</{name}")).map_or("", |at| &after[at + 2..]));
        rest = after.split_once('>').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain
}
