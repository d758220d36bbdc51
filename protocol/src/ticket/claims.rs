//! The bytes of claims, versions 1 and 2 (WIRE 2.3, CONTROL 2).
//!
//! Answers for reading and writing the payload under the MAC, field by field. It never sees a key.

use super::{Claims, MintError, PAYLOAD_BYTES, Quotas, Scope, ScopeVerb, TicketError, Version};
use crate::limits::{TICKET_SCOPES, TICKET_STRING_BYTES};
use crate::role::Role;

const TICKS: u8 = 0x01;
const OPS: u8 = 0x02;
const TTL: u8 = 0x04;
const SUBJECT: u8 = 0x08;
const SCOPES: u8 = 0x10;
const QUOTAS: u8 = 0x20;
const UNKNOWN: u8 = 0xc0;

/// Reads a payload. Never panics; the claims borrow their strings from it.
pub(super) fn decode(payload: &[u8]) -> Result<Claims<'_>, TicketError> {
    let mut rest = Reader(payload);
    let version = match rest.u8()? {
        1 => Version::V1,
        2 => Version::V2,
        other => return Err(TicketError::Version(other)),
    };
    let code = rest.u8()?;
    let mut claims = Claims::new(Role::from_code(code).ok_or(TicketError::Role(code))?);
    let flags = rest.u8()?;
    if version == Version::V2 && flags & UNKNOWN != 0 {
        return Err(TicketError::Flags(flags));
    }
    let has = |flag: u8| flags & flag != 0;
    if has(TICKS) {
        claims.ticks = Some(rest.integer(version)?);
    }
    if has(OPS) {
        claims.ops = Some(rest.integer(version)?);
    }
    if has(TTL) {
        claims.ttl_s = Some(rest.integer(version)?);
    }
    if has(SUBJECT) {
        claims.subject = Some(rest.string()?);
    }
    claims.issued_at_ms = rest.integer(version)?;
    claims.mount_service = rest.string()?;
    claims.mount_at = rest.string()?;
    if has(SCOPES) {
        let count = rest.u8()?;
        if usize::from(count) > TICKET_SCOPES {
            return Err(TicketError::TooManyScopes);
        }
        if version == Version::V2 && count == 0 {
            return Err(TicketError::NotCanonical);
        }
        for _ in 0..count {
            let scope = rest.scope()?;
            claims
                .scopes
                .push(scope)
                .map_err(|_| TicketError::TooManyScopes)?;
        }
    }
    if has(QUOTAS) {
        let quotas = Quotas {
            bandwidth_bytes: rest.u64()?,
            cursor_resumes: rest.u32()?,
            cursor_advances: rest.u32()?,
        };
        if version == Version::V2 && quotas == Quotas::default() {
            return Err(TicketError::NotCanonical);
        }
        claims.quotas = Some(quotas);
    }
    if rest.0.is_empty() {
        Ok(claims)
    } else {
        Err(TicketError::TrailingData)
    }
}

/// Writes a payload. Version 2 leaves out quotas that are all zero: it has no form for them.
pub(super) fn encode(
    claims: &Claims<'_>,
    version: Version,
) -> Result<heapless::Vec<u8, PAYLOAD_BYTES>, MintError> {
    let quotas = claims
        .quotas
        .filter(|q| version == Version::V1 || *q != Quotas::default());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(claims.ticks.is_some(), TICKS)
        | flag(claims.ops.is_some(), OPS)
        | flag(claims.ttl_s.is_some(), TTL)
        | flag(claims.subject.is_some(), SUBJECT)
        | flag(!claims.scopes.is_empty(), SCOPES)
        | flag(quotas.is_some(), QUOTAS);
    let mut out = Writer(heapless::Vec::new());
    out.bytes(&[version as u8, claims.role.code(), flags])?;
    for value in [claims.ticks, claims.ops, claims.ttl_s].into_iter().flatten() {
        out.integer(version, value)?;
    }
    if let Some(subject) = claims.subject {
        out.string(subject)?;
    }
    out.integer(version, claims.issued_at_ms)?;
    out.string(claims.mount_service)?;
    out.string(claims.mount_at)?;
    if !claims.scopes.is_empty() {
        let count = u8::try_from(claims.scopes.len()).map_err(|_| MintError::TokenTooLong)?;
        out.bytes(&[count])?;
        for scope in &claims.scopes {
            out.string(scope.path)?;
            out.bytes(&[scope.verb as u8])?;
            out.bytes(&scope.rate_per_s.to_le_bytes())?;
        }
    }
    if let Some(quotas) = quotas {
        out.bytes(&quotas.bandwidth_bytes.to_le_bytes())?;
        out.bytes(&quotas.cursor_resumes.to_le_bytes())?;
        out.bytes(&quotas.cursor_advances.to_le_bytes())?;
    }
    Ok(out.0)
}

/// What is left of a payload.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], TicketError> {
        let (head, tail) = self.0.split_at_checked(bytes).ok_or(TicketError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TicketError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(TicketError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, TicketError> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, TicketError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, TicketError> {
        self.array().map(u64::from_le_bytes)
    }

    fn integer(&mut self, version: Version) -> Result<u64, TicketError> {
        match version {
            Version::V1 => self.u64(),
            Version::V2 => self.leb128(),
        }
    }

    /// Canonical LEB128: no byte more than needed, never wider than 64 bits.
    fn leb128(&mut self) -> Result<u64, TicketError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let digit = u64::from(byte & 0x7f);
            if shift == 63 && digit > 1 {
                return Err(TicketError::NotCanonical);
            }
            value |= digit << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(TicketError::NotCanonical)
                } else {
                    Ok(value)
                };
            }
        }
        Err(TicketError::NotCanonical)
    }

    fn string(&mut self) -> Result<&'a str, TicketError> {
        let bytes = usize::from(self.array().map(u16::from_le_bytes)?);
        if bytes > TICKET_STRING_BYTES {
            return Err(TicketError::StringTooLong);
        }
        core::str::from_utf8(self.take(bytes)?).map_err(|_| TicketError::NotUtf8)
    }

    fn scope(&mut self) -> Result<Scope<'a>, TicketError> {
        let path = self.string()?;
        let code = self.u8()?;
        let verb = ScopeVerb::from_code(code).ok_or(TicketError::ScopeVerb(code))?;
        Ok(Scope {
            path,
            verb,
            rate_per_s: self.u32()?,
        })
    }
}

/// A payload being written.
struct Writer(heapless::Vec<u8, PAYLOAD_BYTES>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), MintError> {
        self.0
            .extend_from_slice(bytes)
            .map_err(|_| MintError::TokenTooLong)
    }

    fn integer(&mut self, version: Version, mut value: u64) -> Result<(), MintError> {
        if version == Version::V1 {
            return self.bytes(&value.to_le_bytes());
        }
        while value >= 0x80 {
            self.bytes(&[value.to_le_bytes()[0] | 0x80])?;
            value >>= 7;
        }
        self.bytes(&[value.to_le_bytes()[0]])
    }

    fn string(&mut self, text: &str) -> Result<(), MintError> {
        let bytes = u16::try_from(text.len())
            .ok()
            .filter(|n| usize::from(*n) <= TICKET_STRING_BYTES);
        self.bytes(&bytes.ok_or(MintError::StringTooLong)?.to_le_bytes())?;
        self.bytes(text.as_bytes())
    }
}
