//! What a host tells the console: its token, its places, its patience.
//!
//! Answers for every bound of the actor with its unit and reason, and for refusing at start what cannot work.
//! Never reads a file or an environment; the host builds it from the manifest.

use core::fmt;
use core::time::Duration;

use console::{FIDS_PER_SESSION, OWN_FIDS};
use heapless::Vec;
use netstack::{BindError, StackConfig};
use protocol::limits::AUTH_TOKEN_BYTES;
use runtime::executor::SpawnError;

/// Most places of either kind; more would only lengthen the searches.
const MAX_PLACES: usize = 256;
/// Tasks besides those of the places: stack, listener, 9P client, the log of failed authentications.
const STANDING_TASKS: usize = 4;

/// The console's configuration.
#[derive(Clone)]
pub struct Config {
    /// What a client must say after `AUTH `. Whether it is a placeholder is the host's to refuse.
    pub token: Vec<u8, AUTH_TOKEN_BYTES>,
    /// TCP port inside the hive's own network.
    pub port: u16,
    /// The listener for 9P clients, if there is one.
    pub ninep: Option<Ninep>,
    /// The console's own TCP/IP stack. Its `seed` is replaced by one from the host at every start, so that a
    /// restarted domain does not continue old connections' sequence numbers.
    pub stack: StackConfig,
    /// Authenticated sessions at once; one more is told that all are taken.
    pub sessions: usize,
    /// Connections at once that have not authenticated; the oldest gives way to one more.
    pub unauthenticated: usize,
    /// Time from connecting to a right AUTH.
    pub auth_timeout: Duration,
    /// Time without traffic in either direction after which a session is over.
    pub idle_timeout: Duration,
    /// How long NineDoor may take for one request. Longer than its own slowest answer (the queen's spawn: 1.25 s),
    /// shorter than the patience of the public Python client (2 s).
    pub door_timeout: Duration,
    /// How long an ATTACH waits for a NineDoor that is not there yet. Other requests are refused at once.
    pub attach_patience: Duration,
}

/// The listener for 9P clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ninep {
    /// TCP port inside the hive's own network.
    pub port: u16,
    /// Attached connections at once; one more is refused with `EUSERS`.
    pub connections: usize,
}

impl Ninep {
    /// Connections at once of which nothing is attached; the oldest gives way to one more.
    pub const STRANGERS: usize = 8;

    /// Places for connections of either kind.
    pub fn places(&self) -> usize {
        self.connections + Self::STRANGERS
    }
}

impl Config {
    /// The values of the default manifest, with this token, port and stack.
    ///
    /// # Errors
    /// [`ConfigError::Token`].
    pub fn new(token: &[u8], port: u16, stack: StackConfig) -> Result<Config, ConfigError> {
        let config = Config {
            token: Vec::from_slice(token).map_err(|_| ConfigError::Token)?,
            port,
            ninep: None,
            stack,
            sessions: 24,
            unauthenticated: 16,
            auth_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            door_timeout: Duration::from_millis(1800),
            attach_patience: Duration::from_secs(1),
        };
        if config.has_speakable_token() {
            Ok(config)
        } else {
            Err(ConfigError::Token)
        }
    }

    /// Tasks that [`spawn`](crate::spawn) adds to the domain.
    pub fn tasks(&self) -> usize {
        // A place for a 9P connection is a task, and their listener is one.
        let ninep = self.ninep.map_or(0, |ninep| ninep.places() + 1);
        STANDING_TASKS + self.sessions + self.unauthenticated + ninep
    }

    /// Fids at NineDoor that it may need at once.
    pub fn fids(&self) -> usize {
        let ninep = self.ninep.map_or(0, |ninep| crate::port::crowd(&ninep).fids);
        self.sessions * FIDS_PER_SESSION + OWN_FIDS + ninep
    }

    /// TCP connections that have a place at once.
    pub fn places(&self) -> usize {
        self.sessions + self.unauthenticated + self.ninep.map_or(0, |ninep| ninep.places())
    }

    /// Checks what can be checked without the domain.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.has_speakable_token() {
            return Err(ConfigError::Token);
        }
        for (what, places) in [
            ("sessions", self.sessions),
            ("unauthenticated", self.unauthenticated),
            (
                "ninep connections",
                self.ninep.map_or(1, |ninep| ninep.connections),
            ),
        ] {
            if !(1..=MAX_PLACES).contains(&places) {
                return Err(ConfigError::Places { what, places });
            }
        }
        // One more, so that a connection can be taken before the oldest has made room.
        let needed = self.places() + 1;
        let connections = usize::from(self.stack.limits.connections);
        if connections < needed {
            return Err(ConfigError::Connections { connections, needed });
        }
        for (what, time) in [
            ("auth_timeout", self.auth_timeout),
            ("idle_timeout", self.idle_timeout),
            ("door_timeout", self.door_timeout),
        ] {
            if time.is_zero() {
                return Err(ConfigError::NoTime(what));
            }
        }
        Ok(())
    }

    /// Whether a client can say the token: words are trimmed and control characters dropped on the way.
    fn has_speakable_token(&self) -> bool {
        core::str::from_utf8(&self.token).is_ok_and(|token| {
            !token.is_empty() && token.trim() == token && !token.contains(char::is_control)
        })
    }
}

