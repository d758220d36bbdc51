//! A console client inside the simulation, written from the wire format alone.

use std::time::Duration;

use hive::assemble::CONSOLE_ADDRESS;
use netstack::{Stack, TcpStream};
use runtime::Context;

/// Nothing in a hive may take longer than this, however foul the network.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Why a client's step did not succeed.
#[derive(Debug)]
pub enum Trouble {
    /// The connection ended: ordinary when domains die.
    Ended,
    /// Something that may never happen.
    Wrong(String),
}

/// One authenticated queen's session.
pub struct Console {
    ctx: Context,
    stream: TcpStream,
    pending: Vec<u8>,
}

impl Console {
    /// Connects, authenticates and attaches.
    pub async fn open(ctx: &Context, stack: &Stack, port: u16, token: &str) -> Result<Self, Trouble> {
        let stream = stack
            .connect(CONSOLE_ADDRESS, port)
            .await
            .map_err(|_| Trouble::Ended)?;
        let mut console = Self {
            ctx: ctx.clone(),
            stream,
            pending: Vec::new(),
        };
        match console.ask(&format!("AUTH {token}")).await?.as_str() {
            "OK AUTH" => {}
            answer => return Err(Trouble::Wrong(format!("AUTH was answered {answer:?}"))),
        }
        match console.ask("ATTACH queen ").await?.as_str() {
            "OK ATTACH role=queen" => Ok(console),
            answer if answer.starts_with("ERR ATTACH reason=busy") => Err(Trouble::Ended),
            answer => Err(Trouble::Wrong(format!("ATTACH was answered {answer:?}"))),
        }
    }

    /// Sends a line and receives the next one.
    pub async fn ask(&mut self, line: &str) -> Result<String, Trouble> {
        self.send(line).await?;
        self.receive().await
    }

    /// Sends a line; the acknowledgement and, if it is OK, the lines up to END.
    pub async fn stream(&mut self, line: &str) -> Result<(String, Vec<String>), Trouble> {
        let ack = self.ask(line).await?;
        let mut lines = Vec::new();
        while ack.starts_with("OK ") {
            match self.receive().await? {
                line if line == "END" => break,
                // A stream that its owner's death cut short ends with a refusal instead of END.
                line if line.starts_with("ERR ") => return Ok((line, lines)),
                line => lines.push(line),
            }
        }
        Ok((ack, lines))
    }

    async fn send(&mut self, line: &str) -> Result<(), Trouble> {
        let total = u32::try_from(line.len() + 4).expect("a short line");
        let mut frame = total.to_le_bytes().to_vec();
        frame.extend_from_slice(line.as_bytes());
        self.stream.write_all(&frame).await.map_err(|_| Trouble::Ended)
    }

    async fn receive(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(header) = self.pending.first_chunk::<4>() {
                let total = u32::from_le_bytes(*header) as usize;
                if !(4..=8192).contains(&total) {
                    return Err(Trouble::Wrong(format!("a frame of {total} bytes")));
                }
                if self.pending.len() >= total {
                    let line = String::from_utf8_lossy(&self.pending[4..total]).into_owned();
                    self.pending.drain(..total);
                    return Ok(line);
                }
            }
            let mut chunk = [0; 2048];
            let read = self.ctx.timeout(PATIENCE, self.stream.read(&mut chunk)).await;
            match read {
                Err(_) => {
                    return Err(Trouble::Wrong(
                        "no answer, and no end of the connection either".to_owned(),
                    ));
                }
                Ok(Err(_) | Ok(0)) => return Err(Trouble::Ended),
                Ok(Ok(count)) => self.pending.extend_from_slice(&chunk[..count]),
            }
        }
    }
}
