//! `spawn`, `kill`, `bind`, `mount`: lines of `/queen/ctl`; and `lifecycle`.
//!
//! Answers for the lines and for the check that is made before a lifecycle word is sent. Never retries a refusal.

use client::{Exit, QUEEN_CTL, Session};
use protocol::control::QueenRequest;
use protocol::lifecycle::{Command, State, transition};
use protocol::limits::CONTROL_BYTES;

use crate::outcome::Outcome;

const STATE_FILE: &str = "/proc/lifecycle/state";
const CONTROL_FILE: &str = "/queen/lifecycle/ctl";

/// Appends a request to `/queen/ctl`.
pub(crate) async fn queen(session: &Session, request: &QueenRequest<'_>) -> Outcome {
    let mut buffer = [0; CONTROL_BYTES];
    match request.render(&mut buffer) {
        Ok(line) => session.command(&format!("ECHO {QUEEN_CTL} {line}")).await.into(),
        Err(why) => {
            let mut outcome = Outcome::new();
            let line = format!("ERR ECHO reason=policy detail=invalid-payload path={QUEEN_CTL} error={why}");
            outcome.refuse(Exit::Usage, line);
            outcome
        }
    }
}

/// Ends a worker.
pub(crate) async fn kill(session: &Session, id: &str) -> Outcome {
    queen(session, &QueenRequest::Kill { id }).await
}

/// Shows a subtree in another place.
pub(crate) async fn bind(session: &Session, from: &str, to: &str) -> Outcome {
    queen(session, &QueenRequest::Bind { from, to }).await
}

/// Shows a service's files.
pub(crate) async fn mount(session: &Session, service: &str, at: &str) -> Outcome {
    queen(session, &QueenRequest::Mount { service, at }).await
}

/// Sends a lifecycle word, unless the state table says that it would be refused.
pub(crate) async fn lifecycle(session: &Session, action: Command) -> Outcome {
    let mut outcome = Outcome::new();
    let lines = match session.cat(STATE_FILE).await {
        Ok(lines) => lines,
        Err(error) => {
            outcome.error(&error);
            return outcome;
        }
    };
    let label = lines
        .iter()
        .find_map(|line| line.strip_prefix("state="))
        .unwrap_or("");
    let refused = match State::from_label(label) {
        None => Some("unknown-state"),
        // Whether workers live is for the hive to say.
        Some(state) => transition(state, action, 0).err().map(|_| "invalid-transition"),
    };
    match refused {
        Some(reason) => {
            outcome.refuse(
                Exit::Refused,
                format!("ERR LIFECYCLE action={action} state={label} reason={reason}"),
            );
            outcome
        }
        None => session
            .command(&format!("ECHO {CONTROL_FILE} {action}"))
            .await
            .into(),
    }
}
