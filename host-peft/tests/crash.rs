//! `kill -9` before every step of `import`, `activate` and `rollback`, and before every step of the repair; and a disk
//! that is full from every step on.
//!
//! This program is its own helper: started as `crash --kill-before N coh ..` it is a `coh` that kills itself before its
//! N-th change of the file system, and as `crash --full-before N coh ..` one that from then on finds no room. Each test
//! raises N until the command gets to its end, and after each end before that looks at what is on the disk: as Python's
//! client does, as `gpu-bridge-host` does, and as the next `coh` does.

#[path = "../../client/tests/support/mod.rs"]
mod hive;
mod places;

use std::cell::Cell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use clap::Parser;
use host_peft::cli::Cli;
use host_peft::disk::{Step, Watch};

use hive::{Fake, TOKEN, say};
use places::{Place, Seen, python_sees};

const KILL_BEFORE: &str = "--kill-before";
const FULL_BEFORE: &str = "--full-before";
const SIGKILL: i32 = 9;
const HIVE_ACTIVE: &str = "/gpu/models/active";
/// No command takes so many steps: a test that gets here goes in circles.
const MANY: usize = 200;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, flag, step, coh @ ..] = &arguments[..]
        && let Some(trouble) = Trouble::ALL.into_iter().find(|trouble| trouble.flag() == flag)
    {
        let step = Cell::new(step.parse().expect("a number of a step"));
        return ExitCode::from(host_peft::run(&Cli::parse_from(coh), &Before { trouble, step }));
    }
    let tests: [(&str, fn()); 6] = [
        (
            "an_import_is_there_whole_or_not_at_all",
            an_import_is_there_whole_or_not_at_all,
        ),
        (
            "a_first_activation_has_happened_or_not",
            a_first_activation_has_happened_or_not,
        ),
        (
            "an_activation_has_happened_or_not",
            an_activation_has_happened_or_not,
        ),
        ("a_rollback_has_happened_or_not", a_rollback_has_happened_or_not),
        (
            "a_refused_activation_is_taken_back",
            a_refused_activation_is_taken_back,
        ),
        ("a_repair_may_be_killed_as_well", a_repair_may_be_killed_as_well),
    ];
    // As the standard harness does: a name chooses the tests that have it in theirs.
    let wanted = arguments
        .iter()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    for (name, test) in tests {
        if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            test();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// What happens to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It is killed.
    Killed,
    /// Its disk is full.
    DiskFull,
}

impl Trouble {
    const ALL: [Trouble; 2] = [Trouble::Killed, Trouble::DiskFull];

    fn flag(self) -> &'static str {
        match self {
            Trouble::Killed => KILL_BEFORE,
            Trouble::DiskFull => FULL_BEFORE,
        }
    }

    /// Whether it came before the command got to its end.
    fn struck(self, output: &Output) -> bool {
        match self {
            Trouble::Killed => died(output),
            Trouble::DiskFull => {
                let full = String::from_utf8_lossy(&output.stderr).contains("no storage space");
                assert!(!full || output.status.code() != Some(0), "{output:?}");
                full
            }
        }
    }
}

/// Counts down to the trouble.
struct Before {
    trouble: Trouble,
    step: Cell<usize>,
}

impl Watch for Before {
    fn before(&self, step: Step<'_>) -> io::Result<()> {
        let left = self.step.get();
        // A disk that is full stays so; zero is no trouble at all.
        let strikes = left == 1;
        if left > 1 {
            self.step.set(left - 1);
        }
        match (self.trouble, step) {
            _ if !strikes => Ok(()),
            (Trouble::Killed, _) => {
                // The real thing: no destructor runs, nothing is flushed.
                let me = rustix::process::getpid();
                rustix::process::kill_process(me, rustix::process::Signal::KILL)
                    .expect("a process may kill itself");
                Ok(())
            }
            (Trouble::DiskFull, Step::MakeDir(_) | Step::Create(_) | Step::Write(_)) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            // What needs no room goes on.
            (Trouble::DiskFull, _) => Ok(()),
        }
    }
}

/// Runs `coh`, which meets trouble before that step if it gets there.
fn coh(trouble: Trouble, step: usize, arguments: &[&str]) -> Output {
    Command::new(std::env::current_exe().expect("this program"))
        .args([trouble.flag(), &step.to_string(), "coh"])
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .output()
        .expect("it starts again")
}

fn died(output: &Output) -> bool {
    output.status.signal() == Some(SIGKILL)
}

fn assert_status(output: &Output, status: i32, context: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{context}: {said}");
}

