//! Async client library for the TCP console.
#![forbid(unsafe_code)]

pub mod state;
