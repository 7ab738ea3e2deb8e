//! Opening and unpacking files whose size is known beforehand, so that no file can fill the memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::MultiGzDecoder;

/// Opens a file as it is.
///
/// # Errors
/// Where it can't be opened.
pub fn open_raw(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("{} can't be opened", path.display()))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// Opens a file, and unpacks it on the way where its first bytes say that it is a gzip file.
///
/// # Errors
/// Where it can't be opened.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    let mut magic = [0; 2];
    let packed = open_raw(path)?.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    let file = open_raw(path)?;
    Ok(if packed {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

/// Reads to the end of what must be `expected` bytes. Memory grows with what is there, not with what was promised.
///
/// # Errors
/// Where there are fewer or more, or reading fails (a damaged `.gz` fails its checksum here).
pub fn read_exactly(reader: impl Read, name: &str, expected: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader
        .take(expected.saturating_add(1))
        .read_to_end(&mut bytes);
    let found = bytes.len() as u64;
    if found > expected {
        bail!("{name} is longer than its format allows: expected {expected} bytes, found more");
    }
    match read {
        Ok(_) if found == expected => Ok(bytes),
        Ok(_) => bail!("{name} is truncated: expected {expected} bytes, found {found}"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            bail!("{name} is truncated: expected {expected} bytes, found {found}")
        }
        Err(error) => Err(error)
            .with_context(|| format!("{name} is damaged after {found} of its {expected} bytes")),
    }
}

/// Reads to the end of what may be at most `most` bytes.
///
/// # Errors
/// Where there are more, or reading fails.
pub fn read_to_end(reader: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Bounded { reader, left: most }.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The size that a member of an archive must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Exactly this number of bytes.
    Exactly(u64),
    /// At most this number of bytes.
    AtMost(u64),
}

impl Size {
    fn most(self) -> u64 {
        match self {
            Size::Exactly(n) | Size::AtMost(n) => n,
        }
    }

    fn read(self, reader: impl Read, name: &str, length: u64) -> Result<Vec<u8>> {
        let expected = match self {
            Size::Exactly(n) => {
                ensure!(
                    length <= n,
                    "{name} is longer than its format allows: expected {n} bytes, found {length}"
                );
                n
            }
            Size::AtMost(n) => {
                ensure!(
                    length <= n,
                    "{name} is longer than its format allows: at most {n} bytes, found {length}"
                );
                length
            }
        };
        read_exactly(reader, name, expected)
    }
}

/// The files of one way in which a data set is published.
pub struct Packing<'a> {
    /// The folder that its archive unpacks to.
    pub folder: &'a str,
    /// Each file's name and size.
    pub files: Vec<(&'static str, Size)>,
}

/// Reads the files of one of these packings from a folder (or its sub-folder), or from a `.zip`, `.tar` or `.tar.gz`
/// archive. Which packing it is comes first; the others' files are not there.
///
/// An archive is never unpacked to disk; a member counts by its file name, if it is a regular file. So no member can be
/// written anywhere, whatever path or link it holds. A `.tar.gz` is read to its end, which checks gzip's checksum.
///
/// # Errors
/// Where a file is missing, there twice, or of another size, or the archive is damaged.
pub fn members(
    path: &Path,
    packings: &[Packing],
) -> Result<(usize, BTreeMap<&'static str, Vec<u8>>)> {
    let wanted: Vec<(&'static str, Size)> = packings
        .iter()
        .flat_map(|packing| packing.files.iter().copied())
        .collect();
    let mut magic = [0; 2];
    let found = if path.is_dir() {
        from_folder(path, packings)?
    } else if open_raw(path)?.read_exact(&mut magic).is_ok() && magic == *b"PK" {
        from_zip(path, &wanted)?
    } else {
        from_tar(path, &wanted)?
    };
    let missing = |packing: &Packing| -> Vec<&str> {
        let names = packing.files.iter().map(|(name, _)| *name);
        names.filter(|name| !found.contains_key(name)).collect()
    };
    // Of packings that aren't whole, the one that was most likely meant.
    let (index, missing) = (packings.iter().map(missing).enumerate())
        .min_by_key(|(index, missing)| {
            let there = packings[*index].files.len() - missing.len();
            (!missing.is_empty(), std::cmp::Reverse(there))
        })
        .context("no packing is known")?;
    ensure!(
        missing.is_empty(),
        "{} has no regular file {} of {}",
        path.display(),
        missing.join(", "),
        packings[index].folder
    );
    Ok((index, found))
}

fn from_folder(path: &Path, packings: &[Packing]) -> Result<BTreeMap<&'static str, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for packing in packings {
        let inner = path.join(packing.folder);
        let root = if inner.is_dir() { &inner } else { path };
        let files = packing.files.iter().map(|&(name, size)| (name, size));
        let files: Vec<_> = files
            .map(|(name, size)| (name, root.join(name), size))
            .filter(|(_, file, _)| file.is_file())
            .collect();
        let whole = files.len() == packing.files.len();
        for (name, file, size) in files {
            let length = file.metadata().map_or(0, |m| m.len());
            let shown = file.display().to_string();
            found.insert(name, size.read(open_raw(&file)?, &shown, length)?);
        }
        if whole {
            break;
        }
    }
    Ok(found)
}

/// What an archive may hold beside the wanted members: headers, padding, a readme.
const BESIDE: u64 = 16 << 20;

fn from_tar(
    path: &Path,
    wanted: &[(&'static str, Size)],
) -> Result<BTreeMap<&'static str, Vec<u8>>> {
    let shown = path.display();
    let most = wanted.iter().map(|(_, size)| size.most()).sum::<u64>() + BESIDE;
    let mut archive = tar::Archive::new(Bounded {
        reader: open(path)?,
        left: most,
    });
    let mut found = BTreeMap::new();
    let damaged = || format!("{shown} is not a whole .tar, .tar.gz or .zip archive");
    for entry in archive.entries().with_context(damaged)? {
        let entry = entry.with_context(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let member = entry.path_bytes().into_owned();
        let length = entry.size();
        take(path, wanted, &member, entry, length, &mut found)?;
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).with_context(damaged)?;
    Ok(found)
}

fn from_zip(
    path: &Path,
    wanted: &[(&'static str, Size)],
) -> Result<BTreeMap<&'static str, Vec<u8>>> {
    let shown = path.display();
    let damaged = || format!("{shown} is not a whole .zip archive");
    let mut archive = zip::ZipArchive::new(open_raw(path)?).with_context(damaged)?;
    let mut found = BTreeMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).with_context(damaged)?;
        if entry.is_file() {
            let (member, length) = (entry.name_raw().to_vec(), entry.size());
            take(path, wanted, &member, entry, length, &mut found)?;
        }
    }
    Ok(found)
}

/// Reads a member of an archive, where it is a wanted one.
fn take(
    archive: &Path,
    wanted: &[(&'static str, Size)],
    member: &[u8],
    content: impl Read,
    length: u64,
    found: &mut BTreeMap<&'static str, Vec<u8>>,
) -> Result<()> {
    let shown = archive.display();
    let last = member.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let Some(&(name, size)) = wanted.iter().find(|(name, _)| name.as_bytes() == last) else {
        return Ok(());
    };
    ensure!(!found.contains_key(name), "{shown} holds {name} twice");
    let name_there = format!("{name} in {shown}");
    found.insert(name, size.read(content, &name_there, length)?);
    Ok(())
}

/// A reader that fails where it would give more than it may.
struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other("it unpacks to more than a data set of this kind holds")
        })?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn packings() -> [Packing<'static>; 2] {
        [
            Packing {
                folder: "sub",
                files: vec![
                    ("a.bin", Size::Exactly(6)),
                    ("names.txt", Size::AtMost(100)),
                ],
            },
            Packing {
                folder: "other",
                files: vec![("a", Size::AtMost(100)), ("meta", Size::AtMost(100))],
            },
        ]
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            // Written by hand, since the library refuses to write the paths that have to be harmless here.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, *bytes).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<BTreeMap<&'static str, Vec<u8>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar.gz");
        std::fs::write(&path, bytes).unwrap();
        Ok(members(&path, &packings())?.1)
    }

    fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, bytes) in files {
            archive
                .start_file(*name, zip::write::SimpleFileOptions::default())
                .unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn good() -> Vec<u8> {
        tar(&[
            ("sub/a.bin", b"123456"),
            ("sub/readme.html", b"hello"),
            ("sub/names.txt", b"x\n"),
        ])
    }

    #[test]
    fn members_are_read_from_archives_and_folders() {
        let zipped = zip(&[("sub/a.bin", b"123456"), ("sub/names.txt", b"x\n")]);
        for bytes in [good(), gz(&good()), zipped] {
            let found = read(&bytes).unwrap();
            assert_eq!(found["a.bin"], b"123456");
            assert_eq!(found["names.txt"], b"x\n");
        }
        let folder = tempfile::tempdir().unwrap();
        let sub = folder.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        std::fs::write(sub.join("a.bin"), b"123456").unwrap();
        std::fs::write(sub.join("names.txt"), b"x\n").unwrap();
        let found = |path: &Path| {
            let (packing, files) = members(path, &packings()).unwrap();
            (packing, files.len())
        };
        assert_eq!(found(folder.path()), (0, 2));
        assert_eq!(found(&sub), (0, 2));
        std::fs::write(sub.join("a.bin"), b"1234").unwrap();
        let error = members(&sub, &packings()).unwrap_err().to_string();
        assert!(
            error.ends_with("a.bin is truncated: expected 6 bytes, found 4"),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_with_an_archive_is_said() {
        let says = |bytes: &[u8], text: &str| {
            let error = format!("{:#}", read(bytes).unwrap_err());
            assert!(error.contains(text), "{error}\n(expected: {text})");
        };
        says(
            &tar(&[("a.bin", b"123"), ("names.txt", b"")]),
            "is truncated: expected 6 bytes, found 3",
        );
        says(
            &tar(&[("a.bin", b"1234567"), ("names.txt", b"")]),
            "expected 6 bytes, found 7",
        );
        says(
            &tar(&[("a.bin", b"123456"), ("names.txt", &[b'x'; 101])]),
            "at most 100 bytes, found 101",
        );
        says(
            &tar(&[("a.bin", b"123456")]),
            "has no regular file names.txt",
        );
        says(
            &tar(&[("a.bin", b"123456"), ("b/a.bin", b"123456")]),
            "holds a.bin twice",
        );
        says(&good()[..515], "is truncated: expected 6 bytes, found 3");
        says(&good()[..700], "is not a whole .tar, .tar.gz");
        let packed = gz(&good());
        says(&packed[..packed.len() - 6], "is not a whole .tar, .tar.gz");
        let mut wrong_checksum = packed.clone();
        wrong_checksum[packed.len() - 8] ^= 1;
        says(&wrong_checksum, "is not a whole .tar, .tar.gz");
        says(b"hello", "is not a whole .tar, .tar.gz");
    }

    #[test]
    fn a_packing_is_told_by_its_files() {
        let other = [
            ("other/a", b"1".as_slice()),
            ("other/meta", b"2"),
            ("x", b"3"),
        ];
        for bytes in [tar(&other), gz(&tar(&other)), zip(&other)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            std::fs::write(&path, bytes).unwrap();
            let (packing, files) = members(&path, &packings()).unwrap();
            assert_eq!((packing, files["meta"].as_slice()), (1, b"2".as_slice()));
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("other")).unwrap();
        for (name, bytes) in &other[..2] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        assert_eq!(members(folder.path(), &packings()).unwrap().0, 1);
        std::fs::remove_file(folder.path().join("other/a")).unwrap();
        let error = members(folder.path(), &packings()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("has no regular file a of other")
        );
    }

    #[test]
    fn what_is_wrong_with_a_zip_is_said() {
        let says = |bytes: &[u8], text: &str| {
            let error = format!("{:#}", read(bytes).unwrap_err());
            assert!(error.contains(text), "{error}\n(expected: {text})");
        };
        let good = zip(&[("a.bin", b"123456"), ("names.txt", b"x\n")]);
        says(&good[..good.len() - 30], "is not a whole .zip archive");
        says(&zip(&[("a.bin", b"1234567")]), "expected 6 bytes, found 7");
        says(
            &zip(&[("a.bin", b"123456"), ("b/a.bin", b"123456")]),
            "holds a.bin twice",
        );
        let mut damaged = good;
        damaged[36] ^= 1;
        says(&damaged, "a.bin in");
    }

    #[test]
    fn a_member_that_climbs_out_or_links_writes_nothing() {
        let mut files = tar(&[
            ("../../escape/a.bin", b"123456"),
            ("/names.txt", b"x"),
            ("../evil", b"boom"),
        ]);
        let found = read(&files).unwrap();
        assert_eq!(found.len(), 2);
        // The first member becomes a symbolic link: no regular file any more.
        files[156] = b'2';
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&files[..512]);
        header.set_size(0);
        header.set_cksum();
        let mut linked = header.as_bytes().to_vec();
        linked.extend(tar(&[("names.txt", b"x")]));
        let error = read(&linked).unwrap_err().to_string();
        assert!(
            error.ends_with("has no regular file a.bin of sub"),
            "{error}"
        );
    }

    #[test]
    fn an_endless_gzip_stops_at_its_bound() {
        let mut bomb = good();
        bomb.truncate(bomb.len() - 1024);
        bomb.extend(tar(&[("zeros", &vec![0; 2 * BESIDE as usize])]));
        let error = format!("{:#}", read(&gz(&bomb)).unwrap_err());
        assert!(error.contains("it unpacks to more than"), "{error}");
        let error = read_exactly(io::repeat(0), "x", 10).unwrap_err();
        assert!(error.to_string().contains("found more"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0..2048usize, value: u8, cut in 0..2048usize, packed in 0..3) {
            let mut bytes = match packed {
                0 => good(),
                1 => gz(&good()),
                _ => zip(&[("sub/a.bin", b"123456"), ("sub/names.txt", b"x")]),
            };
            let n = bytes.len();
            bytes[at % n] = value;
            bytes.truncate(cut.max(n / 2));
            let _ = read(&bytes);
        }

        /// With right checksums of headers and of gzip, so that what the members say of themselves is believed at first.
        #[test]
        fn no_header_makes_it_panic(
            member in 0..3usize,
            at in 0..512usize,
            value: u8,
            cut in prop::option::of(0..4096usize),
            packed: bool,
        ) {
            let mut bytes = good();
            // A header and a block of content each.
            let place = &mut bytes[member * 1024..][..512];
            place[at] = value;
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(place);
            header.set_cksum();
            place.copy_from_slice(header.as_bytes());
            let n = bytes.len();
            bytes.truncate(cut.unwrap_or(n));
            let bytes = if packed { gz(&bytes) } else { bytes };
            if let Ok(found) = read(&bytes) {
                prop_assert!(found.get("a.bin").is_none_or(|content| content.len() == 6));
                prop_assert!(found.values().all(|content| content.len() <= 100));
            }
        }
    }
}
