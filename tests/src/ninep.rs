//! A 9P2000.L client written from the protocol alone.
//!
//! Answers for frames (`size[4] type[1] tag[2]` and the fields, little-endian) and for the few messages that the
//! suites send. Never checks what a server may answer: a test does.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::console::PATIENCE;

/// No file, or "choose for me".
pub const NONE: u32 = u32::MAX;
/// The tag of `Tversion`.
pub const NO_TAG: u16 = u16::MAX;

/// Message types: a request's; its reply's is one more.
pub mod kind {
    #![allow(missing_docs)] // the names are the protocol's
    pub const RLERROR: u8 = 7;
    pub const TSTATFS: u8 = 8;
    pub const TLOPEN: u8 = 12;
    pub const TGETATTR: u8 = 24;
    pub const TREADDIR: u8 = 40;
    pub const TVERSION: u8 = 100;
    pub const TATTACH: u8 = 104;
    pub const TFLUSH: u8 = 108;
    pub const TWALK: u8 = 110;
    pub const TREAD: u8 = 116;
    pub const TWRITE: u8 = 118;
    pub const TCLUNK: u8 = 120;
}

/// Fields of a message.
#[derive(Clone, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Two bytes.
    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Four bytes.
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Eight bytes.
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A text with its length.
    pub fn text(self, text: &str) -> Self {
        let mut fields = self.u16(u16::try_from(text.len()).expect("a text's length fits u16"));
        fields.0.extend(text.as_bytes());
        fields
    }

    /// Data with its length.
    pub fn data(self, data: &[u8]) -> Self {
        let mut fields = self.u32(u32::try_from(data.len()).expect("data's length fits u32"));
        fields.0.extend(data);
        fields
    }
}

/// A message from the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Its type.
    pub kind: u8,
    /// Its tag.
    pub tag: u16,
    /// What follows.
    pub body: Vec<u8>,
}

impl Reply {
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.body[at..at + 4].try_into().expect("four bytes"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.body[at..at + 8].try_into().expect("eight bytes"))
    }
}

/// One TCP connection to a 9P server. Requests by the helpers use one tag after the other.
pub struct Client {
    stream: TcpStream,
    tag: u16,
}

/// What a file says of itself, as far as the suites look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Type and permissions.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
}

