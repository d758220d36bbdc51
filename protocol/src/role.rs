//! Who a session speaks for: the five roles and the internal identities.
//!
//! Answers for the spelling of a role on the console, in a 9P `uname` and in a ticket's claims.
//! It never decides what a role may do; that is NineDoor's access policy.

use core::fmt;
use core::str::FromStr;

/// The role of a session, with its code in ticket claims (WIRE 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// The operator: may do everything, subject to ticket scopes, gates and policy.
    Queen = 0,
    /// A heartbeat worker.
    WorkerHeartbeat = 1,
    /// A GPU worker.
    WorkerGpu = 2,
    /// A field bus sidecar.
    WorkerBus = 3,
    /// A LoRa sidecar.
    WorkerLora = 4,
}

/// `uname` of the queen actor's own session at NineDoor; allowed on the link `queen-ninedoor` only.
pub const QUEEN_ACTOR: &str = "queen-actor";
/// `uname` of the console actor's own session at NineDoor; allowed on the link `console-ninedoor` only.
pub const CONSOLE_ACTOR: &str = "console-actor";

impl Role {
    /// Every role, in the order of the claim codes.
    pub const ALL: [Role; 5] = [
        Role::Queen,
        Role::WorkerHeartbeat,
        Role::WorkerGpu,
        Role::WorkerBus,
        Role::WorkerLora,
    ];

    /// The canonical label, as `OK ATTACH role=<label>` and a 9P `uname` spell it.
    pub const fn label(self) -> &'static str {
        match self {
            Role::Queen => "queen",
            Role::WorkerHeartbeat => "worker-heartbeat",
            Role::WorkerGpu => "worker-gpu",
            Role::WorkerBus => "worker-bus",
            Role::WorkerLora => "worker-lora",
        }
    }

    /// Reads a label in any letter case; `worker` is an alias of `worker-heartbeat` (WIRE 1.4).
    pub fn from_label(label: &str) -> Option<Role> {
        if label.eq_ignore_ascii_case("worker") {
            return Some(Role::WorkerHeartbeat);
        }
        Role::ALL
            .into_iter()
            .find(|role| label.eq_ignore_ascii_case(role.label()))
    }

    /// The code in ticket claims.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The role with this code in ticket claims.
    pub fn from_code(code: u8) -> Option<Role> {
        Role::ALL.get(usize::from(code)).copied()
    }

    /// Everyone but the queen: needs a ticket with a subject, and a reachable root.
    pub const fn is_worker(self) -> bool {
        !matches!(self, Role::Queen)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(label: &str) -> Result<Role, UnknownRole> {
        Role::from_label(label).ok_or(UnknownRole)
    }
}

/// The text is no role's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRole;

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("use one of ")?;
        for (n, role) in Role::ALL.into_iter().enumerate() {
            write!(f, "{}{role}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownRole {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn labels_and_codes_are_bijections() {
        for role in Role::ALL {
            assert_eq!(Role::from_label(role.label()), Some(role));
            assert_eq!(Role::from_code(role.code()), Some(role));
        }
        assert_eq!(Role::from_code(5), None);
    }

    #[test]
    fn labels_ignore_case_and_know_the_alias() {
        assert_eq!(Role::from_label("QUEEN"), Some(Role::Queen));
        assert_eq!(Role::from_label("Worker"), Some(Role::WorkerHeartbeat));
        assert_eq!(Role::from_label("worker-"), None);
        assert_eq!(Role::from_label("queen-actor"), None);
        let unknown = "king".parse::<Role>().unwrap_err().to_string();
        assert_eq!(
            unknown,
            "use one of queen, worker-heartbeat, worker-gpu, worker-bus, worker-lora"
        );
    }
}
