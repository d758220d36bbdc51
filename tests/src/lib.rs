//! End-to-end suites that run against any hive by address.
