//! The door as its clients see it, in the simulator.

mod house;

use std::time::Duration;

use house::{House, config, connect, console, read_to_end, run, token, worker_token};
use ninedoor::{Config, Mount};
use ninep::{Errno, OpenFlags, QidKind};
use protocol::role::Role;
use protocol::ticket::{Claims, Quotas, Scope, ScopeVerb};
use runtime::sim::SimConfig;

const CREATE: &str = r#"{"create":{"id":"worker-1"}}"#;
const TELEMETRY: &str = "/shard/13/worker/worker-1/telemetry";
const ALIAS: &str = "/worker/worker-1/telemetry";

#[test]
fn directories_are_sorted_and_merged() {
    run(|ctx| async move {
        let queen = console(&ctx).await.queen().await;
        connect(&ctx, "queen-ninedoor")
            .await
            .attach("queen-actor", "")
            .await
            .unwrap()
            .echo("/worker/ctl", CREATE)
            .await
            .unwrap();
        for (path, names) in [
            ("/", &["log", "proc", "queen", "shard", "worker"][..]),
            (
                "/proc",
                &[
                    "9p",
                    "actors",
                    "boot",
                    "lifecycle",
                    "pressure",
                    "root",
                    "supervisor",
                    "tests",
                ],
            ),
            ("/proc/lifecycle", &["state"]),
            (
                "/proc/tests",
                &["selftest_full.coh", "selftest_negative.coh", "selftest_quick.coh"],
            ),
            ("/proc/actors", &["clients", "ninedoor", "queen"]),
            ("/proc/actors/queen", &["counters", "fault", "state"]),
            ("/queen", &["ctl", "deep", "slow"]),
            ("/queen/deep", &["telemetry"]),
            ("/shard", &["13"]),
            ("/shard/13", &["worker"]),
            ("/shard/13/worker", &["worker-1"]),
            ("/worker", &["worker-1"]),
            ("/worker/worker-1", &["telemetry"]),
        ] {
            assert_eq!(queen.ls(path).await.unwrap(), names, "LS {path}");
        }
        for path in [
            "/nope",
            "/queen/nope",
            "/proc/nope",
            "/shard/14",
            "/worker/ctl",
            "/queen/ctl/x",
        ] {
            assert_eq!(queen.ls(path).await, Err(Errno::ENOENT), "LS {path}");
        }
        assert_eq!(queen.ls("/proc/boot").await, Err(Errno::ENOTDIR));
    });
}

#[test]
fn files_say_what_they_say_and_refuse_what_they_refuse() {
    run(|ctx| async move {
        let queen = console(&ctx).await.queen().await;
        let boot = queen.cat("/proc/boot").await.unwrap();
        assert!(
            boot.starts_with("Cohesix boot: root-task online\nmanifest.schema=1\n"),
            "{boot}"
        );
        assert!(
            boot.contains("boot.id=b-1\n") && boot.contains("journal.ninedoor=fresh\n"),
            "{boot}"
        );
        assert_eq!(
            queen.cat("/proc/lifecycle/state").await.unwrap(),
            "state=ONLINE\n"
        );
        assert_eq!(
            queen.cat("/proc/root/reachable").await.unwrap(),
            "reachable=yes\n"
        );
        assert_eq!(
            queen.cat("/proc/9p/session/active").await.unwrap(),
            "active=1 draining=0\n"
        );
        assert_eq!(
            queen.cat("/proc/9p/session/1/owner").await.unwrap(),
            "owner=queen\n"
        );
        assert_eq!(
            queen.cat("/proc/9p/outstanding").await.unwrap(),
            "outstanding current=1 limit=36\n"
        );
        assert!(
            queen
                .cat("/proc/tests/selftest_full.coh")
                .await
                .unwrap()
                .contains("spawn heartbeat ticks=2 ttl_s=30")
        );
        assert!(
            queen
                .cat("/proc/actors/queen/counters")
                .await
                .unwrap()
                .starts_with("turns=")
        );
        assert!(
            queen
                .cat("/proc/supervisor")
                .await
                .unwrap()
                .contains("child=queen state=running restarts=0 reason=none")
        );
        for (path, expected) in [
            ("/proc/boot", Errno::EPERM),
            ("/proc/tests/selftest_quick.coh", Errno::EPERM),
            ("/proc/lifecycle/state", Errno::EPERM),
            ("/nope", Errno::ENOENT),
            ("/log", Errno::EISDIR),
        ] {
            assert_eq!(queen.echo(path, "x").await, Err(expected), "ECHO {path}");
        }
        assert_eq!(
            queen.cat("/queen/ctl").await,
            Err(Errno::ENOENT),
            "a control file gives nothing"
        );
        assert_eq!(queen.cat("/proc/9p/session/ctl").await, Err(Errno::ENOENT));
        assert_eq!(
            queen.cat("/proc/pressure/policy").await.unwrap(),
            "policy=4\n",
            "the door's own refusals"
        );
        let log = queen.log().await;
        for path in ["/proc/boot", "/nope", "/proc/lifecycle/state"] {
            let line = format!("role=queen ticket=none path={path} verb=");
            assert!(
                log.iter().any(|logged| logged.contains(&line)) || path == "/nope",
                "{line} is not in {log:?}"
            );
        }
    });
}

