//! One value a row, from whatever file: what labels, names and splits are read from.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::dataset::Split;

use crate::coarse::Classes;

/// The values of a column, by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// Whole numbers.
    Integers(Vec<i64>),
    /// Texts.
    Texts(Vec<String>),
}

impl Column {
    /// Whole numbers where all texts are such, else the texts.
    pub fn of_texts(texts: Vec<String>) -> Column {
        let whole = |text: &String| {
            let text = text.trim();
            text.parse().ok().or_else(|| {
                // Tools that know no missing integers write 1.0 for 1.
                let number: f64 = text.parse().ok()?;
                (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
            })
        };
        match texts.iter().map(whole).collect() {
            Some(numbers) => Column::Integers(numbers),
            None => Column::Texts(texts),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        match self {
            Column::Integers(numbers) => numbers.len(),
            Column::Texts(texts) => texts.len(),
        }
    }

    /// The values as texts.
    pub fn texts(self) -> Vec<String> {
        match self {
            Column::Integers(numbers) => numbers.iter().map(i64::to_string).collect(),
            Column::Texts(texts) => texts,
        }
    }

    /// Classes: whole numbers are their labels, texts their names, in alphabetical order unless `names` gives another.
    /// `what` is what errors call the column.
    ///
    /// # Errors
    /// Where a row has no class, or one that `names` does not have, or numbers are none of classes.
    pub fn classes(self, names: Option<&[String]>, what: &str) -> Result<Classes> {
        let labels = match self {
            Column::Integers(numbers) => {
                let most = names.map_or(numbers.len(), <[String]>::len);
                let label = |(row, &number): (usize, &i64)| {
                    ensure!(
                        number >= 0,
                        "{what}: row {row} holds {number}, which is no class: leave out the rows whose class is unknown"
                    );
                    // More classes than rows: a column of row numbers or hashes, not of classes.
                    ensure!(
                        number < most as i64,
                        "{what}: row {row} holds {number}, and there are {most} {}: classes are numbered 0, 1, 2, …",
                        if names.is_some() {
                            "names of classes"
                        } else {
                            "rows"
                        }
                    );
                    Ok(i32::try_from(number)?)
                };
                let labels = numbers.iter().enumerate().map(label);
                return Classes::named(names, labels.collect::<Result<_>>()?);
            }
            Column::Texts(texts) => texts,
        };
        if let Some(row) = labels.iter().position(String::is_empty) {
            bail!("{what}: row {row} has no class: leave it out of the data");
        }
        let names = match names {
            Some(names) => names.to_vec(),
            None => {
                let found: BTreeSet<&String> = labels.iter().collect();
                ensure!(
                    found.len() < labels.len() || labels.len() < 100,
                    "{what} holds another text in each of its {} rows: those are names, not classes",
                    labels.len()
                );
                found.into_iter().cloned().collect()
            }
        };
        let places = names.iter().enumerate();
        let of_name: HashMap<&str, i32> = places
            .map(|(place, name)| (name.as_str(), place as i32))
            .collect();
        let label = |name: &String| {
            let found = of_name.get(name.as_str()).copied();
            found.with_context(|| format!("{what} holds \"{name}\", which `classes` does not name"))
        };
        let labels = labels.iter().map(label).collect::<Result<Vec<i32>>>()?;
        Classes::named(Some(&names), labels)
    }

    /// The part of each row: 0, 1, 2, or `train`, `validation` (`val`), `test`.
    ///
    /// # Errors
    /// Where a row has another value.
    pub fn splits(self, what: &str) -> Result<Vec<Split>> {
        let part = |(row, text): (usize, String)| {
            split_of(&text).with_context(|| {
                format!(
                    "{what}: row {row} holds \"{text}\"; a split is train (0), validation (1) or test (2)"
                )
            })
        };
        self.texts().into_iter().enumerate().map(part).collect()
    }
}

/// The part of the data that a word stands for.
pub fn split_of(word: &str) -> Option<Split> {
    match word.trim().to_ascii_lowercase().as_str() {
        "0" | "train" | "training" => Some(Split::Train),
        "1" | "val" | "valid" | "validation" | "dev" => Some(Split::Val),
        "2" | "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Column {
        Column::of_texts(texts.iter().map(|text| text.to_string()).collect())
    }

    #[track_caller]
    fn says<T: std::fmt::Debug>(result: Result<T>, text: &str) {
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains(text), "{error}\n(expected: {text})");
    }

    #[test]
    fn numbers_are_labels_and_texts_are_names() {
        assert_eq!(texts(&["1", "0", "2.0"]), Column::Integers(vec![1, 0, 2]));
        let classes = texts(&["dog", "cat", "dog"]).classes(None, "y").unwrap();
        assert_eq!(classes.names, ["cat", "dog"]);
        assert_eq!(classes.labels, [1, 0, 1]);
        let names = ["dog", "cat"].map(String::from);
        let classes = texts(&["dog", "cat"]).classes(Some(&names), "y").unwrap();
        assert_eq!(classes.labels, [0, 1]);
        let classes = texts(&["1", "0"]).classes(Some(&names), "y").unwrap();
        assert_eq!((classes.names[1].as_str(), classes.labels[0]), ("cat", 1));
    }

    #[test]
    fn what_is_no_class_and_no_split_is_said() {
        says(
            texts(&["0", "-1"]).classes(None, "y"),
            "y: row 1 holds -1, which is no class",
        );
        says(
            texts(&["0", "7"]).classes(None, "y"),
            "y: row 1 holds 7, and there are 2 rows",
        );
        says(
            texts(&["a", ""]).classes(None, "y"),
            "y: row 1 has no class",
        );
        let names = ["a".to_string()];
        says(
            texts(&["a", "b"]).classes(Some(&names), "y"),
            "holds \"b\", which `classes` does not name",
        );
        says(
            texts(&["1"]).classes(Some(&names), "y"),
            "there are 1 names of classes",
        );
        let many: Vec<String> = (0..200).map(|n| format!("x{n}.png")).collect();
        says(
            Column::Texts(many).classes(None, "file"),
            "those are names, not classes",
        );
        assert_eq!(
            texts(&["Train", "val", "test"]).splits("s").unwrap(),
            [Split::Train, Split::Val, Split::Test]
        );
        assert_eq!(
            texts(&["2", "0"]).splits("s").unwrap(),
            [Split::Test, Split::Train]
        );
        says(texts(&["train", "x"]).splits("s"), "s: row 1 holds \"x\"");
    }
}
