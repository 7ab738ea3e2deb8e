//! Writing YAML: what readers of YAML 1.1 and of 1.2 take for the same value.

use crate::workflow::NodeValue;

/// Words that some readers take for something else than a string.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A value as a document.
pub(super) fn text(value: &NodeValue) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// A value that begins where the text ends: at a line's beginning, or behind a `- `.
fn block(value: &NodeValue, depth: usize, text: &mut String) {
    match value {
        NodeValue::Table(entries) if !entries.is_empty() => {
            for (i, (key, node)) in entries.iter().enumerate() {
                if i > 0 {
                    indent(depth, text);
                }
                string(&key.value, text);
                text.push(':');
                if is_block(&node.value) {
                    text.push('\n');
                    indent(depth + 1, text);
                    block(&node.value, depth + 1, text);
                } else {
                    text.push(' ');
                    block(&node.value, depth, text);
                }
            }
        }
        NodeValue::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    indent(depth, text);
                }
                text.push_str("- ");
                block(&item.value, depth + 1, text);
            }
        }
        scalar => {
            match scalar {
                NodeValue::String(value) => string(value, text),
                NodeValue::Integer(number) => text.push_str(&number.to_string()),
                NodeValue::Float(number) => text.push_str(&float(*number)),
                NodeValue::Boolean(value) => text.push_str(&value.to_string()),
                NodeValue::Array(_) => text.push_str("[]"),
                NodeValue::Table(_) => text.push_str("{}"),
            }
            text.push('\n');
        }
    }
}

fn is_block(value: &NodeValue) -> bool {
    match value {
        NodeValue::Table(entries) => !entries.is_empty(),
        NodeValue::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// A float with a point, and a sign in its exponent: YAML 1.1 reads `1e-5` as a string.
fn float(number: f64) -> String {
    let text = format!("{number:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// A string: without quotes where nobody can take it for anything else.
fn string(value: &str, text: &mut String) {
    if is_plain(value) {
        text.push_str(value);
        return;
    }
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            // What a YAML text may not hold, or takes for the end of a line.
            c if c.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

fn is_plain(value: &str) -> bool {
    let begins = value.starts_with(|c: char| c.is_ascii_alphabetic())
        || ["/", "./", "../"].iter().any(|p| value.starts_with(p));
    let inside =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | ' ');
    begins
        && value.chars().all(inside)
        && !value.ends_with(' ')
        && !WORDS.contains(&value.to_ascii_lowercase().as_str())
}
