//! Many replies at once, with the largest certificate.

use std::time::Instant;

use bytes::Bytes;
use ravelin::scep::MessageType;
use ravelin::scep::issuer_and::IssuerAndSerialNumber;
use serde_json::{Value, json};

use crate::measure::{Effort, counted, forget_peak, peak, process_time};
use crate::one::Figures;
use crate::wire_support::{Draft, Holder, sealed};
use crate::world::{World, succeeded};

pub async fn measure(name: &str, effort: Effort) -> Figures {
    let mut world = World::open(name).await;
    let (many, signed) = if effort.quick { (50, 2) } else { (1000, 64) };
    let first = world.requests(1).await.remove(0);
    assert!(succeeded(&world.send("bench", first.clone()).await), "the enrollment");
    let (certificate, _) = world.issued().await;
    let holder = Holder::named(world.device.signer.clone(), certificate.der());
    let ra = world.ra();

    let mut figures = Figures::new();
    figures.insert("certificate_octets".into(), json!(certificate.der().len()));
    // Nothing is signed but the message itself by the RA: each reply is made afresh around the certificate in the inventory.
    let wanted = IssuerAndSerialNumber::from(&certificate).to_der();
    let question = |number: usize| {
        let mut draft = Draft::around(&holder, MessageType::GetCert, sealed(&wanted, &ra));
        draft.transaction_id = Some(format!("get-{number}"));
        Bytes::from(draft.der())
    };
    figures.insert("get_cert".into(), flood(&world, (0..many).map(question).collect()).await);
    // The request that was answered already: the stored reply again.
    figures.insert("same_request".into(), flood(&world, vec![first; many]).await);
    // Fresh requests: the CA signs each certificate.
    let requests = world.requests(signed).await;
    figures.insert("enrollment".into(), flood(&world, requests).await);
    figures
}

/// Sends all at once, and keeps all replies until the last is there.
async fn flood(world: &World, messages: Vec<Bytes>) -> Value {
    let count = messages.len();
    let mut replies = Vec::new();
    forget_peak();
    let (cpu, begun) = (process_time(), Instant::now());
    let allocated = counted(usize::MAX, async {
        let mut tasks = tokio::task::JoinSet::new();
        for message in messages {
            tasks.spawn(world.send("bench", message));
        }
        replies = tasks.join_all().await;
    })
    .await;
    let (wall, cpu, peak) = (begun.elapsed(), process_time() - cpu, peak());
    let good = replies.iter().filter(|reply| succeeded(reply)).count();
    json!({
        "replies": count,
        "succeeded": good,
        "octets": replies.iter().map(Bytes::len).sum::<usize>(),
        "seconds": wall.as_secs_f64(),
        "cpu_us_each": cpu.as_secs_f64() * 1e6 / count as f64,
        "allocated_octets_each": allocated.octets as f64 / count as f64,
        "heap_most_octets": allocated.most,
        "peak_octets": peak,
    })
}