#[test]
fn every_file_has_truthful_attributes() {
    run(|ctx| async move {
        let queen = console(&ctx).await.queen().await;
        queen.echo("/log/queen.log", "twelve bytes").await.unwrap();
        ctx.sleep(Duration::from_secs(5)).await;
        const APPEND: u32 = 0x4000_0000;
        for (path, mode) in [
            ("/", 0o040_555),
            ("/proc/9p", 0o040_555),
            ("/queen", 0o040_555),
            ("/proc/boot", 0o100_444),
            ("/proc/pressure/busy", 0o100_444),
            ("/log/queen.log", 0o100_644 | APPEND),
            ("/proc/9p/session/ctl", 0o100_200 | APPEND),
            ("/queen/ctl", 0o100_644 | APPEND),
        ] {
            let attr = queen.stat(path).await.unwrap();
            assert_eq!(attr.mode, mode, "{path}: {:o}", attr.mode);
            assert_eq!(
                attr.qid.kind.contains(QidKind::APPEND),
                mode & APPEND != 0,
                "{path}"
            );
        }
        for path in [
            "/proc/boot",
            "/log/queen.log",
            "/proc/tests/selftest_quick.coh",
            "/proc/root/reachable",
        ] {
            let (attr, text) = (queen.stat(path).await.unwrap(), queen.cat(path).await.unwrap());
            assert_eq!(attr.size, text.len() as u64, "{path}");
        }
        let log = queen.stat("/log/queen.log").await.unwrap();
        assert_eq!(
            log.mtime.sec,
            house::UNIX_MS / 1000,
            "it was written five seconds ago"
        );
        let ids: Vec<u64> = [
            queen.stat("/log").await,
            queen.stat("/queen").await,
            queen.stat("/queen/ctl").await,
        ]
        .map(|attr| attr.unwrap().qid.path)
        .to_vec();
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    });
}

#[test]
fn the_log_keeps_whole_lines_for_everybody() {
    run(|ctx| async move {
        let peer = console(&ctx).await;
        let queen = peer.queen().await;
        queen.echo("/log/queen.log", "hello-one").await.unwrap();
        queen.echo("/log/queen.log", "hello-two\n").await.unwrap();
        let actor = connect(&ctx, "queen-ninedoor")
            .await
            .attach("queen-actor", "")
            .await
            .unwrap();
        actor
            .echo("/log/queen.log", "from the queen herself")
            .await
            .unwrap();
        peer.attach("console-actor", "")
            .await
            .unwrap()
            .echo("/log/queen.log", "from the console")
            .await
            .unwrap();
        let log = queen.log().await;
        assert_eq!(
            log[log.len() - 4..],
            [
                "hello-one",
                "hello-two",
                "from the queen herself",
                "from the console"
            ]
        );
        let worker = peer.attach("worker", &worker_token("worker-1")).await.unwrap();
        assert_eq!(worker.echo("/log/queen.log", "no").await, Err(Errno::EPERM));
        assert_eq!(worker.log().await[log.len() - 1], "from the console");
        for i in 0..300 {
            queen.echo("/log/queen.log", &format!("line {i}")).await.unwrap();
        }
        let log = queen.log().await;
        assert_eq!(
            (log.len(), log[0].as_str(), log[127].as_str()),
            (128, "line 172", "line 299")
        );
    });
}

