//! Parquet files of the same columns, read by row.
//!
//! Class names come from what Hugging Face's `datasets` writes beside the schema: under the key `huggingface`, as JSON, the
//! features of the data set (<https://huggingface.co/docs/datasets/about_dataset_features>).

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use serde_json::Value;

use crate::column::Column;
use crate::npy::Number;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Whole numbers and truths.
    Integers,
    /// Numbers with a fraction.
    Floats,
    /// Texts.
    Texts,
    /// Bytes, such as an encoded image.
    Bytes,
    /// A struct with such bytes in its field `bytes`.
    Image,
    /// A list of numbers.
    Vectors,
    /// Anything else.
    Other,
}

/// Files of the same columns.
pub struct Table {
    /// Each file's path, its name in errors and its number of rows.
    files: Vec<(PathBuf, String, usize)>,
    /// Name and content of each column.
    columns: Vec<(String, Content)>,
    /// The features of Hugging Face's metadata, by column.
    features: BTreeMap<String, Value>,
}

impl Table {
    /// Opens the files, in their order, and reads what they say of themselves.
    ///
    /// # Errors
    /// Where one is no Parquet file, or their columns differ.
    pub fn open(files: Vec<(PathBuf, String)>) -> Result<Self> {
        let mut table = Table {
            files: Vec::new(),
            columns: Vec::new(),
            features: BTreeMap::new(),
        };
        for (path, name) in files {
            let reader = open(&path, &name)?;
            let meta = reader.metadata().file_metadata();
            let columns: Vec<(String, Content)> = meta
                .schema()
                .get_fields()
                .iter()
                .map(|field| (field.name().to_owned(), content(field)))
                .collect();
            match table.files.first() {
                None => {
                    table.columns = columns;
                    let entries = meta.key_value_metadata().into_iter().flatten();
                    let entry = entries
                        .filter(|entry| entry.key == "huggingface")
                        .find_map(|entry| entry.value.as_deref());
                    // Without features all is read by what is there.
                    let features = entry.and_then(|text| serde_json::from_str::<Value>(text).ok());
                    if let Some(Value::Object(features)) =
                        features.as_ref().and_then(|f| f.pointer("/info/features"))
                    {
                        table.features = features.clone().into_iter().collect();
                    }
                }
                Some((_, first, _)) => ensure!(
                    table.columns == columns,
                    "{name} has other columns than {first}: {} in place of {}",
                    listed(&columns),
                    listed(&table.columns)
                ),
            }
            let rows =
                usize::try_from(meta.num_rows()).with_context(|| format!("{name} is damaged"))?;
            table.files.push((path, name, rows));
        }
        ensure!(table.rows() > 0, "{} holds no row", table.name());
        Ok(table)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.files.iter().map(|(_, _, rows)| rows).sum()
    }

    /// How many rows each file has.
    pub fn rows_of_files(&self) -> impl Iterator<Item = usize> {
        self.files.iter().map(|(_, _, rows)| *rows)
    }

    /// Name and content of each column, in order.
    pub fn columns(&self) -> &[(String, Content)] {
        &self.columns
    }

    /// What errors call the table: its first file.
    pub fn name(&self) -> &str {
        self.files.first().map_or("", |(_, name, _)| name)
    }

    /// What a column holds.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn content(&self, column: &str) -> Result<Content> {
        let found = self.columns.iter().find(|(name, _)| name == column);
        let found = found.with_context(|| {
            format!(
                "{} has no column `{column}`; it has {}",
                self.name(),
                listed(&self.columns)
            )
        })?;
        Ok(found.1)
    }

    /// The names of a column's classes, where the metadata has them.
    pub fn class_names(&self, column: &str) -> Option<Vec<String>> {
        let names = self.features.get(column)?.get("names")?.as_array()?;
        names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect()
    }

    /// Reads a column of whole numbers or texts.
    ///
    /// # Errors
    /// Where there is none of this name, it holds something else, or a row has no value.
    pub fn read(&self, column: &str) -> Result<Column> {
        let what = format!("the column `{column}` of {}", self.name());
        let is_integer = match self.content(column)? {
            Content::Integers => true,
            Content::Texts | Content::Bytes => false,
            _ => bail!("{what} holds neither whole numbers nor texts"),
        };
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        let mut rows = self.scan(&[column.to_owned()]);
        for row in 0..self.rows() {
            let field = rows.next_row()?.pop();
            let field = field.filter(|field| *field != Field::Null);
            let field = field.with_context(|| {
                format!("{what}: row {row} has no value: leave such rows out of the data")
            })?;
            let damaged = || format!("{what}: row {row} holds what the schema doesn't say");
            match is_integer {
                true => numbers.push(integer(&field).with_context(damaged)?),
                false => texts.push(text(field).with_context(damaged)?),
            }
        }
        Ok(match is_integer {
            true => Column::Integers(numbers),
            false => Column::Texts(texts),
        })
    }

    /// All rows from the first on, with the values of these columns.
    pub fn scan(&self, columns: &[String]) -> Scan {
        Scan {
            files: self.files.clone().into_iter(),
            columns: columns.to_vec(),
            current: None,
        }
    }
}

