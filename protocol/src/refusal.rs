//! Why a request was refused: one enum, told on the console and over 9P.
//!
//! Answers for the four reasons, the `detail=` tags, the `error=` texts of WIRE 1.3 and 1.4, and for
//! the bijection to Linux errno numbers that lets a refusal cross a 9P hop unchanged.
//! It never decides whether to refuse.

use core::fmt;

/// The class of a refusal: `reason=` on the console, and the pressure counter it adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Try again later; nothing is wrong with the request.
    Busy,
    /// A stated limit was reached.
    Quota,
    /// The root is unreachable for workers.
    Cut,
    /// The request is not allowed, or makes no sense.
    Policy,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 4] = [Reason::Busy, Reason::Quota, Reason::Cut, Reason::Policy];

    /// The word after `reason=`, and the name under `/proc/pressure`.
    pub const fn label(self) -> &'static str {
        match self {
            Reason::Busy => "busy",
            Reason::Quota => "quota",
            Reason::Cut => "cut",
            Reason::Policy => "policy",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $errno:literal, $reason:ident, $detail:expr, $error:expr;)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];

            /// Its class.
            pub const fn reason(self) -> Reason {
                match self { $(Refusal::$name => Reason::$reason,)* }
            }

            /// The `detail=` tag; `None` where the wire has no such field.
            pub const fn detail(self) -> Option<&'static str> {
                match self { $(Refusal::$name => $detail,)* }
            }

            /// The `error=` text; `None` where the wire has no such field.
            pub const fn error_text(self) -> Option<&'static str> {
                match self { $(Refusal::$name => $error,)* }
            }

            /// The Linux errno that carries this refusal over 9P; no two refusals share one.
            pub const fn to_errno(self) -> u32 {
                match self { $(Refusal::$name => $errno,)* }
            }

            /// The refusal that exactly this errno stands for.
            const fn exact(errno: u32) -> Option<Refusal> {
                match errno { $($errno => Some(Refusal::$name),)* _ => None }
            }
        }
    };
}

refusals! {
    /// EPERM: the role may not do this, or a gate is closed.
    Denied = 1, Policy, Some("denied"), Some("EPERM");
    /// ENOENT: no such file, or not a file this verb serves.
    InvalidPath = 2, Policy, Some("invalid-path"), Some("invalid path");
    /// EAGAIN: attach refused while the back-off of earlier failures runs.
    Throttled = 11, Quota, Some("throttled"), None;
    /// EACCES: outside the ticket's scopes.
    TicketScope = 13, Policy, None, Some("EPERM");
    /// EBUSY: held by someone else.
    Busy = 16, Busy, Some("busy"), Some("resource busy");
    /// EINVAL: the payload is not what the file takes.
    InvalidPayload = 22, Policy, Some("invalid-payload"), Some("invalid payload");
    /// ENOSPC: a bounded table or buffer is full.
    BufferFull = 28, Quota, Some("buffer-full"), Some("buffer full");
    /// EBADE: the claims exceed the manifest's ticket limits.
    InvalidClaims = 52, Quota, Some("invalid-claims"), None;
    /// EBADR: a genuine ticket whose claims make no sense.
    UndecodableClaims = 53, Policy, Some("invalid-claims"), None;
    /// EXFULL: what of the GPU is not leased is too little; the log says how much it is.
    GpuBusy = 54, Busy, Some("gpu-capacity"), Some("not enough of the GPU is free");
    /// EUSERS: no session slot is free.
    TooManySessions = 87, Busy, Some("sessions"), Some("too many sessions");
    /// EMSGSIZE: one record is longer than the file takes.
    TooLong = 90, Policy, Some("too-long"), Some("record too long");
    /// EOPNOTSUPP: the file or the server does not do this.
    Unsupported = 95, Policy, Some("unsupported"), Some("unsupported command");
    /// ENETUNREACH: the root is cut; workers have to wait for a queen.
    Cut = 101, Cut, Some("root-unreachable"), None;
    /// ENOTCONN: not attached, or a verb of the queen only.
    Unauthenticated = 107, Policy, Some("unauthenticated"), None;
    /// ESHUTDOWN: the lifecycle state lets no worker attach.
    LifecycleDenied = 108, Policy, Some("lifecycle-denied"), None;
    /// ETOOMANYREFS: too many failed attaches in the window.
    RateLimited = 109, Quota, Some("rate-limited"), None;
    /// ETIMEDOUT: the attach was not answered in time.
    AttachTimeout = 110, Busy, Some("attach-timeout"), Some("attach handshake timed out");
    /// EREMOTEIO: the actor that owns the file is down or restarting.
    OwnerDown = 121, Busy, Some("unavailable"), Some("owner restarting");
    /// EDQUOT: the ticket's rate, bandwidth or cursor quota is used up.
    TicketLimit = 122, Quota, None, Some("ELIMIT");
    /// ENOKEY: no such role.
    InvalidRole = 126, Policy, Some("invalid-role"), None;
    /// EKEYEXPIRED: the ticket's time is over.
    TicketExpired = 127, Quota, Some("expired"), None;
    /// EKEYREJECTED: the ticket is missing, forged, malformed or for another role.
    TicketRejected = 129, Policy, Some("denied"), None;
}

