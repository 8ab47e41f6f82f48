#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use ravelin::x509::ber::to_der;

fuzz_target!(|input: &[u8]| {
    if let Ok(der) = to_der(input) {
        assert!(matches!(to_der(&der), Ok(Cow::Borrowed(_))));
    }
});
