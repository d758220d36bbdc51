//! The root console, typed at over the serial line of a hive on seL4.
//!
//! Needs the socket of `hive-qemu --serial PATH` in `HIVE_SERIAL`; without it each test says that it was skipped. With
//! `HIVE_ADDR` beside it the hive has a network too; the tests about what goes on without `console-tcp` need fault injection.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tests::Hive;

/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long what was typed may take before it is typed again.
const RETRY: Duration = Duration::from_secs(3);
/// One read of the line.
const READ: Duration = Duration::from_millis(100);
const PROMPT: &str = "hive> ";
/// What the driver sends to print a line above the one in which somebody types.
const WIPE: &str = "\r\u{1b}[K";
const CTRL_C: &str = "\u{3}";

/// The line is one: a test has it alone.
static LINE: Mutex<()> = Mutex::new(());

/// Makes each command to synchronise with one of its own.
static MARK: AtomicU32 = AtomicU32::new(0);

/// A terminal at the serial line.
struct Terminal {
    stream: UnixStream,
    /// What was shown since it was last asked something.
    shown: Vec<u8>,
    _alone: MutexGuard<'static, ()>,
}

impl Terminal {
    /// At the line of the hive that is to be tested, if it has one, with a prompt.
    fn open() -> Option<Self> {
        let Some(path) = std::env::var_os("HIVE_SERIAL") else {
            println!("skipped: HIVE_SERIAL names no serial line; .ci/run sel4 boots a hive that has one");
            return None;
        };
        let alone = LINE.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = UnixStream::connect(path).expect("connect to the serial line");
        stream.set_read_timeout(Some(READ)).expect("a read timeout");
        let mut terminal = Terminal {
            stream,
            shown: Vec::new(),
            _alone: alone,
        };
        terminal.drop_line();
        Some(terminal)
    }

    /// Drops whatever was typed before, and waits until a command that nobody else types was answered. What is typed
    /// while a domain of the line starts anew is lost, so it is typed again.
    fn drop_line(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mark = format!("mark-{}", MARK.fetch_add(1, Ordering::Relaxed));
            self.shown.clear();
            self.keys(format!("{CTRL_C}{mark}\r"));
            let typed = format!("{PROMPT}{mark}");
            let is_answered = |lines: &[String]| {
                let after = lines.iter().skip_while(|line| **line != typed);
                after.skip(1).any(|line| line == PROMPT)
            };
            if self.within(RETRY, is_answered).is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "it stays at {:#?}", lines(&self.shown));
        }
    }

    fn keys(&mut self, keys: impl AsRef<[u8]>) {
        self.stream.write_all(keys.as_ref()).expect("type");
    }

    /// Reads until `done` is content with the lines that are shown. The last of them is the open one.
    fn until(&mut self, done: impl Fn(&[String]) -> bool) -> Vec<String> {
        let lines = self.within(PATIENCE, done);
        lines.unwrap_or_else(|lines| panic!("it stays at {lines:#?}"))
    }

    /// As `until`; what is shown when the time is over.
    fn within(
        &mut self,
        time: Duration,
        done: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>, Vec<String>> {
        let deadline = Instant::now() + time;
        loop {
            let lines = lines(&self.shown);
            if done(&lines) {
                return Ok(lines);
            }
            if Instant::now() >= deadline {
                return Err(lines);
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the serial line has ended"),
                Ok(count) => self.shown.extend_from_slice(&chunk[..count]),
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "{error}"
                ),
            }
        }
    }

    /// Types a line; the answer without the log's lines.
    fn ask(&mut self, line: &str) -> Vec<String> {
        self.shown.clear();
        self.keys(format!("{line}\r"));
        // A prompt is also shown again below a log line that comes before the first key.
        let lines = self
            .until(|lines| lines.last().is_some_and(|last| last == PROMPT) && answer(lines).next().is_some());
        answer(&lines).cloned().collect()
    }

    /// As `ask`, until it is no longer refused as busy.
    fn settle(&mut self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(line);
            if !answer.iter().any(|line| line.contains("reason=busy")) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{line} is still refused: {answer:?}");
        }
    }

    /// Makes a domain fault and waits until the supervisor has started it anew, or given it up; what it says of it then.
    fn kill(&mut self, domain: &str) -> String {
        let restarts = |terminal: &mut Terminal| {
            let child = format!("child={domain} ");
            let told = terminal.settle("CAT /proc/supervisor");
            told.into_iter()
                .find(|line| line.starts_with(&child))
                .expect(domain)
        };
        let before = restarts(self);
        // The answer may be lost with the domain that carries it.
        self.keys(format!("ECHO /proc/actors/{domain}/fault panic\r"));
        self.drop_line();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = restarts(self);
            if now != before {
                return now;
            }
            assert!(Instant::now() < deadline, "{domain} does not die: {now}");
        }
    }

    fn can_inject(&mut self) -> bool {
        let files = self.settle("LS /proc/actors/console-tcp");
        let can = files.contains(&"fault".to_owned());
        if !can {
            println!("skipped: the hive's manifest does not allow faults to be injected");
        }
        can
    }
}

