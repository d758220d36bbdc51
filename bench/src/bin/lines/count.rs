//! Lines of code in a file as rustfmt leaves it.
//!
//! Answers for leaving out blank lines, comments, and items for tests: from `#[cfg(test)]`, or `any` and `all` of it and
//! more, to the closing brace at the attribute's own indentation.
//! Never parses Rust: a line inside a string counts as what it looks like.

/// How an attribute begins that makes an item one for tests.
const FOR_TESTS: [&str; 3] = ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(any(test"];

/// Code lines of the text of a file.
pub fn code_lines(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.trim();
        if code.starts_with("/*") {
            skip_comment(code, &mut lines);
        } else if FOR_TESTS.iter().any(|attribute| code.starts_with(attribute)) {
            skip_item(line.len() - line.trim_start().len(), &mut lines);
        } else if is_code(code) {
            count += 1;
        }
    }
    count
}

fn is_code(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("//")
}

fn skip_comment<'a>(first: &str, lines: &mut impl Iterator<Item = &'a str>) {
    if !first.contains("*/") {
        lines.find(|line| line.contains("*/"));
    }
}

/// Skips the item after an attribute at that indentation.
fn skip_item<'a>(indentation: usize, lines: &mut impl Iterator<Item = &'a str>) {
    for line in lines {
        let code = line.trim();
        let outermost = line.len() - line.trim_start().len() == indentation;
        if !outermost || !is_code(code) || code.starts_with("#[") {
            continue;
        }
        // A declaration, a field, a whole item in one line, or the end of a longer one.
        if code.ends_with([';', ',', '}']) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_and_comments_are_no_code() {
        let text = "//! Head.\n\n/// What.\nfn f() {\n    // why\n    g(); // how\n    /* one */\n    /* two\n    h();\n    */\n}\n";
        assert_eq!(code_lines(text), 3);
        assert_eq!(code_lines(""), 0);
    }

    #[test]
    fn items_for_tests_are_no_code() {
        for item in [
            "#[cfg(test)]\nmod tests;\n",
            "#[cfg(test)]\nextern crate std;\n",
            "#[cfg(all(test, not(loom)))]\nmod tests {\n    fn f() {\n    }\n\n    fn g() {}\n}\n",
            "#[cfg(any(test, fuzzing))]\n/// Doc.\n#[allow(x)]\npub fn f(\n    a: u8,\n) -> u8 {\n    a\n}\n",
            "#[cfg(test)]\nfn f() {}\n",
        ] {
            let text = format!("fn before() {{}}\n{item}fn after() {{}}\n");
            assert_eq!(code_lines(&text), 2, "{item}");
        }
        let field = "struct S {\n    #[cfg(test)]\n    a: u8,\n    b: u8,\n}\n";
        assert_eq!(code_lines(field), 3);
    }
}
