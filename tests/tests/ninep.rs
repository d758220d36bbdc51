//! The listener for 9P clients, by a client of our own and by those of Debian's `diod`.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tests::ninep::{Client, Fields, NONE, kind};
use tests::{Console, Hive, Options, programs};

const ENOENT: u32 = 2;
const EBADF: u32 = 9;
const EAGAIN: u32 = 11;
const EACCES: u32 = 13;
const EINVAL: u32 = 22;
const EMFILE: u32 = 24;
const EPROTO: u32 = 71;
const EUSERS: u32 = 87;
const EOPNOTSUPP: u32 = 95;
const ENOKEY: u32 = 126;
const EKEYREJECTED: u32 = 129;

const RDONLY: u32 = 0;
const WRONLY: u32 = 1;
const APPEND: u32 = 0o2000;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// The address of a hive's 9P listener.
fn port(hive: &Hive) -> SocketAddr {
    hive.ninep().expect("this hive listens for 9P clients")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// `active=<n> draining=<n>` of `/proc/9p/session/active`.
fn active_sessions(console: &mut Console) -> usize {
    let lines = console.cat("/proc/9p/session/active");
    let count = lines[0]
        .split_whitespace()
        .find_map(|field| field.strip_prefix("active="));
    count.expect("active=<n>").parse().expect("a number")
}

/// A ticket of a heartbeat worker, sealed with the secret of the default manifest.
fn worker_ticket() -> String {
    let mint = Command::new(programs::program("cohsh"))
        .args([
            "--mint-ticket",
            "--role",
            "worker-heartbeat",
            "--ticket-subject",
            "worker-9",
        ])
        .args(["--ticket-secret", "worker"])
        .output()
        .expect("cohsh mints");
    assert!(mint.status.success(), "{mint:?}");
    text(mint.stdout).trim().to_owned()
}

/// Waits until something is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_file_is_found_read_and_written_by_its_fid() {
    let hive = Hive::fresh();
    let mut client = Client::connect(port(&hive)).unwrap();
    assert_eq!(client.version(65536), 8192, "what the links inside carry");
    client.attach(0, "queen", hive.token()).unwrap();

    assert_eq!(client.walk(0, 1, &["proc", "boot"]), Ok(2));
    let stat = client.getattr(1).unwrap();
    assert_eq!(stat.mode & 0o170_777, REGULAR | 0o444);
    client.open(1, RDONLY).unwrap();
    let boot = client.read(1, 0, 60_000).unwrap();
    assert_eq!(boot.len() as u64, stat.size);
    assert!(text(boot.clone()).contains(&format!("boot.id={}", hive.boot())));
    assert_eq!(client.read(1, 5, 10).unwrap(), boot[5..15]);
    assert_eq!(client.read(1, 100_000, 10).unwrap(), b"");
    client.clunk(1).unwrap();
    assert_eq!(client.read(1, 0, 10), Err(EBADF));

    assert_eq!(client.walk(0, 2, &[]), Ok(0));
    assert_eq!(client.getattr(2).unwrap().mode & 0o170_000, DIRECTORY);
    client.open(2, RDONLY).unwrap();
    let names = client.readdir(2, 4096).unwrap();
    assert_eq!(client.readdir(2, 60).unwrap(), names, "in many small messages");
    for name in ["log", "proc", "queen", "worker"] {
        assert!(names.iter().any(|other| other == name), "{name} in {names:?}");
    }

    assert_eq!(client.walk(0, 3, &["log", "queen.log"]), Ok(2));
    client.open(3, WRONLY | APPEND).unwrap();
    assert_eq!(client.write(3, 0, b"by 9P\n"), Ok(6));
    assert_eq!(client.write(3, 999, b"at its end, wherever it is put\n"), Ok(31));
    assert_eq!(client.write(3, u64::MAX, b"and once more\n"), Ok(14));
    let log = hive.queen().cat("/log/queen.log");
    let at = log
        .iter()
        .position(|line| line == "by 9P")
        .expect("the first line");
    assert_eq!(
        log[at + 1..at + 3],
        ["at its end, wherever it is put", "and once more"]
    );

    client.ask(kind::TSTATFS, Fields::new().u32(0)).unwrap();
    client.ask(kind::TFLUSH, Fields::new().u16(4711)).unwrap();
}

