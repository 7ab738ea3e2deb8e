//! Which result goes where: `[deliver]` with its names resolved, one for each instance.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use glob::{MatchOptions, Pattern};
use petgraph::graph::NodeIndex;

use super::{Origin, Plan, is_glob};
use crate::workflow::is_inside;
use crate::workflow::problem::Problem;

/// The longest name of a file that file systems take, in bytes.
const LONGEST: usize = 255;

/// A result under a name of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// Where it goes: a path below the workflow's root.
    pub path: String,
    /// The instance.
    pub node: NodeIndex,
    /// Its output's role.
    pub output: String,
}

/// A value of a matrix as a part of a path: one file name, which tells the value. `/`, `%`, what can't be seen, and a `.` or
/// `-` at the beginning stand as `%` and their bytes in hexadecimal digits.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let hidden = character.is_control() || matches!(character, '/' | '%');
        if hidden || (at == 0 && matches!(character, '.' | '-')) {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                text += &format!("%{byte:02X}");
            }
        } else {
            text.push(character);
        }
    }
    text
}

/// A path that something is delivered to, without `.` and double slashes: one place has one name.
///
/// # Errors
/// Where it leads elsewhere than below the root.
pub(super) fn place(path: &str) -> Result<String, Problem> {
    let parts = || Path::new(path).components();
    let is_long = parts().any(|part| part.as_os_str().len() > LONGEST);
    let is_ours = parts().next() == Some(Component::Normal(".flow".as_ref()));
    if !is_inside(path) || path.ends_with('/') || is_ours {
        return Err(Problem::DeliveryEscapes { path: path.into() });
    }
    match is_long {
        true => Err(Problem::DeliveryTooLong { path: path.into() }),
        false => Ok(parts()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect::<Vec<_>>()
            .join("/")),
    }
}

impl Plan {
    /// Of two results that go to one place, or one of them into the other: the paths of both.
    pub fn delivered_twice(&self) -> Option<(&Delivery, &Delivery)> {
        let parts = |delivery: &Delivery| -> Vec<String> {
            let parts = Path::new(&delivery.path).components();
            parts
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .collect()
        };
        let mut all: Vec<_> = self.deliveries.iter().map(|d| (parts(d), d)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        // What lies in a folder comes directly after it.
        all.windows(2)
            .find(|pair| pair[1].0.starts_with(&pair[0].0))
            .map(|pair| (pair[0].1, pair[1].1))
    }

    /// A path that something is delivered to and that an instance reads, and what names it there.
    pub(super) fn delivered_over(&self, root: &Path) -> Option<(&Delivery, String)> {
        let mut plain = BTreeSet::new();
        let mut globs = Vec::new();
        for input in self.instances().flat_map(|instance| &instance.inputs) {
            let Origin::Path { files, .. } = &input.origin else {
                continue;
            };
            for pattern in &files.patterns {
                // What is elsewhere is in nobody's way.
                let Some(relative) = relative(pattern, root) else {
                    continue;
                };
                match Pattern::new(&relative) {
                    Ok(glob) if is_glob(&relative) => globs.push(glob),
                    _ => drop(plain.insert(relative)),
                }
            }
        }
        let options = MatchOptions {
            require_literal_separator: true,
            ..MatchOptions::default()
        };
        self.deliveries.iter().find_map(|delivery| {
            let path = relative(&delivery.path, root)?;
            let above = Path::new(&path).ancestors();
            let mut above = above.filter_map(|folder| plain.get(folder.to_str()?));
            let below = format!("{path}/");
            let below = plain
                .range(below.clone()..)
                .next()
                .filter(|p| p.starts_with(&below));
            let plain = above.next().or(below).cloned();
            let globbed = || {
                let mut globs = globs.iter().filter(|g| g.matches_with(&path, options));
                globs.next().map(|glob| glob.as_str().to_string())
            };
            Some((delivery, plain.or_else(globbed)?))
        })
    }
}

/// A path without `.` and double slashes; none where it does not lie below `root`.
fn relative(path: &str, root: &Path) -> Option<String> {
    let path = Path::new(path);
    let below = match path.is_absolute() {
        true => path.strip_prefix(root).ok()?,
        false => path,
    };
    let parts: Option<Vec<&str>> = below
        .components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    Some(parts?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_make_names_that_tell_them_apart() {
        for (value, expected) in [
            ("A", "A"),
            ("a/b", "a%2Fb"),
            ("a%2Fb", "a%252Fb"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("-rf", "%2Drf"),
            ("1e-3", "1e-3"),
            ("a\nb", "a%0Ab"),
            ("ä b", "ä b"),
        ] {
            assert_eq!(escaped(value), expected);
        }
    }

    #[test]
    fn results_stay_in_the_project_and_out_of_the_store() {
        for (path, expected) in [("a", "a"), ("a/b.txt", "a/b.txt"), ("a//./b", "a/b")] {
            assert!(place(path).is_ok_and(|place| place == expected), "{path}");
        }
        for path in [
            "",
            "/a",
            "../a",
            "a/../../b",
            "a/",
            ".flow/x",
            ".",
            &"x".repeat(256),
        ] {
            assert!(place(path).is_err(), "{path}");
        }
    }
}
