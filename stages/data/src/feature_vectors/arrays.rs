//! Vectors in NumPy's files.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::found::{Found, Vectors};
use super::{Places, ROLES};
use crate::column::Column;
use crate::npy::{self, Element, Header};
use crate::npz::Arrays;
use crate::unpack;

/// Reads the vectors of a `.npy` file.
///
/// # Errors
/// Where it is no array `[n, d]` of numbers.
pub fn read_npy(path: &Path, name: &str) -> Result<Found> {
    let vectors = matrix(unpack::open_raw(path)?, name)?;
    Ok(Found {
        vectors: vectors.finish()?,
        columns: [const { None }; 4],
        classes: None,
    })
}

/// Reads one value a row from a `.npy` file, or from a text file of a line for each row.
///
/// # Errors
/// Where it is neither.
pub fn read_column(path: &Path, name: &str) -> Result<Column> {
    let mut start = [0; 6];
    let mut file = unpack::open_raw(path)?;
    if file.read_exact(&mut start).is_ok() && start == *b"\x93NUMPY" {
        return npy::read_column(unpack::open_raw(path)?, name);
    }
    let mut text = String::new();
    unpack::open(path)?
        .read_to_string(&mut text)
        .with_context(|| {
            format!("{name} is neither a .npy array nor a text of a line for each row")
        })?;
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    Ok(Column::of_texts(lines.collect()))
}

/// Reads the arrays of a `.npz` file, or of a folder, that the workflow names.
///
/// # Errors
/// Where one is not there or does not hold what is asked of it, or it isn't clear which array holds the vectors.
pub fn read_npz(path: &Path, places: &Places) -> Result<Found> {
    let mut arrays = Arrays::open(path)?;
    let mut columns = [const { None }; 4];
    for (column, member) in columns.iter_mut().zip(places.columns) {
        if let Some(member) = member {
            let shown = arrays.shown(member);
            *column = Some(npy::read_column(arrays.member(member)?, &shown)?);
        }
    }
    let features = match places.features {
        Some([member]) => Some(member.clone()),
        Some(_) => bail!(
            "{} holds arrays, and `features` names one of them",
            arrays.name()
        ),
        None => guess(&mut arrays)?,
    };
    let vectors = match features {
        Some(member) => {
            let shown = arrays.shown(&member);
            matrix(arrays.member(&member)?, &shown)?
        }
        None => {
            let given = ROLES.iter().zip(places.columns);
            if let Some((role, Some(_))) = { given }.find(|(_, member)| member.is_some()) {
                bail!(
                    "{} holds one vector a row, each an array of its own, and `{role}` names an array of all rows: leave it \
                     out; classes are told by folders, class/x or coarse/fine/x",
                    arrays.name()
                );
            }
            let vectors = one_a_row(&mut arrays)?;
            columns = of_paths(&arrays)?;
            vectors
        }
    };
    Ok(Found {
        vectors: vectors.finish()?,
        columns,
        classes: None,
    })
}

/// Shape and type of an array; none of what holds no numbers.
fn numbers(arrays: &mut Arrays, member: &str) -> Result<Option<(Vec<usize>, Element)>> {
    let shown = arrays.shown(member);
    let content = arrays.member(member)?;
    let header = Header::read(content, &shown).ok();
    let read = |header: Header| {
        let element = Element::parse(&header.descr, &shown).ok()?;
        Some((header.shape, element))
    };
    Ok(header.and_then(read))
}

