//! The queen in the simulator: real NineDoor, real worker domain, an operator.

mod chaos;
mod gpu;
mod hive;
mod ingest;
mod lease;
mod support;
