//! `.npy` arrays, as NumPy reads and writes them.
//!
//! What people bring is of any type of number: [`read_matrix`] and its siblings convert floats of 16 to 64 bits, integers of
//! 8 to 64 bits and booleans, in either byte order and either order of axes. A number that does not fit is an error that names it
//! and its row. [`read`] takes one type alone: it is for files that a stage wrote.

mod header;
mod number;

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use ndarray::{Array, Array1, Array2, ArrayBase, Data, Dimension, ShapeBuilder};
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt};

use header::Header;
use number::Exact;

/// Reads an array of the element type and dimension that the caller names.
///
/// # Errors
/// Where the file can't be read, is no `.npy` file, or holds another type or number of dimensions.
pub fn read<A: ReadableElement, D: Dimension>(path: &Path) -> Result<Array<A, D>> {
    let (header, mut reader) = Header::open(path, dimensions::<D>()?)?;
    reader
        .rewind()
        .with_context(|| format!("{} can't be read", path.display()))?;
    Array::read_npy(reader).or_else(|error| match error {
        ReadNpyError::WrongDescriptor(_) => bail!(
            "{} holds {}, and {} is wanted",
            path.display(),
            header.type_name(),
            std::any::type_name::<A>()
        ),
        other => Err(other).with_context(|| format!("{} can't be read", path.display())),
    })
}

/// Reads numbers of any type, those of [`Exact`] alone.
fn convert<T: Exact, D: Dimension>(path: &Path) -> Result<Array<T, D>> {
    let (header, reader) = Header::open(path, dimensions::<D>()?)?;
    let elements = number::elements(&header, reader, path)?;
    let shape = header.shape.set_f(header.fortran_order);
    let array = Array::from_shape_vec(shape, elements)?;
    Ok(array.into_dimensionality()?)
}

fn dimensions<D: Dimension>() -> Result<usize> {
    D::NDIM.context("an array that is read has a number of dimensions")
}

/// Writes an array.
///
/// # Errors
/// Where the file can't be written.
pub fn write<A: WritableElement, S: Data<Elem = A>, D: Dimension>(
    path: &Path,
    array: &ArrayBase<S, D>,
) -> Result<()> {
    let wrong = || format!("{} can't be written", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(wrong)?);
    array.write_npy(&mut file).with_context(wrong)?;
    file.flush().with_context(wrong)
}

/// Reads a matrix `[n, d]` of numbers of any type as f32. Floats are rounded; integers have to fit exactly.
///
/// # Errors
/// Where the file can't be read, is no `.npy` file of numbers, has another number of dimensions, or holds a number that f32
/// can't hold.
pub fn read_matrix(path: &Path) -> Result<Array2<f32>> {
    convert(path)
}

/// Reads a matrix `[n, d]` of numbers of any type as f64.
///
/// # Errors
/// As [`read_matrix`], for f64.
pub fn read_matrix_f64(path: &Path) -> Result<Array2<f64>> {
    convert(path)
}

/// Reads a number for each row, `[n]`, of any type, as f64.
///
/// # Errors
/// As [`read_matrix`], for f64.
pub fn read_vector(path: &Path) -> Result<Array1<f64>> {
    convert(path)
}

/// Reads labels `[n]`: whole numbers of any type; -1 marks a row that was left out.
///
/// # Errors
/// As [`read_matrix`], and where a label is not whole, does not fit into an i32 or lies below -1.
pub fn read_labels(path: &Path) -> Result<Array1<i32>> {
    convert(path)
}

/// Reads a mask `[n]`: booleans, or 1 and 0 of any type.
///
/// # Errors
/// As [`read_matrix`], and where a number is another one.
pub fn read_mask(path: &Path) -> Result<Array1<bool>> {
    convert(path)
}

#[cfg(test)]
mod tests;
