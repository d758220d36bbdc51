//! stub replaced below
fn main() {}
