use super::*;
use proptest::prelude::*;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// The vectors of WIRE 2.8: secret, payload, MAC, and what they say.
fn vectors() -> [(&'static str, &'static str, &'static str, Claims<'static>); 4] {
    let scope = |path, verb, rate_per_s| Scope {
        path,
        verb,
        rate_per_s,
    };
    let mut scoped = Claims::new(Role::Queen);
    scoped.scopes.push(scope("/log", ScopeVerb::Read, 1)).unwrap();
    scoped.scopes.push(scope("/queen", ScopeVerb::Write, 0)).unwrap();
    scoped.scopes.push(scope("/shard", ScopeVerb::Write, 0)).unwrap();
    scoped.quotas = Some(Quotas {
        bandwidth_bytes: 0,
        cursor_resumes: 0,
        cursor_advances: 1,
    });
    [
        (
            "worker",
            "0101080800776f726b65722d31000000000000000000000000",
            "ea7bee86230e67031e6e758fa01c00eaa9c1f0bfff4b41548424a3df0356cff9",
            Claims {
                subject: Some("worker-1"),
                ..Claims::new(Role::WorkerHeartbeat)
            },
        ),
        (
            "worker-bus",
            "0103080b006d6f646275732d6d61696e000000000000000000000000",
            "e9f653dd264c440296e25118f72ed5a10cd8b2141288c45139bbcef8316d98c8",
            Claims {
                subject: Some("modbus-main"),
                ..Claims::new(Role::WorkerBus)
            },
        ),
        (
            "bootstrap",
            "0100040000000000000000000000000000000000000000",
            "e9b8bc4e26e2f06725347bdd8983fb3efc170658fc6af53cabb746bef58deddb",
            Claims {
                ttl_s: Some(0),
                ..Claims::new(Role::Queen)
            },
        ),
        (
            "bootstrap",
            "0100300000000000000000000000000304002f6c6f67000100000006002f717565656e010000000006002f7368617264\
             010000000000000000000000000000000001000000",
            "0c714a86a89a2abc049395e486dbd2a8ce6ba7076ce508a02431a22319629672",
            scoped,
        ),
    ]
}

fn token_of(payload: &[u8], key: &Key) -> String {
    let mac = blake3::keyed_hash(key.0.as_bytes(), payload);
    format!("{PREFIX}{}.{}", Hex(payload), Hex(mac.as_bytes()))
}

/// What a payload under a good seal says, as its error text.
fn error_of(payload: &[u8]) -> String {
    let key = Key::from_secret("s");
    match SealedTicket::parse(&token_of(payload, &key)).unwrap().open(&key) {
        Ok(claims) => format!("{claims:?}"),
        Err(error) => {
            assert!(error.is_about_claims());
            error.to_string()
        }
    }
}

#[test]
fn the_vectors_of_wire_2_8() {
    for (secret, payload, mac, claims) in vectors() {
        let key = Key::from_secret(secret);
        let token = format!("{PREFIX}{payload}.{mac}");
        assert_eq!(mint(&claims, Version::V1, &key).unwrap().as_str(), token);
        let sealed = SealedTicket::parse(&token).unwrap();
        assert_eq!(sealed.open(&key).unwrap(), claims);
        assert_eq!(sealed.peek().unwrap(), claims);
        assert_eq!(
            sealed.open(&Key::from_secret("other")),
            Err(TicketError::MacMismatch)
        );
        assert!(
            SealedTicket::parse(&token.to_uppercase().replace("COHESIX-TICKET", "cohesix-ticket")).is_ok()
        );
    }
}

#[test]
fn vector_three_is_expired_and_vector_four_is_scoped() {
    let [_, _, (.., expired), (.., scoped)] = vectors();
    assert!(expired.expired(0));
    let path = |text| Path::parse(text).unwrap();
    assert_eq!(scoped.scope_for(path("/log/queen.log"), Access::Read), Some(0));
    assert_eq!(scoped.scope_for(path("/log/queen.log"), Access::Write), None);
    assert_eq!(scoped.scope_for(path("/shard/13"), Access::Read), None);
    assert_eq!(scoped.scope_for(path("/queens"), Access::Write), None);
    assert!(scoped.within(&ClaimLimits::default()));
}