impl Refusal {
    /// Reads any errno a 9P server may answer with. What is no refusal of ours becomes the one that
    /// tells a client most: a wrong kind of file is `InvalidPath`, an I/O error `OwnerDown`, a full
    /// table `BufferFull`, anything unknown `Unsupported`.
    pub const fn from_errno(errno: u32) -> Refusal {
        if let Some(refusal) = Refusal::exact(errno) {
            return refusal;
        }
        match errno {
            // EIO, ECONNRESET, EPIPE, ESTALE
            5 | 104 | 32 | 116 => Refusal::OwnerDown,
            // ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP
            20 | 21 | 36 | 40 => Refusal::InvalidPath,
            // EROFS
            30 => Refusal::Denied,
            // E2BIG, EFBIG
            7 | 27 => Refusal::TooLong,
            // ENOMEM, ENFILE, EMFILE, ENOBUFS
            12 | 23 | 24 | 105 => Refusal::BufferFull,
            _ => Refusal::Unsupported,
        }
    }

    /// Whether the console names the path with this refusal (WIRE 1.3).
    pub const fn names_path(self) -> bool {
        matches!(
            self,
            Refusal::Denied
                | Refusal::InvalidPath
                | Refusal::TicketScope
                | Refusal::Busy
                | Refusal::GpuBusy
                | Refusal::InvalidPayload
                | Refusal::BufferFull
                | Refusal::TooLong
                | Refusal::OwnerDown
                | Refusal::TicketLimit
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reason={}", self.reason())?;
        if let Some(detail) = self.detail() {
            write!(f, " detail={detail}")?;
        }
        if let Some(error) = self.error_text() {
            write!(f, " error={error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::string::ToString;

    #[test]
    fn errno_is_a_bijection() {
        let numbers: BTreeSet<u32> = Refusal::ALL.iter().map(|r| r.to_errno()).collect();
        assert_eq!(numbers.len(), Refusal::ALL.len());
        for &refusal in Refusal::ALL {
            assert_eq!(Refusal::from_errno(refusal.to_errno()), refusal);
        }
    }

    #[test]
    fn every_other_errno_has_an_answer() {
        assert_eq!(Refusal::from_errno(5), Refusal::OwnerDown);
        assert_eq!(Refusal::from_errno(21), Refusal::InvalidPath);
        assert_eq!(Refusal::from_errno(24), Refusal::BufferFull);
        assert_eq!(Refusal::from_errno(0), Refusal::Unsupported);
        assert_eq!(Refusal::from_errno(u32::MAX), Refusal::Unsupported);
    }

    #[test]
    fn display_is_the_console_detail_without_a_path() {
        assert_eq!(
            Refusal::InvalidPath.to_string(),
            "reason=policy detail=invalid-path error=invalid path"
        );
        assert_eq!(Refusal::TicketScope.to_string(), "reason=policy error=EPERM");
        assert_eq!(Refusal::Cut.to_string(), "reason=cut detail=root-unreachable");
    }
}
