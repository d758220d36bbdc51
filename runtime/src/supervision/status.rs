//! The status page: what the supervisor knows about its children, for all to read.
//!
//! Answers for: a page of fixed size with one writer and any number of readers, none of whom waits for another.
//! Never: lets a reader change anything, and never holds up the writer for a reader.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use core::cell::Cell;
use core::fmt;
use core::future::poll_fn;
use core::ops::Deref;
use core::task::{Poll, ready};

use crate::context::Core;
use crate::page::Page;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::wakers::Wakers;
use crate::words;

/// Most children on a page: as many as a Microkit system has protection domains.
pub const MAX_CHILDREN: usize = 64;
/// Bytes kept of a fault's reason.
pub const REASON_BYTES: usize = 104;
/// A reader tries so often to catch a child between two writes; then it takes what it has.
const READ_TRIES: usize = 16;

/// The page as it lies in memory. All zero: every child runs.
#[repr(C)]
pub struct RawStatus {
    /// Counts changes.
    version: AtomicU64,
    degraded: AtomicU32,
    padding: AtomicU32,
    children: [RawChild; MAX_CHILDREN],
}

#[repr(C)]
struct RawChild {
    /// Odd while the child is being written.
    sequence: AtomicU32,
    state: AtomicU32,
    restarts: AtomicU64,
    /// Reason text, zero-padded.
    reason: [AtomicU64; REASON_BYTES / words::WORD_BYTES],
}

/// What a child is doing.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It runs.
    Running,
    /// It faulted and will be started again.
    Restarting,
    /// It faulted too often and stays down.
    Down,
}

/// One child at one time.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ChildStatus<'a> {
    /// The domain's name.
    pub name: &'a str,
    /// What it is doing.
    pub state: ChildState,
    /// Restarts since the host started.
    pub restarts: u64,
    /// Why it last went down; empty if it never did.
    pub last_reason: Reason,
}

/// The beginning of a fault's message: at most [`REASON_BYTES`] bytes of text.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Reason {
    bytes: [u8; REASON_BYTES],
}

/// The supervisor's handle: it alone writes.
#[derive(Clone)]
pub struct StatusPage {
    page: Page<RawStatus>,
    names: Arc<[String]>,
}

/// Anybody's handle.
#[derive(Clone)]
pub struct StatusView {
    page: StatusPage,
}

/// A domain's handle, which can wait for changes.
#[derive(Clone)]
pub struct SupervisionView {
    status: StatusView,
    wakers: Rc<Wakers>,
    core: Rc<Core>,
    /// The version that `changed` last returned for, or that was current when the view was made.
    seen: Cell<u64>,
}

impl RawStatus {
    /// All zero.
    pub fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            degraded: AtomicU32::new(0),
            padding: AtomicU32::new(0),
            children: core::array::from_fn(|_| RawChild {
                sequence: AtomicU32::new(0),
                state: AtomicU32::new(0),
                restarts: AtomicU64::new(0),
                reason: core::array::from_fn(|_| AtomicU64::new(0)),
            }),
        }
    }
}

impl Default for RawStatus {
    fn default() -> Self {
        Self::new()
    }
}

impl StatusPage {
    /// A fresh page: every child runs. Children beyond [`MAX_CHILDREN`] are not shown.
    pub fn new(names: Arc<[String]>) -> Self {
        Self::over(Page::Counted(Arc::new(RawStatus::new())), names)
    }

    /// A page that a host set aside.
    pub fn over(page: Page<RawStatus>, names: Arc<[String]>) -> Self {
        Self { page, names }
    }

    /// What others may see.
    pub fn view(&self) -> StatusView {
        StatusView { page: self.clone() }
    }

    /// The child at `index` went down for `reason`; `state` is what is to come of it.
    pub fn fault(&self, index: usize, state: ChildState, reason: &str) {
        self.write(index, |child| {
            child.state.store(state as u32, Ordering::Relaxed);
            // Made to measure, so it always fits.
            let _ = words::copy_in(&child.reason, 0, &Reason::new(reason).bytes);
        });
        if state == ChildState::Down {
            self.page.degraded.store(1, Ordering::Release);
        }
        self.bump();
    }

