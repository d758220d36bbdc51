//! Tickets: a forged one never opens; what decodes can be minted and read back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::ticket::{Key, Quotas, SealedTicket, Version, mint};

fuzz_target!(|data: &[u8]| {
    let key = Key::from_secret("the fuzzer does not know this one");
    if let Ok(text) = core::str::from_utf8(data) {
        check(text, &key);
    }
    // Most inputs are no token text; the same bytes as a payload reach the claims' decoder.
    let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    check(&format!("cohesix-ticket-{hex}.{}", "0".repeat(64)), &key);
});

fn check(text: &str, key: &Key) {
    let Ok(sealed) = SealedTicket::parse(text) else { return };
    assert!(sealed.open(key).is_err(), "a ticket that nobody minted was accepted");
    let Ok(mut claims) = sealed.peek() else { return };
    for version in [Version::V1, Version::V2] {
        let Ok(token) = mint(&claims, version, key) else { continue };
        // Version 2 has no form for a quota of nothing but zeros: it is minted as none.
        if matches!(version, Version::V2) && claims.quotas == Some(Quotas::default()) {
            claims.quotas = None;
        }
        let again = SealedTicket::parse(&token).expect("a minted ticket parses");
        assert_eq!(again.open(key).as_ref(), Ok(&claims));
    }
}
