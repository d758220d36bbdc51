//! Absolute paths of the namespace, checked once.
//!
//! Answers for the syntax: absolute, at most 8 components of 255 bytes, none of them empty, `.`, `..`
//! or with a NUL. It never knows which paths exist.

use core::fmt;

use crate::limits::{COMPONENT_BYTES, PATH_DEPTH};

/// An absolute path that kept every rule of this module. `/` is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path<'a>(&'a str);

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with `/`.
    Relative,
    /// It has two slashes in a row, or one at its end.
    EmptyComponent,
    /// It has a component `.` or `..`.
    DotComponent,
    /// It has a NUL byte.
    Nul,
    /// It has a component of more than 255 bytes.
    LongComponent,
    /// It has more than 8 components.
    TooDeep,
}

impl<'a> Path<'a> {
    /// The root directory.
    pub const ROOT: Path<'static> = Path("/");

    /// Checks `text`.
    pub fn parse(text: &'a str) -> Result<Path<'a>, PathError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(PathError::Relative);
        };
        if !rest.is_empty() {
            let mut depth = 0;
            for component in rest.split('/') {
                check_component(component)?;
                depth += 1;
                if depth > PATH_DEPTH {
                    return Err(PathError::TooDeep);
                }
            }
        }
        Ok(Path(text))
    }

    /// The path as it was written.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Its components from the root; none for `/`.
    pub fn components(self) -> impl DoubleEndedIterator<Item = &'a str> + Clone {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// The number of its components, 0 to 8.
    pub fn depth(self) -> usize {
        self.components().count()
    }

    /// The last component, `None` for `/`.
    pub fn last(self) -> Option<&'a str> {
        self.components().next_back()
    }

    /// Whether `prefix` is this path or a directory above it: `/log` is above `/log/queen.log`, not
    /// above `/logs`.
    pub fn starts_with(self, prefix: Path<'_>) -> bool {
        self.strip_prefix(prefix).is_some()
    }

    /// What follows `prefix`, without a leading slash (empty if both are the same); `None` if
    /// `prefix` is neither this path nor above it.
    pub fn strip_prefix(self, prefix: Path<'_>) -> Option<&'a str> {
        if prefix.0 == "/" {
            return self.0.strip_prefix('/');
        }
        let rest = self.0.strip_prefix(prefix.0)?;
        if rest.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix('/')
        }
    }
}

/// Checks one component by itself, as a 9P walk gives them.
pub fn check_component(component: &str) -> Result<(), PathError> {
    match component {
        "" => Err(PathError::EmptyComponent),
        "." | ".." => Err(PathError::DotComponent),
        _ if component.len() > COMPONENT_BYTES => Err(PathError::LongComponent),
        _ if component.contains('\0') => Err(PathError::Nul),
        _ => Ok(()),
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathError::Relative => "path is relative; it must begin with /",
            PathError::EmptyComponent => "path has an empty component; write single slashes, none at the end",
            PathError::DotComponent => "path has a . or .. component; name the file itself",
            PathError::Nul => "path has a NUL byte; remove it",
            PathError::LongComponent => "path component exceeds 255 bytes; shorten it",
            PathError::TooDeep => "path exceeds 8 components; shorten it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn rules() {
        let long = String::from("/") + &"a".repeat(256);
        for (text, want) in [
            ("", Err(PathError::Relative)),
            ("log", Err(PathError::Relative)),
            ("/proc/", Err(PathError::EmptyComponent)),
            ("//", Err(PathError::EmptyComponent)),
            ("/a//b", Err(PathError::EmptyComponent)),
            ("/proc/../boot", Err(PathError::DotComponent)),
            ("/./a", Err(PathError::DotComponent)),
            ("/a\0b", Err(PathError::Nul)),
            ("/a/b/c/d/e/f/g/h/i", Err(PathError::TooDeep)),
            (&long, Err(PathError::LongComponent)),
            ("/", Ok(0)),
            ("/log", Ok(1)),
            ("/a/b/c/d/e/f/g/h", Ok(8)),
            ("/...", Ok(1)),
        ] {
            assert_eq!(Path::parse(text).map(Path::depth), want, "{text:?}");
        }
    }

    #[test]
    fn prefixes_are_by_component() {
        let path = |text| Path::parse(text).unwrap();
        assert_eq!(
            path("/log/queen.log").strip_prefix(path("/log")),
            Some("queen.log")
        );
        assert_eq!(path("/log").strip_prefix(path("/log")), Some(""));
        assert_eq!(path("/logs").strip_prefix(path("/log")), None);
        assert_eq!(path("/log").strip_prefix(path("/log/queen.log")), None);
        assert_eq!(path("/log").strip_prefix(Path::ROOT), Some("log"));
        assert!(Path::ROOT.starts_with(Path::ROOT));
    }

    #[test]
    fn components_in_order() {
        let path = Path::parse("/shard/13/worker").unwrap();
        assert_eq!(path.components().collect::<Vec<_>>(), ["shard", "13", "worker"]);
        assert_eq!(path.last(), Some("worker"));
        assert_eq!(Path::ROOT.last(), None);
    }
}
