//! A small value kept twice, so that a write that does not finish leaves the one before.
//!
//! Answers for a value being the old one or the new one after a crash at any byte, and for nothing else in the region
//! being taken for it. Never knows what the value means.
//!
//! ```text
//! copy     version u64 | len u32 | crc32 u32 | the value's bytes          (twice; the higher version counts)
//! ```
//!
//! A store writes the copy that does not count, with the next version. The checksum also covers where the copy is.

use runtime::region::{Region, RegionError};

/// Bytes before a copy's value.
const HEADER_BYTES: usize = 16;
/// Bytes of the longest value.
pub(super) const VALUE_BYTES: usize = 368;
const COPY_BYTES: usize = HEADER_BYTES + VALUE_BYTES;
/// Bytes of both copies.
pub(super) const TWIN_BYTES: usize = 2 * COPY_BYTES;

/// Where a value is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Twin {
    at: usize,
    /// Version of the copy that counts; 0: there is none.
    version: u64,
}

impl Twin {
    /// The value kept at `at`, written into `buf`; `None` if there is none.
    pub(super) fn load<'b>(
        region: &Region,
        at: usize,
        buf: &'b mut [u8; VALUE_BYTES],
    ) -> (Twin, Option<&'b [u8]>) {
        let mut newest: Option<(u64, usize)> = None;
        for which in 0..2 {
            let Some((version, len)) = read(region, at + which * COPY_BYTES, buf) else {
                continue;
            };
            // The copies take turns: another order of versions was never written.
            if version % 2 == which as u64 && newest.is_none_or(|(newest, _)| version > newest) {
                newest = Some((version, len));
            }
        }
        let Some((version, len)) = newest else {
            return (Twin { at, version: 0 }, None);
        };
        let twin = Twin { at, version };
        // It was just read, and nobody else writes.
        let again = read(region, twin.copy(version), buf).is_some();
        (twin, buf.get(..len).filter(|_| again))
    }

    /// Replaces the value. A value longer than [`VALUE_BYTES`] is refused as one outside of the region.
    pub(super) fn store(&mut self, region: &Region, value: &[u8]) -> Result<(), RegionError> {
        let version = self.version + 1;
        let at = self.copy(version);
        let mut copy = [0; COPY_BYTES];
        let bytes =
            copy.get_mut(HEADER_BYTES..HEADER_BYTES + value.len())
                .ok_or(RegionError::OutOfBounds {
                    offset: at,
                    len: value.len(),
                    size: VALUE_BYTES,
                })?;
        bytes.copy_from_slice(value);
        let len = value.len() as u32;
        let crc = checksum(at, version, len, value);
        for (to, from) in [
            (0, &version.to_le_bytes()[..]),
            (8, &len.to_le_bytes()),
            (12, &crc.to_le_bytes()),
        ] {
            if let Some(field) = copy.get_mut(to..to + from.len()) {
                field.copy_from_slice(from);
            }
        }
        region.write_at(at, copy.get(..HEADER_BYTES + value.len()).unwrap_or_default())?;
        self.version = version;
        Ok(())
    }

    fn copy(&self, version: u64) -> usize {
        self.at + (version % 2) as usize * COPY_BYTES
    }
}

/// The version and length of the copy at `at`, if it is whole; its bytes are then in `buf`.
fn read(region: &Region, at: usize, buf: &mut [u8; VALUE_BYTES]) -> Option<(u64, usize)> {
    let mut version = [0; 8];
    let mut word = [0; 4];
    region.read_at(at, &mut version).ok()?;
    let version = u64::from_le_bytes(version);
    region.read_at(at + 8, &mut word).ok()?;
    let len = u32::from_le_bytes(word);
    region.read_at(at + 12, &mut word).ok()?;
    let crc = u32::from_le_bytes(word);
    let bytes = buf.get_mut(..len as usize)?;
    region.read_at(at + HEADER_BYTES, bytes).ok()?;
    (version > 0 && crc == checksum(at, version, len, bytes)).then_some((version, len as usize))
}

fn checksum(at: usize, version: u64, len: u32, value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&(at as u64).to_le_bytes());
    crc.update(&version.to_le_bytes());
    crc.update(&len.to_le_bytes());
    crc.update(value);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use runtime::region::Crash;

    use super::*;

    fn load(region: &Region) -> (Twin, Option<std::vec::Vec<u8>>) {
        let mut buf = [0; VALUE_BYTES];
        let (twin, value) = Twin::load(region, 8, &mut buf);
        (twin, value.map(<[u8]>::to_vec))
    }

    #[test]
    fn the_last_value_counts_and_survives_a_write_that_does_not_finish() {
        let region = Region::in_memory(8 + TWIN_BYTES);
        let (mut twin, value) = load(&region);
        assert_eq!(value, None);
        let mut last: Option<&[u8]> = None;
        for value in [&b"one"[..], b"", b"three, and longer", b"4", &[7; VALUE_BYTES]] {
            for prefix in 0..HEADER_BYTES + value.len() {
                region.crash_at(1, Crash::TornRefuse { prefix });
                assert_eq!(twin.store(&region, value), Err(RegionError::Refused));
                region.crash_never();
                assert_eq!(
                    load(&region).1.as_deref(),
                    last,
                    "torn after {prefix} of {}",
                    value.len()
                );
            }
            twin.store(&region, value).unwrap();
            last = Some(value);
            let found;
            (twin, found) = load(&region);
            assert_eq!(found.as_deref(), last);
        }
        assert!(twin.store(&region, &[0; VALUE_BYTES + 1]).is_err());
    }

    #[test]
    fn a_value_is_one_only_where_it_was_written() {
        let region = Region::in_memory(8 + 3 * TWIN_BYTES);
        load(&region).0.store(&region, b"here").unwrap();
        let bytes = region.to_vec();
        region
            .write_at(8 + TWIN_BYTES, bytes.get(8..8 + TWIN_BYTES).unwrap())
            .unwrap();
        let mut buf = [0; VALUE_BYTES];
        let (_, moved) = Twin::load(&region, 8 + TWIN_BYTES, &mut buf);
        assert_eq!(moved, None);
    }
}
