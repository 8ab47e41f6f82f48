//! `[[upstream]]`: what all CAs behind a network have. Each kind has a file of its own below.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Diagnostic, suggestion};
use super::reader::{Located, Reader, Sink};
use super::server_file::duplicate;
use super::tree::{Node, Table};
use super::{Origins, UpstreamKind, UpstreamSettings, schema as tables};
use crate::upstream::http::{ClientCertificate, HttpSettings, Proxy};
use crate::upstream::remote::{ConnectorSettings, RemoteCaSettings, RemoteSettings, RemoteUpstream};
use crate::upstream::secret::SecretSource;
use crate::upstream::{Limits, NamesRule, Rate};

mod acme;
mod ad_cs;
mod aws_pca;
mod cmp;
mod ejbca;
mod est;
mod exec;
mod scep;
pub mod schema;
mod step_ca;
mod vault;
mod webhook;

/// A kind of CA behind a network: how its tables are read.
struct Kind {
    name: &'static str,
    upstream: &'static tables::TableSchema,
    ca: &'static tables::TableSchema,
    /// Whether what passes has to be hidden from whoever is on the way: secrets of ours, or of the devices. The messages of the others
    /// protect themselves.
    needs_tls: bool,
    read: fn(&Tables<'_>) -> Option<ConnectorSettings>,
}

/// The kinds.
static KINDS: &[Kind] = &[
    est::KIND,
    cmp::KIND,
    step_ca::KIND,
    vault::KIND,
    ejbca::KIND,
    acme::KIND,
    scep::KIND,
    ad_cs::KIND,
    aws_pca::KIND,
    webhook::KIND,
    exec::KIND,
];

/// Where things lie.
pub(super) struct Places<'a> {
    /// What relative paths start at.
    pub(super) folder: &'a Path,
    /// The data folder.
    pub(super) data: &'a Path,
    /// The RAs by name, with their folders.
    pub(super) ras: &'a [(String, PathBuf)],
}

/// The tables of one upstream.
struct Tables<'a> {
    upstream: Reader<'a>,
    /// Its CAs, by name.
    cas: Vec<(String, Reader<'a>)>,
    /// What relative paths start at.
    folder: &'a Path,
    /// A folder that the upstream may keep files in.
    data: PathBuf,
}

/// Reads all upstreams.
pub(super) fn read(found: &[&Table], places: &Places<'_>, sink: &Sink, origins: &mut Origins) -> Vec<UpstreamSettings> {
    let mut upstreams: Vec<UpstreamSettings> = Vec::new();
    for table in found {
        let Some(upstream) = read_one(table, places, sink, origins) else { continue };
        if upstreams.iter().any(|known| known.name == upstream.name) {
            let origin = table.get("name").map_or(&table.origin, |entry| &entry.value.origin);
            sink.borrow_mut().push(duplicate("upstream", &upstream.name, origin));
            continue;
        }
        upstreams.push(upstream);
    }
    upstreams
}

fn read_one(table: &Table, places: &Places<'_>, sink: &Sink, origins: &mut Origins) -> Option<UpstreamSettings> {
    let said = table.get("kind").and_then(|entry| match &entry.value.node {
        Node::String(kind) => Some(kind.as_str()),
        _ => None,
    });
    let kind = KINDS.iter().find(|kind| Some(kind.name) == said);
    // Without a known kind nobody can tell which keys are unknown: only that is reported.
    let unknown = said.is_some_and(|said| said != "local") && kind.is_none();
    if unknown {
        let (said, origin) = (said.unwrap_or_default(), &table.get("kind")?.value.origin);
        let known = std::iter::once("local").chain(KINDS.iter().map(|kind| kind.name));
        let finding = Diagnostic::error("bad-value", format!("unknown kind of upstream {said:?}")).at(origin);
        sink.borrow_mut().push(finding.help(suggestion(said, known)));
        return None;
    }
    let reader = Reader::new(table, kind.map_or(&tables::UPSTREAM, |kind| kind.upstream), sink);
    let name = reader.required("name").and_then(|name| reader.read(&name, super::checked_name));
    reader.required("kind");
    let settings = match kind {
        None => {
            let dir = reader.path("dir", places.data).map_or_else(|| places.data.join("ca"), |path| path.value);
            said.map(|_| (UpstreamKind::Local { dir }, Vec::new()))
        }
        Some(kind) => {
            let called = name.as_ref().map_or("", |name| &name.value);
            remote(kind, reader, called, places, origins).map(|(remote, files)| (UpstreamKind::Remote(remote), files))
        }
    };
    let name = name?;
    origins.note(format!("upstream/{}", name.value), &name.origin);
    let (kind, files) = settings?;
    Some(UpstreamSettings { name: name.value, kind, files })
}

