#![no_main]

use libfuzzer_sys::fuzz_target;
use ravelin::x509::DistinguishedName;

fuzz_target!(|input: &[u8]| {
    let from_text = std::str::from_utf8(input).ok().and_then(|text| DistinguishedName::parse(text, true).ok());
    for name in DistinguishedName::from_der(input).into_iter().chain(from_text) {
        let again = DistinguishedName::parse(&name.to_string(), true).expect("what is printed is read");
        assert!(again.matches(&name));
    }
});
