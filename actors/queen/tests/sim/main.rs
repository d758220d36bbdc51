//! The queen in the simulator: real NineDoor, real worker domain, an operator.

mod chaos;
mod hive;
mod support;
