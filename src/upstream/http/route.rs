//! The way to a CA: straight, or by a proxy.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use zeroize::Zeroizing;

use super::Proxy;
use crate::upstream::remote::RemoteError;

/// Where requests go first.
pub(super) struct Route {
    proxies: Option<Matcher>,
    credentials: Option<Credentials>,
}

struct Credentials {
    basic: HeaderValue,
    name: String,
    password: Zeroizing<String>,
}

/// A proxy to go by.
pub(super) struct Hop {
    pub(super) uri: Uri,
    pub(super) kind: HopKind,
    /// For the header field Proxy-Authorization.
    pub(super) basic: Option<HeaderValue>,
    /// For SOCKS.
    pub(super) login: Option<(String, Zeroizing<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HopKind {
    Http,
    Socks,
}

impl Route {
    /// Reads the environment, or the credentials of the proxy. Blocks.
    pub(super) fn open(proxy: &Proxy) -> Result<Self, RemoteError> {
        let (proxies, credentials) = match proxy {
            Proxy::None => (None, None),
            Proxy::Environment => (Some(Matcher::from_env()), None),
            Proxy::Url { address, credentials } => {
                let credentials = credentials.as_ref().map(|source| {
                    let secret = source.read()?;
                    let (name, password) = secret.split_once(':').ok_or_else(|| RemoteError::File {
                        path: source.to_string(),
                        why: "credentials of a proxy are a name and a password with a colon between".to_owned(),
                    })?;
                    Ok(Credentials {
                        basic: basic(&secret),
                        name: name.to_owned(),
                        password: Zeroizing::new(password.to_owned()),
                    })
                });
                (Some(Matcher::builder().all(address.as_str()).build()), credentials.transpose()?)
            }
        };
        Ok(Self { proxies, credentials })
    }

    /// The proxy on the way to this address; an error is one that cannot be spoken with.
    pub(super) fn to(&self, uri: &Uri) -> Result<Option<Hop>, String> {
        let Some(found) = self.proxies.as_ref().and_then(|proxies| proxies.intercept(uri)) else { return Ok(None) };
        let kind = match found.uri().scheme_str() {
            Some("http") => HopKind::Http,
            Some("socks5" | "socks5h") => HopKind::Socks,
            other => {
                return Err(format!(
                    "the proxy {} cannot be used: {} is not spoken with proxies, only http and socks5",
                    found.uri(),
                    other.unwrap_or("that")
                ));
            }
        };
        let said = found.raw_auth().map(|(name, password)| (name.to_owned(), Zeroizing::new(password.to_owned())));
        let own = self.credentials.as_ref();
        Ok(Some(Hop {
            uri: found.uri().clone(),
            kind,
            basic: own.map(|own| own.basic.clone()).or_else(|| found.basic_auth().cloned()),
            login: own.map(|own| (own.name.clone(), own.password.clone())).or(said),
        }))
    }
}

/// `Basic …` of `name:password`, marked as secret.
pub(crate) fn basic(pair: &str) -> HeaderValue {
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::try_from(text.as_str()).expect("base64 fits into a header field");
    value.set_sensitive(true);
    value
}
