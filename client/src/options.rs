//! How long a session waits, how often it tries again, and what it sends twice.
//!
//! Answers for the defaults and their reasons. Never reads a file or a variable: a tool maps its flags to these fields.

use std::time::Duration;

/// The knobs of a session. The defaults are those that the public clients of this console have.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a TCP connection may take to be made.
    pub connect_timeout: Duration,
    /// Longest silence while an answer is awaited. The default, 20 s, is four reads of 5 s as public clients do them.
    /// A connection that was silent for so long is closed: what comes later could not be told from the next answer.
    pub silence_timeout: Duration,
    /// Longest time for one whole answer, however steadily it comes.
    pub answer_timeout: Duration,
    /// Tries after the first one, for a connection that cannot be made or that is lost. Progress resets the count.
    pub retries: u32,
    /// Pause before the first of those tries; each next pause is twice as long.
    pub backoff_first: Duration,
    /// Longest such pause.
    pub backoff_max: Duration,
    /// After so long without traffic an idle session sends `PING`. The hive closes sessions idle for five minutes.
    pub heartbeat: Duration,
    /// What is sent again after a lost connection.
    pub resend: Resend,
    /// Most bytes of one answer's lines that are kept; a longer answer is an error. Memory, not time, is at stake.
    pub answer_bytes: usize,
}

/// What becomes of a command whose connection was lost before its answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// It is sent again: at least once. The hive may have executed it before, so a line may be appended twice.
    Always,
    /// Only commands that change nothing are sent again; for the others the caller gets
    /// [`Error::Interrupted`](crate::Error::Interrupted) and has to find out: at most once.
    ReadsOnly,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            silence_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(35),
            retries: 3,
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(2),
            heartbeat: Duration::from_secs(15),
            resend: Resend::Always,
            answer_bytes: 8 << 20,
        }
    }
}

/// The pauses between tries: doubling from the first to the longest, then no more.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
    left: u32,
}

impl Backoff {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            next: options.backoff_first.min(options.backoff_max),
            max: options.backoff_max,
            left: options.retries,
        }
    }

    /// The pause before the next try; `None` if there is to be none.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let mut backoff = Backoff::new(&Options {
            retries: 6,
            ..Options::default()
        });
        let pauses: Vec<u128> = std::iter::from_fn(|| backoff.pause())
            .map(|p| p.as_millis())
            .collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff.pause(), None);
    }
}
