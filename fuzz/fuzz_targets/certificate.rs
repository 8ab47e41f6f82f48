#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::x509::{Certificate, extension};

fuzz_target!(|input: &[u8]| {
    let Ok(certificate) = Certificate::from_der(input) else { return };
    assert_eq!(certificate.der(), input);
    let _ = (certificate.key_usage(), certificate.is_ca(), certificate.extended_key_usages());
    let _ = (certificate.subject_key_identifier(), certificate.authority_key_identifier());
    let _ = certificate.verify_signed_by(certificate.spki());
    for extension in certificate.extensions() {
        if let Ok(names) = extension::read_subject_alt_names(&extension.value) {
            assert_eq!(extension::subject_alt_names(&names).as_deref(), Ok(extension.value.as_slice()));
        }
    }
});
