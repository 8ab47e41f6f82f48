use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::algorithm::KeyAlgorithm;
use crate::crypto::{keystore, provider};
use crate::upstream::testing::{Play, Scripted, TestCa, settings};
use crate::x509::SubjectAltName;

fn well() -> Play {
    Play::body(200, "text/plain", "well")
}

fn always_well(_: &crate::upstream::testing::Seen) -> Play {
    well()
}

fn post(url: &str) -> Request<Bytes> {
    Request::post(url).body(Bytes::from_static(b"order")).unwrap()
}

fn not_taken(error: CallError) -> String {
    match error {
        CallError::NotTaken { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn localhost() -> Vec<SubjectAltName> {
    vec![SubjectAltName::Dns("localhost".into())]
}

#[tokio::test]
async fn what_a_failure_says_of_the_request() {
    let plays = [
        well(),
        Play::body(503, "application/json", "later").header("Retry-After", "7"),
        Play::body(400, "text/plain", "no"),
        Play::body(401, "text/html", "<html><style>p {}</style><p>who are\n you</p>"),
        Play::status(307).header("Location", "https://elsewhere.example.net/"),
        Play::status(302).header("Location", "/login"),
        Play::body(500, "text/plain", "oh"),
        // Envoy and Varnish over a CA that died, and a server that gave up on a request which it had begun with.
        Play::body(
            503,
            "text/plain",
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
        ),
        Play::body(503, "text/html", "<h1>Error 503 Backend fetch failed</h1>").header("Retry-After", "5"),
        Play::status(408),
        Play::body(200, "text/plain", "a long answer").cut_in_body(3),
        Play::Cut,
        Play::Stall,
    ];
    let peer = Scripted::playing(plays).await;
    let http = Http::open(&HttpSettings { timeout: Duration::from_millis(300), ..peer.settings() }, "").unwrap();
    let url = format!("{}/a?b=c", peer.url());
    let send = async || http.send(post(&url)).await.and_then(Answer::success);
    assert_eq!(send().await.unwrap().body, "well");
    let busy = send().await.unwrap_err();
    let CallError::NotTaken { reason, after: Some(after) } = busy else { panic!("{busy:?}") };
    assert_eq!((reason.as_str(), after.as_secs()), ("503 Service Unavailable: later", 7));
    assert!(matches!(send().await, Err(CallError::Refused(said)) if said == "400 Bad Request: no"));
    assert!(not_taken(send().await.unwrap_err()).ends_with("401 Unauthorized: who are you"));
    assert!(not_taken(send().await.unwrap_err()).contains("to https://elsewhere.example.net/; redirects are not followed"));
    let unclear = ["302 Found to /login", "oh", "connection termination", "Backend fetch failed", "408 Request Timeout"];
    for expected in unclear.into_iter().chain(["200 OK, then", "the connection ended", "no answer within 300 ms"]) {
        let unclear = send().await;
        assert!(matches!(&unclear, Err(CallError::Unclear(why)) if why.contains(expected)), "{unclear:?}");
    }
    let seen = peer.seen();
    assert_eq!(seen.len(), 13, "nothing is sent twice");
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str(), seen[0].text()), ("POST", "/a?b=c", "order"));
    assert_eq!(peer.connections(), 3, "connections are kept as long as they last");
    assert!(seen[0].header("user-agent").starts_with("ravelin/"));
}

#[tokio::test]
async fn without_a_connection_nothing_was_taken() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = nobody.local_addr().unwrap();
    drop(nobody);
    let get = async |url: String| {
        let http = Http::open(&settings(&url), "").unwrap();
        not_taken(http.send(post(&url)).await.unwrap_err())
    };
    let refused = get(format!("http://{closed}")).await;
    assert!(refused.starts_with(&closed.to_string()) && refused.contains("refused"), "{refused}");
    get("http://no-such-host.invalid".to_owned()).await;

    // TCP answers, and nobody behind it: TLS does not come about.
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", deaf.local_addr().unwrap().port());
    let slow = HttpSettings { trust: Some(ca.chain_file()), connect_timeout: Duration::from_millis(200), ..settings(&url) };
    let late = not_taken(Http::open(&slow, "").unwrap().send(post(&url)).await.unwrap_err());
    assert!(late.ends_with("no connection within 200 ms"), "{late}");
    // The same where the whole time is over before a connection is there.
    let slow = HttpSettings { timeout: Duration::from_millis(100), connect_timeout: Duration::from_secs(9), ..slow };
    let late = not_taken(Http::open(&slow, "").unwrap().send(post(&url)).await.unwrap_err());
    assert!(late.ends_with("no connection within 100 ms"), "{late}");
    // Somebody who speaks HTTP and no TLS.
    let plain = Scripted::playing([]).await;
    let url = format!("https://localhost:{}", plain.address().port());
    let http = Http::open(&HttpSettings { trust: Some(ca.chain_file()), ..settings(&url) }, "").unwrap();
    not_taken(http.send(post(&url)).await.unwrap_err());
}

