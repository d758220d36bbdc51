//! One session's own names: its binds and mounts.
//!
//! Answers for turning a path as the session sees it into the path it stands for. A bind's source is resolved when
//! the bind is made, so that a lookup rewrites once and no chain of binds can go round in a circle.
//!
//! Never checks that a source exists, never crosses sessions; the table ends with its session.

use protocol::limits::PATH_DEPTH;
use protocol::path::Path;

/// Binds and mounts of one session at most (WIRE 4.4).
pub const MAX_BINDS: usize = 8;
/// Bytes of a bind's source or target; console clients cannot name more than 96.
pub const BIND_PATH_BYTES: usize = 128;
/// Bytes of a path inside the door; nothing that exists has a longer name.
pub(crate) const PATH_BYTES: usize = 255;

/// A path of the namespace, absolute and checked component by component.
pub(crate) type PathBuf = heapless::String<PATH_BYTES>;

type BindPath = heapless::String<BIND_PATH_BYTES>;

/// Why a bind was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BindError {
    /// The session has as many as it may.
    Full,
    /// A path is relative, too long, has `..` or `*`, or the target is the root.
    Path,
}

#[derive(Clone, Debug)]
struct Bind {
    from: BindPath,
    to: BindPath,
}

/// The binds and mounts of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Binds {
    table: heapless::Vec<Bind, MAX_BINDS>,
}

impl Binds {
    /// Whether [`add`](Self::add) would succeed, given how many the session may have.
    pub(crate) fn check(&self, from: &str, to: &str, max: usize) -> Result<(), BindError> {
        self.prepare(from, to, max).map(drop)
    }

    /// Lets `to` stand for what `from` stands for now. An equal target is replaced.
    pub(crate) fn add(&mut self, from: &str, to: &str, max: usize) -> Result<(), BindError> {
        let bind = self.prepare(from, to, max)?;
        match self.table.iter_mut().find(|old| old.to == bind.to) {
            Some(old) => *old = bind,
            None => self.table.push(bind).map_err(|_| BindError::Full)?,
        }
        Ok(())
    }

    fn prepare(&self, from: &str, to: &str, max: usize) -> Result<Bind, BindError> {
        let usable = |text: &str| Path::parse(text).is_ok() && !text.contains('*');
        if !usable(from) || !usable(to) || to == "/" {
            return Err(BindError::Path);
        }
        let real = self.rewrite(from).ok_or(BindError::Path)?;
        let bind = Bind {
            from: BindPath::try_from(real.as_str()).map_err(|_| BindError::Path)?,
            to: BindPath::try_from(to).map_err(|_| BindError::Path)?,
        };
        if self.table.len() >= max.min(MAX_BINDS) && !self.table.iter().any(|old| old.to == bind.to) {
            return Err(BindError::Full);
        }
        Ok(bind)
    }

    /// What a path of the session stands for; `None` if that would be too long or too deep to exist.
    pub(crate) fn rewrite(&self, view: &str) -> Option<PathBuf> {
        let under = |bind: &&Bind| below(view, &bind.to).is_some();
        let Some(bind) = self.table.iter().filter(under).max_by_key(|bind| bind.to.len()) else {
            return PathBuf::try_from(view).ok();
        };
        let mut real = PathBuf::new();
        if bind.from != "/" {
            real.push_str(&bind.from).ok()?;
        }
        if let Some(rest) = below(view, &bind.to).filter(|rest| !rest.is_empty()) {
            real.push('/').ok()?;
            real.push_str(rest).ok()?;
        }
        if real.is_empty() {
            real.push('/').ok()?;
        }
        (real.split('/').filter(|part| !part.is_empty()).count() <= PATH_DEPTH).then_some(real)
    }