#[test]
fn a_control_file_of_another_actor_takes_effect() {
    let hive = Hive::fresh();
    let mut client = Client::queen(port(&hive), hive.token());
    assert_eq!(client.walk(0, 1, &["queen", "ctl"]), Ok(2));
    client.open(1, WRONLY).unwrap();
    let spawn = br#"{"spawn":"heartbeat","ticks":1000}"#;
    assert_eq!(client.write(1, u64::MAX, spawn), Ok(spawn.len() as u32));
    assert_eq!(hive.queen().ls("/worker"), ["worker-1"]);
    assert_eq!(client.write(1, 0, b"{\"spawn\":\"nonsense\"}"), Err(EINVAL));
    eventually("the first tick", || {
        !client.cat("/worker/worker-1/telemetry").unwrap().is_empty()
    });
}

#[test]
fn only_the_token_and_then_the_ticket_open_the_door() {
    let hive = Hive::fresh();
    let token = hive.token().to_owned();
    let wrong_last = format!("{}x", &token[..token.len() - 1]);
    let wrongs = [
        String::new(),
        "x".into(),
        wrong_last,
        format!("{token}x"),
        format!("x{token}:"),
        "x".repeat(6000),
    ];
    for wrong in &wrongs {
        let mut client = Client::versioned(port(&hive));
        assert_eq!(client.attach(0, "queen", wrong), Err(EACCES), "{wrong:?}");
        assert!(client.closed_by_server(), "{wrong:?}");
    }
    eventually("failures in the log", || {
        let log = hive.queen().cat("/log/queen.log");
        log.iter()
            .any(|line| line.starts_with("console-auth outcome=deny"))
    });

    let mut client = Client::versioned(port(&hive));
    let began = Instant::now();
    client.attach(0, "", &token).expect("nobody is a queen");
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "a right token does not wait"
    );
    client
        .attach(1, "queen", &format!("{token}:"))
        .expect("an empty ticket is none");

    for (uname, ticket, errno) in [
        ("sovereign", "", ENOKEY),
        ("worker-heartbeat", "", EKEYREJECTED),
        ("worker-heartbeat", "cohesix-nonsense", EKEYREJECTED),
    ] {
        let mut client = Client::versioned(port(&hive));
        let refused = client.attach(0, uname, &format!("{token}:{ticket}"));
        assert!(refused.is_err(), "{uname} {ticket:?} got in");
        assert_eq!(refused, Err(errno), "{uname} {ticket:?}");
        if errno == EKEYREJECTED {
            let at_once = client.attach(0, "queen", &token);
            assert_eq!(at_once, Err(EAGAIN), "a ticket was guessed just now");
        }
        eventually("a right one gets in after a pause", || {
            client.attach(0, "queen", &token).is_ok()
        });
    }
}

#[test]
fn a_ticket_lets_a_worker_in_as_no_more_than_that() {
    let hive = Hive::fresh();
    let _queen = hive.queen();
    let ticket = worker_ticket();
    let mut client = Client::versioned(port(&hive));
    let aname = format!("{}:{}", hive.token(), ticket);
    client.attach(0, "worker-heartbeat", &aname).unwrap();
    assert!(text(client.cat("/proc/boot").unwrap()).contains("boot.id="));
    assert_eq!(
        client
            .walk(0, 1, &["queen", "ctl"])
            .and_then(|_| client.open(1, WRONLY))
            .map(drop),
        Err(1),
        "EPERM"
    );
    assert!(
        client.attach(2, "queen", &aname).is_err(),
        "it is no queen's ticket"
    );
}

