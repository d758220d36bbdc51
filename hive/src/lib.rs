//! The hive on Linux, and the manifest every host is built from.
