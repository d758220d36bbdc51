//! Why a command was not done, and who says so.
//!
//! Answers for keeping the console's own refusals, which it has to count, apart from those of NineDoor, which has
//! counted them already. Never renders a line.

use ninep::ClientError;
use protocol::refusal::{Reason, Refusal};
use runtime::counters::{Counters, Refused};

/// A refusal and its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub refusal: Refusal,
    /// Whether the console itself refuses.
    pub own: bool,
}

/// The client is gone; there is nobody to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Why a command ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was refused; the client is to be told.
    Refused(Fault),
    /// The client is gone.
    Gone,
}

impl From<Refusal> for Fault {
    /// The console refuses.
    fn from(refusal: Refusal) -> Fault {
        Fault { refusal, own: true }
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Fault {
        match error {
            ClientError::Remote(errno) => Fault {
                refusal: Refusal::from_errno(errno.raw()),
                own: false,
            },
            ClientError::Closed | ClientError::Protocol(_) => Refusal::OwnerDown.into(),
            ClientError::Exhausted => Refusal::Busy.into(),
            ClientError::Names(_) => Refusal::InvalidPath.into(),
            ClientError::TooLong => Refusal::TooLong.into(),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Refused(fault)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal.into())
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Stop {
        Stop::Gone
    }
}

impl Fault {
    /// Counts it, if it is the console's own.
    pub fn count(self, counters: &Counters) {
        if self.own {
            counters.refused(class(self.refusal.reason()));
        }
    }
}

/// The counter of a reason.
pub fn class(reason: Reason) -> Refused {
    match reason {
        Reason::Busy => Refused::Busy,
        Reason::Quota => Refused::Quota,
        Reason::Cut => Refused::Cut,
        Reason::Policy => Refused::Policy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ninep::Errno;

    #[test]
    fn what_ninedoor_refused_is_not_counted_again() {
        let remote = Fault::from(ClientError::Remote(Errno::EDQUOT));
        assert_eq!(
            remote,
            Fault {
                refusal: Refusal::TicketLimit,
                own: false
            }
        );
        for (error, refusal) in [
            (ClientError::Closed, Refusal::OwnerDown),
            (ClientError::Exhausted, Refusal::Busy),
            (ClientError::TooLong, Refusal::TooLong),
        ] {
            assert_eq!(Fault::from(error), Fault { refusal, own: true });
        }
    }
}
