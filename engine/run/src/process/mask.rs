//! Secret values, replaced in what a stage prints before anyone sees it.

/// What stands for a secret value.
const STARS: &[u8] = b"***";

/// The shortest value that is replaced, in bytes: a shorter one is found in too many other words, and no secret.
const SHORTEST: usize = 4;

/// Replaces secret values in one stream of bytes, in whatever pieces that comes.
#[derive(Debug, Default)]
pub struct Mask {
    /// The values, as they are and as JSON writes them; the longest first.
    values: Vec<Vec<u8>>,
    /// Whether a value begins with this byte.
    begins: Vec<bool>,
    /// What may be the beginning of a value.
    held: Vec<u8>,
}

impl Mask {
    /// Values of fewer than four bytes are not replaced. Of a value of several lines each line is, too.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Mask {
        let mut values: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            let lines = secret.lines().map(str::trim);
            for value in lines.chain([secret, secret.trim()]) {
                let json = serde_json::to_string(value).unwrap_or_default();
                let json = json.trim_start_matches('"');
                let json = json.strip_suffix('"').unwrap_or(json);
                let forms = [
                    value.to_string(),
                    json.to_string(),
                    json.replace('/', "\\/"),
                    ascii(json),
                ];
                values.extend(forms.map(String::into_bytes));
            }
        }
        values.retain(|value| value.len() >= SHORTEST);
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        let mut begins = vec![false; 256];
        for value in &values {
            begins[usize::from(value[0])] = true;
        }
        Mask {
            values,
            begins,
            held: Vec::new(),
        }
    }

    /// Takes a piece in, and hands on what is surely no part of a value.
    pub fn pass(&mut self, piece: &[u8], mut hand: impl FnMut(&[u8])) {
        if self.values.is_empty() {
            return hand(piece);
        }
        self.held.extend_from_slice(piece);
        self.clear(false, &mut hand);
    }

    /// Hands on what is left: the stream has ended.
    pub fn end(&mut self, mut hand: impl FnMut(&[u8])) {
        self.clear(true, &mut hand);
    }

    /// A whole text.
    pub fn text(&self, text: &str) -> String {
        let mut mask = Mask {
            values: self.values.clone(),
            begins: self.begins.clone(),
            held: Vec::new(),
        };
        let mut masked = Vec::new();
        mask.pass(text.as_bytes(), |bytes| masked.extend_from_slice(bytes));
        mask.end(|bytes| masked.extend_from_slice(bytes));
        String::from_utf8_lossy(&masked).into_owned()
    }

    fn clear(&mut self, is_end: bool, hand: &mut impl FnMut(&[u8])) {
        let (mut from, mut at) = (0, 0);
        while at < self.held.len() {
            let rest = &self.held[at..];
            if !self.begins[usize::from(rest[0])] {
                at += 1;
                continue;
            }
            // More bytes could make it a value, or a longer one.
            let may_be_one = |value: &&Vec<u8>| value.len() > rest.len() && value.starts_with(rest);
            if !is_end && self.values.iter().any(|value| may_be_one(&value)) {
                break;
            }
            match self.values.iter().find(|value| rest.starts_with(value)) {
                Some(value) => {
                    hand(&self.held[from..at]);
                    hand(STARS);
                    at += value.len();
                    from = at;
                }
                None => at += 1,
            }
        }
        if at > from {
            hand(&self.held[from..at]);
        }
        self.held.drain(..at);
    }
}

/// JSON text in which other letters than those of ASCII are escaped, as Python writes it.
fn ascii(json: &str) -> String {
    let mut text = String::new();
    let mut units = [0; 2];
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut units) {
                text += &format!("\\u{unit:04x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked<'a>(secrets: &[&str], pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut mask = Mask::new(secrets.iter().copied());
        let mut out = Vec::new();
        for piece in pieces {
            mask.pass(piece, |bytes| out.extend_from_slice(bytes));
        }
        mask.end(|bytes| out.extend_from_slice(bytes));
        out
    }

    fn text(secrets: &[&str], text: &str) -> String {
        let all = masked(secrets, [text.as_bytes()]);
        assert_eq!(
            Mask::new(secrets.iter().copied()).text(text).as_bytes(),
            all
        );
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn values_are_replaced_and_nothing_else() {
        assert_eq!(
            text(&["s3cret"], "a s3cret, s3cre, s3s3cret."),
            "a ***, s3cre, s3***."
        );
        // The longest counts, wherever both begin.
        assert_eq!(
            text(&["token", "token-long"], "token-long token"),
            "*** ***"
        );
        assert_eq!(text(&["abc", ""], "abc is too short"), "abc is too short");
        assert_eq!(text(&[], "nothing"), "nothing");
    }

    #[test]
    fn what_json_writes_is_replaced_too() {
        let secret = "p\"a/ß\u{1f600}\\";
        let event = serde_json::json!({ "event": "log", "message": secret }).to_string();
        assert_eq!(
            text(&[secret], &event),
            r#"{"event":"log","message":"***"}"#
        );
        let python = r#"{"message": "p\"a/\u00df\ud83d\ude00\\"}"#;
        assert_eq!(text(&[secret], python), r#"{"message": "***"}"#);
    }

    #[test]
    fn each_line_of_a_key_is_replaced() {
        let key = "-----BEGIN-----\nAAAA\n-----END-----\n";
        assert_eq!(text(&[key], &format!("<{key}>")), "<***>");
        assert_eq!(text(&[key], "AAAA\r\n"), "***\r\n");
    }

    proptest! {
        /// However it is cut, the result is the same, and holds no secret.
        #[test]
        fn pieces_change_nothing(
            // Few letters, so that values overlap with themselves, each other and what is around them.
            secrets in prop::collection::vec("[ab]{4,7}", 1..4),
            printed in "[abc]{0,60}",
            cuts in prop::collection::vec(1usize..9, 1..30),
        ) {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let whole = masked(&secrets, [printed.as_bytes()]);
            let mut pieces = Vec::new();
            let mut rest = printed.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(&masked(&secrets, pieces), &whole);
            let text = String::from_utf8(whole).unwrap();
            for secret in &secrets {
                prop_assert!(!text.contains(secret), "{} in {}", secret, text);
            }
            // What is left stands there as it was.
            let kept: usize = text.split("***").map(str::len).sum();
            let lost = printed.len() - kept;
            prop_assert_eq!(lost == 0, !secrets.iter().any(|secret| printed.contains(secret)));
        }
    }
}
