//! How two arrays of one type and shape differ, number by number: `.npy` files and the tensors of `.safetensors`.
//!
//! Both are read as a stream, so that a file may be larger than memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use half::{bf16, f16};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::record::difference::Elements;

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Compared {
    /// One type and shape.
    Elements(Elements),
    /// Another type or shape, or tensors of other names: what it was, and what it is.
    Form(String, String),
    /// No arrays of numbers that are understood here.
    Unknown,
}

/// A number type: what a group of bytes stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Unsigned,
    Signed,
    Float,
    Brain,
}

/// How elements lie in a file.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    number: Number,
    /// In bytes.
    size: usize,
    big_endian: bool,
}

/// Compares two `.npy` files.
pub(super) fn npy(stored: &Path, made: &Path) -> io::Result<Compared> {
    let mut files = [open(stored)?, open(made)?];
    let mut headers = Vec::new();
    for file in &mut files {
        match NpyHeader::from_reader(&mut *file) {
            Ok(header) => headers.push(header),
            Err(_) => return Ok(Compared::Unknown),
        }
    }
    let forms = [npy_form(&headers[0]), npy_form(&headers[1])];
    if forms[0] != forms[1] {
        let [stored, made] = forms;
        return Ok(Compared::Form(stored, made));
    }
    let Some(layout) = npy_layout(&headers[0].dtype()) else {
        return Ok(Compared::Unknown);
    };
    let mut elements = Elements::default();
    let [a, b] = &mut files;
    let count = headers[0].shape().iter().product();
    elements.add(a, b, layout, count)?;
    Ok(Compared::Elements(elements))
}

fn npy_form(header: &NpyHeader) -> String {
    let order = match header.order() {
        Order::C => "",
        Order::Fortran => " in Fortran order",
    };
    let dtype = header.dtype().descr();
    format!("{} {:?}{order}", dtype.trim_matches('\''), header.shape())
}

fn npy_layout(dtype: &DType) -> Option<Layout> {
    let DType::Plain(plain) = dtype else {
        return None;
    };
    let number = match plain.type_char() {
        TypeChar::Bool | TypeChar::Uint => Number::Unsigned,
        TypeChar::Int => Number::Signed,
        TypeChar::Float => Number::Float,
        _ => return None,
    };
    layout(
        number,
        usize::try_from(plain.size_field()).ok()?,
        plain.endianness() == Endianness::Big,
    )
}

fn layout(number: Number, size: usize, big_endian: bool) -> Option<Layout> {
    let known = match number {
        Number::Unsigned | Number::Signed => matches!(size, 1 | 2 | 4 | 8),
        Number::Float => matches!(size, 2 | 4 | 8),
        Number::Brain => size == 2,
    };
    known.then_some(Layout {
        number,
        size,
        big_endian,
    })
}

/// Compares the tensors of two `.safetensors` files, by name.
pub(super) fn safetensors(stored: &Path, made: &Path) -> io::Result<Compared> {
    let (mut a, mut b) = (open(stored)?, open(made)?);
    let (Some((then, start)), Some((now, other_start))) = (header(&mut a)?, header(&mut b)?) else {
        return Ok(Compared::Unknown);
    };
    let forms = |metadata: &Metadata| -> BTreeMap<String, String> {
        let tensors = metadata.tensors().into_iter();
        tensors
            .map(|(name, info)| (name, format!("{:?} {:?}", info.dtype, info.shape)))
            .collect()
    };
    let (then_forms, now_forms) = (forms(&then), forms(&now));
    let absent = || "no such tensor".to_string();
    for name in then_forms.keys().chain(now_forms.keys()) {
        let (then, now) = (then_forms.get(name), now_forms.get(name));
        if then != now {
            let shown =
                |form: Option<&String>| format!("{name}: {}", form.cloned().unwrap_or_else(absent));
            return Ok(Compared::Form(shown(then), shown(now)));
        }
    }
    let mut total = Elements::default();
    for name in then_forms.keys() {
        let (Some(then), Some(now)) = (then.info(name), now.info(name)) else {
            continue;
        };
        let Some(layout) = tensor_layout(then) else {
            return Ok(Compared::Unknown);
        };
        a.seek(SeekFrom::Start(start + then.data_offsets.0 as u64))?;
        b.seek(SeekFrom::Start(other_start + now.data_offsets.0 as u64))?;
        let mut elements = Elements::default();
        let count = then.shape.iter().map(|&n| n as u64).product();
        elements.add(&mut a, &mut b, layout, count)?;
        total.merge(elements, name);
    }
    Ok(Compared::Elements(total))
}

