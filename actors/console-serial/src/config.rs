//! What a host tells the root console: its patience.
//!
//! Answers for every bound with its reason, and for refusing at start what cannot work. Never reads a file.

use core::fmt;
use core::time::Duration;

use runtime::executor::SpawnError;

/// The root console's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long NineDoor may take for one request. Longer than its own slowest answer (the queen's spawn: 1.25 s).
    pub door_timeout: Duration,
    /// How long an ATTACH waits for a NineDoor that is not there yet. Other requests are refused at once.
    pub attach_patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            door_timeout: Duration::from_millis(1800),
            attach_patience: Duration::from_secs(1),
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), StartError> {
        if self.door_timeout.is_zero() {
            return Err(StartError::NoTime);
        }
        Ok(())
    }
}

/// Why the root console did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The domain has no link of that name.
    NoLink(&'static str),
    /// NineDoor would have no time to answer.
    NoTime,
    /// The domain takes fewer tasks than [`TASKS`](crate::TASKS).
    Tasks(SpawnError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoLink(link) => write!(
                f,
                "the root console has no link {link:?}; add a [[link]] that ends there"
            ),
            StartError::NoTime => {
                f.write_str("door_timeout is zero, nothing could be answered; give it some time")
            }
            StartError::Tasks(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> StartError {
        StartError::Tasks(error)
    }
}
