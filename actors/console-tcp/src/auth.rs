//! The one thing a stranger may say: `AUTH <token>` (WIRE 1.2).
//!
//! Answers for judging the line in a time that does not tell how much of a guess was right, and for how long a wrong
//! one is left waiting. Never delays a right one, never looks at who asks: behind a forwarder all have one address.

use core::time::Duration;

use protocol::ack::AuthError;
use runtime::time::Instant;

/// The verb and the space after it; in this letter case only.
const VERB: &str = "AUTH ";

/// Judges a first line.
pub(crate) fn judge(line: &str, token: &[u8]) -> Result<(), AuthError> {
    let Some(guess) = line.strip_prefix(VERB) else {
        let verb_alone = line == VERB.trim_end();
        return Err(if verb_alone {
            AuthError::InvalidLength
        } else {
            AuthError::ExpectedToken
        });
    };
    compare(guess, token)
}

/// Judges a guess alone.
pub(crate) fn compare(guess: &str, token: &[u8]) -> Result<(), AuthError> {
    if guess.len() != token.len() {
        return Err(AuthError::InvalidLength);
    }
    let differing = guess
        .bytes()
        .zip(token)
        .fold(0, |bits, (guessed, right)| bits | (guessed ^ right));
    if core::hint::black_box(differing) == 0 {
        Ok(())
    } else {
        Err(AuthError::InvalidToken)
    }
}

/// The wait after one recent failure; it doubles with each further one.
const DELAY: Duration = Duration::from_millis(50);
/// The longest wait (CONTROL 1).
const MAX_DELAY: Duration = Duration::from_secs(2);
/// One failure is forgotten in this time.
const FORGET: Duration = Duration::from_secs(5);
/// Failures that are remembered; more would only lengthen the forgetting, the delay has reached its end.
const MAX_FAILURES: u32 = 12;

/// How long failing guesses wait for their answer: all clients together, since they cannot be told apart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delay {
    failures: u32,
    /// Up to when failures were forgotten.
    since: Instant,
}

impl Delay {
    /// Another guess was wrong; its answer is due after this time.
    pub(crate) fn failed(&mut self, now: Instant) -> Duration {
        let forgotten = now.since(self.since).as_micros() / FORGET.as_micros();
        let forgotten = u32::try_from(forgotten).unwrap_or(u32::MAX);
        if forgotten >= self.failures {
            *self = Delay {
                failures: 0,
                since: now,
            };
        } else {
            self.failures -= forgotten;
            self.since = self.since + FORGET * forgotten;
        }
        let delay = DELAY * (1 << self.failures.min(MAX_FAILURES));
        self.failures = (self.failures + 1).min(MAX_FAILURES);
        delay.min(MAX_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn only_the_exact_line_is_right() {
        let token = b"open sesame";
        assert_eq!(judge("AUTH open sesame", token), Ok(()));
        for (line, error) in [
            ("AUTH open sesamf", AuthError::InvalidToken),
            ("AUTH Open sesame", AuthError::InvalidToken),
            ("AUTH open sesame ", AuthError::InvalidLength),
            ("AUTH  open sesame", AuthError::InvalidLength),
            ("AUTH open", AuthError::InvalidLength),
            ("AUTH ", AuthError::InvalidLength),
            ("AUTH", AuthError::InvalidLength),
            ("auth open sesame", AuthError::ExpectedToken),
            (" AUTH open sesame", AuthError::ExpectedToken),
            ("AUTHopen sesame", AuthError::ExpectedToken),
            ("PING", AuthError::ExpectedToken),
            ("", AuthError::ExpectedToken),
        ] {
            assert_eq!(judge(line, token), Err(error), "{line:?}");
        }
    }

    #[test]
    fn the_delay_grows_to_two_seconds_and_is_forgotten() {
        let mut delay = Delay::default();
        let ms = |ms| Instant::from_millis(ms);
        let delays: Vec<u128> = (0..8).map(|_| delay.failed(ms(0)).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(delay.failed(ms(25_000)).as_millis(), 400, "five are forgotten");
        assert_eq!(delay.failed(ms(1_000_000)).as_millis(), 50);
    }

    proptest! {
        #[test]
        fn any_failure_waits_and_none_for_long(gaps in proptest::collection::vec(0u64..20_000, 1..100)) {
            let (mut delay, mut now) = (Delay::default(), 0);
            for gap in gaps {
                now += gap;
                let waits = delay.failed(Instant::from_millis(now));
                prop_assert!((DELAY..=MAX_DELAY).contains(&waits));
            }
        }

        #[test]
        fn no_other_line_is_right(line in "(AUTH )?[a-z ]{0,8}", token in "[a-z]{1,6}") {
            let right = line.strip_prefix("AUTH ") == Some(&token);
            prop_assert_eq!(judge(&line, token.as_bytes()).is_ok(), right);
        }
    }
}
