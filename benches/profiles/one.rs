//! What one profile costs: its primitives, its encodings, and whole enrollments.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ravelin::algorithm::{ContentCipher, Form, SignatureAlgorithm};
use ravelin::crypto::floor::Enrollment;
use ravelin::crypto::provider;
use ravelin::x509::Certificate;
use ravelin::x509::builder::CertificateTemplate;
use serde_json::{Map, Value, json};

use crate::measure::{Effort, counted, forget_peak, peak, process_time, thread_time};
use crate::world::{World, key_for, succeeded};

/// How many devices enroll at a time.
const CLIENTS: usize = 8;

/// Figures by name; the names are explained in `docs/src/performance.md`.
pub type Figures = Map<String, Value>;

pub async fn measure(name: &str, effort: Effort) -> Figures {
    let mut world = World::open(name).await;
    let mut figures = Figures::new();
    let mut put = |name: &str, value: Value| drop(figures.insert(name.to_owned(), value));

    let first = world.requests(1).await.remove(0);
    let reply = world.send("bench", first).await;
    assert!(succeeded(&reply), "{name}: the first enrollment");
    let (leaf, sibling) = world.issued().await;
    let request = world.requests(1).await.remove(0);
    let with_chain = world.send("chain", request.clone()).await;
    assert!(succeeded(&with_chain), "{name}: the reply with the whole chain");
    let chain = world.chain();
    let above: Vec<_> = chain.iter().map(|ca| ca.der()).collect();
    assert_eq!(above.len(), 2, "{name}: a CA and a root");
    put("signature_octets", json!(leaf.signature().len()));
    put("certificate_octets", json!(leaf.der().len()));
    put("sibling_octets", json!(sibling.as_ref().map_or(0, |sibling| sibling.der().len())));
    put("chain_octets", json!(leaf.der().len() + above.iter().map(|der| der.len()).sum::<usize>()));
    put("request_octets", json!(request.len()));
    put("reply_octets", json!(reply.len()));
    put("reply_with_chain_octets", json!(with_chain.len()));

    // The primitives.
    let profile = world.profile.clone();
    let mut issuing = 0.0;
    let (mut keygen, mut sign, mut verify) = (0.0, 0.0, 0.0);
    for signature in std::iter::once(profile.signature).chain(profile.alternative) {
        let cost = Signature::measure(signature, leaf.tbs(), effort);
        keygen += cost.keygen;
        sign += cost.sign;
        verify += cost.verify;
        issuing += cost.sign + cost.verify;
    }
    put("keygen_us", json!(keygen));
    put("sign_us", json!(sign));
    put("verify_us", json!(verify));
    let cryptography = issuing + around(reply.len(), leaf.der().len(), effort);
    put("cryptography_us", json!(cryptography));

    // The encodings.
    let template = CertificateTemplate {
        serial: leaf.serial().to_vec(),
        issuer: leaf.issuer().clone(),
        subject: leaf.subject().clone(),
        not_before: leaf.not_before(),
        not_after: leaf.not_after(),
        spki: leaf.spki().to_vec(),
        extensions: leaf.extensions().to_vec(),
    };
    let identifier = profile.signature.identifier();
    let encode = || {
        CertificateTemplate::assemble(&template.tbs(&identifier).expect("it was encoded before"), &identifier, leaf.signature())
    };
    assert_eq!(encode(), leaf.der(), "{name}: what is timed is what was issued");
    put("encode_us", json!(effort.cost(|| drop(black_box(encode())))));
    let parse = |der: &[u8]| Certificate::from_der(black_box(der)).expect("a certificate");
    put("parse_us", json!(effort.cost(|| drop(parse(leaf.der())))));
    put(
        "chain_us",
        json!(effort.cost(|| {
            let (leaf, ca, root) = (parse(leaf.der()), parse(above[0]), parse(above[1]));
            for (below, issuer) in [(&leaf, &ca), (&ca, &root)] {
                below.verify_signed_by(issuer.spki()).expect("it holds");
                if profile.form == Form::Catalyst {
                    below.verify_alternative(issuer.alternative_spki().expect("a key")).expect("it holds");
                }
            }
        })),
    );

    // Whole enrollments, as many as go into some seconds; first a few for warming up.
    let count = if effort.quick { 2 } else { ((5e6 / cryptography) as usize).clamp(16, 320) };
    // Blocks with room for the largest signature are counted where it is a large one.
    let signatures = std::iter::once(profile.signature).chain(profile.alternative);
    let large = signatures.map(SignatureAlgorithm::typical_len).max().filter(|length| *length > 2000);
    let warm = world.requests(count.div_ceil(8).min(16)).await;
    enroll(&world, warm, reply.len()).await;
    let (few, many) = (world.requests(count.min(8)).await, world.requests(count).await);
    let counted_count = few.len() as f64;
    let allocated = counted(large.unwrap_or(usize::MAX), async {
        for message in few {
            world.send("bench", message).await;
        }
    })
    .await;
    put("allocations", json!(allocated.blocks as f64 / counted_count));
    put("allocated_octets", json!(allocated.octets as f64 / counted_count));
    put("large_blocks", large.map_or(Value::Null, |_| json!(allocated.large as f64 / counted_count)));
    forget_peak();
    let before = process_time();
    let wall = enroll(&world, many, reply.len()).await;
    let cpu = (process_time() - before).as_secs_f64() * 1e6 / count as f64;
    put("enrollment_us", json!(cpu));
    put("enrollments", json!(count));
    put("enrollments_per_s", json!(count as f64 / wall.as_secs_f64()));
    put("peak_octets", json!(peak()));
    figures
}

