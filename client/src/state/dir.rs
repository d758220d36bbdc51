//! The state directory: what the hive leaves there for the tools of the same user.
//!
//! Answers for the place, the names, the modes (0700 directory, 0600 files) and for writes that are atomic: a reader
//! sees the old file or the new one, a crash leaves either. Never makes up a secret (the caller's generator does), and
//! never reads a token file that others may read too.

use core::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::env::Environment;
use super::secret::{Secret, SecretError};
use super::tickets::{TicketSecrets, TicketsError};

const AUTH_TOKEN: &str = "auth-token";
const TICKETS: &str = "tickets.toml";

/// A state directory, which need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The directory `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory to use: the tool's flag, else `$COH_STATE`, else `$XDG_STATE_HOME/cohesix`, else
    /// `~/.local/state/cohesix`.
    pub fn locate(flag: Option<&Path>, env: &Environment) -> Result<Self, StateError> {
        if let Some(path) = flag {
            return Ok(Self::at(path));
        }
        if let Some(path) = env.var("COH_STATE") {
            return Ok(Self::at(path));
        }
        // The XDG base directory specification: a relative path there is to be ignored.
        if let Some(path) = env
            .var("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
        {
            return Ok(Self::at(path.join("cohesix")));
        }
        match env.var("HOME") {
            Some(home) => Ok(Self::at(Path::new(&home).join(".local/state/cohesix"))),
            None => Err(StateError::NoHome),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the auth token.
    pub fn auth_token_path(&self) -> PathBuf {
        self.path.join(AUTH_TOKEN)
    }

    /// The file with the ticket secrets.
    pub fn tickets_path(&self) -> PathBuf {
        self.path.join(TICKETS)
    }

    /// Makes the directory, mode 0700, if it is missing; one that exists is left as it is.
    pub fn prepare(&self) -> Result<(), StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|e| StateError::io("make the directory", &self.path, e))
    }

    /// The auth token; `None` if there is no such file.
    pub fn auth_token(&self) -> Result<Option<Secret>, StateError> {
        let path = self.auth_token_path();
        if !is_private(&path)? {
            return Ok(None);
        }
        match Secret::read_from(&path) {
            Ok(token) => Ok(Some(token)),
            Err(why) => Err(StateError::BadToken { path, why }),
        }
    }

    /// The ticket secrets; `None` if there is no such file.
    pub fn tickets(&self) -> Result<Option<TicketSecrets>, StateError> {
        let path = self.tickets_path();
        if !is_private(&path)? {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(|e| StateError::io("read", &path, e))?;
        match TicketSecrets::parse(&text, &Environment::process()) {
            Ok(secrets) => Ok(Some(secrets)),
            Err(why) => Err(StateError::BadTickets { path, why }),
        }
    }

    /// Writes the auth token, replacing an earlier one.
    pub fn write_auth_token(&self, token: &Secret) -> Result<(), StateError> {
        self.replace(&self.auth_token_path(), &format!("{}\n", token.expose()))
    }

    /// Writes the ticket secrets, replacing earlier ones. Those that are there are not written again: a hive starts on a
    /// disk that is full.
    pub fn write_tickets(&self, secrets: &TicketSecrets) -> Result<(), StateError> {
        if self.tickets()?.as_ref() == Some(secrets) {
            return Ok(());
        }
        self.replace(&self.tickets_path(), &secrets.render())
    }

    /// The auth token that is there, or else the one that `generate` makes, written before this returns. Of two hives
    /// that start at once both return the same token.
    pub fn auth_token_or_create(&self, generate: impl FnOnce() -> Secret) -> Result<Secret, StateError> {
        let path = self.auth_token_path();
        if let Some(token) = self.auth_token()? {
            return Ok(token);
        }
        let token = generate();
        self.create(&path, &format!("{}\n", token.expose()))?;
        self.auth_token()?.ok_or_else(|| StateError::vanished(path))
    }

    /// The ticket secrets that are there, or else those that `generate` makes, as [`Self::auth_token_or_create`].
    pub fn tickets_or_create(
        &self,
        generate: impl FnOnce() -> TicketSecrets,
    ) -> Result<TicketSecrets, StateError> {
        let path = self.tickets_path();
        if let Some(secrets) = self.tickets()? {
            return Ok(secrets);
        }
        self.create(&path, &generate().render())?;
        self.tickets()?.ok_or_else(|| StateError::vanished(path))
    }

    fn replace(&self, path: &Path, content: &str) -> Result<(), StateError> {
        let temporary = self.write_temporary(path, content)?;
        let moved = fs::rename(&temporary, path).map_err(|e| StateError::io("replace", path, e));
        if moved.is_err() {
            discard(&temporary);
        }
        moved.and_then(|()| self.sync())
    }

    /// Like `replace`, but a file that is already there stays and wins.
    fn create(&self, path: &Path, content: &str) -> Result<(), StateError> {
        let temporary = self.write_temporary(path, content)?;
        let linked = match fs::hard_link(&temporary, path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|e| StateError::io("create", path, e)),
        };
        discard(&temporary);
        linked.and_then(|()| self.sync())
    }

    fn write_temporary(&self, path: &Path, content: &str) -> Result<PathBuf, StateError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.prepare()?;
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let temporary = self.path.join(format!(".{name}.{}.{n}", std::process::id()));
        // A leftover of a crashed process that had our id: it is ours to replace.
        discard(&temporary);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(content.as_bytes()).and_then(|()| file.sync_all()));
        match written {
            Ok(()) => Ok(temporary),
            Err(e) => {
                discard(&temporary);
                Err(StateError::io("write", &temporary, e))
            }
        }
    }

    /// Makes a rename or a link in the directory durable.
    fn sync(&self) -> Result<(), StateError> {
        File::open(&self.path)
            .and_then(|d| d.sync_all())
            .map_err(|e| StateError::io("sync", &self.path, e))
    }
}

