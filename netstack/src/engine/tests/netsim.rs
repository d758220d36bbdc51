//! Throughput and integrity over bad wires, in virtual time.
//!
//! The throughput table is a snapshot: a change in it is a change in how the stack behaves, and is looked at
//! before it is accepted (`tests/netsim.txt` is rewritten by running with `NETSIM_ACCEPT=1`).

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use proptest::prelude::*;

use super::*;

const BYTES: usize = 256 * 1024;
const LIMIT: Duration = Duration::from_secs(24 * 3600);
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netsim.txt");

/// What the frames of a transfer cost.
struct Run {
    bytes_per_second: f64,
    frames: u64,
}

fn run(weather: Weather, buffer_bytes: usize, bytes: usize, seed: u64) -> Run {
    let mut world = World::with(weather, seed, |config| {
        config.limits = Limits {
            connections: 2,
            receive_bytes: buffer_bytes,
            send_bytes: buffer_bytes,
            ..Limits::default()
        };
    });
    let door = world.listen(2);
    let (client, server) = world.connect(door);
    let frames = |world: &World| {
        world
            .paths
            .iter()
            .map(|path| path.borrow().counts().offered)
            .sum::<u64>()
    };
    let before = frames(&world);
    let time = transfer(&mut world, client, server, bytes, LIMIT);
    Run {
        bytes_per_second: bytes as f64 / time.as_secs_f64(),
        frames: frames(&world) - before,
    }
}

#[test]
fn throughput_by_buffer_and_loss_is_as_recorded() {
    const LOSSES_PPM: [u32; 6] = [0, 1_000, 10_000, 20_000, 50_000, 100_000];
    let mut table = String::from(
        "kB/s (frames) of one transfer, 20 ms round trip; down: buffer in bytes, right: loss in ppm\n",
    );
    let _ = write!(table, "{:>7}", "");
    LOSSES_PPM.iter().for_each(|loss| _ = write!(table, "{loss:>18}"));
    for buffer in [2_048, 8_192, 16_384, 65_535] {
        let _ = write!(table, "\n{buffer:>7}");
        let mut clean = None;
        for loss_ppm in LOSSES_PPM {
            let weather = Weather {
                loss_ppm,
                ..Weather::fair(Duration::from_millis(10))
            };
            // The median of seven seeds: one unlucky chain of lost retransmissions says nothing.
            let mut runs: Vec<Run> = (0..7).map(|seed| run(weather, buffer, BYTES, seed)).collect();
            runs.sort_by(|a, b| a.bytes_per_second.total_cmp(&b.bytes_per_second));
            let run = &runs[3];
            let _ = write!(
                table,
                "{:>18}",
                format!("{:.1} ({})", run.bytes_per_second / 1e3, run.frames)
            );
            // A lossless wire fills its window once a round trip. Reno needs a while to get to a large one.
            let clean = *clean.get_or_insert(run.bytes_per_second);
            assert!(
                clean > 0.5 * buffer.min(16_384) as f64 / 0.020,
                "buffer {buffer}: {clean} B/s"
            );
            assert!(run.bytes_per_second <= clean * 1.001, "loss makes nothing faster");
        }
    }
    table.push('\n');
    if std::env::var_os("NETSIM_ACCEPT").is_some() {
        std::fs::write(SNAPSHOT, &table).expect("the snapshot can be written");
    }
    let recorded = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(recorded == table, "recorded:\n{recorded}\nnow:\n{table}");
}

#[test]
fn no_weather_changes_a_byte() {
    let chance = 60_000;
    let still = Weather::fair(Duration::from_millis(3));
    let table = [
        (
            "loss",
            Weather {
                loss_ppm: chance,
                ..still
            },
        ),
        (
            "duplication",
            Weather {
                duplication_ppm: chance,
                ..still
            },
        ),
        (
            "corruption",
            Weather {
                corruption_ppm: chance,
                ..still
            },
        ),
        (
            "reordering",
            Weather {
                reordering_ppm: chance,
                reordering_delay: Duration::from_millis(5),
                ..still
            },
        ),
        (
            "jitter",
            Weather {
                jitter: Duration::from_millis(20),
                ..still
            },
        ),
        (
            "bottleneck",
            Weather {
                bytes_per_second: Some(100_000),
                frames: 6,
                ..still
            },
        ),
        ("all of it", Weather::foul()),
    ];
    for (name, weather) in table {
        for seed in 0..40 {
            // `transfer` compares every byte.
            let run = run(weather, 16 * 1024, 48 * 1024, seed);
            assert!(
                run.bytes_per_second > 300.0,
                "{name}, seed {seed}: {} B/s",
                run.bytes_per_second
            );
        }
    }
}

