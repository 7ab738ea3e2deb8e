//! A stage's log: a file that keeps its beginning and its end, however much a stage prints.
//!
//! The file is whole while it is small. Past its largest size, all between its beginning and its last part gives way to a line
//! that says how much that was; then it grows again. So it can be read at any moment, also after `kill -9`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytesize::ByteSize;

/// How much of a log is kept, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Of its beginning, at most.
    head: u64,
    /// Of its end, at least: but for the rest of the line in which that begins.
    tail: u64,
    /// The file's largest size.
    largest: u64,
}

/// `docs/cache.md` has them.
const BOUNDS: Bounds = Bounds {
    head: 2 << 20,
    tail: 3 << 20,
    largest: 8 << 20,
};

/// A cut is moved to a line break, if there is one within this number of bytes.
const LONGEST_LINE: u64 = 64 << 10;

/// How the line begins that stands for what was left out.
const LEFT_OUT: &str = "[flow left out ";

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    file: File,
    bounds: Bounds,
    /// The file's size.
    length: u64,
    /// Where its beginning ends, once something was left out; and how much that was.
    cut: Option<(u64, u64)>,
}

impl Log {
    /// An empty log, in place of what is at `path`.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn create(path: &Path) -> io::Result<Log> {
        Log::with(path, BOUNDS)
    }

    fn with(path: &Path, bounds: Bounds) -> io::Result<Log> {
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(path)?;
        Ok(Log {
            file,
            bounds,
            length: 0,
            cut: None,
        })
    }

    /// Adds what a stage printed. What can't be written is lost: a full disk fails the commit, with a better message than a
    /// log could give.
    pub fn write(&mut self, bytes: &[u8]) {
        let piece = usize::try_from(self.bounds.tail).unwrap_or(usize::MAX);
        for piece in bytes.chunks(piece) {
            if self.file.write_all_at(piece, self.length).is_ok() {
                self.length += piece.len() as u64;
            }
            if self.length > self.bounds.largest {
                // Where it fails the log is larger, no more.
                let _ = self.leave_out();
            }
        }
    }

    /// Moves the last part to the end of the beginning.
    fn leave_out(&mut self) -> io::Result<()> {
        let (head, before) = match self.cut {
            Some(cut) => cut,
            None => (self.end_of_head()?, 0),
        };
        let begin = self.length - self.bounds.tail;
        let mut tail = vec![0; usize::try_from(self.bounds.tail).unwrap_or(0)];
        self.file.read_exact_at(&mut tail, begin)?;
        let line = tail.iter().take(LONGEST_LINE as usize);
        let skipped = line
            .clone()
            .position(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        // Of what goes, the line of the last time is none of the stage's.
        let told = self
            .cut
            .map_or(0, |(_, left_out)| self.line(left_out).len() as u64);
        let left_out = before + begin + skipped as u64 - head - told;
        let mut kept = self.line(left_out).into_bytes();
        kept.extend_from_slice(&tail[skipped..]);
        self.file.write_all_at(&kept, head)?;
        let length = head + kept.len() as u64;
        self.file.set_len(length)?;
        self.length = length;
        self.cut = Some((head, left_out));
        Ok(())
    }

    /// The end of the last whole line of the beginning.
    fn end_of_head(&self) -> io::Result<u64> {
        let length = self.bounds.head.min(LONGEST_LINE);
        let mut end = vec![0; usize::try_from(length).unwrap_or(0)];
        let from = self.bounds.head - length;
        self.file.read_exact_at(&mut end, from)?;
        let at = end.iter().rposition(|byte| *byte == b'\n');
        Ok(at.map_or(self.bounds.head, |at| from + at as u64 + 1))
    }

    fn line(&self, left_out: u64) -> String {
        let Bounds { head, tail, .. } = self.bounds;
        // The bytes as they are, for who reads it again; and as people say it.
        format!(
            "\n{LEFT_OUT}{left_out} bytes ({}) here: a log keeps its first {} and at least its last {}]\n",
            ByteSize(left_out),
            ByteSize(head),
            ByteSize(tail)
        )
    }
}

/// How many bytes a log left out; 0 where it is whole, or can't be read.
pub fn left_out(path: &Path) -> u64 {
    read_left_out(path).ok().flatten().unwrap_or(0)
}

