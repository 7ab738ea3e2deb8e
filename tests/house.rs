//! The picture of the house in `docs/architecture.md` is what the code says: which crate imports which, and no circle of
//! imports between the rooms of a crate. And the documents have one form.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use flow_tests::packages::packages;
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use regex::Regex;
use serde_json::Value;

/// Our crates: the folder of each, and its dependencies among them, but for those of tests.
fn crates() -> BTreeMap<String, (PathBuf, BTreeSet<String>)> {
    let packages = packages(&["--no-deps"]);
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let names: BTreeSet<String> = packages.iter().map(|p| text(&p["name"])).collect();
    let one = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let ours = dependencies
            .filter(|d| d["kind"].is_null())
            .map(|d| text(&d["name"]))
            .filter(|name| names.contains(name));
        let folder = PathBuf::from(text(&package["manifest_path"])).with_file_name("");
        (text(&package["name"]), (folder, ours.collect()))
    };
    packages.iter().map(one).collect()
}

#[test]
fn crates_import_each_other_as_the_picture_says() {
    let page = include_str!("../docs/architecture.md");
    let (_, picture) = page.split_once("flowchart BT\n").unwrap();
    let (picture, _) = picture.split_once("```").unwrap();
    let drawn: BTreeSet<(String, String)> = picture
        .lines()
        .map(|line| line.trim().split_once(" --> ").unwrap())
        .map(|(from, to)| (from.to_string(), to.to_string()))
        .collect();
    let mut real = BTreeSet::new();
    for (name, (_, dependencies)) in crates() {
        real.extend(dependencies.into_iter().map(|to| (name.clone(), to)));
    }
    let absent: Vec<_> = real.difference(&drawn).collect();
    let untrue: Vec<_> = drawn.difference(&real).collect();
    assert!(
        absent.is_empty() && untrue.is_empty(),
        "docs/architecture.md lacks {absent:?}, and draws {untrue:?}"
    );
}

/// The files of a crate, each with its path below `src/` without `.rs`: `plan/mod.rs` is `plan`, the root is empty.
fn modules(source: &Path) -> BTreeMap<String, String> {
    let files = flow_tests::store::files(source).into_iter();
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    let module = |path: &Path| {
        let name = path.strip_prefix(source).unwrap().with_extension("");
        let name = name.display().to_string();
        match name.strip_suffix("mod").map(|n| n.trim_end_matches('/')) {
            Some(folder) => folder.to_string(),
            None if name == "lib" || name == "main" => String::new(),
            None => name,
        }
    };
    files
        .map(|path| (module(&path), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The paths that a text names, from the root of its crate: `crate::a::{b, c::d}` is `a/b` and `a/c/d`.
fn paths(module: &str, text: &str) -> BTreeSet<String> {
    // Tests inside a file stand at its end.
    let (code, _) = text.split_once("#[cfg(test)]\nmod ").unwrap_or((text, ""));
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let path = Regex::new(r"\b(crate|super(?:::super)*)::([\w:]*\w)?((?:::)?\{)?").unwrap();
    let below = Regex::new(r"(?m)^(?:pub )?use (\w+)::").unwrap();
    let mut found: BTreeSet<String> = below
        .captures_iter(&code)
        .filter(|part| !["crate", "super"].contains(&&part[1]))
        .map(|part| {
            format!("{module}/{}", &part[1])
                .trim_start_matches('/')
                .into()
        })
        .collect();
    for part in path.captures_iter(&code) {
        let whole = part.get(0).unwrap();
        let mut place: Vec<&str> = match &part[1] {
            "crate" => Vec::new(),
            above => {
                let own: Vec<&str> = module.split('/').filter(|n| !n.is_empty()).collect();
                let up = above.matches("super").count();
                own[..own.len().saturating_sub(up)].to_vec()
            }
        };
        place.extend(part.get(2).map_or("", |m| m.as_str()).split("::"));
        let place = place.join("/");
        if part.get(3).is_none() {
            found.insert(place);
            continue;
        }
        for leaf in leaves(&code[whole.end()..]) {
            found.insert(format!("{place}/{leaf}").trim_start_matches('/').into());
        }
    }
    found
}

/// What stands in braces, up to the one that closes them, each by its whole path.
fn leaves(text: &str) -> Vec<String> {
    let (mut before, mut word, mut found) = (vec![String::new()], String::new(), Vec::new());
    for letter in text.chars() {
        let here = before.last().unwrap().clone();
        match letter {
            '{' => before.push(format!("{here}{}", std::mem::take(&mut word))),
            ',' | '}' => {
                if !word.is_empty() {
                    found.push(format!("{here}{}", std::mem::take(&mut word)));
                }
                if letter == '}' {
                    before.pop();
                    if before.is_empty() {
                        break;
                    }
                }
            }
            ':' if !word.ends_with('/') => word.push('/'),
            letter if letter.is_alphanumeric() || letter == '_' => word.push(letter),
            _ => {}
        }
    }
    found
}

#[test]
fn no_circle_of_imports_leads_from_room_to_room() {
    let mut arrows = 0;
    for (name, (folder, _)) in crates() {
        let modules = modules(&folder.join("src"));
        let mut graph = DiGraphMap::<&str, ()>::new();
        for (module, text) in &modules {
            for path in paths(module, text) {
                // The file that defines what is named, or re-exports it.
                let mut file = path.as_str();
                // Of another crate where that is none of ours.
                while !modules.contains_key(file) {
                    file = file.rsplit_once('/').map_or("", |(folder, _)| folder);
                }
                let (file, _) = modules.get_key_value(file).unwrap();
                if file != module {
                    graph.add_edge(module, file, ());
                    arrows += 1;
                }
            }
        }
        // A room is a folder of the crate, with all below it; the files beside them are one as well.
        let room = |module: &str| {
            let (first, _) = module.split_once('/').unwrap_or((module, ""));
            let is_folder = modules.keys().any(|m| m.starts_with(&format!("{first}/")));
            if is_folder {
                first.to_string()
            } else {
                String::new()
            }
        };
        for circle in tarjan_scc(&graph) {
            let rooms: BTreeSet<String> = circle.iter().map(|module| room(module)).collect();
            assert!(
                rooms.len() < 2,
                "{name}: these import each other: {circle:?}"
            );
        }
    }
    assert!(arrows > 300, "{arrows}");
}

#[test]
fn paths_are_read_as_rust_reads_them() {
    let text = "use std::fmt;\nuse crate::plan::{self, Plan, kinds::{Kind, types}};\nuse super::super::run::x;\n\
                // use crate::no;\nfn f() { crate::words::plain() }\n#[cfg(test)]\nmod tests { use crate::no; }";
    let found = paths("report/page", text);
    let wanted = [
        "plan/Plan",
        "plan/kinds/Kind",
        "plan/kinds/types",
        "plan/self",
        "report/page/std",
        "run/x",
        "words/plain",
    ];
    assert_eq!(found, wanted.map(String::from).into());
}

#[test]
fn documents_are_wrapped_at_one_width() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = flow_tests::store::files(&root.join("docs"));
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    let others = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "stages/python/README.md",
    ];
    pages.extend(others.map(|name| root.join(name)));
    assert!(pages.len() > 15, "{pages:?}");
    // Neither can be broken.
    let whole = Regex::new(r"`[^`]*`|\]\([^)]*\)").unwrap();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            if in_code || line.starts_with('|') {
                continue;
            }
            let width = whole.replace_all(line, "").chars().count();
            assert!(
                width <= 120,
                "{}:{}: {width} columns",
                page.display(),
                number + 1
            );
        }
    }
}
