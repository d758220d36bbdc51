//! Who may do what, whatever a ticket says.
//!
//! Answers for the role rules of WIRE 4.13: a queen may write what is written by hand, a worker its own telemetry, a
//! GPU worker besides a GPU's status (its owner says whose), an actor what its door's configuration lists; everybody
//! may read what gives something.
//!
//! Never looks at a ticket (that is [`usage`](crate::usage)), never at the lifecycle (that is its owner's).

use protocol::refusal::Refusal;
use protocol::role::Role;

use crate::config::Identity;
use crate::place::{Kind, Place};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker<'a> {
    /// A queen.
    Queen,
    /// A worker of that kind, with its ticket's subject.
    Worker(Role, &'a str),
    /// An actor.
    Actor(&'a Identity),
}

impl<'a> Asker<'a> {
    /// A client with that role.
    pub(crate) fn client(role: Role, subject: &'a str) -> Self {
        if role == Role::Queen {
            Self::Queen
        } else {
            Self::Worker(role, subject)
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// A file of the door's own.
    Own(Place),
    /// The telemetry of that worker.
    Telemetry(&'a str),
    /// A file of somebody else.
    Forwarded,
}

/// Whether the asker may read it.
pub(crate) fn may_read(target: Target<'_>) -> Result<(), Refusal> {
    match target {
        Target::Own(place) if place.kind() == Kind::Control => Err(Refusal::InvalidPath),
        _ => Ok(()),
    }
}

/// Whether the asker may write it; `real` is its path.
pub(crate) fn may_write(asker: Asker<'_>, target: Target<'_>, real: &str) -> Result<(), Refusal> {
    if matches!(target, Target::Own(place) if place.kind() == Kind::Dir) {
        return Err(Refusal::InvalidPath);
    }
    let allowed = match (asker, target) {
        // A session speaks of itself there.
        (_, Target::Own(Place::SessionCtl)) => true,
        (Asker::Actor(identity), _) => identity.append.iter().any(|path| path == real),
        (Asker::Queen, Target::Own(place)) => matches!(place, Place::QueenLog | Place::ActorFault(_)),
        (Asker::Queen, Target::Telemetry(_) | Target::Forwarded) => true,
        (Asker::Worker(_, subject), Target::Telemetry(id)) => subject == id,
        (Asker::Worker(Role::WorkerGpu, _), Target::Forwarded) => is_gpu_status(real),
        (Asker::Worker(..), _) => false,
    };
    if allowed { Ok(()) } else { Err(Refusal::Denied) }
}

/// Whether a path is `/gpu/<id>/status`.
fn is_gpu_status(real: &str) -> bool {
    let id = real
        .strip_prefix("/gpu/")
        .and_then(|rest| rest.strip_suffix("/status"));
    id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Door;
    use crate::place::WORKER_CTL;
    use crate::scripts::Script;

    const QUEEN_LOG: &str = "/log/queen.log";
    const LOG: Target<'_> = Target::Own(Place::QueenLog);
    const OWN: &str = "/worker/worker-1/telemetry";

    #[test]
    fn wire_4_13() {
        let queen_actor = &Door::queen().identities[0];
        let console_actor = &Door::console().identities[0];
        let (queen, worker) = (Asker::Queen, Asker::Worker(Role::WorkerHeartbeat, "worker-1"));
        let gpu_worker = Asker::Worker(Role::WorkerGpu, "worker-1");
        for (asker, target, real, allowed) in [
            (queen, LOG, QUEEN_LOG, true),
            (queen, Target::Telemetry("worker-1"), OWN, true),
            (queen, Target::Forwarded, "/queen/ctl", true),
            (
                queen,
                Target::Own(Place::ActorFault(0)),
                "/proc/actors/queen/fault",
                true,
            ),
            (queen, Target::Own(Place::WorkerCtl), WORKER_CTL, false),
            (queen, Target::Own(Place::Boot), "/proc/boot", false),
            (
                queen,
                Target::Own(Place::Script(Script::Quick)),
                "/proc/tests/selftest_quick.coh",
                false,
            ),
            (worker, LOG, QUEEN_LOG, false),
            (worker, Target::Telemetry("worker-1"), OWN, true),
            (
                worker,
                Target::Telemetry("worker-2"),
                "/worker/worker-2/telemetry",
                false,
            ),
            (worker, Target::Forwarded, "/queen/ctl", false),
            (
                worker,
                Target::Own(Place::ActorFault(0)),
                "/proc/actors/queen/fault",
                false,
            ),
            (
                worker,
                Target::Own(Place::SessionCtl),
                "/proc/9p/session/ctl",
                true,
            ),
            (gpu_worker, Target::Telemetry("worker-1"), OWN, true),
            (gpu_worker, Target::Forwarded, "/gpu/GPU-0/status", true),
            (worker, Target::Forwarded, "/gpu/GPU-0/status", false),
            (gpu_worker, Target::Forwarded, "/gpu/GPU-0/lease", false),
            (gpu_worker, Target::Forwarded, "/gpu/bridge/ctl", false),
            (gpu_worker, Target::Forwarded, "/gpu//status", false),
            (gpu_worker, Target::Forwarded, "/gpu/a/b/status", false),
            (gpu_worker, Target::Forwarded, "/queen/ctl", false),
            (
                Asker::Worker(Role::WorkerHeartbeat, ""),
                Target::Telemetry("worker-1"),
                OWN,
                false,
            ),
            (Asker::Actor(queen_actor), LOG, QUEEN_LOG, true),
            (
                Asker::Actor(queen_actor),
                Target::Own(Place::WorkerCtl),
                WORKER_CTL,
                true,
            ),
            (
                Asker::Actor(queen_actor),
                Target::Telemetry("worker-1"),
                OWN,
                false,
            ),
            (Asker::Actor(console_actor), LOG, QUEEN_LOG, true),
            (
                Asker::Actor(console_actor),
                Target::Own(Place::WorkerCtl),
                WORKER_CTL,
                false,
            ),
            (
                Asker::Actor(console_actor),
                Target::Forwarded,
                "/queen/ctl",
                false,
            ),
        ] {
            assert_eq!(
                may_write(asker, target, real).is_ok(),
                allowed,
                "{asker:?} writes {target:?}"
            );
        }
    }

    #[test]
    fn nothing_can_be_read_from_a_control_file_or_written_to_a_directory() {
        for place in [Place::WorkerCtl, Place::SessionCtl, Place::ActorFault(0)] {
            assert_eq!(may_read(Target::Own(place)), Err(Refusal::InvalidPath));
        }
        assert_eq!(may_read(LOG), Ok(()));
        assert_eq!(
            may_write(Asker::Queen, Target::Own(Place::Log), "/log"),
            Err(Refusal::InvalidPath)
        );
    }
}
