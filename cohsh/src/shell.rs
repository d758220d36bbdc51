//! The shell: a session, or the wish for one, and the commands on it.
//!
//! Answers for attaching by itself before the first command that needs a session, for detaching, and for handing each
//! command to the verb that carries it out. Never reads input and never prints.

use std::path::PathBuf;

use client::state::Environment;
use client::{Exit, Flags, FlagsError, Options, Session, Target, connect};
use protocol::role::Role;

use crate::command::{self, Command};
use crate::help;
use crate::outcome::Outcome;
use crate::verbs::{control, diag, files, pool, selftest, telemetry};

/// Where to connect to, and as whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The token given by flag; else it is looked for.
    pub auth_token: Option<String>,
    /// The state directory given by flag; else the default.
    pub state: Option<PathBuf>,
    /// The role to attach as when no `attach` says otherwise.
    pub role: Role,
    /// The ticket that goes with it.
    pub ticket: Option<String>,
    /// The variables to look at.
    pub env: Environment,
    /// Time limits and tries.
    pub options: Options,
}

/// A shell.
#[derive(Debug)]
pub struct Shell {
    config: Config,
    session: Option<Session>,
    // What the session was attached as: further sessions may do no more than it may.
    target: Option<Target>,
    // Until the first attach or detach, a command that needs a session makes one.
    attaches_itself: bool,
    reconnects_seen: u64,
}

impl Shell {
    /// A shell that has not connected yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            session: None,
            target: None,
            attaches_itself: true,
            reconnects_seen: 0,
        }
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The session, if one is attached.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Reads and carries out one command line.
    pub async fn line(&mut self, line: &str) -> Outcome {
        match command::parse(line) {
            Ok(command) => self.command(command).await,
            Err(error) => Outcome::of_command_error(&error),
        }
    }

    /// Carries out one command.
    pub async fn command(&mut self, command: Command) -> Outcome {
        let mut outcome = self.dispatch(command).await;
        if let Some(session) = &self.session {
            let reconnects = session.reconnects();
            if reconnects > self.reconnects_seen {
                outcome
                    .notes
                    .push("the connection was lost and made anew".to_owned());
            }
            self.reconnects_seen = reconnects;
        }
        outcome
    }

    /// Attaches with the role of the command line.
    pub async fn attach_by_default(&mut self) -> Outcome {
        self.attach(self.config.role, self.config.ticket.clone()).await
    }

    /// Says goodbye, if there is somebody to say it to.
    pub async fn close(&mut self) -> Outcome {
        let mut outcome = Outcome::new();
        if let Some(session) = self.session.take()
            && let Some(ack) = session.quit().await
        {
            outcome.ack(&ack);
        }
        outcome
    }

    /// What to connect to as `role`.
    fn target_as(&self, role: Role, ticket: Option<&str>) -> Result<Target, FlagsError> {
        let config = &self.config;
        let flags = Flags {
            host: &config.host,
            port: config.port,
            role,
            ticket,
            auth_token: config.auth_token.as_deref(),
            state: config.state.as_deref(),
        };
        flags.target(&config.env)
    }

    async fn dispatch(&mut self, command: Command) -> Outcome {
        match command {
            Command::Help => help::outcome(),
            Command::Quit => Outcome {
                quit: true,
                ..self.close().await
            },
            Command::Attach { role, ticket } => self.attach(role, ticket).await,
            Command::Detach => self.detach().await,
            Command::TcpDiag { port } => diag::tcp(&self.config, port).await,
            command => {
                let session = match self.attached().await {
                    Ok(session) => session,
                    Err(outcome) => return outcome,
                };
                self.on_session(session, command).await
            }
        }
    }

    async fn on_session(&mut self, session: Session, command: Command) -> Outcome {
        match command {
            Command::Ls { path } => session.command(&format!("LS {path}")).await.into(),
            Command::Cat { path, out } => files::cat(&session, &path, out.as_deref()).await,
            Command::Tail { path, lines } => files::tail(&session, &path, lines).await,
            Command::Log => files::tail(&session, client::QUEEN_LOG, None).await,
            Command::Echo { text, path } => session.command(&format!("ECHO {path} {text}")).await.into(),
            Command::Ping => session.command("PING").await.into(),
            Command::Raw { line } => session.command(&line).await.into(),
            Command::Spawn(spawn) => control::queen(&session, &spawn.request()).await,
            Command::Kill { id } => control::kill(&session, &id).await,
            Command::Bind { from, to } => control::bind(&session, &from, &to).await,
            Command::Mount { service, at } => control::mount(&session, &service, &at).await,
            Command::Lifecycle(action) => control::lifecycle(&session, action).await,
            Command::TelemetryPush { file, device } => telemetry::push(&session, &file, &device).await,
            Command::PoolBench(bench) => {
                pool::bench(&session, self.target.as_ref(), &self.config.options, &bench).await
            }
            Command::Test { mode, json, timeout } => selftest::run(self, mode, json, timeout).await,
            Command::Help
            | Command::Quit
            | Command::Attach { .. }
            | Command::Detach
            | Command::TcpDiag { .. } => Outcome::new(),
        }
    }

    /// The session, made first if that is still for this shell to do.
    async fn attached(&mut self) -> Result<Session, Outcome> {
        if self.session.is_none() && self.attaches_itself {
            let outcome = self.attach_by_default().await;
            if outcome.failure.is_some() {
                return Err(outcome);
            }
        }
        match &self.session {
            Some(session) => Ok(session.clone()),
            None => {
                let mut outcome = Outcome::new();
                outcome.respond("ERR ATTACH reason=policy detail=unauthenticated");
                outcome.fail(Exit::Authentication, "not attached; type attach <role>", false);
                Err(outcome)
            }
        }
    }

    async fn attach(&mut self, role: Role, ticket: Option<String>) -> Outcome {
        self.attaches_itself = false;
        let mut outcome = Outcome::new();
        // A refused attach leaves no session behind, nor does one that succeeds leave the old one.
        if let Some(old) = self.session.take() {
            old.quit().await;
        }
        let target = match self.target_as(role, ticket.as_deref()) {
            Ok(target) => target,
            Err(why) => {
                outcome.fail(Exit::Authentication, why.to_string(), false);
                return outcome;
            }
        };
        match connect(target.clone(), self.config.options.clone()).await {
            Ok(session) => {
                outcome.ack(session.attached());
                (self.session, self.target, self.reconnects_seen) = (Some(session), Some(target), 0);
            }
            Err(error) => outcome.error(&error),
        }
        outcome
    }

    async fn detach(&mut self) -> Outcome {
        self.attaches_itself = false;
        let mut outcome = self.close().await;
        outcome.respond("OK DETACH");
        outcome
    }
}
