#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::scep::service::query_string::{Parameters, decode_message};

fuzz_target!(|input: &str| {
    if let Some(message) = Parameters::read(input).message
        && let Ok(octets) = decode_message(message, 65_536)
    {
        assert!(octets.len() <= message.len());
    }
});
