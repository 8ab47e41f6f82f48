//! The primitives of an enrollment one by one, and their sum (`floor`).

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ravelin::algorithm::{ContentCipher, Digest, Family, KeyAlgorithm, KeyTransport, SlhDsa};
use ravelin::crypto::backend::{Backend, Choice};
use ravelin::crypto::floor::{Enrollment, PARTS};
use ravelin::crypto::{keystore, provider};

/// What one SCEP enrollment needs, in parts and whole.
fn floor(c: &mut Criterion) {
    let enrollment = Enrollment::prepare().expect("the provider has all primitives");
    let mut group = c.benchmark_group("floor");
    group.bench_function("enrollment", |b| b.iter(|| enrollment.run().unwrap()));
    for (name, part) in PARTS {
        group.bench_function(*name, |b| b.iter(|| part(black_box(&enrollment)).unwrap()));
    }
}

/// Signing and checking with every kind of key.
fn signatures(c: &mut Criterion) {
    let mut group = c.benchmark_group("signature");
    for kind in [
        KeyAlgorithm::Rsa(2048),
        KeyAlgorithm::Rsa(3072),
        KeyAlgorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384,
        KeyAlgorithm::Ed25519,
        KeyAlgorithm::MlDsa44,
        KeyAlgorithm::MlDsa65,
        KeyAlgorithm::MlDsa87,
    ] {
        let key = provider().keys.generate(kind).unwrap();
        let algorithm = key.algorithms()[0];
        let message = [0x30; 1500];
        let signature = key.sign(algorithm, &message).unwrap();
        group.bench_function(BenchmarkId::new("sign", kind), |b| b.iter(|| key.sign(algorithm, black_box(&message)).unwrap()));
        group.bench_function(BenchmarkId::new("verify", kind), |b| {
            b.iter(|| provider().verifier.verify(algorithm, key.spki(), black_box(&message), &signature).unwrap());
        });
    }
}

/// The same key and message by each backend of this build: loading the key, signing, verifying. Liboqs comes with
/// `--features oqs`.
fn backends(c: &mut Criterion) {
    let ml_dsa = [KeyAlgorithm::MlDsa44, KeyAlgorithm::MlDsa65, KeyAlgorithm::MlDsa87].to_vec();
    let slh_dsa = [SlhDsa::Sha2_128f, SlhDsa::Sha2_128s, SlhDsa::Shake128f, SlhDsa::Sha2_192f, SlhDsa::Sha2_256f];
    let slh_dsa = slh_dsa.map(KeyAlgorithm::SlhDsa).to_vec();
    for (family, kinds) in [(Family::MlDsa, ml_dsa), (Family::SlhDsa, slh_dsa)] {
        for kind in kinds {
            let key = provider().keys.generate(kind).unwrap().export_pkcs8().unwrap();
            let mut group = c.benchmark_group(format!("backend/{kind}"));
            if family == Family::SlhDsa {
                group.sample_size(10);
            }
            for &backend in Backend::ALL {
                let Ok(choice) = Choice::default().with(family, backend) else { continue };
                let provider = choice.provider();
                let signer = provider.keys.signer(&key).unwrap();
                let algorithm = signer.algorithms()[0];
                let message = [0x30; 1500];
                let signature = signer.sign(algorithm, &message).unwrap();
                group.bench_function(BenchmarkId::new("load", backend), |b| {
                    b.iter(|| provider.keys.signer(black_box(&key)).unwrap());
                });
                group.bench_function(BenchmarkId::new("sign", backend), |b| {
                    b.iter(|| signer.sign(algorithm, black_box(&message)).unwrap());
                });
                group.bench_function(BenchmarkId::new("verify", backend), |b| {
                    b.iter(|| provider.verifier.verify(algorithm, signer.spki(), black_box(&message), &signature).unwrap());
                });
            }
        }
    }
}

/// Key transport by padding, good and bad: their times should not differ.
fn key_transport(c: &mut Criterion) {
    let key = provider().keys.generate(KeyAlgorithm::Rsa(2048)).unwrap();
    let opener = provider().keys.decrypter(&key.export_pkcs8().unwrap()).unwrap();
    let mut group = c.benchmark_group("key-transport");
    for (name, transport) in
        [("pkcs1", KeyTransport::Pkcs1v15), ("oaep-sha256", KeyTransport::Oaep { digest: Digest::Sha256, mgf1: Digest::Sha256 })]
    {
        let good = provider().transport.wrap_key(transport, key.spki(), &[7; 16]).unwrap();
        let mut bad = good.clone();
        bad[200] ^= 1;
        group.bench_function(BenchmarkId::new("wrap", name), |b| {
            b.iter(|| provider().transport.wrap_key(transport, key.spki(), black_box(&[7; 16])).unwrap());
        });
        for (kind, wrapped) in [("unwrap", &good), ("unwrap-bad", &bad)] {
            group.bench_function(BenchmarkId::new(kind, name), |b| {
                b.iter(|| opener.unwrap_key(transport, black_box(wrapped), 16).unwrap());
            });
        }
    }
}

/// Content encryption and digests, per octet.
fn bulk(c: &mut Criterion) {
    let mut group = c.benchmark_group("bulk");
    let plain = [0x30; 1200];
    group.throughput(Throughput::Bytes(plain.len() as u64));
    // Three different keys: triple DES takes no others.
    let key: Vec<u8> = (1..=32).collect();
    for &cipher in ContentCipher::ALL {
        let (key, iv) = (&key[..cipher.key_len()], &[9; 16][..cipher.iv_len()]);
        let sealed = provider().ciphers.encrypt(cipher, key, iv, &plain).unwrap();
        group.bench_function(BenchmarkId::new("encrypt", cipher), |b| {
            b.iter(|| provider().ciphers.encrypt(cipher, key, iv, black_box(&plain)).unwrap());
        });
        group.bench_function(BenchmarkId::new("decrypt", cipher), |b| {
            b.iter(|| provider().ciphers.decrypt(cipher, key, iv, black_box(&sealed)).unwrap());
        });
    }
    for &digest in Digest::ALL {
        group.bench_function(BenchmarkId::new("digest", digest), |b| {
            b.iter(|| provider().digester.digest(digest, black_box(&plain)));
        });
    }
}

/// Opening an encrypted key file: a start of the server does it three times.
fn key_files(c: &mut Criterion) {
    let path = std::env::temp_dir().join(format!("ravelin-bench-{}.key", std::process::id()));
    let key = provider().keys.generate(KeyAlgorithm::Rsa(2048)).unwrap().export_pkcs8().unwrap();
    keystore::write_key(&path, &key, "correct horse battery staple").unwrap();
    let mut group = c.benchmark_group("keystore");
    group.sample_size(10);
    group.bench_function("open", |b| {
        b.iter(|| {
            let pkcs8 = keystore::read_key(&path, Some("correct horse battery staple")).unwrap();
            provider().keys.signer(&pkcs8).unwrap()
        });
    });
    group.finish();
    let _ = std::fs::remove_file(&path);
}

criterion_group!(benches, floor, signatures, backends, key_transport, bulk, key_files);
criterion_main!(benches);