#[tokio::test]
async fn a_kept_connection_that_ended_costs_nothing() {
    let peer = Scripted::playing([well().closing_silently(), well().closing(), well()]).await;
    let http = peer.http();
    for _ in 0..3 {
        http.send(post(&peer.url())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((peer.seen().len(), peer.connections()), (3, 3));

    // What only asks is asked once more where a kept connection ended under it, and nowhere else.
    let peer = Scripted::playing([well(), Play::Cut, well(), Play::Cut, Play::Cut]).await;
    let http = peer.http();
    for seen in [1, 3] {
        assert_eq!(http.get(&peer.url()).await.unwrap(), "well");
        assert_eq!(peer.seen().len(), seen);
    }
    http.get(&peer.url()).await.unwrap_err();
    assert_eq!(peer.seen().len(), 5);
    let peer = Scripted::playing([Play::Cut, well(), well().cut_in_body(1), Play::status(500), Play::Cut]).await;
    let http = peer.http();
    assert!(http.get(&peer.url()).await.is_err(), "a fresh connection has no such end");
    http.get(&peer.url()).await.unwrap();
    http.get(&peer.url()).await.unwrap_err();
    http.get(&peer.url()).await.unwrap_err();
    // Nor what may act, by whatever method.
    http.send_once(Request::get(peer.url()).body(Bytes::new()).unwrap()).await.unwrap_err();
    assert_eq!(peer.seen().len(), 5);
}

#[tokio::test]
async fn long_answers_are_not_read() {
    let peer = Scripted::answering(|_| Play::body(200, "text/plain", "x".repeat(101))).await;
    let http = Http::open(&HttpSettings { max_answer: 100, ..peer.settings() }, "").unwrap();
    let long = http.get(&peer.url()).await.unwrap_err();
    assert!(matches!(&long, CallError::Unclear(why) if why.contains("longer than 100 octets")), "{long:?}");
    assert!(Http::open(&HttpSettings { max_answer: 101, ..peer.settings() }, "").unwrap().get(&peer.url()).await.is_ok());
}

#[tokio::test]
async fn tls_is_spoken_with_whom_we_trust() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let asked = async |server: rustls::ServerConfig, trust: PathBuf, host: &str| {
        let peer = Scripted::with_tls(&ca, server, always_well).await;
        let url = format!("https://{host}:{}", peer.address().port());
        let http = Http::open(&HttpSettings { url: url.clone(), trust: Some(trust), ..peer.settings() }, "").unwrap();
        let answer = http.send(post(&url)).await;
        assert_eq!(peer.seen().is_empty(), answer.is_err());
        answer.map_err(not_taken)
    };
    asked(ca.server_config(), ca.chain_file(), "localhost").await.unwrap();
    asked(ca.server_config(), ca.chain_file(), "127.0.0.1").await.unwrap();

    let other = TestCa::new(KeyAlgorithm::EcdsaP256);
    let stranger = asked(ca.server_config(), other.chain_file(), "localhost").await.unwrap_err();
    assert!(stranger.contains("`trust`") && stranger.contains(&*other.chain_file().to_string_lossy()), "{stranger}");
    assert!(stranger.contains(&ca.certificate.subject().to_string()), "{stranger}");

    let elsewhere = ca.identity(KeyAlgorithm::EcdsaP256, &[SubjectAltName::Dns("elsewhere.example.net".into())]);
    let wrong = asked(ca.server_config_with(&elsewhere), ca.chain_file(), "localhost").await.unwrap_err();
    assert!(wrong.contains("not for the host of `url`, but for elsewhere.example.net"), "{wrong}");

    let now = Timestamp::now();
    let hours = SignedDuration::from_hours;
    let old = ca.identity_for(KeyAlgorithm::EcdsaP256, &localhost(), (now - hours(2), now - hours(1)));
    let expired = asked(ca.server_config_with(&old), ca.chain_file(), "localhost").await.unwrap_err();
    assert!(expired.contains("no longer valid"), "{expired}");

    // The certificate itself may be what is trusted; its name and dates count still.
    let own = ca.identity(KeyAlgorithm::EcdsaP256, &localhost());
    asked(ca.server_config_with(&own), own.certificate.clone(), "localhost").await.unwrap();
    asked(ca.server_config_with(&own), own.certificate.clone(), "127.0.0.1").await.unwrap_err();
    asked(ca.server_config_with(&old), old.certificate.clone(), "localhost").await.unwrap_err();

    assert!(Http::open(&settings("https://localhost"), "").err().unwrap().to_string().contains("set `trust`"));
}

#[tokio::test]
async fn servers_may_have_ml_dsa_certificates() {
    let root = TestCa::new(KeyAlgorithm::MlDsa87);
    let ca = root.below(KeyAlgorithm::MlDsa65);
    let files = ca.identity(KeyAlgorithm::MlDsa44, &localhost());
    let peer = Scripted::with_tls(&root, ca.server_config_with(&files), always_well).await;
    assert_eq!(peer.http().get(&peer.url()).await.unwrap(), "well");
}

#[test]
fn the_hybrid_key_exchange_comes_first() {
    let groups: Vec<_> = tls::crypto().kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(groups[0], rustls::NamedGroup::X25519MLKEM768);
    assert!(groups.contains(&rustls::NamedGroup::secp256r1), "{groups:?}");
}

const CLIENT_KEYS: [KeyAlgorithm; 8] = [
    KeyAlgorithm::Rsa(2048),
    KeyAlgorithm::EcdsaP256,
    KeyAlgorithm::EcdsaP384,
    KeyAlgorithm::EcdsaP521,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::MlDsa44,
    KeyAlgorithm::MlDsa65,
    KeyAlgorithm::MlDsa87,
];

#[tokio::test]
async fn client_certificates_of_all_kinds_are_shown() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let peer = Scripted::over_tls(&ca, always_well).await;
    for key in CLIENT_KEYS {
        let client = ca.identity(key, &[]);
        let http = Http::open(&HttpSettings { client: Some(client.clone()), ..peer.settings() }, "").unwrap();
        http.get(&peer.url()).await.unwrap();
        let shown = peer.seen().pop().unwrap().client.expect("a certificate was shown");
        let text = std::fs::read_to_string(&client.certificate).unwrap();
        assert_eq!(shown, crate::x509::Certificate::from_pem(&text).unwrap().der(), "{key}");
    }
    // Other servers are shown none, though they ask.
    let client = Some(ca.identity(KeyAlgorithm::EcdsaP256, &[]));
    let http = Http::open(&HttpSettings { client, ..peer.settings() }, "").unwrap();
    http.get(&format!("https://127.0.0.1:{}/crl", peer.address().port())).await.unwrap();
    assert_eq!(peer.seen().pop().unwrap().client, None);
}

