//! Capability tickets: a payload of claims under a keyed MAC (WIRE 2, CONTROL 2).
//!
//! Answers for reading, checking and minting both claim versions. It never decides what a session may
//! do with its claims, and holds no secret but the key it is given.

use core::fmt::{self, Write as _};

use crate::hex::Hex;
use crate::limits::{TICKET_BYTES, TICKET_SCOPES};
use crate::path::Path;
use crate::role::Role;

mod claims;

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

/// The manifest's limits on claims (WIRE 2.6). A 0 is "no limit", in every field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Scopes.
    pub scopes: usize,
    /// Bytes of a scope's path.
    pub scope_path_bytes: usize,
    /// Operations per second of a scope.
    pub scope_rate_per_s: u32,
    /// The largest quotas; also what a ticket without quotas gets.
    pub quotas: Quotas,
}

/// The key of one role: BLAKE3 of its shared secret.
#[derive(Clone)]
pub struct Key(blake3::Hash);

/// A ticket whose MAC nobody has checked yet.
#[derive(Clone, Debug)]
pub struct SealedTicket {
    payload: heapless::Vec<u8, PAYLOAD_BYTES>,
    mac: blake3::Hash,
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
    pub fn parse(token: &str) -> Result<SealedTicket, TicketError> {
        let sealed = token.strip_prefix(PREFIX).ok_or(TicketError::MissingPrefix)?;
        let (payload_hex, mac_hex) = sealed.split_once('.').ok_or(TicketError::Malformed)?;
        let mut payload = heapless::Vec::new();
        for byte in hex_bytes(payload_hex)? {
            payload.push(byte?).map_err(|_| TicketError::Malformed)?;
        }
        let mut mac = heapless::Vec::<u8, MAC_BYTES>::new();
        for byte in hex_bytes(mac_hex)? {
            mac.push(byte?)
                .map_err(|_| TicketError::MacLength(mac_hex.len() / 2))?;
        }
        let mac = mac
            .into_array()
            .map_err(|short| TicketError::MacLength(short.len()))?;
        Ok(SealedTicket {
            payload,
            mac: blake3::Hash::from_bytes(mac),
        })
    }

    /// What the ticket says, unverified: for a client that looks at its own ticket.
    pub fn peek(&self) -> Result<Claims<'_>, TicketError> {
        claims::decode(&self.payload)
    }

    /// What the ticket says, if `key` sealed it. The MAC is compared in constant time.
    pub fn open(&self, key: &Key) -> Result<Claims<'_>, TicketError> {
        if blake3::keyed_hash(key.0.as_bytes(), &self.payload) != self.mac {
            return Err(TicketError::MacMismatch);
        }
        self.peek()
    }
}

/// Seals `claims` with `key`.
pub fn mint(claims: &Claims<'_>, version: Version, key: &Key) -> Result<Token, MintError> {
    let payload = claims::encode(claims, version)?;
    let mac = blake3::keyed_hash(key.0.as_bytes(), &payload);
    let mut token = Token::new();
    let written = write!(token, "{PREFIX}{}.{}", Hex(&payload), Hex(mac.as_bytes()));
    written.map(|()| token).map_err(|_| MintError::TokenTooLong)
}

