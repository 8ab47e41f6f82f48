//! What a page of the web enrollment says, read by what no translation touches: links, the IDs that the pages give to their sentences for
//! translators, the number of the disposition, and error codes. English sentences are read only where nothing else is there.

use std::sync::LazyLock;

use regex::Regex;

use crate::upstream::http::Answer;

/// A page.
pub(super) struct Page {
    html: String,
    cookies: Vec<String>,
}

/// What it says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was issued, under this ID.
    Issued {
        /// The ID.
        request: String,
    },
    /// A manager has to decide.
    Pending {
        /// The ID, if the page has it.
        request: Option<String>,
    },
    /// The CA said no, or took its certificate back.
    Denied,
    /// The pages could not reach the CA behind them, or it cannot issue now.
    NotTaken,
    /// The CA has no request of this ID.
    NoSuchRequest,
    /// Nothing that we know.
    Unreadable,
}

impl From<Answer> for Page {
    fn from(answer: Answer) -> Self {
        let cookies = answer.headers.get_all(http::header::SET_COOKIE).iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
        Self { html: decoded(&answer.body), cookies }
    }
}

/// Text in UTF-8, UTF-16 with a byte order mark, or whatever has ASCII below: what we look for is ASCII.
fn decoded(body: &[u8]) -> String {
    let sixteen = |read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = body[2..].chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match body {
        [0xff, 0xfe, ..] => sixteen(u16::from_le_bytes),
        [0xfe, 0xff, ..] => sixteen(u16::from_be_bytes),
        other => String::from_utf8_lossy(other).into_owned(),
    }
}

macro_rules! pattern {
    ($name:ident, $pattern:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("a pattern of ours"));
    };
}

