//! Numbers of any NumPy type as the types that stages compute with: exactly, or not at all.

use std::fmt;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use half::f16;

use super::header::Header;

/// An element of an array. Every one that is read fits without rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Float(f64),
    Integer(i128),
}

impl fmt::Display for Number {
    /// Large and small ones with an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Float(x) => write!(f, "{x:?}"),
            Number::Integer(i) => write!(f, "{i}"),
        }
    }
}

/// A type that stages compute with.
pub(super) trait Exact: Copy {
    /// The number, where this type holds it.
    fn exact(number: Number) -> Option<Self>;
    /// Why a number is refused, and what to do; to be read after the number.
    fn refusal(number: Number) -> &'static str;
}

impl Exact for f32 {
    /// A float is rounded to the nearest, as everywhere where f64 becomes f32; too large a one is refused.
    #[inline(always)]
    fn exact(number: Number) -> Option<f32> {
        match number {
            Number::Float(x) => {
                let near = x as f32;
                (near.is_finite() || !x.is_finite()).then_some(near)
            }
            Number::Integer(i) if i.unsigned_abs() <= 1 << f32::MANTISSA_DIGITS => {
                Some(i as i32 as f32)
            }
            Number::Integer(i) => Some(i as f32).filter(|&near| near as i128 == i),
        }
    }

    fn refusal(number: Number) -> &'static str {
        match number {
            Number::Float(_) => {
                "which f32 can't hold: it ends at 3.4e38. Scale the values first, in NumPy: \
                 x / numpy.nanmax(numpy.abs(x)); or set the row to numpy.nan to leave it out"
            }
            Number::Integer(_) => {
                "which f32 can't hold exactly. In NumPy: x.astype(\"float32\") to round such values, or subtract an \
                 offset first"
            }
        }
    }
}

impl Exact for f64 {
    #[inline(always)]
    fn exact(number: Number) -> Option<f64> {
        match number {
            Number::Float(x) => Some(x),
            Number::Integer(i) if i.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS => {
                Some(i as i64 as f64)
            }
            Number::Integer(i) => Some(i as f64).filter(|&near| near as i128 == i),
        }
    }

    fn refusal(_: Number) -> &'static str {
        "which f64 can't hold exactly. In NumPy: x.astype(\"float64\") to round such values, or subtract an offset first"
    }
}

/// A label.
impl Exact for i32 {
    #[inline(always)]
    fn exact(number: Number) -> Option<i32> {
        let whole = match number {
            Number::Float(x) => Some(x as i128).filter(|&i| i as f64 == x)?,
            Number::Integer(i) => i,
        };
        i32::try_from(whole).ok().filter(|&label| label >= -1)
    }

    fn refusal(_: Number) -> &'static str {
        "and labels are 0, 1, 2, … or -1 for a row that is left out"
    }
}

/// Whether a row is kept.
impl Exact for bool {
    #[inline(always)]
    fn exact(number: Number) -> Option<bool> {
        match number {
            Number::Float(0.0) | Number::Integer(0) => Some(false),
            Number::Float(1.0) | Number::Integer(1) => Some(true),
            _ => None,
        }
    }

    fn refusal(_: Number) -> &'static str {
        "and a mask holds true and false, or 1 and 0. In NumPy: x.astype(bool)"
    }
}

/// Reads the elements that follow a header, in the order of the file.
pub(super) fn elements<T: Exact>(
    header: &Header,
    reader: impl Read,
    path: &Path,
) -> Result<Vec<T>> {
    let (order, sort) = header.descr.split_at_checked(1).unwrap_or_default();
    let from = Elements {
        header,
        reader,
        path,
        swapped: order == ">",
    };
    match sort {
        "f2" => from.read(|b| Number::Float(f64::from(f16::from_le_bytes(b)))),
        "f4" => from.read(|b| Number::Float(f64::from(f32::from_le_bytes(b)))),
        "f8" => from.read(|b| Number::Float(f64::from_le_bytes(b))),
        "i1" => from.read(|b| Number::Integer(i8::from_le_bytes(b).into())),
        "i2" => from.read(|b| Number::Integer(i16::from_le_bytes(b).into())),
        "i4" => from.read(|b| Number::Integer(i32::from_le_bytes(b).into())),
        "i8" => from.read(|b| Number::Integer(i64::from_le_bytes(b).into())),
        "u1" => from.read(|b| Number::Integer(u8::from_le_bytes(b).into())),
        "u2" => from.read(|b| Number::Integer(u16::from_le_bytes(b).into())),
        "u4" => from.read(|b| Number::Integer(u32::from_le_bytes(b).into())),
        "u8" => from.read(|b| Number::Integer(u64::from_le_bytes(b).into())),
        "b1" => from.read(|[b]| Number::Integer((b != 0).into())),
        _ => bail!(
            "{} holds {}, which is not read. In NumPy: {}",
            path.display(),
            header.type_name(),
            match sort.chars().next() {
                Some('c') => "x.real, x.imag or numpy.abs(x)",
                Some('O') =>
                    "numpy.array(x.tolist(), dtype=\"float32\"), where all rows have one length",
                _ => "x.astype(\"float32\")",
            }
        ),
    }
}

struct Elements<'a, R> {
    header: &'a Header,
    reader: R,
    path: &'a Path,
    /// The bytes of an element come in the order that is not ours.
    swapped: bool,
}

impl<R: Read> Elements<'_, R> {
    fn read<const N: usize, T: Exact>(
        mut self,
        number: impl Fn([u8; N]) -> Number,
    ) -> Result<Vec<T>> {
        let count: usize = self.header.shape.iter().product();
        let mut all = Vec::with_capacity(count);
        let mut bytes = vec![0; N * count.min(1 << 14)];
        while all.len() < count {
            let part = &mut bytes[..N * (count - all.len()).min(1 << 14)];
            self.reader
                .read_exact(part)
                .with_context(|| format!("{} can't be read", self.path.display()))?;
            for element in part.as_chunks_mut::<N>().0 {
                if self.swapped {
                    element.reverse();
                }
                let number = number(*element);
                match T::exact(number) {
                    Some(value) => all.push(value),
                    None => bail!(
                        "{}: {} holds {number}, {}",
                        self.path.display(),
                        self.place(all.len()),
                        T::refusal(number)
                    ),
                }
            }
        }
        Ok(all)
    }

    /// Where the element lies that has this place in the file.
    fn place(&self, at: usize) -> String {
        match self.header.shape[..] {
            [n, d] if d > 1 => {
                let (row, column) = if self.header.fortran_order {
                    (at % n, at / n)
                } else {
                    (at / d, at % d)
                };
                format!("row {row}, column {column}")
            }
            _ => format!("row {at}"),
        }
    }
}
