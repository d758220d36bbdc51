//! Breadcrumbs: lines of `/gpu/<id>/status` that tell what ran.
//!
//! Answers for the form and the bounds of WIRE 4.8 and 6.1. A command's text is cut, never a field.

use client::telemetry::{fitting, to_line};
use serde::Serialize;

/// Bytes of a line (WIRE 6.1).
const MAX_LINE_BYTES: usize = 512;
/// Bytes of the command's text in it (WIRE 6.1).
const MAX_COMMAND_BYTES: usize = 256;

/// A line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Breadcrumb<'a> {
    schema: &'static str,
    event: &'static str,
    command: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

impl<'a> Breadcrumb<'a> {
    fn new(event: &'static str, command: &'a str, status: &'static str, exit_code: Option<u8>) -> Self {
        Self {
            schema: "gpu-breadcrumb/v1",
            event,
            command,
            status,
            exit_code,
        }
    }

    /// The command is about to start.
    pub(super) fn start(command: &'a str) -> Self {
        Self::new("START", command, "RUNNING", None)
    }

    /// The command has ended.
    pub(super) fn exit(command: &'a str, code: u8) -> Self {
        Self::new("EXIT", command, if code == 0 { "OK" } else { "ERR" }, Some(code))
    }

    /// The command could not be started.
    pub(super) fn not_started(command: &'a str) -> Self {
        Self::new("EXIT", command, "ERR", None)
    }

    /// The line.
    pub(super) fn line(&self) -> String {
        let with = |command| {
            to_line(&Self {
                command,
                ..self.clone()
            })
        };
        let bytes = self.command.floor_char_boundary(MAX_COMMAND_BYTES);
        let command = &self.command[..bytes];
        let room = MAX_LINE_BYTES.saturating_sub(with("").len());
        with(&command[..fitting(command, room)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lines_of_wire_4_8() {
        assert_eq!(
            Breadcrumb::start("echo hi").line(),
            r#"{"schema":"gpu-breadcrumb/v1","event":"START","command":"echo hi","status":"RUNNING"}"#
        );
        assert_eq!(
            Breadcrumb::exit("false", 1).line(),
            r#"{"schema":"gpu-breadcrumb/v1","event":"EXIT","command":"false","status":"ERR","exit_code":1}"#
        );
        assert!(
            Breadcrumb::exit("true", 0)
                .line()
                .contains(r#""status":"OK","exit_code":0}"#)
        );
        assert_eq!(
            Breadcrumb::not_started("x").line(),
            r#"{"schema":"gpu-breadcrumb/v1","event":"EXIT","command":"x","status":"ERR"}"#
        );
    }

    proptest! {
        #[test]
        fn any_command_fits(command in "[\\PC\"\\\\\n\u{1}]{0,600}", code: u8) {
            let line = Breadcrumb::exit(&command, code).line();
            prop_assert!(line.len() <= MAX_LINE_BYTES, "{}", line.len());
            prop_assert!(!line.contains(char::is_control));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let said = value["command"].as_str().unwrap();
            prop_assert!(said.len() <= MAX_COMMAND_BYTES && command.starts_with(said));
        }
    }
}