impl fmt::Debug for Config {
    /// Everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("port", &self.port)
            .field("ninep", &self.ninep)
            .field("stack", &self.stack)
            .field("sessions", &self.sessions)
            .field("unauthenticated", &self.unauthenticated)
            .field("auth_timeout", &self.auth_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("door_timeout", &self.door_timeout)
            .field("attach_patience", &self.attach_patience)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a [`Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The token is empty, too long, no text, or has spaces at its ends or control characters.
    Token,
    /// A number of places is out of bounds.
    Places {
        /// Which.
        what: &'static str,
        /// How many.
        places: usize,
    },
    /// The stack has fewer connections than there are places.
    Connections {
        /// It has these.
        connections: usize,
        /// It needs these.
        needed: usize,
    },
    /// A time is zero.
    NoTime(&'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Token => write!(
                f,
                "the auth token must be 1 to {AUTH_TOKEN_BYTES} bytes of text without control characters or outer spaces"
            ),
            ConfigError::Places { what, places } => {
                write!(
                    f,
                    "{what} = {places} is out of bounds; allowed are 1 to {MAX_PLACES}"
                )
            }
            ConfigError::Connections { connections, needed } => {
                write!(
                    f,
                    "the stack has {connections} connections; all the places together need {needed}"
                )
            }
            ConfigError::NoTime(what) => {
                write!(f, "{what} is zero, nobody could be served; give it some time")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

/// Why the console did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The configuration cannot work.
    Config(ConfigError),
    /// The domain has no link of that name.
    NoLink(&'static str),
    /// The stack's configuration cannot work.
    Stack(netstack::ConfigError),
    /// The stack has no listener to give.
    Bind(BindError),
    /// The domain takes fewer tasks than [`Config::tasks`].
    Tasks(SpawnError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(error) => error.fmt(f),
            StartError::NoLink(link) => write!(
                f,
                "the console has no link {link:?}; add a [[link]] that ends there"
            ),
            StartError::Stack(error) => error.fmt(f),
            StartError::Bind(error) => error.fmt(f),
            StartError::Tasks(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> StartError {
        StartError::Config(error)
    }
}

impl From<netstack::ConfigError> for StartError {
    fn from(error: netstack::ConfigError) -> StartError {
        StartError::Stack(error)
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> StartError {
        StartError::Bind(error)
    }
}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> StartError {
        StartError::Tasks(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn config(token: &[u8]) -> Result<Config, ConfigError> {
        let stack = StackConfig::new([2, 0, 0, 0, 0, 1], Ipv4Addr::new(10, 0, 0, 1), 24, 1);
        Config::new(token, 31337, stack)
    }

    #[test]
    fn the_defaults_are_sound() {
        let config = config(b"a token").unwrap();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.tasks(), 44);
    }

    #[test]
    fn a_token_that_nobody_can_say_is_refused() {
        for token in [
            &b""[..],
            b" x",
            b"x ",
            b"a\tb",
            b"\xff",
            &[b'x'; AUTH_TOKEN_BYTES + 1],
        ] {
            assert_eq!(config(token).err(), Some(ConfigError::Token), "{token:?}");
        }
        assert!(config(&[b'x'; AUTH_TOKEN_BYTES]).is_ok());
    }

    #[test]
    fn what_cannot_work_is_named() {
        let with = |change: fn(&mut Config)| {
            let mut config = config(b"x").unwrap();
            change(&mut config);
            config
                .check()
                .map_err(|error| std::string::ToString::to_string(&error))
                .unwrap_err()
        };
        assert!(with(|c| c.sessions = 0).contains("sessions"));
        assert!(with(|c| c.unauthenticated = 257).contains("unauthenticated"));
        assert!(with(|c| c.stack.limits.connections = 40).contains("need 41"));
        assert!(with(|c| c.door_timeout = Duration::ZERO).contains("door_timeout"));
    }

    #[test]
    fn the_token_is_not_shown() {
        let shown = std::format!("{:?}", config(b"sesame").unwrap());
        assert!(!shown.contains("sesame") && !shown.contains("115"), "{shown}");
    }
}
