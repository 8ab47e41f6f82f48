//! What an enrollment costs the server by each of the ways that docs/src/pq-scep.md describes: the whole service in this process, from
//! the HTTP request to the reply, with its inventory on disk. `cargo bench --bench pq_scep [-- ENROLLMENTS ROUNDS]`
//!
//! The messages are made beforehand and the replies looked at afterwards, so that the CPU time of the process in between is the
//! server's. The ways take turns, round by round, for the machine is not the same from one minute to the next; the table has the
//! medians. Not with Criterion, which measures one thing after the other, and by the clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request as HttpRequest, Response};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use ravelin::algorithm::{Digest, KeyAlgorithm, MlKem};
use ravelin::cli::setup;
use ravelin::config::{Overrides, template};
use ravelin::crypto::CryptoPool;
use ravelin::enroll::Peer;
use ravelin::enroll::operate::NewChallenges;
use ravelin::ra::{RaKeys, RaSubjects};
use ravelin::scep::client::{Authority, Capabilities, Client, CsrSource, DeviceKey, Options, ReplyKey, Request};
use ravelin::scep::{PkiMessage, ScepService};
use ravelin::server::{Folder, Instance, instance};
use ravelin::upstream::local::LocalCa;
use ravelin::x509::DistinguishedName;
use tower::ServiceExt;

/// One way to enroll.
struct Way {
    name: &'static str,
    endpoint: &'static str,
    /// The keys that are to be certified, one for each enrollment of a round: a key that has many certificates takes longer to look up.
    keys: Vec<DeviceKey>,
    /// The key that signs, if it is another.
    transport: Option<DeviceKey>,
    /// The key that the reply is encrypted to, if the signer's is not.
    reply: Option<ReplyKey>,
}

fn ways(enrollments: usize) -> Vec<Way> {
    let key = |algorithm| DeviceKey::generate(algorithm).expect("a key");
    let kem = || Some(ReplyKey::generate(KeyAlgorithm::MlKem(MlKem::MlKem768)).expect("a key"));
    let (rsa, ml_dsa_44, ml_dsa_65) = (KeyAlgorithm::Rsa(2048), KeyAlgorithm::MlDsa44, KeyAlgorithm::MlDsa65);
    let transport = key(rsa);
    let way = |name, endpoint, algorithm, transport: Option<&DeviceKey>, reply| Way {
        name,
        endpoint,
        keys: (0..enrollments).map(|_| key(algorithm)).collect(),
        transport: transport.cloned(),
        reply,
    };
    vec![
        way("RSA-2048 device, RSA-2048 RA", "ec", rsa, None, None),
        way("ML-DSA-65 device behind an RSA-2048 transport key, RSA-2048 RA", "ec", ml_dsa_65, Some(&transport), None),
        way("ML-DSA-65 device, RSA-2048 RA, reply by password", "ec", ml_dsa_65, None, None),
        way("ML-DSA-44 device, ML-KEM-768 RA, reply to ML-KEM-768", "ec-pq", ml_dsa_44, None, kem()),
        way("ML-DSA-65 device, ML-KEM-768 RA, reply to ML-KEM-768", "ec-pq", ml_dsa_65, None, kem()),
        way("ML-DSA-65 device, ML-KEM-768 RA, reply by password", "ec-pq", ml_dsa_65, None, None),
        way("the same to ML-KEM-768, certificate signed by ML-DSA-65", "mldsa-pq", ml_dsa_65, None, kem()),
    ]
}

fn profile(ca: &str, signature: &str) -> String {
    format!(
        "accepts = [\"rsa-2048..4096\", \"ml-dsa-44\", \"ml-dsa-65\"]\nsignature = \"{signature}\"\nvalidity = \"1y\"\n\
         issuer = {{ upstream = \"local\", ca = \"{ca}\" }}\n"
    )
}

fn group(profile: &str) -> String {
    format!(
        "profile = \"{profile}\"\n[device]\nid = [\"subject.commonName\"]\n[authenticate]\n\
         challenge = {{ kind = \"one-time\", ttl = \"1d\" }}\nsigner-key = \"may-differ\"\n[enforce]\nallow-shared-keys = true\n"
    )
}

/// A data folder with a classical RA and one of ML-DSA-65 and ML-KEM-768 keys.
fn set_up(dir: &Path) -> ravelin::config::Config {
    let options = template::Options { policies: Vec::new(), ..template::Options::default() };
    template::write(dir, &options).expect("written");
    for (folder, name, text) in [
        ("algorithms", "bench-ec", profile("ecdsa-p256", "ecdsa-sha256")),
        ("algorithms", "bench-mldsa", profile("ml-dsa-65", "ml-dsa-65")),
        ("policies", "ec", group("bench-ec")),
        ("policies", "mldsa", group("bench-mldsa")),
    ] {
        std::fs::create_dir_all(dir.join(folder)).expect("a folder");
        std::fs::write(dir.join(folder).join(format!("{name}.toml")), text).expect("written");
    }
    let file = dir.join("ravelin.toml");
    let mut text = std::fs::read_to_string(&file).expect("there");
    for name in ["ec", "mldsa"] {
        text += &format!("\n[[endpoint]]\nname = \"{name}-pq\"\ngroups = [\"{name}\"]\nscep = {{ ra = \"pq\" }}\n");
    }
    text += "\n[[ra]]\nname = \"pq\"\n";
    std::fs::write(&file, text).expect("written");

    let config = instance::load(&file, &Overrides::none()).unwrap_or_else(|error| panic!("{error}"));
    setup::make(&config).unwrap_or_else(|failed| panic!("{}", failed.message()));
    let folder = Folder::of(&config);
    let passphrase = folder.passphrase().expect("there");
    let (_, store) = folder.other_ras(&passphrase).remove(0);
    let local = LocalCa::load("local", &dir.join("ca"), &passphrase, CryptoPool::start(1, 8)).expect("loads");
    let now = Timestamp::now();
    store.create_keys(RaKeys::Encapsulation { signer: KeyAlgorithm::MlDsa65, recipient: MlKem::MlKem768 }).expect("made");
    let subjects = RaSubjects::named("PQ").expect("names");
    store.self_made(&local, "ml-dsa-65", &subjects, now, Duration::from_secs(365 * 86_400), now).expect("certified");
    config
}