#[test]
fn a_reader_in_small_pieces_sees_one_moment_and_then_what_came_since() {
    run(|ctx| async move {
        let queen = console(&ctx).await.queen().await;
        for i in 0..20 {
            queen
                .echo("/log/queen.log", &format!("before {i}"))
                .await
                .unwrap();
        }
        let fid = queen.open("/log/queen.log", OpenFlags::RDONLY).await.unwrap();
        let mut buf = [0; 7];
        let mut seen = Vec::new();
        loop {
            let count = queen
                .client
                .read(&fid, seen.len() as u64, &mut buf)
                .await
                .unwrap();
            if count == 0 {
                break;
            }
            seen.extend_from_slice(&buf[..count]);
            queen.echo("/log/queen.log", "after").await.unwrap();
        }
        let text = String::from_utf8(seen.clone()).unwrap();
        assert!(text.ends_with("before 19\n") && !text.contains("after"), "{text}");
        let count = queen
            .client
            .read(&fid, seen.len() as u64, &mut buf)
            .await
            .unwrap();
        assert_eq!(
            &buf[..count],
            b"after\na",
            "a reader that goes on follows the log"
        );
        // A rendered file, too: the second piece belongs to the first.
        let fid = queen
            .open("/proc/9p/session/active", OpenFlags::RDONLY)
            .await
            .unwrap();
        let count = queen.client.read(&fid, 0, &mut buf).await.unwrap();
        assert_eq!(&buf[..count], b"active=");
        let more = console(&ctx);
        drop(more);
        let text = read_to_end(&queen.client, &fid, 3).await.unwrap();
        assert_eq!(text, b"active=1 draining=0\n");
    });
}

