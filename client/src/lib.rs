//! Async client library for the TCP console.
