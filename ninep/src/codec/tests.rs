//! Golden bytes written by hand from diod's `protocol.md`, and properties.

use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::attr::{Attr, Statfs, Time};
use crate::dir::{DirEntries, DirWriter};
use crate::flags::OpenFlags;
use crate::name::Name;
use crate::qid::{Qid, QidKind};

fn fid(number: u32) -> FidNumber {
    FidNumber::new(number).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn golden_t(tag: u16, message: Tmessage<'_>, bytes: &str) {
    let bytes = hex(bytes);
    let mut buf = [0xaa; 512];
    let len = message.emit(Tag(tag), &mut buf).unwrap();
    assert_eq!(&buf[..len], bytes, "{message:?}");
    assert_eq!(parse_t(&bytes), Ok((Tag(tag), message)));
}

fn golden_r(tag: u16, message: Rmessage<'_>, bytes: &str) {
    let bytes = hex(bytes);
    let mut buf = [0xaa; 512];
    let len = message.emit(Tag(tag), &mut buf).unwrap();
    assert_eq!(&buf[..len], bytes, "{message:?}");
    assert_eq!(parse_r(&bytes), Ok((Tag(tag), message)));
}

#[test]
fn golden_requests() {
    golden_t(
        0xffff,
        Tmessage::Version {
            msize: 8192,
            version: "9P2000.L",
        },
        "15000000 64 ffff 00200000 0800 3950323030302e4c",
    );
    golden_t(
        1,
        Tmessage::Attach {
            fid: fid(1),
            afid: None,
            uname: "nobody",
            aname: "/",
            n_uname: 65534,
        },
        "1e000000 68 0100 01000000 ffffffff 0600 6e6f626f6479 0100 2f feff0000",
    );
    golden_t(
        2,
        Tmessage::Walk {
            fid: fid(1),
            newfid: fid(2),
            names: Names::new(&["queen", "ctl"]).unwrap(),
        },
        "1d000000 6e 0200 01000000 02000000 0200 0500 717565656e 0300 63746c",
    );
    golden_t(
        3,
        Tmessage::Walk {
            fid: fid(1),
            newfid: fid(2),
            names: Names::default(),
        },
        "11000000 6e 0300 01000000 02000000 0000",
    );
    golden_t(
        4,
        Tmessage::Open {
            fid: fid(2),
            flags: OpenFlags::WRONLY | OpenFlags::TRUNC | OpenFlags::APPEND,
        },
        "0f000000 0c 0400 02000000 01060000",
    );
    golden_t(
        5,
        Tmessage::Read {
            fid: fid(2),
            offset: 0x1_0000_0001,
            count: 4096,
        },
        "17000000 74 0500 02000000 0100000001000000 00100000",
    );
    golden_t(
        6,
        Tmessage::Write {
            fid: fid(2),
            offset: 3,
            data: b"hi\n",
        },
        "1a000000 76 0600 02000000 0300000000000000 03000000 68690a",
    );
    golden_t(
        7,
        Tmessage::Readdir {
            fid: fid(1),
            offset: 0,
            count: 8168,
        },
        "17000000 28 0700 01000000 0000000000000000 e81f0000",
    );
    golden_t(
        8,
        Tmessage::Getattr {
            fid: fid(1),
            mask: Attr::BASIC,
        },
        "13000000 18 0800 01000000 ff07000000000000",
    );
    golden_t(9, Tmessage::Statfs { fid: fid(1) }, "0b000000 08 0900 01000000");
    golden_t(10, Tmessage::Clunk { fid: fid(2) }, "0b000000 78 0a00 02000000");
    golden_t(11, Tmessage::Remove { fid: fid(2) }, "0b000000 7a 0b00 02000000");
    golden_t(12, Tmessage::Flush { old: Tag(5) }, "09000000 6c 0c00 0500");
}

#[test]
fn golden_replies() {
    let qid = Qid {
        kind: QidKind::DIR,
        version: 7,
        path: 0x0123_4567_89ab_cdef,
    };
    let qid_bytes = "80 07000000 efcdab8967452301";
    golden_r(1, Rmessage::Error(Errno::ENOENT), "0b000000 07 0100 02000000");
    golden_r(
        0xffff,
        Rmessage::Version {
            msize: 8192,
            version: "unknown",
        },
        "14000000 65 ffff 00200000 0700 756e6b6e6f776e",
    );
    golden_r(
        2,
        Rmessage::Attach { qid },
        &["14000000 69 0200", qid_bytes].concat(),
    );
    golden_r(
        3,
        Rmessage::Walk {
            qids: Qids::new(&[qid, Qid::file(1)]).unwrap(),
        },
        &["23000000 6f 0300 0200", qid_bytes, "00 00000000 0100000000000000"].concat(),
    );
    golden_r(
        4,
        Rmessage::Walk {
            qids: Qids::default(),
        },
        "09000000 6f 0400 0000",
    );
    golden_r(
        5,
        Rmessage::Open { qid, iounit: 8168 },
        &["18000000 0d 0500", qid_bytes, "e81f0000"].concat(),
    );
    golden_r(
        6,
        Rmessage::Read { data: b"ok" },
        "0d000000 75 0600 02000000 6f6b",
    );
    golden_r(7, Rmessage::Write { count: 3 }, "0b000000 77 0700 03000000");
    golden_r(8, Rmessage::Clunk, "07000000 79 0800");
    golden_r(9, Rmessage::Flush, "07000000 6d 0900");
    golden_r(10, Rmessage::Remove, "07000000 7b 0a00");
    let entry = hex("00 00000000 0300000000000000 0100000000000000 08 0300 63746c");
    golden_r(
        11,
        Rmessage::Readdir {
            entries: DirEntries::new(&entry).unwrap(),
        },
        "26000000 29 0b00 1b000000 00 00000000 0300000000000000 0100000000000000 08 0300 63746c",
    );
}

#[test]
fn golden_attributes() {
    let time = |sec, nsec| Time { sec, nsec };
    let attr = Attr {
        valid: 0x7ff,
        qid: Qid::file(5),
        mode: 0o100_644,
        uid: 1,
        gid: 2,
        nlink: 3,
        rdev: 4,
        size: 5,
        blksize: 6,
        blocks: 7,
        atime: time(8, 9),
        mtime: time(10, 11),
        ctime: time(12, 13),
        btime: time(14, 15),
        generation: 16,
        data_version: 17,
    };
    golden_r(
        1,
        Rmessage::Getattr(attr),
        "a0000000 19 0100 ff07000000000000 00 00000000 0500000000000000 a4810000 01000000 02000000
         0300000000000000 0400000000000000 0500000000000000 0600000000000000 0700000000000000
         0800000000000000 0900000000000000 0a00000000000000 0b00000000000000
         0c00000000000000 0d00000000000000 0e00000000000000 0f00000000000000
         1000000000000000 1100000000000000",
    );
    let statfs = Statfs {
        kind: 0x0102_1997,
        bsize: 4096,
        blocks: 1,
        bfree: 2,
        bavail: 3,
        files: 4,
        ffree: 5,
        fsid: 6,
        namelen: 255,
    };
    golden_r(
        2,
        Rmessage::Statfs(statfs),
        "43000000 09 0200 97190201 00100000 0100000000000000 0200000000000000 0300000000000000
         0400000000000000 0500000000000000 0600000000000000 ff000000",
    );
}

#[test]
fn broken_frames_are_malformed() {
    for (bytes, error) in [
        ("", Malformed::Short),
        ("07 00 00", Malformed::Short),
        ("08000000 6d 0900", Malformed::Length { field: 8, frame: 7 }),
        ("06000000 6d 0900", Malformed::Length { field: 6, frame: 7 }),
        (
            "ffffffff 6d 0900",
            Malformed::Length {
                field: u32::MAX,
                frame: 7,
            },
        ),
        ("05000000 6d", Malformed::Short),
        ("0a000000 78 0a00 020000", Malformed::Short),
        ("0c000000 78 0a00 02000000 00", Malformed::Trailing),
        // A text that goes past the end, one that leaves bytes behind.
        (
            "15000000 64 ffff 00200000 0900 3950323030302e4c",
            Malformed::Short,
        ),
        (
            "15000000 64 ffff 00200000 0700 3950323030302e4c",
            Malformed::Trailing,
        ),
        // More data announced than sent, and less.
        (
            "1a000000 76 0600 02000000 0300000000000000 04000000 68690a",
            Malformed::Short,
        ),
        (
            "1a000000 76 0600 02000000 0300000000000000 02000000 68690a",
            Malformed::Trailing,
        ),
        (
            "1a000000 76 0600 02000000 0300000000000000 ffffffff 68690a",
            Malformed::Short,
        ),
        // More names announced than sent.
        ("11000000 6e 0300 01000000 02000000 0100", Malformed::Short),
        ("11000000 6e 0300 01000000 02000000 ffff", Malformed::Short),
    ] {
        assert_eq!(
            parse_t(&hex(bytes)),
            Err(DecodeError::Malformed(error)),
            "{bytes}"
        );
    }
    for (bytes, error) in [
        ("0b000000 07 0100 00000000", Malformed::Value),
        ("07000000 06 0100", Malformed::Kind(6)),
        ("07000000 64 0100", Malformed::Kind(100)),
        ("07000000 00 0100", Malformed::Kind(0)),
        ("09000000 6f 0400 1100", Malformed::Value),
        ("0d000000 65 ffff 00200000 0000 00", Malformed::Trailing),
        ("0e000000 65 ffff 00200000 0100 ff", Malformed::Encoding),
        ("0d000000 75 0600 03000000 6f6b", Malformed::Short),
        ("0c000000 29 0b00 01000000 00", Malformed::Short),
    ] {
        let mut bytes = hex(bytes);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        assert_eq!(parse_r(&bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn illegal_values_are_refused_with_the_tag() {
    let name = |name: &[u8]| {
        let mut bytes = hex("00000000 6e 0300 01000000 02000000 0100");
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name);
        bytes
    };
    let names = |count: usize| {
        let mut bytes = hex("00000000 6e 0300 01000000 02000000");
        bytes.extend((count as u16).to_le_bytes());
        bytes.extend(b"\x01\x00x".repeat(count));
        bytes
    };
    for (mut bytes, errno) in [
        (name(b""), Errno::EINVAL),
        (name(b"."), Errno::EINVAL),
        (name(b".."), Errno::EINVAL),
        (name(b"a/b"), Errno::EINVAL),
        (name(b"a\0b"), Errno::EINVAL),
        (name(b"\xff"), Errno::EILSEQ),
        (name(&[b'x'; 256]), Errno::ENAMETOOLONG),
        (names(17), Errno::EINVAL),
        (names(2000), Errno::EINVAL),
        (hex("00000000 78 0300 ffffffff"), Errno::EBADF),
        (hex("00000000 6e 0300 01000000 ffffffff 0000"), Errno::EBADF),
        (
            hex("00000000 68 0300 01000000 ffffffff 0100 ff 0000 00000000"),
            Errno::EILSEQ,
        ),
        (
            hex("00000000 68 0300 01000000 ffffffff 0100 00 0000 00000000"),
            Errno::EINVAL,
        ),
    ] {
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        assert_eq!(
            parse_t(&bytes),
            Err(DecodeError::Refused { tag: Tag(3), errno }),
            "{bytes:?}"
        );
    }
    let mut most = names(MAX_WALK_NAMES);
    let len = most.len() as u32;
    most[..4].copy_from_slice(&len.to_le_bytes());
    assert!(matches!(parse_t(&most), Ok((_, Tmessage::Walk { names, .. })) if names.len() == 16));
}

#[test]
fn other_messages_keep_their_type_and_tag() {
    let tcreate = hex("0d000000 0e 0500 010203040506");
    let other = Tmessage::Other(OtherKind::new(14).unwrap());
    assert_eq!(parse_t(&tcreate), Ok((Tag(5), other)));
    assert_eq!(OtherKind::new(kind::TREAD), None);
}

#[test]
fn what_does_not_fit_is_not_written() {
    let clunk = Tmessage::Clunk { fid: fid(1) };
    assert_eq!(clunk.emit(Tag(1), &mut [0; 10]), Err(EncodeError));
    assert_eq!(clunk.emit(Tag(1), &mut [0; 11]), Ok(11));
    assert_eq!(clunk.emit(Tag(1), &mut []), Err(EncodeError));
    let long = "x".repeat(65_536);
    let version = Tmessage::Version {
        msize: 0,
        version: &long,
    };
    assert_eq!(
        version.emit(Tag(1), &mut alloc::vec![0; 70_000]),
        Err(EncodeError)
    );
}

#[test]
fn every_reply_without_data_fits_the_smallest_message() {
    let qids = Qids::new(&[Qid::dir(1); 8]).unwrap();
    for message in [
        Rmessage::Getattr(Attr::default()),
        Rmessage::Statfs(Statfs::default()),
        Rmessage::Walk { qids },
        Rmessage::Version {
            msize: 1,
            version: VERSION,
        },
    ] {
        assert!(
            message.emit(Tag(1), &mut [0; MIN_MSIZE as usize]).is_ok(),
            "{message:?}"
        );
    }
    assert_eq!(
        Rmessage::Error(Errno::EIO).emit(Tag(1), &mut [0; ERROR_BYTES]),
        Ok(ERROR_BYTES)
    );
}

#[test]
fn data_headers_agree_with_the_message() {
    let mut in_place = [0; 64];
    in_place[DATA_HEADER_BYTES..DATA_HEADER_BYTES + 5].copy_from_slice(b"hello");
    let len = pack_data_header(kind::TREAD + 1, Tag(9), 5, &mut in_place).unwrap();
    assert_eq!(
        parse_r(&in_place[..len]),
        Ok((Tag(9), Rmessage::Read { data: b"hello" }))
    );
    assert_eq!(
        pack_data_header(kind::TREAD + 1, Tag(9), 54, &mut in_place),
        Err(EncodeError)
    );
    assert_eq!(
        pack_data_header(kind::TREAD + 1, Tag(9), usize::MAX, &mut in_place),
        Err(EncodeError)
    );
}

#[test]
fn dots_of_other_servers_are_skipped() {
    let mut bytes = Vec::new();
    for name in [".", "a", "..", "b"] {
        bytes.extend(hex("80 00000000 0000000000000000 0100000000000000 04"));
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name.bytes());
    }
    let entries = DirEntries::new(&bytes).unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_listing_never_cuts_an_entry() {
    let name = Name::new("abc").unwrap(); // an entry of 27 bytes
    for room in 0..=60 {
        let mut buf = alloc::vec![0; room];
        let mut writer = DirWriter::new(&mut buf);
        let pushed = (1..10)
            .take_while(|next| writer.push(Qid::file(1), *next, name))
            .count();
        assert_eq!((pushed, writer.len()), (room / 27, room / 27 * 27));
        assert!(writer.is_full());
        assert!(
            !writer.push(Qid::file(1), 1, Name::new("a").unwrap()),
            "full stays full"
        );
    }
}

fn any_name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9é._ -]{1,40}".prop_filter("a legal name", |name| Name::new(name).is_ok())
}

fn any_fid() -> impl Strategy<Value = FidNumber> {
    (0..u32::MAX).prop_map(fid)
}

fn any_qid() -> impl Strategy<Value = Qid> {
    (any::<u8>(), any::<u32>(), any::<u64>()).prop_map(|(kind, version, path)| Qid {
        kind: QidKind(kind),
        version,
        path,
    })
}

/// Fields of every type, from which messages are built that borrow them.
#[derive(Debug, Clone)]
struct Fields {
    fids: [FidNumber; 2],
    afid: Option<FidNumber>,
    words: [u32; 2],
    longs: [u64; 2],
    texts: [String; 2],
    names: Vec<String>,
    data: Vec<u8>,
    qids: Vec<Qid>,
    tag: u16,
    other: u8,
}

prop_compose! {
    fn any_fields()(
        fids in [any_fid(), any_fid()],
        afid in proptest::option::of(any_fid()),
        words in any::<[u32; 2]>(),
        longs in any::<[u64; 2]>(),
        texts in ["[^\0]{0,60}", "[^\0]{0,60}"],
        names in proptest::collection::vec(any_name(), 0..=16),
        data in proptest::collection::vec(any::<u8>(), 0..300),
        qids in proptest::collection::vec(any_qid(), 0..=16),
        tag in any::<u16>(),
        other in any::<u8>(),
    ) -> Fields {
        Fields { fids, afid, words, longs, texts, names, data, qids, tag, other }
    }
}

impl Fields {
    fn requests(&self) -> Vec<Tmessage<'_>> {
        let ([fid, newfid], [a, b], [offset, mask]) = (self.fids, self.words, self.longs);
        let [uname, aname] = &self.texts;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let mut all = alloc::vec![
            Tmessage::Version {
                msize: a,
                version: uname
            },
            Tmessage::Attach {
                fid,
                afid: self.afid,
                uname,
                aname,
                n_uname: a
            },
            Tmessage::Walk {
                fid,
                newfid,
                names: Names::new(&names).unwrap()
            },
            Tmessage::Open {
                fid,
                flags: OpenFlags(b)
            },
            Tmessage::Read {
                fid,
                offset,
                count: a
            },
            Tmessage::Write {
                fid,
                offset,
                data: &self.data
            },
            Tmessage::Readdir {
                fid,
                offset,
                count: b
            },
            Tmessage::Getattr { fid, mask },
            Tmessage::Statfs { fid },
            Tmessage::Clunk { fid },
            Tmessage::Remove { fid },
            Tmessage::Flush { old: Tag(a as u16) },
        ];
        all.extend(OtherKind::new(self.other).map(Tmessage::Other));
        all
    }

    fn replies<'a>(&'a self, listing: &'a [u8]) -> Vec<Rmessage<'a>> {
        let ([a, b], [c, d], qid) = (
            self.words,
            self.longs,
            self.qids.first().copied().unwrap_or_default(),
        );
        let time = Time { sec: c, nsec: d };
        let attr = Attr {
            valid: d,
            qid,
            mode: a,
            uid: b,
            size: c,
            mtime: time,
            data_version: d,
            ..Attr::default()
        };
        let statfs = Statfs {
            bsize: a,
            ffree: c,
            fsid: d,
            namelen: b,
            ..Statfs::default()
        };
        alloc::vec![
            Rmessage::Error(Errno::from_raw(a)),
            Rmessage::Version {
                msize: a,
                version: &self.texts[0]
            },
            Rmessage::Attach { qid },
            Rmessage::Walk {
                qids: Qids::new(&self.qids).unwrap()
            },
            Rmessage::Open { qid, iounit: b },
            Rmessage::Read { data: &self.data },
            Rmessage::Write { count: a },
            Rmessage::Readdir {
                entries: DirEntries::new(listing).unwrap()
            },
            Rmessage::Getattr(attr),
            Rmessage::Statfs(statfs),
            Rmessage::Clunk,
            Rmessage::Remove,
            Rmessage::Flush,
        ]
    }

    fn listing(&self) -> Vec<u8> {
        let mut buf = alloc::vec![0; 4096];
        let mut writer = DirWriter::new(&mut buf);
        for (at, name) in self.names.iter().enumerate() {
            let qid = self.qids.get(at).copied().unwrap_or_default();
            assert!(writer.push(qid, at as u64 + 1, Name::new(name).unwrap()));
        }
        let len = writer.len();
        buf.truncate(len);
        buf
    }
}

proptest! {
    #[test]
    fn parsing_undoes_emitting(fields in any_fields()) {
        let mut buf = alloc::vec![0; 8192];
        for message in fields.requests() {
            let len = message.emit(Tag(fields.tag), &mut buf).unwrap();
            prop_assert_eq!(parse_t(&buf[..len]), Ok((Tag(fields.tag), message)));
        }
        let listing = fields.listing();
        for message in fields.replies(&listing) {
            let len = message.emit(Tag(fields.tag), &mut buf).unwrap();
            prop_assert_eq!(parse_r(&buf[..len]), Ok((Tag(fields.tag), message)));
        }
        let entries = DirEntries::new(&listing).unwrap();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        prop_assert_eq!(names, fields.names.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// A frame that is cut or has its fields changed is parsed to something that
    /// emits to the same bytes, or not at all.
    #[test]
    fn damaged_frames_never_panic_and_never_lie(
        fields in any_fields(),
        which in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        fix_length in any::<bool>(),
    ) {
        let mut buf = alloc::vec![0; 8192];
        let requests = fields.requests();
        let message = which.get(&requests);
        let len = message.emit(Tag(fields.tag), &mut buf).unwrap();
        buf.truncate(len - cut.index(len).min(len / 2));
        let end = buf.len();
        for (at, value) in flips {
            buf[at.index(end)] = value;
        }
        if fix_length && end >= 4 {
            buf[..4].copy_from_slice(&(end as u32).to_le_bytes());
        }
        check_t(&buf);
        check_r(&buf);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        kind in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        check_t(&body);
        check_r(&body);
        let mut frame = Vec::from((body.len() as u32 + 5).to_le_bytes());
        frame.push(kind);
        frame.extend(&body);
        check_t(&frame);
        check_r(&frame);
    }
}

fn check_t(frame: &[u8]) {
    let mut buf = alloc::vec![0; 8192 + frame.len()];
    match parse_t(frame) {
        Ok((tag, message @ Tmessage::Other(_))) => assert_eq!(message.emit(tag, &mut buf), Ok(HEADER_BYTES)),
        Ok((tag, message)) => {
            let len = message.emit(tag, &mut buf).unwrap();
            assert_eq!(&buf[..len], frame);
        }
        Err(_) => {}
    }
}

fn check_r(frame: &[u8]) {
    let mut buf = alloc::vec![0; 8192 + frame.len()];
    if let Ok((tag, message)) = parse_r(frame) {
        let len = message.emit(tag, &mut buf).unwrap();
        assert_eq!(&buf[..len], frame);
    }
}
