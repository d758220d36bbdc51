//! What the unit tests of several modules need.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// The result of a future that does not have to wait; `None` if it does.
pub(crate) fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
