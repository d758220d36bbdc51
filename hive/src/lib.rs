#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod assemble;
pub mod image;
pub mod listen;
pub mod manifest;
pub mod microkit;
pub mod qemu;
pub mod run;
pub mod secrets;

pub use manifest::Manifest;
pub use secrets::Secrets;
