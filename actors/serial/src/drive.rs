//! The domain between a UART, everybody's log and the root console.
//!
//! Answers for log lines being printed whole and soon, whether there is a console or not; for what is typed reaching the
//! console in order, and waiting in the UART when the console is slower; and for a console that is away being told once to
//! whoever types. Never looks into what is typed.

use alloc::boxed::Box;
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context as TaskContext, Poll};

use heapless::Deque;
use protocol::serial::LINK;
use runtime::Context;
use runtime::link::{Connection, LinkError, MAX_FRAME_BYTES, TrySendError};

use crate::screen::Screen;

/// Bytes that came while something was printed. A PL011 holds 16 itself.
const TYPED_BYTES: usize = 256;
/// Bytes of what is typed in one frame.
const FRAME_BYTES: usize = 64;
/// Frames of the console that are shown before the log is looked at again.
const FRAMES: usize = 8;
/// Said to whoever types while the console is away.
const AWAY: &str = "serial: the root console is away; the log goes on";

/// A UART.
pub trait Uart {
    /// The next byte that came.
    fn receive(&mut self) -> Option<u8>;
    /// Sends a byte, waiting for room.
    fn send(&mut self, byte: u8);
    /// Whether it is to interrupt when bytes come. Until it is told so it does not.
    fn listen(&mut self, on: bool);
    /// Ready if it interrupted, or there is news in a log, since this was last ready.
    fn poll_news(&mut self, cx: &mut TaskContext<'_>) -> Poll<()>;
}

/// Everybody's log.
pub trait Logs {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whose one is.
    fn name(&self, index: usize) -> &str;
    /// Passes the bytes that were written to one since the last call.
    fn read(&mut self, index: usize, take: &mut dyn FnMut(u8));
}

/// Carries lines and keys for ever. Everything is allocated before the first wait.
pub async fn drive(ctx: Context, uart: impl Uart, logs: impl Logs) {
    let link = ctx.link(LINK);
    let mut driver = Driver {
        uart,
        logs,
        screen: Screen::default(),
        typed: Deque::new(),
        line: Box::new(heapless::Vec::new()),
        frame: alloc::vec![0; MAX_FRAME_BYTES as usize].into_boxed_slice(),
    };
    loop {
        driver.uart.listen(true);
        let connection = {
            let mut connect = pin!(async {
                match &link {
                    Some(link) => link.connect().await,
                    None => core::future::pending().await,
                }
            });
            let mut told = false;
            loop {
                driver.print_logs();
                told |= driver.turn_away(told);
                let connected = poll_fn(|cx| {
                    if let Poll::Ready(connection) = connect.as_mut().poll(cx) {
                        return Poll::Ready(Some(connection));
                    }
                    driver.uart.poll_news(cx).map(|()| None)
                });
                if let Some(connection) = connected.await {
                    break connection;
                }
            }
        };
        // It ends when the console dies, or breaks the discipline.
        let _ = driver.carry(&ctx, &connection).await;
        driver.print(|screen, put| screen.abandon(put));
    }
}

struct Driver<U, L> {
    uart: U,
    logs: L,
    screen: Screen,
    /// What was typed and has not gone to the console yet.
    typed: Deque<u8, TYPED_BYTES>,
    /// A log's line.
    line: Box<heapless::Vec<u8, MAX_LINE_BYTES>>,
    /// A frame of the console's.
    frame: Box<[u8]>,
}

/// Bytes of a log's line; a longer one is printed as several.
const MAX_LINE_BYTES: usize = 1024;

impl<U: Uart, L: Logs> Driver<U, L> {
    /// Carries until the connection is over.
    async fn carry(&mut self, ctx: &Context, connection: &Connection) -> Result<(), LinkError> {
        loop {
            self.print_logs();
            let idle = self.show_console(connection)?;
            let taken = self.pass_on(connection)?;
            // Bytes for which there is no room stay in the UART, and it must not interrupt because of them.
            self.uart.listen(taken);
            if !idle {
                ctx.yield_now().await;
                continue;
            }
            let readable = pin!(connection.readable());
            let writable = pin!(connection.writable());
            let (mut readable, mut writable) = (readable, writable);
            poll_fn(|cx| {
                if let Poll::Ready(over) = readable.as_mut().poll(cx) {
                    return Poll::Ready(over);
                }
                if !taken && let Poll::Ready(over) = writable.as_mut().poll(cx) {
                    return Poll::Ready(over);
                }
                self.uart.poll_news(cx).map(Ok)
            })
            .await?;
        }
    }

