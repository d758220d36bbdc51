//! Every limit of the wire, with its unit, its reason and its source.
//!
//! Answers for the numbers both sides must agree on. It never holds a limit that only one actor
//! knows; those are that actor's configuration.

/// Bytes of a console frame, its 4 length bytes included; clients refuse more (WIRE 1.1).
pub const FRAME_BYTES: usize = 8192;
/// Bytes of the length field in front of every frame.
pub const FRAME_HEADER_BYTES: usize = 4;
/// Bytes of the longest line a frame can carry to a client.
pub const OUT_LINE_BYTES: usize = FRAME_BYTES - FRAME_HEADER_BYTES;
/// Bytes of a line we accept from a client (CONTROL 1).
pub const LINE_BYTES: usize = 2304;
/// Bytes of a line we accept before authentication: there is nothing to say but AUTH (WIRE 1.1).
pub const PRE_AUTH_LINE_BYTES: usize = 256;
/// Bytes of an authentication token, so that `AUTH <token>` fits a pre-auth line.
pub const AUTH_TOKEN_BYTES: usize = PRE_AUTH_LINE_BYTES - "AUTH ".len();

/// Bytes of a role argument (WIRE 1.5).
pub const ROLE_BYTES: usize = 16;
/// Bytes of a ticket as text (WIRE 2.1).
pub const TICKET_BYTES: usize = 224;
/// Bytes of a path argument on the console (WIRE 1.5).
pub const CONSOLE_PATH_BYTES: usize = 96;
/// Bytes of an ECHO payload (CONTROL 1).
pub const ECHO_BYTES: usize = 2048;
/// Bytes of a SPAWN payload (WIRE 1.5).
pub const SPAWN_BYTES: usize = 192;
/// Bytes of a worker id (WIRE 1.5).
pub const WORKER_ID_BYTES: usize = 32;

/// Components of a path (WIRE 3.3).
pub const PATH_DEPTH: usize = 8;
/// Bytes of a path component (WIRE 3.3, the documents' value).
pub const COMPONENT_BYTES: usize = 255;

/// Lines of one C1 group (CONTROL 1).
pub const CHUNK_LINES: usize = 64;
/// Bytes of one line of a C1 group (CONTROL 1).
pub const CHUNK_LINE_BYTES: usize = 256;
/// Bytes of a record carried by a C1 group (CONTROL 1).
pub const RECORD_BYTES: usize = 8192;
/// Base64 digits in one `b64:` line (CONTROL 1); 189 bytes.
pub const B64_DIGITS: usize = 252;

/// Bytes of the detail of an `OK CAT`, its `data=` preview included (WIRE 1.7).
pub const CAT_DETAIL_BYTES: usize = 128;
/// Bytes of a line that may go whole into the `data=` preview (WIRE 1.7).
pub const SUMMARY_LINE_BYTES: usize = 64;

/// Scopes the claims of a ticket may carry at most (WIRE 2.3).
pub const TICKET_SCOPES: usize = 16;
/// Bytes of a string in ticket claims (WIRE 2.3).
pub const TICKET_STRING_BYTES: usize = 255;
/// Bytes of a `/queen/ctl` line: an ECHO payload.
pub const CONTROL_BYTES: usize = ECHO_BYTES;
/// Bytes of a line on the queen's private links to worker domains and NineDoor.
pub const WORKER_RECORD_BYTES: usize = 512;
