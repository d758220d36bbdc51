//! A person at the serial line: what is typed, what is shown, and what goes on when domains die.

mod support;

use std::time::Duration;

use support::Bench;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_line_is_the_logs_until_somebody_types() {
    let mut bench = Bench::new(1);
    bench.wire.log(0, "started\n");
    bench.wire.log(1, "started too\nand goes on\n");
    bench.run(SECOND);
    assert_eq!(
        bench.wire.state().sent,
        b"queen: started\r\nnet: started too\r\nnet: and goes on\r\n"
    );
    bench.type_keys("\r");
    bench.run(SECOND);
    assert_eq!(bench.screen()[3..], ["hive> ", "hive> "]);
}

#[test]
fn who_types_is_the_queen() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.ask("ping"), ["OK PING reply=pong", "PONG"]);
    assert_eq!(
        bench.ask("ECHO /log/queen.log from the machine room"),
        ["OK ECHO path=/log/queen.log bytes=21"]
    );
    let log = bench.ask("LOG");
    assert_eq!((&log[0][..], &log[log.len() - 1][..]), ("OK LOG", "END"));
    assert!(log.contains(&"from the machine room".to_owned()), "{log:?}");
    let ls = bench.ask("LS /");
    assert!(ls[0].starts_with("OK LS path=/ entries="), "{ls:?}");
    assert!(bench.ask("HELP").len() > 10);
    assert!(bench.ask("CAPS")[1].starts_with("[caps] domain=console-serial links=serial:serial:8192,"));
    assert!(bench.ask("BI")[1].contains("door=open"));
    assert!(bench.ask("MEM")[1].starts_with("[mem] sessions=1/1"));
    assert!(bench.ask("NETTEST")[1].contains("door=ok"));
    let stats = bench.ask("NETSTATS");
    assert!(stats[1].contains("typed_bytes=") && stats.len() == 3, "{stats:?}");
    assert_eq!(
        bench.ask("FLY"),
        ["ERR PARSE reason=policy detail=unsupported console command"]
    );
    assert_eq!(bench.ask("AUTH whatever"), ["OK AUTH detail=not-needed"]);
    assert!(bench.ask("").is_empty() && bench.ask("  ").is_empty());
}

#[test]
fn a_session_of_another_role_ends_with_quit_and_a_failed_attach_leaves_nobody() {
    let mut bench = Bench::new(3);
    let denied = bench.ask("ATTACH worker-heartbeat nonsense");
    assert!(
        denied[0].starts_with("ERR ATTACH reason=policy detail=denied"),
        "{denied:?}"
    );
    assert!(bench.ask("LS /")[0].ends_with("detail=unauthenticated"));
    assert_eq!(bench.ask("QUIT"), ["OK QUIT"]);
    assert!(bench.ask("LS /")[0].starts_with("OK LS"));
    assert_eq!(bench.ask("ATTACH queen"), ["OK ATTACH role=queen"]);
    assert_eq!(bench.ask("quit"), ["OK QUIT"]);
    assert!(bench.ask("LOG")[0].starts_with("OK LOG"));
}

#[test]
fn log_lines_come_above_what_is_typed_and_every_line_is_whole() {
    let mut bench = Bench::new(4);
    bench.ask("");
    bench.wire.state().sent.clear();
    for key in "ECHO /log/queen.log abc".chars() {
        bench.type_keys(key.to_string());
        bench.wire.log(0, "first\nsecond\n");
        bench.wire.log(1, "half a line");
        bench.run(Duration::from_millis(20));
    }
    bench.type_keys("\x7f\x7f\x7fxyz\r");
    bench.run(SECOND);
    let screen = bench.screen();
    let ours: Vec<&String> = screen
        .iter()
        .filter(|line| !["queen: first", "queen: second", "net: half a line"].contains(&&line[..]))
        .collect();
    assert_eq!(
        ours,
        [
            "hive> ECHO /log/queen.log xyz",
            "OK ECHO path=/log/queen.log bytes=3",
            "hive> "
        ]
    );
    assert_eq!(screen.len(), 3 + 3 * "ECHO /log/queen.log abc".len());
}