/// A hive in a thread of its own. While `refuses` is set it takes no model.
struct Hive {
    fake: Fake,
    refuses: Arc<AtomicBool>,
}

impl Hive {
    fn start() -> Hive {
        let refuses = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let flag = Arc::clone(&refuses);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let fake = Fake::with(move |_, line| {
                    let refused = flag.load(Ordering::Relaxed) && line.starts_with("ECHO /gpu/models/active ");
                    refused.then(|| {
                        vec![say(
                            "ERR ECHO reason=policy detail=invalid-path path=/gpu/models/active error=invalid path",
                        )]
                    })
                })
                .await;
                fake.set_file(HIVE_ACTIVE, &[]);
                sender.send(fake).expect("the test waits for it");
                std::future::pending::<()>().await;
            });
        });
        Hive {
            fake: receiver.recv().expect("a hive"),
            refuses,
        }
    }

    /// `coh peft ..` against this hive.
    fn peft(&self, step: usize, arguments: &[&str], registry: &Path) -> Output {
        self.peft_in(Trouble::Killed, step, arguments, registry)
    }

    fn peft_in(&self, trouble: Trouble, step: usize, arguments: &[&str], registry: &Path) -> Output {
        let port = self.fake.addr.port().to_string();
        let mut all = vec!["--tcp-port", &port, "--auth-token", TOKEN, "peft"];
        all.extend_from_slice(arguments);
        all.extend(["--registry", registry.to_str().expect("UTF-8")]);
        coh(trouble, step, &all)
    }

    fn active(&self) -> Option<String> {
        self.fake.file(HIVE_ACTIVE).pop()
    }
}

fn an_import_is_there_whole_or_not_at_all() {
    Trouble::ALL.into_iter().for_each(import_in);
}

fn import_in(trouble: Trouble) {
    let place = Place::new();
    let import = |trouble, step, model: &str, registry: &Path| {
        let paths = [place.adapter(), place.export(), registry.to_owned()];
        let [adapter, export, registry] = paths.each_ref().map(|path| path.to_str().expect("UTF-8"));
        coh(
            trouble,
            step,
            &[
                "peft",
                "import",
                "--model",
                model,
                "--from",
                adapter,
                "--job",
                "job-1",
                "--export",
                export,
                "--registry",
                registry,
            ],
        )
    };
    for step in 1..MANY {
        // From nothing at all: the registry is made as well.
        let registry = place.fresh();
        let first = import(trouble, step, "M", &registry);
        let whole = places::imported(&registry, "M");
        if !trouble.struck(&first) {
            assert_status(&first, 0, "import");
            assert!(whole && step > 10, "{trouble:?}: {step} steps");
            return;
        }
        // Python imports a model if its directory has no manifest: it has to be able to.
        assert_eq!(
            whole,
            registry.join("available/M").exists(),
            "{trouble:?}: step {step}"
        );
        let again = import(trouble, 0, "M", &registry);
        assert_status(
            &again,
            if whole { 5 } else { 0 },
            &format!("{trouble:?}: after step {step}"),
        );
        assert!(places::imported(&registry, "M"), "{trouble:?}: after step {step}");
        assert!(
            places::nothing_is_staged(&registry),
            "{trouble:?}: after step {step}"
        );
        assert_status(&import(trouble, 0, "N", &registry), 0, "another model");
    }
    panic!("it never ends");
}

/// Each trouble for `arguments` before each step, from `before` to `after`, and then does it to the end.
fn change(hive: &Hive, place: &Place, arguments: &[&str], before: Seen, after: Seen) {
    for trouble in Trouble::ALL {
        change_in(trouble, hive, place, arguments, &before, &after);
    }
}

