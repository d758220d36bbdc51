//! A simulated network between two stacks.
//!
//! Answers for: [`Path`], one direction of a wire with bad weather.
//! Never: asks the operating system for anything.

mod path;

pub use path::{Path, PathCounts, Weather};
