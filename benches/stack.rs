//! The whole stack in one process: a PKCSReq goes into the SCEP service, a CertRep comes out, and everything between them is real: the
//! crypto pool, the enrollment core, the embedded CA, the SQLite inventory in a folder on disk. Only HTTP and the network are left
//! out. `cargo bench --bench stack`
//!
//! The device and the RA have RSA-2048 keys and the CA a P-256 key, as in the measurement of the floor. Beside Criterion's times it
//! prints how much CPU time of the whole process each enrollment took, which does not depend on who else uses the machine.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/wire_support/mod.rs"]
mod wire_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::{BodyExt, Full};
use ravelin::algorithm::KeyAlgorithm;
use ravelin::enroll::operate::NewChallenges;
use ravelin::scep::service::ScepService;
use ravelin::scep::{PkiMessage, PkiStatus};
use ravelin::telemetry::Metrics;
use support::{ROUTERS, World};
use tokio::runtime::Runtime;
use tower::ServiceExt;
use wire_support::{Draft, Holder};

/// How many enroll at a time; the last is the most.
const CLIENTS: [usize; 3] = [1, 8, 32];

struct Stack {
    world: World,
    service: ScepService,
    /// One key for each client, which it uses for all its devices, one after the other: making an RSA key takes as long as a hundred
    /// enrollments. Each message has a name, a challenge and a transaction of its own.
    keys: Vec<Holder>,
    made: usize,
}

impl Stack {
    fn new() -> Self {
        let world = World::new(&[("routers", &ROUTERS.replace("[enforce]", "[enforce]\nallow-shared-keys = true"))]);
        let service = ScepService::new(world.enroller.clone(), Arc::new(Metrics::default()));
        let keys = (0..CLIENTS[2]).map(|_| Holder::new("router", KeyAlgorithm::Rsa(2048))).collect();
        Self { world, service, keys, made: 0 }
    }

    /// So many messages for each client.
    async fn messages(&mut self, clients: usize, each: usize) -> Vec<Vec<Vec<u8>>> {
        let count = clients * each;
        let ra = Arc::clone(&self.world.snapshot.load().ra.decrypters[0].certificate);
        let new = NewChallenges { group: "routers".into(), count, ..NewChallenges::default() };
        let challenges = self.world.enroller.mint_challenges(new, "bench").await.expect("challenges");
        let mut shares = vec![Vec::with_capacity(each); clients];
        for (index, (challenge, _)) in challenges.into_iter().enumerate() {
            self.made += 1;
            let key = &self.keys[index % clients];
            let csr = key.csr(&format!("r{}", self.made), Some(&challenge));
            let mut draft = Draft::request(key, &csr, &ra);
            draft.transaction_id = Some(format!("{:08x}", self.made));
            shares[index % clients].push(draft.der());
        }
        shares
    }

    /// Enrolls all, each client one after the other; gives the wall time.
    async fn enroll(&self, shares: Vec<Vec<Vec<u8>>>) -> Duration {
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for share in shares {
            let service = self.service.clone();
            tasks.spawn(async move {
                for message in share {
                    succeed(service.clone(), message).await;
                }
            });
        }
        tasks.join_all().await;
        begun.elapsed()
    }
}

async fn succeed(service: ScepService, message: Vec<u8>) {
    let request = Request::post("/scep/routers?operation=PKIOperation").body(Full::new(Bytes::from(message))).expect("a request");
    let reply = service.oneshot(request).await.expect("never fails").into_body().collect().await.expect("a body").to_bytes();
    let status = PkiMessage::read(&reply).expect("a CertRep").attributes().pki_status.and_then(PkiStatus::from_number);
    assert_eq!(status, Some(PkiStatus::Success));
}

/// CPU time that this process has used, all threads together.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

fn stack(criterion: &mut Criterion) {
    let runtime: Runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let mut stack = Stack::new();
    let one = runtime.block_on(stack.messages(1, 1)).remove(0).remove(0);
    runtime.block_on(succeed(stack.service.clone(), one.clone()));
    // Without `--bench`, or with `--test`, Criterion calls everything once and measures nothing.
    let test = !std::env::args().any(|argument| argument == "--bench") || std::env::args().any(|argument| argument == "--test");
    let total = if test { CLIENTS[2] } else { 12 * CLIENTS[2] };
    for clients in CLIENTS {
        let messages = runtime.block_on(stack.messages(clients, total / clients));
        let before = cpu_time();
        let wall = runtime.block_on(stack.enroll(messages));
        let cpu = (cpu_time() - before).as_secs_f64() * 1e6 / total as f64;
        println!("{clients:2} clients: {cpu:.0} us of CPU time each, {:.0} enrollments/s", total as f64 / wall.as_secs_f64());
    }

    let mut group = criterion.benchmark_group("stack");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for clients in CLIENTS {
        group.bench_function(format!("enrollment, {clients} clients"), |bencher| {
            bencher.iter_custom(|count| {
                let each = (count as usize).div_ceil(clients);
                let messages = runtime.block_on(stack.messages(clients, each));
                let wall = runtime.block_on(stack.enroll(messages));
                wall.mul_f64(count as f64 / (each * clients) as f64)
            });
        });
    }
    group.bench_function("the same message again", |bencher| {
        bencher.iter(|| runtime.block_on(succeed(stack.service.clone(), one.clone())));
    });
    group.finish();
}

criterion_group!(benches, stack);
criterion_main!(benches);
