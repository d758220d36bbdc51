//! Waiting for the first of two things.
//!
//! Answers for: polling both, the first one first, so that the order is the same in every run.
//! Never: allocates.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

/// What was ready first.
pub(crate) enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Waits for `left` or `right`; if both are ready, for `left`. The other one is dropped.
pub(crate) async fn race<A, B>(
    left: impl Future<Output = A>,
    right: impl Future<Output = B>,
) -> Either<A, B> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|cx| {
        if let Poll::Ready(left) = left.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(left));
        }
        right.as_mut().poll(cx).map(Either::Right)
    })
    .await
}