#[tokio::test]
async fn tls_1_2_takes_the_classical_ones() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let old = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_client_cert_verifier(ca.client_verifier())
        .with_cert_resolver(ca.server_config().cert_resolver);
    let peer = Scripted::with_tls(&ca, old, always_well).await;
    for key in CLIENT_KEYS {
        let client = Some(ca.identity(key, &[]));
        let answer = Http::open(&HttpSettings { client, ..peer.settings() }, "").unwrap().send(post(&peer.url())).await;
        match key.is_post_quantum() {
            false => assert!(answer.is_ok_and(|_| peer.seen().pop().unwrap().client.is_some()), "{key}"),
            true => {
                let why = not_taken(answer.unwrap_err());
                assert!(why.contains("ML-DSA needs TLS 1.3"), "{why}");
            }
        }
    }
}

/// Insists on a client certificate of the CA.
fn strict(ca: &TestCa) -> rustls::ServerConfig {
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.certificate.der().to_vec().into()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&crypto)).build().unwrap();
    rustls::ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_cert_resolver(ca.server_config().cert_resolver)
}

#[tokio::test]
async fn who_is_not_let_in_has_sent_nothing() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let stranger = TestCa::new(KeyAlgorithm::EcdsaP256);
    let old = || {
        let now = Timestamp::now();
        let hours = SignedDuration::from_hours;
        ca.identity_for(KeyAlgorithm::EcdsaP256, &[], (now - hours(2), now - hours(1)))
    };
    for tickets in [0, 2] {
        let mut config = strict(&ca);
        config.send_tls13_tickets = tickets;
        let peer = Scripted::with_tls(&ca, config, always_well).await;
        let ask = async |client| {
            let http = Http::open(&HttpSettings { client, ..peer.settings() }, "").unwrap();
            http.send(post(&peer.url())).await
        };
        ask(Some(ca.identity(KeyAlgorithm::MlDsa65, &[]))).await.unwrap();
        let unknown = not_taken(ask(Some(stranger.identity(KeyAlgorithm::EcdsaP256, &[]))).await.unwrap_err());
        assert!(unknown.contains("does not take our TLS client certificate"), "{unknown}");
        not_taken(ask(Some(old())).await.unwrap_err());
        let none = not_taken(ask(None).await.unwrap_err());
        assert!(none.contains("client certificate"), "{none}");
        assert_eq!(peer.seen().len(), 1);
    }
}

