//! A CA of our own behind EST (RFC 7030), over HTTP on loopback: it counts what it signs, and fails as it is told. And the real program in
//! front of it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use ravelin::algorithm::KeyAlgorithm;
use ravelin::crypto::{Signer, provider};
use ravelin::enroll::challenge::{self, ChallengeOrder};
use ravelin::inventory::Inventory;
use ravelin::scep::certs_only::{SetOrder, write};
use ravelin::scep::client::{Client, Options};
use ravelin::x509::builder::{self, CertificateTemplate};
use ravelin::x509::extension::{Extension, extended_key_usage, oid};
use ravelin::x509::{Certificate, DistinguishedName, KeyUsage, VerifiedCsr};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::faults_support::{Folder, Process};

/// What the CA does with a request to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It signs, and answers.
    Signs,
    /// It is as busy as it may be, and takes nothing.
    Busy,
    /// It reads the request and ends the connection; nothing is signed.
    CutsBefore,
    /// It signs, and ends the connection.
    CutsAfter,
    /// It signs, and never answers.
    Stalls,
    /// It says no.
    Refuses,
    /// It signs something for server authentication, which nobody asked for.
    Misbehaves,
    /// It signs later: the answer is 202 until it is told otherwise.
    Waits,
    /// It answers after a second.
    Slow,
}

/// One certificate that was signed.
#[derive(Clone, Debug)]
pub struct Signing {
    pub at: Instant,
    pub name: String,
    pub certificate: Arc<Certificate>,
}

struct State {
    key: Arc<dyn Signer>,
    certificate: Certificate,
    /// Whether the same request gets the same certificate again.
    repeats: bool,
    mode: Mutex<Mode>,
    signed: Mutex<Vec<Signing>>,
    /// When each request to sign came, whatever became of it.
    asked: Mutex<Vec<Instant>>,
    given: Mutex<HashMap<Vec<u8>, Arc<Certificate>>>,
}

