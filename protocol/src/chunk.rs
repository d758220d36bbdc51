//! C1 groups: a record that would be mistaken for an ack, or is long, in verified pieces (CONTROL 1).
//!
//! Answers for which records need it, for cutting one into lines and for putting the lines together
//! again. It never allocates. It never changes a record.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::hex::Hex;
use crate::limits::{CHUNK_LINE_BYTES, CHUNK_LINES, OUT_LINE_BYTES, RECORD_BYTES};

/// What every line of a group begins with.
pub const PREFIX: &str = "C1:";
/// Bytes of a line in front of its payload: `C1:0000:0001:<64 digits>:`.
const HEADER_BYTES: usize = PREFIX.len() + 5 + 5 + 65;
const PAYLOAD_BYTES: usize = CHUNK_LINE_BYTES - HEADER_BYTES;

/// Whether a client would take this content line for an ack, the end of a stream or a chunk.
pub fn is_ambiguous(record: &str) -> bool {
    // Clients strip carriage returns before they look.
    let seen = record.trim_matches(['\r', '\n']);
    ["OK ", "ERR ", PREFIX]
        .iter()
        .any(|prefix| seen.starts_with(prefix))
        || seen.trim() == "END"
}

/// Whether a record has to be sent as a group: it is ambiguous, or over a frame's 8188 bytes.
pub fn needs_group(record: &str) -> bool {
    record.len() > OUT_LINE_BYTES || is_ambiguous(record)
}

/// A record cut into chunks.
#[derive(Clone, Debug)]
pub struct Group<'r> {
    rest: &'r str,
    digest: [u8; 32],
    next: usize,
    count: usize,
}

/// One line of a group; `Display` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'r> {
    seq: usize,
    count: usize,
    digest: [u8; 32],
    payload: &'r str,
}

impl<'r> Group<'r> {
    /// Cuts `record`; `None` if it is empty, over 8192 bytes, or would take more than 64 lines.
    pub fn of(record: &'r str) -> Option<Group<'r>> {
        if record.is_empty() || record.len() > RECORD_BYTES {
            return None;
        }
        let (mut rest, mut count) = (record, 0);
        while !rest.is_empty() {
            rest = cut(rest).1;
            count += 1;
        }
        let digest = Sha256::digest(record.as_bytes()).into();
        (count <= CHUNK_LINES).then_some(Group {
            rest: record,
            digest,
            next: 0,
            count,
        })
    }
}

impl<'r> Iterator for Group<'r> {
    type Item = Chunk<'r>;

    fn next(&mut self) -> Option<Chunk<'r>> {
        if self.rest.is_empty() {
            return None;
        }
        let (payload, rest) = cut(self.rest);
        let chunk = Chunk {
            seq: self.next,
            count: self.count,
            digest: self.digest,
            payload,
        };
        self.rest = rest;
        self.next += 1;
        Some(chunk)
    }
}

/// Cuts off the first chunk: at a character boundary, and if that can be helped not beside a carriage
/// return, which clients strip from the ends of lines.
fn cut(text: &str) -> (&str, &str) {
    if text.len() <= PAYLOAD_BYTES {
        return (text, "");
    }
    let largest = text.floor_char_boundary(PAYLOAD_BYTES);
    let beside_cr = |at: &usize| {
        let (head, tail) = text.split_at_checked(*at).unwrap_or_default();
        head.ends_with('\r') || tail.starts_with('\r')
    };
    let at = (1..=largest)
        .rev()
        .filter(|at| text.is_char_boundary(*at))
        .find(|at| !beside_cr(at));
    text.split_at_checked(at.unwrap_or(largest)).unwrap_or((text, ""))
}

impl fmt::Display for Chunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}{:04x}:{:04x}:{}:{}",
            self.seq,
            self.count,
            Hex(&self.digest),
            self.payload
        )
    }
}

/// Why lines are no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A line is not of the form, or over 256 bytes.
    Malformed,
    /// A line is missing, repeated, of another group, or the stream ended inside a group.
    OutOfOrder,
    /// The record would exceed 8192 bytes.
    TooLong,
    /// The record is not the one that was cut.
    Digest,
}

