//! What a lock file pins: versions of distributions, by normalised name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use toml::Table;

use super::Problem;
use super::venv::normalised;

/// A pinned distribution.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pinned {
    /// One of these: a `uv.lock` may pin several, each for other machines.
    pub versions: BTreeSet<String>,
    /// Whether it has to be installed: not where only a condition or an extra asks for it.
    pub required: bool,
}

type Pins = BTreeMap<String, Pinned>;

/// What a `uv.lock`, or a file of lines `NAME==VERSION`, pins. The project itself, which a `uv.lock` names too, is none of it.
pub(super) fn pins(path: &Path) -> Result<Pins, Problem> {
    let text = fs::read_to_string(path).map_err(Problem::reading(path))?;
    let found = if path.extension().is_some_and(|ending| ending == "lock") {
        of_uv(&text)
    } else {
        of_requirements(&text)
    };
    found.map_err(|why| Problem::Wrong(format!("the lock file {}: {why}", path.display())))
}

fn of_uv(text: &str) -> Result<Pins, String> {
    let table: Table = text.parse().map_err(|error| format!("{error}"))?;
    let packages = table
        .get("package")
        .and_then(|packages| packages.as_array());
    let packages = packages.ok_or("it has no [[package]], so it is no uv.lock")?;
    let mut pins = Pins::new();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut reached = Vec::new();
    for package in packages {
        let text = |name: &str| package.get(name).and_then(|value| value.as_str());
        let Some(name) = text("name").map(normalised) else {
            continue;
        };
        let dependencies = package.get("dependencies").and_then(|d| d.as_array());
        let always = dependencies.into_iter().flatten();
        let always = always.filter(|dependency| dependency.get("marker").is_none());
        let always = always.filter_map(|d| Some(normalised(d.get("name")?.as_str()?)));
        needs.entry(name.clone()).or_default().extend(always);
        let source = package.get("source").and_then(|source| source.as_table());
        let is_local = source.is_some_and(|source| {
            let sorts = ["virtual", "editable", "directory"];
            sorts.iter().any(|sort| source.contains_key(*sort))
        });
        if is_local {
            reached.push(name);
        } else if let Some(version) = text("version") {
            let pinned = pins.entry(name).or_default();
            pinned.versions.insert(version.to_string());
        }
    }
    while let Some(name) = reached.pop() {
        for needed in needs.remove(&name).unwrap_or_default() {
            if let Some(pinned) = pins.get_mut(&needed) {
                pinned.required = true;
            }
            reached.push(needed);
        }
    }
    Ok(pins)
}

fn of_requirements(text: &str) -> Result<Pins, String> {
    let mut pins = Pins::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with(['#', '-']) {
            continue;
        }
        // Behind the version: a condition, or hashes.
        let (requirement, condition) = line.split_once(';').unwrap_or((line, ""));
        let (name, version) = requirement
            .split_once("==")
            .ok_or_else(|| format!("`{line}` pins no version with `==`"))?;
        let name = name.split('[').next().unwrap_or_default().trim();
        let version = version.split_whitespace().next().unwrap_or_default();
        let pinned = pins.entry(normalised(name)).or_default();
        pinned.versions.insert(version.to_string());
        // Where it is for other machines only, it need not be here.
        pinned.required |= condition.is_empty() || condition.trim_start().starts_with("--hash");
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let uv = "version = 1\n[[package]]\nname = \"Foo.Bar\"\nversion = \"1.2\"\nsource = { registry = \"x\" }\n\
                  [[package]]\nname = \"other\"\nversion = \"3\"\n\
                  [[package]]\nname = \"mine\"\nversion = \"0\"\nsource = { virtual = \".\" }\n\
                  dependencies = [{ name = \"foo-bar\" }, { name = \"other\", marker = \"sys_platform == 'win32'\" }]\n";
        let pin = |version: &str, required| Pinned {
            versions: BTreeSet::from([version.to_string()]),
            required,
        };
        let expected = || {
            Pins::from([
                ("foo-bar".to_string(), pin("1.2", true)),
                ("other".to_string(), pin("3", false)),
            ])
        };
        assert_eq!(of_uv(uv), Ok(expected()));
        let lines = "# by pip-compile\n--index-url x\nFoo_bar[extra]==1.2 \\\n    --hash=sha256:0\n    # via x\n\
                     other==3 ; sys_platform == 'win32'\n";
        assert_eq!(of_requirements(lines), Ok(expected()));
        assert!(of_requirements("foo>=1\n").unwrap_err().contains("foo>=1"));
        assert!(of_uv("a = 1\n").is_err() && of_uv("[").is_err());
    }
}
