//! `ravelin.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Diagnostic, Origin, suggestion};
use super::group_file::read_scep;
use super::reader::{Reader, Sink, values};
use super::tree::Table;
use super::{
    EndpointSettings, LogSettings, Origins, RaSettings, ServerSettings, TlsSettings, UpstreamKind, UpstreamSettings, schema,
};
use crate::crypto::backend::{Backend, Choice};

/// What stands in the file, relative paths resolved.
#[derive(Debug)]
pub(super) struct ServerFile {
    pub(super) data: PathBuf,
    pub(super) default_endpoint: Option<String>,
    pub(super) server: ServerSettings,
    pub(super) log: LogSettings,
    pub(super) ra_dir: PathBuf,
    pub(super) ras: Vec<RaSettings>,
    pub(super) passphrase_file: PathBuf,
    pub(super) upstreams: Vec<UpstreamSettings>,
    pub(super) endpoints: Vec<EndpointSettings>,
}

/// Reads the file. What is missing or wrong is filled with its default, so that reading goes on.
pub(super) fn read(table: &Table, folder: &Path, sink: &Sink, origins: &mut Origins) -> ServerFile {
    let root = Reader::new(table, &schema::ROOT, sink);
    root.integer("version", 1, 1);
    let data = root.path("data", folder).map_or_else(|| folder.to_owned(), |path| path.value);
    let default_endpoint = root.string("default-endpoint").map(|name| {
        origins.note("default-endpoint".into(), &name.origin);
        name.value
    });
    let empty = Table { entries: Vec::new(), origin: table.origin.clone() };
    let section = |name, schema| root.table(name, schema).unwrap_or_else(|| Reader::new(&empty, schema, sink));

    let server = server(&section("server", &schema::SERVER), folder, &data);
    let server = limits(&section("limits", &schema::LIMITS), server);
    let server = worker(&section("worker", &schema::WORKER), server);
    let server = crypto(&section("crypto", &schema::CRYPTO), server);
    let log = log(&section("log", &schema::LOG));
    let mut ras = ras(&root.tables("ra", &schema::RA).unwrap_or_default(), &data);
    let ra_dir = match ras.iter().position(|ra| ra.name == DEFAULT_RA) {
        Some(at) => ras.remove(at).dir,
        None => data.join("ra"),
    };
    let passphrase_file = section("keys", &schema::KEYS)
        .path("passphrase-file", &data)
        .map_or_else(|| data.join("secrets/key-passphrase"), |path| path.value);
    let named = ras.iter().map(|ra| (ra.name.clone(), ra.dir.clone()));
    let all_ras: Vec<_> = std::iter::once((DEFAULT_RA.to_owned(), ra_dir.clone())).chain(named).collect();
    let places = super::upstream::Places { folder, data: &data, ras: &all_ras };
    let upstreams = match root.raw_tables("upstream") {
        Some(tables) => super::upstream::read(&tables, &places, sink, origins),
        None => {
            vec![UpstreamSettings { name: "local".into(), kind: UpstreamKind::Local { dir: data.join("ca") }, files: Vec::new() }]
        }
    };
    let endpoints = root.tables("endpoint", &schema::ENDPOINT).unwrap_or_default();
    let endpoints = endpoints.iter().filter_map(|table| endpoint(table, origins)).collect();
    ServerFile { data, default_endpoint, server, log, ra_dir, ras, passphrase_file, upstreams, endpoints }
}

fn server(table: &Reader<'_>, folder: &Path, data: &Path) -> ServerSettings {
    let address = |text: &str| {
        text.parse::<SocketAddr>()
            .map_err(|_| format!("{text:?} is no address with a port, such as \"127.0.0.1:8080\" or \"[::]:8080\""))
    };
    let defaults = defaults();
    let listen_tls = table.parsed_list("listen-tls", address).map(values).unwrap_or_default();
    let tls = table.table("tls", &schema::TLS).and_then(|tls| {
        tls.must_have("certificate");
        tls.must_have("key");
        Some(TlsSettings { certificate: tls.path("certificate", folder)?.value, key: tls.path("key", folder)?.value })
    });
    if let (false, None, Some(origin)) = (listen_tls.is_empty(), table.origin_of("tls"), table.key_origin_of("listen-tls")) {
        let found = Diagnostic::error("missing-key", "`listen-tls` needs a certificate and a key").at(&origin);
        table.report(found.help("add tls = { certificate = \"tls/chain.pem\", key = \"tls/key.pem\" }"));
    }
    let admin = match table.string("admin") {
        Some(text) if text.value == "off" => None,
        Some(text) => table.read(&text, address).map(|address| address.value),
        None => defaults.admin,
    };
    let node = table.string("node").map(|node| node.value).filter(|node| !node.is_empty()).unwrap_or(defaults.node);
    let listen = table.parsed_list("listen", address).map(values).unwrap_or(defaults.listen);
    let public_url = table.parsed("public-url", public_url).map(|url| url.value);
    ServerSettings {
        public_url: public_url.unwrap_or_else(|| derived_url(&node, &listen, &listen_tls)),
        node,
        listen,
        listen_tls,
        tls,
        admin,
        control_socket: table.path("control-socket", data).map_or_else(|| data.join("control.sock"), |path| path.value),
        patience: table.duration("patience").unwrap_or(defaults.patience),
        shutdown_grace: table.duration("shutdown-grace").unwrap_or(defaults.shutdown_grace),
        retention: table.duration("retention").unwrap_or(defaults.retention),
        keep_transactions: table.duration("keep-transactions").unwrap_or(defaults.keep_transactions),
        watch: table.boolean("watch").unwrap_or(defaults.watch),
        ..defaults
    }
}

