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

/// Names of classes, and the class of each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes {
    /// Names, by label.
    pub names: Vec<String>,
    /// Label `[n]`.
    pub labels: Vec<i32>,
}

impl Classes {
    /// Classes by label, with these names, or with their numbers as names where there are none.
    ///
    /// # Errors
    /// Where a label has no name, or two classes have one name.
    pub fn named(names: Option<&[String]>, labels: Vec<i32>) -> Result<Classes> {
        let most = labels.iter().copied().max().unwrap_or(0) as usize;
        let Some(names) = names else {
            let names = (0..=most).map(|label| label.to_string()).collect();
            return Ok(Classes { names, labels });
        };
        ensure!(
            most < names.len(),
            "`classes` names {} classes, and the data has the label {most}",
            names.len()
        );
        for (label, name) in names.iter().enumerate() {
            ensure!(
                !names[..label].contains(name),
                "`classes` names \"{name}\" twice; each class needs a name of its own"
            );
        }
        Ok(Classes {
            names: names.to_vec(),
            labels,
        })
    }
}

/// The coarse classes of rows that have these fine ones.
///
/// # Errors
/// Where a group names a class that is not there, or a class stands in no group or in two.
pub fn labels(groups: &Groups, fine: &Classes) -> Result<Classes> {
    let fine_names = &fine.names;
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
    Ok(Classes {
        names,
        labels: fine.labels.iter().map(|&f| of_fine[f as usize]).collect(),
    })
}

/// What the labels of a data set stand for: fine classes where the workflow groups them into coarse ones, else coarse
/// classes, and the true fine ones are unknown. In this order: coarse, fine.
///
/// # Errors
/// As [`labels`].
pub fn or_coarse(
    groups: Option<&Groups>,
    classes: Classes,
) -> Result<(Option<Classes>, Option<Classes>)> {
    Ok(match groups {
        Some(groups) => (Some(labels(groups, &classes)?), Some(classes)),
        None => (Some(classes), None),
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

    fn fine(labels: &[i32]) -> Classes {
        let names = ["ship", "cat", "dog"].map(String::from).to_vec();
        Classes::named(Some(&names), labels.to_vec()).unwrap()
    }

    fn error(groups: Groups) -> String {
        labels(&groups, &fine(&[0])).unwrap_err().to_string()
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
        let coarse = labels(&groups, &fine(&[0, 1, 2, 0])).unwrap();
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
