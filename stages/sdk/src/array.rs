//! `.npy` arrays, as NumPy reads and writes them.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ndarray::{Array, Array1, Array2, ArrayBase, Data, Dimension};
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt};

/// Reads an array of the element type and dimension that the caller names.
///
/// # Errors
/// Where the file can't be read, is no `.npy` file, or holds another type or number of dimensions.
pub fn read<A: ReadableElement, D: Dimension>(path: &Path) -> Result<Array<A, D>> {
    let file = File::open(path).with_context(|| format!("{} can't be opened", path.display()))?;
    Array::read_npy(BufReader::new(file)).with_context(|| {
        format!(
            "{} is not a .npy array of {} with {} dimension(s)",
            path.display(),
            std::any::type_name::<A>(),
            D::NDIM.unwrap_or(0)
        )
    })
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

/// Reads a matrix `[n, d]` of f32 or f64 as f32.
///
/// # Errors
/// As [`read`].
pub fn read_matrix(path: &Path) -> Result<Array2<f32>> {
    match read::<f32, _>(path) {
        Ok(matrix) => Ok(matrix),
        Err(error) => match read::<f64, _>(path) {
            Ok(matrix) => Ok(matrix.mapv(|x: f64| x as f32)),
            Err(_) => Err(error),
        },
    }
}

/// Reads labels `[n]` of i32 or i64; -1 marks a row that was left out.
///
/// # Errors
/// As [`read`], and where a label does not fit into an i32 or lies below -1.
pub fn read_labels(path: &Path) -> Result<Array1<i32>> {
    let labels: Array1<i64> = match read::<i32, _>(path) {
        Ok(labels) => labels.mapv(i64::from),
        Err(error) => match read::<i64, _>(path) {
            Ok(labels) => labels,
            Err(_) => return Err(error),
        },
    };
    for (row, &label) in labels.iter().enumerate() {
        ensure!(
            (-1..=i64::from(i32::MAX)).contains(&label),
            "{}: the label of row {row} is {label}; labels are 0, 1, 2, … or -1 for a row that is left out",
            path.display()
        );
    }
    Ok(labels.mapv(|l| l as i32))
}

/// Reads a mask `[n]` of booleans.
///
/// # Errors
/// As [`read`].
pub fn read_mask(path: &Path) -> Result<Array1<bool>> {
    read(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn what_is_written_is_read_back_and_other_types_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write(&path, &array![[1.5f64, f64::NAN]]).unwrap();
        let matrix = read_matrix(&path).unwrap();
        assert_eq!(matrix[[0, 0]], 1.5);
        assert!(matrix[[0, 1]].is_nan());
        let error = format!("{:#}", read_labels(&path).unwrap_err());
        assert!(
            error.contains("x.npy is not a .npy array of i32 with 1 dimension(s)"),
            "{error}"
        );
        write(&path, &array![0i64, -1, -2]).unwrap();
        let error = format!("{:#}", read_labels(&path).unwrap_err());
        assert!(error.contains("the label of row 2 is -2"), "{error}");
    }
}
