//! `echo TEXT > PATH` in two parts.
//!
//! Answers for where the text ends and for its quotes. Never changes the text otherwise.

/// Splits what follows `echo` into text and path, both without the blanks and the quotes around them.
///
/// The first `>` separates them, except that a quoted text ends with its closing quote. `>>` is taken as `>`: files of
/// a hive that can be written are appended to.
pub(super) fn split(arguments: &str) -> Option<(&str, &str)> {
    let arguments = arguments.trim();
    let (text, path) = split_quoted(arguments).or_else(|| arguments.split_once('>'))?;
    let path = path.strip_prefix('>').unwrap_or(path);
    Some((unquote(text.trim()), unquote(path.trim())))
}

/// Splits behind the closing quote of a text that begins with one.
fn split_quoted(arguments: &str) -> Option<(&str, &str)> {
    let quote = arguments.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let closings = arguments.match_indices(quote).skip(1);
    closings
        .map(|(at, _)| arguments.split_at(at + 1))
        .find_map(|(text, rest)| Some((text, rest.trim_start().strip_prefix('>')?)))
}

/// The text without one matching pair of quotes around it.
pub(super) fn unquote(text: &str) -> &str {
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_path() {
        for (arguments, expected) in [
            ("hello > /log/queen.log", Some(("hello", "/log/queen.log"))),
            ("two  words>/f", Some(("two  words", "/f"))),
            (
                "'{\"a\":\"b\"}' > /queen/ctl",
                Some(("{\"a\":\"b\"}", "/queen/ctl")),
            ),
            (
                "{\"a\":\"b\"} > /queen/ctl",
                Some(("{\"a\":\"b\"}", "/queen/ctl")),
            ),
            ("\"x\" > \"/f\"", Some(("x", "/f"))),
            ("\"'x'\" > /f", Some(("'x'", "/f"))),
            ("'a > b' > /f", Some(("a > b", "/f"))),
            ("it's > /f", Some(("it's", "/f"))),
            ("'it's > /f", Some(("'it's", "/f"))),
            ("a > b > /f", Some(("a", "b > /f"))),
            ("x >> /f", Some(("x", "/f"))),
            ("\"x > /f", Some(("\"x", "/f"))),
            (" > /f", Some(("", "/f"))),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(split(arguments), expected, "{arguments}");
        }
    }
}
