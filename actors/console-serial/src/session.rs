//! Whoever sits at the serial line, for the domain's whole life.
//!
//! Answers for lines being answered one by one and in order, for the prompt being there when a line is waited for, and for
//! who types being the queen unless they attach as somebody else. What a line does is the crate `console`'s.
//! Never asks for a token: who is at the machine has it. Never reads the next line before this one is answered.

use alloc::boxed::Box;
use core::pin::pin;

use console::{Gone, Next, Page, Sink, class};
use futures::future::{Either, select};
use protocol::ack::{self, ACK_BYTES};
use protocol::command::ParseError;
use protocol::limits::LINE_BYTES;
use protocol::refusal::Reason;
use protocol::role::Role;
use protocol::serial::{END, ERASE, PROMPT, RESTART};
use runtime::link::{Connection, Link};

use crate::editor::{Editor, Effect};
use crate::house::{Count, House};
use crate::terminal::Terminal;

type Session<'h> = console::Session<'h, House>;

/// The session's bell at the door: there is no other.
const BELL: usize = 0;
/// Bytes of a frame of what is typed: what the link allows, at most.
const TYPED_BYTES: usize = 256;
/// The answer to AUTH, which is for those who come over a network.
const AUTH: &str = "OK AUTH detail=not-needed";
/// The answer to bytes that are no UTF-8.
const NO_TEXT: &str = "ERR PARSE reason=policy detail=console line is not text";

/// What the session needs of memory, taken at boot.
pub(crate) struct Buffers {
    editor: Box<Editor>,
    /// The line that is executed.
    line: Box<[u8]>,
    /// For lines with control characters in them, of which there are none here.
    scratch: Box<[u8]>,
    page: Page,
    /// A line on its way to the terminal.
    frame: Box<[u8]>,
}

/// Bytes of [`Buffers`], but for the frame, whose length is the link's.
pub(crate) const SESSION_BUFFER_BYTES: usize = size_of::<Editor>() + 2 * LINE_BYTES + Page::BYTES;

impl Buffers {
    pub(crate) fn new() -> Buffers {
        Buffers {
            editor: Box::new(Editor::new()),
            line: alloc::vec![0; LINE_BYTES].into_boxed_slice(),
            scratch: alloc::vec![0; LINE_BYTES].into_boxed_slice(),
            page: Page::new(),
            frame: Box::default(),
        }
    }
}

/// Serves the line; never ends.
pub(crate) async fn host(house: &House, line: Link, mut buffers: Buffers) {
    buffers.frame = alloc::vec![0; line.frame_bytes()].into_boxed_slice();
    let mut session = root(house);
    loop {
        let connection = {
            let mut connect = pin!(line.connect());
            loop {
                let connected = {
                    let again = pin!(session.time_to_reattach());
                    match select(connect.as_mut(), again).await {
                        Either::Left((connection, _)) => Some(connection),
                        Either::Right(_) => None,
                    }
                };
                if let Some(connection) = connected {
                    break connection;
                }
                // If NineDoor does not take it back yet, there is another time.
                let _ = session.reattach_if_lost().await;
            }
        };
        Count::LineOpened.add(&house.ctx, 1);
        buffers.editor.reset();
        // It ends with the driver's life. Who sits there is the same in its next one.
        let _ = serve(house, &mut session, &connection, &mut buffers).await;
    }
}

/// A session as queen, which is NineDoor's business once it is there.
fn root(house: &House) -> Session<'_> {
    let mut session = Session::new(house, BELL);
    session.assume(Role::Queen);
    session
}

async fn serve<'h>(
    house: &'h House,
    session: &mut Session<'h>,
    connection: &Connection,
    buffers: &mut Buffers,
) -> Result<(), Gone> {
    let Buffers {
        editor,
        line,
        scratch,
        page,
        frame,
    } = buffers;
    let mut terminal = Terminal::new(connection, frame);
    let mut typed = [0; TYPED_BYTES];
    // Until somebody types, the terminal belongs to the log.
    let mut prompted = false;
    loop {
        let bytes = match connection.try_recv(&mut typed).map_err(|_| Gone)? {
            Some(bytes) => bytes,
            None => {
                terminal.flush().await?;
                wait(session, connection).await?;
                continue;
            }
        };
        Count::Typed.add(&house.ctx, bytes as u64);
        if !core::mem::replace(&mut prompted, true) {
            terminal.show(PROMPT.as_bytes()).await?;
        }
        for byte in typed.get(..bytes).unwrap_or_default() {
            match editor.push(*byte) {
                Effect::None => continue,
                Effect::Typed(byte) => {
                    terminal.show(&[byte]).await?;
                    continue;
                }
                Effect::Erased => {
                    terminal.show(&[ERASE]).await?;
                    continue;
                }
                Effect::Emptied => terminal.show(&[RESTART]).await?,
                Effect::Dropped => terminal.show(&[b'^', b'C', END]).await?,
                Effect::TooLong => {
                    terminal.show(&[END]).await?;
                    Count::TooLong.add(&house.ctx, 1);
                    refuse(house);
                    terminal
                        .line(ack::parse_error(&mut [0; ACK_BYTES], &ParseError::LineTooLong))
                        .await?;
                }
                Effect::Line => {
                    terminal.show(&[END]).await?;
                    // It may take its time.
                    terminal.flush().await?;
                    let bytes = editor.bytes();
                    let copy = line.get_mut(..bytes.len()).unwrap_or_default();
                    copy.copy_from_slice(bytes);
                    match core::str::from_utf8(copy) {
                        Ok(text) => execute(house, session, text, scratch, page, &mut terminal).await?,
                        Err(_) => {
                            Count::NoText.add(&house.ctx, 1);
                            refuse(house);
                            terminal.line(NO_TEXT).await?;
                        }
                    }
                }
            }
            editor.clear();
            terminal.show(PROMPT.as_bytes()).await?;
        }
        house.ctx.cooperate().await;
    }
}

/// Does one line.
async fn execute<'h>(
    house: &'h House,
    session: &mut Session<'h>,
    line: &str,
    scratch: &mut [u8],
    page: &mut Page,
    terminal: &mut Terminal<'_>,
) -> Result<(), Gone> {
    let verb = line.split_ascii_whitespace().next();
    let Some(verb) = verb else {
        // Enter alone asks for a prompt.
        return Ok(());
    };
    console::Count::Commands.add(&house.ctx);
    if verb.eq_ignore_ascii_case("AUTH") {
        return terminal.line(AUTH).await;
    }
    if session.execute(line, scratch, page, terminal).await? == Next::Quit {
        // The next one begins where this one did.
        *session = root(house);
        // If NineDoor is away, there is another time.
        let _ = session.reattach_if_lost().await;
    }
    Ok(())
}

fn refuse(house: &House) {
    console::Count::Commands.add(&house.ctx);
    house.ctx.counters().refused(class(Reason::Policy));
}

/// Waits for a key, and meanwhile for NineDoor to come back.
async fn wait(session: &mut Session<'_>, connection: &Connection) -> Result<(), Gone> {
    loop {
        let typed = {
            let readable = pin!(connection.readable());
            let again = pin!(session.time_to_reattach());
            match select(readable, again).await {
                Either::Left((readable, _)) => {
                    readable.map_err(|_| Gone)?;
                    true
                }
                Either::Right(_) => false,
            }
        };
        if typed {
            return Ok(());
        }
        let _ = session.reattach_if_lost().await;
    }
}
