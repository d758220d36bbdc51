//! GPUs: what hosts publish of them, and the lines in their files.
//!
//! Answers for `/gpu/**` ([`tree`](self)), for what is remembered of it ([`Gpus`], in a journal of its own), and for what the rest
//! of the queen may ask and add: [`Queen::capacity`] and [`Queen::append_lease_line`].
//!
//! Never grants a lease, never talks to a GPU.

mod bridge;
mod compose;
mod config;
mod lines;
mod names;
mod publish;
mod published;
mod record;
mod seed;
mod store;
mod tree;
mod window;

use protocol::refusal::Refusal;

pub use self::config::GpuConfig;
pub(crate) use self::config::MAX_GPUS;
pub(crate) use self::names::Node;
pub(crate) use self::store::{Capacity, Gpus};
pub(crate) use self::tree::{Open, Tree};

use crate::queen::Queen;

impl Queen {
    /// What a GPU has to lease; `None` if nobody publishes a GPU of that id. After every install the queen's bell
    /// rings; a lease of a GPU that has no capacity any more is lost with it.
    pub(crate) fn capacity(&self, gpu_id: &str) -> Option<Capacity> {
        self.gpus.borrow().capacity(gpu_id)
    }

    /// Appends a line (without a newline) to `/gpu/<gpu_id>/lease`, journal first, and tells everybody. The newest line
    /// always finds room: the oldest lines make it.
    ///
    /// # Errors
    /// [`Refusal::InvalidPath`] without a GPU of that id, [`Refusal::InvalidPayload`] if it is no JSON line,
    /// [`Refusal::TooLong`] if it does not fit the file, [`Refusal::BufferFull`] if the journal will not take it.
    pub(crate) fn append_lease_line(&self, gpu_id: &str, line: &str) -> Result<(), Refusal> {
        self.gpus.borrow_mut().append_lease(gpu_id, line)?;
        self.bell.ring();
        Ok(())
    }
}
