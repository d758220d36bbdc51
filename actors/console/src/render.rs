//! A file as console lines: plain, as C1 groups, or as `b64:` lines (CONTROL 1).
//!
//! Answers for what a client can put together again, byte for byte but for the newline at the very end of a text.
//! Memory is the reader's buffer: a file is first surveyed, then sent, and read twice if it does not fit. Back-pressure
//! is the sink's. Never sends an acknowledgement, never begins a line that a client takes for one.

use heapless::HistoryBuf;
use protocol::b64::{self, Digits};
use protocol::chunk::{self, Group};
use protocol::limits::CHUNK_LINE_BYTES;
use protocol::line::Line;
use protocol::summary::Summary;

use crate::fault::{Fault, Gone, Stop};
use crate::reader::{Reader, Record, Source};

/// Bytes of a file in one `b64:` line.
const B64_BYTES: usize = b64::LINE_BYTES;
/// Lines that a tail shows (WIRE 1.8).
pub(crate) const TAIL_LINES: usize = 64;

/// Where lines go.
#[allow(async_fn_in_trait)] // static dispatch, one thread
pub trait Sink {
    /// Sends one line of at most 8188 bytes, waiting for room.
    async fn line(&mut self, line: &str) -> Result<(), Gone>;
}

/// What a file is like, as far as sending it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Whether every line is UTF-8 and fits a record. Otherwise the whole file is sent as `b64:` lines, so that a
    /// client does not have to guess where the bytes begin.
    pub(crate) text: bool,
    /// Where the last [`TAIL_LINES`] lines begin.
    pub(crate) tail: u64,
}

/// Reads a file from its beginning until it is known how to send it, and puts into `preview` what the ack of CAT says of
/// it. The path's length bounds the preview.
pub(crate) async fn survey<S: Source>(
    reader: &mut Reader<'_, S>,
    path_bytes: usize,
    preview: &mut Summary,
) -> Result<Survey, Fault> {
    *preview = Summary::new(path_bytes);
    let mut starts: HistoryBuf<u64, TAIL_LINES> = HistoryBuf::new();
    loop {
        let start = reader.position();
        let text = match reader.next_record().await? {
            None => break,
            Some(Record::Line(line)) => core::str::from_utf8(line).ok(),
            Some(Record::Part(_)) => None,
        };
        let Some(text) = text else {
            reader.seek(0);
            let bytes = reader.next_bytes(B64_BYTES).await?;
            *preview = Summary::new(path_bytes);
            preview.push(b64_line(bytes, &mut [0; CHUNK_LINE_BYTES]));
            return Ok(Survey { text: false, tail: 0 });
        };
        starts.write(start);
        preview.push(text);
    }
    let tail = starts.oldest_ordered().next().copied().unwrap_or(0);
    Ok(Survey { text: true, tail })
}

/// Sends the file from offset `from` to its end.
pub(crate) async fn send<S: Source>(
    reader: &mut Reader<'_, S>,
    survey: Survey,
    from: u64,
    sink: &mut impl Sink,
) -> Result<(), Stop> {
    if !survey.text {
        reader.seek(0);
        return send_binary(reader, sink).await;
    }
    reader.seek(from);
    while let Some(record) = reader.next_record().await? {
        match record {
            Record::Line(line) => send_record(line, sink).await?,
            // A file that has changed since it was surveyed.
            Record::Part(part) => send_bytes(part, sink).await?,
        }
    }
    Ok(())
}

async fn send_binary<S: Source>(reader: &mut Reader<'_, S>, sink: &mut impl Sink) -> Result<(), Stop> {
    loop {
        let bytes = reader.next_bytes(B64_BYTES).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        send_bytes(bytes, sink).await?;
    }
}

/// Sends one record: as it is if a client cannot mistake it, or as a group.
pub(crate) async fn send_record(record: &[u8], sink: &mut impl Sink) -> Result<(), Gone> {
    match core::str::from_utf8(record) {
        Ok(text) if !chunk::needs_group(text) => sink.line(text).await,
        Ok(text) => match Group::of(text) {
            Some(group) => {
                for chunk in group {
                    let mut buf = [0; CHUNK_LINE_BYTES];
                    let mut line = Line::new(&mut buf);
                    // A chunk is made to fit.
                    let _ = line.put(format_args!("{chunk}"));
                    sink.line(line.finish()).await?;
                }
                Ok(())
            }
            None => send_bytes(record, sink).await,
        },
        Err(_) => send_bytes(record, sink).await,
    }
}

async fn send_bytes(bytes: &[u8], sink: &mut impl Sink) -> Result<(), Gone> {
    for bytes in bytes.chunks(B64_BYTES) {
        sink.line(b64_line(bytes, &mut [0; CHUNK_LINE_BYTES])).await?;
    }
    Ok(())
}