/// The bytes that pairs of hex digits of either case stand for.
fn hex_bytes(text: &str) -> Result<impl Iterator<Item = Result<u8, TicketError>>, TicketError> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return Err(TicketError::Malformed);
    };
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Ok(pairs
        .iter()
        .map(move |[high, low]| match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Ok(high << 4 | low),
            _ => Err(TicketError::Malformed),
        }))
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
    pub fn with_default_budget(role: Role) -> Claims<'a> {
        let (ticks, ops, ttl_s) = match role {
            Role::Queen => (None, None, None),
            Role::WorkerGpu => (None, Some(64), Some(120)),
            Role::WorkerHeartbeat | Role::WorkerBus | Role::WorkerLora => {
                (Some(1000), Some(10_000), Some(300))
            }
        };
        Claims {
            ticks,
            ops,
            ttl_s,
            ..Claims::new(role)
        }
    }

    /// Whether the ticket's time is over at `now_ms` (Unix milliseconds).
    pub fn expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms().is_some_and(|end_ms| now_ms >= end_ms)
    }

    /// When the ticket's time is over, Unix milliseconds; `None` without a time to live.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.ttl_s
            .map(|ttl_s| self.issued_at_ms.saturating_add(ttl_s.saturating_mul(1000)))
    }

    /// Whether the claims keep the manifest's limits.
    pub fn within(&self, limits: &ClaimLimits) -> bool {
        let fits = |value: u64, max: u64| max == 0 || value <= max;
        let counts = |value: usize, max: usize| max == 0 || value <= max;
        let quotas = self.quotas.unwrap_or_default();
        counts(self.scopes.len(), limits.scopes)
            && self.scopes.iter().all(|scope| {
                counts(scope.path.len(), limits.scope_path_bytes)
                    && fits(scope.rate_per_s.into(), limits.scope_rate_per_s.into())
            })
            && fits(quotas.bandwidth_bytes, limits.quotas.bandwidth_bytes)
            && fits(quotas.cursor_resumes.into(), limits.quotas.cursor_resumes.into())
            && fits(
                quotas.cursor_advances.into(),
                limits.quotas.cursor_advances.into(),
            )
    }

    /// The index in `scopes` of the longest scope that covers `path` and allows `access`.
    pub fn scope_for(&self, path: Path<'_>, access: Access) -> Option<usize> {
        let depth = |scope: &Scope<'_>| {
            let prefix = Path::parse(scope.path).ok()?;
            (path.starts_with(prefix) && scope.verb.allows(access)).then(|| prefix.depth())
        };
        let covering = self
            .scopes
            .iter()
            .enumerate()
            .filter_map(|(i, scope)| Some((depth(scope)?, i)));
        covering
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, i)| i)
    }
}

impl ScopeVerb {
    /// The verb with this code in claims.
    pub const fn from_code(code: u8) -> Option<ScopeVerb> {
        match code {
            0 => Some(ScopeVerb::Read),
            1 => Some(ScopeVerb::Write),
            2 => Some(ScopeVerb::ReadWrite),
            _ => None,
        }
    }

    /// Whether the verb allows `access`.
    pub const fn allows(self, access: Access) -> bool {
        matches!(
            (self, access),
            (ScopeVerb::ReadWrite, _) | (ScopeVerb::Read, Access::Read) | (ScopeVerb::Write, Access::Write)
        )
    }
}

impl Default for ClaimLimits {
    /// The limits of the default manifest (WIRE 2.6).
    fn default() -> ClaimLimits {
        ClaimLimits {
            scopes: 8,
            scope_path_bytes: 128,
            scope_rate_per_s: 64,
            quotas: Quotas {
                bandwidth_bytes: 131_072,
                cursor_resumes: 16,
                cursor_advances: 256,
            },
        }
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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TicketError::MissingPrefix => f.write_str("ticket missing prefix"),
            TicketError::Malformed => f.write_str("ticket malformed"),
            TicketError::MacLength(bytes) => write!(f, "ticket MAC length {bytes} is invalid"),
            TicketError::MacMismatch => f.write_str("ticket MAC validation failed"),
            TicketError::Version(code) => write!(f, "claims version {code} is unsupported"),
            TicketError::Role(code) => write!(f, "claims role {code} is unsupported"),
            TicketError::Flags(bits) => write!(f, "claims flags {bits:#04x} are unsupported"),
            TicketError::StringTooLong => f.write_str("mount data exceeds allowed length"),
            TicketError::NotUtf8 => f.write_str("claims string is not UTF-8"),
            TicketError::ScopeVerb(code) => write!(f, "scope verb {code} is invalid"),
            TicketError::TooManyScopes => f.write_str("scope count exceeds allowed maximum"),
            TicketError::Truncated => f.write_str("claims payload truncated"),
            TicketError::TrailingData => f.write_str("claims payload contains trailing data"),
            TicketError::NotCanonical => f.write_str("claims encoding is not canonical"),
        }
    }
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MintError::StringTooLong => "a ticket string exceeds 255 bytes; shorten it",
            MintError::TokenTooLong => {
                "the ticket exceeds 224 characters; use version 2, fewer scopes or shorter names"
            }
        })
    }
}

#[cfg(test)]
mod tests;