/// Reads `http://ra.example.net:8080`, with a path or without.
fn public_url(text: &str) -> Result<String, String> {
    let sound = |url: &http::Uri| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some_and(|a| !a.as_str().contains('@'))
    };
    match text.parse::<http::Uri>() {
        Ok(url) if sound(&url) && url.query().is_none() && !text.contains(['#', '{', '}']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(format!("{text:?} is no address that others can call, such as \"http://ra.example.net:8080\"")),
    }
}

/// The address of the first listener; by the node's name if it listens everywhere.
fn derived_url(node: &str, listen: &[SocketAddr], listen_tls: &[SocketAddr]) -> String {
    let url = |scheme: &str, standard: u16, address: &SocketAddr| {
        let host = match address.ip() {
            ip if ip.is_unspecified() => node.to_owned(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        let port = if address.port() == standard { String::new() } else { format!(":{}", address.port()) };
        format!("{scheme}://{host}{port}")
    };
    match (listen.first(), listen_tls.first()) {
        (Some(address), _) => url("http", 80, address),
        (None, Some(address)) => url("https", 443, address),
        (None, None) => format!("http://{node}"),
    }
}

fn limits(table: &Reader<'_>, server: ServerSettings) -> ServerSettings {
    let count = |key, default: usize| table.integer(key, 1, 1_000_000).map_or(default, |count| count as usize);
    let rate = table.integer("per-source", 1, 1_000_000).map(|rate| rate as u32);
    let burst = table.integer("per-source-burst", 1, 1_000_000).map(|burst| burst as u32);
    ServerSettings {
        max_connections: count("max-connections", server.max_connections),
        max_requests: count("max-requests", server.max_requests),
        per_source: rate.map(|rate| (rate, burst.unwrap_or(rate.saturating_mul(2)))),
        max_body: table.size("max-body", 4 * 1024, 16 * 1024 * 1024).unwrap_or(server.max_body),
        header_timeout: table.duration("header-timeout").unwrap_or(server.header_timeout),
        body_timeout: table.duration("body-timeout").unwrap_or(server.body_timeout),
        idle_timeout: table.duration("idle-timeout").unwrap_or(server.idle_timeout),
        ..server
    }
}

fn worker(table: &Reader<'_>, server: ServerSettings) -> ServerSettings {
    ServerSettings {
        crypto_threads: table.integer("crypto-threads", 1, 1024).map_or(server.crypto_threads, |count| count as usize),
        crypto_queue: table.integer("crypto-queue", 1, 1_000_000).map_or(server.crypto_queue, |count| count as usize),
        slow_threads: table.integer("slow-threads", 1, 1024).map_or(server.slow_threads, |count| count as usize),
        slow_queue: table.integer("slow-queue", 1, 1_000_000).map_or(server.slow_queue, |count| count as usize),
        ..server
    }
}

fn crypto(table: &Reader<'_>, server: ServerSettings) -> ServerSettings {
    let mut backends = server.backends;
    for &family in Choice::FAMILIES {
        let Some(backend) = table.named::<Backend>(family.name()) else { continue };
        match backends.with(family, backend.value) {
            Ok(choice) => backends = choice,
            Err(why) => {
                let found = Diagnostic::error("backend-cannot", why.to_string()).at(&backend.origin);
                table.report(found.help(why.help()));
            }
        }
    }
    ServerSettings { backends, ..server }
}

fn log(table: &Reader<'_>) -> LogSettings {
    let format = table.parsed("format", |text| match text {
        "auto" | "text" | "json" => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no log format; {}", suggestion(text, ["auto", "text", "json"]))),
    });
    LogSettings {
        format: format.map_or_else(|| "auto".into(), |format| format.value),
        filter: table.string("filter").map_or_else(|| "info".into(), |filter| filter.value),
    }
}

fn ras(tables: &[Reader<'_>], data: &Path) -> Vec<RaSettings> {
    let mut found: Vec<RaSettings> = Vec::new();
    for table in tables {
        let name = match table.string("name") {
            Some(name) => {
                let Some(checked) = table.read(&name, super::checked_name) else { continue };
                if found.iter().any(|known| known.name == checked.value) {
                    table.report(duplicate("ra", &checked.value, &checked.origin));
                    continue;
                }
                checked.value
            }
            None if found.iter().any(|known| known.name == DEFAULT_RA) => {
                table.report(duplicate("ra", DEFAULT_RA, table.origin()));
                continue;
            }
            None => DEFAULT_RA.to_owned(),
        };
        let folder = if name == DEFAULT_RA { "ra".to_owned() } else { format!("ra-{name}") };
        let dir = table.path("dir", data).map_or_else(|| data.join(folder), |path| path.value);
        found.push(RaSettings { name, dir });
    }
    found
}

/// What every endpoint has that names no other.
pub(super) const DEFAULT_RA: &str = "default";

fn endpoint(table: &Reader<'_>, origins: &mut Origins) -> Option<EndpointSettings> {
    let name = table.required("name").and_then(|name| table.read(&name, super::checked_name))?;
    let path = table.parsed("path", |path| {
        let fits = path.starts_with('/') && path.len() > 1 && !path.contains(['?', '#', ' ', '%']) && !path.contains("//");
        match fits {
            true if path == "/crl" || path.starts_with("/crl/") => {
                Err("below /crl the CRLs of embedded CAs are served".to_owned())
            }
            true => Ok(path.trim_end_matches('/').to_owned()),
            false => Err(format!("{path:?} is no path, such as \"/scep/shared\"")),
        }
    });
    table.must_have("groups");
    let groups = table.strings("groups").unwrap_or_default();
    if let Some(origin) = table.empty_array("groups") {
        table.bad(&origin, "an endpoint needs at least one group");
    }
    for (key, origin) in [("name", Some(name.origin.clone())), ("path", path.as_ref().map(|p| p.origin.clone()))] {
        if let Some(origin) = origin {
            origins.note(format!("endpoint/{}/{key}", name.value), &origin);
        }
    }
    for group in &groups {
        origins.note(format!("endpoint/{}/groups/{}", name.value, group.value), &group.origin);
    }
    let scep = table.table("scep", &schema::SCEP);
    if let Some(origin) = scep.as_ref().and_then(|scep| scep.origin_of("ra")) {
        origins.note(format!("endpoint/{}/scep.ra", name.value), &origin);
    }
    let scep = scep.map(|scep| read_scep(&scep)).unwrap_or_default();
    Some(EndpointSettings {
        path: path.map_or_else(|| format!("/scep/{}", name.value), |path| path.value),
        hosts: table.strings("hosts").map(values).unwrap_or_default(),
        sources: table.parsed_list("sources", network).map(values).unwrap_or_default(),
        groups: values(groups),
        scep,
        name: name.value,
    })
}

/// A finding about a second thing of one name.
pub(super) fn duplicate(what: &str, name: &str, origin: &Origin) -> Diagnostic {
    Diagnostic::error("duplicate-name", format!("there is another {what} `{name}`")).at(origin)
}

/// Reads `10.0.0.0/8`, or a single address.
pub(super) fn network(text: &str) -> Result<ipnet::IpNet, String> {
    let net = text.parse::<ipnet::IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
    let net = net.map_err(|_| format!("{text:?} is no network, such as \"10.0.0.0/8\" or \"2001:db8::/32\""))?;
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(format!("{text:?} has bits behind its prefix; did you mean `{}`?", net.trunc()))
    }
}

fn defaults() -> ServerSettings {
    ServerSettings {
        node: node_name(),
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
        listen_tls: Vec::new(),
        tls: None,
        public_url: String::new(),
        admin: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
        control_socket: PathBuf::new(),
        patience: Duration::from_secs(10),
        crypto_threads: std::thread::available_parallelism().map_or(1, usize::from),
        crypto_queue: 256,
        slow_threads: std::thread::available_parallelism().map_or(1, |cores| usize::from(cores).div_ceil(2)),
        slow_queue: 32,
        max_connections: 1024,
        max_requests: 256,
        per_source: None,
        max_body: 128 * 1024,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(60),
        shutdown_grace: Duration::from_secs(30),
        retention: Duration::from_secs(30 * 24 * 3600),
        keep_transactions: Duration::from_secs(180 * 24 * 3600),
        watch: true,
        backends: Choice::default(),
    }
}

fn node_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    kernel.ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "ravelin".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_derived() {
        assert_eq!(public_url("https://ra.example.net/").unwrap(), "https://ra.example.net");
        assert_eq!(public_url("http://[2001:db8::1]:8080/ra").unwrap(), "http://[2001:db8::1]:8080/ra");
        for bad in ["ra.example.net", "ftp://ra.example.net", "http://u@x", "http://x/?a", "http://x/{key}", "http://"] {
            assert!(public_url(bad).is_err(), "{bad}");
        }
        let derived = |listen: &[&str], tls: &[&str]| {
            let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
            derived_url("ra-1", &all(listen), &all(tls))
        };
        assert_eq!(derived(&["127.0.0.1:8080", "192.0.2.1:80"], &[]), "http://127.0.0.1:8080");
        assert_eq!(derived(&["192.0.2.1:80"], &["192.0.2.1:443"]), "http://192.0.2.1");
        assert_eq!(derived(&["0.0.0.0:8080"], &[]), "http://ra-1:8080");
        assert_eq!(derived(&[], &["[2001:db8::1]:8443"]), "https://[2001:db8::1]:8443");
    }
}