/// Removes a temporary file. That it fails is of no consequence: it is private and no reader knows its name.
fn discard(temporary: &Path) {
    let _ = fs::remove_file(temporary);
}

/// Whether `path` exists; an error if others than its owner may read or write it.
fn is_private(path: &Path) -> Result<bool, StateError> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(StateError::io("look at", path, e)),
    };
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StateError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(true)
}

/// Why the state directory could not be used.
#[derive(Debug)]
pub enum StateError {
    /// Neither a flag nor the environment says where it is.
    NoHome,
    /// The system refused an operation.
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A file with secrets can be read or written by others.
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The token file holds no token.
    BadToken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: SecretError,
    },
    /// The ticket file does not parse.
    BadTickets {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: TicketsError,
    },
}

impl StateError {
    fn io(doing: &'static str, path: &Path, why: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            why,
        }
    }

    /// Somebody removed a file between its creation and its first use.
    fn vanished(path: PathBuf) -> Self {
        Self::Io {
            doing: "read",
            path,
            why: io::ErrorKind::NotFound.into(),
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHome => f.write_str("no state directory: give --state DIR or set COH_STATE or HOME"),
            Self::Io { doing, path, why } => write!(f, "cannot {doing} {}: {why}", path.display()),
            Self::Exposed { path, mode } => write!(
                f,
                "{} has mode {mode:03o}, so others may read the secrets in it; run chmod 600 on it",
                path.display()
            ),
            Self::BadToken { path, why } => write!(f, "{} holds no auth token: {why}", path.display()),
            Self::BadTickets { path, why } => write!(f, "{} holds no ticket secrets: {why}", path.display()),
        }
    }
}

impl std::error::Error for StateError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    #[test]
    fn the_place_is_the_flags_then_the_environments() {
        let all = [("COH_STATE", "/c"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        let at = |flag: Option<&str>, env: &[(&str, &str)]| {
            let env = Environment::of(env.iter().copied());
            StateDir::locate(flag.map(Path::new), &env)
                .map(|d| d.path().display().to_string())
                .ok()
        };
        assert_eq!(at(Some("/f"), &all), Some("/f".into()));
        assert_eq!(at(None, &all), Some("/c".into()));
        assert_eq!(at(None, &all[1..]), Some("/x/cohesix".into()));
        assert_eq!(
            at(None, &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
            Some("/h/.local/state/cohesix".into())
        );
        assert_eq!(at(None, &[]), None);
    }

    #[test]
    fn what_is_written_is_private_and_is_read_back() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::at(root.path().join("deep/state"));
        assert_eq!(state.auth_token().unwrap(), None);
        assert!(state.tickets().unwrap().is_none());
        state.write_auth_token(&secret("one")).unwrap();
        state.write_auth_token(&secret("two")).unwrap();
        assert_eq!(state.auth_token().unwrap(), Some(secret("two")));
        assert_eq!(mode(&state.auth_token_path()), 0o600);
        assert_eq!(mode(state.path()), 0o700);
        let names: Vec<_> = fs::read_dir(state.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["auth-token"], "no temporary file stays behind");
    }

    #[test]
    fn a_token_that_exists_is_kept_and_racing_creators_agree() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::at(root.path());
        let tokens: Vec<Secret> = std::thread::scope(|scope| {
            let creators: Vec<_> = (0..8)
                .map(|i| {
                    let state = state.clone();
                    scope.spawn(move || {
                        state
                            .auth_token_or_create(|| secret(&format!("token-{i}")))
                            .unwrap()
                    })
                })
                .collect();
            creators.into_iter().map(|c| c.join().unwrap()).collect()
        });
        assert!(tokens.iter().all(|t| *t == tokens[0]));
        assert_eq!(
            state.auth_token_or_create(|| unreachable!("it exists")).unwrap(),
            tokens[0]
        );
    }

    #[test]
    fn a_file_others_can_read_is_refused_with_the_remedy() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::at(root.path());
        state.write_auth_token(&secret("open")).unwrap();
        fs::set_permissions(state.auth_token_path(), fs::Permissions::from_mode(0o644)).unwrap();
        let err = state.auth_token().unwrap_err().to_string();
        assert!(err.contains("mode 644") && err.contains("chmod 600"), "{err}");
    }

    #[test]
    fn a_damaged_token_file_is_an_error_not_an_absence() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::at(root.path());
        state.write_auth_token(&secret("x")).unwrap();
        fs::write(state.auth_token_path(), "\n").unwrap();
        assert!(matches!(
            state.auth_token().unwrap_err(),
            StateError::BadToken { .. }
        ));
    }
}
