//! Names of files that values and instances make: of gathers, outputs, deliveries.

use std::collections::{HashMap, HashSet};

/// What such names are made no longer than, in bytes: a file name takes 255.
const LONGEST: usize = 160;

/// What the name of a gathered file is made of.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The matrix point of its instance.
    pub point: &'a str,
    /// Its output's role.
    pub output: &'a str,
    /// Its own name.
    pub own: &'a str,
}

/// Names for the files of a gather: the instance's, and the ending of the file's own. Where two outputs of an instance would
/// have one name, all get the role of their output too.
pub fn member_names<'a>(all: impl Iterator<Item = Named<'a>> + Clone) -> Vec<String> {
    let mut points: Vec<&str> = all.clone().map(|one| one.point).collect();
    let mut known = HashSet::new();
    points.retain(|point| known.insert(*point));
    let instances: HashMap<&str, String> = points
        .iter()
        .copied()
        .zip(instance_names(&points))
        .collect();
    let name = |one: &Named<'a>, role: Option<&str>| {
        let instance = &instances[one.point];
        let ending = ending(one.own, instance);
        match role {
            Some(role) => format!("{instance}.{role}{ending}"),
            None => format!("{instance}{ending}"),
        }
    };
    let names: Vec<String> = all.clone().map(|one| name(&one, None)).collect();
    let mut seen = HashSet::new();
    if names.iter().all(|name| seen.insert(name.to_lowercase())) {
        return names;
    }
    all.map(|one| name(&one, Some(one.output))).collect()
}

/// Names for the files of a gather, one for each matrix point (`axis=value,axis=value`): the value where there is one axis,
/// else the whole point; as file names.
pub fn instance_names(points: &[&str]) -> Vec<String> {
    let values: Vec<&str> = points.iter().map(|point| value(point)).collect();
    file_names(&values)
}

/// Texts as file names, no two alike even where capitals count for nothing.
pub(super) fn file_names(texts: &[&str]) -> Vec<String> {
    let names: Vec<String> = texts.iter().map(|text| escaped(text)).collect();
    let mut alike: HashMap<String, usize> = HashMap::new();
    for name in &names {
        *alike.entry(name.to_lowercase()).or_default() += 1;
    }
    names
        .into_iter()
        .map(|name| {
            let twin = alike[&name.to_lowercase()] > 1;
            if twin && name.len() <= LONGEST {
                format!("{name}~{}", digest(&name, 8))
            } else {
                shortened(name)
            }
        })
        .collect()
}

/// A text as a file name.
pub(super) fn file_name(text: &str) -> String {
    shortened(escaped(text))
}

fn shortened(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let mut end = LONGEST - 17;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{}", &name[..end], digest(&name, 16))
}

fn digest(text: &str, digits: usize) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..digits].to_string()
}

/// The value of a point that has one axis; else all of it.
fn value(point: &str) -> &str {
    let is_axis = |text: &str| {
        let axis = text.rsplit(',').next().unwrap_or_default();
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        !axis.is_empty() && axis.chars().all(name)
    };
    match point.split_once('=') {
        // A comma, a name and `=` in the value: it may be a second axis.
        Some((_, value)) => {
            let mut parts = value.match_indices('=');
            let second = parts.any(|(at, _)| value[..at].contains(',') && is_axis(&value[..at]));
            if second { point } else { value }
        }
        None => point,
    }
}

/// A text as a file name: `%` and two digits stand for what can't be in one, or has a meaning at its beginning.
fn escaped(text: &str) -> String {
    if text.is_empty() {
        // What no other text becomes.
        return "%".into();
    }
    let mut name = String::new();
    for (at, c) in text.char_indices() {
        let special = matches!(c, '/' | '%' | '~') || c.is_control();
        if special || (at == 0 && matches!(c, '.' | '-')) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                name += &format!("%{byte:02X}");
            }
        } else {
            name.push(c);
        }
    }
    name
}

/// The ending of a file's own name that the name of its instance gets: what follows the instance's name where the file
/// is called after it, else up to two parts that look like endings: `.vcf.gz`, `.bam.bai`.
fn ending<'n>(own: &'n str, instance: &str) -> &'n str {
    if let Some(rest) = own.strip_prefix(instance)
        && (rest.is_empty() || rest.starts_with('.'))
    {
        return rest;
    }
    let mut start = own.len();
    for _ in 0..2 {
        let Some(at) = own[..start].rfind('.').filter(|at| *at > 0) else {
            break;
        };
        let part = &own[at + 1..start];
        let letters = part.chars().all(|c| c.is_ascii_alphanumeric()) && part.len() <= 8;
        let is_first = start == own.len();
        let begins = part.starts_with(|c: char| c.is_ascii_alphabetic());
        let counts = part.contains(|c: char| c.is_ascii_alphabetic());
        if !letters || !(begins || is_first && counts) {
            break;
        }
        start = at;
    }
    &own[start..]
}