/// The array that holds the vectors; none where each array is a vector.
fn guess(arrays: &mut Arrays) -> Result<Option<String>> {
    let (mut matrices, mut vectors, mut others) = (Vec::new(), 0, 0);
    for member in arrays.members().to_vec() {
        match numbers(arrays, &member)? {
            Some((shape, element)) if shape.len() == 2 && !element.is_integer() => {
                matrices.push(member);
            }
            Some((shape, element)) if shape.len() == 1 && !element.is_integer() => vectors += 1,
            _ => others += 1,
        }
    }
    let members = arrays.members();
    match matrices.len() {
        1 => Ok(matrices.pop()),
        0 if vectors > 0 && others == 0 => Ok(None),
        0 => bail!(
            "{} has no array of floats in two dimensions; name the one that holds the vectors, `features = \"{}\"` or another",
            arrays.name(),
            members.first().map_or("…", String::as_str)
        ),
        _ => bail!(
            "{} has several arrays that may hold the vectors: {}. Give `features = \"{}\"` or another one",
            arrays.name(),
            matrices.join(", "),
            matrices[0]
        ),
    }
}

/// The elements of an array, and how to read them.
fn elements(mut reader: impl Read, name: &str) -> Result<(Header, Element, Vec<u8>)> {
    let header = Header::read(&mut reader, name)?;
    if header.descr.ends_with('O') {
        bail!(
            "{name} holds Python objects, which only Python can read: save numpy.stack(x).astype(\"float32\")"
        );
    }
    let element = Element::parse(&header.descr, name)?;
    let content = header.content(element.size, name)? as u64;
    let bytes = unpack::read_exactly(reader, name, content)?;
    Ok((header, element, bytes))
}

/// Reads an array `[n, d]`, the rows of which are the vectors.
fn matrix(reader: impl Read, name: &str) -> Result<Vectors> {
    let (header, element, bytes) = elements(reader, name)?;
    let [n, d] = header.shape[..] else {
        bail!(
            "{name} has the shape {:?}; vectors are [n, d]: save {}",
            header.shape,
            match header.shape.len() {
                0 | 1 => "x.reshape(-1, 1) where each row is one number",
                _ => "x.reshape(len(x), -1)",
            }
        );
    };
    let mut vectors = Vectors::new(name);
    for row in 0..n {
        for column in 0..d {
            let place = match header.fortran_order {
                true => column * n + row,
                false => row * d + column,
            };
            let number = element.read(&bytes[place * element.size..][..element.size]);
            vectors.push(number, format_args!("column {column}"))?;
        }
        vectors.end_row()?;
    }
    Ok(vectors)
}

/// Reads each array as a vector.
fn one_a_row(arrays: &mut Arrays) -> Result<Vectors> {
    let mut vectors = Vectors::new(arrays.name());
    for member in arrays.members().to_vec() {
        let shown = arrays.shown(&member);
        let (_, element, bytes) = elements(arrays.member(&member)?, &shown)?;
        for (column, bytes) in bytes.chunks_exact(element.size).enumerate() {
            vectors.push(element.read(bytes), format_args!("{shown} at {column}"))?;
        }
        vectors.end_row().with_context(|| shown.clone())?;
    }
    Ok(vectors)
}

/// What the names of arrays tell: `x`, `class/x` or `coarse/fine/x`.
fn of_paths(arrays: &Arrays) -> Result<[Option<Column>; 4]> {
    let members = arrays.members();
    let depth = |member: &String| member.matches('/').count();
    let folders = members.first().map_or(0, depth);
    if let Some(other) = members.iter().find(|member| depth(member) != folders) {
        bail!(
            "{} holds {} and {other}: either all vectors are `x`, or all `class/x`, or all `coarse/fine/x`",
            arrays.name(),
            members[0]
        );
    }
    ensure!(
        folders <= 2,
        "{} holds {}: vectors lie in `class` or `coarse/fine`, no deeper",
        arrays.name(),
        members[0]
    );
    let class = |member: &String| member.rsplit_once('/').unwrap_or_default().0.to_owned();
    let coarse = |member: &String| member.split_once('/').unwrap_or_default().0.to_owned();
    let labels = (folders > 0).then(|| Column::Texts(members.iter().map(class).collect()));
    let coarse = (folders == 2).then(|| Column::Texts(members.iter().map(coarse).collect()));
    let names = Column::Texts(members.to_vec());
    Ok([labels, coarse, Some(names), None])
}
