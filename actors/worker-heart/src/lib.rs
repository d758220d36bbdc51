//! Heartbeat workers.