fn read_left_out(path: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let from = BOUNDS.head.saturating_sub(LONGEST_LINE);
    // Only a log that was cut is as large as this.
    if file.metadata()?.len() < BOUNDS.head {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(LONGEST_LINE + 200).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix(LEFT_OUT));
    Ok(line.and_then(|line| line.split(' ').next()?.parse().ok()))
}

/// The last lines of a log.
pub fn tail(path: &Path) -> Vec<String> {
    const LINES: usize = 15;
    const LONGEST: usize = 500;
    let text = end(path, LONGEST_LINE).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| line.chars().take(LONGEST).collect())
        .collect()
}

/// The last bytes of a file.
fn end(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Bounds = Bounds {
        head: 200,
        tail: 300,
        largest: 1000,
    };

    fn written(bounds: Bounds, pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = Log::with(&path, bounds).unwrap();
        for piece in pieces {
            log.write(&piece);
        }
        fs::read(path).unwrap()
    }

    /// What a log keeps: its beginning, how much it left out, its end.
    fn parts(log: &[u8]) -> Option<(&[u8], u64, &[u8])> {
        let mark = format!("\n{LEFT_OUT}");
        let at = log.windows(mark.len()).position(|w| w == mark.as_bytes())?;
        let rest = &log[at + 1..];
        let end = rest.iter().position(|b| *b == b'\n')?;
        let line = std::str::from_utf8(&rest[LEFT_OUT.len()..end]).ok()?;
        let count = line.split(' ').next()?.parse().ok()?;
        Some((&log[..at], count, &rest[end + 1..]))
    }

    proptest! {
        /// Whatever is printed in whatever pieces: the file stays small, keeps both ends to the byte, and counts the rest.
        #[test]
        fn both_ends_are_kept_and_the_rest_is_counted(
            lines in prop::collection::vec((0usize..90, prop::bool::weighted(0.9)), 0..200),
            piece in 1usize..400,
        ) {
            let mut printed = Vec::new();
            for (i, (length, ends)) in lines.iter().enumerate() {
                printed.extend(format!("{i:04}").bytes().chain(std::iter::repeat_n(b'x', *length)));
                if *ends {
                    printed.push(b'\n');
                }
            }
            let log = written(SMALL, printed.chunks(piece).map(<[u8]>::to_vec));
            if printed.len() <= SMALL.largest as usize {
                prop_assert_eq!(log, printed);
                return Ok(());
            }
            prop_assert!(log.len() <= SMALL.largest as usize);
            let (head, left_out, tail) = parts(&log).unwrap();
            prop_assert!(printed.starts_with(head) && head.len() <= SMALL.head as usize);
            prop_assert!(printed.ends_with(tail));
            prop_assert_eq!(head.len() + left_out as usize + tail.len(), printed.len());
        }
    }

    #[test]
    fn a_log_of_a_gigabyte_takes_eight_megabytes_and_says_what_it_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = Log::create(&path).unwrap();
        log.write(b"the first line\n");
        // Sixty of them show what a thousand would.
        let megabyte = b"0123456789abcde\n".repeat(1 << 16);
        for _ in 0..60 {
            log.write(&megabyte);
        }
        log.write(b"the last line\n");
        let kept = fs::metadata(&path).unwrap().len();
        assert!(kept <= BOUNDS.largest, "{kept}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("the first line\n") && text.ends_with("\nthe last line\n"));
        let line = text
            .lines()
            .find(|line| line.starts_with(LEFT_OUT))
            .unwrap();
        let told = left_out(&path);
        assert!(line.contains(&told.to_string()), "{line}");
        assert_eq!(
            text.len() as u64 + told - line.len() as u64 - 2,
            29 + 60 * (1 << 20)
        );
        assert_eq!(tail(&path).len(), 15);
    }

    #[test]
    fn a_whole_log_leaves_nothing_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        Log::create(&path).unwrap().write(b"one\ntwo\n");
        assert_eq!(
            (left_out(&path), tail(&path)),
            (0, vec!["one".to_string(), "two".into()])
        );
        assert_eq!(left_out(&folder.path().join("none")), 0);
        assert!(tail(&folder.path().join("none")).is_empty());
    }
}
