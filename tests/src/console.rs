//! A console connection written from the wire format alone.
//!
//! Answers for frames (u32 little-endian total length, then the line) and for collecting a stream up to `END`.
//! Never retries and never reconnects: a test sees what the server did.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for one frame before it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One TCP connection to a console.
pub struct Console {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl Console {
    /// Connects, without authenticating.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(addr)?)
    }

    /// A console on a connection that is there.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            pending: Vec::new(),
        })
    }

    /// Connects and authenticates.
    pub fn authenticated(addr: SocketAddr, token: &str) -> Self {
        let mut console = Self::connect(addr).expect("connect to the console");
        assert_eq!(console.ask(&format!("AUTH {token}")), "OK AUTH");
        console
    }

    /// Connects, authenticates and attaches as queen.
    pub fn queen(addr: SocketAddr, token: &str) -> Self {
        let mut console = Self::authenticated(addr, token);
        assert_eq!(console.ask("ATTACH queen "), "OK ATTACH role=queen");
        console
    }

    /// Sends one line as one frame.
    pub fn send(&mut self, line: &str) {
        self.send_frame(line.as_bytes());
    }

    /// Sends arbitrary bytes as one well-formed frame.
    pub fn send_frame(&mut self, payload: &[u8]) {
        self.try_send_frame(payload).expect("send a frame");
    }

    /// Like [`Console::send_frame`], for a connection that may be gone.
    pub fn try_send_frame(&mut self, payload: &[u8]) -> io::Result<()> {
        let total = u32::try_from(payload.len() + 4).expect("a frame's length fits u32");
        let mut frame = total.to_le_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    /// Sends bytes as they are, framed or not.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Receives one line; an error if the connection ends or nothing comes in time.
    pub fn try_receive(&mut self) -> io::Result<String> {
        loop {
            if let Some(line) = self.take_line()? {
                return Ok(line);
            }
            let mut chunk = [0; 16384];
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pending.extend_from_slice(&chunk[..count]);
        }
    }

    fn take_line(&mut self) -> io::Result<Option<String>> {
        let Some(header) = self.pending.first_chunk::<4>() else {
            return Ok(None);
        };
        let total = u32::from_le_bytes(*header) as usize;
        assert!(
            (4..=8192).contains(&total),
            "the server sent a frame of {total} bytes"
        );
        if self.pending.len() < total {
            return Ok(None);
        }
        let line = String::from_utf8(self.pending[4..total].to_vec());
        self.pending.drain(..total);
        line.map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Receives one line.
    pub fn receive(&mut self) -> String {
        self.try_receive().expect("a line from the console")
    }

    /// Sends a line and returns the next line.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.receive()
    }

    /// Sends a line; returns the acknowledgement and, if it is OK, the lines up to `END`.
    pub fn stream(&mut self, line: &str) -> (String, Vec<String>) {
        self.send(line);
        self.receive_stream()
    }

    /// Receives an acknowledgement and, if it is OK, the lines up to `END`.
    pub fn receive_stream(&mut self) -> (String, Vec<String>) {
        let ack = self.receive();
        let mut lines = Vec::new();
        if ack.starts_with("OK ") {
            loop {
                let line = self.receive();
                if line == "END" {
                    break;
                }
                lines.push(line);
            }
        }
        (ack, lines)
    }

    /// The lines of a file; fails if it cannot be read.
    pub fn cat(&mut self, path: &str) -> Vec<String> {
        let (ack, lines) = self.stream(&format!("CAT {path}"));
        assert!(ack.starts_with("OK CAT"), "CAT {path}: {ack}");
        lines
    }

    /// The names in a directory; fails if it cannot be listed.
    pub fn ls(&mut self, path: &str) -> Vec<String> {
        let (ack, lines) = self.stream(&format!("LS {path}"));
        assert!(ack.starts_with("OK LS"), "LS {path}: {ack}");
        lines
    }

    /// Whether the server closes the connection (reset or end of stream), after any lines it still sends.
    pub fn closed_by_server(&mut self) -> (Vec<String>, bool) {
        let mut last_words = Vec::new();
        loop {
            match self.try_receive() {
                Ok(line) => last_words.push(line),
                Err(error) => {
                    let open = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    return (last_words, !open);
                }
            }
        }
    }

    /// Bounds how long a receive waits.
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("set a read timeout");
    }

    /// Ends this side's half of the connection.
    pub fn finish(&mut self) {
        // The server may have closed first; then there is nothing left to end.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
