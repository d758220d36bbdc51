#[path = "../../tests/support/double.rs"]
mod double;
#[path = "../../../client/tests/support/mod.rs"]
mod support;

use client::state::Secret;
use client::{Options, Resend, Target, connect};

use self::double::{Double, Twist};
use self::support::{Act, TOKEN, say};
use super::*;
use crate::source::mock;

const BUSY: &str = "ERR ECHO reason=busy detail=busy path=/gpu/bridge/ctl error=resource busy";
const TWICE: Patience = Patience { busy: 2, broken: 2 };

async fn session(double: &Double) -> Session {
    let addr = double.fake.addr;
    let target = Target::queen("127.0.0.1", addr.port(), Secret::new(TOKEN).unwrap());
    let options = Options {
        resend: Resend::ReadsOnly,
        backoff_first: Duration::from_millis(1),
        ..Options::default()
    };
    connect(target, options).await.unwrap()
}

fn payload() -> Payload {
    mock::snapshot().encode().unwrap()
}

/// Publishes the mock to a double with this twist.
async fn published(twist: Twist) -> (Double, Result<(), PublishError>) {
    let double = Double::with(twist).await;
    let session = session(&double).await;
    let result = publish(&session, &payload(), 124, TWICE).await;
    (double, result)
}

#[tokio::test]
async fn a_publish_is_the_session_of_wire_5_1() {
    let (double, result) = published(|_, _, _| None).await;
    result.unwrap();
    let payload = payload();
    assert_eq!(double.installed(), std::slice::from_ref(&payload.text));
    let lines = double.lines();
    assert_eq!(
        lines[0],
        format!("begin bytes={} sha256={}", payload.text.len(), payload.sha256)
    );
    assert_eq!(lines.last().unwrap(), "end");
    let data = &lines[1..lines.len() - 1];
    assert_eq!(data.len(), payload.text.len().div_ceil(93));
    assert!(
        data.iter()
            .all(|line| line.starts_with("b64:") && line.len() <= 128)
    );
    assert!(is_published(&session(&double).await, &payload).await.unwrap());
}

#[tokio::test]
async fn longer_lines_are_fewer() {
    let double = Double::start().await;
    let session = session(&double).await;
    publish(&session, &payload(), 2044, TWICE).await.unwrap();
    assert_eq!((double.installed().len(), double.lines().len()), (1, 3));
}

#[tokio::test]
async fn a_busy_hive_is_asked_again_from_the_beginning() {
    // At `begin`, and once in the middle: another publisher had the turn.
    let (double, result) = published(|_, _, nth| (nth == 0 || nth == 3).then(|| vec![say(BUSY)])).await;
    result.unwrap();
    assert_eq!(double.installed().len(), 1);
    let begins = double
        .lines()
        .iter()
        .filter(|line| line.starts_with("begin"))
        .count();
    assert_eq!(begins, 3);
}

#[tokio::test]
async fn a_hive_that_stays_busy_is_told() {
    let (double, result) = published(|_, _, _| Some(vec![say(BUSY)])).await;
    let why = result.unwrap_err();
    assert!(matches!(why, PublishError::Busy { tries: 3, .. }), "{why}");
    assert!(why.to_string().contains("reason=busy"), "{why}");
    assert_eq!(double.lines().len(), 3);
}

#[tokio::test]
async fn a_refusal_is_shown_with_its_reason_and_not_repeated() {
    let (double, result) = published(|_, line, _| {
        (line == "end").then(|| {
            vec![say(
                "ERR ECHO reason=policy detail=invalid-payload path=/gpu/bridge/ctl error=invalid payload",
            )]
        })
    })
    .await;
    let why = result.unwrap_err();
    assert!(matches!(why, PublishError::Refused { .. }), "{why}");
    assert!(why.to_string().contains("detail=invalid-payload"), "{why}");
    assert_eq!(
        (
            double.installed().len(),
            double.fake.count("ECHO /gpu/bridge/ctl begin")
        ),
        (0, 1)
    );

    let double = Double::start().await;
    let forged = Payload {
        sha256: protocol::gpu::Digest([7; 32]),
        ..payload()
    };
    let why = publish(&session(&double).await, &forged, 124, TWICE)
        .await
        .unwrap_err();
    assert!(why.to_string().contains("/gpu/bridge/status: mismatch"), "{why}");
}

#[tokio::test]
async fn a_connection_that_breaks_begins_the_publish_again() {
    // Broken before an answer, and broken behind one.
    for twist in [
        (|connection, _, nth| (connection == 0 && nth == 4).then(|| vec![Act::Close])) as Twist,
        |connection, _, nth| {
            (connection == 0 && nth == 4)
                .then(|| vec![say("OK ECHO path=/gpu/bridge/ctl bytes=128"), Act::Close])
        },
        |connection, line, _| (connection == 0 && line == "end").then(|| vec![Act::Close]),
        |connection, _, _| (connection == 0).then(|| vec![Act::Close]),
    ] {
        let (double, result) = published(twist).await;
        result.unwrap();
        assert_eq!(double.installed(), [payload().text]);
        let received = double.fake.received();
        let again = |r: &support::Received| r.connection == 1 && r.line.contains(" begin ");
        assert!(received.iter().any(again), "the second connection begins again");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_each_time_is_told() {
    let (double, result) = published(|_, line, _| (line == "end").then(|| vec![Act::Close])).await;
    let why = result.unwrap_err();
    assert!(matches!(why, PublishError::Broken { tries: 3 }), "{why}");
    assert_eq!(double.installed().len(), 0);
}

#[tokio::test]
async fn an_acknowledged_snapshot_is_looked_at() {
    let double =
        Double::with(|_, line, _| (line == "end").then(|| vec![say("OK ECHO path=/gpu/bridge/ctl bytes=3")]))
            .await;
    let why = publish(&session(&double).await, &payload(), 124, TWICE)
        .await
        .unwrap_err();
    assert!(
        why.to_string()
            .contains(&format!("state=receiving bytes={}", payload().text.len())),
        "{why}"
    );
}
