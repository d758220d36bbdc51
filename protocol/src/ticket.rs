//! Capability tickets: a payload of claims under a keyed MAC (WIRE 2, CONTROL 2).
//!
//! Answers for reading, checking and minting both claim versions. It never decides what a session may
//! do with its claims, and holds no secret but the key it is given.

use core::fmt;

use crate::limits::{TICKET_BYTES, TICKET_SCOPES};
use crate::path::Path;
use crate::role::Role;

/// What every ticket begins with.
pub const PREFIX: &str = "cohesix-ticket-";
/// Bytes of claims that fit a token of 224 characters.
pub const PAYLOAD_BYTES: usize = (TICKET_BYTES - PREFIX.len() - 1 - 2 * MAC_BYTES) / 2;
/// Bytes of the MAC.
pub const MAC_BYTES: usize = 32;

/// A ticket as text.
pub type Token = heapless::String<TICKET_BYTES>;

/// A version of the claims encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Fixed-width integers.
    V1 = 1,
    /// Integers as canonical LEB128, so that more scopes fit a token.
    V2 = 2,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// LS, CAT, TAIL, LOG.
    Read,
    /// ECHO, SPAWN, KILL.
    Write,
}

/// What a scope allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ScopeVerb {
    /// Reading.
    Read = 0,
    /// Writing.
    Write = 1,
    /// Both.
    ReadWrite = 2,
}

/// One scope: a subtree, what may be done there, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The path it covers, component by component. Not checked for syntax.
    pub path: &'a str,
    /// What it allows.
    pub verb: ScopeVerb,
    /// Operations in a window of 1000 ms; 0 is no limit.
    pub rate_per_s: u32,
}

/// What a session may use up. 0 is "none stated".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes of streamed lines and ECHO payloads.
    pub bandwidth_bytes: u64,
    /// Telemetry reads that go back.
    pub cursor_resumes: u32,
    /// Telemetry reads.
    pub cursor_advances: u32,
}

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims<'a> {
    /// Whose ticket it is.
    pub role: Role,
    /// Budget of ticks.
    pub ticks: Option<u64>,
    /// Budget of operations.
    pub ops: Option<u64>,
    /// Seconds it is valid, from `issued_at_ms`.
    pub ttl_s: Option<u64>,
    /// The worker id or sidecar scope it was issued to.
    pub subject: Option<&'a str>,
    /// Unix milliseconds.
    pub issued_at_ms: u64,
    /// Carried, not used; empty in normal tickets.
    pub mount_service: &'a str,
    /// Carried, not used; empty in normal tickets.
    pub mount_at: &'a str,
    /// Path limits; empty means none.
    pub scopes: heapless::Vec<Scope<'a>, TICKET_SCOPES>,
    /// Quotas, if the ticket states any.
    pub quotas: Option<Quotas>,
}

/// The manifest's limits on claims (WIRE 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Scopes.
    pub scopes: usize,
    /// Bytes of a scope's path.
    pub scope_path_bytes: usize,
    /// Operations per second of a scope.
    pub scope_rate_per_s: u32,
    /// The largest quotas; also what a ticket without quotas gets. A 0 is "unlimited".
    pub quotas: Quotas,
}

/// The key of one role: BLAKE3 of its shared secret.
#[derive(Clone)]
pub struct Key(blake3::Hash);

/// A ticket whose MAC nobody has checked yet.
#[derive(Clone, Debug)]
pub struct SealedTicket {
    payload: heapless::Vec<u8, PAYLOAD_BYTES>,
    mac: [u8; MAC_BYTES],
}

/// What is wrong with a ticket; `Display` gives the texts of WIRE 2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketError {
    /// It does not begin with `cohesix-ticket-`.
    MissingPrefix,
    /// Not hex, no dot, or too long.
    Malformed,
    /// The MAC has so many bytes.
    MacLength(usize),
    /// The MAC is not that of the payload under this key.
    MacMismatch,
    /// Not version 1 or 2.
    Version(u8),
    /// No such role code.
    Role(u8),
    /// Flags that version 2 does not have.
    Flags(u8),
    /// A string longer than 255 bytes.
    StringTooLong,
    /// A string that is not UTF-8.
    NotUtf8,
    /// No such scope verb.
    ScopeVerb(u8),
    /// More than 16 scopes.
    TooManyScopes,
    /// It ends early.
    Truncated,
    /// It goes on after the last field.
    TrailingData,
    /// A version 2 encoding that has a shorter form.
    NotCanonical,
}

/// Why a ticket cannot be minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MintError {
    /// A string has more than 255 bytes.
    StringTooLong,
    /// The token would exceed 224 characters.
    TokenTooLong,
}

impl Key {
    /// Derives the key of a role's shared secret.
    pub fn from_secret(secret: &str) -> Key {
        Key(blake3::hash(secret.as_bytes()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl SealedTicket {
    /// Reads the text form. Says nothing about who wrote it.
    pub fn parse(_token: &str) -> Result<SealedTicket, TicketError> {
        unimplemented!()
    }

    /// What the ticket says, unverified: for a client that looks at its own ticket.
    pub fn peek(&self) -> Result<Claims<'_>, TicketError> {
        unimplemented!()
    }

    /// What the ticket says, if `key` sealed it.
    pub fn open(&self, _key: &Key) -> Result<Claims<'_>, TicketError> {
        unimplemented!()
    }
}

/// Seals `claims` with `key`.
pub fn mint(_claims: &Claims<'_>, _version: Version, _key: &Key) -> Result<Token, MintError> {
    unimplemented!()
}

impl<'a> Claims<'a> {
    /// Claims of `role` that state nothing else.
    pub fn new(role: Role) -> Claims<'a> {
        Claims {
            role,
            ticks: None,
            ops: None,
            ttl_s: None,
            subject: None,
            issued_at_ms: 0,
            mount_service: "",
            mount_at: "",
            scopes: heapless::Vec::new(),
            quotas: None,
        }
    }

    /// Claims of `role` with the budget a minted ticket has unless told otherwise (WIRE 2.5).
    pub fn with_default_budget(_role: Role) -> Claims<'a> {
        unimplemented!()
    }

    /// Whether the ticket's time is over at `now_ms` (Unix milliseconds).
    pub fn expired(&self, _now_ms: u64) -> bool {
        unimplemented!()
    }

    /// Whether the claims keep the manifest's limits.
    pub fn within(&self, _limits: &ClaimLimits) -> bool {
        unimplemented!()
    }

    /// The index in `scopes` of the longest scope that covers `path` and allows `access`.
    pub fn scope_for(&self, _path: Path<'_>, _access: Access) -> Option<usize> {
        unimplemented!()
    }
}

impl TicketError {
    /// Whether the seal was fine and the claims inside were not (WIRE 1.4: `invalid-claims`, not `denied`).
    pub const fn is_about_claims(self) -> bool {
        !matches!(
            self,
            TicketError::MissingPrefix
                | TicketError::Malformed
                | TicketError::MacLength(_)
                | TicketError::MacMismatch
        )
    }
}

impl fmt::Display for TicketError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}

impl fmt::Display for MintError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