#[test]
fn paths_stay_within_the_tree() {
    let hive = Hive::fresh();
    let mut client = Client::queen(port(&hive), hive.token());
    for names in [&["proc", ".."][..], &[".."], &["."], &["a/b"], &[""], &["nul\0"]] {
        assert!(client.walk(0, 1, names).is_err(), "{names:?}");
    }
    assert_eq!(
        client.walk(0, 1, &["proc"; 9]),
        Err(EINVAL),
        "more than eight names"
    );
    assert_eq!(client.walk(0, 1, &["proc"; 17]), Err(EINVAL));
    assert_eq!(client.walk(0, 1, &["nope"]), Err(ENOENT));
    assert_eq!(
        client.walk(0, 1, &["proc", "nope", "boot"]),
        Ok(1),
        "as far as it leads"
    );
    assert_eq!(client.getattr(1), Err(EBADF), "a short walk makes no fid");
    assert_eq!(
        client.walk(0, 1, &["proc", "boot", "a", "b", "c", "d", "e", "f"]),
        Ok(2)
    );
    assert_eq!(client.walk(0, 1, &["proc"]), Ok(1));
    assert_eq!(client.walk(1, 1, &["boot"]), Ok(1));
    assert!(client.walk(1, 1, &["x"; 8]).is_err(), "nine deep");
    assert_eq!(client.walk(1, 0, &[]), Err(EINVAL), "fid 0 is in use");
    assert!(client.open(1, WRONLY).is_err(), "read-only");
    assert!(client.getattr(1).is_ok(), "the fid is still there");
}

#[test]
fn sixty_four_fids_and_no_more() {
    let hive = Hive::fresh();
    let mut client = Client::queen(port(&hive), hive.token());
    for fid in 1..64 {
        assert_eq!(client.walk(0, fid, &["proc", "boot"]), Ok(2), "{fid}");
        client.open(fid, RDONLY).unwrap();
    }
    assert_eq!(client.walk(0, 64, &["proc"]), Err(EMFILE));
    for fid in 1..64 {
        assert!(!client.read(fid, 0, 100).unwrap().is_empty());
        client.clunk(fid).unwrap();
    }
    for round in 0..300 {
        assert_eq!(
            client.walk(0, 1, &["proc", "lifecycle", "state"]),
            Ok(3),
            "{round}"
        );
        client.open(1, RDONLY).unwrap();
        assert_eq!(client.read(1, 0, 100).unwrap(), b"state=ONLINE\n");
        client.clunk(1).unwrap();
    }
}

#[test]
fn four_attaches_and_no_more() {
    let hive = Hive::fresh();
    let mut client = Client::versioned(port(&hive));
    for fid in 0..4 {
        client.attach(fid, "queen", hive.token()).unwrap();
    }
    assert_eq!(client.attach(4, "queen", hive.token()), Err(EUSERS));
    client.clunk(3).unwrap();
    client.attach(4, "queen", hive.token()).unwrap();
}

#[test]
fn what_the_protocol_does_not_have_is_refused() {
    let hive = Hive::fresh();
    let mut early = Client::connect(port(&hive)).unwrap();
    assert_eq!(
        early.attach(0, "queen", hive.token()),
        Err(EPROTO),
        "no attach before Tversion"
    );
    early.version(8192);
    assert_eq!(
        early.walk(0, 1, &["proc"]),
        Err(EBADF),
        "no walk before an attach"
    );
    early.attach(0, "queen", hive.token()).unwrap();

    let mut client = Client::queen(port(&hive), hive.token());
    for kind in [
        6, 14, 16, 18, 20, 22, 26, 30, 32, 50, 52, 54, 70, 72, 74, 76, 99, 112, 114, 124, 126, 200, 255,
    ] {
        assert_eq!(
            client.ask(kind, Fields::new().u32(0)),
            Err(EOPNOTSUPP),
            "type {kind}"
        );
    }
    let auth = Fields::new().u32(9).text("queen").text("").u32(NONE);
    assert_eq!(
        client.ask(102, auth),
        Err(ENOENT),
        "there is no authentication file"
    );
    assert_eq!(client.walk(0, NONE, &[]), Err(EBADF));
}

