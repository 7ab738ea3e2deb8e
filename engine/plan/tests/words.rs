//! Commands with values in the place of their names: what a list becomes, and that bash reads the very words.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};

use flow_plan::plan::words::{Words, arguments, line};
use flow_plan::workflow::Template;

fn lookup(value: &Value) -> impl FnMut(&str) -> Result<Words, String> + '_ {
    move |name| value.get(name).map(Words::of).ok_or(name.to_string())
}

fn quote(word: &str) -> Result<String, String> {
    Ok(format!("'{}'", word.replace('\'', "'\\''")))
}

fn line_of(text: &str, values: &Value) -> String {
    line(&Template::parse(text).unwrap(), lookup(values), quote).unwrap()
}

#[test]
fn a_list_that_is_a_whole_word_becomes_several() {
    let values = json!({ "n": 3, "w": ["a b", "c'd", 1.5], "none": [], "t": { "k": 1 } });
    let of = |text: &str| arguments(&Template::parse(text).unwrap(), lookup(&values)).unwrap();
    assert_eq!(of("${w}"), ["a b", "c'd", "1.5"]);
    assert_eq!(of("--w=${w}"), [r#"--w=["a b","c'd",1.5]"#]);
    assert_eq!(of("${none}"), [""; 0]);
    assert_eq!(of("${n}${t}"), [r#"3{"k":1}"#]);
    assert_eq!(
        line_of("echo ${w} ${n}", &values),
        r"echo 'a b' 'c'\''d' '1.5' '3'"
    );
    assert_eq!(line_of("x=${w}", &values), r#"x='["a b","c'\''d",1.5]'"#);
    assert_eq!(
        line_of("for i in ${w}; do", &values),
        r"for i in 'a b' 'c'\''d' '1.5'; do"
    );
    assert_eq!(line_of("${w}${n}", &values), r#"'["a b","c'\''d",1.5]''3'"#);
    let wrong = line(&Template::parse("${x}").unwrap(), lookup(&values), quote);
    assert_eq!(wrong.unwrap_err(), "x");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What bash gets are the very words.
    #[test]
    fn bash_reads_the_words(words in prop::collection::vec("[^\0]{0,12}", 0..5)) {
        let values = json!({ "w": words });
        let script = line_of("printf '%s\\0' x ${w}\n", &values);
        let output = Command::new("bash").args(["-euc", &script]).output().unwrap();
        let mut expected = b"x\0".to_vec();
        for word in &words {
            expected.extend(word.as_bytes());
            expected.push(0);
        }
        prop_assert_eq!(output.stdout, expected);
    }
}
