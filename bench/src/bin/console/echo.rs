//! The peer: an echo of the console's frames on `std::net`.
//!
//! Answers for: the same bytes back, a thread per connection.
//! Never: understands a line.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

const FRAME_BYTES: usize = 8192;

/// Starts it; where it listens.
pub fn server() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            // It ends with an error when the client has gone.
            thread::spawn(move || echo(stream));
        }
    });
    Ok(address)
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut frame = vec![0; FRAME_BYTES];
    loop {
        stream.read_exact(&mut frame[..4])?;
        let total = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        let body = frame.get_mut(4..total).ok_or(io::ErrorKind::InvalidData)?;
        stream.read_exact(body)?;
        stream.write_all(&frame[..total])?;
    }
}
