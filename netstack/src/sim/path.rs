//! One direction of a bad network.
//!
//! Answers for: what happens to a frame on its way (loss, duplication, corruption, reordering, delay, a bottleneck
//! with a bounded queue), decided by a seed alone, so that the same seed makes the same weather.
//! Never: delivers a corrupted frame that TCP/IP could not recognise as such. Damage is what a real network card
//! lets through: within one 16-bit word of an IPv4 packet, so that the internet checksum always shows it. A
//! damaged frame of any other kind (ARP has no checksum) fails the card's frame check and is lost.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use runtime::time::Instant;

/// Ethernet header bytes; what follows may be damaged.
const HEADER_BYTES: usize = 14;
const MILLION: u64 = 1_000_000;

/// How one direction treats frames. Chances are in parts per million and independent of each other.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Chance that a frame is lost.
    pub loss_ppm: u32,
    /// Chance that a frame arrives twice.
    pub duplication_ppm: u32,
    /// Chance that bits of a frame flip.
    pub corruption_ppm: u32,
    /// Chance that a frame is held back by [`Weather::reordering_delay`], so that later ones overtake it.
    pub reordering_ppm: u32,
    /// How long a reordered frame is held back.
    pub reordering_delay: Duration,
    /// How long every frame takes.
    pub delay: Duration,
    /// At most this much more, evenly distributed (which reorders, too).
    pub jitter: Duration,
    /// Throughput of the bottleneck in bytes per second; `None`: no bottleneck.
    pub bytes_per_second: Option<u32>,
    /// Frames under way at once; one more is lost. At least 1.
    pub frames: usize,
}

impl Weather {
    /// Every frame arrives, once, whole, in order, after `delay`.
    pub const fn fair(delay: Duration) -> Self {
        Self {
            loss_ppm: 0,
            duplication_ppm: 0,
            corruption_ppm: 0,
            reordering_ppm: 0,
            reordering_delay: Duration::ZERO,
            delay,
            jitter: Duration::ZERO,
            bytes_per_second: None,
            frames: 1024,
        }
    }

    /// A bit of everything: one frame in fifty lost, one in a hundred each duplicated and damaged, one in
    /// fifty overtaken; 5 ms each way with 2 ms of jitter.
    pub const fn foul() -> Self {
        Self {
            loss_ppm: 20_000,
            duplication_ppm: 10_000,
            corruption_ppm: 10_000,
            reordering_ppm: 20_000,
            reordering_delay: Duration::from_millis(10),
            jitter: Duration::from_millis(2),
            ..Self::fair(Duration::from_millis(5))
        }
    }
}

/// What became of the frames offered to a path.
#[derive(Copy, Clone, Default, Debug, PartialEq, Eq)]
pub struct PathCounts {
    /// Frames offered.
    pub offered: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Frames lost because too many were under way.
    pub overflowed: u64,
    /// Frames that arrived twice.
    pub duplicated: u64,
    /// Frames with flipped bits (of those, the ones that are not IPv4 count as lost, too).
    pub corrupted: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames that arrived.
    pub delivered: u64,
}

/// One direction of a simulated wire.
pub struct Path {
    weather: Weather,
    random: SplitMix64,
    under_way: BinaryHeap<Reverse<Frame>>,
    /// Buffers of frames that have arrived, for the next ones.
    spare: Vec<Vec<u8>>,
    sequence: u64,
    /// When the bottleneck has sent all it was given.
    busy_until: Instant,
    counts: PathCounts,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Frame {
    due: Instant,
    sequence: u64,
    bytes: Vec<u8>,
}

impl Path {
    /// A path with this weather, all of whose chances follow from `seed`.
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            random: SplitMix64(seed),
            under_way: BinaryHeap::with_capacity(weather.frames + 1),
            spare: Vec::new(),
            sequence: 0,
            busy_until: Instant::ZERO,
            counts: PathCounts::default(),
        }
    }

    /// Changes the weather for the frames offered from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// What became of the frames so far.
    pub fn counts(&self) -> PathCounts {
        self.counts
    }

    /// Puts a frame on its way.
    pub fn offer(&mut self, frame: &[u8], now: Instant) {
        self.counts.offered += 1;
        if self.chance(self.weather.loss_ppm) {
            self.counts.lost += 1;
            return;
        }
        let copies = if self.chance(self.weather.duplication_ppm) {
            2
        } else {
            1
        };
        self.counts.duplicated += copies - 1;
        for _ in 0..copies {
            self.launch(frame, now);
        }
    }

    fn launch(&mut self, frame: &[u8], now: Instant) {
        if self.under_way.len() >= self.weather.frames {
            self.counts.overflowed += 1;
            return;
        }
        let damaged = self.chance(self.weather.corruption_ppm);
        self.counts.corrupted += u64::from(damaged);
        if damaged && !is_ipv4(frame) {
            self.counts.lost += 1;
            return;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(frame);
        if damaged {
            self.damage(&mut bytes);
        }
        let due = self.arrival(frame.len(), now);
        self.sequence += 1;
        self.under_way.push(Reverse(Frame {
            due,
            sequence: self.sequence,
            bytes,
        }));
    }

    fn arrival(&mut self, len: usize, now: Instant) -> Instant {
        let weather = self.weather;
        let mut leaves = now;
        if let Some(rate) = weather.bytes_per_second {
            let time = (len as u64).saturating_mul(MILLION) / u64::from(rate.max(1));
            leaves = self.busy_until.max(now) + Duration::from_micros(time);
            self.busy_until = leaves;
        }
        let mut due = leaves + weather.delay;
        if !weather.jitter.is_zero() {
            let micros = u64::try_from(weather.jitter.as_micros()).unwrap_or(u64::MAX);
            due = due + Duration::from_micros(self.random.below(micros.saturating_add(1)));
        }
        if self.chance(weather.reordering_ppm) {
            self.counts.reordered += 1;
            due = due + weather.reordering_delay;
        }
        due
    }

    /// Flips some, but not all, bits of one aligned 16-bit word behind the Ethernet header.
    fn damage(&mut self, frame: &mut [u8]) {
        let words = frame.len().saturating_sub(HEADER_BYTES) / 2;
        if words == 0 {
            return;
        }
        let at = HEADER_BYTES + 2 * self.random.below(words as u64) as usize;
        let [high, low] = (1 + self.random.below(0xfffe) as u16).to_be_bytes();
        for (byte, bits) in frame.iter_mut().skip(at).zip([high, low]) {
            *byte ^= bits;
        }
    }

    /// Gives the next frame that has arrived by `now` to `take`. `None`: there is none.
    pub fn arrive<R>(&mut self, now: Instant, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        if self.deadline()? > now {
            return None;
        }
        let Reverse(frame) = self.under_way.pop()?;
        self.counts.delivered += 1;
        let result = take(&frame.bytes);
        self.spare.push(frame.bytes);
        Some(result)
    }

    /// Loses everything that is under way.
    pub fn clear(&mut self) {
        while let Some(Reverse(frame)) = self.under_way.pop() {
            self.spare.push(frame.bytes);
        }
    }

    /// When the next frame arrives.
    pub fn deadline(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(frame)| frame.due)
    }

    fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.random.below(MILLION) < u64::from(ppm)
    }
}