/// Puts groups together again, on the client's side.
#[derive(Debug, Default)]
pub struct Reassembler {
    record: heapless::String<RECORD_BYTES>,
    /// Sequence number expected next, lines in all, digest digits; `None` between groups.
    group: Option<(usize, usize, [u8; 64])>,
}

impl Reassembler {
    /// Between groups.
    pub const fn new() -> Reassembler {
        Reassembler {
            record: heapless::String::new(),
            group: None,
        }
    }

    /// Takes one content line. Gives the record it completes: the line itself, or that of a group.
    pub fn push<'a>(&'a mut self, line: &'a str) -> Result<Option<&'a str>, ChunkError> {
        let Some(fields) = line.strip_prefix(PREFIX) else {
            return if self.group.is_some() {
                Err(ChunkError::OutOfOrder)
            } else {
                Ok(Some(line))
            };
        };
        if line.len() > CHUNK_LINE_BYTES {
            return Err(ChunkError::Malformed);
        }
        let (seq, count, digest, payload) = parse(fields).ok_or(ChunkError::Malformed)?;
        match self.group {
            None if seq == 0 => self.record.clear(),
            Some(group) if group == (seq, count, digest) => {}
            _ => return Err(ChunkError::OutOfOrder),
        }
        self.record.push_str(payload).map_err(|_| ChunkError::TooLong)?;
        if seq + 1 < count {
            self.group = Some((seq + 1, count, digest));
            return Ok(None);
        }
        self.group = None;
        let actual = Sha256::digest(self.record.as_bytes());
        let same = actual
            .iter()
            .zip(digest.as_chunks::<2>().0)
            .all(|(byte, pair)| hex(pair) == Some((*byte).into()));
        if same {
            Ok(Some(&self.record))
        } else {
            Err(ChunkError::Digest)
        }
    }

    /// Checks that the stream did not end inside a group.
    pub fn finish(&self) -> Result<(), ChunkError> {
        if self.group.is_some() {
            Err(ChunkError::OutOfOrder)
        } else {
            Ok(())
        }
    }
}

fn parse(fields: &str) -> Option<(usize, usize, [u8; 64], &str)> {
    let (seq, fields) = fields.split_once(':')?;
    let (count, fields) = fields.split_once(':')?;
    let (digest, payload) = fields.split_once(':')?;
    let (seq, count) = (four_digits(seq)?, four_digits(count)?);
    let digest: [u8; 64] = digest.as_bytes().try_into().ok()?;
    let good =
        (1..=CHUNK_LINES).contains(&count) && seq < count && !payload.is_empty() && hex(&digest).is_some();
    good.then_some((seq, count, digest, payload))
}

fn four_digits(text: &str) -> Option<usize> {
    let digits: &[u8; 4] = text.as_bytes().try_into().ok()?;
    hex(digits)
}

