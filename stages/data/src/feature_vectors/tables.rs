//! Vectors in tables with a header: CSV and Parquet.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use glob::Pattern;
use parquet::record::{Field, List};

use super::found::{Found, Vectors};
use super::{Places, ROLES};
use crate::column::Column;
use crate::npy::Number;
use crate::table::{self, Content, Table};
use crate::unpack;

/// Where in a table things stand.
struct Columns {
    /// Of the numbers of the vectors.
    features: Vec<usize>,
    /// Of labels, coarse labels, names and split.
    roles: [Option<usize>; 4],
}

/// Finds the columns that the workflow names; all columns without a role are features, unless it names these too.
fn find(header: &[String], name: &str, places: &Places) -> Result<Columns> {
    for (place, column) in header.iter().enumerate() {
        ensure!(
            !header[..place].contains(column) || column.is_empty(),
            "{name} has two columns `{column}`; rename one"
        );
    }
    let mut roles = [None; 4];
    for ((role, column), place) in ROLES.iter().zip(places.columns).zip(&mut roles) {
        let Some(column) = column else { continue };
        let found = header.iter().position(|other| other == column);
        *place = Some(found.with_context(|| {
            format!(
                "{name} has no column `{column}` for `{role}`; it has {}",
                listed(header)
            )
        })?);
    }
    let features: Vec<usize> = match places.features {
        None => (0..header.len())
            .filter(|place| !roles.contains(&Some(*place)))
            // What pandas calls its row numbers.
            .filter(|&place| {
                !matches!(
                    header[place].as_str(),
                    "" | "Unnamed: 0" | "__index_level_0__"
                )
            })
            .collect(),
        Some(names) => {
            let mut places = Vec::new();
            for wanted in names {
                // A name may hold what no pattern can.
                let pattern = Pattern::new(wanted).ok();
                let before = places.len();
                places.extend((0..header.len()).filter(|&place| {
                    // A pattern means no column that is something else.
                    let free = !roles.contains(&Some(place));
                    header[place] == *wanted
                        || free && pattern.as_ref().is_some_and(|p| p.matches(&header[place]))
                }));
                ensure!(
                    places.len() > before,
                    "{name} has no column `{wanted}` for `features`; it has {}",
                    listed(header)
                );
            }
            places
        }
    };
    ensure!(
        !features.is_empty(),
        "{name} has no column of features beside {}",
        listed(header)
    );
    Ok(Columns { features, roles })
}

fn listed(header: &[String]) -> String {
    match header.len() {
        0..=20 => header.join(", "),
        _ => format!("{}, … ({} in all)", header[..20].join(", "), header.len()),
    }
}

/// Reads a table of comma- or tab-separated values, packed with gzip or not.
///
/// # Errors
/// Where a column is not there, or a feature is no number.
pub fn read_csv(path: &Path, name: &str, places: &Places) -> Result<Found> {
    let wrong = || format!("{name} is no table of comma-separated values");
    let mut first = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(unpack::open(path)?),
        &mut first,
    )
    .with_context(wrong)?;
    let delimiter = match first.matches('\t').count() > first.matches(',').count() {
        true => b'\t',
        false => b',',
    };
    let mut table = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(unpack::open(path)?);
    let header: Vec<String> = table
        .headers()
        .with_context(wrong)?
        .iter()
        .map(|column| column.trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let columns = find(&header, name, places)?;
    let mut vectors = Vectors::new(name);
    let mut roles = columns.roles.map(|place| place.map(|_| Vec::new()));
    let mut record = csv::StringRecord::new();
    while table.read_record(&mut record).with_context(wrong)? {
        let line = record.position().map_or(0, csv::Position::line);
        for &place in &columns.features {
            let (text, column) = (record[place].trim(), &header[place]);
            let number = match text.is_empty() {
                true => Number::Float(f64::NAN),
                false => number(text).with_context(|| {
                    format!(
                        "{name}: line {line} holds \"{text}\" in the column `{column}`, which is no number: say what the \
                         column is (`names`, `labels`, `coarse_labels` or `split` = \"{column}\"), or which columns \
                         `features` are"
                    )
                })?,
            };
            vectors.push(number, format_args!("the column `{column}`"))?;
        }
        vectors.end_row()?;
        for (texts, place) in roles.iter_mut().zip(columns.roles) {
            if let (Some(texts), Some(place)) = (texts, place) {
                texts.push(record[place].trim().to_owned());
            }
        }
    }
    Ok(Found {
        vectors: vectors.finish()?,
        columns: roles.map(|texts| texts.map(Column::of_texts)),
        classes: None,
    })
}

fn number(text: &str) -> Option<Number> {
    match text.parse() {
        Ok(whole) => Some(Number::Integer(whole)),
        Err(_) => text.parse().ok().map(Number::Float),
    }
}

/// Reads a Parquet file.
///
/// # Errors
/// Where a column is not there, or a feature is no number.
pub fn read_parquet(path: &Path, name: &str, places: &Places) -> Result<Found> {
    let table = Table::open(vec![(path.to_owned(), name.to_owned())])?;
    let header: Vec<String> = table
        .columns()
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let mut columns = find(&header, name, places)?;
    let content = |place: &usize| table.columns()[*place].1;
    if places.features.is_none() {
        let lists = |place: &usize| content(place) == Content::Vectors;
        let lists: Vec<usize> = columns.features.iter().copied().filter(lists).collect();
        if let [list] = lists[..] {
            columns.features = vec![list];
        }
    }
    for place in &columns.features {
        let column = &header[*place];
        match content(place) {
            Content::Integers | Content::Floats => {}
            Content::Vectors if columns.features.len() == 1 => {}
            Content::Vectors => bail!(
                "{name} has several columns that may hold the vectors: name one of them, `features = \"{column}\"` or another"
            ),
            _ => bail!(
                "{name}: the column `{column}` holds no numbers: say what it is (`names`, `labels`, `coarse_labels` or \
                 `split` = \"{column}\"), or which columns `features` are"
            ),
        }
    }
    let mut found = columns.features.iter().map(|&place| header[place].clone());
    let wanted: Vec<String> = found.by_ref().collect();
    let mut rows = table.scan(&wanted);
    let mut vectors = Vectors::new(name);
    for row in 0..table.rows() {
        for (field, column) in rows.next_row()?.iter().zip(&wanted) {
            match field {
                Field::ListInternal(list) => add(&mut vectors, list, column)?,
                Field::Null if content(&columns.features[0]) == Content::Vectors => bail!(
                    "{name}: row {row} has no vector in the column `{column}`: leave such rows out of the data"
                ),
                field => {
                    let number = table::number(field).with_context(|| {
                        format!("{name}: row {row} holds no number in the column `{column}`")
                    })?;
                    vectors.push(number, format_args!("the column `{column}`"))?;
                }
            }
        }
        vectors.end_row()?;
    }
    let mut read = [const { None }; 4];
    for (column, place) in read.iter_mut().zip(columns.roles) {
        if let Some(place) = place {
            *column = Some(table.read(&header[place])?);
        }
    }
    Ok(Found {
        vectors: vectors.finish()?,
        columns: read,
        classes: columns.roles[0].and_then(|place| table.class_names(&header[place])),
    })
}

fn add(vectors: &mut Vectors, list: &List, column: &str) -> Result<()> {
    for (place, field) in list.elements().iter().enumerate() {
        let row = vectors.rows();
        let number = table::number(field)
            .with_context(|| format!("row {row} holds no number in the column `{column}`"))?;
        vectors.push(number, format_args!("the column `{column}` at {place}"))?;
    }
    Ok(())
}
