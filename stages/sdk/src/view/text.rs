//! Names as charts show them: short, and no two the same.

use std::collections::BTreeSet;

/// The first `most` characters of a text, with `…` at the end of one that is longer.
pub fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// Names for the axis of a chart: at most 40 characters, none empty, each different from the others.
pub fn distinct(names: &[String]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let unique = |name: &String| {
        let name = match name.trim() {
            "" => "(no name)".to_owned(),
            _ => short(name, 40),
        };
        let mut candidate = name.clone();
        let mut number = 1;
        while !taken.insert(candidate.clone()) {
            number += 1;
            candidate = format!("{name} ({number})");
        }
        candidate
    };
    names.iter().map(unique).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_different() {
        let long = "ä".repeat(10_000);
        let names: Vec<String> = ["cat", "", "cat", " ", &long, &long]
            .map(String::from)
            .into();
        let shown = distinct(&names);
        assert_eq!(
            &shown[..4],
            ["cat", "(no name)", "cat (2)", "(no name) (2)"]
        );
        assert_eq!(shown[4].chars().count(), 40);
        assert_eq!(shown[5], format!("{} (2)", shown[4]));
        assert_eq!(short("abc", 3), "abc");
        assert_eq!(short("abcd", 3), "ab…");
    }
}
