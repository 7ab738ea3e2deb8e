//! What a file is, by its first bytes: for people who gave one that can't be read, whatever its name ends in.

/// What a file is that is neither `.safetensors` nor PyTorch's, and so can't be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// What it is, with its article.
    pub is: String,
    /// What makes a file of it that can be read.
    pub remedy: &'static str,
}

/// By their first bytes: what a file is, and what makes one of it that can be read.
const FORMS: &[(&[u8], &str, &str)] = &[
    (
        b"\x93NUMPY",
        "an array of NumPy's (.npy)",
        "a checkpoint holds many tensors by name",
    ),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras writes it",
        "save the tensors under torchvision's names with torch.save",
    ),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it with unxz"),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd",
        "unpack it with unzstd",
    ),
    (b"PK", "a zip archive", "unpack it"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS in place of the file",
        "`git lfs pull` fetches the file",
    ),
];

/// A tar archive has its mark here.
const TAR: std::ops::Range<usize> = 257..262;

/// What the content of a file is that is neither.
pub fn of(bytes: &[u8]) -> Form {
    let form = |is: &str, remedy| Form {
        is: is.into(),
        remedy,
    };
    const ANEW: &str = "it was not written or downloaded whole: get it anew";
    if bytes.is_empty() {
        return form("empty (0 bytes)", ANEW);
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return form(&format!("{} zero bytes", bytes.len()), ANEW);
    }
    if let Some((_, is, remedy)) = FORMS.iter().find(|(begin, ..)| bytes.starts_with(begin)) {
        return form(is, remedy);
    }
    if bytes.get(TAR) == Some(b"ustar") {
        return form("a tar archive", "unpack it");
    }
    if let [0x80, 2..=5, ..] = bytes {
        return form(
            "a plain pickle of Python's",
            "load it with Python's pickle and save the state dict: torch.save(net.state_dict(), \"x.pth\")",
        );
    }
    if let Some(line) = first_line(bytes) {
        let lower = line.to_lowercase();
        if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
            return form(
                "a web page",
                "the server sent it in place of the file, to log in or to say what is wrong: get the file anew",
            );
        }
        return form(
            &format!("a text that begins with `{line}`"),
            "give the file that holds the weights",
        );
    }
    let begin: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    form(
        &format!(
            "of a form that is not known, and begins with the bytes {}",
            begin.join(" ")
        ),
        "save the network's tensors with torch.save or safetensors",
    )
}

/// Whether it begins as `.safetensors` does: the length of a header, and the header, a JSON object.
pub fn is_safetensors(bytes: &[u8]) -> bool {
    /// The format's own limit.
    const LONGEST: u64 = 100_000_000;
    bytes
        .split_first_chunk::<8>()
        .is_some_and(|(length, rest)| {
            u64::from_le_bytes(*length) <= LONGEST && rest.first() == Some(&b'{')
        })
}

/// The beginning of a text's first line; none of what is no text.
fn first_line(bytes: &[u8]) -> Option<String> {
    const LOOKED_AT: usize = 512;
    const SHOWN: usize = 40;
    let begin = &bytes[..bytes.len().min(LOOKED_AT)];
    let text = match std::str::from_utf8(begin) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&begin[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}');
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(SHOWN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        let tar = [&[b'a'; 257][..], b"ustar\0", &[0; 300]].concat();
        for (bytes, is) in [
            (&b""[..], "empty (0 bytes)"),
            (&[0; 4096], "4096 zero bytes"),
            (b"\x93NUMPY\x01\0v\0{'descr'", "an array of NumPy's (.npy)"),
            (b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file, as Keras writes it"),
            (b"\x1f\x8b\x08\0", "compressed with gzip"),
            (b"\xfd7zXZ\0\0", "compressed with xz"),
            (b"\x28\xb5\x2f\xfd\x04", "compressed with zstd"),
            (&tar, "a tar archive"),
            (
                b"\x80\x04\x95\x03\0\0\0\0\0\0\0}\x94.",
                "a plain pickle of Python's",
            ),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:",
                "a pointer of Git LFS in place of the file",
            ),
            (b"\n<!DOCTYPE html>\n<html>", "a web page"),
            (
                b"epoch,loss\n0,1.5\n",
                "a text that begins with `epoch,loss`",
            ),
            (
                "\u{feff}Gewichte f\u{fc}r".as_bytes(),
                "a text that begins with `Gewichte f\u{fc}r`",
            ),
            (
                b"\xff\x01\x02",
                "of a form that is not known, and begins with the bytes ff 01 02",
            ),
        ] {
            assert_eq!(of(bytes).is, is);
        }
    }
}