#[test]
fn what_is_no_line_is_refused_or_does_nothing() {
    let mut bench = Bench::new(5);
    let long = "x".repeat(3000);
    assert_eq!(
        bench.ask(&long)[..],
        ["ERR PARSE reason=policy detail=console line exceeded maximum length"]
    );
    bench.type_keys(b"PI\xff\xfe\r");
    bench.wait_for(|line| line == "ERR PARSE reason=policy detail=console line is not text");
    assert_eq!(bench.ask("PI\x1b[D\x01\x00NG")[0], "OK PING reply=pong");
    assert_eq!(bench.ask("KILL everything\x15PING")[0], "OK PING reply=pong");
    bench.type_keys("KILL everything\x03");
    bench.wait_for(|line| line == "hive> KILL everything^C");
    assert_eq!(bench.ask("PING")[0], "OK PING reply=pong");
    let longest = format!("ECHO /log/queen.log {}", "y".repeat(2048));
    assert_eq!(bench.ask(&longest), ["OK ECHO path=/log/queen.log bytes=2048"]);
}

#[test]
fn no_file_controls_the_terminal() {
    let mut bench = Bench::new(6);
    // C1 controls are no ASCII, and pass the console's grammar.
    let echo = "ECHO /log/queen.log a\u{9b}2Jb";
    assert!(bench.ask(echo)[0].starts_with("OK ECHO"));
    let log = bench.ask("LOG");
    assert!(log.contains(&"a?2Jb".to_owned()), "{log:?}");
}

#[test]
fn a_flood_is_worked_off_and_the_log_goes_on() {
    let mut bench = Bench::new(7);
    let mut noise: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    // Commands that nobody meant may be among it, but none of a queen that kills.
    noise.retain(|byte| *byte != b'K');
    bench.type_keys(noise);
    for line in 0..50 {
        bench.wire.log(0, &format!("line {line}\n"));
        bench.run(Duration::from_millis(10));
    }
    bench.type_keys("\x03PING\r");
    bench.wait_for(|line| line == "PONG");
    let screen = bench.screen();
    for line in 0..50 {
        assert!(screen.contains(&format!("queen: line {line}")), "line {line}");
    }
    assert_eq!(bench.ask("PING"), ["OK PING reply=pong", "PONG"]);
}

#[test]
fn typing_ahead_loses_nothing() {
    let mut bench = Bench::new(8);
    let commands: String = (0..300)
        .map(|n| format!("ECHO /log/queen.log line-{n}\n"))
        .collect();
    bench.type_keys(commands);
    bench.wait_for(|line| line == "hive> ECHO /log/queen.log line-299");
    bench.run(SECOND);
    let answers = bench.screen();
    let answered = answers.iter().filter(|line| line.starts_with("OK ECHO")).count();
    assert_eq!(answered, 300);
}

#[test]
fn when_ninedoor_dies_the_queen_is_there_again_without_a_word() {
    let mut bench = Bench::new(9);
    assert!(bench.ask("LS /")[0].starts_with("OK LS"));
    bench.kill("ninedoor");
    assert_eq!(bench.ask("PING"), ["OK PING reply=pong", "PONG"]);
    bench.run(SECOND);
    assert!(bench.ask("LS /")[0].starts_with("OK LS"));
}

#[test]
fn when_the_console_dies_the_log_goes_on_and_the_next_one_is_the_queens_too() {
    let mut bench = Bench::new(10);
    assert!(bench.ask("LS /")[0].starts_with("OK LS"));
    bench.type_keys("half a l");
    bench.run(SECOND);
    bench.kill("console-serial");
    bench.wire.log(1, "goes on\n");
    bench.run(SECOND);
    assert!(bench.screen().contains(&"net: goes on".to_owned()));
    assert!(bench.ask("")[..].is_empty());
    assert!(
        bench.ask("LS /")[0].starts_with("OK LS"),
        "what was typed before is forgotten"
    );
}

#[test]
fn when_the_driver_dies_its_next_life_goes_on() {
    let mut bench = Bench::new(11);
    assert!(bench.ask("LS /")[0].starts_with("OK LS"));
    bench.kill("serial");
    bench.run(SECOND);
    assert_eq!(bench.ask("PING"), ["OK PING reply=pong", "PONG"]);
    assert!(bench.ask("LS /")[0].starts_with("OK LS"));
}
