#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::algorithm::Digest;
use ravelin::scep::PkiMessage;
use ravelin::x509::ber::to_der;

fuzz_target!(|input: &[u8]| {
    let Ok(der) = to_der(input) else { return };
    let Ok(message) = PkiMessage::read(&der) else { return };
    if let Ok(signer) = message.signer_certificate() {
        let _ = message.verify(&signer, Digest::ALL);
    }
});