    /// Shows some of what the console wrote; whether that was all.
    fn show_console(&mut self, connection: &Connection) -> Result<bool, LinkError> {
        for _ in 0..FRAMES {
            let Some(bytes) = connection.try_recv(&mut self.frame)? else {
                return Ok(true);
            };
            let Driver {
                uart,
                screen,
                typed,
                frame,
                ..
            } = self;
            screen.console(frame.get(..bytes).unwrap_or_default(), &mut |byte| {
                put(uart, typed, byte)
            });
        }
        Ok(false)
    }

    /// Passes on what is typed; whether that was all.
    fn pass_on(&mut self, connection: &Connection) -> Result<bool, LinkError> {
        loop {
            self.collect();
            if self.typed.is_empty() {
                return Ok(true);
            }
            let mut frame: heapless::Vec<u8, FRAME_BYTES> = heapless::Vec::new();
            // There are no more than fit.
            frame.extend(self.typed.iter().copied().take(FRAME_BYTES));
            match connection.try_send(&frame) {
                Ok(()) => {}
                Err(TrySendError::Full) => return Ok(false),
                Err(TrySendError::Link(error)) => return Err(error),
            }
            for _ in 0..frame.len() {
                self.typed.pop_front();
            }
        }
    }

    /// Takes what the UART has, as far as there is room.
    fn collect(&mut self) {
        while !self.typed.is_full()
            && let Some(byte) = self.uart.receive()
        {
            // It is not full.
            let _ = self.typed.push_back(byte);
        }
    }

    /// Forgets what is typed while there is no console, and says so once; whether there was something.
    fn turn_away(&mut self, told: bool) -> bool {
        let mut any = false;
        loop {
            self.collect();
            if self.typed.is_empty() {
                break;
            }
            any = true;
            self.typed.clear();
        }
        if any && !told {
            self.print(|screen, put| screen.line(AWAY.bytes(), put));
        }
        any
    }

    /// Prints what is new in the logs, each line after its domain's name.
    fn print_logs(&mut self) {
        let Driver {
            uart,
            logs,
            screen,
            typed,
            line,
            ..
        } = self;
        for index in 0..logs.len() {
            // A line's end is all that is kept of a name that is too long.
            line.clear();
            let _ = line.extend_from_slice(logs.name(index).as_bytes());
            let _ = line.extend_from_slice(b": ");
            let begin = line.len();
            let mut finish = |line: &mut heapless::Vec<u8, MAX_LINE_BYTES>| {
                screen.line(line.iter().copied(), &mut |byte| put(uart, typed, byte));
                line.truncate(begin);
            };
            logs.read(index, &mut |byte| {
                if byte == b'\n' {
                    finish(line);
                } else {
                    if line.is_full() {
                        finish(line);
                    }
                    // There is room, unless the name alone fills it.
                    let _ = line.push(byte);
                }
            });
            // Who writes half a line has it printed as one: the next is somebody else's.
            if line.len() > begin {
                finish(line);
            }
        }
    }

    fn print(&mut self, show: impl FnOnce(&mut Screen, &mut dyn FnMut(u8))) {
        let Driver {
            uart, screen, typed, ..
        } = self;
        show(screen, &mut |byte| put(uart, typed, byte));
    }
}

/// Sends a byte, and takes one that came meanwhile: a UART holds only a few.
fn put<U: Uart>(uart: &mut U, typed: &mut Deque<u8, TYPED_BYTES>, byte: u8) {
    uart.send(byte);
    if !typed.is_full()
        && let Some(byte) = uart.receive()
    {
        // It is not full.
        let _ = typed.push_back(byte);
    }
}
