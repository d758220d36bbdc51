//! What the JSON lines of this crate have in common.
//!
//! Answers for `null` not being a value, for strings that need no escapes, and for walking over an object whose values
//! may be of any shape: what it accepts is JSON (RFC 8259), to its last byte. It never buffers.

use core::ops::ControlFlow;

use serde::{Deserialize, Deserializer};

/// How deep arrays and objects may be nested inside of a value.
const DEPTH: usize = 16;

/// Reads a field that may be absent, not `null`.
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Whether `text` reads the same with and without JSON escapes. Names and paths do.
pub(crate) fn plain(text: &str) -> bool {
    !text.bytes().any(|b| b == b'"' || b == b'\\' || b < 0x20)
}

/// Shows `field` the name and the value of each field of the object that `text` is, in their order. Names are as they
/// are written, escapes and all. `None` if the text is no object, or if `field` says so.
pub(crate) fn object<'a>(
    text: &'a str,
    mut field: impl FnMut(&'a str, Value<'a>) -> Option<()>,
) -> Option<()> {
    let mut scan = Scan { text, at: 0 };
    scan.members(DEPTH, &mut |name, value| match field(name, value) {
        Some(()) => ControlFlow::Continue(()),
        None => ControlFlow::Break(()),
    })?;
    scan.space();
    (scan.at == text.len()).then_some(())
}

/// A value as it is written; it is JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// Whether it is `null`.
    pub(crate) fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Whether it is an array or an object.
    pub(crate) fn is_nested(self) -> bool {
        self.0.starts_with(['[', '{'])
    }

    /// Whether it is `true` or `false`.
    pub(crate) fn is_bool(self) -> bool {
        matches!(self.0, "true" | "false")
    }

    /// The text between the quotes of a string, escapes and all.
    pub(crate) fn escaped(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// A string that needs no escapes.
    pub(crate) fn text(self) -> Option<&'a str> {
        self.escaped().filter(|text| plain(text))
    }

    /// A number. One beyond what an `f64` holds is infinite.
    pub(crate) fn number(self) -> Option<f64> {
        self.0
            .starts_with(|c: char| c == '-' || c.is_ascii_digit())
            .then(|| self.0.parse().ok())?
    }
}

/// Writes what an escaped string means into `out`. `None` if it does not fit or an escape means no character.
pub(crate) fn unescape<'o>(escaped: &str, out: &'o mut [u8]) -> Option<&'o str> {
    let mut len = 0;
    let mut rest = escaped;
    let mut put = |text: &str| {
        out.get_mut(len..len + text.len())?
            .copy_from_slice(text.as_bytes());
        len += text.len();
        Some(())
    };
    while let Some((plain, after)) = rest.split_once('\\') {
        put(plain)?;
        let mut chars = after.chars();
        let character = match chars.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (first, after) = unit(chars.as_str())?;
                chars = after.chars();
                match first {
                    // The first half of a pair: the second follows.
                    0xd800..=0xdbff => {
                        let (second, after) = unit(chars.as_str().strip_prefix("\\u")?)?;
                        chars = after.chars();
                        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low)?
                    }
                    _ => char::from_u32(first)?,
                }
            }
            _ => return None,
        };
        put(character.encode_utf8(&mut [0; 4]))?;
        rest = chars.as_str();
    }
    put(rest)?;
    core::str::from_utf8(out.get(..len)?).ok()
}

/// The four hex digits that `text` begins with, and what follows them.
fn unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex.then(|| Some((u32::from_str_radix(digits, 16).ok()?, rest)))?
}

type Visit<'v, 'a> = &'v mut dyn FnMut(&'a str, Value<'a>) -> ControlFlow<()>;

