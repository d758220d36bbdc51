//! The node's lifecycle: states, commands, the transition table and the gates.
//!
//! Answers for the table of WIRE 4.5, for clients and the queen alike. It never holds the state.

use core::fmt;

/// A lifecycle state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Before boot is complete.
    Booting,
    /// Serving, with something broken.
    Degraded,
    /// Serving.
    Online,
    /// Takes no new work; what runs may end.
    Draining,
    /// Idle on command.
    Quiesced,
    /// Not serving.
    Offline,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] = [
        State::Booting,
        State::Degraded,
        State::Online,
        State::Draining,
        State::Quiesced,
        State::Offline,
    ];

    /// The word in `/proc/lifecycle/state` and in audit lines.
    pub const fn label(self) -> &'static str {
        match self {
            State::Booting => "BOOTING",
            State::Degraded => "DEGRADED",
            State::Online => "ONLINE",
            State::Draining => "DRAINING",
            State::Quiesced => "QUIESCED",
            State::Offline => "OFFLINE",
        }
    }

    /// Reads the word, upper case.
    pub fn from_label(label: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.label() == label)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A word written to `/queen/lifecycle/ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Take no new work.
    Cordon,
    /// Finish draining: to QUIESCED once nothing lives.
    Drain,
    /// Back to ONLINE.
    Resume,
    /// To QUIESCED at once, if nothing lives.
    Quiesce,
    /// To BOOTING, if nothing lives.
    Reset,
}

impl Command {
    /// Every command.
    pub const ALL: [Command; 5] = [
        Command::Cordon,
        Command::Drain,
        Command::Resume,
        Command::Quiesce,
        Command::Reset,
    ];

    /// The word, which is also the `reason` of the transition.
    pub const fn label(self) -> &'static str {
        match self {
            Command::Cordon => "cordon",
            Command::Drain => "drain",
            Command::Resume => "resume",
            Command::Quiesce => "quiesce",
            Command::Reset => "reset",
        }
    }

    /// Reads the word in any letter case, surrounding whitespace ignored.
    pub fn from_label(label: &str) -> Option<Command> {
        let label = label.trim();
        Command::ALL
            .into_iter()
            .find(|command| label.eq_ignore_ascii_case(command.label()))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitionError {
    /// Not allowed from this state: `invalid-payload` on the wire, `invalid-transition` in the log.
    Invalid,
    /// Workers or leases live: `denied` on the wire, `outstanding-leases leases=<n>` in the log.
    Outstanding {
        /// How many live.
        live: u32,
    },
}

impl fmt::Display for TransitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransitionError::Invalid => f.write_str("invalid-transition"),
            TransitionError::Outstanding { live } => write!(f, "outstanding-leases leases={live}"),
        }
    }
}

/// The state that `command` leads to from `state` while `live` workers and leases exist.
pub const fn transition(state: State, command: Command, live: u32) -> Result<State, TransitionError> {
    use State::{Booting, Degraded, Draining, Online, Quiesced};
    let (allowed, to, needs_idle) = match command {
        Command::Cordon => (matches!(state, Online | Degraded), Draining, false),
        Command::Drain => (matches!(state, Draining), Quiesced, true),
        Command::Resume => (!matches!(state, Online), Online, false),
        Command::Quiesce => (matches!(state, Online | Degraded | Draining), Quiesced, true),
        Command::Reset => (!matches!(state, Booting), Booting, true),
    };
    if !allowed {
        return Err(TransitionError::Invalid);
    }
    if needs_idle && live > 0 {
        return Err(TransitionError::Outstanding { live });
    }
    Ok(to)
}

/// Something that only some states allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// Spawning workers.
    NewWork,
    /// Giving jobs to workers.
    WorkerJob,
    /// Writes below `/host` and `/gpu`.
    HostPublish,
    /// Writes below `/queen/telemetry`.
    TelemetryIngest,
    /// Attaching as a worker.
    WorkerAttach,
    /// Worker telemetry.
    WorkerTelemetry,
}

impl Gate {
    /// Every gate.
    pub const ALL: [Gate; 6] = [
        Gate::NewWork,
        Gate::WorkerJob,
        Gate::HostPublish,
        Gate::TelemetryIngest,
        Gate::WorkerAttach,
        Gate::WorkerTelemetry,
    ];

    /// The name in `lifecycle denied action=<name>` log lines.
    pub const fn label(self) -> &'static str {
        match self {
            Gate::NewWork => "new-work",
            Gate::WorkerJob => "worker-job",
            Gate::HostPublish => "host-publish",
            Gate::TelemetryIngest => "telemetry-ingest",
            Gate::WorkerAttach => "worker-attach",
            Gate::WorkerTelemetry => "worker-telemetry",
        }
    }

    /// Whether the gate is open in `state`.
    pub const fn open_in(self, state: State) -> bool {
        match self {
            Gate::NewWork | Gate::WorkerJob | Gate::HostPublish => {
                matches!(state, State::Online | State::Degraded)
            }
            Gate::TelemetryIngest | Gate::WorkerAttach | Gate::WorkerTelemetry => {
                matches!(state, State::Online | State::Degraded | State::Draining)
            }
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_wire_4_5() {
        use Command::*;
        use State::*;
        // One row a command: the states it is allowed from, where it leads, whether it needs idleness.
        let table: [(Command, &[State], State, bool); 5] = [
            (Cordon, &[Online, Degraded], Draining, false),
            (Drain, &[Draining], Quiesced, true),
            (
                Resume,
                &[Booting, Degraded, Draining, Quiesced, Offline],
                Online,
                false,
            ),
            (Quiesce, &[Online, Degraded, Draining], Quiesced, true),
            (
                Reset,
                &[Degraded, Online, Draining, Quiesced, Offline],
                Booting,
                true,
            ),
        ];
        for (command, from, to, needs_idle) in table {
            for state in State::ALL {
                let idle = if from.contains(&state) {
                    Ok(to)
                } else {
                    Err(TransitionError::Invalid)
                };
                let busy = idle.and_then(|to| {
                    if needs_idle {
                        Err(TransitionError::Outstanding { live: 2 })
                    } else {
                        Ok(to)
                    }
                });
                assert_eq!(
                    transition(state, command, 0),
                    idle,
                    "{command} from {state}, idle"
                );
                assert_eq!(
                    transition(state, command, 2),
                    busy,
                    "{command} from {state}, busy"
                );
            }
        }
    }

    #[test]
    fn words_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_label(state.label()), Some(state));
        }
        for command in Command::ALL {
            assert_eq!(Command::from_label(command.label()), Some(command));
        }
        assert_eq!(Command::from_label(" Cordon\n"), Some(Command::Cordon));
        assert_eq!(Command::from_label("halt"), None);
    }

    #[test]
    fn gates() {
        for gate in Gate::ALL {
            assert!(gate.open_in(State::Online) && gate.open_in(State::Degraded));
            assert!(
                !gate.open_in(State::Booting)
                    && !gate.open_in(State::Quiesced)
                    && !gate.open_in(State::Offline)
            );
        }
        assert!(!Gate::NewWork.open_in(State::Draining));
        assert!(!Gate::HostPublish.open_in(State::Draining));
        assert!(Gate::WorkerAttach.open_in(State::Draining));
    }
}
