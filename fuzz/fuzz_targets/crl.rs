#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::x509::crl::{read_crl, verify_crl};

fuzz_target!(|input: &[u8]| {
    if let Ok(list) = read_crl(input) {
        assert!(list.revoked.len() <= input.len() / 8);
    }
    let _ = verify_crl(input, input);
});