#[test]
fn answers_come_by_tag_whatever_the_order() {
    let hive = Hive::fresh();
    let mut client = Client::queen(port(&hive), hive.token());
    let files = [
        ("boot", "boot.id="),
        ("lifecycle/state", "state="),
        ("root/reachable", "reachable=yes"),
    ];
    for (fid, (path, _)) in (1..).zip(files) {
        let names: Vec<&str> = ["proc"].into_iter().chain(path.split('/')).collect();
        client.walk(0, fid, &names).unwrap();
        client.open(fid, RDONLY).unwrap();
    }
    for round in 0..200 {
        let tags = 1000..1024;
        for tag in tags.clone() {
            let fid = 1 + u32::from(tag) % 3;
            client
                .send(kind::TREAD, tag, Fields::new().u32(fid).u64(0).u32(4000))
                .unwrap();
        }
        let mut seen = Vec::new();
        for _ in tags.clone() {
            let reply = client.receive().unwrap();
            assert_eq!(reply.kind, kind::TREAD + 1, "{round}: {reply:?}");
            let expected = files[usize::from(reply.tag) % 3].1;
            assert!(
                String::from_utf8_lossy(&reply.body[4..]).contains(expected),
                "tag {}",
                reply.tag
            );
            seen.push(reply.tag);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(tags), "{round}");
    }
}

#[test]
fn a_flush_is_answered_after_what_it_flushes() {
    let hive = Hive::fresh();
    let mut client = Client::queen(port(&hive), hive.token());
    client.walk(0, 1, &["proc", "boot"]).unwrap();
    client.open(1, RDONLY).unwrap();
    for _ in 0..200 {
        client
            .send(kind::TREAD, 7, Fields::new().u32(1).u64(0).u32(100))
            .unwrap();
        client.send(kind::TFLUSH, 8, Fields::new().u16(7)).unwrap();
        let first = client.receive().unwrap();
        if first.tag == 7 {
            assert_eq!(client.receive().unwrap().kind, kind::TFLUSH + 1);
        } else {
            assert_eq!((first.kind, first.tag), (kind::TFLUSH + 1, 8));
        }
    }
}

