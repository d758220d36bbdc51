//! The parser: verb, then what belongs to it.
//!
//! Answers for the exact form of every command and for its usage line. Verbs are lower case, as public scripts write
//! them; a verb in another case is unknown.

use std::path::PathBuf;
use std::time::Duration;

use protocol::control::Budget;
use protocol::lifecycle;
use protocol::path::Path;
use protocol::role::Role;

use super::echo::{split, unquote};
use super::error::CommandError;
use super::options::Options;
use super::{Command, Mode, PoolBench, PoolKind, Spawn};

/// Usage of every command, for `help` and for error messages.
pub(crate) mod usage {
    pub(crate) const ATTACH: &str =
        "attach <queen|worker-heartbeat|worker-gpu|worker-bus|worker-lora> [ticket]";
    pub(crate) const LS: &str = "ls <path>";
    pub(crate) const CAT: &str = "cat <path> [--out <file>]";
    pub(crate) const TAIL: &str = "tail <path> [lines]";
    pub(crate) const ECHO: &str = "echo <text> > <path>";
    pub(crate) const SPAWN: &str = "spawn heartbeat ticks=<n> [ttl_s=<n>] [ops=<n>] | spawn gpu gpu_id=<id> \
        mem_mb=<n> streams=<n> ttl_s=<n> [priority=<n>] [budget_ttl_s=<n>] [budget_ops=<n>]";
    pub(crate) const KILL: &str = "kill <worker id>";
    pub(crate) const BIND: &str = "bind <from> <to>";
    pub(crate) const MOUNT: &str = "mount <service> <path>";
    pub(crate) const LIFECYCLE: &str = "lifecycle <cordon|drain|resume|quiesce|reset>";
    pub(crate) const TEST: &str = "test [--mode quick|full] [--json] [--timeout <1..120 s>]";
    pub(crate) const TCP_DIAG: &str = "tcp-diag [port]";
    pub(crate) const TELEMETRY: &str = "telemetry push <file> --device <id>";
    pub(crate) const POOL: &str = "pool bench path=<path> ops=<n> [batch=<n>] [payload=<text>] [payload_bytes=<n>] \
        [kind=control|telemetry] [delay_ms=<n>] [inject_failures=<n>] [inject_bytes=<n>] [exhaust=<n>]";
    pub(crate) const RAW: &str = "raw <console line>";
    pub(crate) const NO_ARGUMENTS: &str = "the command takes no arguments";
}

/// Longest time `test` may take, seconds.
const MAX_TEST_S: u64 = 120;
/// How long `test` takes at most unless told otherwise, seconds.
const DEFAULT_TEST_S: u64 = 30;

/// Reads one command line.
pub fn parse(line: &str) -> Result<Command, CommandError> {
    let line = line.trim();
    let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    match verb {
        "help" => none(&words, Command::Help),
        "quit" | "exit" => none(&words, Command::Quit),
        "detach" => none(&words, Command::Detach),
        "log" => none(&words, Command::Log),
        "ping" => none(&words, Command::Ping),
        "attach" | "login" => attach(&words),
        "ls" => Ok(Command::Ls {
            path: only_path("LS", &words, usage::LS)?,
        }),
        "cat" => cat(&words),
        "tail" => tail(&words),
        "echo" => echo(rest),
        "spawn" => spawn(&words).map(Command::Spawn),
        "kill" => Ok(Command::Kill {
            id: one(&words, "worker", usage::KILL)?,
        }),
        "bind" => bind(&words),
        "mount" => mount(&words),
        "lifecycle" => lifecycle_command(&words),
        "test" => test(&words),
        "tcp-diag" => tcp_diag(&words),
        "telemetry" => telemetry(&words),
        "pool" => pool(&words).map(Command::PoolBench),
        "raw" if rest.trim().is_empty() => Err(missing("line", usage::RAW)),
        "raw" => Ok(Command::Raw {
            line: rest.trim().to_owned(),
        }),
        _ => Err(CommandError::UnknownVerb(verb.to_owned())),
    }
}

fn wrong(what: impl Into<String>, usage: &'static str) -> CommandError {
    CommandError::Usage {
        what: what.into(),
        usage,
    }
}

fn missing(argument: &str, usage: &'static str) -> CommandError {
    wrong(format!("missing required argument: {argument}"), usage)
}

fn none(words: &[&str], command: Command) -> Result<Command, CommandError> {
    match words.first() {
        None => Ok(command),
        Some(word) => Err(wrong(
            format!("unexpected argument `{word}`"),
            usage::NO_ARGUMENTS,
        )),
    }
}