/// A place in a text; what is before it is JSON.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space is this one.
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        self.take(byte)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        self.space();
        let from = self.at;
        match self.peek()? {
            b'"' => self.string().map(drop)?,
            b'{' => self.members(depth.checked_sub(1)?, &mut |_, _| ControlFlow::Continue(()))?,
            b'[' => self.elements(depth.checked_sub(1)?)?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => self.number()?,
        }
        self.text.get(from..self.at).map(Value)
    }

    fn members(&mut self, depth: usize, visit: Visit<'_, 'a>) -> Option<()> {
        self.expect(b'{')?;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            self.space();
            let name = self.string()?;
            self.expect(b':')?;
            let value = self.value(depth)?;
            if visit(name, value).is_break() {
                return None;
            }
            self.space();
            if self.take(b'}').is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    fn elements(&mut self, depth: usize) -> Option<()> {
        self.take(b'[')?;
        self.space();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if self.take(b']').is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    /// What is between the quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let from = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'u' => {
                            unit(self.text.get(self.at + 1..)?)?;
                            self.at += 5;
                        }
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        let inside = self.text.get(from..self.at);
        self.at += 1;
        inside
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text
            .get(self.at..)?
            .starts_with(word)
            .then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        // Each part is there or not, but for the digits before the point.
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn fields(text: &str) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        object(text, |name, value| {
            fields.push((name.to_string(), value.0.to_string()));
            Some(())
        })?;
        Some(fields)
    }

    #[test]
    fn an_object_of_everything() {
        let text = r#" {"a":[1,{"b":null}], "c" : "x\"\u00e9" ,"d":-0.5e+3,"e":true,"f":{},"g":[]} "#;
        let names: String = fields(text)
            .unwrap()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, "acdefg");
        assert_eq!(fields(text).unwrap()[0].1, r#"[1,{"b":null}]"#);
        assert_eq!(fields("{}"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_json_object() {
        for text in [
            "",
            "1",
            "[]",
            "{",
            "{}x",
            "{}{}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{a:1}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{"a":tru}"#,
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"a":[1 2]}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":"b}"#,
            r#"{'a':1}"#,
            r#"{"a":+1}"#,
            r#"{"a":"\u+123"}"#,
        ] {
            assert_eq!(fields(text), None, "{text}");
        }
        let nested = |depth: usize| std::format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(fields(&nested(DEPTH)).is_some() && fields(&nested(DEPTH + 1)).is_none());
    }

    #[test]
    fn values_are_what_they_look_like() {
        assert_eq!(
            (Value("-1.5e2").number(), Value("1e999").number()),
            (Some(-150.0), Some(f64::INFINITY))
        );
        assert_eq!((Value("true").number(), Value("\"1\"").number()), (None, None));
        assert_eq!(
            (Value(r#""a\n""#).text(), Value("\"a\"").text()),
            (None, Some("a"))
        );
        assert!(Value("null").is_null() && Value("{}").is_nested() && Value("false").is_bool());
    }

    #[test]
    fn escapes() {
        for (escaped, meant) in [
            (r#"a\"b\\\/"#, Some("a\"b\\/")),
            (r"\u00e9\ud83d\ude00\n\t\r\b\f", Some("é😀\n\t\r\u{8}\u{c}")),
            (r"\ud83d", None),
            (r"\ud83d\u0041", None),
            (r"\ude00", None),
            (r"\", None),
            (r"\u12", None),
        ] {
            assert_eq!(unescape(escaped, &mut [0; 32]), meant, "{escaped}");
        }
        assert_eq!(unescape("abc", &mut [0; 2]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_an_object_or_not(text in "[{}\\[\\]:,\"\\\\ua-f0-9.eE+ -]{0,60}|\\PC{0,60}") {
            let _ = fields(&text);
            let _ = unescape(&text, &mut [0; 64]);
        }

        #[test]
        fn a_string_survives(text in "(\\PC|[\"\\\\\u{0}-\u{1f}]){0,40}") {
            let mut escaped = String::new();
            for unit in text.encode_utf16() {
                escaped += &std::format!("\\u{unit:04x}");
            }
            let mut out = [0; 256];
            prop_assert_eq!(unescape(&escaped, &mut out), Some(text.as_str()));
        }
    }
}
