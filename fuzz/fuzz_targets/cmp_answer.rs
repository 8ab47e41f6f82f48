#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::upstream::cmp::body;
use ravelin::upstream::cmp::message::Message;
use ravelin::x509::{Certificate, ber};

// What a CMP server answers: first whatever comes, then what is inside one kind of body.
fuzz_target!(|input: &[u8]| {
    if let Ok(der) = ber::to_der(input)
        && let Ok(message) = Message::read(&der)
    {
        let protected = message.protected_part();
        assert!(protected.len() <= der.len() + 8);
        for certificate in &message.extra_certificates {
            let _ = Certificate::from_der(certificate);
        }
        let _ = body::read_any(message.body_tag, message.content);
    }
    if let Some((number, content)) = input.split_first() {
        let _ = body::read_any(number & 0x1f, content);
    }
});
