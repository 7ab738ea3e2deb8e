//! Coarse classes as groups of fine classes.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Coarse class name to its fine classes. The coarse classes are numbered in the alphabetical order of their names.
pub type Groups = BTreeMap<String, Vec<Class>>;

/// A fine class, by its index or its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Class {
    /// Its number in the data.
    Index(u32),
    /// Its name.
    Name(String),
}

impl From<u32> for Class {
    fn from(index: u32) -> Self {
        Class::Index(index)
    }
}

impl From<&str> for Class {
    fn from(name: &str) -> Self {
        Class::Name(name.into())
    }
}

/// A group of classes, for defaults.
pub fn group<C: Into<Class>, const N: usize>(name: &str, classes: [C; N]) -> (String, Vec<Class>) {
    (name.into(), classes.into_iter().map(Into::into).collect())
}

/// Names of the coarse classes, and the coarse label of each row.
#[derive(Debug, PartialEq)]
pub struct Coarse {
    /// Names, by label.
    pub names: Vec<String>,
    /// Label `[n]`.
    pub labels: Vec<i32>,
}

/// The coarse labels of rows whose fine labels index into `fine_names`.
///
/// # Errors
/// Where a group names a class that is not there, or a class stands in no group or in two.
pub fn labels(groups: &Groups, fine_names: &[String], fine: &[i32]) -> Result<Coarse> {
    let names: Vec<String> = groups.keys().cloned().collect();
    let mut of_fine: Vec<Option<usize>> = vec![None; fine_names.len()];
    for (coarse, (name, classes)) in groups.iter().enumerate() {
        ensure!(
            !classes.is_empty(),
            "`coarse`: the group `{name}` holds no class; leave it out or name its classes"
        );
        for class in classes {
            let index = match class {
                Class::Index(index) => Some(*index as usize).filter(|&i| i < fine_names.len()),
                Class::Name(wanted) => fine_names.iter().position(|n| n == wanted),
            };
            let Some(index) = index else {
                let class = match class {
                    Class::Index(index) => index.to_string(),
                    Class::Name(name) => format!("\"{name}\""),
                };
                bail!(
                    "`coarse`: the group `{name}` holds {class}, which is no class of the data; those are {}",
                    listed(fine_names)
                );
            };
            if let Some(other) = of_fine[index] {
                bail!(
                    "`coarse`: the class {index} ({}) stands in `{}` and again in `{name}`; each class belongs to one group",
                    fine_names[index],
                    names[other]
                );
            }
            of_fine[index] = Some(coarse);
        }
    }
    let of_fine = of_fine
        .iter()
        .enumerate()
        .map(|(index, coarse)| match coarse {
            Some(coarse) => Ok(*coarse as i32),
            None => bail!(
                "`coarse`: the class {index} ({}) stands in no group; each class belongs to one",
                fine_names[index]
            ),
        })
        .collect::<Result<Vec<i32>>>()?;
    Ok(Coarse {
        names,
        labels: fine.iter().map(|&f| of_fine[f as usize]).collect(),
    })
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .enumerate()
        .take(20)
        .map(|(index, name)| format!("{index} ({name})"))
        .collect();
    let more = if names.len() > 20 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["ship", "cat", "dog"].map(String::from).to_vec()
    }

    fn error(groups: Groups) -> String {
        labels(&groups, &names(), &[0]).unwrap_err().to_string()
    }

    #[test]
    fn classes_are_named_or_numbered_and_groups_stand_in_alphabetical_order() {
        let groups = Groups::from([
            group("vehicle", [0]),
            (
                "animal".into(),
                vec![Class::Name("cat".into()), Class::Index(2)],
            ),
        ]);
        let coarse = labels(&groups, &names(), &[0, 1, 2, 0]).unwrap();
        assert_eq!(coarse.names, ["animal", "vehicle"]);
        assert_eq!(coarse.labels, [1, 0, 0, 1]);
    }

    #[test]
    fn a_class_that_is_unknown_twice_there_or_nowhere_is_an_error() {
        assert_eq!(
            error(Groups::from([group("a", ["bird"])])),
            "`coarse`: the group `a` holds \"bird\", which is no class of the data; those are 0 (ship), 1 (cat), 2 (dog)"
        );
        assert!(error(Groups::from([group("a", [3])])).contains("holds 3, which is no class"));
        assert!(
            error(Groups::from([group("a", [0, 1]), group("b", [1, 2])]))
                .contains("the class 1 (cat) stands in `a` and again in `b`")
        );
        assert!(
            error(Groups::from([group("a", [0, 2])]))
                .contains("the class 1 (cat) stands in no group")
        );
        let empty = Groups::from([("a".into(), vec![])]);
        assert!(error(empty).contains("the group `a` holds no class"));
    }
}