#[test]
fn noise_closes_its_own_connection_and_no_other() {
    let hive = Hive::fresh();
    let mut bystander = Client::queen(port(&hive), hive.token());
    let mut console = hive.queen();
    let before = active_sessions(&mut console);
    let version = b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\x009P2000.L";
    let frame = |size: u32| [&version[..], &size.to_le_bytes(), &[100; 64]].concat();
    let cases: [(&str, Vec<u8>); 8] = [
        ("size 0", frame(0)),
        ("size 6", frame(6)),
        ("size over msize", frame(8193)),
        ("size huge", frame(u32::MAX)),
        (
            "a text longer than its frame",
            [&version[..], b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\xff\x009P2000.L"].concat(),
        ),
        (
            "bytes after the last field",
            [&version[..], b"\x0c\0\0\0\x78\x01\0\0\0\0\0\0"].concat(),
        ),
        ("http", b"GET / HTTP/1.1\r\nHost: hive\r\n\r\n".to_vec()),
        ("zeros", vec![0; 4096]),
    ];
    for (what, bytes) in cases {
        for attached in [false, true] {
            let mut client = match attached {
                true => Client::queen(port(&hive), hive.token()),
                false => Client::connect(port(&hive)).unwrap(),
            };
            client.send_raw(&bytes).unwrap();
            assert!(client.closed_by_server(), "{what}, attached: {attached}");
        }
    }
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..8 {
        let block: Vec<u8> = (0..1 << 17)
            .flat_map(|_| {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                noise.to_le_bytes()
            })
            .collect();
        let mut client = Client::connect(port(&hive)).unwrap();
        // The hive hangs up in the middle of it.
        let _ = client.send_raw(&block);
        assert!(client.closed_by_server());
    }
    assert!(!bystander.cat("/proc/boot").unwrap().is_empty());
    eventually("the sessions are gone", || {
        active_sessions(&mut console) == before
    });
}

#[test]
fn a_session_keeps_to_the_size_it_agreed_on() {
    let hive = Hive::fresh();
    let mut client = Client::connect(port(&hive)).unwrap();
    assert_eq!(client.version(1024), 1024);
    client.attach(0, "queen", hive.token()).unwrap();
    client.walk(0, 1, &["log", "queen.log"]).unwrap();
    client.open(1, RDONLY).unwrap();
    assert!(client.read(1, 0, 8192).unwrap().len() <= 1024 - 11);
    assert_eq!(client.version(8192), 8192, "a new session on the same connection");
    assert_eq!(client.getattr(0), Err(EBADF));
    client.version(1024);
    // A message that the present session does not take.
    client
        .send(kind::TWRITE, 1, Fields::new().u32(1).u64(0).data(&[b'x'; 2000]))
        .unwrap();
    assert!(client.closed_by_server());
}

#[test]
fn strangers_make_room_for_each_other_and_take_nothing_from_guests() {
    let hive = Hive::fresh();
    let mut guests: Vec<Client> = (0..8).map(|_| Client::queen(port(&hive), hive.token())).collect();
    let mut one_more = Client::versioned(port(&hive));
    assert_eq!(
        one_more.attach(0, "queen", hive.token()),
        Err(EUSERS),
        "all eight places are taken"
    );
    let strangers: Vec<Client> = (0..60)
        .filter_map(|_| Client::connect(port(&hive)).ok())
        .collect();
    for guest in &mut guests {
        assert!(!guest.cat("/proc/lifecycle/state").unwrap().is_empty());
    }
    assert_eq!(
        hive.queen().ask("PING"),
        "OK PING reply=pong",
        "the console has places of its own"
    );
    drop(guests.pop());
    eventually("a place is free", || {
        let mut guest = Client::versioned(port(&hive));
        let attached = guest.attach(0, "queen", hive.token()).is_ok();
        guests.push(guest);
        attached
    });
    drop(strangers);
}

#[test]
fn who_attaches_nothing_is_sent_away() {
    let options = Options {
        manifest: vec![("auth_timeout_ms = 5000", "auth_timeout_ms = 300")],
        ..Options::default()
    };
    let hive = Hive::with(options);
    let mut guest = Client::queen(port(&hive), hive.token());
    for mut stranger in [
        Client::connect(port(&hive)).unwrap(),
        Client::versioned(port(&hive)),
    ] {
        let began = Instant::now();
        assert!(stranger.closed_by_server());
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    assert!(
        !guest.cat("/proc/boot").unwrap().is_empty(),
        "a guest may be silent"
    );
    guest.clunk(0).unwrap();
    assert!(
        guest.closed_by_server(),
        "without an attach it is a stranger again"
    );
}

#[test]
fn sessions_end_with_their_connection_and_a_lost_queen_is_reported() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    let before = active_sessions(&mut console);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::queen(port(&hive), hive.token())).collect();
    for client in &mut clients {
        client.walk(0, 1, &["queen", "ctl"]).unwrap();
        client.open(1, WRONLY).unwrap();
    }
    assert_eq!(active_sessions(&mut console), before + 8);
    drop(clients);
    eventually("the sessions are gone", || {
        active_sessions(&mut console) == before
    });
    assert_eq!(
        console.cat("/proc/root/reachable"),
        ["reachable=yes"],
        "this console is a queen"
    );
    assert!(console.ask("QUIT").starts_with("OK QUIT"));

    // The last queen says goodbye: the root stays. It breaks off: the root is cut.
    let mut polite = Client::queen(port(&hive), hive.token());
    polite.clunk(0).unwrap();
    drop(polite);
    let reachable = || {
        let mut worker = Console::authenticated(hive.addr(), hive.token());
        let attach = format!("ATTACH worker-heartbeat {}", worker_ticket());
        assert!(worker.ask(&attach).starts_with("OK ATTACH"));
        worker.stream("CAT /proc/boot").0
    };
    assert!(reachable().starts_with("OK CAT"), "{}", reachable());
    drop(Client::queen(port(&hive), hive.token()));
    eventually("the root is cut", || reachable().contains("reason=cut"));
}

