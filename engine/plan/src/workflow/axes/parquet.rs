//! Parquet as JSON: a list of rows, one a line, which messages can show and runs can keep.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

/// The rows of a file.
///
/// # Errors
/// Why it can't be read.
pub(super) fn as_json(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = || -> Result<Vec<Row>, ParquetError> {
        RowIter::from_file_into(Box::new(SerializedFileReader::new(file)?)).collect()
    };
    // The library panics at some damaged files.
    let rows = catch_unwind(AssertUnwindSafe(read));
    let rows = rows.map_err(|_| "its encoding can't be read".to_string())?;
    let rows = rows.map_err(|error| error.to_string())?;
    let lines = rows.iter().map(|row| object(row).to_string());
    let lines: Vec<String> = lines.collect();
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// What has no value is left out.
fn object(row: &Row) -> Value {
    let cells = row.get_column_iter();
    let cells = cells.filter(|(_, field)| !matches!(field, Field::Null));
    let cells: Map<String, Value> = cells
        .map(|(name, field)| (name.clone(), value(field)))
        .collect();
    Value::Object(cells)
}

fn value(field: &Field) -> Value {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        // By its own digits: 0.1 of 32 bits is 0.1.
        Field::Float(value) => value.to_string().parse().map_or(Value::Null, float),
        Field::Float16(value) => float(value.to_f64()),
        Field::Double(value) => float(*value),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => Value::from(String::from_utf8_lossy(bytes.data())),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        // Dates, times, decimals: as text.
        other => Value::from(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{
        ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type,
    };
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::workflow::{Overrides, Report, load};

    fn column<T: DataType>(
        group: &mut SerializedRowGroupWriter<'_, File>,
        values: &[T::T],
        levels: Option<&[i16]>,
    ) {
        let mut column = group.next_column().unwrap().unwrap();
        let writer = column.typed::<T>();
        writer.write_batch(values, levels, None).unwrap();
        column.close().unwrap();
    }

    fn write(path: &Path) {
        let schema = "message samples { REQUIRED BYTE_ARRAY id (UTF8); REQUIRED INT64 n; \
                      OPTIONAL DOUBLE rate; REQUIRED INT32 day (DATE); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let ids = [ByteArray::from("A"), ByteArray::from("B")];
        column::<ByteArrayType>(&mut group, &ids, None);
        column::<Int64Type>(&mut group, &[1, 2], None);
        column::<DoubleType>(&mut group, &[0.1], Some(&[1, 0]));
        column::<Int32Type>(&mut group, &[0, 1], None);
        group.close().unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn rows_have_the_types_of_their_columns_and_are_read_again_from_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("s.parquet"));
        let workflow = "[workflow]\nlanguage = 2\n[stages.a]\nrun = 'x ${matrix.s.n} > ${outputs.o}'\n\
                        matrix = { s = { table = 's.parquet', key = 'id' } }\noutputs = { o = 'o' }\n";
        let path = folder.path().join("w.toml");
        std::fs::write(&path, workflow).unwrap();
        let loaded = load(&path, &Overrides::default()).unwrap();
        let rows = loaded.workflow.stages[0].matrix[0].rows.clone();
        let told = |name: &str, column: &str| {
            let cell = rows.find(name)?.at(column)?;
            Some(cell.value.json().to_string())
        };
        assert_eq!(told("A", "n").as_deref(), Some("1"));
        assert_eq!(told("A", "rate").as_deref(), Some("0.1"));
        assert_eq!(told("B", "rate"), None);
        assert_eq!(told("B", "day").as_deref(), Some("\"1970-01-02\""));
        // What was read holds until the file is another one.
        let marks = loaded.sources.marks();
        assert!(marks.iter().all(|mark| mark.holds()));
        let texts = loaded.sources.texts().skip(1);
        let mut kept: std::collections::BTreeMap<_, _> = texts
            .map(|(name, text)| (std::path::absolute(name).unwrap(), text.to_string()))
            .collect();
        kept.insert(path.clone(), workflow.into());
        std::fs::write(folder.path().join("s.parquet"), "PAR1").unwrap();
        assert!(!marks.iter().all(|mark| mark.holds()));
        let again = crate::workflow::load_kept(&path, &Overrides::default(), kept).unwrap();
        let again = &again.workflow.stages[0].matrix[0];
        assert_eq!(again.rows.names().collect::<Vec<_>>(), ["A", "B"]);
        // A damaged file is a mistake with a place.
        let loaded = load(&path, &Overrides::default()).unwrap();
        let report = Report::new(loaded.sources, loaded.problems).to_string();
        assert!(
            report.contains("can't be read") && report.contains("w.toml:5:"),
            "{report}"
        );
    }
}
