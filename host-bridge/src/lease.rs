//! What has happened to the leases of a GPU since it was last reported.
//!
//! Answers for each beginning and each end being told once, in their order, also those between two looks. A file of
//! leases keeps its newest lines only: a lease whose line is gone is as it was. Never looks at a clock: the hive ends
//! leases.

use std::collections::BTreeMap;

use protocol::gpu::{Lease, LeaseState};

/// What is new in `lines` to somebody to whom `reported` was told. A worker's id is never given to another, so that a
/// lease that has ended does not begin again.
pub(crate) fn news(reported: &BTreeMap<String, LeaseState>, lines: &[String]) -> Vec<(String, LeaseState)> {
    let mut known = reported.clone();
    let mut news = Vec::new();
    for line in lines {
        let Ok(lease) = Lease::parse(line) else {
            continue;
        };
        let is_new = match (known.get(lease.worker_id), lease.state) {
            (None, _) => true,
            (Some(LeaseState::Active), LeaseState::Released) => true,
            (Some(_), _) => false,
        };
        if is_new {
            known.insert(lease.worker_id.to_owned(), lease.state);
            news.push((lease.worker_id.to_owned(), lease.state));
        }
    }
    news
}

/// Forgets leases that have ended and that no line names any more: nothing new can come of them.
pub(crate) fn forget_ended(reported: &mut BTreeMap<String, LeaseState>, lines: &[String]) {
    reported.retain(|worker, state| {
        let named = |line: &String| Lease::parse(line).is_ok_and(|lease| lease.worker_id == worker);
        *state == LeaseState::Active || lines.iter().any(named)
    });
}

#[cfg(test)]
mod tests {
    use LeaseState::{Active, Released};

    use super::*;

    fn line(worker_id: &str, state: LeaseState) -> String {
        Lease {
            state,
            gpu_id: "GPU-0",
            worker_id,
            mem_mb: 1,
            streams: 1,
            ttl_s: 60,
            priority: 0,
            reason: None,
        }
        .to_string()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut reported = BTreeMap::new();
        let mut told = Vec::new();
        let mut lines = Vec::new();
        for (worker, state) in [
            ("worker-1", Active),
            ("worker-2", Active),
            ("worker-1", Released),
            ("worker-3", Active),
            ("worker-3", Released),
        ] {
            lines.push(line(worker, state));
            // Two looks at each state of the file.
            for _ in 0..2 {
                for (worker, state) in news(&reported, &lines) {
                    reported.insert(worker.clone(), state);
                    told.push(line(&worker, state));
                }
            }
        }
        assert_eq!(told, lines);
    }

    #[test]
    fn what_happened_between_two_looks_is_told_in_order() {
        let lines = [
            line("worker-1", Active),
            "{\"a\":1}".to_owned(),
            line("worker-1", Released),
            line("worker-2", Active),
        ];
        let told = [("worker-1", Active), ("worker-1", Released), ("worker-2", Active)];
        assert_eq!(
            news(&BTreeMap::new(), &lines),
            told.map(|(worker, state)| (worker.to_owned(), state))
        );
    }

    #[test]
    fn a_lease_whose_line_is_gone_is_as_it_was() {
        let mut reported =
            BTreeMap::from([("worker-1".to_owned(), Active), ("worker-2".to_owned(), Released)]);
        let lines = [line("worker-9", Active)];
        forget_ended(&mut reported, &lines);
        assert_eq!(reported.keys().collect::<Vec<_>>(), ["worker-1"]);
        assert_eq!(news(&reported, &lines).len(), 1);
        // Its end is still told.
        assert_eq!(
            news(&reported, &[line("worker-1", Released)]),
            [("worker-1".to_owned(), Released)]
        );
    }
}
