//! A domain's deadline as a word that somebody else's timer reads: when to change it, and when to say so.
//!
//! Answers for: a timer that looks at the word when it is told, and when the time that it saw there last has come,
//! waking the domain no later than it wants; and for a deadline that comes and goes with each request being told
//! once, not each time.
//! Never: reads or writes the word.

/// The word of a domain that waits for nothing.
pub const NEVER: u64 = u64::MAX;

/// What a word that holds `known` must become at `now` for a domain that wants a turn at `wanted`, after `now`; all in
/// microseconds. `None`: it stays as it is. The timer must be told of a change, unless it is to [`NEVER`].
///
/// A time that has not come stays while a later one is wanted: the domain gets a turn at that time and moves the word
/// then. That is one turn for nothing in place of a signal for every deadline that is taken back.
pub fn change(known: u64, wanted: u64, now: u64) -> Option<u64> {
    let is_past = known <= now;
    (wanted < known || is_past && wanted != known).then_some(wanted)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The word, the timer that reads it, and a domain.
    #[derive(Debug)]
    struct World {
        now: u64,
        word: u64,
        alarm: u64,
        woken_for: u64,
        wanted: u64,
        told: u32,
    }

    impl World {
        /// What the timer domain does when it is told and when its time has come.
        fn look(&mut self) {
            self.alarm = NEVER;
            if self.word > self.now {
                self.alarm = self.word;
            } else if self.word != self.woken_for {
                self.woken_for = self.word;
                self.turn();
            }
        }

        /// What the domain does when it is woken.
        fn turn(&mut self) {
            if self.wanted <= self.now {
                self.wanted = NEVER;
            }
            self.set();
        }

        fn set(&mut self) {
            if let Some(word) = change(self.word, self.wanted, self.now) {
                self.word = word;
                if word != NEVER {
                    self.told += 1;
                    self.look();
                }
            }
        }

        fn advance(&mut self, to: u64) {
            while self.alarm <= to {
                self.now = self.alarm;
                self.look();
            }
            self.now = to;
        }
    }

    fn world() -> World {
        World {
            now: 1,
            word: NEVER,
            alarm: NEVER,
            woken_for: 0,
            wanted: NEVER,
            told: 0,
        }
    }

    proptest! {
        #[test]
        fn a_domain_is_woken_by_the_time_it_wants(
            steps in prop::collection::vec((0_u64..20, prop::option::of(1_u64..50), any::<bool>()), 1..100),
        ) {
            let mut world = world();
            for (pause, wanted, looked_at) in steps {
                world.advance(world.now + pause);
                prop_assert!(world.wanted > world.now, "{world:?}");
                world.wanted = wanted.map_or(NEVER, |after| world.now + after);
                world.set();
                // Another domain had the timer look.
                if looked_at {
                    world.look();
                }
            }
        }
    }

    #[test]
    fn a_deadline_that_each_request_sets_and_takes_back_is_told_once_while_it_lasts() {
        let mut world = world();
        for request in 0..100 {
            world.advance(1 + request * 10);
            for after in [5_000, 300_000] {
                world.wanted = world.now + after;
                world.set();
            }
        }
        assert_eq!(world.told, 1);
        world.advance(6_000);
        assert_eq!((world.told, world.word), (2, world.wanted));
    }
}
