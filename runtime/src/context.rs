//! Context.
use alloc::rc::Rc;
use alloc::string::String;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;

use crate::counters::{Counters, CountersView};
use crate::executor::SpawnError;
use crate::link::Link;
use crate::region::Region;
use crate::supervision::SupervisionView;
use crate::time::Instant;

/// What an actor has of the world.
#[derive(Clone)]
pub struct Context {
    _inner: Rc<()>,
}

/// A future that is ready at a point in time.
pub struct Sleep {}

/// The time was up first.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Context {
    /// The domain's name.
    pub fn name(&self) -> &str {
        unimplemented!()
    }
    /// The time of this turn.
    pub fn now(&self) -> Instant {
        unimplemented!()
    }
    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        unimplemented!()
    }
    /// Ready at `at`.
    pub fn sleep_until(&self, _at: Instant) -> Sleep {
        unimplemented!()
    }
    /// Ready after `d`.
    pub fn sleep(&self, _d: Duration) -> Sleep {
        unimplemented!()
    }
    /// `f`, but for at most `d`.
    ///
    /// # Errors
    /// [`Elapsed`].
    pub async fn timeout<F: Future>(&self, _d: Duration, _f: F) -> Result<F::Output, Elapsed> {
        unimplemented!()
    }
    /// Lets other ready tasks run.
    pub async fn yield_now(&self) {
        unimplemented!()
    }
    /// Adds a task. Allocates: at boot only.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn(&self, _f: impl Future<Output = ()> + 'static) -> Result<(), SpawnError> {
        unimplemented!()
    }
    /// The link of that name.
    pub fn link(&self, _name: &str) -> Option<Link> {
        unimplemented!()
    }
    /// The region of that name.
    pub fn region(&self, _name: &str) -> Option<Region> {
        unimplemented!()
    }
    /// A random number from the host's seed. Not for secrets.
    pub fn random_u64(&self) -> u64 {
        unimplemented!()
    }
    /// This domain's counters.
    pub fn counters(&self) -> &Counters {
        unimplemented!()
    }
    /// Another domain's counters.
    pub fn counters_of(&self, _domain: &str) -> Option<CountersView> {
        unimplemented!()
    }
    /// The supervisor's status page.
    pub fn supervision(&self) -> Option<SupervisionView> {
        unimplemented!()
    }
    /// The names of all domains.
    pub fn domains(&self) -> &[String] {
        unimplemented!()
    }
    /// Makes `domain` panic at its next turn, if the topology allows faults.
    pub fn inject_fault(&self, _domain: &str) -> bool {
        unimplemented!()
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, _cx: &mut core::task::Context<'_>) -> Poll<()> {
        unimplemented!()
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time allowed was up first")
    }
}

impl core::error::Error for Elapsed {}
