//! `.npy` files from elsewhere: images of any layout and type, mapped, and labels.
//!
//! The header is read here and not by a library: those that there are trust it, and one that is nested deep, or whose
//! shape overflows, ends the process. The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::dataset::Split;
use memmap2::Mmap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::column::Column;

/// The longest header that is read. NumPy writes 118 bytes for an array of four dimensions.
const MOST: usize = 4096;

/// What stands before an array's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The element type as NumPy writes it, such as `|u1` or `<i8`.
    pub descr: String,
    /// Whether the first index changes fastest.
    pub fortran_order: bool,
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// Bytes before the first element.
    pub size: usize,
}

impl Header {
    /// Reads a header; the reader then stands at the first element. `name` is what errors call the file.
    ///
    /// # Errors
    /// Where there is no header of a plain array.
    pub fn read(mut reader: impl Read, name: &str) -> Result<Self> {
        let no_array = || format!("{name} is no .npy array");
        let mut start = [0; 10];
        reader.read_exact(&mut start).with_context(no_array)?;
        ensure!(start.starts_with(b"\x93NUMPY"), "{}", no_array());
        let mut size = usize::from(u16::from_le_bytes([start[8], start[9]]));
        let mut before = start.len();
        if start[6] > 1 {
            let mut high = [0; 2];
            reader.read_exact(&mut high).with_context(no_array)?;
            size |= usize::from(u16::from_le_bytes(high)) << 16;
            before += high.len();
        }
        ensure!(
            size <= MOST,
            "{name} has a header of {size} bytes; that of a plain array is shorter"
        );
        let mut text = vec![0; size];
        reader.read_exact(&mut text).with_context(no_array)?;
        let text = String::from_utf8_lossy(&text);
        let parsed = Self::parse(&text, before + size);
        parsed.with_context(|| {
            format!(
                "{name} is no plain .npy array of numbers: its header is {}",
                text.trim()
            )
        })
    }

    /// Reads `{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }`, in any order of keys.
    fn parse(text: &str, size: usize) -> Option<Self> {
        let after = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}':"))?;
            Some(rest.trim_start())
        };
        let (descr, _) = after("descr")?.strip_prefix('\'')?.split_once('\'')?;
        let fortran_order = match after("fortran_order")? {
            rest if rest.starts_with("False") => false,
            rest if rest.starts_with("True") => true,
            _ => return None,
        };
        let (shape, _) = after("shape")?.strip_prefix('(')?.split_once(')')?;
        let shape = shape
            .split(',')
            .map(str::trim)
            .filter(|size| !size.is_empty())
            .map(|size| size.parse().ok())
            .collect::<Option<Vec<usize>>>()?;
        Some(Header {
            descr: descr.into(),
            fortran_order,
            shape,
            size,
        })
    }

    /// Bytes of all elements, each of `element` bytes.
    ///
    /// # Errors
    /// Where no file can be that large.
    pub fn content(&self, element: usize, name: &str) -> Result<usize> {
        self.shape
            .iter()
            .try_fold(element, |product, &size| product.checked_mul(size))
            .filter(|&bytes| bytes < isize::MAX as usize)
            .with_context(|| {
                format!(
                    "{name} says that its shape is {:?}, which can't be",
                    self.shape
                )
            })
    }
}

/// A number as it stands in an array: whole ones exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Of an integer type, or a truth.
    Integer(i128),
    /// Of a float type.
    Float(f64),
}

impl Number {
    /// The number, rounded where an integer has more than 53 bits.
    pub fn value(self) -> f64 {
        match self {
            Number::Integer(number) => number as f64,
            Number::Float(number) => number,
        }
    }
}

/// The element type of an array of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// `f`, `i`, `u` or `b`.
    kind: u8,
    /// Bytes of an element.
    pub size: usize,
    big_endian: bool,
}

impl Element {
    /// Reads what NumPy writes, such as `<f4`.
    ///
    /// # Errors
    /// Where it is no type of numbers.
    pub fn parse(descr: &str, name: &str) -> Result<Self> {
        let parsed = || {
            let [order, kind, size @ ..] = descr.as_bytes() else {
                return None;
            };
            let size = match size {
                b"1" => 1,
                b"2" => 2,
                b"4" => 4,
                b"8" => 8,
                _ => return None,
            };
            let known = match kind {
                b'f' => size > 1,
                b'b' => size == 1,
                b'i' | b'u' => true,
                _ => false,
            };
            known.then_some(Element {
                kind: *kind,
                size,
                big_endian: *order == b'>',
            })
        };
        parsed().with_context(|| {
            format!("{name} holds elements of type `{descr}`, which are no real numbers of 64 bits or fewer")
        })
    }

