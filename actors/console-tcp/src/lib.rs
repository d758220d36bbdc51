//! The TCP console: framing, authentication, sessions, verbs.
