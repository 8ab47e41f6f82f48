#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use ravelin::algorithm::KeyAlgorithm;
use ravelin::scep::client::{Authority, Capabilities};

// What a server tells our client before anything is signed: GetCACaps and GetCACert.
fuzz_target!(|input: &[u8]| {
    let capabilities = Capabilities::parse(&String::from_utf8_lossy(input));
    let _ = (capabilities.digest(KeyAlgorithm::Rsa(2048)), capabilities.cipher(), capabilities.post());
    if let Ok(authority) = Authority::read(input, &[], Timestamp::UNIX_EPOCH) {
        assert!(authority.certificates().contains(authority.encryption()));
        assert!(!authority.signers().is_empty());
    }
});