#[tokio::test]
async fn keys_may_be_encrypted() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let peer = Scripted::over_tls(&ca, always_well).await;
    let client = ca.identity(KeyAlgorithm::EcdsaP256, &[]);
    let plain = keystore::read_key(&client.key, None).unwrap();
    keystore::write_key(&client.key, &plain, "open sesame").unwrap();
    let settings = HttpSettings { client: Some(client.clone()), ..peer.settings() };
    Http::open(&settings, "open sesame").unwrap().get(&peer.url()).await.unwrap();
    assert!(peer.seen()[0].client.is_some());

    let named = |error: RemoteError| assert!(error.to_string().contains(&*client.key.to_string_lossy()), "{error}");
    named(Http::open(&settings, "wrong").err().unwrap());
    let another = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    keystore::write_plain_key(&client.key, &another.export_pkcs8().unwrap()).unwrap();
    let error = Http::open(&settings, "").err().unwrap();
    assert!(error.to_string().contains("not the key of the certificate"), "{error}");
    named(error);
    std::fs::write(&client.key, "nonsense").unwrap();
    named(Http::open(&settings, "").err().unwrap());
}

/// A server of HTTP/1 and HTTP/2 that answers each request with its version, and counts connections.
async fn versions(ca: &TestCa) -> (String, Arc<Mutex<usize>>) {
    let mut config = ca.server_config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            *counted.lock().unwrap() += 1;
            let stream = hyper_util::rt::TokioIo::new(acceptor.accept(stream).await.unwrap());
            tokio::spawn(async move {
                let answer = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let version = format!("{:?}", request.version());
                    Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(version))))
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(stream, answer).await;
            });
        }
    });
    (url, count)
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (url, connections) = versions(&ca).await;
    let http = Http::open(&HttpSettings { trust: Some(ca.chain_file()), ..settings(&url) }, "").unwrap();
    assert_eq!(http.get(&url).await.unwrap(), "HTTP/2.0");
    let mut many = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (http, url) = (http.clone(), url.clone());
        many.spawn(async move { http.get(&url).await.unwrap() });
    }
    assert_eq!(many.join_all().await.len(), 20);
    assert_eq!(*connections.lock().unwrap(), 1);
}

