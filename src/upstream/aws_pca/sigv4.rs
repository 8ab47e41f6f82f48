//! AWS Signature Version 4, for a POST without a query: what the JSON APIs of AWS are asked by.

use jiff::Timestamp;

use crate::crypto::provider;

/// A key of AWS.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: zeroize::Zeroizing<String>,
    /// Goes along with keys that hold for a while only.
    pub(super) token: Option<zeroize::Zeroizing<String>>,
}

/// Shows which key it is, and nothing of it.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// For what a signature counts.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) at: Timestamp,
}

impl Scope<'_> {
    /// The header field `X-Amz-Date`.
    pub(super) fn date_time(&self) -> String {
        self.at.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    fn date(&self) -> String {
        self.at.strftime("%Y%m%d").to_string()
    }

    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date(), self.region, self.service)
    }
}

/// The header field `Authorization`. All header fields that are signed are given, with names in lower case; `host` and `x-amz-date` have
/// to be among them.
pub(super) fn authorization(
    key: &Key,
    scope: &Scope<'_>,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let digester = provider().digester;
    let mut sorted = headers.to_vec();
    sorted.sort_unstable();
    let canonical: String = sorted
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let names = sorted.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let payload = hex::encode(digester.sha256(body));
    // The line that is empty is the query.
    let request = format!("{method}\n{path}\n\n{canonical}\n{names}\n{payload}");
    let request = hex::encode(digester.sha256(request.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{}\n{request}", scope.date_time(), scope.text());
    let first = zeroize::Zeroizing::new(format!("AWS4{}", key.secret.as_str()));
    let mut signing = digester.hmac_sha256(first.as_bytes(), scope.date().as_bytes());
    for part in [scope.region, scope.service, "aws4_request"] {
        signing = digester.hmac_sha256(&signing, part.as_bytes());
    }
    let signature = hex::encode(digester.hmac_sha256(&signing, to_sign.as_bytes()));
    format!("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}", key.id, scope.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test suite of Signature Version 4 (`aws-sig-v4-test-suite`): those of its cases that have no query.
    #[test]
    fn the_published_signatures_come_out() {
        let key =
            Key { id: "AKIDEXAMPLE".into(), secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned().into(), token: None };
        let scope = Scope { region: "us-east-1", service: "service", at: "2015-08-30T12:36:00Z".parse().unwrap() };
        let host = ("host", "example.amazonaws.com");
        let date = ("x-amz-date", "20150830T123600Z");
        let form = ("content-type", "application/x-www-form-urlencoded");
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: &[Case<'_>] = &[
            ("get-vanilla", "GET", &[host, date], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("post-vanilla", "POST", &[host, date], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "post-x-www-form-urlencoded",
                "POST",
                &[form, host, date],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "post-header-key-sort",
                "POST",
                &[host, ("my-header1", "value1"), date],
                "",
                "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            ),
            (
                "get-header-value-trim",
                "GET",
                &[host, ("my-header1", " value1"), ("my-header2", " \"a   b   c\""), date],
                "",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
        ];
        for (name, method, headers, body, signature) in cases {
            let found = authorization(&key, &scope, (method, "/"), headers, body.as_bytes());
            assert!(found.ends_with(&format!("Signature={signature}")), "{name}: {found}");
            assert!(
                found.starts_with(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="
                )
            );
        }
        assert!(!format!("{key:?}").contains("wJalr"));
    }
}