impl Client {
    /// Connects, and says nothing.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, tag: 0 })
    }

    /// Connects and agrees on the version.
    pub fn versioned(addr: SocketAddr) -> Self {
        let mut client = Self::connect(addr).expect("connect to the 9P port");
        client.version(8192);
        client
    }

    /// Connects and attaches as queen with fid 0.
    pub fn queen(addr: SocketAddr, token: &str) -> Self {
        let mut client = Self::versioned(addr);
        client.attach(0, "queen", token).expect("attach as queen");
        client
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a message.
    pub fn send(&mut self, kind: u8, tag: u16, fields: Fields) -> io::Result<()> {
        let size = u32::try_from(7 + fields.0.len()).expect("a message's size fits u32");
        let mut frame = size.to_le_bytes().to_vec();
        frame.push(kind);
        frame.extend(tag.to_le_bytes());
        frame.extend(fields.0);
        self.stream.write_all(&frame)
    }

    /// Receives a message.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut header = [0; 7];
        self.stream.read_exact(&mut header)?;
        let size = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        assert!(
            (7..=65536).contains(&size),
            "the server sent a message of {size} bytes"
        );
        let mut body = vec![0; size - 7];
        self.stream.read_exact(&mut body)?;
        Ok(Reply {
            kind: header[4],
            tag: u16::from_le_bytes([header[5], header[6]]),
            body,
        })
    }

    /// Sends a request and returns its reply, or the error number it was refused with.
    pub fn ask(&mut self, kind: u8, fields: Fields) -> Result<Reply, u32> {
        self.tag = (self.tag + 1) % NO_TAG;
        self.send(kind, self.tag, fields).expect("send a request");
        let reply = self.receive().expect("a reply");
        assert_eq!(reply.tag, self.tag, "{reply:?}");
        if reply.kind == self::kind::RLERROR {
            return Err(reply.u32(0));
        }
        assert_eq!(reply.kind, kind + 1, "{reply:?}");
        Ok(reply)
    }

    /// Agrees on the version; returns the message size.
    pub fn version(&mut self, msize: u32) -> u32 {
        let fields = Fields::new().u32(msize).text("9P2000.L");
        self.send(kind::TVERSION, NO_TAG, fields).expect("send Tversion");
        let reply = self.receive().expect("Rversion");
        assert_eq!((reply.kind, reply.tag), (kind::TVERSION + 1, NO_TAG), "{reply:?}");
        assert_eq!(&reply.body[6..], b"9P2000.L");
        reply.u32(0)
    }

    /// Attaches.
    pub fn attach(&mut self, fid: u32, uname: &str, aname: &str) -> Result<(), u32> {
        let fields = Fields::new().u32(fid).u32(NONE).text(uname).text(aname).u32(NONE);
        self.ask(kind::TATTACH, fields).map(drop)
    }

    /// Walks; returns how many names were walked.
    pub fn walk(&mut self, fid: u32, newfid: u32, names: &[&str]) -> Result<usize, u32> {
        let count = u16::try_from(names.len()).expect("a few names");
        let fields = Fields::new().u32(fid).u32(newfid).u16(count);
        let fields = names.iter().fold(fields, |fields, name| fields.text(name));
        let reply = self.ask(kind::TWALK, fields)?;
        Ok(usize::from(u16::from_le_bytes([reply.body[0], reply.body[1]])))
    }

    /// Opens with Linux flags.
    pub fn open(&mut self, fid: u32, flags: u32) -> Result<(), u32> {
        let fields = Fields::new().u32(fid).u32(flags);
        self.ask(kind::TLOPEN, fields).map(drop)
    }

    /// One read.
    pub fn read(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, u32> {
        let fields = Fields::new().u32(fid).u64(offset).u32(count);
        let reply = self.ask(kind::TREAD, fields)?;
        assert_eq!(reply.u32(0) as usize, reply.body.len() - 4);
        Ok(reply.body[4..].to_vec())
    }

    /// One write; returns how many bytes were taken.
    pub fn write(&mut self, fid: u32, offset: u64, data: &[u8]) -> Result<u32, u32> {
        let fields = Fields::new().u32(fid).u64(offset).data(data);
        Ok(self.ask(kind::TWRITE, fields)?.u32(0))
    }

    /// Names in an open directory, read with messages of at most `count` bytes.
    pub fn readdir(&mut self, fid: u32, count: u32) -> Result<Vec<String>, u32> {
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let fields = Fields::new().u32(fid).u64(offset).u32(count);
            let reply = self.ask(kind::TREADDIR, fields)?;
            assert!(reply.u32(0) <= count);
            // qid[13] offset[8] type[1] name[s]
            let mut at = 4;
            while at < reply.body.len() {
                offset = reply.u64(at + 13);
                let len = usize::from(u16::from_le_bytes([reply.body[at + 22], reply.body[at + 23]]));
                let name = &reply.body[at + 24..at + 24 + len];
                names.push(String::from_utf8(name.to_vec()).expect("a name is UTF-8"));
                at += 24 + len;
            }
            if reply.u32(0) == 0 {
                return Ok(names);
            }
        }
    }

    /// What a file says of itself.
    pub fn getattr(&mut self, fid: u32) -> Result<Stat, u32> {
        let reply = self.ask(kind::TGETATTR, Fields::new().u32(fid).u64(0x7ff))?;
        // valid[8] qid[13] mode[4] uid[4] gid[4] nlink[8] rdev[8] size[8]
        Ok(Stat {
            mode: reply.u32(21),
            size: reply.u64(49),
        })
    }

    /// Ends a fid.
    pub fn clunk(&mut self, fid: u32) -> Result<(), u32> {
        self.ask(kind::TCLUNK, Fields::new().u32(fid)).map(drop)
    }

    /// A whole file below fid 0, by a fid of its own.
    pub fn cat(&mut self, path: &str) -> Result<Vec<u8>, u32> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let walked = self.walk(0, SCRATCH, &names)?;
        assert_eq!(walked, names.len(), "{path}");
        let mut content = Vec::new();
        let read = self.open(SCRATCH, 0).and_then(|()| {
            loop {
                let part = self.read(SCRATCH, content.len() as u64, 4096)?;
                if part.is_empty() {
                    return Ok(());
                }
                content.extend(part);
            }
        });
        self.clunk(SCRATCH).expect("a fid that was walked to");
        read.map(|()| content)
    }

    /// Whether the server closes the connection, after whatever it still sends.
    pub fn closed_by_server(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// The fid of [`Client::cat`].
const SCRATCH: u32 = 0x5c7a;