fn remote(
    kind: &Kind,
    upstream: Reader<'_>,
    name: &str,
    places: &Places<'_>,
    origins: &mut Origins,
) -> Option<(RemoteUpstream, Vec<PathBuf>)> {
    let folder = places.folder;
    let mut cas = Vec::new();
    let mut settings: Vec<RemoteCaSettings> = Vec::new();
    upstream.must_have("ca");
    for table in upstream.tables("ca", kind.ca).unwrap_or_default() {
        table.must_have("chain");
        let ca = table.required("name").and_then(|name| table.read(&name, super::checked_name));
        let chain = table.path("chain", folder);
        let previous = table.path("previous", folder).map(|path| path.value);
        let crl_url = table.parsed("crl-url", url).map(|url| url.value);
        let names = table.named::<NamesRule>("names").map_or(NamesRule::default(), |names| names.value);
        let (Some(ca), Some(chain)) = (ca, chain) else { continue };
        if settings.iter().any(|known| known.name == ca.value) {
            table.report(duplicate("CA", &ca.value, &ca.origin));
            continue;
        }
        origins.note(format!("upstream/{name}/ca/{}", ca.value), &ca.origin);
        settings.push(RemoteCaSettings { name: ca.value.clone(), chain: chain.value, previous, crl_url, names });
        cas.push((ca.value, table));
    }
    let has_address = kind.upstream.all_keys().any(|key| key.name == "url");
    let http = if has_address { http(kind, &upstream, places) } else { Some(without_address(&upstream, folder)) };
    let common = RemoteSettings {
        name: name.to_owned(),
        cas: settings,
        // A moment more than one answer may take: who gives up first is the one that knows whether anything was sent.
        patience: http.as_ref().map_or(Duration::from_secs(30), |http| http.timeout) + Duration::from_secs(1),
        limits: limits(&upstream),
    };
    let tables = Tables { upstream, cas, folder, data: places.data.join("upstreams").join(name) };
    let connector = (kind.read)(&tables);
    let files = files(&tables, http.as_ref());
    Some((RemoteUpstream { common, http: http?, connector: connector? }, files))
}

fn http(kind: &Kind, table: &Reader<'_>, places: &Places<'_>) -> Option<HttpSettings> {
    let folder = places.folder;
    table.must_have("url");
    let url = table.parsed("url", url);
    if let Some(url) = &url
        && kind.needs_tls
        && shows_what_passes(&url.value)
    {
        let message = format!("an upstream of the kind {:?} is spoken with over https only: secrets pass", kind.name);
        let help = "let the CA, or what stands before it, serve https; http is for an address on this machine, such as 127.0.0.1";
        table.report(Diagnostic::error("bad-value", message).at(&url.origin).help(help));
    }
    let trust = table.path("trust", folder);
    if let (Some(url), None) = (&url, &trust)
        && url.value.starts_with("https:")
        && table.origin_of("trust").is_none()
    {
        let finding = Diagnostic::error("missing-key", "an upstream with https:// needs the key `trust`").at(&url.origin);
        table.report(finding.help("name a PEM file with the certificates that the server's TLS certificate has to chain to"));
    }
    let (certificate, key) = (table.path("client-certificate", folder), table.path("client-key", folder));
    table.must_go_together("client-certificate", "client-key");
    let client = certificate.zip(key).map(|(certificate, key)| ClientCertificate {
        certificate: certificate.value,
        key: key.value,
        chain: None,
    });
    let client = client.or_else(|| client_ra(table, places.ras));
    let trust = trust.map(|path| path.value);
    Some(HttpSettings { url: url?.value, client, ..way(table, folder, trust) })
}

/// What a program has, which has no address: for the CRLs that are fetched.
fn without_address(table: &Reader<'_>, folder: &Path) -> HttpSettings {
    way(table, folder, table.path("trust", folder).map(|path| path.value))
}

fn way(table: &Reader<'_>, folder: &Path, trust: Option<PathBuf>) -> HttpSettings {
    HttpSettings {
        url: "/".to_owned(),
        trust,
        client: None,
        proxy: proxy(table, folder),
        connect_timeout: within(table, "connect-timeout", Duration::from_secs(5)),
        timeout: within(table, "timeout", Duration::from_secs(30)),
        max_answer: table.size("max-answer", 4 * 1024, 64 * 1024 * 1024).unwrap_or(1024 * 1024),
    }
}

/// The signing certificate of an RA of ours.
fn client_ra(table: &Reader<'_>, ras: &[(String, PathBuf)]) -> Option<ClientCertificate> {
    if let (Some(origin), Some(_)) = (table.origin_of("client-ra"), table.origin_of("client-certificate")) {
        table.bad(&origin, "there is one TLS client certificate: `client-ra` or `client-certificate`".to_owned());
        return None;
    }
    let dir = table.parsed("client-ra", |name| match ras.iter().find(|(known, _)| known == name) {
        Some((_, dir)) => Ok(dir.clone()),
        None => Err(format!("there is no [[ra]] {name:?}; {}", suggestion(name, ras.iter().map(|(name, _)| name.as_str())))),
    })?;
    let file = |name| dir.value.join(name);
    Some(ClientCertificate { certificate: file("signer.pem"), key: file("signer.key.pem"), chain: Some(file("chain.pem")) })
}