#[test]
fn the_longest_scope_wins_and_the_first_of_two_equals() {
    let mut claims = Claims::new(Role::Queen);
    for (path, verb) in [
        ("/", ScopeVerb::ReadWrite),
        ("/log", ScopeVerb::Read),
        ("/log", ScopeVerb::ReadWrite),
        ("log", ScopeVerb::Read),
    ] {
        claims
            .scopes
            .push(Scope {
                path,
                verb,
                rate_per_s: 0,
            })
            .unwrap();
    }
    let path = Path::parse("/log/queen.log").unwrap();
    assert_eq!(claims.scope_for(path, Access::Read), Some(1));
    assert_eq!(claims.scope_for(path, Access::Write), Some(2));
    assert_eq!(claims.scope_for(Path::ROOT, Access::Read), Some(0));
}

#[test]
fn text_errors() {
    let mac = "ab".repeat(32);
    for (token, want) in [
        (String::new(), "ticket missing prefix"),
        (format!("ticket-00.{mac}"), "ticket missing prefix"),
        (String::from("cohesix-ticket-0100"), "ticket malformed"),
        (format!("cohesix-ticket-010.{mac}"), "ticket malformed"),
        (format!("cohesix-ticket-zz.{mac}"), "ticket malformed"),
        (
            format!("cohesix-ticket-{}.{mac}", "00".repeat(PAYLOAD_BYTES + 1)),
            "ticket malformed",
        ),
        (
            String::from("cohesix-ticket-00.abcd"),
            "ticket MAC length 2 is invalid",
        ),
        (
            format!("cohesix-ticket-00.{mac}ab"),
            "ticket MAC length 33 is invalid",
        ),
        (format!("cohesix-ticket-00.{mac}.{mac}"), "ticket malformed"),
    ] {
        let error = SealedTicket::parse(&token).unwrap_err();
        assert_eq!(error.to_string(), want, "{token}");
        assert!(!error.is_about_claims());
    }
}