/// What the file says of its tensors, and where their bytes begin; none where it is not of this format.
fn header(file: &mut (impl Read + Seek)) -> io::Result<Option<(Metadata, u64)>> {
    /// As the format's own reader allows.
    const LARGEST: u64 = 100_000_000;
    let mut length = [0; 8];
    if file.read_exact(&mut length).is_err() {
        return Ok(None);
    }
    let length = u64::from_le_bytes(length);
    if length > LARGEST {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)
        .ok()
        .map(|metadata| (metadata, 8 + length)))
}

fn tensor_layout(info: &TensorInfo) -> Option<Layout> {
    let (number, size) = match info.dtype {
        Dtype::BOOL | Dtype::U8 => (Number::Unsigned, 1),
        Dtype::U16 => (Number::Unsigned, 2),
        Dtype::U32 => (Number::Unsigned, 4),
        Dtype::U64 => (Number::Unsigned, 8),
        Dtype::I8 => (Number::Signed, 1),
        Dtype::I16 => (Number::Signed, 2),
        Dtype::I32 => (Number::Signed, 4),
        Dtype::I64 => (Number::Signed, 8),
        Dtype::F16 => (Number::Float, 2),
        Dtype::BF16 => (Number::Brain, 2),
        Dtype::F32 => (Number::Float, 4),
        Dtype::F64 => (Number::Float, 8),
        _ => return None,
    };
    layout(number, size, false)
}

impl Elements {
    /// Takes in `count` elements that the two readers stand before.
    fn add(
        &mut self,
        a: &mut impl Read,
        b: &mut impl Read,
        layout: Layout,
        count: u64,
    ) -> io::Result<()> {
        const AT_ONCE: u64 = 8192;
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let mut rest = count;
        while rest > 0 {
            let now = rest.min(AT_ONCE);
            let bytes = now as usize * layout.size;
            left.resize(bytes, 0);
            right.resize(bytes, 0);
            a.read_exact(&mut left)?;
            b.read_exact(&mut right)?;
            if left != right {
                let pairs = left
                    .chunks_exact(layout.size)
                    .zip(right.chunks_exact(layout.size));
                for (x, y) in pairs.filter(|(x, y)| x != y) {
                    self.pair(layout.difference(x, y));
                }
            }
            rest -= now;
        }
        self.elements += count;
        Ok(())
    }

    /// Two elements that are not the same bits, by their absolute and relative difference; none where one is not finite.
    fn pair(&mut self, difference: Option<(f64, f64)>) {
        self.differing += 1;
        match difference {
            Some((absolute, relative)) => {
                self.largest_absolute = self.largest_absolute.max(absolute);
                self.largest_relative = self.largest_relative.max(relative);
            }
            None => self.not_finite += 1,
        }
    }

    fn merge(&mut self, other: Elements, tensor: &str) {
        if other.differing > 0
            && (self.tensor.is_none() || other.largest_absolute > self.largest_absolute)
        {
            self.tensor = Some(tensor.to_string());
        }
        self.elements += other.elements;
        self.differing += other.differing;
        self.not_finite += other.not_finite;
        self.largest_absolute = self.largest_absolute.max(other.largest_absolute);
        self.largest_relative = self.largest_relative.max(other.largest_relative);
    }
}

impl Layout {
    /// The absolute and the relative difference of two elements.
    fn difference(self, x: &[u8], y: &[u8]) -> Option<(f64, f64)> {
        let (absolute, larger) = match self.number {
            Number::Float | Number::Brain => {
                let (x, y) = (self.float(x), self.float(y));
                ((x - y).abs(), x.abs().max(y.abs()))
            }
            // In whole numbers, since those above 2^53 are not all floats.
            Number::Unsigned | Number::Signed => {
                let (x, y) = (self.integer(x), self.integer(y));
                let larger = x.unsigned_abs().max(y.unsigned_abs());
                ((x - y).unsigned_abs() as f64, larger as f64)
            }
        };
        // -0 and 0 are other bits and the same number.
        let relative = if absolute == 0.0 {
            0.0
        } else {
            absolute / larger
        };
        (absolute.is_finite() && larger.is_finite()).then_some((absolute, relative))
    }

