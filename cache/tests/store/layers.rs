//! The modules lie in layers: the table in `lib.rs` is their order, and each imports only those above it there.

use std::fs;
use std::path::Path;

#[test]
fn a_module_imports_only_what_lies_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    let table: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `")?.split('`').next())
        .collect();
    let declared = lib.lines().filter_map(|line| line.strip_prefix("mod "));
    let mut declared: Vec<&str> = declared.map(|name| name.trim_end_matches(';')).collect();
    let mut sorted = table.clone();
    sorted.sort_unstable();
    declared.sort_unstable();
    assert_eq!(sorted, declared, "the table has every module once");

    let mut imports = 0;
    for (place, module) in table.iter().enumerate() {
        let text = fs::read_to_string(source.join(format!("{module}.rs"))).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for line in text.lines().filter(|line| !line.trim().starts_with("//")) {
            assert!(!line.contains("super::"), "{module}: {line}");
            for path in line.split("crate::").skip(1) {
                let end = path.find(|c: char| c != '_' && !c.is_ascii_lowercase());
                let other = &path[..end.unwrap_or(path.len())];
                let below = table.iter().position(|name| *name == other);
                assert!(below.is_some_and(|below| below < place), "{module}: {line}");
                imports += 1;
            }
        }
    }
    assert!(imports > 80, "{imports} imports were found");
}