#[test]
fn claims_errors() {
    let plain = |version: u8| {
        let mut bytes = std::vec![version, 0, 0];
        bytes.extend_from_slice(&[0; 12][..if version == 1 { 12 } else { 5 }]);
        bytes
    };
    let with = |version: u8, flags: u8, tail: &[u8]| {
        let mut bytes = plain(version);
        bytes[2] = flags;
        bytes.extend_from_slice(tail);
        bytes
    };
    let cases: &[(Vec<u8>, &str)] = &[
        (Vec::new(), "claims payload truncated"),
        (std::vec![3, 0, 0], "claims version 3 is unsupported"),
        (std::vec![1, 5, 0], "claims role 5 is unsupported"),
        (plain(1)[..14].to_vec(), "claims payload truncated"),
        (with(1, 0, &[0]), "claims payload contains trailing data"),
        (with(2, 0, &[0]), "claims payload contains trailing data"),
        (with(1, 0x10, &[17]), "scope count exceeds allowed maximum"),
        (
            with(1, 0x10, &[1, 1, 0, b'/', 3, 0, 0, 0, 0]),
            "scope verb 3 is invalid",
        ),
        (with(1, 0x10, &[1, 0, 1]), "mount data exceeds allowed length"),
        (
            with(1, 0x10, &[1, 2, 0, 0xc3, 0x28]),
            "claims string is not UTF-8",
        ),
        (with(1, 0x20, &[0; 15]), "claims payload truncated"),
        (with(2, 0x10, &[0]), "claims encoding is not canonical"),
        (with(2, 0x20, &[0; 16]), "claims encoding is not canonical"),
        (with(2, 0x40, &[]), "claims flags 0x40 are unsupported"),
        (
            std::vec![2, 0, 1, 0x80, 0x00, 0, 0, 0, 0, 0],
            "claims encoding is not canonical",
        ),
        (
            std::vec![2, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            "claims encoding is not canonical",
        ),
        (
            std::vec![
                2, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80
            ],
            "claims encoding is not canonical",
        ),
    ];
    for (payload, want) in cases {
        assert_eq!(&error_of(payload), want, "{payload:02x?}");
    }
    assert!(
        error_of(&with(1, 0xc0, &[])).starts_with("Claims"),
        "version 1 ignores unknown flags"
    );
    assert!(
        error_of(&with(1, 0x10, &[0])).starts_with("Claims"),
        "version 1 allows an empty scope list"
    );
    let largest = std::vec![
        2, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0
    ];
    assert!(error_of(&largest).contains(&u64::MAX.to_string()));
}

#[test]
fn limits_of_the_manifest() {
    let limits = ClaimLimits::default();
    let mut claims = Claims::new(Role::Queen);
    assert!(claims.within(&limits));
    claims.quotas = Some(Quotas {
        bandwidth_bytes: 131_073,
        ..Quotas::default()
    });
    assert!(!claims.within(&limits));
    claims.quotas = Some(Quotas {
        cursor_resumes: 16,
        cursor_advances: 256,
        ..Quotas::default()
    });
    assert!(claims.within(&limits));
    claims
        .scopes
        .push(Scope {
            path: "/log",
            verb: ScopeVerb::Read,
            rate_per_s: 65,
        })
        .unwrap();
    assert!(!claims.within(&limits));
    assert!(claims.within(&ClaimLimits {
        scope_rate_per_s: 0,
        ..limits
    }));
    claims
        .scopes
        .push(Scope {
            path: "/shard",
            verb: ScopeVerb::Read,
            rate_per_s: 0,
        })
        .unwrap();
    assert!(!claims.within(&ClaimLimits {
        scopes: 1,
        scope_rate_per_s: 0,
        ..limits
    }));
    assert!(!claims.within(&ClaimLimits {
        scope_path_bytes: 5,
        scope_rate_per_s: 0,
        ..limits
    }));
    let none = ClaimLimits {
        scopes: 0,
        scope_path_bytes: 0,
        scope_rate_per_s: 0,
        quotas: Quotas::default(),
    };
    assert!(claims.within(&none), "0 is no limit");
}

#[test]
fn minting_refuses_what_does_not_fit() {
    let key = Key::from_secret("s");
    let long = "a".repeat(256);
    let subject = |text| Claims {
        subject: Some(text),
        ..Claims::new(Role::WorkerGpu)
    };
    assert_eq!(
        mint(&subject(&long), Version::V2, &key),
        Err(MintError::StringTooLong)
    );
    assert_eq!(
        mint(&subject(&long[..255]), Version::V2, &key),
        Err(MintError::TokenTooLong)
    );
    // 72 bytes of payload, of which version 1 needs 17 around a subject and version 2 needs 10.
    assert_eq!(
        mint(&subject(&long[..55]), Version::V1, &key).unwrap().len(),
        TICKET_BYTES
    );
    assert_eq!(
        mint(&subject(&long[..56]), Version::V1, &key),
        Err(MintError::TokenTooLong)
    );
    assert_eq!(
        mint(&subject(&long[..62]), Version::V2, &key).unwrap().len(),
        TICKET_BYTES
    );
    assert_eq!(
        mint(&subject(&long[..63]), Version::V2, &key),
        Err(MintError::TokenTooLong)
    );
}

#[test]
fn expiry() {
    let claims = Claims {
        ttl_s: Some(2),
        issued_at_ms: 1000,
        ..Claims::new(Role::WorkerGpu)
    };
    assert!(!claims.expired(2999) && claims.expired(3000));
    assert!(!Claims::new(Role::Queen).expired(u64::MAX));
    let endless = Claims {
        ttl_s: Some(u64::MAX),
        ..claims
    };
    assert!(!endless.expired(u64::MAX - 1));
}

prop_compose! {
    fn any_claims()(
        role in 0u8..5,
        budget in any::<[Option<u64>; 3]>(),
        issued_at_ms in any::<u64>(),
        quotas in proptest::option::of((any::<u64>(), any::<u32>(), 1u32..)),
        scoped in any::<bool>(),
        rate_per_s in any::<u32>(),
        subject in proptest::option::of(proptest::sample::select(&["", "w", "ä-1"][..])),
    ) -> Claims<'static> {
        let [ticks, ops, ttl_s] = budget;
        let mut claims = Claims { ticks, ops, ttl_s, subject, issued_at_ms, ..Claims::new(Role::from_code(role).unwrap()) };
        if scoped {
            claims.scopes.push(Scope { path: "/log", verb: ScopeVerb::ReadWrite, rate_per_s }).unwrap();
        }
        claims.quotas = quotas.map(|(bandwidth_bytes, cursor_resumes, cursor_advances)| {
            Quotas { bandwidth_bytes, cursor_resumes, cursor_advances }
        });
        claims
    }
}