#[test]
fn many_connections_share_a_bad_wire() {
    for seed in 0..5 {
        let mut world = World::new(Weather::foul(), seed);
        let door = world.listen(8);
        let pairs: Vec<_> = (0..16).map(|_| world.connect(door)).collect();
        for round in 0..4 {
            for (i, (client, _)) in pairs.iter().enumerate() {
                let message = [i as u8, round];
                world.client.socket(*client).send_slice(&message).expect("open");
            }
            for (i, (_, server)) in pairs.iter().enumerate() {
                let mut message = [0; 2];
                world
                    .until(LIMIT, |world| {
                        let socket = world.server.socket(*server);
                        (socket.recv_queue() == 2).then(|| socket.recv_slice(&mut message))
                    })
                    .expect("open");
                assert_eq!(message, [i as u8, round], "seed {seed}");
            }
        }
    }
}

/// Both sides time out at once and count anew; see `flows.rs`.
#[test]
fn both_directions_at_once_never_lose_each_other() {
    const LEN: usize = 24 * 1024;
    for seed in 0..200 {
        let weather = Weather {
            loss_ppm: 50_000,
            ..Weather::foul()
        };
        let mut world = World::new(weather, seed);
        let door = world.listen(2);
        let (client, server) = world.connect(door);
        let (mut sent, mut read) = ([0; 2], [0; 2]);
        world.until(LIMIT, |world| {
            for side in 0..2 {
                let socket = if side == 0 {
                    world.client.socket(client)
                } else {
                    world.server.socket(server)
                };
                let chunk = [7; 1_024];
                let len = chunk.len().min(LEN - sent[side]);
                sent[side] += socket.send_slice(&chunk[..len]).expect("the connection lives");
                read[side] += socket.recv_slice(&mut [0; 4_096]).expect("the connection lives");
            }
            (read == [LEN; 2]).then_some(())
        });
    }
}

/// The frames of a client, from the address request to the end of a connection.
fn recorded_frames() -> Vec<Vec<u8>> {
    let mut world = World::new(Weather::fair(Duration::from_millis(1)), 1);
    let door = world.listen(2);
    world.client.end.record = Some(vec![]);
    let (client, server) = world.connect(door);
    transfer(&mut world, client, server, 2_000, Duration::from_secs(1));
    let now = world.now();
    world.client.table().drain(client, now);
    world.server.table().drain(server, now);
    world.run_for(Duration::from_secs(1));
    let mut frames = world.client.end.record.take().unwrap_or_default();
    // Whoever can forge an address resolution owns the wire; that is not what is tested.
    frames.retain(|frame| frame[12..14] == [0x08, 0x00]);
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever arrives, an engine stays up and goes on serving.
    #[test]
    fn hostile_frames_are_survived(
        seed in any::<u64>(),
        garbage in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..40),
        bends in proptest::collection::vec((any::<u16>(), any::<u16>(), any::<u8>(), any::<bool>()), 0..200),
    ) {
        let frames = recorded_frames();
        let mut world = World::new(Weather::fair(Duration::from_millis(1)), seed);
        let door = world.listen(4);
        let (client, server) = world.connect(door);
        for frame in &garbage {
            world.paths[0].borrow_mut().offer(frame, world.now());
        }
        for (which, at, bits, mend) in bends {
            let mut frame = frames[usize::from(which) % frames.len()].clone();
            let at = 14 + usize::from(at) % (frame.len() - 14);
            frame[at] ^= bits;
            if mend {
                mend_checksums(&mut frame);
            }
            world.paths[0].borrow_mut().offer(&frame, world.now());
            world.run_for(Duration::from_micros(300));
        }
        world.run_for(Duration::from_secs(1));
        // A forged reset or segment with good checksums may end that connection, but not the stack.
        let _ = (client, server);
        for _ in 0..4 {
            let (client, server) = world.connect(door);
            transfer(&mut world, client, server, 4_000, Duration::from_secs(30));
            let now = world.now();
            world.client.table().leave(client, now);
            world.server.table().leave(server, now);
        }
    }
}

/// Makes the checksums of a bent frame right again, so that it gets past them.
fn mend_checksums(frame: &mut [u8]) {
    use smoltcp::wire::{Ipv4Packet, TcpPacket};
    let Ok(mut packet) = Ipv4Packet::new_checked(&mut frame[14..]) else {
        return;
    };
    packet.fill_checksum();
    let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
    if let Ok(mut segment) = TcpPacket::new_checked(packet.payload_mut()) {
        segment.fill_checksum(&from, &to);
    }
}