/// A proxy: what it was told first, and to whom it passes on; or how it refuses.
/// A server of HTTP/2 that answers the first request with a farewell: its reason, and the last stream that it looks at.
async fn leaving(ca: &TestCa, reason: u32, last: u32) -> String {
    let mut config = ca.server_config();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(tcp).await.unwrap();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        stream.write_all(&settings).await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let mut body = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut body).await.unwrap();
            const HEADERS: u8 = 1;
            if head[3] == HEADERS {
                break;
            }
        }
        let goaway = [[0, 0, 8, 7, 0, 0, 0, 0, 0].as_slice(), &last.to_be_bytes(), &reason.to_be_bytes()].concat();
        stream.write_all(&goaway).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn a_server_that_leaves_in_peace_says_what_it_did_not_look_at() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    for (reason, last, taken) in [(0, 0, false), (0, 1, true), (2, 1, true)] {
        let url = leaving(&ca, reason, last).await;
        let http = Http::open(&HttpSettings { trust: Some(ca.chain_file()), ..settings(&url) }, "").unwrap();
        let error = http.send(post(&url)).await.unwrap_err();
        match taken {
            false => drop(not_taken(error)),
            true => assert!(matches!(error, CallError::Unclear(_)), "{reason} {last}: {error:?}"),
        }
    }
}

async fn proxy(
    refusal: Option<&'static str>,
    destination: Option<std::net::SocketAddr>,
) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            told.lock().unwrap().push(String::from_utf8(head).unwrap());
            let answer = refusal.unwrap_or("HTTP/1.1 200 Connection established\r\n\r\n");
            client.write_all(answer.as_bytes()).await.unwrap();
            if let (None, Some(destination)) = (refusal, destination) {
                let mut server = TcpStream::connect(destination).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
            }
        }
    });
    (address, heard)
}

fn by(address: std::net::SocketAddr, credentials: Option<SecretSource>) -> Proxy {
    Proxy::Url { address: format!("http://{address}"), credentials }
}

#[tokio::test]
async fn proxies_make_tunnels_for_https() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let peer = Scripted::over_tls(&ca, always_well).await;
    let (address, heard) = proxy(None, Some(peer.address())).await;
    let secret = ca.file("proxy-password");
    std::fs::write(&secret, "user:pass:word\n").unwrap();
    // The name of the server is the proxy's to look up.
    let url = format!("https://localhost:{}/order", peer.address().port());
    let settings = HttpSettings { proxy: by(address, Some(SecretSource::File(secret))), ..peer.settings() };
    let http = Http::open(&settings, "").unwrap();
    assert_eq!(http.get(&url).await.unwrap(), "well");
    let head = heard.lock().unwrap().pop().unwrap();
    assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", peer.address().port())), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n"), "{head}");
    assert_eq!(peer.seen()[0].header("proxy-authorization"), "", "the server does not hear of it");

    for (refusal, said) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy authorization required"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "unsuccessful"),
    ] {
        let (address, _) = proxy(Some(refusal), None).await;
        let http = Http::open(&HttpSettings { proxy: by(address, None), ..peer.settings() }, "").unwrap();
        let why = not_taken(http.send(post(&url)).await.unwrap_err());
        assert!(why.contains(&format!("by the proxy {address}")) && why.contains(said), "{why}");
    }
}

#[tokio::test]
async fn proxies_are_given_plain_requests_as_they_are() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let peer = Scripted::playing([well(), Play::status(407), Play::status(504)]).await;
    let secret = ca.file("proxy-password");
    std::fs::write(&secret, "user:pass").unwrap();
    let proxy = by(peer.address(), Some(SecretSource::File(secret)));
    let http = Http::open(&HttpSettings { proxy, ..settings("http://ca.example.net/pki") }, "").unwrap();
    let send = async || http.send(post("http://ca.example.net/pki")).await.and_then(Answer::success);
    assert_eq!(send().await.unwrap().body, "well");
    let seen = peer.seen();
    assert_eq!((seen[0].target.as_str(), seen[0].header("host")), ("http://ca.example.net/pki", "ca.example.net"));
    assert_eq!(seen[0].header("proxy-authorization"), "Basic dXNlcjpwYXNz");
    assert!(not_taken(send().await.unwrap_err()).contains("the proxy does not accept our credentials"));
    assert!(matches!(send().await, Err(CallError::Unclear(_))));
}

