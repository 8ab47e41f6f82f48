#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::x509::VerifiedCsr;

fuzz_target!(|input: &[u8]| {
    if let Ok(request) = VerifiedCsr::from_der(input) {
        assert_eq!(request.der(), input);
        let _ = request.subject().to_string();
    }
});
