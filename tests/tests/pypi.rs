//! The public Python client, installed from PyPI, operates the hive.

use std::process::Command;

use tests::{Hive, python};

#[test]
fn the_public_client_operates_the_hive() {
    let hive = Hive::any();
    python::run(
        Command::new(python::with(&[python::COHESIX]))
            .arg(python::script("foundation.py"))
            .args([
                hive.addr().ip().to_string(),
                hive.addr().port().to_string(),
                hive.token().to_owned(),
            ]),
    );
}