    /// The name that some bind's target has directly below `view`, from the `index`-th bind on.
    pub(crate) fn target_below<'a>(&'a self, view: &str, index: usize) -> Option<&'a str> {
        let rest = below(&self.table.get(index)?.to, view)?;
        rest.split('/').next()
    }

    /// Whether `view` lies above some bind's target, so that it exists as a directory at least.
    pub(crate) fn leads_to_target(&self, view: &str) -> bool {
        self.table
            .iter()
            .any(|bind| below(&bind.to, view).is_some_and(|rest| !rest.is_empty()))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// What follows `prefix` in `path`, component-wise and without a leading slash; `None` if it does not lie below.
pub(crate) fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix == "/" {
        return path.strip_prefix('/');
    }
    let rest = path.strip_prefix(prefix)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('/')
    }
}

/// Puts one component behind a path.
pub(crate) fn join(path: &PathBuf, name: &str) -> Option<PathBuf> {
    let mut joined = path.clone();
    if path != "/" {
        joined.push('/').ok()?;
    }
    joined.push_str(name).ok()?;
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(pairs: &[(&str, &str)]) -> Binds {
        let mut binds = Binds::default();
        for (from, to) in pairs {
            binds.add(from, to, MAX_BINDS).unwrap();
        }
        binds
    }

    #[test]
    fn the_longest_prefix_wins() {
        let binds = binds(&[("/log", "/a"), ("/proc", "/a/b"), ("/", "/all")]);
        for (view, real) in [
            ("/a", "/log"),
            ("/a/queen.log", "/log/queen.log"),
            ("/a/b", "/proc"),
            ("/a/b/boot", "/proc/boot"),
            ("/ab", "/ab"),
            ("/all", "/"),
            ("/all/log", "/log"),
            ("/", "/"),
        ] {
            assert_eq!(binds.rewrite(view).unwrap(), real, "{view}");
        }
    }

    #[test]
    fn a_source_is_what_it_was_when_the_bind_was_made() {
        let binds = binds(&[("/log", "/a"), ("/a", "/b"), ("/b", "/a"), ("/a", "/log")]);
        assert_eq!(binds.rewrite("/b/queen.log").unwrap(), "/log/queen.log");
        assert_eq!(binds.rewrite("/a/queen.log").unwrap(), "/log/queen.log");
        assert_eq!(binds.rewrite("/log/queen.log").unwrap(), "/log/queen.log");
    }

    #[test]
    fn eight_and_no_more() {
        let mut binds = Binds::default();
        for i in 0..MAX_BINDS {
            binds.add("/log", &std::format!("/to-{i}"), MAX_BINDS).unwrap();
        }
        assert_eq!(binds.check("/log", "/more", MAX_BINDS), Err(BindError::Full));
        assert_eq!(
            binds.add("/proc", "/to-3", MAX_BINDS),
            Ok(()),
            "an equal target is replaced"
        );
        assert_eq!(binds.rewrite("/to-3").unwrap(), "/proc");
        assert_eq!(binds.len(), MAX_BINDS);
    }

    #[test]
    fn paths_that_cannot_be_bound() {
        let long = std::format!("/{}", "x".repeat(BIND_PATH_BYTES));
        for (from, to) in [
            ("/proc/../boot", "/tmp"),
            ("/log", "/t*"),
            ("log", "/x"),
            ("/log", ""),
            ("/log", "/"),
            ("/log", &long),
        ] {
            assert_eq!(
                Binds::default().check(from, to, MAX_BINDS),
                Err(BindError::Path),
                "{from} {to}"
            );
        }
    }

    #[test]
    fn a_rewritten_path_has_the_same_bounds() {
        let deep = binds(&[("/a/b/c/d/e/f/g", "/x")]);
        assert!(deep.rewrite("/x/h").is_some());
        assert_eq!(deep.rewrite("/x/h/i"), None);
    }

    #[test]
    fn targets_are_found_from_above() {
        let binds = binds(&[("/log", "/tmp/logs/mine"), ("/proc", "/p")]);
        assert!(binds.leads_to_target("/") && binds.leads_to_target("/tmp/logs"));
        assert!(!binds.leads_to_target("/p") && !binds.leads_to_target("/tm"));
        assert_eq!(binds.target_below("/tmp", 0), Some("logs"));
        assert_eq!(binds.target_below("/", 1), Some("p"));
        assert_eq!(binds.target_below("/tmp", 1), None);
    }
}
