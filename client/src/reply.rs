//! Answers: an acknowledgement line and the lines that came with it.
//!
//! Answers for reading fields out of an acknowledgement. Never interprets a content line.

use core::fmt;

/// An acknowledgement line, `OK <VERB> [detail]` or `ERR <VERB> [detail]`, kept as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    line: String,
}

impl Ack {
    pub(crate) fn new(line: &str) -> Self {
        Self {
            line: line.to_owned(),
        }
    }

    /// The line as received.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Whether it says `OK`.
    pub fn is_ok(&self) -> bool {
        self.line.split(' ').next() == Some("OK")
    }

    /// The verb, as the hive spelled it; empty if the line has none.
    pub fn verb(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or("")
    }

    /// What follows the verb; empty if nothing does.
    pub fn detail(&self) -> &str {
        self.line.splitn(3, ' ').nth(2).unwrap_or("")
    }

    /// The value of `key=value` among the detail's space-separated fields. Values with spaces come last and are not
    /// found whole by this: see [`Ack::tail_field`].
    pub fn field(&self, key: &str) -> Option<&str> {
        self.detail()
            .split(' ')
            .find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
    }

    /// The value of the detail's last field, which may contain spaces: everything after the first ` key=`.
    pub fn tail_field(&self, key: &str) -> Option<&str> {
        let detail = self.detail();
        let mut from = 0;
        while let Some(at) = detail[from..].find(key) {
            let (start, end) = (from + at, from + at + key.len());
            let whole = start == 0 || detail.as_bytes()[start - 1] == b' ';
            match detail[end..].strip_prefix('=') {
                Some(value) if whole => return Some(value),
                _ => from = end,
            }
        }
        None
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// One command's whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The acknowledgement; `ERR` as well as `OK`.
    pub ack: Ack,
    /// The content lines, without `END`, long records put together again. Empty if the command was refused.
    pub lines: Vec<String>,
}

impl Reply {
    /// The reply if it was `OK`, else the refusal.
    pub fn accepted(self) -> Result<Reply, Refusal> {
        if self.ack.is_ok() {
            Ok(self)
        } else {
            Err(Refusal { ack: self.ack })
        }
    }
}

/// A command that the hive refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    ack: Ack,
}

impl Refusal {
    /// The whole `ERR` line.
    pub fn ack(&self) -> &Ack {
        &self.ack
    }

    /// The class: `busy`, `quota`, `cut` or `policy`; empty if the hive gave none.
    pub fn reason(&self) -> &str {
        self.ack.field("reason").unwrap_or("")
    }

    /// The tag after `detail=`; of a parse error only its first word (the text has spaces).
    pub fn detail(&self) -> &str {
        self.ack.field("detail").unwrap_or("")
    }

    /// Whether the same command may succeed later without anybody changing anything.
    pub fn is_busy(&self) -> bool {
        self.reason() == "busy"
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.ack.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_in_parts() {
        let ack = Ack::new("OK CAT path=/log/queen.log data=a b|path=c");
        assert!(ack.is_ok());
        assert_eq!(ack.verb(), "CAT");
        assert_eq!(ack.field("path"), Some("/log/queen.log"));
        assert_eq!(ack.field("data"), Some("a"));
        assert_eq!(ack.tail_field("data"), Some("a b|path=c"));
        assert_eq!(ack.tail_field("ath"), None);
        let bare = Ack::new("OK AUTH");
        assert_eq!((bare.verb(), bare.detail(), bare.field("x")), ("AUTH", "", None));
        assert_eq!(Ack::new("ERR").verb(), "");
    }

    #[test]
    fn a_refusal_tells_its_class_and_tag() {
        let ack = Ack::new("ERR CAT reason=policy detail=invalid-path path=/nope error=invalid path");
        let refusal = Reply { ack, lines: vec![] }.accepted().unwrap_err();
        assert_eq!((refusal.reason(), refusal.detail()), ("policy", "invalid-path"));
        assert_eq!(refusal.ack().tail_field("error"), Some("invalid path"));
        assert!(!refusal.is_busy());
        assert!(
            Refusal {
                ack: Ack::new("ERR LS reason=busy detail=unavailable")
            }
            .is_busy()
        );
    }
}