    /// Whether the elements are whole numbers or truths.
    pub fn is_integer(self) -> bool {
        self.kind != b'f'
    }

    /// Reads an element of `size` bytes.
    pub fn read(self, bytes: &[u8]) -> Number {
        let mut wide = [0; 8];
        wide[..self.size].copy_from_slice(bytes);
        if self.big_endian {
            wide[..self.size].reverse();
        }
        let bits = u64::from_le_bytes(wide);
        let unused = 64 - 8 * self.size as u32;
        match (self.kind, self.size) {
            (b'f', 2) => Number::Float(half::f16::from_bits(bits as u16).to_f64()),
            (b'f', 4) => Number::Float(f32::from_bits(bits as u32).into()),
            (b'f', _) => Number::Float(f64::from_bits(bits)),
            (b'i', _) => Number::Integer(((bits << unused) as i64 >> unused).into()),
            (b'b', _) => Number::Integer((bits != 0).into()),
            _ => Number::Integer(bits.into()),
        }
    }
}

/// What is white in an array of images that are no u8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Scale {
    /// 1: values lie in 0..1.
    #[serde(rename = "0..1")]
    Unit,
    /// 255: values lie in 0..255.
    #[serde(rename = "0..255")]
    Bytes,
}

impl Scale {
    /// The nearest grey value of 0 to 255.
    fn convert(self, value: f64) -> Option<u8> {
        let (most, factor) = match self {
            Scale::Unit => (1.0, 255.0),
            Scale::Bytes => (255.0, 1.0),
        };
        (0.0..=most)
            .contains(&value)
            .then(|| (value * factor).round() as u8)
    }

    fn text(self) -> &'static str {
        match self {
            Scale::Unit => "0..1",
            Scale::Bytes => "0..255",
        }
    }
}

/// How an array's dimensions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Rows, channels, height, width.
    Nchw,
    /// Rows, height, width, channels.
    Nhwc,
    /// Rows, height, width; one channel.
    Nhw,
}

/// Images in a `.npy` file, mapped.
pub struct Images {
    map: Mmap,
    begin: usize,
    element: Element,
    /// How elements become u8; none where they are.
    scale: Option<Scale>,
    name: String,
    /// How many there are.
    pub rows: usize,
    /// Channels, height and width.
    pub shape: [usize; 3],
    channels_last: bool,
}

impl Images {
    /// Maps a file of u8 `[n, height, width]`, `[n, height, width, channels]` or `[n, channels, height, width]`, or of other
    /// numbers where `scale` says what is white. Without a layout four dimensions are told apart by which of the two is 1 or
    /// 3. `name` is what errors call the file.
    ///
    /// # Errors
    /// Where the file is anything else or truncated.
    pub fn open(
        path: &Path,
        name: &str,
        layout: Option<Layout>,
        scale: Option<Scale>,
    ) -> Result<Self> {
        let mut file = File::open(path).with_context(|| format!("{name} can't be opened"))?;
        let header = Header::read(&mut file, name)?;
        let element = Element::parse(&header.descr, name)?;
        ensure!(
            header.descr == "|u1" || scale.is_some(),
            "{name} holds elements of type `{}`, and images are u8, 0 to 255. The kind `npy` converts others where it is \
             told what is white: `scale = \"0..1\"` or `scale = \"0..255\"`",
            header.descr
        );
        ensure!(
            !header.fortran_order || header.shape.len() < 2,
            "{name} is in Fortran order; save it with numpy.ascontiguousarray(images)"
        );
        let (layout, [channels, height, width]) = arrange(&header.shape, layout)
            .with_context(|| format!("{name} has the shape {:?}", header.shape))?;
        ensure!(
            header.shape.iter().all(|&size| size > 0),
            "{name} has the shape {:?}: no image",
            header.shape
        );
        let content = header.content(element.size, name)?;
        // SAFETY: the bytes must not change while they are mapped. flow looks again whether an input has changed when
        // the stage has run, and a file that is cut off under the map ends the process like any other crash.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.with_context(|| format!("{name} can't be mapped"))?;
        let found = map.len() - header.size.min(map.len());
        ensure!(
            found == content,
            "{name} is {}: its shape {:?} takes {content} bytes, found {found}",
            if found < content {
                "truncated"
            } else {
                "longer than its header says"
            },
            header.shape
        );
        Ok(Images {
            map,
            begin: header.size,
            element,
            scale,
            name: name.to_owned(),
            rows: header.shape[0],
            shape: [channels, height, width],
            channels_last: layout == Layout::Nhwc,
        })
    }

