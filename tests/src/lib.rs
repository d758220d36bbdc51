//! Harness of the end-to-end suites: a hive, and a console that is ours alone.
//!
//! Answers for starting a fresh hive as a user would (the `hive` binary, a state directory of its own, a port that
//! the system picks) or for using the one that `HIVE_ADDR` and `HIVE_TOKEN` name, and for a console connection that
//! shares no code with the product, so that a mistake in the product cannot hide in its own test.
//!
//! Never looks inside a hive: everything is observed through the console, the process and its state directory.

pub mod console;
pub mod hive;
pub mod host;
pub mod ninep;
pub mod operator;
pub mod programs;
pub mod python;

pub use console::Console;
pub use hive::{Hive, Options};
pub use operator::{Answer, Operator};