/// Rows, one after the other, of a [`Table`].
pub struct Scan {
    files: std::vec::IntoIter<(PathBuf, String, usize)>,
    columns: Vec<String>,
    /// The rows of a file, its name, and how many are still to come.
    current: Option<(RowIter<'static>, String, usize)>,
}

impl Scan {
    /// The next row's values, in the order of the columns.
    ///
    /// # Errors
    /// Where there is none, or it is damaged.
    pub fn next_row(&mut self) -> Result<Vec<Field>> {
        loop {
            if let Some((rows, name, left)) = &mut self.current
                && *left > 0
            {
                *left -= 1;
                let row = guarded(name, || rows.next().transpose())?;
                let row = row.with_context(|| format!("{name} is truncated"))?;
                let mut fields: BTreeMap<String, Field> = row.into_columns().into_iter().collect();
                let take = |column: &String| {
                    let field = fields.remove(column);
                    field.with_context(|| format!("{name} has no column `{column}`"))
                };
                return self.columns.iter().map(take).collect();
            }
            let (path, name, rows) = self.files.next().context("there is no further row")?;
            let reader = open(&path, &name)?;
            let schema = reader.metadata().file_metadata().schema().clone();
            let wanted: Vec<Arc<Type>> = schema
                .get_fields()
                .iter()
                .filter(|field| self.columns.iter().any(|column| column == field.name()))
                .cloned()
                .collect();
            let iter = guarded(&name, move || {
                let projection = Type::group_type_builder(schema.name())
                    .with_fields(wanted)
                    .build()?;
                RowIter::from_file_into(Box::new(reader)).project(Some(projection))
            })?;
            self.current = Some((iter, name, rows));
        }
    }
}

fn open(path: &std::path::Path, name: &str) -> Result<SerializedFileReader<File>> {
    let file = File::open(path).with_context(|| format!("{name} can't be opened"))?;
    guarded(name, move || SerializedFileReader::new(file))
}

/// Calls the library, which panics at some damaged files.
fn guarded<T>(name: &str, call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    let result = result.map_err(|_| anyhow!("its encoding can't be read"));
    result
        .and_then(|result| result.map_err(anyhow::Error::from))
        .with_context(|| format!("{name} is no whole Parquet file that can be read"))
}

fn content(field: &Type) -> Content {
    if field.is_group() {
        let inner = field.get_fields();
        let of_bytes =
            |inner: &Arc<Type>| inner.name() == "bytes" && content(inner) == Content::Bytes;
        if inner.iter().any(of_bytes) {
            return Content::Image;
        }
        // A list is a group of one repeated group of one element.
        let is_list = field.get_basic_info().converted_type() == ConvertedType::LIST
            || field.get_basic_info().logical_type_ref() == Some(&LogicalType::List);
        if let (true, [middle]) = (is_list, inner)
            && middle.is_group()
            && let [element] = middle.get_fields()
            && matches!(content(element), Content::Floats | Content::Integers)
        {
            return Content::Vectors;
        }
        return Content::Other;
    }
    let info = field.get_basic_info();
    match (field.get_physical_type(), info.converted_type()) {
        (Physical::BOOLEAN, _) => Content::Integers,
        (
            Physical::INT32 | Physical::INT64,
            ConvertedType::NONE
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64
            | ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64,
        ) => Content::Integers,
        (Physical::FLOAT | Physical::DOUBLE, _) => Content::Floats,
        (Physical::FIXED_LEN_BYTE_ARRAY, _)
            if info.logical_type_ref() == Some(&LogicalType::Float16) =>
        {
            Content::Floats
        }
        (Physical::BYTE_ARRAY, ConvertedType::UTF8 | ConvertedType::ENUM) => Content::Texts,
        (Physical::BYTE_ARRAY, ConvertedType::NONE) => Content::Bytes,
        _ => Content::Other,
    }
}

/// A whole number; none where the field holds something else.
fn integer(field: &Field) -> Option<i64> {
    Some(match *field {
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value,
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => i64::try_from(value).ok()?,
        _ => return None,
    })
}

/// A number of any type, NaN where there is none; nothing where the field holds something else.
pub fn number(field: &Field) -> Option<Number> {
    Some(match *field {
        Field::Null => Number::Float(f64::NAN),
        Field::Float16(value) => Number::Float(value.to_f64()),
        Field::Float(value) => Number::Float(value.into()),
        Field::Double(value) => Number::Float(value),
        Field::ULong(value) => Number::Integer(value.into()),
        _ => Number::Integer(integer(field)?.into()),
    })
}

fn text(field: Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text),
        Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).ok(),
        _ => None,
    }
}

fn listed(columns: &[(String, Content)]) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    match names.len() {
        0..=20 => names.join(", "),
        _ => format!("{}, … ({} in all)", names[..20].join(", "), names.len()),
    }
}