/// Enrolls all, [`CLIENTS`] at a time, and gives the wall time. Replies of other sizes are no certificates.
async fn enroll(world: &World, messages: Vec<bytes::Bytes>, size: usize) -> Duration {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut shares: [Vec<_>; CLIENTS] = std::array::from_fn(|_| Vec::new());
    for (at, message) in messages.into_iter().enumerate() {
        shares[at % CLIENTS].push(world.send("bench", message));
    }
    for share in shares {
        tasks.spawn(async move {
            for reply in share {
                let reply = reply.await.len();
                assert!(reply.abs_diff(size) < 100, "a reply of {reply} octets, not of about {size}");
            }
        });
    }
    tasks.join_all().await;
    begun.elapsed()
}

/// Microseconds of CPU time.
struct Signature {
    keygen: f64,
    sign: f64,
    verify: f64,
}

impl Signature {
    fn measure(algorithm: SignatureAlgorithm, message: &[u8], effort: Effort) -> Self {
        let provider = provider();
        let make = || provider.keys.generate(key_for(algorithm)).expect("a key");
        let keygen = effort.cost(|| drop(make()));
        let key = make();
        let signature = key.sign(algorithm, message).expect("signed");
        Signature {
            keygen,
            sign: effort.cost(|| drop(key.sign(algorithm, black_box(message)).expect("signed"))),
            verify: effort.cost(|| {
                provider.verifier.verify(algorithm, key.spki(), black_box(message), &signature).expect("it holds");
            }),
        }
    }
}

/// The cryptography of the enrollment that is not the CA's: the RSA-2048 device and the RSA-2048 RA, as in the floor but for the parts
/// that depend on the size of the certificate, which are measured with that size, and for the check of the RA's own signature, which
/// is not made.
fn around(reply: usize, certificate: usize, effort: Effort) -> f64 {
    const SIZED: [&str; 4] = ["sha256-certificate", "aes128-encrypt", "sha256-reply", "rsa2048-verify-reply"];
    let rounds = if effort.quick { 1 } else { 100 };
    let floor = Enrollment::prepare().and_then(|all| all.measure(rounds, thread_time)).expect("the provider has all primitives");
    let fixed = floor.parts.0.iter().filter(|(name, _)| !name.starts_with("ecdsa") && !SIZED.contains(name));
    let (reply, certificate) = (vec![0x30; reply], vec![0x30; certificate]);
    let sized = effort.cost(|| {
        let provider = provider();
        black_box(provider.digester.sha256(&certificate));
        black_box(provider.digester.sha256(&reply));
        let (key, iv) = (provider.random::<16>(), provider.random::<16>());
        black_box(provider.ciphers.encrypt(ContentCipher::Aes128Cbc, &key, &iv, &certificate).expect("encrypted"));
    });
    fixed.map(|(_, us)| us).sum::<f64>() + sized
}
