//! Whether the root (a queen) can be reached, and why not.
//!
//! Answers for `/proc/root/*` and for the moments that change it (WIRE 1.10 with the settlement of CONTROL 1).
//!
//! Never refuses a request itself; whom a cut concerns is the [`policy`](crate::policy)'s business.

/// Why the root is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutReason {
    /// It is not.
    None,
    /// No queen has attached yet, or the last queen's connection was lost.
    NetworkUnreachable,
    /// A queen wanted to attach and was denied while none was there.
    PolicyDenied,
    /// The last queen's session was ended for her.
    SessionRevoked,
}

impl CutReason {
    /// The word in `/proc/root/cut_reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NetworkUnreachable => "network_unreachable",
            Self::PolicyDenied => "policy_denied",
            Self::SessionRevoked => "session_revoked",
        }
    }
}

/// How a queen's session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By her own word: nothing changes.
    Quit,
    /// Her connection was lost.
    Lost,
    /// Her ticket expired.
    Revoked,
}

/// The reachability of the root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root {
    cut: CutReason,
    last_seen_ms: u64,
}

impl Root {
    /// At boot no queen has been seen.
    pub(crate) fn new() -> Self {
        Self {
            cut: CutReason::NetworkUnreachable,
            last_seen_ms: 0,
        }
    }

    /// Whether workers may be served.
    pub(crate) fn reachable(self) -> bool {
        self.cut == CutReason::None
    }

    /// Why not.
    pub(crate) fn cut_reason(self) -> CutReason {
        self.cut
    }

    /// Unix milliseconds of a queen's last request; 0 before the first.
    pub(crate) fn last_seen_ms(self) -> u64 {
        self.last_seen_ms
    }

    /// A queen attached.
    pub(crate) fn attached(&mut self, unix_ms: u64) {
        self.cut = CutReason::None;
        self.last_seen_ms = unix_ms;
    }

    /// A queen asked for something.
    pub(crate) fn seen(&mut self, unix_ms: u64) {
        self.last_seen_ms = unix_ms;
    }

    /// A queen's attach was denied while `queens` sessions of queens live. A root that is reachable stays so:
    /// otherwise a stranger with a wrong ticket could cut the workers off.
    pub(crate) fn denied(&mut self, queens: usize) {
        if queens == 0 && !self.reachable() {
            self.cut = CutReason::PolicyDenied;
        }
    }

    /// A queen's session ended and `queens` others live on.
    pub(crate) fn ended(&mut self, how: End, queens: usize) {
        if queens > 0 {
            return;
        }
        match how {
            End::Quit => {}
            End::Lost => self.cut = CutReason::NetworkUnreachable,
            End::Revoked => self.cut = CutReason::SessionRevoked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_out_of_reach_until_the_first_queen() {
        let mut root = Root::new();
        assert!(!root.reachable());
        root.denied(0);
        assert_eq!(root.cut_reason(), CutReason::PolicyDenied);
        root.attached(7);
        assert!(root.reachable());
        assert_eq!((root.cut_reason(), root.last_seen_ms()), (CutReason::None, 7));
    }

    #[test]
    fn only_the_last_queens_lost_connection_cuts() {
        for (how, others, reason) in [
            (End::Quit, 0, CutReason::None),
            (End::Lost, 1, CutReason::None),
            (End::Lost, 0, CutReason::NetworkUnreachable),
            (End::Revoked, 0, CutReason::SessionRevoked),
            (End::Revoked, 2, CutReason::None),
        ] {
            let mut root = Root::new();
            root.attached(0);
            root.ended(how, others);
            assert_eq!(root.cut_reason(), reason, "{how:?} with {others} others");
        }
    }

    #[test]
    fn a_denied_stranger_cuts_nobody_off() {
        let mut root = Root::new();
        root.attached(0);
        root.denied(0);
        assert!(root.reachable());
    }
}