// The link to a certificate; that of the CA has a word in the place of the number.
pattern!(ISSUED, r#"(?i)certnew\.(?:cer|p7b)\?ReqID=([0-9]{1,10})\b"#);
// The sentence with the ID, and the cookie in which the pages remember requests that wait.
pattern!(REQUEST_ID, r#"(?is)\bID\s*=\s*["']?locInfoReqID["']?\s*>(.{0,400}?)</"#);
pattern!(COOKIE, r#"(?i)^Requests=\[?([0-9]{1,10})[,%]"#);
pattern!(PENDING, r#"(?i)\bID\s*=\s*["']?(?:locInfoReqID|locInfoNewReq|locInfoChkPnd|locTimeoutWarning)["']?\s*>"#);
pattern!(DENIED, r#"(?i)\bID\s*=\s*["']?(?:locDenied|locIssRev|locInfoReqIDandReason)["']?\s*>"#);
pattern!(DISPOSITION, r#"(?is)\bID\s*=\s*["']?locDispLabel["']?.{0,200}?<DD>\s*([0-9A-F]{1,8})\b"#);
pattern!(NUMBER, r"\b([0-9]{1,10})\b");
pattern!(CODE, r"(?i)\b0x([0-9a-f]{8})\b");
// For pages that somebody wrote anew, without the IDs.
pattern!(ENGLISH_PENDING, r"(?i)Certificate Pending|Request Id is ([0-9]{1,10})|taken under submission");
pattern!(ENGLISH_DENIED, r"(?i)request was denied|Certificate Request Denied|disposition message is|Denied by");
pattern!(TAG, r"(?is)<(?:script|style|title|!--).*?(?:</(?:script|style|title)\s*>|-->)|<[^>]*>");

/// What a code says of a request; `None` if nothing. The bits above the last twelve name who speaks.
fn meaning(code: u32) -> Option<Verdict> {
    Some(match code {
        // CERTSRV_E_NO_REQUEST, CERTSRV_E_PROPERTY_EMPTY: the CA's database has no such request, or no such value.
        0x8009_4002 | 0x8009_4004 => Verdict::NoSuchRequest,
        // CERTSRV_E_BAD_REQUESTSTATUS: it is in another state than we thought. NTE_BAD_SIGNATURE: that of the request, or one of the CA's.
        0x8009_4003 | 0x8009_0006 => Verdict::Unreadable,
        // CERTSRV_E_INVALID_CA_CERTIFICATE, CERTSRV_E_SERVER_SUSPENDED, CERTSRV_E_NO_DB_SESSIONS: the CA issues nothing to anybody now.
        0x8009_4005 | 0x8009_4006 | 0x8009_400f => Verdict::NotTaken,
        // The RPC server is unavailable, too busy or not there, or the call failed and was not executed: it did not arrive. And access was
        // denied: it arrived, and the CA did not look at it.
        0x8007_06ba | 0x8007_06bb | 0x8007_06bf | 0x8007_06d9 | 0x8007_0005 => Verdict::NotTaken,
        _ => match code >> 12 {
            // OSS_…: the request cannot be read. CERTSRV_E_…: what the CA or its policy module says of it.
            0x80093 | 0x80094 => Verdict::Denied,
            // NTE_…, CRYPT_E_…, CERT_E_…: the CA's own key, chain or revocation lists are not as they have to be.
            0x80090 | 0x80092 | 0x800b0 => Verdict::NotTaken,
            _ => return None,
        },
    })
}

impl Page {
    /// What it says.
    ///
    /// A page that refuses has an ID too, and one of an error tells how the CA stands: the order of the questions matters.
    pub(super) fn verdict(&self) -> Verdict {
        if DENIED.is_match(&self.html) {
            return Verdict::Denied;
        }
        if let Some(found) = ISSUED.captures(&self.html) {
            return Verdict::Issued { request: found[1].to_owned() };
        }
        if PENDING.is_match(&self.html) {
            return Verdict::Pending { request: self.request() };
        }
        if let Some(disposition) = DISPOSITION.captures(&self.html) {
            match u32::from_str_radix(&disposition[1], 16) {
                Ok(5) => return Verdict::Pending { request: None },
                Ok(2 | 6) => return Verdict::Denied,
                // It was issued, whatever went wrong then.
                Ok(3 | 4) => return Verdict::Unreadable,
                _ => {}
            }
        }
        let meanings: Vec<Verdict> = self.codes().into_iter().filter_map(meaning).collect();
        // Of several the one counts after which nothing is sent again.
        for verdict in [Verdict::NoSuchRequest, Verdict::Denied, Verdict::Unreadable, Verdict::NotTaken] {
            if meanings.contains(&verdict) {
                return verdict;
            }
        }
        if ENGLISH_DENIED.is_match(&self.html) {
            return Verdict::Denied;
        }
        if ENGLISH_PENDING.is_match(&self.html) {
            return Verdict::Pending { request: self.request() };
        }
        Verdict::Unreadable
    }

    /// The ID of a request that waits.
    fn request(&self) -> Option<String> {
        let sentence = REQUEST_ID.captures(&self.html).and_then(|found| {
            let text = TAG.replace_all(found.get(1)?.as_str(), " ").into_owned();
            NUMBER.captures(&text).map(|number| number[1].to_owned())
        });
        let cookie = || self.cookies.iter().find_map(|cookie| COOKIE.captures(cookie)).map(|found| found[1].to_owned());
        let english = || ENGLISH_PENDING.captures_iter(&self.html).find_map(|found| Some(found.get(1)?.as_str().to_owned()));
        sentence.or_else(cookie).or_else(english)
    }

    /// The HRESULTs in the text.
    fn codes(&self) -> Vec<u32> {
        CODE.captures_iter(&self.html).filter_map(|found| u32::from_str_radix(&found[1], 16).ok()).collect()
    }

    /// What it says to people: without mark-up, short, and from where it says it. Of the disposition message on, if there is one.
    pub(super) fn text(&self) -> String {
        let from = ["locInfoReqIDandReason", "locDenied", "locIssRev", "locDispLabel", "locReqFailed", "locPageTitle"];
        let start = from.iter().find_map(|id| self.html.find(id).map(|at| at + id.len())).unwrap_or(0);
        // The rest of the tag that the ID stood in.
        let start = self.html[start..].find('>').filter(|_| start > 0).map_or(start, |at| start + at + 1);
        let plain = TAG.replace_all(&self.html[start..], " ");
        let plain = [("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&amp;", "&")]
            .iter()
            .fold(plain.into_owned(), |text, (entity, character)| text.replace(entity, character));
        let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = words.chars().filter(|c| !c.is_control()).take(400).collect();
        if short.is_empty() { "an empty page".to_owned() } else { short }
    }
}
