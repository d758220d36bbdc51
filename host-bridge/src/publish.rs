//! Publishing a snapshot (WIRE 5.1): `begin`, lines of base64, `end`, each acknowledged before the next.
//!
//! Answers for a publish that is whole: one whose connection broke, or whose turn another publisher had, begins again
//! from `begin`, a bounded number of times; and what the hive acknowledged is compared with what it says it has.
//! Never takes a refusal for anything else.

use core::fmt;
use std::time::Duration;

use client::{Error, Refusal, Session};
use protocol::b64::Digits;
use protocol::gpu::{BridgeRequest, BridgeStatus};
use tokio::time::sleep;

use crate::snapshot::Payload;

const CTL: &str = "/gpu/bridge/ctl";
const STATUS: &str = "/gpu/bridge/status";

/// How long to insist.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Times a busy hive is asked again.
    pub(crate) busy: u32,
    /// Times a publish whose connection broke is begun again.
    pub(crate) broken: u32,
}

impl Patience {
    /// For who asks once. The pauses come to 13 s: a publisher that went silent loses its turn after 10 s.
    pub(crate) const ONCE: Patience = Patience { busy: 9, broken: 3 };
    /// For who comes back anyway.
    pub(crate) const EACH_TIME: Patience = Patience { busy: 0, broken: 1 };
}

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why a snapshot is not published, as far as this host knows.
#[derive(Debug)]
pub enum PublishError {
    /// The session failed.
    Session(Error),
    /// The hive refused a line.
    Refused {
        /// Its words.
        refusal: Refusal,
        /// Why, as `/gpu/bridge/status` has it; empty if it does not say.
        reason: String,
    },
    /// Another publisher has the turn.
    Busy {
        /// The hive's words.
        refusal: Refusal,
        /// Times it was asked.
        tries: u32,
    },
    /// The connection broke again and again before the end.
    Broken {
        /// Times it was begun.
        tries: u32,
    },
    /// Every line was acknowledged, and the hive says it has something else.
    NotConfirmed {
        /// What `/gpu/bridge/status` says.
        status: String,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(why) => write!(f, "{why}"),
            Self::Refused { refusal, reason } => {
                write!(f, "the hive refused the snapshot: {refusal}")?;
                if !reason.is_empty() {
                    write!(f, " ({STATUS}: {reason})")?;
                }
                Ok(())
            }
            Self::Busy { refusal, tries } => write!(
                f,
                "the hive is busy, asked {tries} times: {refusal}; another host may be publishing, try again later"
            ),
            Self::Broken { tries } => write!(
                f,
                "the connection broke in the middle of the snapshot, begun {tries} times; what was published before stays"
            ),
            Self::NotConfirmed { status } => write!(
                f,
                "the hive took the snapshot, and {STATUS} says `{status}`; another host may have published since"
            ),
        }
    }
}

impl std::error::Error for PublishError {}

impl From<Error> for PublishError {
    fn from(why: Error) -> Self {
        Self::Session(why)
    }
}

/// Whether the hive says that it has this snapshot.
pub(crate) async fn is_published(session: &Session, payload: &Payload) -> Result<bool, Error> {
    Ok(confirms(&status(session).await?, payload))
}

/// Publishes. The session must not repeat writes by itself (`Resend::ReadsOnly`).
pub(crate) async fn publish(
    session: &Session,
    payload: &Payload,
    line_digits: usize,
    patience: Patience,
) -> Result<(), PublishError> {
    let (mut busy, mut broken) = (0, 0);
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt(session, payload, line_digits).await? {
            Attempt::Done => return Ok(()),
            Attempt::Busy(refusal) if busy >= patience.busy => {
                return Err(PublishError::Busy {
                    refusal,
                    tries: busy + 1,
                });
            }
            Attempt::Broken if broken >= patience.broken => {
                return Err(PublishError::Broken { tries: broken + 1 });
            }
            // The client has waited for the connection.
            Attempt::Broken => broken += 1,
            Attempt::Busy(_) => {
                busy += 1;
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// How one try ended, if not in an error.
enum Attempt {
    Done,
    Busy(Refusal),
    Broken,
}

async fn attempt(session: &Session, payload: &Payload, line_digits: usize) -> Result<Attempt, PublishError> {
    let bytes = payload.text.len();
    let begin = BridgeRequest::Begin {
        bytes,
        sha256: payload.sha256,
    };
    if let Some(ended) = send(session, &begin).await? {
        return Ok(ended);
    }
    // What a new connection finds of a publish that an older one began is not ours to go on with.
    let connection = session.reconnects();
    let digits = Digits(payload.text.as_bytes()).to_string();
    // Digits are ASCII, so that they may be cut anywhere; cut at fours, each line is base64 by itself.
    let parts = digits.as_bytes().chunks(line_digits);
    let lines = parts.map(|part| BridgeRequest::Data {
        digits: str::from_utf8(part).unwrap_or_default(),
    });
    for line in lines.chain([BridgeRequest::End]) {
        let ended = send(session, &line).await;
        if session.reconnects() != connection {
            return Ok(Attempt::Broken);
        }
        if let Some(ended) = ended? {
            return Ok(ended);
        }
    }
    let status = status(session).await?;
    if confirms(&status, payload) {
        Ok(Attempt::Done)
    } else if session.reconnects() != connection {
        Ok(Attempt::Broken)
    } else {
        Err(PublishError::NotConfirmed { status })
    }
}

/// Sends a line. `None`: it is acknowledged.
async fn send(session: &Session, line: &BridgeRequest<'_>) -> Result<Option<Attempt>, PublishError> {
    match session.echo(CTL, &line.to_string()).await {
        Ok(_) => Ok(None),
        Err(Error::Interrupted { .. }) => Ok(Some(Attempt::Broken)),
        Err(Error::Refused(refusal)) if refusal.is_busy() => Ok(Some(Attempt::Busy(refusal))),
        Err(Error::Refused(refusal)) => {
            let reason = reason(session).await;
            Err(PublishError::Refused { refusal, reason })
        }
        Err(why) => Err(why.into()),
    }
}

async fn status(session: &Session) -> Result<String, Error> {
    Ok(session.cat(STATUS).await?.pop().unwrap_or_default())
}

fn confirms(status: &str, payload: &Payload) -> bool {
    BridgeStatus::parse(status)
        == Ok(BridgeStatus::Ok {
            bytes: payload.text.len(),
            sha256: payload.sha256,
        })
}

/// Why the hive refused, if it says so. What matters is the refusal; that this fails as well tells nothing.
async fn reason(session: &Session) -> String {
    let status = status(session).await.unwrap_or_default();
    match BridgeStatus::parse(&status) {
        Ok(BridgeStatus::Err { reason }) => reason.to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
