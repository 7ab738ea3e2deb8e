//! Values that fit into a line: of two that differ, the places where they do.

use serde_json::Value;

/// A space at which no line ends.
pub const NO_BREAK: char = '\u{a0}';
/// As many characters of a value are shown.
const LENGTH: usize = 60;
/// As many of what two values share are shown before and after what differs.
const CONTEXT: usize = 12;

/// A value that fits into a line: digests by their first digits, long values cut.
pub fn short(value: &str) -> String {
    if is_digest(value) {
        return value[..12].into();
    }
    cut(&value.chars().collect::<Vec<_>>(), 0)
}

/// Two values that differ, as they fit into a line: long ones around the first place where they differ, with `…` for what
/// is left out.
pub fn pair(a: &str, b: &str) -> (String, String) {
    let fits = |value: &str| value.chars().count() <= LENGTH;
    let digests = is_digest(a) && is_digest(b) && short(a) != short(b);
    if a == b || digests || (fits(a) && fits(b)) {
        return (short(a), short(b));
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - same;
    let after = a.iter().rev().zip(b.iter().rev());
    let after = after.take(rest).take_while(|(a, b)| a == b).count();
    let start = same.saturating_sub(CONTEXT);
    let shown = |text: &[char]| {
        let end = text.len() - after.saturating_sub(CONTEXT);
        let mut shown = cut(&text[..end], start);
        if end < text.len() && !shown.ends_with('…') {
            shown.push('…');
        }
        shown
    };
    (shown(&a), shown(&b))
}

/// The characters from `start` on, as many as fit.
fn cut(text: &[char], start: usize) -> String {
    let before = (start > 0).then_some('…');
    let rest = &text[start..];
    let shown = before.into_iter().chain(rest.iter().copied());
    if rest.len() > LENGTH {
        shown.take(LENGTH - 1).chain(['…']).collect()
    } else {
        shown.collect()
    }
}

fn is_digest(value: &str) -> bool {
    value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A value as it stands in a workflow. Lines may end between the members of a table or an array; a member without a
/// value has no form there and is left out.
pub fn toml(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members: Vec<String> = members
                .map(|(name, value)| format!("{name}{NO_BREAK}={NO_BREAK}{}", toml(value)))
                .collect();
            match members.is_empty() {
                true => "{}".into(),
                false => format!("{{{NO_BREAK}{}{NO_BREAK}}}", members.join(", ")),
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// As many names of a long list are shown where people look for one of them.
pub const MANY: usize = 30;

/// The first `most` names, and how many more there are.
pub fn some(names: &[impl AsRef<str>], most: usize) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.len().saturating_sub(most) {
        // To count one would be as long.
        0 | 1 => names.join(", "),
        more => format!("{} and {more} more", names[..most].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_values_are_shown_where_they_differ() {
        let long = |end: &str| format!("{{\"{}\":1,\"b\":{end}}}", "a".repeat(70));
        let shown = pair(&long("1"), &long("2"));
        assert_eq!(
            shown,
            ("…aaaa\":1,\"b\":1}".into(), "…aaaa\":1,\"b\":2}".into())
        );
        // What differs is in the middle, and longer than a line.
        let middle = |c: &str| format!("{}{}{}", "x".repeat(40), c.repeat(80), "y".repeat(40));
        let (a, b) = pair(&middle("1"), &middle("2"));
        assert_eq!(a, format!("…{}{}…", "x".repeat(CONTEXT), "1".repeat(46)));
        assert_eq!(b, a.replace('1', "2"));
        // One is the beginning of the other.
        let (a, b) = pair(&"z".repeat(70), &"z".repeat(71));
        assert_eq!(
            (a, b),
            (
                format!("…{}", "z".repeat(12)),
                format!("…{}", "z".repeat(13))
            )
        );
        assert_eq!(pair("0.8", "0.9"), ("0.8".into(), "0.9".into()));
        let digest = |digit: &str| digit.repeat(64);
        assert_eq!(
            pair(&digest("a"), &digest("b")),
            ("a".repeat(12), "b".repeat(12))
        );
        let late = |digit: &str| format!("{}{digit}", "a".repeat(63));
        assert_eq!(
            pair(&late("1"), &late("2")).0,
            format!("…{}1", "a".repeat(12))
        );
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (1..=500).map(|n| format!("a[n={n}]")).collect();
        assert_eq!(some(&names[..1], 3), "a[n=1]");
        assert_eq!(some(&names[..4], 3), "a[n=1], a[n=2], a[n=3], a[n=4]");
        assert_eq!(some(&names, 3), "a[n=1], a[n=2], a[n=3] and 497 more");
    }

    proptest! {
        #[test]
        fn values_that_differ_never_look_alike(
            before in "[ab]{0,100}", a in "[abé]{0,100}", b in "[abé]{0,100}", after in "[ab]{0,100}",
        ) {
            let (a, b) = (format!("{before}{a}{after}"), format!("{before}{b}{after}"));
            let (left, right) = pair(&a, &b);
            prop_assert_eq!(left == right, a == b, "{} {}", left, right);
            for shown in [left, right] {
                prop_assert!(shown.chars().count() <= LENGTH + 2, "{}", shown);
            }
        }
    }
}
