//! A console client of the tests, written from the wire format alone.

use std::time::Duration;

use netstack::TcpStream;
use runtime::Context;

/// How long a client waits for a line, in virtual time.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Client {
    ctx: Context,
    pub stream: TcpStream,
    pending: Vec<u8>,
}

impl Client {
    pub fn new(ctx: Context, stream: TcpStream) -> Client {
        Client {
            ctx,
            stream,
            pending: Vec::new(),
        }
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        // The console may have closed; that shows when reading.
        let _ = self.stream.write_all(bytes).await;
    }

    pub async fn send(&mut self, line: &str) {
        self.send_frame(line.as_bytes()).await;
    }

    pub async fn send_frame(&mut self, payload: &[u8]) {
        let frame = frame(payload);
        self.raw(&frame).await;
    }

    /// The next line; `None` if the connection has ended.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(header) = self.pending.first_chunk::<4>() {
                let total = u32::from_le_bytes(*header) as usize;
                assert!((4..=8192).contains(&total), "a frame of {total} bytes");
                if self.pending.len() >= total {
                    let line = String::from_utf8(self.pending[4..total].to_vec()).expect("text");
                    self.pending.drain(..total);
                    return Some(line);
                }
            }
            let mut piece = [0; 4096];
            let read = self.ctx.timeout(PATIENCE, self.stream.read(&mut piece)).await;
            match read.expect("the console answers or closes") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.pending.extend_from_slice(&piece[..count]),
            }
        }
    }

    pub async fn line(&mut self) -> String {
        self.next().await.expect("a line, not the end of the connection")
    }

    pub async fn ask(&mut self, line: &str) -> String {
        self.send(line).await;
        self.line().await
    }

    /// The ack and, if it is OK, the lines up to `END`.
    pub async fn stream(&mut self, line: &str) -> (String, Vec<String>) {
        let ack = self.ask(line).await;
        let mut lines = Vec::new();
        if ack.starts_with("OK ") {
            loop {
                match self.line().await {
                    line if line == "END" => break,
                    line => lines.push(line),
                }
            }
        }
        (ack, lines)
    }

    /// The lines until the console closes.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }

    pub async fn sleep(&self, time: Duration) {
        self.ctx.sleep(time).await;
    }
}

pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32 + 4).to_le_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}
