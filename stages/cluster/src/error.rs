//! What can be wrong with parameters and arrays.

use std::fmt::Debug;

use ndarray::ArrayView2;

/// Why a computation was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A parameter is out of its range.
    #[error("{name} is {value}; {rule}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it has to be.
        rule: &'static str,
    },
    /// An array holds no rows or no columns.
    #[error(
        "the array has {rows} row(s) and {columns} column(s): there is nothing to compute from"
    )]
    Empty {
        /// Number of rows.
        rows: usize,
        /// Number of columns.
        columns: usize,
    },
    /// New rows don't have the columns of the rows that a model was made from.
    #[error(
        "the rows have {got} column(s), and the model was made from rows of {wanted}: give it what the same stages compute of new images"
    )]
    Columns {
        /// Their number of columns.
        got: usize,
        /// That of the model's rows.
        wanted: usize,
    },
    /// An array holds NaN, infinity, or a number whose square is not finite.
    #[error(
        "row {row} holds {value:?}; values have to be finite and within ±1e150, so that f64 holds their squares: scale them, in NumPy \
         x / numpy.nanmax(numpy.abs(x)), or leave the row out"
    )]
    NotFinite {
        /// The first such row.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A component of a mixture has collapsed.
    #[error(
        "a mixture of {k} component(s) failed: the covariance of one has no inverse, as where its rows are too few, equal, or lie in \
         a plane; take fewer components, raise the regularization (reg_covar), choose a covariance of fewer numbers, or scale the values"
    )]
    Collapsed {
        /// The number of components.
        k: usize,
    },
    /// Two arrays that belong together differ in length.
    #[error("{what} has {got} row(s) where {wanted} are wanted")]
    Length {
        /// The array.
        what: &'static str,
        /// Its number of rows.
        got: usize,
        /// The number of rows of the other.
        wanted: usize,
    },
}

impl Error {
    pub(crate) fn parameter(name: &'static str, value: impl Debug, rule: &'static str) -> Self {
        Error::Parameter {
            name,
            // Which gives large and small numbers an exponent.
            value: format!("{value:?}"),
            rule,
        }
    }
}

/// The result of a computation.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses an array without values or with values that can't be computed with.
pub(crate) fn check_points<A: Copy + Into<f64>>(points: ArrayView2<A>) -> Result<()> {
    let (rows, columns) = points.dim();
    if rows == 0 || columns == 0 {
        return Err(Error::Empty { rows, columns });
    }
    for (row, values) in points.outer_iter().enumerate() {
        for &value in values {
            let value: f64 = value.into();
            if value.is_nan() || value.abs() > 1e150 {
                return Err(Error::NotFinite { row, value });
            }
        }
    }
    Ok(())
}

/// Refuses arrays of different length.
pub(crate) fn check_length(what: &'static str, got: usize, wanted: usize) -> Result<()> {
    if got == wanted {
        Ok(())
    } else {
        Err(Error::Length { what, got, wanted })
    }
}