/// The CA.
pub struct FakeCa {
    address: SocketAddr,
    state: Arc<State>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl FakeCa {
    /// Starts it. With `repeats` it gives the same certificate for the same request.
    pub async fn start(repeats: bool) -> Self {
        let key = provider().keys.generate(KeyAlgorithm::EcdsaP256).expect("a key");
        let subject =
            DistinguishedName::parse(&format!("CN=Fake CA {}", hex::encode(provider().random::<4>())), true).expect("a name");
        let now = Timestamp::now();
        let template = CertificateTemplate {
            serial: builder::random_serial(),
            issuer: subject.clone(),
            subject,
            not_before: now - SignedDuration::from_hours(1),
            not_after: now + SignedDuration::from_hours(24 * 3650),
            spki: key.spki().to_vec(),
            extensions: builder::ca_extensions(key.spki(), None, None).expect("encodes"),
        };
        let der = template.sign(&*key, key.algorithms()[0]).expect("signed");
        let state = State {
            key,
            certificate: Certificate::from_der(&der).expect("a certificate"),
            repeats,
            mode: Mutex::new(Mode::Signs),
            signed: Mutex::default(),
            asked: Mutex::default(),
            given: Mutex::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let ca = Self { address, state: Arc::new(state), serving: Mutex::default() };
        ca.serve(listener);
        ca
    }

    fn serve(&self, listener: TcpListener) {
        let state = Arc::clone(&self.state);
        let serving = tokio::spawn(async move {
            // They end with the listener: a CA that is down is down.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| answer(Arc::clone(&state), request));
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        *self.serving.lock().expect("no panic") = Some(serving);
    }

    pub fn set(&self, mode: Mode) {
        *self.state.mode.lock().expect("no panic") = mode;
    }

    /// Nobody listens any more, and all connections end.
    pub async fn down(&self) {
        let serving = self.serving.lock().expect("no panic").take();
        if let Some(serving) = serving {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// It listens again.
    pub fn up(&self) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("set");
        socket.bind(self.address).expect("the port is free still");
        self.serve(socket.listen(1024).expect("listens"));
    }

    pub fn signed(&self) -> Vec<Signing> {
        self.state.signed.lock().expect("no panic").clone()
    }

    /// How often it was asked to sign.
    pub fn asked(&self) -> Vec<Instant> {
        self.state.asked.lock().expect("no panic").clone()
    }

    pub fn certificate(&self) -> &Certificate {
        &self.state.certificate
    }

    /// The tables of `ravelin.toml` for it, as the upstream `name`; its certificate is written beside that.
    pub fn configure(&self, folder: &Folder, name: &str, more: &str) {
        let file = format!("{name}-ca.pem");
        std::fs::write(folder.file(&file), self.state.certificate.to_pem()).expect("written");
        let repeats = if self.state.repeats { "same-certificate" } else { "new-certificate" };
        let table = format!(
            "\n[[upstream]]\nname = \"{name}\"\nkind = \"est\"\nurl = \"http://{}\"\nproxy = \"none\"\nrepeats = \"{repeats}\"\n\
             timeout = \"2s\"\ncooldown = \"500ms\"\n{more}\n[[upstream.ca]]\nname = \"main\"\nchain = \"{file}\"\n",
            self.address
        );
        folder.edit("ravelin.toml", |text| text + &table);
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, &'static str> {
    let plain = |status: u16| Response::builder().status(status).body(Full::default()).expect("a response");
    let certificates = |der: &[u8]| {
        let body = STANDARD.encode(write(&[der], &[], SetOrder::AsGiven));
        let kind = "application/pkcs7-mime; smime-type=certs-only";
        Response::builder().header("content-type", kind).body(Full::from(body)).expect("a response")
    };
    if request.uri().path().ends_with("/cacerts") {
        return Ok(certificates(state.certificate.der()));
    }
    if !request.uri().path().ends_with("/simpleenroll") {
        return Ok(plain(404));
    }
    let body = request.into_body().collect().await.map_err(|_| "cut")?.to_bytes();
    // In lines or not (RFC 8951 section 3.1).
    let text: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    let Some(csr) = STANDARD.decode(text).ok().filter(|csr| VerifiedCsr::from_der(csr).is_ok()) else {
        return Ok(plain(400));
    };
    state.asked.lock().expect("no panic").push(Instant::now());
    let mode = *state.mode.lock().expect("no panic");
    match mode {
        Mode::Busy => {
            return Ok(Response::builder().status(503).header("retry-after", "1").body(Full::default()).expect("a response"));
        }
        Mode::Refuses => return Ok(plain(400)),
        Mode::CutsBefore => return Err("cut"),
        Mode::Waits => {
            return Ok(Response::builder().status(202).header("retry-after", "1").body(Full::default()).expect("a response"));
        }
        Mode::Slow => tokio::time::sleep(Duration::from_secs(1)).await,
        _ => {}
    }
    let certificate = sign(&state, &csr, mode == Mode::Misbehaves);
    match mode {
        Mode::CutsAfter => Err("cut"),
        Mode::Stalls => std::future::pending::<Result<_, _>>().await,
        _ => Ok(certificates(certificate.der())),
    }
}

fn sign(state: &State, csr: &[u8], wrong: bool) -> Arc<Certificate> {
    let mut given = state.given.lock().expect("no panic");
    if let Some(known) = given.get(csr).filter(|_| state.repeats) {
        return Arc::clone(known);
    }
    let request = VerifiedCsr::from_der(csr).expect("a request");
    let usage = match wrong {
        true => const_oid::db::rfc5280::ID_KP_SERVER_AUTH,
        false => const_oid::db::rfc5280::ID_KP_CLIENT_AUTH,
    };
    let now = Timestamp::now();
    let template = CertificateTemplate {
        serial: builder::random_serial(),
        issuer: state.certificate.subject().clone(),
        subject: request.subject().clone(),
        not_before: now - SignedDuration::from_mins(1),
        not_after: now + SignedDuration::from_hours(24),
        spki: request.spki().to_vec(),
        extensions: vec![
            builder::key_usage(KeyUsage::DIGITAL_SIGNATURE),
            Extension { oid: oid::EXTENDED_KEY_USAGE, critical: false, value: extended_key_usage(&[usage]).expect("encodes") },
            builder::subject_key_identifier(request.spki()).expect("encodes"),
        ],
    };
    let der = template.sign(&*state.key, state.key.algorithms()[0]).expect("signed");
    let certificate = Arc::new(Certificate::from_der(&der).expect("a certificate"));
    given.insert(csr.to_vec(), Arc::clone(&certificate));
    let name = request.subject().common_name().unwrap_or_default().to_owned();
    state.signed.lock().expect("no panic").push(Signing { at: Instant::now(), name, certificate: Arc::clone(&certificate) });
    certificate
}

/// The policy of a group whose devices get certificates under a profile.
pub fn policy(profile: &str) -> String {
    format!(
        "profile = \"{profile}\"\n[authenticate]\nchallenge = {{ kind = \"one-time\", ttl = \"1h\" }}\n[limits]\nreplay = \"1h\"\n"
    )
}

/// A profile with these issuers, as TOML.
pub fn profile(issuers: &str) -> String {
    format!("accepts = [\"rsa-2048..4096\", \"ecdsa-p256\"]\nsignature = \"ecdsa-sha256\"\nvalidity = \"90d\"\n{issuers}\n")
}

/// A data folder with the group `est`, whose CA is the fake one at upstream `est`. `more` are further keys of the upstream.
pub fn folder(ca: &FakeCa, more: &str) -> Folder {
    let folder = Folder::new();
    ca.configure(&folder, "est", more);
    group(&folder, "est", &profile("issuer = { upstream = \"est\", ca = \"main\" }"));
    folder
}

/// A group with a profile of its own, both of this name.
pub fn group(folder: &Folder, name: &str, profile: &str) {
    std::fs::write(folder.file(&format!("algorithms/{name}.toml")), profile).expect("written");
    std::fs::write(folder.file(&format!("policies/{name}.toml")), policy(name)).expect("written");
}

/// Fresh one-time challenges of a group.
pub async fn challenges(folder: &Folder, group: &str, count: usize) -> Vec<String> {
    let order = ChallengeOrder { group: group.into(), ttl: Duration::from_secs(3600), ..ChallengeOrder::default() };
    let (texts, rows) = (0..count).map(|_| challenge::mint(&order, Timestamp::now())).unzip();
    folder.inventory().add_challenges(rows).await.expect("written");
    texts
}

/// A client of a group.
pub fn client(process: &Process, group: &str) -> Client {
    Client::new(&format!("http://{}/scep/{group}", process.devices), Options::default()).expect("an address")
}

/// Starts the server, with this much patience, and more in its environment.
pub fn serving(folder: &Folder, patience: &str, environment: &[(&str, &str)]) -> Process {
    let mut all = vec![("RAVELIN__SERVER__PATIENCE", patience)];
    all.extend(environment);
    tokio::task::block_in_place(|| Process::start_with(folder, &all))
}