async fn call(service: &ScepService, request: HttpRequest<Full<Bytes>>) -> Bytes {
    let mut request = request;
    request.extensions_mut().insert(Peer { address: "192.0.2.7:50000".parse().expect("an address"), tls: false });
    let response: Response<Full<Bytes>> = service.clone().oneshot(request).await.expect("infallible");
    response.into_body().collect().await.expect("infallible").to_bytes()
}

/// CPU time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (enrollments, rounds) = (numbers.next().unwrap_or(100), numbers.next().unwrap_or(7));
    let dir = tempfile::tempdir().expect("a folder");
    let instance = Instance::open(set_up(dir.path())).await.unwrap_or_else(|error| panic!("{error}"));
    let enroller = instance.enroller().clone();
    let service = ScepService::new(enroller.clone(), Arc::clone(instance.metrics()));
    let ways = ways(enrollments);
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    let mut sizes = vec![(0, 0); ways.len()];

    for round in 0..rounds {
        for (at, way) in ways.iter().enumerate() {
            let target = format!("/scep/{}", way.endpoint);
            let bag = call(&service, get(&format!("{target}?operation=GetCACert"))).await;
            let authority = Arc::new(Authority::read(&bag, &[], Timestamp::now()).expect("certificates"));
            let caps = call(&service, get(&format!("{target}?operation=GetCACaps"))).await;
            let caps = Capabilities::parse(&String::from_utf8_lossy(&caps));
            let client = Client::new("http://ra.example.net/scep", Options::default()).expect("a client");
            let order = NewChallenges {
                group: way.endpoint.trim_end_matches("-pq").to_owned(),
                count: enrollments,
                ttl_seconds: None,
                bind: BTreeMap::new(),
                note: None,
            };
            let challenges = enroller.mint_challenges(order, "bench").await.expect("made");
            let mut messages = Vec::with_capacity(enrollments);
            for (number, (challenge, _)) in challenges.into_iter().enumerate() {
                let request = Request {
                    key: way.keys[number].clone(),
                    csr: CsrSource::Template {
                        subject: DistinguishedName::parse(&format!("CN=d-{at}-{round}-{number}"), true).expect("a name"),
                        subject_alt_names: Vec::new(),
                        extended_key_usages: Vec::new(),
                        key_usage: None,
                    },
                    challenge: Some(challenge.into()),
                    renewal: None,
                    transport_key: way.transport.clone(),
                    reply_key: way.reply.clone(),
                    message_type: None,
                    transaction_id: Some(format!("{at}-{round}-{number}")),
                };
                let made = client.prepare_with(request, Arc::clone(&authority), &caps).await.expect("a message");
                messages.push(Bytes::copy_from_slice(made.message()));
            }

            let begun = cpu();
            let mut replies = Vec::with_capacity(enrollments);
            for message in &messages {
                let request = HttpRequest::post(format!("{target}?operation=PKIOperation"));
                replies.push(call(&service, request.body(Full::new(message.clone())).expect("a request")).await);
            }
            times[at].push((cpu() - begun).as_secs_f64() * 1e6 / enrollments as f64);

            for reply in &replies {
                let message = PkiMessage::read(reply).unwrap_or_else(|error| panic!("{}: {error}", way.name));
                assert_eq!(message.attributes().pki_status, Some(0), "{}: {:?}", way.name, message.attributes().fail_info_text);
                let wanted = if way.endpoint.ends_with("-pq") { Digest::Sha512 } else { message.digest().expect("one") };
                assert_eq!(message.digest(), Some(wanted));
            }
            sizes[at] = (messages[0].len(), replies[0].len());
        }
    }

    println!("{enrollments} enrollments a round, {rounds} rounds that took turns; medians\n");
    println!("| way | server CPU µs | of the first | request octets | reply octets |");
    println!("|---|--:|--:|--:|--:|");
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    for ((way, time), (request, reply)) in ways.iter().zip(&medians).zip(&sizes) {
        println!("| {} | {time:.0} | {:.2} | {request} | {reply} |", way.name, time / medians[0]);
    }
    for times in &times {
        let (least, most) = (times[0], times[times.len() - 1]);
        eprintln!("{least:.0} to {most:.0}");
    }
}

fn get(target: &str) -> HttpRequest<Full<Bytes>> {
    HttpRequest::get(target).body(Full::default()).expect("a request")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