fn proxy(table: &Reader<'_>, folder: &Path) -> Proxy {
    let credentials = secret(table, "proxy-credentials", folder);
    let proxy = table.parsed("proxy", |text| match text {
        "environment" => Ok(Proxy::Environment),
        "none" => Ok(Proxy::None),
        address => proxy_url(address).map(|address| Proxy::Url { address, credentials: None }),
    });
    match (proxy.map(|proxy| proxy.value), table.origin_of("proxy-credentials")) {
        (Some(Proxy::Url { address, .. }), _) => Proxy::Url { address, credentials },
        (other, None) => other.unwrap_or_default(),
        (other, Some(origin)) => {
            table.bad(&origin, "`proxy-credentials` are for a proxy whose address is in `proxy`".to_owned());
            other.unwrap_or_default()
        }
    }
}

fn proxy_url(text: &str) -> Result<String, String> {
    let sound = |url: &http::Uri| {
        let is_bare = url.authority().is_some_and(|authority| !authority.as_str().contains('@')) && url.path().len() < 2;
        is_bare && matches!(url.scheme_str(), Some("http" | "socks5" | "socks5h"))
    };
    match text.parse::<http::Uri>() {
        Ok(url) if sound(&url) => Ok(text.to_owned()),
        // The text may have a password in it.
        _ => Err("a proxy is written like \"http://proxy.example.net:3128\" or \"socks5://proxy.example.net\"; \
                  a name and password for it are in `proxy-credentials`"
            .to_owned()),
    }
}

/// A time that fits into the lease on an attempt.
fn within(table: &Reader<'_>, key: &str, default: Duration) -> Duration {
    const MOST: Duration = Duration::from_secs(70);
    let read = table.parsed(key, |text| match super::value::duration(text)? {
        zero if zero.is_zero() => Err("there is no answer in no time".to_owned()),
        long if long > MOST => Err(format!("{text:?} is longer than {} s", MOST.as_secs())),
        fits => Ok(fits),
    });
    read.map_or(default, |read| read.value)
}

fn limits(table: &Reader<'_>) -> Limits {
    let count = |key, default: usize| table.integer(key, 1, 1_000_000).map_or(default, |count| count as usize);
    let burst = table.integer("burst", 1, 1_000_000).map(|burst| burst as f64);
    let rate =
        table.parsed("rate", |text| super::value::limit(text).map(|limit| f64::from(limit.count) / limit.period.as_secs_f64()));
    Limits {
        rate: rate.map(|rate| Rate { per_second: rate.value, burst: burst.unwrap_or(1.0) }),
        places: count("connections", 16),
        queue: count("queue", 10_000),
        trip_after: table.integer("trip-after", 1, 1_000_000).map_or(5, |count| count as u32),
        cooldown: table.duration("cooldown").map_or(Duration::from_secs(10), |cooldown| cooldown.max(Duration::from_millis(100))),
    }
}

/// Where a secret comes from: `{ file = "…" }` or `{ env = "…" }`.
fn secret(table: &Reader<'_>, key: &str, folder: &Path) -> Option<SecretSource> {
    let origin = table.origin_of(key)?;
    let inner = table.table(key, &schema::SECRET)?;
    match (inner.path("file", folder), inner.string("env")) {
        (Some(file), None) => Some(SecretSource::File(file.value)),
        (None, Some(variable)) => Some(SecretSource::Environment(variable.value)),
        _ => {
            table.bad(&origin, format!("say where `{key}` comes from: {{ file = \"secrets/…\" }} or {{ env = \"NAME\" }}"));
            None
        }
    }
}

/// Whether others than this machine see what passes.
fn shows_what_passes(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    uri.scheme_str() == Some("http") && !is_loopback
}

fn url(text: &str) -> Result<String, String> {
    url_text(text)
}

fn url_text(text: &str) -> Result<String, String> {
    let sound = |url: &http::Uri| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some_and(|a| !a.as_str().contains('@'))
    };
    match text.parse::<http::Uri>() {
        Ok(url) if sound(&url) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no address, such as \"https://ca.example.net:8443/path\"")),
    }
}

impl Tables<'_> {
    /// A value of each CA, by its name.
    fn of_cas<T>(&self, read: impl Fn(&Reader<'_>) -> T) -> std::collections::BTreeMap<String, T> {
        self.cas.iter().map(|(name, table)| (name.clone(), read(table))).collect()
    }

    /// A secret of the upstream.
    fn secret(&self, key: &str) -> Option<SecretSource> {
        secret(&self.upstream, key, self.folder)
    }
}

/// Files that an upstream is configured with.
fn files(tables: &Tables<'_>, http: Option<&HttpSettings>) -> Vec<PathBuf> {
    let mut files = tables.upstream.files(tables.folder);
    files.extend(tables.cas.iter().flat_map(|(_, ca)| ca.files(tables.folder)));
    // What `client-ra` stands for.
    let client = http.iter().flat_map(|http| &http.client);
    files.extend(client.flat_map(|client| [&client.certificate, &client.key].into_iter().chain(&client.chain)).cloned());
    files.sort();
    files.dedup();
    files
}

/// The text of a string that is there.
fn text(table: &Reader<'_>, key: &str) -> Option<String> {
    table.string(key).map(|text: Located<String>| text.value)
}