#[test]
fn after_ninedoors_restart_a_client_connects_again() {
    let options = Options {
        manifest: vec![("fault_injection = false", "fault_injection = true")],
        ..Options::default()
    };
    let hive = Hive::with(options);
    let mut client = Client::queen(port(&hive), hive.token());
    for _ in 0..3 {
        let mut console = hive.queen();
        // The door dies of it, so what it answers does not matter.
        console.send("ECHO /proc/actors/ninedoor/fault panic");
        assert!(client.closed_by_server(), "its fids name nothing any more");
        eventually("a new attach", || {
            let Ok(mut again) = Client::connect(port(&hive)) else {
                return false;
            };
            again.version(8192);
            let attached = again.attach(0, "queen", hive.token()).is_ok();
            client = again;
            attached
        });
        assert!(!client.cat("/proc/boot").unwrap().is_empty());
    }
}

#[test]
fn an_address_that_is_taken_is_said_and_off_is_off() {
    let hive = Hive::fresh();
    let taken = port(&hive).to_string();
    let state = tempfile::tempdir().unwrap();
    let second = Command::new(programs::program("hive"))
        .args([
            "--console",
            "127.0.0.1:0",
            "--auth-token",
            hive.token(),
            "--ninep",
            &taken,
            "--state",
        ])
        .arg(state.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&taken) && said.contains("--ninep"), "{said}");

    let off = Hive::with(Options {
        arguments: vec!["--ninep".into(), "off".into()],
        ..Options::default()
    });
    assert_eq!(off.ninep(), None);
    assert_eq!(off.queen().ask("PING"), "OK PING reply=pong");
}

/// One of diod's programs against the hive, installed if it is not there and we may.
fn diod(hive: &Hive, program: &str, aname: &str, arguments: &[&str]) -> Output {
    let run = || {
        Command::new(program)
            .args(["--timeout", "20", "-s", &port(hive).to_string(), "-a", aname])
            .args(arguments)
            .env(
                "PATH",
                format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
            )
            .output()
    };
    run().unwrap_or_else(|error| panic!("{program}: {error}; apt-get install diod"))
}

#[test]
fn diods_clients_list_and_read() {
    let hive = Hive::fresh();
    let mut console = hive.queen();
    let before = active_sessions(&mut console);
    let listed = diod(&hive, "diodls", hive.token(), &["/"]);
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(text(listed.stdout).lines().collect::<Vec<_>>(), console.ls("/"));

    let long = text(diod(&hive, "diodls", hive.token(), &["-l", "proc"]).stdout);
    let mode = |name: &str| {
        let line = long
            .lines()
            .find(|line| line.ends_with(name))
            .expect("a line of that name");
        line[..10].to_owned()
    };
    assert_eq!(
        (mode(" boot").as_str(), mode(" lifecycle").as_str()),
        ("-r--r--r--", "dr-xr-xr-x")
    );

    let read = diod(&hive, "diodcat", hive.token(), &["/proc/boot", "log/queen.log"]);
    let lines: Vec<String> = text(read.stdout).lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [console.cat("/proc/boot"), console.cat("/log/queen.log")].concat()
    );

    let refused = diod(&hive, "diodcat", "not the token", &["/proc/boot"]);
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("Permission denied"),
        "{refused:?}"
    );
    eventually("the sessions are gone", || {
        active_sessions(&mut console) == before
    });
}