/// The number that lower-case hex digits stand for, its high bits lost if there are many.
fn hex(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0usize, |value, digit| {
        let lower = digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
        let digit = char::from(*digit).to_digit(16).filter(|_| lower)?;
        Some(value << 4 | digit as usize)
    })
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChunkError::Malformed => "chunk line is malformed; want C1:<seq>:<count>:<sha256>:<payload>",
            ChunkError::OutOfOrder => "chunk group is incomplete or mixed up; read the file again",
            ChunkError::TooLong => "chunk group exceeds 8192 bytes",
            ChunkError::Digest => "chunk group does not match its digest; read the file again",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn lines(record: &str) -> Vec<String> {
        Group::of(record)
            .unwrap()
            .map(|chunk| chunk.to_string())
            .collect()
    }

    fn reassemble(lines: &[String]) -> Result<Vec<String>, ChunkError> {
        let mut reassembler = Reassembler::new();
        let mut records = Vec::new();
        for line in lines {
            records.extend(reassembler.push(line)?.map(String::from));
        }
        reassembler.finish().map(|()| records)
    }

    #[test]
    fn what_needs_a_group() {
        for record in ["END", "OK LS", "ERR x", "C1:", "END\r", " END ", "\rOK CAT"] {
            assert!(is_ambiguous(record), "{record:?}");
        }
        for record in [
            "", "OK", "ERR", "ENDING", "end", "OKAY x", " OK x", "x END", "b64:AA==",
        ] {
            assert!(!is_ambiguous(record), "{record:?}");
        }
        assert!(!needs_group(&"x".repeat(8188)) && needs_group(&"x".repeat(8189)));
    }

    #[test]
    fn one_line_in_full() {
        let line = "C1:0000:0001:47a84ff8e63c3e9ca35b32d25d1b35cb6a7458c4a2127d56b20cbe9faf7e1c65:END".len();
        let got = lines("END");
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].len(), line);
        assert!(got[0].starts_with("C1:0000:0001:") && got[0].ends_with(":END"));
        assert_eq!(reassemble(&got), Ok(std::vec!["END".to_string()]));
    }

    #[test]
    fn the_longest_record() {
        let record = "ä".repeat(RECORD_BYTES / 2);
        let got = lines(&record);
        assert!(got.len() <= CHUNK_LINES && got.iter().all(|line| line.len() <= CHUNK_LINE_BYTES));
        assert_eq!(reassemble(&got), Ok(std::vec![record.clone()]));
        assert!(Group::of(&(record + "x")).is_none());
        assert!(Group::of("").is_none());
    }

    #[test]
    fn no_chunk_ends_at_a_carriage_return_it_could_avoid() {
        let record = "x".repeat(PAYLOAD_BYTES - 1) + "\r\r" + &"y".repeat(10);
        for chunk in Group::of(&record).unwrap() {
            assert_eq!(chunk.payload.trim_matches('\r'), chunk.payload);
        }
        assert!(Group::of(&"\r".repeat(8000)).is_some());
    }

    #[test]
    fn groups_that_are_wrong() {
        let good = lines(&"x".repeat(400));
        assert_eq!(good.len(), 3);
        let mut swapped = good.clone();
        swapped.swap(1, 2);
        let mut changed = good.clone();
        changed[1].pop();
        changed[1].push('y');
        let other = lines(&"z".repeat(400));
        for (lines, error) in [
            (swapped, ChunkError::OutOfOrder),
            (changed, ChunkError::Digest),
            (good[..2].to_vec(), ChunkError::OutOfOrder),
            (good[1..].to_vec(), ChunkError::OutOfOrder),
            ([&good[..1], &good[..1]].concat(), ChunkError::OutOfOrder),
            ([&good[..1], &other[1..]].concat(), ChunkError::OutOfOrder),
            (
                [&good[..1], &["plain".to_string()]].concat(),
                ChunkError::OutOfOrder,
            ),
            (std::vec!["C1:0000:0001:ab:x".into()], ChunkError::Malformed),
            (std::vec![good[0].to_uppercase()], ChunkError::Malformed),
            (
                std::vec![good[0].clone() + &"x".repeat(200)],
                ChunkError::Malformed,
            ),
            (std::vec![good[0].replace("0003", "0041")], ChunkError::Malformed),
            (std::vec![good[0].replace("0003", "0000")], ChunkError::Malformed),
        ] {
            assert_eq!(reassemble(&lines), Err(error), "{lines:?}");
        }
        assert_eq!(
            reassemble(&[good.clone(), std::vec!["plain".into()], good].concat())
                .unwrap()
                .len(),
            3
        );
    }

    proptest! {
        #[test]
        fn records_survive(record in "[\\PC\r\t]{1,2000}") {
            let got = lines(&record);
            prop_assert!(got.iter().all(|line| line.len() <= CHUNK_LINE_BYTES));
            prop_assert_eq!(reassemble(&got), Ok(std::vec![record]));
        }

        #[test]
        fn arbitrary_lines_never_panic(
            lines in proptest::collection::vec("(C1:[0-9a-f]{3,5}:[0-9a-f]{4}:[0-9a-f]{63,65}:)?\\PC{0,8}", 0..6),
        ) {
            let _ = reassemble(&lines);
        }
    }
}
