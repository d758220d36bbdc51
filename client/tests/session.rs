//! Sessions against an in-process console that misbehaves on demand.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::state::Secret;
use client::{Error, Options, Request, Resend, Session, Stage, Target, TicketError, connect};
use protocol::role::Role;
use support::{Act, Fake, TOKEN, framed, say};

fn target(fake: &Fake) -> Target {
    Target::queen(
        fake.addr.ip().to_string(),
        fake.addr.port(),
        Secret::new(TOKEN).unwrap(),
    )
}

/// The defaults, in a hurry.
fn quick() -> Options {
    Options {
        silence_timeout: Duration::from_millis(300),
        answer_timeout: Duration::from_millis(900),
        backoff_first: Duration::from_millis(5),
        backoff_max: Duration::from_millis(20),
        ..Options::default()
    }
}

async fn session(fake: &Fake) -> Session {
    connect(target(fake), quick()).await.unwrap()
}

/// Acts that end the connection.
fn cut(mut acts: Vec<Act>) -> Option<Vec<Act>> {
    acts.push(Act::Close);
    Some(acts)
}

#[tokio::test]
async fn the_verbs_one_after_the_other() {
    let fake = Fake::start().await;
    let session = session(&fake).await;
    assert_eq!(session.attached().line(), "OK ATTACH role=queen");
    assert_eq!(session.ls("/proc").await.unwrap(), ["boot", "lifecycle", "tests"]);
    assert_eq!(session.cat("/proc/boot").await.unwrap()[1], "manifest.schema=1.5");
    let ack = session.echo("/log/queen.log", "two  words").await.unwrap();
    assert_eq!(ack.field("bytes"), Some("10"));
    assert_eq!(session.log().await.unwrap(), ["two  words"]);
    assert_eq!(session.ping().await.unwrap().line(), "OK PING reply=pong");
    session.spawn_heartbeat(5).await.unwrap();
    session.kill("worker-1").await.unwrap();
    assert_eq!(
        fake.file("/queen/ctl"),
        [r#"{"spawn":"heartbeat","ticks":5}"#, r#"{"kill":"worker-1"}"#]
    );
    assert_eq!(session.clone().quit().await.unwrap().line(), "OK QUIT");
    assert!(matches!(session.ping().await.unwrap_err(), Error::Ended));
    let lines = fake.lines_of(0);
    assert_eq!(lines[..2], [format!("AUTH {TOKEN}"), "ATTACH queen ".to_owned()]);
    assert_eq!(lines.last().unwrap(), "quit");
    assert_eq!(session.reconnects(), 0);
}

#[tokio::test]
async fn refusals_are_typed_and_leave_the_session_usable() {
    let fake = Fake::start().await;
    let session = session(&fake).await;
    let Error::Refused(refusal) = session.cat("/nope").await.unwrap_err() else {
        panic!("a refusal")
    };
    assert_eq!((refusal.reason(), refusal.detail()), ("policy", "invalid-path"));
    // Errors of the pseudo-verbs PARSE and FRAME answer whatever was sent.
    let err = session.echo("/log/queen.log", "").await.unwrap_err().to_string();
    assert_eq!(
        err,
        "ERR PARSE reason=policy detail=missing required argument: payload"
    );
    let err = session
        .echo("/log/queen.log", &"x".repeat(9000))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(err, "ERR FRAME reason=invalid-length");
    assert!(matches!(
        session.echo("/log/queen.log", "a\nb").await.unwrap_err(),
        Error::Request(_)
    ));
    session.ping().await.unwrap();
    assert_eq!(session.reconnects(), 0);
}

#[tokio::test]
async fn answers_without_an_end_are_fenced_by_a_ping() {
    let fake = Fake::start().await;
    let session = session(&fake).await;
    let help = session.command("HELP").await.unwrap();
    assert_eq!(help.ack.line(), "OK HELP");
    assert_eq!(help.lines, ["Commands:", "  help  - Show this help"]);
    let unknown = session.command("frobnicate now").await.unwrap();
    assert!(
        unknown
            .accepted()
            .unwrap_err()
            .to_string()
            .contains("unsupported")
    );
    // The fence's PONG is nobody's content.
    fake.set_file("/log/queen.log", &["PONG", "x"]);
    session.ping().await.unwrap();
    assert_eq!(session.cat("/log/queen.log").await.unwrap(), ["PONG", "x"]);
}

#[tokio::test]
async fn a_pong_before_its_ack_and_stray_lines_are_nobodys_content() {
    let fake = Fake::with(|_, line| match line {
        "PING" => Some(vec![say("PONG"), say("OK PING reply=pong")]),
        "CAT /f" => Some(vec![
            say("[net-console] noise"),
            say("END"),
            say("OK ECHO path=/old bytes=1"),
            say("OK CAT path=/f data=x"),
            say("PONG"),
            say(""),
            say("ERR SPAWN reason=policy detail=late"),
            say("x"),
            say("END"),
        ]),
        _ => None,
    })
    .await;
    let session = session(&fake).await;
    session.ping().await.unwrap();
    assert_eq!(session.cat("/f").await.unwrap(), ["PONG", "", "x"]);
    assert_eq!(
        session.cat("/proc/lifecycle/state").await.unwrap(),
        ["state=ONLINE"]
    );
}

#[tokio::test]
async fn a_summary_stands_in_for_content_that_was_not_sent() {
    let fake = Fake::with(|_, line| {
        (line == "CAT /log/queen.log").then(|| vec![say("OK CAT path=/log/queen.log data=a b|c"), say("END")])
    })
    .await;
    assert_eq!(
        session(&fake).await.cat("/log/queen.log").await.unwrap(),
        ["a b|c"]
    );
}

#[tokio::test]
async fn a_stream_that_was_cut_off_is_read_again_from_its_start() {
    let fake = Fake::with(|connection, line| match (connection, line) {
        (0, "CAT /proc/boot") => cut(vec![
            say("OK CAT path=/proc/boot data="),
            say("Cohesix boot: root-task online"),
        ]),
        // Half a frame, in the middle of its header.
        (1, "CAT /proc/boot") => cut(vec![Act::Bytes(vec![9, 0])]),
        _ => None,
    })
    .await;
    let session = session(&fake).await;
    assert_eq!(
        session.cat("/proc/boot").await.unwrap(),
        ["Cohesix boot: root-task online", "manifest.schema=1.5"],
        "no line twice"
    );
    assert_eq!(session.reconnects(), 2);
    assert_eq!(fake.count("ATTACH queen"), 3);
}

#[tokio::test]
async fn a_stream_refused_half_way_is_a_refusal_without_lines() {
    let fake = Fake::with(|_, line| {
        (line == "CAT /gone").then(|| {
            let error = "ERR CAT reason=busy detail=unavailable path=/gone error=owner restarting";
            vec![say("OK CAT path=/gone data=a"), say("a"), say(error), say("END")]
        })
    })
    .await;
    let session = session(&fake).await;
    let reply = session.command("CAT /gone").await.unwrap();
    assert!(!reply.ack.is_ok() && reply.lines.is_empty());
    assert_eq!(
        session.cat("/proc/lifecycle/state").await.unwrap(),
        ["state=ONLINE"]
    );
}

#[tokio::test]
async fn an_interrupted_write_is_sent_again() {
    let fake = Fake::with(|c, line| (c == 0 && line.starts_with("ECHO")).then(|| vec![Act::Close])).await;
    let session = session(&fake).await;
    session.echo("/log/queen.log", "once or twice").await.unwrap();
    assert_eq!(fake.count("ECHO /log/queen.log once or twice"), 2);
    assert_eq!(session.reconnects(), 1);
}

#[tokio::test]
async fn or_not_if_so_wished() {
    let fake = Fake::with(|c, line| (c < 2 && !line.starts_with('A')).then(|| vec![Act::Close])).await;
    let session = session(&fake).await.with_resend(Resend::ReadsOnly);
    match session.echo("/log/queen.log", "at most once").await.unwrap_err() {
        Error::Interrupted { verb } => assert_eq!(verb, "ECHO"),
        other => panic!("{other}"),
    }
    assert_eq!(fake.count("ECHO"), 1);
    // Reads go on, and a write that was never sent is no risk.
    session.cat("/proc/boot").await.unwrap();
    session.echo("/log/queen.log", "once").await.unwrap();
    assert_eq!(fake.file("/log/queen.log"), ["once"]);
}

#[tokio::test]
async fn a_wrong_token_is_fatal_at_once() {
    let fake = Fake::start().await;
    let mut target = target(&fake);
    target.auth_token = Secret::new("guess").unwrap();
    match connect(target, quick()).await.unwrap_err() {
        Error::AuthRejected { detail } => assert_eq!(detail, "reason=invalid-token"),
        other => panic!("{other}"),
    }
    assert_eq!(fake.received().len(), 1, "one try");
}

#[tokio::test]
async fn a_hive_that_hangs_up_during_auth_is_tried_three_times_more() {
    let fake = Fake::with(|_, line| line.starts_with("AUTH").then(|| vec![Act::Close])).await;
    match connect(target(&fake), quick()).await.unwrap_err() {
        Error::Lost {
            during: Stage::Auth,
            tries,
        } => assert_eq!(tries, 4),
        other => panic!("{other}"),
    }
    assert_eq!(fake.count("AUTH"), 4);
}

#[tokio::test]
async fn greetings_are_no_success() {
    let fake = Fake::with(|_, line| {
        let greeting = [
            "OK AUTH detail=present-token",
            "[net-console] hello",
            "OK PING reply=pong",
            "OK AUTH",
        ];
        line.starts_with("AUTH").then(|| greeting.map(say).into())
    })
    .await;
    session(&fake).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_refused_attach_is_fatal_unless_the_hive_is_busy() {
    let tries = AtomicUsize::new(0);
    let fake = Fake::with(move |_, line| {
        let busy = line.starts_with("ATTACH") && tries.fetch_add(1, Ordering::Relaxed) < 2;
        busy.then(|| {
            vec![say(
                "ERR ATTACH reason=busy detail=sessions error=too many sessions",
            )]
        })
    })
    .await;
    session(&fake).await;
    assert_eq!(fake.count("ATTACH"), 3);

    let fake = Fake::with(|_, line| {
        line.starts_with("ATTACH")
            .then(|| vec![say("ERR ATTACH reason=policy detail=denied")])
    })
    .await;
    match connect(target(&fake), quick()).await.unwrap_err() {
        Error::AttachRefused(refusal) => assert_eq!(refusal.detail(), "denied"),
        other => panic!("{other}"),
    }
    assert_eq!(fake.count("ATTACH"), 1);
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let addr = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let target = Target::queen("127.0.0.1", addr.port(), Secret::new(TOKEN).unwrap());
    match connect(target, quick()).await.unwrap_err() {
        Error::Unreachable { address, tries, .. } => assert_eq!((address, tries), (addr.to_string(), 4)),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn silence_ends_the_connection_so_that_a_late_answer_is_nobodys() {
    let fake = Fake::with(|_, line| {
        let slow = vec![
            Act::Pause(Duration::from_millis(500)),
            say("OK CAT path=/slow data=late"),
            say("END"),
        ];
        (line == "CAT /slow").then_some(slow)
    })
    .await;
    let session = session(&fake).await;
    match session.cat("/slow").await.unwrap_err() {
        Error::TimedOut { during, .. } => assert_eq!(during, Stage::Command("CAT".into())),
        other => panic!("{other}"),
    }
    assert_eq!(
        session.cat("/proc/lifecycle/state").await.unwrap(),
        ["state=ONLINE"]
    );
    assert_eq!(session.reconnects(), 1);
    assert_eq!(fake.count("CAT /slow"), 1, "a slow hive is not asked twice");
}

#[tokio::test]
async fn an_endless_answer_ends_by_time_and_by_size() {
    let drip = |_: usize, line: &str| {
        (line == "CAT /drip").then(|| {
            let mut acts = vec![say("OK CAT path=/drip data=")];
            for _ in 0..100 {
                acts.extend([say("drip"), Act::Pause(Duration::from_millis(50))]);
            }
            acts
        })
    };
    let session = connect(target(&Fake::with(drip).await), quick()).await.unwrap();
    assert!(matches!(
        session.cat("/drip").await.unwrap_err(),
        Error::TimedOut { .. }
    ));
    let options = Options {
        answer_bytes: 100,
        ..quick()
    };
    let session = connect(target(&Fake::with(drip).await), options).await.unwrap();
    let err = session.cat("/drip").await.unwrap_err();
    assert!(err.to_string().contains("exceeds 100 bytes"), "{err}");
}

#[tokio::test]
async fn a_peer_that_is_no_console_is_named_as_such() {
    let fake = Fake::with(|_, line| {
        (line == "CAT /x").then(|| vec![Act::Bytes(b"HTTP/1.1 400 Bad Request".to_vec())])
    })
    .await;
    let err = session(&fake).await.cat("/x").await.unwrap_err();
    assert!(matches!(err, Error::Protocol(_)), "{err}");
}

#[tokio::test]
async fn commands_of_all_clones_get_their_own_answers() {
    let fake = Fake::start().await;
    for i in 0..20 {
        fake.set_file(&format!("/f/{i}"), &[&format!("content {i}")]);
    }
    let session = session(&fake).await;
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let session = session.clone();
            tokio::spawn(async move { (i, session.cat(&format!("/f/{i}")).await.unwrap()) })
        })
        .collect();
    for task in tasks {
        let (i, lines) = task.await.unwrap();
        assert_eq!(lines, [format!("content {i}")]);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_answer_to_the_next() {
    let fake = Fake::with(|_, line| {
        let late = vec![
            Act::Pause(Duration::from_millis(80)),
            say("OK CAT path=/late data=late"),
            say("late"),
            say("END"),
        ];
        (line == "CAT /late").then_some(late)
    })
    .await;
    let session = session(&fake).await;
    let gone = tokio::time::timeout(Duration::from_millis(20), session.cat("/late")).await;
    assert!(gone.is_err());
    assert_eq!(
        session.cat("/proc/lifecycle/state").await.unwrap(),
        ["state=ONLINE"]
    );
    assert_eq!(session.reconnects(), 0);
}

#[tokio::test]
async fn many_commands_at_once_keep_their_order_and_survive_a_cut() {
    let seen = AtomicUsize::new(0);
    let fake = Fake::with(move |connection, line| {
        let n = if line.starts_with("ECHO") {
            seen.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        // The eleventh is executed by nobody; the ten before it were answered.
        (connection == 0 && n == 10).then(|| vec![Act::Close])
    })
    .await;
    let session = session(&fake).await;
    let mut lines: Vec<String> = (0..40).map(|i| format!("line {i}")).collect();
    lines[20] = String::new();
    let replies = session.echo_all("/log/queen.log", &lines).await.unwrap();
    let refused: Vec<usize> = (0..40).filter(|&i| !replies[i].ack.is_ok()).collect();
    assert_eq!(refused, [20], "ERR PARSE answers the command it belongs to");
    lines.remove(20);
    // At least once: an answer that the cut swallowed was to a line that is there already.
    let mut appended = fake.file("/log/queen.log");
    assert!(appended.len() <= lines.len() + 8, "{appended:?}");
    let mut seen = std::collections::BTreeSet::new();
    appended.retain(|line| seen.insert(line.clone()));
    assert_eq!(appended, lines);
    assert_eq!(session.reconnects(), 1);
}

#[tokio::test]
async fn half_a_frame_and_a_cut_change_nothing() {
    let fake = Fake::start().await;
    let session = session(&fake).await;
    session.sever("/log/queen.log", "never whole", 8).await.unwrap();
    session.echo("/log/queen.log", "whole").await.unwrap();
    assert_eq!(fake.file("/log/queen.log"), ["whole"]);
    assert_eq!(session.reconnects(), 1);
}

#[tokio::test]
async fn an_idle_session_shows_that_it_is_there() {
    let fake = Fake::start().await;
    let options = Options {
        heartbeat: Duration::from_millis(40),
        ..quick()
    };
    let session = connect(target(&fake), options).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    let pings = fake.count("PING");
    assert!((2..=6).contains(&pings), "{pings} PINGs in 250 ms");
    fake.set_file("/log/queen.log", &["PONG"]);
    assert_eq!(session.cat("/log/queen.log").await.unwrap(), ["PONG"]);
}

#[tokio::test]
async fn a_session_idle_through_a_restart_connects_again() {
    let fake = Fake::with(|connection, line| {
        (connection == 0 && line.starts_with("ATTACH")).then(|| vec![say("OK ATTACH role=queen"), Act::Close])
    })
    .await;
    let session = session(&fake).await.with_resend(Resend::ReadsOnly);
    tokio::time::sleep(Duration::from_millis(50)).await;
    session.echo("/log/queen.log", "after").await.unwrap();
    assert_eq!(fake.file("/log/queen.log"), ["after"]);
}

#[tokio::test]
async fn a_dropped_session_says_goodbye() {
    let fake = Fake::start().await;
    drop(session(&fake).await);
    for _ in 0..100 {
        if fake.count("quit") == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no goodbye: {:?}", fake.received());
}

#[tokio::test]
async fn tickets_that_cannot_work_are_not_sent() {
    let fake = Fake::start().await;
    // The vector of WIRE 2.8: worker-heartbeat, subject worker-1.
    let ticket = "cohesix-ticket-0101080800776f726b65722d31000000000000000000000000.\
                  ea7bee86230e67031e6e758fa01c00eaa9c1f0bfff4b41548424a3df0356cff9";
    let with = |role, ticket: Option<&str>| Target {
        role,
        ticket: ticket.map(str::to_owned),
        ..target(&fake)
    };
    for (role, text, expected) in [
        (
            Role::WorkerGpu,
            None,
            TicketError::Missing {
                role: Role::WorkerGpu,
            },
        ),
        (
            Role::Queen,
            Some(ticket),
            TicketError::OtherRole {
                asked: Role::Queen,
                ticket: Role::WorkerHeartbeat,
            },
        ),
        (
            Role::Queen,
            Some("x"),
            TicketError::Unreadable(protocol::ticket::TicketError::MissingPrefix),
        ),
    ] {
        match connect(with(role, text), quick()).await.unwrap_err() {
            Error::Ticket(why) => assert_eq!(why, expected),
            other => panic!("{other}"),
        }
    }
    assert_eq!(fake.received(), []);
    connect(with(Role::WorkerHeartbeat, Some(ticket)), quick())
        .await
        .unwrap();
    assert_eq!(fake.lines_of(0)[1], format!("ATTACH worker-heartbeat {ticket}"));
}

#[tokio::test]
async fn binary_files() {
    let fake = Fake::start().await;
    fake.set_file("/updates/1/manifest.cbor", &["b64:aGVs", "b64:bG8="]);
    let session = session(&fake).await;
    assert_eq!(
        session
            .cat_binary("/updates/1/manifest.cbor")
            .await
            .unwrap()
            .unwrap(),
        b"hello"
    );
    assert!(session.cat_binary("/proc/boot").await.unwrap().is_err());
}

#[tokio::test]
async fn frames_may_come_in_any_pieces() {
    let fake = Fake::with(|_, line| {
        (line == "CAT /pieces").then(|| {
            let mut bytes = Vec::new();
            for line in ["OK CAT path=/pieces data=", "one", &"x".repeat(8188), "END"] {
                bytes.extend(framed(line));
            }
            let pause = Act::Pause(Duration::from_millis(2));
            let (header, rest) = bytes.split_at(2);
            let pieces = std::iter::once(header).chain(rest.chunks(1000));
            pieces
                .flat_map(|piece| [Act::Bytes(piece.to_vec()), pause.clone()])
                .collect()
        })
    })
    .await;
    let lines = session(&fake).await.cat("/pieces").await.unwrap();
    assert_eq!((lines[0].as_str(), lines[1].len()), ("one", 8188));
}

#[tokio::test]
async fn requests_can_be_made_beforehand() {
    let fake = Fake::start().await;
    let requests = ["LS /proc", "PING", "CAT /nope"].map(|line| Request::new(line).unwrap());
    let replies = session(&fake).await.commands(requests.into()).await.unwrap();
    let verbs: Vec<_> = replies.iter().map(|r| (r.ack.verb(), r.ack.is_ok())).collect();
    assert_eq!(verbs, [("LS", true), ("PING", true), ("CAT", false)]);
}

#[tokio::test]
async fn long_and_ambiguous_records_are_put_together_and_verified() {
    let record = "END of a long story ".repeat(30);
    let group: Vec<String> = protocol::chunk::Group::of(&record)
        .unwrap()
        .map(|c| c.to_string())
        .collect();
    let (good, mut bad) = (group.clone(), group);
    assert!(bad.len() > 2);
    let last = bad.last_mut().unwrap();
    last.pop();
    last.push('!');
    let fake = Fake::with(move |_, line| {
        let (chunks, rest) = match line {
            "CAT /good" => (&good[..], "END"),
            "CAT /forged" => (&bad[..], "END"),
            "CAT /short" => (&good[..1], "END"),
            _ => return None,
        };
        let mut acts = vec![say("OK CAT path=/x data="), say("plain")];
        acts.extend(chunks.iter().map(say));
        acts.push(say(rest));
        Some(acts)
    })
    .await;
    let session = session(&fake).await;
    assert_eq!(session.cat("/good").await.unwrap(), ["plain".to_owned(), record]);
    for path in ["/forged", "/short"] {
        let err = session.cat(path).await.unwrap_err();
        assert!(
            matches!(err, Error::Protocol(_)) && err.to_string().contains("read the file again"),
            "{err}"
        );
    }
    session.ping().await.unwrap();
}

#[tokio::test]
async fn a_placeholder_token_stays_on_this_machine() {
    let far = Target::queen("192.0.2.1", 31337, Secret::new("ChangeMe").unwrap());
    assert!(matches!(far.check().unwrap_err(), Error::PlaceholderToken { .. }));
    for host in ["localhost", "127.0.0.1", "::1"] {
        Target {
            host: host.into(),
            ..far.clone()
        }
        .check()
        .unwrap();
    }
}
