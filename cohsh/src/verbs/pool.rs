//! `pool bench`: writes over one session, then the same over a pool of them.
//!
//! Answers for counting what was acknowledged, for cutting connections on purpose, and for asking a pool for more than
//! it has. Never counts a line that the hive did not acknowledge.

use std::time::Instant;

use client::{Error, Exit, Options, Session, Target, connect};
use protocol::limits::ECHO_BYTES;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::command::PoolBench;
use crate::outcome::Outcome;

/// Sessions that are lent out, at most as many as there are.
struct Pool {
    free: Vec<Session>,
    /// Checkouts refused because none was free.
    exhausted: usize,
}

impl Pool {
    fn checkout(&mut self) -> Option<Session> {
        let session = self.free.pop();
        self.exhausted += usize::from(session.is_none());
        session
    }
}

/// Runs the benchmark. The pool's further sessions are made like this one, as `like` says; if the hive has no room for
/// them, the pool is as large as it can be.
pub(crate) async fn bench(
    session: &Session,
    like: Option<&Target>,
    options: &Options,
    bench: &PoolBench,
) -> Outcome {
    let mut outcome = Outcome::new();
    if let Some(why) = too_long(bench) {
        outcome.refuse(Exit::Usage, format!("pool bench result ERR {why}"));
        return outcome;
    }
    let mut pool = fill(session, like, options, bench).await;
    let workers = pool.free.len();

    let start = Instant::now();
    let lines: Vec<String> = (0..bench.ops).map(|i| line(bench, "base", i)).collect();
    let baseline = write(session, bench, lines, 1, 0).await;
    let baseline_ms = start.elapsed().as_millis();

    let retries_before: u64 = pool.free.iter().map(Session::reconnects).sum();
    let start = Instant::now();
    let pooled = pooled(&mut pool, bench).await;
    let pooled_ms = start.elapsed().as_millis();
    let retries = pool.free.iter().map(Session::reconnects).sum::<u64>() - retries_before;

    let extra_sessions = pool.free.drain(..).skip(1);
    for session in extra_sessions {
        session.quit().await;
    }
    let (expected, kind) = (bench.ops, bench.kind.label());
    let (observed, why) = match (baseline, pooled) {
        (Ok(_), Ok(observed)) => (observed, None),
        (Err(why), _) | (_, Err(why)) => (0, Some(why)),
    };
    let good = why.is_none()
        && observed == expected
        && pool.exhausted >= bench.exhaust
        && (bench.inject_failures == 0 || retries >= 1);
    let result = format!(
        "pool bench result {} kind={kind} workers={workers} batch={} expected={expected} observed={observed} \
         retries={retries} pool_exhausted={} baseline_ms={baseline_ms} pooled_ms={pooled_ms}",
        if good { "OK" } else { "ERR" },
        bench.batch,
        pool.exhausted
    );
    match why {
        Some(Error::Refused(refusal)) => outcome.ack(refusal.ack()),
        Some(error) => outcome.error(&error),
        None if !good => outcome.fail(Exit::Shortfall, result.clone(), true),
        None => {}
    }
    outcome.respond(result);
    outcome
}

async fn fill(session: &Session, like: Option<&Target>, options: &Options, bench: &PoolBench) -> Pool {
    let mut free = vec![session.clone()];
    // One try: a console for a single client refuses the second at once.
    let options = Options {
        retries: 0,
        ..options.clone()
    };
    while let Some(target) = like
        && free.len() < bench.kind.sessions()
    {
        let Ok(session) = connect(target.clone(), options.clone()).await else {
            break;
        };
        free.push(session);
    }
    Pool { free, exhausted: 0 }
}

/// Every session of the pool writes its share.
async fn pooled(pool: &mut Pool, bench: &PoolBench) -> Result<usize, Error> {
    let mut lent = Vec::new();
    while let Some(session) = pool.free.pop() {
        lent.push(session);
    }
    for _ in 0..bench.exhaust {
        if let Some(session) = pool.checkout() {
            lent.push(session);
        }
    }
    let workers = lent.len();
    let mut tasks = JoinSet::new();
    for (worker, session) in lent.iter().cloned().enumerate() {
        let share = |total: usize| total / workers + usize::from(worker < total % workers);
        let (cuts, bench) = (share(bench.inject_failures), bench.clone());
        let lines = (0..share(bench.ops))
            .map(|i| line(&bench, &worker.to_string(), i))
            .collect();
        tasks.spawn(async move { write(&session, &bench, lines, bench.batch, cuts).await });
    }
    pool.free.extend(lent);
    let mut observed = 0;
    while let Some(done) = tasks.join_next().await {
        observed += done.map_err(|_| Error::Ended)??;
    }
    Ok(observed)
}

/// Appends `lines`, cutting the connection in the middle of a frame before each of the first `cuts` batches. Gives the
/// number of acknowledged lines.
async fn write(
    session: &Session,
    bench: &PoolBench,
    lines: Vec<String>,
    batch: usize,
    mut cuts: usize,
) -> Result<usize, Error> {
    let mut observed = 0;
    for lines in lines.chunks(batch) {
        if cuts > 0 {
            cuts -= 1;
            // A whole frame would be carried out, and then again.
            let frame = 4 + "ECHO ".len() + bench.path.len() + 1 + lines[0].len();
            session
                .sever(&bench.path, &lines[0], bench.inject_bytes.min(frame - 1))
                .await?;
        }
        for reply in session.echo_all(&bench.path, lines).await? {
            reply.accepted()?;
            observed += 1;
        }
        sleep(bench.delay).await;
    }
    Ok(observed)
}

fn line(bench: &PoolBench, worker: &str, i: usize) -> String {
    let line = format!("{}-{worker}-pool-{i}", bench.payload);
    let width = bench.payload_bytes.unwrap_or(0);
    format!("{line:.<width$}")
}

/// Why the lines would not fit.
fn too_long(bench: &PoolBench) -> Option<String> {
    let longest = line(
        &PoolBench {
            payload_bytes: None,
            ..bench.clone()
        },
        "base",
        bench.ops - 1,
    )
    .len();
    let wanted = bench.payload_bytes.unwrap_or(longest);
    (wanted < longest || wanted > ECHO_BYTES)
        .then(|| format!("payload_bytes={wanted} min={longest} max={ECHO_BYTES}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, parse};

    fn bench(options: &str) -> PoolBench {
        match parse(&format!("pool bench path=/log/queen.log {options}")) {
            Ok(Command::PoolBench(bench)) => bench,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_padded_to_the_size_asked_for() {
        assert_eq!(line(&bench("ops=9"), "0", 3), "pool-0-pool-3");
        assert_eq!(
            line(&bench("ops=9 payload=x payload_bytes=12"), "0", 3),
            "x-0-pool-3.."
        );
        assert_eq!(too_long(&bench("ops=100 payload_bytes=17")), None);
        assert!(too_long(&bench("ops=101 payload_bytes=17")).is_some());
        assert!(too_long(&bench("ops=1 payload_bytes=2049")).is_some());
    }
}