    /// The child at `index` runs again.
    pub fn restarted(&self, index: usize) {
        self.write(index, |child| {
            child.state.store(ChildState::Running as u32, Ordering::Relaxed);
            child
                .restarts
                .store(child.restarts.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        });
        self.bump();
    }

    fn write(&self, index: usize, write: impl FnOnce(&RawChild)) {
        let Some(child) = self.page.children.get(index) else {
            return;
        };
        let sequence = child.sequence.load(Ordering::Relaxed);
        child.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        write(child);
        child.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    fn bump(&self) {
        self.page
            .version
            .store(self.page.version.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

impl StatusView {
    /// Whether some child is down for good.
    pub fn degraded(&self) -> bool {
        self.page.page.degraded.load(Ordering::Acquire) != 0
    }

    /// How many children there are.
    pub fn len(&self) -> usize {
        self.page.names.len().min(MAX_CHILDREN)
    }

    /// Whether there is no child.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts changes of the page.
    pub fn version(&self) -> u64 {
        self.page.page.version.load(Ordering::Acquire)
    }

    /// The child at that index, in the order of the topology.
    pub fn child(&self, index: usize) -> Option<ChildStatus<'_>> {
        let name = self.page.names.get(index)?;
        let raw = self.page.page.children.get(index)?;
        let mut status = ChildStatus {
            name,
            state: ChildState::Running,
            restarts: 0,
            last_reason: Reason::new(""),
        };
        for _ in 0..READ_TRIES {
            let before = raw.sequence.load(Ordering::Acquire);
            status.state = match raw.state.load(Ordering::Relaxed) {
                0 => ChildState::Running,
                1 => ChildState::Restarting,
                _ => ChildState::Down,
            };
            status.restarts = raw.restarts.load(Ordering::Relaxed);
            // Made to measure, so it always fits.
            let _ = words::copy_out(&raw.reason, 0, &mut status.last_reason.bytes);
            fence(Ordering::Acquire);
            if before % 2 == 0 && raw.sequence.load(Ordering::Relaxed) == before {
                break;
            }
            core::hint::spin_loop();
        }
        Some(status)
    }

    /// All children.
    pub fn children(&self) -> impl Iterator<Item = ChildStatus<'_>> {
        (0..self.len()).filter_map(|index| self.child(index))
    }
}

impl SupervisionView {
    pub(crate) fn new(status: StatusView, wakers: Rc<Wakers>, core: Rc<Core>) -> Self {
        let seen = Cell::new(status.version());
        Self {
            status,
            wakers,
            core,
            seen,
        }
    }

    /// Waits until the page has changed since this handle was made, or since it last said so.
    pub async fn changed(&self) {
        poll_fn(|cx| {
            ready!(self.core.poll_budget(cx));
            let version = self.status.version();
            if version != self.seen.replace(version) {
                return Poll::Ready(());
            }
            self.wakers.register(cx.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Deref for SupervisionView {
    type Target = StatusView;

    fn deref(&self) -> &StatusView {
        &self.status
    }
}

impl Reason {
    /// The beginning of `text`, cut between characters.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; REASON_BYTES];
        let text = text
            .get(..text.floor_char_boundary(REASON_BYTES))
            .unwrap_or_default();
        if let Some(start) = bytes.get_mut(..text.len()) {
            start.copy_from_slice(text.as_bytes());
        }
        Self { bytes }
    }

    /// The text, up to the first byte that is none.
    pub fn as_str(&self) -> &str {
        let chunk = self.bytes.utf8_chunks().next();
        chunk.map_or("", |chunk| chunk.valid().trim_end_matches('\0'))
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn shows_what_became_of_each_child() {
        let page = StatusPage::new(["a", "b"].map(String::from).into_iter().collect());
        let view = page.view();
        assert_eq!(
            view.children()
                .map(|child| child.name)
                .collect::<std::vec::Vec<_>>(),
            ["a", "b"]
        );
        page.fault(1, ChildState::Restarting, "index out of bounds");
        let child = view.child(1).expect("there are two");
        assert_eq!((child.state, child.restarts), (ChildState::Restarting, 0));
        assert_eq!(child.last_reason.as_str(), "index out of bounds");
        page.restarted(1);
        let child = view.child(1).expect("there are two");
        assert_eq!((child.state, child.restarts), (ChildState::Running, 1));
        assert_eq!((view.degraded(), view.version()), (false, 2));
        page.fault(1, ChildState::Down, "again");
        assert!(view.degraded());
        assert_eq!(view.child(0).map(|child| child.state), Some(ChildState::Running));
        assert_eq!(view.child(2), None);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let text: String = core::iter::repeat_n('ä', 60).collect();
        assert_eq!(Reason::new(&text).as_str().len(), REASON_BYTES);
        let text = std::format!("x{text}");
        assert_eq!(Reason::new(&text).as_str().len(), REASON_BYTES - 1);
        assert_eq!(Reason::new("").as_str(), "");
    }
}