    /// Copies an image as `[channels, height, width]`.
    ///
    /// # Errors
    /// Where a value lies outside of the scale.
    pub fn copy(&self, row: usize, image: &mut [u8]) -> Result<()> {
        let size = image.len();
        let bytes = size * self.element.size;
        let source = &self.map[self.begin + row * bytes..][..bytes];
        let Some(scale) = self.scale else {
            self.arrange(source, image);
            return Ok(());
        };
        let value = |bytes: &[u8]| {
            let value = self.element.read(bytes).value();
            scale.convert(value).with_context(|| {
                let clip = match scale {
                    Scale::Unit => "numpy.clip(images, 0, 1)",
                    Scale::Bytes => "numpy.clip(images, 0, 255)",
                };
                format!(
                    "{}: image {row} holds {value:?}, and `scale` says {}: correct `scale`, or save {clip}",
                    self.name,
                    scale.text()
                )
            })
        };
        let values = source.chunks_exact(self.element.size).map(value);
        self.arrange(&values.collect::<Result<Vec<u8>>>()?, image);
        Ok(())
    }

    /// Brings the channels of an image to the front.
    fn arrange(&self, source: &[u8], image: &mut [u8]) {
        if !self.channels_last {
            image.copy_from_slice(source);
            return;
        }
        let channels = self.shape[0];
        let size = image.len() / channels;
        for (channel, plane) in image.chunks_exact_mut(size).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(source.chunks_exact(channels)) {
                *value = pixel[channel];
            }
        }
    }
}

/// What layout it is, and channels, height and width.
fn arrange(shape: &[usize], layout: Option<Layout>) -> Result<(Layout, [usize; 3])> {
    let colours = |channels: usize| channels == 1 || channels == 3;
    let layout = match (shape, layout) {
        (_, Some(layout)) => layout,
        ([_, _, _], None) => Layout::Nhw,
        (&[_, a, _, b], None) if colours(b) && !colours(a) => Layout::Nhwc,
        (&[_, a, _, b], None) if colours(a) && !colours(b) => Layout::Nchw,
        ([_, _, _, _], None) => bail!(
            "and it is not clear which dimension is the channels: give `layout = \"nhwc\"` or `\"nchw\"`"
        ),
        ([_, _, _, _, ..], None) => bail!(
            "and volumes are not read; take a slice of each, in Python: numpy.save(\"images.npy\", \
             volumes[:, volumes.shape[1] // 2])"
        ),
        _ => bail!(
            "and images are [n, height, width], [n, height, width, channels] or [n, channels, height, width]"
        ),
    };
    match (layout, shape) {
        (Layout::Nhw, &[_, h, w]) => Ok((layout, [1, h, w])),
        (Layout::Nhwc, &[_, h, w, c]) | (Layout::Nchw, &[_, c, h, w]) => Ok((layout, [c, h, w])),
        _ => bail!(
            "and `layout` says that it has {} dimensions",
            if layout == Layout::Nhw { 3 } else { 4 }
        ),
    }
}

/// Reads integers `[n]` or `[n, 1]` of any type, from a reader at the beginning of an array.
///
/// # Errors
/// Where the array is anything else, or a number does not fit into an i32.
pub fn read_integers(mut reader: impl Read, name: &str) -> Result<Vec<i32>> {
    let header = Header::read(&mut reader, name)?;
    one_a_row(&header, name)?;
    let element = Element::parse(&header.descr, name)?;
    ensure!(
        element.is_integer(),
        "{name} holds elements of type `{}`; labels are integers: save labels.astype(\"int64\")",
        header.descr
    );
    let content = header.content(element.size, name)? as u64;
    let bytes = crate::unpack::read_exactly(reader, name, content)?;
    let label = |(row, bytes): (usize, &[u8])| match element.read(bytes) {
        Number::Integer(number) => i32::try_from(number).with_context(|| {
            format!("{name}: row {row} holds a number that is too large for a label")
        }),
        Number::Float(_) => bail!("{name} holds no integers"),
    };
    let elements = bytes.chunks_exact(element.size).enumerate();
    elements.map(label).collect()
}

