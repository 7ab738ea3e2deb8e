//! Passing a test over where the machine lacks a tool that it needs.

use std::io::Write;

/// Says why this test, or the rest of it, is passed over, and returns. On a machine of continuous integration (where `CI` is set)
/// that is a failure: what is passed over there is never tested.
///
/// A function that gives something gives its default.
#[macro_export]
macro_rules! skip {
    ($($why:tt)*) => {{
        $crate::skip::say(&format!($($why)*));
        return Default::default();
    }};
}

/// What [`skip!`](crate::skip!) does before it returns.
///
/// # Panics
/// Where `CI` is set.
pub fn say(why: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "passed over, which must not be where CI is set: {why}"
    );
    // Not `eprintln!`, which is shown for tests that fail alone.
    let _ = writeln!(std::io::stderr(), "\nIGNORED: {why}");
}