fn b64_line<'b>(bytes: &[u8], buf: &'b mut [u8]) -> &'b str {
    let mut line = Line::new(buf);
    // A full line is 256 bytes, as the buffer.
    let _ = line.put(format_args!("{}{}", b64::PREFIX, Digits(bytes)));
    line.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::reader::BUFFER_BYTES;
    use crate::reader::tests::Bytes;
    use crate::testing::now;
    use proptest::prelude::*;
    use protocol::chunk::Reassembler;
    use std::string::{String, ToString};
    use std::vec;
    use std::vec::Vec;

    /// Keeps what is sent.
    #[derive(Default)]
    pub(crate) struct Lines(pub(crate) Vec<String>);

    impl Sink for Lines {
        async fn line(&mut self, line: &str) -> Result<(), Gone> {
            assert!(
                protocol::frame::header(line.len()).is_some(),
                "a line of {} bytes",
                line.len()
            );
            self.0.push(line.to_string());
            Ok(())
        }
    }

    /// The preview and the lines of a file, and how often it was read.
    fn render(file: &[u8], tail: bool) -> (String, Vec<String>, usize) {
        let source = Bytes::new(file, 8168);
        let mut buf = vec![0; BUFFER_BYTES];
        let mut reader = Reader::new(&source, &mut buf);
        let mut preview = Summary::new(0);
        let survey = now(survey(&mut reader, "/f".len(), &mut preview))
            .unwrap()
            .unwrap();
        let mut lines = Lines::default();
        let from = if tail { survey.tail } else { 0 };
        now(send(&mut reader, survey, from, &mut lines)).unwrap().unwrap();
        (preview.to_string(), lines.0, source.reads.get())
    }

    /// What a client makes of the lines.
    fn received(lines: &[String]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if lines.first().is_some_and(|line| line.starts_with(b64::PREFIX)) {
            for line in lines {
                let mut buf = [0; 256];
                bytes.extend_from_slice(
                    b64::decode(line.strip_prefix(b64::PREFIX).unwrap(), &mut buf).unwrap(),
                );
            }
            return bytes;
        }
        let mut reassembler = Reassembler::new();
        for line in lines {
            if let Some(record) = reassembler.push(line).unwrap() {
                bytes.extend_from_slice(record.as_bytes());
                bytes.push(b'\n');
            }
        }
        bytes
    }

    #[test]
    fn a_small_text_is_read_once_and_keeps_its_blank_lines() {
        let (summary, lines, reads) = render(b"state=ONLINE\n\nreason=x\n", false);
        assert_eq!(summary, "state=ONLINE|reason=x");
        assert_eq!(lines, ["state=ONLINE", "", "reason=x"]);
        assert_eq!(reads, 2, "the second finds the end");
        assert_eq!(render(b"", false), (String::new(), vec![], 1));
    }

    #[test]
    fn what_looks_like_an_ack_is_sent_as_a_group() {
        let file = b"OK LS\nplain\nEND\nERR x\nC1:0000\n";
        let (_, lines, _) = render(file, false);
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.starts_with("C1:0000:0001:"))
                .count(),
            4
        );
        assert_eq!(received(&lines), file);
    }

    #[test]
    fn the_longest_records() {
        for (bytes, groups) in [(8188, false), (8189, true), (8192, true)] {
            let mut file = "x".repeat(bytes).into_bytes();
            file.push(b'\n');
            let (_, lines, _) = render(&file, false);
            assert_eq!((lines.len() > 1, received(&lines)), (groups, file));
        }
        let file = "x".repeat(8193).into_bytes();
        let (summary, lines, _) = render(&file, false);
        assert!(
            summary.starts_with("b64:eHh4") && lines.len() == 44,
            "{summary} {}",
            lines.len()
        );
        assert_eq!(received(&lines), file);
    }

    #[test]
    fn bytes_are_sent_as_base64_whole() {
        let file: Vec<u8> = b"text first\n"
            .iter()
            .copied()
            .chain((0..20_000).map(|n| (n % 251) as u8))
            .collect();
        let (summary, lines, _) = render(&file, true);
        assert!(summary.starts_with("b64:"));
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("b64:") && line.len() <= 256)
        );
        assert_eq!(received(&lines), file);
    }

    #[test]
    fn a_tail_is_the_last_64_lines_of_a_file_of_any_length() {
        for count in [0, 1, 63, 64, 65, 128, 10_000] {
            let file: String = (0..count).map(|n| std::format!("line {n}\n")).collect();
            let want: Vec<String> = (0..count)
                .skip(count.max(64) - 64)
                .map(|n| std::format!("line {n}"))
                .collect();
            assert_eq!(render(file.as_bytes(), true).1, want);
        }
    }

    #[test]
    fn a_failure_in_the_middle_ends_the_stream() {
        let file = "line\n".repeat(4000);
        let mut source = Bytes::new(file.as_bytes(), 8168);
        source.fails_after = 6;
        let mut buf = vec![0; BUFFER_BYTES];
        let mut reader = Reader::new(&source, &mut buf);
        let survey = now(survey(&mut reader, 2, &mut Summary::new(2)))
            .unwrap()
            .unwrap();
        let mut lines = Lines::default();
        let stop = now(send(&mut reader, survey, 0, &mut lines)).unwrap();
        assert!(matches!(stop, Err(Stop::Refused(_))) && !lines.0.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_text_survives(lines in proptest::collection::vec("(OK |ERR |END|C1:|b)?[\\PC\t]{0,400}", 0..60)) {
            let file: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let (_, sent, _) = render(file.as_bytes(), false);
            prop_assert_eq!(received(&sent), file.into_bytes());
        }

        #[test]
        fn bytes_survive(mut file in proptest::collection::vec(any::<u8>(), 1..20_000), at: prop::sample::Index) {
            let at = at.index(file.len());
            file[at] = 0xff;
            let (_, sent, _) = render(&file, false);
            prop_assert_eq!(received(&sent), file);
        }
    }
}