/// Checks that an array is `[n]` or `[n, 1]`.
fn one_a_row(header: &Header, name: &str) -> Result<()> {
    match *header.shape {
        [_] | [_, 1] => Ok(()),
        [_, several] => bail!(
            "{name} has {several} labels an image, and each image needs one class. Save labels.argmax(axis=1) where exactly \
             one of them is set, or a column of your choice, labels[:, 0], where several may be (as in ChestMNIST); the kind \
             `npy` reads images and labels in arrays"
        ),
        _ => bail!("{name} has the shape {:?}; labels are [n]", header.shape),
    }
}

/// Reads whole numbers or texts `[n]` of any type, from a reader at the beginning of an array.
///
/// # Errors
/// Where the array is anything else, such as one of Python objects.
pub fn read_column(mut reader: impl Read, name: &str) -> Result<Column> {
    let header = Header::read(&mut reader, name)?;
    one_a_row(&header, name)?;
    let (order, descr) = header.descr.split_at_checked(1).unwrap_or_default();
    let characters = |size: &str| size.parse::<usize>().ok().filter(|&n| n > 0 && n < 1 << 20);
    if descr.starts_with('O') {
        bail!(
            "{name} holds Python objects, which only Python can read: save x.astype(str), or numbers as x.astype(\"int64\")"
        );
    }
    let read = |element: usize| -> Result<Vec<u8>> {
        let content = header.content(element, name)? as u64;
        crate::unpack::read_exactly(reader, name, content)
    };
    if let Some(size) = descr.strip_prefix('U').and_then(characters) {
        let bytes = read(4 * size)?;
        let character = |b: &[u8]| {
            let code = [b[0], b[1], b[2], b[3]];
            let code = match order {
                ">" => u32::from_be_bytes(code),
                _ => u32::from_le_bytes(code),
            };
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        };
        let text = |element: &[u8]| {
            let text: String = element.chunks_exact(4).map(character).collect();
            text.trim_end_matches('\0').to_owned()
        };
        return Ok(Column::Texts(
            bytes.chunks_exact(4 * size).map(text).collect(),
        ));
    }
    if let Some(size) = descr.strip_prefix('S').and_then(characters) {
        let bytes = read(size)?;
        let text = |element: &[u8]| {
            let text = String::from_utf8_lossy(element);
            text.trim_end_matches('\0').to_owned()
        };
        return Ok(Column::Texts(bytes.chunks_exact(size).map(text).collect()));
    }
    let element = Element::parse(&header.descr, name)?;
    ensure!(
        element.is_integer(),
        "{name} holds floats, and labels are integers or texts: save labels.astype(\"int64\")"
    );
    let bytes = read(element.size)?;
    let number = |(row, bytes): (usize, &[u8])| {
        let Number::Integer(number) = element.read(bytes) else {
            bail!("{name} holds no integers");
        };
        i64::try_from(number)
            .with_context(|| format!("{name}: row {row} holds {number}, which is too large"))
    };
    let numbers = bytes.chunks_exact(element.size).enumerate().map(number);
    Ok(Column::Integers(numbers.collect::<Result<_>>()?))
}

/// Reads labels 0, 1, 2, …; see [`read_integers`].
///
/// # Errors
/// As [`read_integers`], and where a label is negative or there are more classes than rows.
pub fn read_labels(reader: impl Read, name: &str) -> Result<Vec<i32>> {
    let labels = read_integers(reader, name)?;
    for (row, &label) in labels.iter().enumerate() {
        // More classes than rows: a column of row numbers or hashes, not of classes.
        ensure!(
            (0..labels.len() as i64).contains(&i64::from(label)),
            "{name}: the label of row {row} is {label}, and there are {} rows: classes are numbered 0, 1, 2, …",
            labels.len()
        );
    }
    Ok(labels)
}

/// Reads the part of each row: 0 train, 1 validation, 2 test.
///
/// # Errors
/// As [`read_integers`], and where a number is another one.
pub fn read_split(reader: impl Read, name: &str) -> Result<Vec<Split>> {
    read_integers(reader, name)?
        .into_iter()
        .enumerate()
        .map(|(row, number)| {
            Ok(match number {
                0 => Split::Train,
                1 => Split::Val,
                2 => Split::Test,
                _ => bail!("{name}: row {row} holds {number}; 0 is train, 1 validation and 2 test"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