    /// The bytes, the least first, with zeros above.
    fn bits(self, bytes: &[u8]) -> u64 {
        let mut least_first = [0; 8];
        for (i, byte) in bytes.iter().enumerate() {
            let place = if self.big_endian {
                self.size - 1 - i
            } else {
                i
            };
            least_first[place] = *byte;
        }
        u64::from_le_bytes(least_first)
    }

    fn integer(self, bytes: &[u8]) -> i128 {
        let bits = self.bits(bytes);
        if self.number == Number::Signed {
            let unused = 64 - 8 * self.size as u32;
            i128::from((bits << unused) as i64 >> unused)
        } else {
            i128::from(bits)
        }
    }

    fn float(self, bytes: &[u8]) -> f64 {
        let bits = self.bits(bytes);
        match (self.number, self.size) {
            (Number::Brain, _) => bf16::from_bits(bits as u16).to_f64(),
            (_, 2) => f16::from_bits(bits as u16).to_f64(),
            (_, 4) => f64::from(f32::from_bits(bits as u32)),
            _ => f64::from_bits(bits),
        }
    }
}

fn open(path: &Path) -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(1 << 16, File::open(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// The bytes of a `.npy` file, format 1.0 (NEP 1).
    fn array(descr: &str, shape: &str, fortran: bool, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    /// The bytes of a `.safetensors` file with tensors one after the other.
    fn tensors(tensors: &[(&str, &str, &str, &[u8])]) -> Vec<u8> {
        let mut at = 0;
        let entries: Vec<String> = tensors
            .iter()
            .map(|(name, dtype, shape, data)| {
                let from = at;
                at += data.len();
                format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{from},{at}]}}")
            })
            .collect();
        let header = format!("{{{}}}", entries.join(","));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(tensors.iter().flat_map(|(_, _, _, data)| data.iter()));
        bytes
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn compare(
        how: fn(&Path, &Path) -> io::Result<Compared>,
        stored: &[u8],
        made: &[u8],
    ) -> Compared {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        how(&file("stored", stored), &file("made", made)).unwrap()
    }

    #[test]
    fn elements_are_compared_as_the_numbers_they_are() {
        // Type, stored bytes, new bytes, absolute and relative difference.
        type Case<'a> = (&'a str, &'a [u8], &'a [u8], f64, f64);
        let cases: [Case<'_>; 7] = [
            (
                "<f4",
                &2.0f32.to_le_bytes(),
                &1.5f32.to_le_bytes(),
                0.5,
                0.25,
            ),
            (
                ">f8",
                &2.0f64.to_be_bytes(),
                &(-2.0f64).to_be_bytes(),
                4.0,
                2.0,
            ),
            // 1.0 and 1.0 + 2^-10 as half floats.
            (
                "<f2",
                &[0x00, 0x3c],
                &[0x01, 0x3c],
                1.0 / 1024.0,
                1.0 / 1025.0,
            ),
            (
                "<i2",
                &(-3i16).to_le_bytes(),
                &1i16.to_le_bytes(),
                4.0,
                4.0 / 3.0,
            ),
            (
                "<u8",
                &u64::MAX.to_le_bytes(),
                &(u64::MAX - 1).to_le_bytes(),
                1.0,
                1.0 / u64::MAX as f64,
            ),
            ("|b1", &[0], &[1], 1.0, 1.0),
            (
                "<f4",
                &0.0f32.to_le_bytes(),
                &(-0.0f32).to_le_bytes(),
                0.0,
                0.0,
            ),
        ];
        for (descr, stored, made, absolute, relative) in cases {
            let form = |data| array(descr, "(1,)", false, data);
            let found = compare(npy, &form(stored), &form(made));
            let expected = Elements {
                elements: 1,
                differing: 1,
                largest_absolute: absolute,
                largest_relative: relative,
                ..Elements::default()
            };
            assert_eq!(found, Compared::Elements(expected), "{descr}");
        }
    }

    #[test]
    fn the_largest_of_many_differences_is_found_and_what_is_not_finite_is_counted() {
        let count = 20_000;
        let stored: Vec<f32> = (0..count).map(|i| i as f32).collect();
        let mut made = stored.clone();
        made[9] += 0.5;
        made[19_999] += 8.0;
        made[5] = f32::NAN;
        made[6] = f32::INFINITY;
        let form = |values: &[f32]| array("<f4", "(20000,)", false, &floats(values));
        let Compared::Elements(found) = compare(npy, &form(&stored), &form(&made)) else {
            panic!("they have one form");
        };
        assert_eq!(
            (found.elements, found.differing, found.not_finite),
            (20_000, 4, 2)
        );
        assert_eq!(found.largest_absolute, 8.0);
        assert_eq!(found.largest_relative, 0.5 / 9.5);
    }

    #[test]
    fn another_type_shape_or_order_is_named() {
        let a = array("<f4", "(2, 1)", false, &floats(&[1.0, 2.0]));
        for (b, form) in [
            (
                array("<f4", "(1, 2)", false, &floats(&[1.0, 2.0])),
                "<f4 [1, 2]",
            ),
            (
                array("<i4", "(2, 1)", false, &floats(&[1.0, 2.0])),
                "<i4 [2, 1]",
            ),
            (
                array("<f4", "(2, 1)", true, &floats(&[1.0, 2.0])),
                "<f4 [2, 1] in Fortran order",
            ),
        ] {
            assert_eq!(
                compare(npy, &a, &b),
                Compared::Form("<f4 [2, 1]".into(), form.into())
            );
        }
        assert_eq!(compare(npy, &a, b"text"), Compared::Unknown);
        let text = array("<U2", "(1,)", false, &[0; 8]);
        assert_eq!(compare(npy, &text, &text), Compared::Unknown);
    }

    #[test]
    fn tensors_are_compared_by_name_wherever_they_lie() {
        let (one, two) = (floats(&[1.0, 2.0]), floats(&[4.0]));
        let other = floats(&[4.5]);
        let stored = tensors(&[("a", "F32", "[2]", &one), ("b", "F32", "[1]", &two)]);
        let made = tensors(&[("b", "F32", "[1]", &other), ("a", "F32", "[2]", &one)]);
        let expected = Elements {
            elements: 3,
            differing: 1,
            largest_absolute: 0.5,
            largest_relative: 0.5 / 4.5,
            not_finite: 0,
            tensor: Some("b".into()),
        };
        assert_eq!(
            compare(safetensors, &stored, &made),
            Compared::Elements(expected)
        );
        // bfloat16: the upper half of a float.
        let (x, y) = ([0x80, 0x3f], [0x81, 0x3f]);
        let brain = |data: &[u8]| tensors(&[("w", "BF16", "[1]", data)]);
        let Compared::Elements(found) = compare(safetensors, &brain(&x), &brain(&y)) else {
            panic!("they have one form");
        };
        assert_eq!(found.largest_absolute, 1.0 / 128.0);
    }

    #[test]
    fn tensors_that_are_missing_or_of_another_form_are_named() {
        let one = floats(&[1.0, 2.0]);
        let stored = tensors(&[("a", "F32", "[2]", &one)]);
        let gone = tensors(&[("z", "F32", "[2]", &one)]);
        assert_eq!(
            compare(safetensors, &stored, &gone),
            Compared::Form("a: F32 [2]".into(), "a: no such tensor".into())
        );
        let shaped = tensors(&[("a", "F32", "[1,2]", &one)]);
        assert_eq!(
            compare(safetensors, &stored, &shaped),
            Compared::Form("a: F32 [2]".into(), "a: F32 [1, 2]".into())
        );
        assert_eq!(compare(safetensors, &stored, b"junk"), Compared::Unknown);
        assert_eq!(
            compare(safetensors, &stored, &[0xff; 40]),
            Compared::Unknown
        );
    }
}
