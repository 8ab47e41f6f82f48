//! Reading and building: what an enrollment costs besides the cryptography. `cargo bench --bench codec`

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ravelin::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use ravelin::crypto::provider;
use ravelin::x509::builder::{self, CertificateTemplate};
use ravelin::x509::{Certificate, DistinguishedName, VerifiedCsr, ber};

fn testdata(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)).expect("the test data is there")
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    for name in ["leaf-rsa", "v1", "ca-p256"] {
        let der = testdata(&format!("x509/{name}.der"));
        group.throughput(Throughput::Bytes(der.len() as u64));
        group.bench_function(format!("certificate/{name}"), |b| b.iter(|| Certificate::from_der(black_box(&der))));
    }
    // With the check of the signature, which is most of it.
    for name in ["csr-rsa", "csr-p256", "csr-ed25519"] {
        let der = testdata(&format!("x509/{name}.der"));
        group.throughput(Throughput::Bytes(der.len() as u64));
        group.bench_function(format!("verified-request/{name}"), |b| b.iter(|| VerifiedCsr::from_der(black_box(&der))));
    }
    for name in ["enveloped-der", "enveloped-ber", "signed-der", "signed-ber"] {
        let message = testdata(&format!("cms/{name}.der"));
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(format!("to-der/{name}"), |b| b.iter(|| ber::to_der(black_box(&message)).map(|der| der.len())));
    }
    group.finish();
}

fn building(c: &mut Criterion) {
    let signer = provider().keys.generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let name = DistinguishedName::parse("C=DE,O=Example,OU=Routers,CN=r1.example.net", true).expect("a name");
    let template = CertificateTemplate {
        serial: builder::random_serial(),
        issuer: name.clone(),
        subject: name,
        not_before: "2024-01-01T00:00:00Z".parse().expect("a time"),
        not_after: "2034-01-01T00:00:00Z".parse().expect("a time"),
        spki: signer.spki().to_vec(),
        extensions: builder::ca_extensions(signer.spki(), Some(signer.spki()), None).expect("extensions"),
    };
    let identifier = SignatureAlgorithm::EcdsaSha256.identifier();
    let mut group = c.benchmark_group("build");
    group.bench_function("tbs-certificate", |b| b.iter(|| template.tbs(black_box(&identifier))));
    group.bench_function("certificate/ecdsa-p256", |b| b.iter(|| template.sign(&*signer, SignatureAlgorithm::EcdsaSha256)));
    group.finish();
}

criterion_group!(benches, reading, building);
criterion_main!(benches);