/// The lines of what was shown; the last is open.
fn lines(shown: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(shown);
    let line = |line: &str| line.rsplit(WIPE).next().unwrap_or_default().to_owned();
    text.split("\r\n").map(line).collect()
}

/// The lines of an answer: not the first, which is what was typed after a prompt that had been there, not the log's, and
/// not what is typed shown again below them.
fn answer(lines: &[String]) -> impl Iterator<Item = &String> {
    let answers = lines.iter().skip(1);
    answers.filter(|line| !is_log(line) && !line.starts_with(PROMPT))
}

/// Whether a line is the log's: a domain's name, a colon and its text.
fn is_log(line: &str) -> bool {
    let name = line.split_once(": ").map(|(name, _)| name);
    name.is_some_and(|name| {
        [
            "serial",
            "supervisor",
            "timer",
            "net",
            "queen",
            "ninedoor",
            "probe",
        ]
        .contains(&name)
            || name.starts_with("console-")
            || name.starts_with("worker-")
    })
}

#[test]
fn who_sits_at_the_machine_is_the_queen() {
    let Some(mut terminal) = Terminal::open() else {
        return;
    };
    assert_eq!(terminal.ask("PING"), ["OK PING reply=pong", "PONG"]);
    let boot = terminal.ask("CAT /proc/boot");
    assert!(boot[0].starts_with("OK CAT path=/proc/boot"), "{boot:?}");
    assert!(boot.contains(&"host=sel4".to_owned()), "{boot:?}");
    let listed = terminal.ask("LS /proc/actors");
    for domain in ["serial", "console-serial", "ninedoor", "queen"] {
        assert!(listed.contains(&domain.to_owned()), "{listed:?}");
    }
    assert_eq!(
        terminal.ask("ECHO /log/queen.log typed at the machine"),
        ["OK ECHO path=/log/queen.log bytes=20"]
    );
    let log = terminal.ask("TAIL /log/queen.log");
    assert!(log.contains(&"typed at the machine".to_owned()), "{log:?}");
    let spawned = terminal.settle(r#"SPAWN {"spawn":"heartbeat","ticks":100}"#);
    assert!(spawned[0].starts_with("OK SPAWN"), "{spawned:?}");
    let workers = terminal.ask("LS /worker");
    let worker = workers
        .iter()
        .rfind(|name| name.starts_with("worker-"))
        .expect("a worker");
    assert_eq!(
        terminal.ask(&format!("KILL {worker}")),
        [format!("OK KILL id={worker}")]
    );
    assert!(terminal.ask("CAPS")[1].starts_with("[caps] domain=console-serial "));
    assert_eq!(terminal.ask("AUTH whatever"), ["OK AUTH detail=not-needed"]);
    let other = terminal.ask("ATTACH worker-heartbeat no-ticket");
    assert!(
        other[0].starts_with("ERR ATTACH reason=policy detail=denied"),
        "{other:?}"
    );
    assert_eq!(
        terminal.ask("LS /"),
        ["ERR LS reason=policy detail=unauthenticated"]
    );
    assert_eq!(terminal.ask("QUIT"), ["OK QUIT"]);
    assert!(terminal.ask("LS /")[0].starts_with("OK LS"));
}

#[test]
fn without_a_network_card_the_node_says_so_and_the_root_console_works() {
    if std::env::var("HIVE_NETWORK").as_deref() != Ok("none") {
        println!("skipped: HIVE_NETWORK=none does not say that the hive has no network card");
        return;
    }
    let Some(mut terminal) = Terminal::open() else {
        return;
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = terminal.settle("CAT /proc/supervisor");
        if told.contains(&"degraded=yes".to_owned()) {
            assert!(
                told.iter().any(|line| line.starts_with("child=net state=down")),
                "{told:?}"
            );
            break;
        }
        assert!(Instant::now() < deadline, "{told:?}");
    }
    let state = terminal.settle("CAT /proc/lifecycle/state");
    assert!(state.contains(&"state=DEGRADED".to_owned()), "{state:?}");
    assert_eq!(
        terminal.ask("ECHO /log/queen.log nobody else is here"),
        ["OK ECHO path=/log/queen.log bytes=19"]
    );
}

#[test]
fn the_two_consoles_are_one_hive() {
    let Some(mut terminal) = Terminal::open() else {
        return;
    };
    if std::env::var_os("HIVE_ADDR").is_none() {
        println!("skipped: HIVE_ADDR does not say where the hive's network is");
        return;
    }
    let hive = Hive::any();
    let mut console = hive.queen();
    assert!(terminal.ask("ECHO /log/queen.log over serial")[0].starts_with("OK ECHO"));
    assert!(console.cat("/log/queen.log").contains(&"over serial".to_owned()));
    assert!(console.ask("ECHO /log/queen.log over tcp").starts_with("OK ECHO"));
    assert!(terminal.ask("LOG").contains(&"over tcp".to_owned()));
}

#[test]
fn what_is_no_line_is_refused_or_does_nothing() {
    let Some(mut terminal) = Terminal::open() else {
        return;
    };
    assert_eq!(
        terminal.ask(&"x".repeat(5000)),
        ["ERR PARSE reason=policy detail=console line exceeded maximum length"]
    );
    terminal.keys(b"PI\xff\xfe\r");
    terminal.until(|lines| {
        lines
            .iter()
            .any(|line| line == "ERR PARSE reason=policy detail=console line is not text")
    });
    assert_eq!(terminal.ask("PI\u{1b}[A\u{1}\u{0}NG")[0], "OK PING reply=pong");
    assert_eq!(
        terminal.ask("KILL worker-1\u{15}PINX\u{7f}G")[0],
        "OK PING reply=pong"
    );
    assert_eq!(
        terminal.ask("nonsense"),
        ["ERR PARSE reason=policy detail=unsupported console command"]
    );
    let longest = format!("ECHO /log/queen.log {}", "y".repeat(2048));
    assert_eq!(terminal.ask(&longest), ["OK ECHO path=/log/queen.log bytes=2048"]);
}

#[test]
fn garbage_and_a_flood_are_worked_off() {
    let Some(mut terminal) = Terminal::open() else {
        return;
    };
    // Not a line end among it, so that nothing is executed: then lines by the thousand.
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    terminal.keys(noise);
    terminal.drop_line();
    assert_eq!(terminal.ask("PING"), ["OK PING reply=pong", "PONG"]);
    terminal.shown.clear();
    terminal.keys("PING\r".repeat(1000));
    let lines = terminal.until(|lines| lines.iter().filter(|line| *line == "PONG").count() == 1000);
    let acks = lines.iter().filter(|line| *line == "OK PING reply=pong");
    assert_eq!(acks.count(), 1000, "every line is answered, in whole lines");
}

#[test]
fn when_the_tcp_console_dies_the_log_is_whole_and_the_root_console_goes_on() {
    let Some(mut terminal) = Terminal::open() else {
        return;
    };
    if !terminal.can_inject() || std::env::var_os("HIVE_ADDR").is_none() {
        return;
    }
    let told = terminal.kill("console-tcp");
    assert!(told.contains("reason=panic"), "{told}");
    assert!(terminal.settle("LS /")[0].starts_with("OK LS"));
    for domain in ["net", "ninedoor", "queen", "console-serial", "serial"] {
        let told = terminal.kill(domain);
        assert!(told.contains("reason=panic"), "{told}");
        assert!(terminal.settle("LS /")[0].starts_with("OK LS"), "after {domain}");
        assert_eq!(
            terminal.settle("ECHO /log/queen.log still here"),
            ["OK ECHO path=/log/queen.log bytes=10"]
        );
    }
}

#[test]
fn log_lines_come_above_what_is_typed() {
    let Some(mut terminal) = Terminal::open() else {
        return;
    };
    if !terminal.can_inject() {
        return;
    }
    terminal.shown.clear();
    let command = "ECHO /proc/actors/worker-gpu/fault panic\rECHO /log/queen.log abcdefghijklmnopqrstuvwxyz";
    for key in command.chars() {
        terminal.keys(key.to_string());
    }
    let restarted = |lines: &[String]| {
        lines
            .iter()
            .any(|line| line.starts_with("worker-gpu: started at "))
    };
    terminal.until(restarted);
    terminal.keys("\r");
    let lines = terminal.until(|lines| {
        restarted(lines)
            && lines
                .iter()
                .any(|line| line == "OK ECHO path=/log/queen.log bytes=26")
    });
    assert!(
        lines.contains(&"supervisor: worker-gpu: panic; restarted".to_owned()),
        "{lines:#?}"
    );
    assert!(
        lines.contains(&"hive> ECHO /log/queen.log abcdefghijklmnopqrstuvwxyz".to_owned()),
        "{lines:#?}"
    );
}
