#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::algorithm::ContentCipher;
use ravelin::scep::certs_only::CertsOnly;
use ravelin::scep::envelope::EnvelopePolicy;
use ravelin::scep::issuer_and::{IssuerAndSerialNumber, IssuerAndSubject};
use ravelin::scep::Envelope;
use ravelin::x509::ber::to_der;

// All that may stand inside a message.
fuzz_target!(|input: &[u8]| {
    let Ok(der) = to_der(input) else { return };
    if let Ok(envelope) = Envelope::read(&der) {
        let _ = envelope.open(&[], EnvelopePolicy { ciphers: ContentCipher::ALL, oaep: true });
    }
    let _ = CertsOnly::read(&der);
    let _ = IssuerAndSerialNumber::from_der(&der);
    let _ = IssuerAndSubject::from_der(&der);
});
