//! Actor runtime: executor, badges, rings, links, timers, supervision, journal.