/// The only argument.
fn one(words: &[&str], name: &str, usage: &'static str) -> Result<String, CommandError> {
    match words {
        [] => Err(missing(name, usage)),
        [word] => Ok(unquote(word).to_owned()),
        [_, extra, ..] => Err(wrong(format!("unexpected argument `{extra}`"), usage)),
    }
}

fn only_path(verb: &'static str, words: &[&str], usage: &'static str) -> Result<String, CommandError> {
    path(verb, &one(words, "path", usage)?)
}

/// Checks a path as the hive will.
fn path(verb: &'static str, text: &str) -> Result<String, CommandError> {
    let text = unquote(text);
    match Path::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(CommandError::Path {
            verb,
            path: text.to_owned(),
            why,
        }),
    }
}

fn attach(words: &[&str]) -> Result<Command, CommandError> {
    let (role, ticket) = match words {
        [] => return Err(missing("role", usage::ATTACH)),
        [role] => (role, None),
        [role, ticket] => (role, Some((*ticket).to_owned())),
        [_, _, extra, ..] => return Err(wrong(format!("unexpected argument `{extra}`"), usage::ATTACH)),
    };
    match Role::from_label(role) {
        Some(role) => Ok(Command::Attach { role, ticket }),
        None => Err(wrong(
            format!("invalid value for argument role: `{role}`"),
            usage::ATTACH,
        )),
    }
}

fn cat(words: &[&str]) -> Result<Command, CommandError> {
    match words {
        [file, "--out", out] => Ok(Command::Cat {
            path: path("CAT", file)?,
            out: Some(PathBuf::from(unquote(out))),
        }),
        [_, "--out"] => Err(missing("--out <file>", usage::CAT)),
        _ => Ok(Command::Cat {
            path: only_path("CAT", words, usage::CAT)?,
            out: None,
        }),
    }
}

fn tail(words: &[&str]) -> Result<Command, CommandError> {
    let (file, lines) = match words {
        [file, lines] => match lines.parse() {
            Ok(n) if (1..=256).contains(&n) => (file, Some(n)),
            _ => {
                return Err(wrong(
                    format!("`{lines}` is no number of lines from 1 to 256"),
                    usage::TAIL,
                ));
            }
        },
        [file] => (file, None),
        _ => return only_path("TAIL", words, usage::TAIL).map(|path| Command::Tail { path, lines: None }),
    };
    Ok(Command::Tail {
        path: path("TAIL", file)?,
        lines,
    })
}

fn echo(arguments: &str) -> Result<Command, CommandError> {
    match split(arguments) {
        None => Err(wrong("there is no `> <path>`", usage::ECHO)),
        Some((_, "")) => Err(missing("path", usage::ECHO)),
        Some((text, file)) => Ok(Command::Echo {
            text: text.to_owned(),
            path: path("ECHO", file)?,
        }),
    }
}

fn spawn(words: &[&str]) -> Result<Spawn, CommandError> {
    let Some((kind, words)) = words.split_first() else {
        return Err(missing("role", usage::SPAWN));
    };
    let mut options = Options::new(words, usage::SPAWN)?;
    let spawn = match *kind {
        "heartbeat" | "worker" | "worker-heartbeat" => Spawn::Heartbeat {
            ticks: options.need_some("ticks")?,
            budget: Budget {
                ttl_s: options.take("ttl_s")?,
                ops: options.take("ops")?,
            },
        },
        "gpu" | "worker-gpu" => Spawn::Gpu {
            gpu_id: options.need("gpu_id")?,
            mem_mb: options.need_some("mem_mb")?,
            streams: options.need_some("streams")?,
            ttl_s: options.need_some("ttl_s")?,
            priority: options.take("priority")?.unwrap_or(0),
            budget: Budget {
                ttl_s: options.take("budget_ttl_s")?,
                ops: options.take("budget_ops")?,
            },
        },
        other => {
            return Err(wrong(
                format!("invalid value for argument role: `{other}`"),
                usage::SPAWN,
            ));
        }
    };
    options.finish()?;
    Ok(spawn)
}

fn bind(words: &[&str]) -> Result<Command, CommandError> {
    match words {
        [from, to] => Ok(Command::Bind {
            from: path("ECHO", from)?,
            to: path("ECHO", to)?,
        }),
        [] | [_] => Err(missing("path", usage::BIND)),
        [_, _, extra, ..] => Err(wrong(format!("unexpected argument `{extra}`"), usage::BIND)),
    }
}

fn mount(words: &[&str]) -> Result<Command, CommandError> {
    match words {
        [service, at] => Ok(Command::Mount {
            service: unquote(service).to_owned(),
            at: path("ECHO", at)?,
        }),
        [] | [_] => Err(missing("service or path", usage::MOUNT)),
        [_, _, extra, ..] => Err(wrong(format!("unexpected argument `{extra}`"), usage::MOUNT)),
    }
}

