//! What a file of vectors holds, as it is read.

use std::fmt::Display;

use anyhow::{Context as _, Result, bail, ensure};
use ndarray::Array2;

use crate::column::Column;
use crate::npy::Number;

/// Vectors, and what is known of their rows.
pub struct Found {
    /// `[n, d]`.
    pub vectors: Array2<f32>,
    /// Labels, coarse labels, names and split of each row, where there are any.
    pub columns: [Option<Column>; 4],
    /// Names of the classes of the labels, where the file has them.
    pub classes: Option<Vec<String>>,
}

/// Vectors that come row by row.
pub struct Vectors {
    /// What errors call them.
    name: String,
    values: Vec<f32>,
    rows: usize,
    /// The numbers of each row.
    size: Option<usize>,
}

impl Vectors {
    /// None yet. `name` is what errors call them.
    pub fn new(name: impl Into<String>) -> Self {
        Vectors {
            name: name.into(),
            values: Vec::new(),
            rows: 0,
            size: None,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a number to the row that is being read; `column` is what errors call its place.
    ///
    /// # Errors
    /// Where f32 can't hold it.
    pub fn push(&mut self, number: Number, column: impl Display) -> Result<()> {
        let (value, fits) = match number {
            Number::Integer(whole) => (whole as f32, whole as f32 as i128 == whole),
            Number::Float(float) => {
                let value = float as f32;
                (value, value.is_finite() || !float.is_finite())
            }
        };
        if !fits {
            let (row, name) = (self.rows, &self.name);
            match number {
                Number::Integer(whole) => bail!(
                    "{name}: row {row} holds {whole} in {column}, which f32 can't hold exactly: leave out what is no \
                     feature, or scale it"
                ),
                Number::Float(float) => bail!(
                    "{name}: row {row} holds {float:e} in {column}, and f32 ends at 3.4e38: scale the features, in Python: \
                     x / abs(x).max()"
                ),
            }
        }
        self.values.push(value);
        Ok(())
    }

    /// Ends a row.
    ///
    /// # Errors
    /// Where it has another number of numbers than those before.
    pub fn end_row(&mut self) -> Result<()> {
        let begun = self.rows * self.size.unwrap_or(0);
        let found = self.values.len() - begun;
        let size = *self.size.get_or_insert(found);
        ensure!(
            found == size,
            "{}: row {} has {found} numbers, and the rows before have {size}",
            self.name,
            self.rows
        );
        self.rows += 1;
        Ok(())
    }

    /// All rows `[n, d]`.
    ///
    /// # Errors
    /// Where there is none, or they are empty.
    pub fn finish(self) -> Result<Array2<f32>> {
        let size = self.size.unwrap_or(0);
        ensure!(
            self.rows > 0 && size > 0,
            "{} holds {} row(s) of {size} number(s): no vector",
            self.name,
            self.rows
        );
        Array2::from_shape_vec((self.rows, size), self.values).context("rows of one size")
    }
}
