//! Lines of what a process prints.

/// The longest line that is taken from a stage's stdout; a longer one is cut into several.
const LONGEST_LINE: usize = 1 << 20;

/// Puts lines together from the pieces that they come in.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes a piece in, and gives each line that is whole with it.
    pub fn add(&mut self, piece: &[u8], mut each: impl FnMut(&str)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") || self.begun.len() >= LONGEST_LINE {
                self.end(&mut each);
            }
        }
    }

    /// Gives the last line, where it has no line break.
    pub fn end(&mut self, mut each: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            each(String::from_utf8_lossy(&self.begun).trim_end_matches(['\n', '\r']));
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in ["on", "e\r\n\ntwo\nthr", "ee", "ü"] {
            lines.add(piece.as_bytes(), |line| found.push(line.to_string()));
        }
        lines.end(|line| found.push(line.to_string()));
        assert_eq!(found, ["one", "", "two", "threeü"]);
        let mut lengths = Vec::new();
        for _ in 0..48 {
            lines.add(&[b'x'; 64 << 10], |line| lengths.push(line.len()));
        }
        assert_eq!(lengths, [LONGEST_LINE; 3]);
    }
}