#[tokio::test]
async fn socks_is_spoken_with_a_password() {
    let peer = Scripted::answering(always_well).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, destination) = (listener.local_addr().unwrap(), peer.address());
    let server = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        // RFC 1928 section 3, RFC 1929 section 2, RFC 1928 section 4.
        let mut hello = [0; 3];
        client.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello, [5, 1, 2]);
        client.write_all(&[5, 2]).await.unwrap();
        let mut login = [0; 1 + 1 + 4 + 1 + 4];
        client.read_exact(&mut login).await.unwrap();
        assert_eq!(&login, b"\x01\x04user\x04pass");
        client.write_all(&[1, 0]).await.unwrap();
        let mut wish = vec![0; 5 + 14 + 2];
        client.read_exact(&mut wish).await.unwrap();
        assert_eq!(&wish[..5 + 14], b"\x05\x01\x00\x03\x0eca.example.net");
        assert_eq!(wish[5 + 14..], [0, 80]);
        client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await.unwrap();
        let mut server = TcpStream::connect(destination).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("proxy");
    std::fs::write(&secret, "user:pass").unwrap();
    let proxy = Proxy::Url { address: format!("socks5://{address}"), credentials: Some(SecretSource::File(secret)) };
    let http = Http::open(&HttpSettings { proxy, ..settings("http://ca.example.net") }, "").unwrap();
    assert_eq!(http.get("http://ca.example.net/").await.unwrap(), "well");
    assert_eq!(peer.seen()[0].target, "/");
    server.abort();
}

#[test]
fn proxies_that_we_cannot_speak_with_are_said_at_once() {
    let proxy = Proxy::Url { address: "https://proxy.example.net".into(), credentials: None };
    let error = Http::open(&HttpSettings { proxy, ..settings("http://ca.example.net") }, "").err().unwrap();
    assert!(error.to_string().contains("https is not spoken with proxies"), "{error}");
}

#[test]
fn when_to_come_again() {
    let answer = |text: &str| Answer {
        status: http::StatusCode::ACCEPTED,
        headers: [(http::header::RETRY_AFTER, HeaderValue::from_str(text).unwrap())].into_iter().collect(),
        body: Bytes::new(),
    };
    let seconds = |text| answer(text).retry_after().map(|after| after.as_secs());
    assert_eq!(seconds("120"), Some(120));
    assert_eq!(seconds("18446744073709551615"), Some(7 * 24 * 3600));
    assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
    let soon = Timestamp::now() + SignedDuration::from_secs(90);
    let date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    assert!(matches!(seconds(&date), Some(85..=90)), "{date}");
    assert_eq!((seconds("soon"), seconds("-1")), (None, None));
}

#[test]
fn excerpts_are_short_and_harmless() {
    let of = |body: &[u8], kind: &'static str| {
        let headers = [(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        Answer { status: http::StatusCode::OK, headers, body: Bytes::copy_from_slice(body) }.excerpt()
    };
    assert_eq!(of(b"\n\x1b[2Jno such\tlabel\nhere", "text/plain"), "[2Jno such label here");
    assert_eq!(of(&[0xff, 0xfe], "text/plain"), "");
    assert_eq!(of("ä".repeat(5000).as_bytes(), "text/plain").chars().count(), 300);
    assert_eq!(of("aä".repeat(5000).as_bytes(), "text/plain").chars().count(), 300);
    let page = b"<html><head><title>Oh</title><SCRIPT>if (a<b) {}</SCRIPT></head><body>no <b>way</b></body>";
    assert_eq!(of(page, "text/html; charset=utf-8"), "Oh no way");
    assert_eq!(of(b"<", "text/html"), "");
    assert_eq!(of("<styleä".as_bytes(), "text/html"), "");
}