proptest! {
    #[test]
    fn minted_tickets_say_what_was_minted(claims in any_claims(), v2: bool, secret in ".{0,40}") {
        let version = if v2 { Version::V2 } else { Version::V1 };
        let key = Key::from_secret(&secret);
        match mint(&claims, version, &key) {
            Ok(token) => {
                let sealed = SealedTicket::parse(&token).unwrap();
                prop_assert_eq!(sealed.open(&key).unwrap(), claims);
            }
            Err(error) => prop_assert_eq!(error, MintError::TokenTooLong),
        }
    }

    #[test]
    fn version_2_has_one_encoding(mut payload in proptest::collection::vec(any::<u8>(), 2..PAYLOAD_BYTES)) {
        payload[0] = 2;
        payload[1] %= 5;
        if let Some(flags) = payload.get_mut(2) { *flags &= 0x3f; }
        if let Ok(claims) = claims::decode(&payload) {
            prop_assert_eq!(&claims::encode(&claims, Version::V2).unwrap()[..], &payload[..]);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}", hex in "[0-9a-f]{0,142}") {
        let _ = SealedTicket::parse(&text);
        if let Ok(sealed) = SealedTicket::parse(&format!("{PREFIX}{hex}.{}", "00".repeat(32))) {
            let _ = sealed.peek();
        }
    }

    #[test]
    fn a_changed_digit_breaks_the_seal(claims in any_claims(), at in any::<proptest::sample::Index>()) {
        let key = Key::from_secret("s");
        let Ok(token) = mint(&claims, Version::V2, &key) else { return Ok(()) };
        let at = PREFIX.len() + at.index(token.len() - PREFIX.len());
        let mut bytes = token.as_bytes().to_vec();
        bytes[at] = match bytes[at] { b'.' => return Ok(()), b'0' => b'1', _ => b'0' };
        let changed = String::from_utf8(bytes).unwrap();
        let sealed = SealedTicket::parse(&changed).unwrap();
        prop_assert_eq!(sealed.open(&key), Err(TicketError::MacMismatch));
    }
}

/// Found by fuzzing: version 2 has no form for quotas that are all zero, and says so by leaving them out.
#[test]
fn all_zero_quotas_survive_version_1_and_are_none_in_version_2() {
    let key = Key::from_secret("worker");
    let claims = Claims {
        quotas: Some(Quotas::default()),
        ..Claims::new(Role::WorkerHeartbeat)
    };
    for (version, expected) in [(Version::V1, Some(Quotas::default())), (Version::V2, None)] {
        let token = mint(&claims, version, &key).unwrap();
        let sealed = SealedTicket::parse(&token).unwrap();
        assert_eq!(sealed.open(&key).unwrap().quotas, expected, "{version:?}");
    }
}