fn is_ipv4(frame: &[u8]) -> bool {
    frame.get(12..HEADER_BYTES) == Some(&[0x08, 0x00])
}

/// Steele, Lea and Flood's generator (OOPSLA 2014): one word of state, good enough for weather.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit` (0 if that is 0). The bias of the multiplication is below one in 2^32.
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn frame(number: u32) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14..18].copy_from_slice(&number.to_be_bytes());
        frame
    }

    fn sum(frame: &[u8]) -> u16 {
        let words = frame[14..]
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
            .sum::<u32>();
        ((words & 0xffff) + (words >> 16)) as u16
    }

    #[test]
    fn each_chance_happens_as_often_as_it_says() {
        let weather = Weather {
            loss_ppm: 100_000,
            duplication_ppm: 50_000,
            corruption_ppm: 20_000,
            reordering_ppm: 10_000,
            frames: usize::MAX >> 8,
            ..Weather::fair(Duration::ZERO)
        };
        let mut path = Path {
            under_way: BinaryHeap::new(),
            ..Path::new(Weather { frames: 1, ..weather }, 7)
        };
        path.set_weather(weather);
        for number in 0..100_000 {
            path.offer(&frame(number), Instant::ZERO);
        }
        let counts = path.counts();
        let near = |count: u64, expected: u64| count.abs_diff(expected) < expected / 10;
        assert!(near(counts.lost, 10_000), "{counts:?}");
        assert!(near(counts.duplicated, 4_500), "{counts:?}");
        assert!(near(counts.corrupted, 1_890), "{counts:?}");
        assert!(near(counts.reordered, 945), "{counts:?}");
    }

    #[test]
    fn damage_always_shows_in_the_checksum() {
        let mut path = Path::new(
            Weather {
                corruption_ppm: 1_000_000,
                ..Weather::fair(Duration::ZERO)
            },
            3,
        );
        for number in 0..2_000 {
            let good = frame(number);
            path.offer(&good, Instant::ZERO);
            let bad = path
                .arrive(Instant::ZERO, <[u8]>::to_vec)
                .expect("IPv4 frames are damaged, not lost");
            assert_eq!(bad[..14], good[..14]);
            assert_ne!(sum(&bad) % 0xffff, sum(&good) % 0xffff);
        }
        let mut arp = frame(1);
        arp[13] = 6;
        path.offer(&arp, Instant::ZERO);
        assert_eq!(
            path.deadline(),
            None,
            "a damaged frame without a checksum is lost"
        );
    }

    #[test]
    fn a_bottleneck_spaces_frames_and_loses_the_excess() {
        let weather = Weather {
            bytes_per_second: Some(60_000),
            frames: 3,
            ..Weather::fair(Duration::from_millis(5))
        };
        let mut path = Path::new(weather, 0);
        for number in 0..4 {
            path.offer(&frame(number), Instant::ZERO);
        }
        let mut due = vec![];
        while let Some(at) = path.deadline() {
            due.push(at.as_millis());
            assert!(path.arrive(at, |_| ()).is_some());
        }
        assert_eq!(due, [6, 7, 8]);
        assert_eq!(path.counts().overflowed, 1);
    }

    #[test]
    fn the_seed_decides() {
        let run = |seed| {
            let mut path = Path::new(Weather::foul(), seed);
            (0..500).for_each(|number| path.offer(&frame(number), Instant::from_millis(number.into())));
            let mut arrivals = vec![];
            while let Some(at) = path.deadline() {
                arrivals.push((at, path.arrive(at, <[u8]>::to_vec)));
            }
            arrivals
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
