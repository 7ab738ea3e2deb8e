//! What the crates that are built on may ask of whoever builds on them: their licences, by the list in `deny.toml`, and the
//! version of Rust.

use std::collections::BTreeSet;

use flow_tests::packages::packages;
use serde_json::Value;
use spdx::{Expression, ParseMode};

/// All packages of `Cargo.lock`, for every platform.
fn all_packages() -> Vec<Value> {
    let packages = packages(&[]);
    // The whole list, surely.
    assert!(packages.len() > 100, "{}", packages.len());
    packages
}

#[test]
fn every_licence_is_one_of_those_that_deny_toml_allows() {
    let text = include_str!("../deny.toml");
    let settings: toml::Table = text.parse().unwrap();
    let allowed = settings["licenses"]["allow"].as_array().unwrap();
    let allowed: BTreeSet<&str> = allowed.iter().map(|id| id.as_str().unwrap()).collect();
    let mut used = BTreeSet::new();
    for package in all_packages() {
        let name = &package["name"];
        let licence = package["license"].as_str();
        let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
        let expression = Expression::parse_mode(licence, ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{name}: `{licence}`: {error}"));
        let meets = expression.evaluate(|wanted| allowed.contains(wanted.to_string().as_str()));
        assert!(
            meets,
            "{name} has the licence `{licence}`, of which deny.toml allows none"
        );
        used.extend(expression.requirements().map(|r| r.req.to_string()));
    }
    let unused: Vec<_> = allowed.iter().filter(|id| !used.contains(**id)).collect();
    assert!(unused.is_empty(), "no crate has these: {unused:?}");
}

#[test]
fn no_crate_needs_a_later_rust_than_ours() {
    let version = |package: &Value| -> Option<Vec<u32>> {
        let parts = package["rust_version"].as_str()?.split('.');
        Some(parts.map(|part| part.parse().unwrap()).collect())
    };
    let packages = all_packages();
    let ours = packages.iter().find(|p| p["name"] == "flow-tests");
    let ours = version(ours.unwrap()).unwrap();
    for package in &packages {
        // `1.89` means `1.89.0`.
        let mut wanted = version(package).unwrap_or_default();
        wanted.truncate(2);
        assert!(
            wanted <= ours,
            "{} {} needs Rust {wanted:?}: raise `rust-version`, or keep to an earlier one",
            package["name"],
            package["version"]
        );
    }
}
