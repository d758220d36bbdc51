#![doc = include_str!("../README.md")]

pub mod assemble;
pub mod manifest;
pub mod run;
pub mod secrets;

pub use manifest::Manifest;
pub use secrets::Secrets;
