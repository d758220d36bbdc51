//! When a wake-up may be left out: the agreement between one that may fall asleep and one that has news for it.
//!
//! Answers for: no wake-up lost and few sent for nothing. The sleeper raises its flag, then looks once more for news,
//! then sleeps. The bringer publishes its news, then looks at the flag. Each puts a full fence in between, so at least
//! one of them sees the other.
//! Never: wakes anybody itself; hosts and links do that by their own means.

use crate::sync::{AtomicU32, Ordering, fence};

/// Sleeper: raises the flag. Look for news *after* this, and sleep only if there is none. Where several tasks share a
/// flag it stays up once raised, until the bringer takes it; a sleeper of its own may [`lower`] it when it stays awake.
///
/// While the flag is still up from an earlier call, nobody has brought news since, and looking again later is covered
/// by the fence of that call.
pub fn raise(flag: &AtomicU32) {
    if flag.load(Ordering::Relaxed) == 0 {
        flag.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

/// Sleeper: is awake after all.
pub fn lower(flag: &AtomicU32) {
    flag.store(0, Ordering::Relaxed);
}

/// Sleeper: whether the flag is still up, that is, nobody took it down to wake the sleeper.
pub fn is_raised(flag: &AtomicU32) -> bool {
    flag.load(Ordering::Relaxed) != 0
}

/// Bringer, *after* publishing its news: whether the sleeper must be woken. Says so once per raised flag.
pub fn take(flag: &AtomicU32) -> bool {
    fence(Ordering::SeqCst);
    flag.load(Ordering::Relaxed) != 0 && flag.swap(0, Ordering::AcqRel) != 0
}
