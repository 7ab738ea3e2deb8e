//! What stands before the elements of a `.npy` file, and what to tell whose array it doesn't fit.
//!
//! Read here and not by a library: those trust it, and a header that is nested deep, or whose shape overflows, ends the
//! process. The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// The longest header that is read. NumPy writes 118 bytes for an array of four dimensions.
const MOST: usize = 4096;

/// The header of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The element type as NumPy writes it, such as `|u1` or `<i8`.
    pub descr: String,
    /// Whether the first index changes fastest.
    pub fortran_order: bool,
    /// The size of each dimension.
    pub shape: Vec<usize>,
}

impl Header {
    /// Opens an array `[n]` (`dimensions` 1) or `[n, d]` (2). The reader then stands at the first element, and the file is as
    /// long as the header says.
    ///
    /// # Errors
    /// Where the file can't be read, is no array of plain elements, is too short or too long, or has other dimensions.
    pub fn open(path: &Path, dimensions: usize) -> Result<(Self, BufReader<File>)> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("{shown} can't be opened"))?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let mut reader = BufReader::new(file);
        let (header, size) = Self::read(&mut reader)
            .and_then(|(text, size)| Ok((Self::parse(&text)?, size)))
            .with_context(|| format!("{shown} is not a .npy array of numbers"))?;
        header
            .check_dimensions(dimensions)
            .with_context(|| format!("{shown} has the shape {}", tuple(&header.shape)))?;
        let element = header.element_size();
        let wanted = (header.shape.iter())
            .try_fold(element, |product, &size| product.checked_mul(size))
            .with_context(|| format!("{shown}: no file can have the shape {:?}", header.shape))?;
        let found = length.saturating_sub(size as u64);
        ensure!(
            element == 0 || found == wanted as u64,
            "{shown} is {}: the shape {} takes {wanted} bytes, found {found}",
            if found < wanted as u64 {
                "truncated"
            } else {
                "longer than its header says"
            },
            tuple(&header.shape),
        );
        Ok((header, reader))
    }

    /// The text of a header, and the bytes before the first element.
    fn read(mut reader: impl Read) -> Result<(String, usize)> {
        let mut start = [0; 10];
        let begun = reader.read_exact(&mut start);
        ensure!(
            begun.is_ok() && start.starts_with(b"\x93NUMPY"),
            "it does not begin as one; in NumPy: numpy.save(\"x.npy\", x)"
        );
        let mut size = usize::from(u16::from_le_bytes([start[8], start[9]]));
        let mut before = start.len();
        if start[6] > 1 {
            let mut high = [0; 2];
            reader
                .read_exact(&mut high)
                .context("its header is truncated")?;
            size |= usize::from(u16::from_le_bytes(high)) << 16;
            before += high.len();
        }
        ensure!(size <= MOST, "its header is {size} bytes long");
        let mut text = vec![0; size];
        reader
            .read_exact(&mut text)
            .context("its header is truncated")?;
        Ok((String::from_utf8_lossy(&text).into_owned(), before + size))
    }

    /// Reads `{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }`, in any order of keys.
    fn parse(text: &str) -> Result<Self> {
        let after = |key: &str| {
            let found = text.split_once(&format!("'{key}':"));
            let (_, rest) = found.with_context(|| format!("its header names no `{key}`"))?;
            anyhow::Ok(rest.trim_start())
        };
        let descr = after("descr")?;
        if descr.starts_with('[') {
            bail!(
                "it holds records; in NumPy: numpy.lib.recfunctions.structured_to_unstructured(x)"
            );
        }
        let descr = descr.strip_prefix('\'').and_then(|d| d.split_once('\''));
        let shape = after("shape")?.strip_prefix('(');
        let shape = shape.and_then(|shape| {
            let (sizes, _) = shape.split_once(')')?;
            let sizes = sizes.split(',').map(str::trim).filter(|s| !s.is_empty());
            sizes.map(|size| size.parse().ok()).collect()
        });
        Ok(Header {
            descr: descr.context("its header names no type")?.0.into(),
            fortran_order: after("fortran_order")?.starts_with("True"),
            shape: shape.context("its header names no shape")?,
        })
    }

    /// Bytes of an element; 0 for types that are no numbers.
    fn element_size(&self) -> usize {
        let (sort, size) = self.descr.split_at_checked(2).unwrap_or_default();
        match sort.chars().last() {
            Some('f' | 'i' | 'u' | 'b') => size.parse().unwrap_or(0),
            _ => 0,
        }
    }

    fn check_dimensions(&self, wanted: usize) -> Result<()> {
        let found = self.shape.len();
        if found == wanted {
            return Ok(());
        }
        let several = self.shape.iter().filter(|&&size| size != 1).count() > 1;
        let (form, way) = match wanted {
            1 if several => ("[n], a number for each row", "one column of it, x[:, 0]"),
            1 => ("[n], a number for each row", "x.reshape(-1)"),
            2 if found == 0 => (
                "[n, d], a row for each sample",
                "x.reshape(1, 1) for one row",
            ),
            2 => ("[n, d], a row for each sample", "x.reshape(len(x), -1)"),
            _ => bail!("and {wanted} dimensions are wanted"),
        };
        bail!(
            "that is {found} dimension{}, and {wanted} {} wanted: {form}. In NumPy: {way}",
            if found == 1 { "" } else { "s" },
            if wanted == 1 { "is" } else { "are" },
        )
    }

    /// The type as people call it: `float64` (`<f8`).
    pub fn type_name(&self) -> String {
        let descr = &self.descr;
        let (sort, size) = descr.split_at_checked(2).unwrap_or_default();
        let bits = size.parse::<usize>().ok().and_then(|n| n.checked_mul(8));
        let name = match (sort.chars().last(), bits) {
            (Some('f'), Some(bits)) => format!("float{bits}"),
            (Some('i'), Some(bits)) => format!("int{bits}"),
            (Some('u'), Some(bits)) => format!("uint{bits}"),
            (Some('c'), Some(bits)) => format!("complex{bits}"),
            (Some('b'), Some(_)) => "bool".into(),
            (Some('U' | 'S'), _) => "text".into(),
            (Some('O'), _) => "Python objects".into(),
            _ => return format!("elements of the type `{descr}`"),
        };
        format!("{name} (`{descr}`)")
    }
}

/// A shape as Python shows it.
fn tuple(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => {
            let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
            format!("({})", sizes.join(", "))
        }
    }
}
