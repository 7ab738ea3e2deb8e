//! What Cargo says of the workspace and the crates that it is built on.

use std::process::Command;

use serde_json::Value;

/// The packages that `cargo metadata` lists with these further options: without any, all of `Cargo.lock`.
pub fn packages(options: &[&str]) -> Vec<Value> {
    let cargo = std::env::var("CARGO").expect("cargo runs the tests");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(options)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}
