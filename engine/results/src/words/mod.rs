//! Words that pages and terminals share: text from elsewhere, values, times, commands; how things stand and came to be.
//!
//! - `excerpt`: values that fit into a line.
//! - [`standing`]: why an instance stands as it does.
//! - [`record`]: how a run ended, and where an input came from.

mod excerpt;
pub mod record;
pub mod standing;

use std::time::Duration;

pub use excerpt::{MANY, NO_BREAK, pair, short, some, toml};

/// Text from elsewhere on one line, without characters that a terminal acts on: they stand as escapes.
pub fn plain(text: &str) -> String {
    let acts =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A length of time, as short as it can be said.
pub fn duration(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match whole {
        0 if seconds < 0.0995 => format!("{:.0} ms", seconds * 1000.0),
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A moment of RFC 3339 to the second, in UTC.
pub fn second(moment: &str) -> String {
    moment.get(..19).unwrap_or(moment).replace('T', " ")
}

/// A command line that a shell reads as these arguments.
pub fn command(arguments: &[String]) -> String {
    let quoted = arguments.iter().map(|argument| {
        shlex::try_quote(argument).map_or_else(|_| argument.clone(), |quoted| quoted.into_owned())
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(duration(0.0123), "12 ms");
        assert_eq!(duration(1.25), "1.2 s");
        assert_eq!(duration(125.0), "2 min 05 s");
        assert_eq!(duration(7260.0), "2 h 01 min");
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        assert_eq!(
            plain("é → \u{1b}[2J\r\n\u{202e}x\u{9b}"),
            "é → \\u{1b}[2J\\r\\n\\u{202e}x\\u{9b}"
        );
    }
}