fn change_in(trouble: Trouble, hive: &Hive, place: &Place, arguments: &[&str], before: &Seen, after: &Seen) {
    for step in 1..MANY {
        let registry = place.registry(before);
        hive.fake.set_file(HIVE_ACTIVE, before.current.as_slice());
        let output = hive.peft_in(trouble, step, arguments, &registry);
        let python = python_sees(&registry).unwrap_or_else(|why| panic!("{trouble:?}: step {step}: {why}"));
        if !trouble.struck(&output) {
            assert_status(&output, 0, "to the end");
            assert_eq!(python, *after);
            assert!(!registry.join("active.intent").exists());
            assert_eq!(hive.active().as_deref(), after.current);
            assert!(step > 10, "{trouble:?}: {step} steps");
            return;
        }
        // Python sees what is active, and only while the change is under way not what was before it.
        let whole = python == *before || python == *after;
        let half = python.previous.is_none() && [before.current, after.current].contains(&python.current);
        assert!(whole || half, "{trouble:?}: step {step}: {python:?}");
        assert!(half || python.current != before.current || hive.active().as_deref() != after.current);
        // The bridge reads `active` alone; what it has seen does not change back.
        let has_happened = python.current == after.current;
        let seen = places::coh_sees(&registry);
        assert_eq!(
            seen,
            if has_happened {
                after.clone()
            } else {
                before.clone()
            },
            "{trouble:?}: step {step}"
        );

        // The next command, whichever it is, gets both to the same end.
        let output = hive.peft(0, &["activate", "--model", "C"], &registry);
        assert_status(&output, 0, &format!("{trouble:?}: after step {step}"));
        let python = python_sees(&registry).unwrap();
        assert_eq!(
            (python.current, python.previous),
            (Some("C"), seen.current),
            "{trouble:?}: step {step}"
        );
        assert_eq!(hive.active().as_deref(), Some("C"));
        let told = hive.fake.file(HIVE_ACTIVE);
        assert_eq!(
            told.iter().any(|line| Some(line.as_str()) == after.current),
            has_happened,
            "{trouble:?}: step {step}: the hive has to know of what has happened: {told:?}"
        );
        assert!(!registry.join("active.intent").exists() && places::nothing_is_staged(&registry));
    }
    panic!("it never ends");
}

fn a_first_activation_has_happened_or_not() {
    let (hive, place) = (Hive::start(), Place::new());
    let activate = ["activate", "--model", "B"];
    change(
        &hive,
        &place,
        &activate,
        Seen::new(None, None),
        Seen::new(Some("B"), None),
    );
}

fn an_activation_has_happened_or_not() {
    let (hive, place) = (Hive::start(), Place::new());
    let activate = ["activate", "--model", "B"];
    let before = Seen::new(Some("A"), Some("D"));
    change(&hive, &place, &activate, before, Seen::new(Some("B"), Some("A")));
}

fn a_rollback_has_happened_or_not() {
    let (hive, place) = (Hive::start(), Place::new());
    let before = Seen::new(Some("A"), Some("B"));
    change(
        &hive,
        &place,
        &["rollback"],
        before,
        Seen::new(Some("B"), Some("A")),
    );
}

fn a_refused_activation_is_taken_back() {
    let (hive, place) = (Hive::start(), Place::new());
    hive.refuses.store(true, Ordering::Relaxed);
    for before in [Seen::new(None, None), Seen::new(Some("A"), Some("D"))] {
        let mut completed = false;
        for step in 1..MANY {
            let registry = place.registry(&before);
            let output = hive.peft(step, &["activate", "--model", "B"], &registry);
            completed = !died(&output);
            if completed {
                assert_status(&output, 5, "refused");
            } else {
                let python = python_sees(&registry).unwrap_or_else(|why| panic!("step {step}: {why}"));
                assert!(
                    [before.current, Some("B")].contains(&python.current),
                    "step {step}: {python:?}"
                );
                // Whoever comes next: the hive still refuses, and so nothing has happened.
                assert_status(&hive.peft(0, &["activate", "--model", "C"], &registry), 5, "next");
            }
            assert_eq!(python_sees(&registry).unwrap(), before, "step {step}");
            assert!(!registry.join("active.intent").exists());
            if completed {
                break;
            }
        }
        assert!(completed, "it never ends");
    }
}

fn a_repair_may_be_killed_as_well() {
    let (hive, place) = (Hive::start(), Place::new());
    let before = Seen::new(Some("A"), Some("D"));
    let after = Seen::new(Some("B"), Some("A"));
    for step in 1..MANY {
        let registry = place.registry(&before);
        if !died(&hive.peft(step, &["activate", "--model", "B"], &registry)) {
            return;
        }
        let expected = places::coh_sees(&registry);
        for second in 1..MANY {
            let copy = place.copy(&registry);
            // It is repaired on the way to saying that there is no such model.
            let output = hive.peft(second, &["activate", "--model", "none"], &copy);
            let python = python_sees(&copy).unwrap_or_else(|why| panic!("{step}, {second}: {why}"));
            assert_eq!(python.current, expected.current, "step {step}, then {second}");
            assert_eq!(places::coh_sees(&copy), expected, "step {step}, then {second}");
            if !died(&output) {
                assert_status(&output, 5, "repaired");
                assert!(python == before || python == after, "{python:?}");
                break;
            }
        }
    }
    panic!("it never ends");
}