#[test]
fn telemetry_is_raw_and_follows_its_worker() {
    run(|ctx| async move {
        let peer = console(&ctx).await;
        let queen = peer.queen().await;
        let actor = connect(&ctx, "queen-ninedoor")
            .await
            .attach("queen-actor", "")
            .await
            .unwrap();
        assert_eq!(queen.cat(TELEMETRY).await, Err(Errno::ENOENT));
        actor.echo("/worker/ctl", CREATE).await.unwrap();
        actor.echo("/worker/ctl", CREATE).await.unwrap();
        let heart = connect(&ctx, "worker-heart-ninedoor").await;
        let worker = heart
            .attach("worker-heartbeat", &worker_token("worker-1"))
            .await
            .unwrap();
        worker.echo(ALIAS, "tele-1").await.unwrap();
        queen.echo(TELEMETRY, "tele-2").await.unwrap();
        assert_eq!(queen.cat(ALIAS).await.unwrap(), "tele-1tele-2");
        assert_eq!(worker.cat(TELEMETRY).await.unwrap(), "tele-1tele-2");
        let stranger = peer.attach("worker", &worker_token("worker-2")).await.unwrap();
        assert_eq!(stranger.echo(ALIAS, "x").await, Err(Errno::EPERM));
        let reader = queen.open(TELEMETRY, OpenFlags::RDONLY).await.unwrap();
        for _ in 0..12 {
            queen.echo(TELEMETRY, &"x".repeat(90)).await.unwrap();
        }
        assert!(
            queen
                .logged("telemetry ring wrap dropped_bytes=68 new_base=68")
                .await
        );
        let under_way = queen
            .client
            .read(&reader, 0, &mut [0; 64])
            .await
            .map_err(house::errno);
        assert_eq!(
            under_way,
            Ok(64),
            "what gave way is there a while longer for who had begun"
        );
        for _ in 0..12 {
            queen.echo(TELEMETRY, &"x".repeat(90)).await.unwrap();
        }
        let overtaken = queen.client.read(&reader, 0, &mut [0; 64]).await;
        assert_eq!(overtaken.map_err(house::errno), Err(Errno::ESTALE));
        assert_eq!(queen.echo(TELEMETRY, &"x".repeat(1025)).await, Err(Errno::ENOSPC));
        assert!(queen.logged("telemetry quota reject bytes=1025 quota=1024").await);
        let held = worker.open(ALIAS, OpenFlags::WRONLY).await.unwrap();
        actor
            .echo("/worker/ctl", r#"{"end":{"id":"worker-1"}}"#)
            .await
            .unwrap();
        let dead = worker.client.write(&held, 0, b"tick").await.map_err(house::errno);
        assert_eq!(dead, Err(Errno::EKEYREJECTED), "its session is over with it");
        assert_eq!(queen.cat(TELEMETRY).await, Err(Errno::ENOENT));
        assert_eq!(queen.ls("/shard").await.unwrap(), [""; 0]);
    });
}

#[test]
fn forwarded_files_are_the_queens_and_audited() {
    let mut house = House::new(2);
    let memory = house.queen.clone();
    house.run(|ctx| async move {
        let peer = console(&ctx).await;
        let queen = peer.queen().await;
        queen.echo("/queen/ctl", r#"{"kill":"worker-7"}"#).await.unwrap();
        assert_eq!(queen.echo("/queen/ctl", "{}").await, Err(Errno::EINVAL));
        assert!(queen.logged("access outcome=deny reason=policy detail=invalid-payload role=queen ticket=none path=/queen/ctl verb=ECHO").await);
        let worker = peer.attach("worker", &worker_token("worker-1")).await.unwrap();
        assert_eq!(worker.cat("/proc/lifecycle/state").await.unwrap(), "state=ONLINE\n");
        assert_eq!(worker.echo("/queen/ctl", r#"{"kill":"worker-7"}"#).await, Err(Errno::EPERM));
        assert_eq!(queen.cat("/queen/deep/telemetry").await.unwrap(), "leaf");
    });
    let memory = memory.lock().unwrap();
    assert_eq!(memory.lines, [r#"{"kill":"worker-7"}"#]);
    let attaches: Vec<_> = memory
        .attaches
        .iter()
        .map(|(uname, aname)| (uname.as_str(), aname.as_str()))
        .collect();
    assert_eq!(
        attaches,
        [
            ("queen", "session=1 ticket=none link=console-ninedoor"),
            ("queen", "ninedoor"),
            (
                "worker-heartbeat",
                "session=2 ticket=worker-1 link=console-ninedoor"
            ),
        ],
        "a session attaches once, when it first goes there"
    );
}

#[test]
fn binds_and_mounts_are_real_and_a_sessions_own() {
    run(|ctx| async move {
        let peer = console(&ctx).await;
        let (queen, other) = (peer.queen().await, peer.queen().await);
        let bind = async |from: &str, to: &str| {
            let line = format!(r#"{{"bind":{{"from":"{from}","to":"{to}"}}}}"#);
            queen.echo("/queen/ctl", &line).await
        };
        bind("/log", "/shadow").await.unwrap();
        bind("/queen", "/tmp/q").await.unwrap();
        bind("/proc/boot", "/queen/boot").await.unwrap();
        queen
            .echo("/queen/ctl", r#"{"mount":{"service":"logs","at":"/logs"}}"#)
            .await
            .unwrap();
        queen
            .echo("/shadow/queen.log", "seen through a bind")
            .await
            .unwrap();
        assert!(
            queen
                .cat("/logs/queen.log")
                .await
                .unwrap()
                .contains("seen through a bind\n")
        );
        assert_eq!(
            queen.ls("/").await.unwrap(),
            ["log", "logs", "proc", "queen", "shadow", "shard", "tmp", "worker"]
        );
        assert_eq!(queen.ls("/tmp").await.unwrap(), ["q"]);
        assert_eq!(queen.ls("/tmp/q").await.unwrap(), ["ctl", "deep", "slow"]);
        assert_eq!(queen.ls("/queen").await.unwrap(), ["ctl", "deep", "slow", "boot"]);
        assert!(
            queen
                .cat("/queen/boot")
                .await
                .unwrap()
                .starts_with("Cohesix boot")
        );
        queen.echo("/tmp/q/ctl", r#"{"kill":"worker-9"}"#).await.unwrap();
        assert_eq!(other.cat("/shadow/queen.log").await, Err(Errno::ENOENT));
        assert_eq!(bind("/proc/../boot", "/tmp").await, Err(Errno::EINVAL));
        assert_eq!(bind("/log", "/").await, Err(Errno::EINVAL));
        let unknown = queen
            .echo("/queen/ctl", r#"{"mount":{"service":"spool","at":"/x"}}"#)
            .await;
        assert_eq!(unknown, Err(Errno::ENOENT));
        for i in 0..4 {
            bind("/log", &format!("/b{i}")).await.unwrap();
        }
        assert_eq!(bind("/log", "/ninth").await, Err(Errno::ENOSPC));
        // Not even a bind over /proc keeps a session from saying that it is lost.
        let shadowed = r#"{"bind":{"from":"/log","to":"/proc"}}"#;
        other.echo("/queen/ctl", shadowed).await.unwrap();
        assert_eq!(other.ls("/proc").await.unwrap(), ["queen.log"]);
        other.lose().await;
    });
}

#[test]
fn scopes_hold_for_walks_opens_and_binds() {
    run(|ctx| async move {
        let mut claims = Claims {
            subject: Some("ops"),
            ..Claims::new(Role::Queen)
        };
        for (path, verb) in [("/log", ScopeVerb::Read), ("/queen", ScopeVerb::Write)] {
            claims
                .scopes
                .push(Scope {
                    path,
                    verb,
                    rate_per_s: 0,
                })
                .unwrap();
        }
        let scoped = console(&ctx)
            .await
            .attach("queen", &token(&claims))
            .await
            .unwrap();
        scoped.cat("/log/queen.log").await.unwrap();
        assert_eq!(scoped.cat("/proc/boot").await, Err(Errno::EACCES));
        assert_eq!(
            scoped.cat("/nope").await,
            Err(Errno::EACCES),
            "what is out of scope is not even looked for"
        );
        assert_eq!(scoped.echo("/log/queen.log", "x").await, Err(Errno::EACCES));
        assert_eq!(scoped.ls("/").await, Err(Errno::EACCES));
        scoped
            .echo("/queen/ctl", r#"{"bind":{"from":"/proc","to":"/log/p"}}"#)
            .await
            .unwrap();
        assert_eq!(
            scoped.cat("/log/p/boot").await,
            Err(Errno::EACCES),
            "a bind does not widen a scope"
        );
        assert!(
            scoped
                .logged("ui-ticket outcome=deny reason=scope role=queen ticket=ops path=/proc/boot verb=WALK")
                .await
        );
        scoped.lose().await;
    });
}

#[test]
fn rates_bandwidth_and_cursors_run_out() {
    run(|ctx| async move {
        let peer = console(&ctx).await;
        let actor = connect(&ctx, "queen-ninedoor")
            .await
            .attach("queen-actor", "")
            .await
            .unwrap();
        actor.echo("/worker/ctl", CREATE).await.unwrap();
        let watcher = peer.queen().await;
        watcher.echo(TELEMETRY, "tick 1\n").await.unwrap();
        let quotas = Quotas {
            bandwidth_bytes: 40,
            cursor_advances: 3,
            cursor_resumes: 0,
        };
        let claims = Claims {
            quotas: Some(quotas),
            ..Claims::new(Role::Queen)
        };
        let limited = peer.attach("queen", &token(&claims)).await.unwrap();
        assert_eq!(limited.cat(TELEMETRY).await.unwrap(), "tick 1\n");
        watcher.echo(TELEMETRY, "tick 2\n").await.unwrap();
        assert_eq!(
            limited.cat(ALIAS).await.unwrap(),
            "tick 2\n",
            "it goes on where the session was"
        );
        assert_eq!(limited.cat(TELEMETRY).await.unwrap(), "");
        assert_eq!(limited.cat(TELEMETRY).await, Err(Errno::EDQUOT));
        assert!(
            watcher
                .logged("ui-ticket outcome=deny reason=cursor-advance")
                .await
        );
        for _ in 0..3 {
            limited.cat("/log/queen.log").await.unwrap();
        }
        assert_eq!(
            limited.echo("/log/queen.log", &"x".repeat(27)).await,
            Err(Errno::EDQUOT)
        );
        limited.echo("/log/queen.log", &"x".repeat(26)).await.unwrap();
        assert_eq!(limited.ls("/proc").await, Err(Errno::EDQUOT));
        assert!(
            watcher
                .logged(" limit_bytes=40 remaining_bytes=26 requested_bytes=27")
                .await
        );
        let mut claims = Claims::new(Role::Queen);
        claims
            .scopes
            .push(Scope {
                path: "/log",
                verb: ScopeVerb::Read,
                rate_per_s: 1,
            })
            .unwrap();
        let slow = peer.attach("queen", &token(&claims)).await.unwrap();
        slow.cat("/log/queen.log").await.unwrap();
        assert_eq!(slow.cat("/log/queen.log").await, Err(Errno::EDQUOT));
        ctx.sleep(Duration::from_secs(1)).await;
        slow.cat("/log/queen.log").await.unwrap();
    });
}

#[test]
fn a_ticket_expires_in_the_middle_of_a_session() {
    run(|ctx| async move {
        let peer = console(&ctx).await;
        let claims = Claims {
            ttl_s: Some(10),
            issued_at_ms: house::UNIX_MS,
            ..Claims::new(Role::Queen)
        };
        let session = peer.attach("queen", &token(&claims)).await.unwrap();
        let fid = session.open("/log/queen.log", OpenFlags::RDWR).await.unwrap();
        session.client.write(&fid, 0, b"in time").await.unwrap();
        ctx.sleep(Duration::from_secs(11)).await;
        for _ in 0..3 {
            let late = session
                .client
                .write(&fid, 0, b"too late")
                .await
                .map_err(house::errno);
            assert_eq!(late, Err(Errno::EKEYEXPIRED));
        }
        assert_eq!(
            peer.attach("queen", &token(&claims)).await.err(),
            Some(Errno::EKEYEXPIRED)
        );
        let log = peer.queen().await.log().await;
        let expired = log
            .iter()
            .filter(|line| line.contains("path=/log/queen.log verb=ECHO issued_at_ms="))
            .count();
        assert_eq!(expired, 1, "{log:?}");
    });
}

#[test]
fn workers_wait_for_a_queen_and_for_the_lifecycle() {
    let mut house = House::new(3);
    let memory = house.queen.clone();
    house.run(move |ctx| async move {
        let peer = console(&ctx).await;
        let actor = connect(&ctx, "queen-ninedoor")
            .await
            .attach("queen-actor", "")
            .await
            .unwrap();
        while actor.cat("/proc/lifecycle/state").await.is_err() {
            ctx.sleep(Duration::from_millis(1)).await;
        }
        let worker = peer.attach("worker", &worker_token("worker-1")).await.unwrap();
        assert_eq!(worker.cat("/proc/boot").await, Err(Errno::ENETUNREACH));
        let queen = peer.queen().await;
        worker.cat("/proc/boot").await.unwrap();
        let heart = connect(&ctx, "worker-heart-ninedoor").await;
        let inside = heart
            .attach("worker-heartbeat", &worker_token("worker-1"))
            .await
            .unwrap();
        queen.lose().await;
        assert_eq!(worker.cat("/proc/boot").await, Err(Errno::ENETUNREACH));
        assert_eq!(
            inside.cat("/proc/root/cut_reason").await.unwrap(),
            "cut_reason=network_unreachable\n"
        );
        let queen = peer.queen().await;
        worker.cat("/proc/boot").await.unwrap();
        memory.lock().unwrap().state = "QUIESCED".to_owned();
        let refused = peer.attach("worker", &worker_token("worker-1")).await.err();
        assert_eq!(refused, Some(Errno::ESHUTDOWN));
        assert!(
            queen
                .logged("lifecycle denied action=worker-attach state=QUIESCED reason=gate-denied")
                .await
        );
        heart
            .attach("worker-heartbeat", &worker_token("worker-2"))
            .await
            .unwrap();
        // The console is gone: every queen behind it is lost.
        peer.close();
        ctx.sleep(Duration::from_millis(10)).await;
        assert_eq!(
            inside.cat("/proc/root/reachable").await.unwrap(),
            "reachable=no\n"
        );
        assert_eq!(
            inside.cat("/proc/9p/session/active").await.unwrap(),
            "active=2 draining=0\n"
        );
    });
}

#[test]
fn a_queen_whose_ticket_has_expired_still_counts_as_lost() {
    run(|ctx| async move {
        let inside = connect(&ctx, "worker-heart-ninedoor")
            .await
            .attach("worker-heartbeat", &worker_token("worker-2"))
            .await
            .unwrap();
        let peer = console(&ctx).await;
        let claims = Claims {
            ttl_s: Some(1),
            issued_at_ms: house::UNIX_MS,
            ..Claims::new(Role::Queen)
        };
        let queen = peer.attach("queen", &token(&claims)).await.unwrap();
        let ticket = worker_token("worker-1");
        let worker = peer.attach("worker-heartbeat", &ticket).await.unwrap();
        ctx.sleep(Duration::from_secs(2)).await;
        assert_eq!(queen.ls("/").await, Err(Errno::EKEYEXPIRED));
        queen.lose().await;
        assert_eq!(
            inside.cat("/proc/root/reachable").await.unwrap(),
            "reachable=no\n"
        );
        // Nor is a worker that the root was taken from told off for leaving.
        assert_eq!(worker.ls("/").await, Err(Errno::ENETUNREACH));
        let cut = inside.cat("/proc/pressure/cut").await.unwrap();
        worker.lose().await;
        assert_eq!(inside.cat("/proc/pressure/cut").await.unwrap(), cut);
    });
}

#[test]
fn sixteen_sessions_at_once_lose_and_mix_nothing() {
    run(|ctx| async move {
        let peer = console(&ctx).await;
        let done = std::rc::Rc::new(std::cell::Cell::new(0));
        for number in 0..16 {
            let (session, done) = (peer.queen().await, done.clone());
            ctx.spawn(async move {
                let path = format!("/proc/9p/session/{}/owner", number + 1);
                for round in 0..50 {
                    session
                        .echo("/log/queen.log", &format!("session {number} round {round}"))
                        .await
                        .unwrap();
                    assert_eq!(session.cat(&path).await.unwrap(), "owner=queen\n");
                    assert_eq!(
                        session.cat("/proc/lifecycle/state").await.unwrap(),
                        "state=ONLINE\n"
                    );
                    let log = session.log().await;
                    assert!(
                        log.iter()
                            .all(|line| line.starts_with("session ") || line.starts_with("boot ")),
                        "{log:?}"
                    );
                }
                session.quit().await;
                done.set(done.get() + 1);
            })
            .unwrap();
        }
        while done.get() < 16 {
            ctx.sleep(Duration::from_millis(1)).await;
        }
        let watcher = peer.queen().await;
        assert_eq!(
            watcher.cat("/proc/9p/session/active").await.unwrap(),
            "active=1 draining=0\n"
        );
        let log = watcher.log().await;
        assert_eq!(log.len(), 128);
    });
}

#[test]
fn a_second_owner_is_only_data() {
    // The same queen serves a part of /queen through a mount of its own: the longest prefix wins.
    let mut mounts = config().mounts;
    mounts.push(Mount {
        prefix: "/queen/deep".to_owned(),
        link: "ninedoor-queen".to_owned(),
    });
    mounts.push(Mount {
        prefix: "/gpu/0/info".to_owned(),
        link: "ninedoor-queen".to_owned(),
    });
    let config = Config { mounts, ..config() };
    House::with(config, SimConfig::default()).run(|ctx| async move {
        let queen = console(&ctx).await.queen().await;
        assert_eq!(
            queen.ls("/").await.unwrap(),
            ["gpu", "log", "proc", "queen", "shard", "worker"]
        );
        assert_eq!(queen.ls("/gpu").await.unwrap(), ["0"]);
        assert_eq!(queen.ls("/gpu/0").await.unwrap(), ["info"]);
        assert_eq!(
            queen.cat("/gpu/0/info").await,
            Err(Errno::ENOENT),
            "the owner has the last word"
        );
        assert_eq!(
            queen.ls("/queen").await.unwrap(),
            ["ctl", "slow", "deep"],
            "added names come last, once"
        );
        assert_eq!(queen.cat("/queen/deep/telemetry").await.unwrap(), "leaf");
    });
}
