//! `/proc/tests`: the self-tests that a shell runs against this hive.
//!
//! Answers for the statements of WIRE 1.13: quick proves that the hive answers, full that it works, negative that it
//! refuses. Full wants a hive that has not spawned a worker yet.
//!
//! Never changes at run time.

/// A self-test script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// The hive answers.
    Quick,
    /// The hive works, workers included.
    Full,
    /// The hive refuses.
    Negative,
}

impl Script {
    /// The script's lines.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Quick => QUICK,
            Self::Full => FULL,
            Self::Negative => NEGATIVE,
        }
    }
}

const QUICK: &str = "\
# Does the hive answer? Changes nothing.
ping
EXPECT OK
# What booted.
cat /proc/boot
EXPECT OK
# What happened last.
tail /log/queen.log
EXPECT OK
WAIT 200
quit
";

const FULL: &str = "\
# Does the hive work? Wants a fresh one: the worker below has to be its first.
ping
EXPECT OK
cat /proc/boot
EXPECT OK
ls /proc
EXPECT OK
# The log takes lines and gives them back.
echo test-ack-1 > /log/queen.log
EXPECT OK
echo test-ack-2 > /log/queen.log
EXPECT OK
cat /log/queen.log
EXPECT OK
tail /log/queen.log
EXPECT OK
WAIT 200
# A worker lives, reports and dies.
spawn heartbeat ticks=2 ttl_s=30
EXPECT OK
tail /shard/13/worker/worker-1/telemetry
EXPECT OK
WAIT 200
kill worker-1
EXPECT OK
quit
";

const NEGATIVE: &str = "\
# Does the hive refuse? Every command below must fail, and nothing may change.
# A path that climbs.
bind /proc/../boot /tmp
EXPECT ERR
# A path of ten components.
cat /one/two/three/four/five/six/seven/eight/nine/ten
EXPECT ERR
# A file that is read-only.
echo not-for-writing > /proc/tests/selftest_quick.coh
EXPECT ERR
# A line longer than any frame.
echo {{msize_overflow}} > /queen/ctl
EXPECT ERR
";

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn statements(script: Script) -> Vec<&'static str> {
        script
            .text()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect()
    }

    #[test]
    fn each_has_as_many_statements_as_a_shell_reports_checks() {
        // The shell adds one check for its own first ping.
        assert_eq!(
            1 + statements(Script::Negative).len() + statements(Script::Quick).len(),
            17
        );
        assert_eq!(
            1 + statements(Script::Negative).len() + statements(Script::Full).len(),
            32
        );
    }

    #[test]
    fn every_line_fits_a_console_line_and_says_something() {
        for script in [Script::Quick, Script::Full, Script::Negative] {
            assert!(script.text().lines().all(|line| (1..=256).contains(&line.len())));
        }
    }
}