fn lifecycle_command(words: &[&str]) -> Result<Command, CommandError> {
    let word = one(words, "action", usage::LIFECYCLE)?;
    match lifecycle::Command::from_label(&word) {
        Some(command) => Ok(Command::Lifecycle(command)),
        None => Err(wrong(
            format!("invalid value for argument action: `{word}`"),
            usage::LIFECYCLE,
        )),
    }
}

fn test(words: &[&str]) -> Result<Command, CommandError> {
    let (mut mode, mut json, mut seconds) = (Mode::Quick, false, DEFAULT_TEST_S);
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        // Both `--mode full` and `--mode=full`.
        let (flag, inline) = word
            .split_once('=')
            .map_or((word, None), |(flag, value)| (flag, Some(value)));
        let mut value = || {
            inline
                .or_else(|| words.next())
                .ok_or_else(|| missing(flag, usage::TEST))
        };
        match flag {
            "--json" if inline.is_none() => json = true,
            "--mode" => {
                mode = match value()? {
                    "quick" => Mode::Quick,
                    "full" => Mode::Full,
                    other => {
                        return Err(wrong(
                            format!("invalid value for argument --mode: `{other}`"),
                            usage::TEST,
                        ));
                    }
                }
            }
            "--timeout" => {
                let text = value()?;
                seconds = match text.parse() {
                    Ok(s) if (1..=MAX_TEST_S).contains(&s) => s,
                    _ => {
                        return Err(wrong(
                            format!("invalid value for argument --timeout: `{text}`"),
                            usage::TEST,
                        ));
                    }
                }
            }
            _ => return Err(wrong(format!("unexpected argument `{word}`"), usage::TEST)),
        }
    }
    Ok(Command::Test {
        mode,
        json,
        timeout: Duration::from_secs(seconds),
    })
}

fn tcp_diag(words: &[&str]) -> Result<Command, CommandError> {
    let port = match words {
        [] => None,
        _ => {
            let word = one(words, "port", usage::TCP_DIAG)?;
            let port = word
                .parse()
                .map_err(|_| wrong(format!("`{word}` is no port"), usage::TCP_DIAG))?;
            Some(port)
        }
    };
    Ok(Command::TcpDiag { port })
}

fn telemetry(words: &[&str]) -> Result<Command, CommandError> {
    let (file, device) = match words {
        ["push", file, "--device", device] => (file, *device),
        ["push", file, device] if device.starts_with("--device=") => (file, &device["--device=".len()..]),
        _ => return Err(wrong("a file and a device are needed", usage::TELEMETRY)),
    };
    match protocol::path::check_component(device) {
        Ok(()) if !device.contains('/') => Ok(Command::TelemetryPush {
            file: PathBuf::from(unquote(file)),
            device: device.to_owned(),
        }),
        _ => Err(wrong(
            format!("`{device}` is no device id: one path component"),
            usage::TELEMETRY,
        )),
    }
}

fn pool(words: &[&str]) -> Result<PoolBench, CommandError> {
    let ["bench", words @ ..] = words else {
        return Err(missing("bench", usage::POOL));
    };
    let mut options = Options::new(words, usage::POOL)?;
    let file: String = options.need("path")?;
    let kind = match options.take::<String>("kind")?.as_deref() {
        None | Some("telemetry") => PoolKind::Telemetry,
        Some("control") => PoolKind::Control,
        Some(other) => {
            return Err(wrong(
                format!("invalid value for argument kind: `{other}`"),
                usage::POOL,
            ));
        }
    };
    let bench = PoolBench {
        path: path("ECHO", &file)?,
        ops: options.need("ops")?,
        batch: options.take("batch")?.unwrap_or(1),
        payload: options.take("payload")?.unwrap_or_else(|| "pool".to_owned()),
        payload_bytes: options.take("payload_bytes")?,
        kind,
        delay: Duration::from_millis(options.take("delay_ms")?.unwrap_or(0)),
        inject_failures: options.take("inject_failures")?.unwrap_or(0),
        inject_bytes: options.take("inject_bytes")?.unwrap_or(8),
        exhaust: options.take("exhaust")?.unwrap_or(0),
    };
    options.finish()?;
    for (name, value) in [
        ("ops", bench.ops),
        ("batch", bench.batch),
        ("inject_bytes", bench.inject_bytes),
    ] {
        if value == 0 {
            return Err(wrong(format!("{name} must not be 0"), usage::POOL));
        }
    }
    if bench.payload.is_empty() {
        return Err(wrong("payload must not be empty", usage::POOL));
    }
    Ok(bench)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
