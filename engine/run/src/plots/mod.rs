//! Plots: the files of a stage that its workflow calls so, made into items of a view. It is done twice by the same code: when a
//! stage ends, to tell what is wrong at once, and where something is shown.
//!
//! - `rows`: rows of named columns out of JSON, CSV, TSV.
//! - `draw`: rows as charts.
//! - `dvclive`: what lies in DVCLive's folder.
//! - `ended`: what is wrong with the plots of a stage that has just ended.

mod draw;
mod dvclive;
pub(crate) mod ended;
mod rows;

use flow_plan::plan::is_glob;
use flow_plan::plan::shown::{Plot, PlotKind};
use flow_stage::view::Item;
use glob::{MatchOptions, Pattern};

pub use rows::{MOST, Rows};

/// A plot shows at most as many files.
const FILES: usize = 50;
/// What a message names.
const NAMED: usize = 10;

/// Endings of pictures.
const PICTURES: [&str; 4] = ["png", "jpg", "jpeg", "svg"];

/// As in a shell, but for `**`.
const BY_FOLDER: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// One thing that a plot shows.
#[derive(Debug)]
pub struct Drawn {
    /// What stands above it.
    pub title: String,
    /// It; or why it can't be shown.
    pub item: Result<Item, String>,
}

/// The path in the stage's folder of what lies in an output that is a folder, or that a glob matches.
pub fn inside_of(output: &str, path: &str) -> String {
    match is_glob(output) {
        true => format!("{}{path}", crate::folder::fixed_part(output)),
        false => format!("{output}/{path}"),
    }
}

/// The files of a stage's outputs.
pub struct Files<'a> {
    /// Their paths in the stage's folder, sorted.
    pub names: Vec<String>,
    /// The content of one of them.
    pub read: &'a dyn Fn(&str) -> anyhow::Result<Vec<u8>>,
}

impl Files<'_> {
    fn content(&self, name: &str) -> Result<Vec<u8>, String> {
        (self.read)(name).map_err(|error| format!("{name}: {error:#}"))
    }
}

/// All that plots show, and DVCLive's folder, where a stage has one.
pub fn draw(plots: &[Plot], dvclive: Option<&str>, files: &Files<'_>) -> Vec<Drawn> {
    let mut drawn: Vec<Drawn> = plots.iter().flat_map(|plot| one(plot, files)).collect();
    if let Some(folder) = dvclive {
        drawn.extend(dvclive::shown(folder, plots, files));
    }
    drawn
}

/// Whether a plot is of a file.
fn is_of(plot: &Plot, name: &str) -> bool {
    plot.files == name
        || is_glob(&plot.files)
            && Pattern::new(&plot.files).is_ok_and(|glob| glob.matches_with(name, BY_FOLDER))
}

fn one(plot: &Plot, files: &Files<'_>) -> Vec<Drawn> {
    let fault = |problem: String| Drawn {
        title: plot.name.clone(),
        item: Err(problem),
    };
    let mut found: Vec<&String> = files
        .names
        .iter()
        .filter(|name| is_of(plot, name))
        .collect();
    if found.is_empty() {
        let some = files
            .names
            .iter()
            .take(NAMED)
            .map(|name| format!("`{name}`"));
        let there = match files.names.len() {
            0 => "there are none".into(),
            _ => format!("there are {}", some.collect::<Vec<_>>().join(", ")),
        };
        return vec![fault(format!(
            "no file of its outputs is `{}`; {there}",
            plot.files
        ))];
    }
    let more = found.len().saturating_sub(FILES);
    found.truncate(FILES);
    let (pictures, tables): (Vec<&String>, Vec<&String>) =
        found.into_iter().partition(|name| is_picture(name));
    let many = pictures.len() + tables.len() > 1;
    let labels = labels(&tables);
    let title = |label: &str| match many {
        true => format!("{}: {label}", plot.name),
        false => plot.name.clone(),
    };
    let mut drawn = Vec::new();
    match plot.kind {
        _ if tables.is_empty() => {}
        PlotKind::Line => drawn.push(Drawn {
            title: plot.name.clone(),
            item: draw::lines(plot, &tables, &labels, files),
        }),
        PlotKind::Confusion => {
            for (name, label) in tables.iter().zip(&labels) {
                let title = title(label);
                drawn.push(Drawn {
                    item: draw::confusion(plot, &title, name, files),
                    title,
                });
            }
        }
    }
    for name in pictures {
        let title = title(name);
        drawn.push(Drawn {
            item: picture(plot, &title, name, files),
            title,
        });
    }
    if more > 0 {
        drawn.push(fault(format!(
            "a plot shows {FILES} files at most, and there are {more} more"
        )));
    }
    drawn
}

fn is_picture(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    PICTURES.contains(&ending.to_ascii_lowercase().as_str())
}

fn picture(plot: &Plot, title: &str, name: &str, files: &Files<'_>) -> Result<Item, String> {
    if plot.x.is_some() || !plot.y.is_empty() || plot.kind != PlotKind::Line {
        return Err(format!(
            "{name} is a picture, which has no columns: `x`, `y` and `kind` are for rows"
        ));
    }
    match media(&files.content(name)?) {
        Some(_) => Ok(Item::Image {
            title: title.into(),
            alt: format!("The picture {name}"),
            file: name.into(),
        }),
        None => Err(format!(
            "{name} is neither a PNG nor a JPEG nor an SVG picture"
        )),
    }
}

/// What a picture is, by its first bytes rather than by its name.
pub fn media(content: &[u8]) -> Option<&'static str> {
    if content.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if content.starts_with(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    let text = std::str::from_utf8(content).ok()?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_svg = text.starts_with("<svg")
        || (text.starts_with("<?xml") || text.starts_with("<!--") || text.starts_with("<!DOCTYPE"))
            && text.contains("<svg");
    is_svg.then_some("image/svg+xml")
}

/// What tells files apart: their paths without the folders and the ending that all of them have.
fn labels(names: &[&String]) -> Vec<String> {
    let parts = |name: &str| name.split('/').map(String::from).collect::<Vec<_>>();
    let all: Vec<Vec<String>> = names.iter().map(|name| parts(name)).collect();
    let Some((first, others)) = all.split_first() else {
        return Vec::new();
    };
    let same = (0..first.len() - 1)
        .take_while(|&at| others.iter().all(|other| other.get(at) == Some(&first[at])))
        .count();
    let labels: Vec<String> = all
        .iter()
        .map(|parts| parts[same.min(parts.len() - 1)..].join("/"))
        .collect();
    let ending = |label: &str| label.rsplit_once('.').map(|(_, ending)| ending.to_string());
    match ending(&labels[0]) {
        Some(common)
            if labels
                .iter()
                .all(|label| ending(label).as_ref() == Some(&common)) =>
        {
            let stem = |label: &String| label[..label.len() - common.len() - 1].to_string();
            labels.iter().map(stem).collect()
        }
        _ => labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_bytes() {
        assert_eq!(media(b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(media(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(
            media(b"<?xml version='1.0'?>\n<svg/>"),
            Some("image/svg+xml")
        );
        assert_eq!(media(b"<html><svg/></html>"), None);
        assert_eq!(media(b""), None);
    }

    #[test]
    fn files_are_called_by_what_tells_them_apart() {
        let labels = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            super::labels(&names.iter().collect::<Vec<_>>())
        };
        assert_eq!(
            labels(&["e/roc/test.json", "e/roc/train.json"]),
            ["test", "train"]
        );
        assert_eq!(labels(&["a/roc.json", "b/roc.json"]), ["a/roc", "b/roc"]);
        assert_eq!(labels(&["a/b.csv", "a/c.json"]), ["b.csv", "c.json"]);
        assert_eq!(labels(&["a/roc.json"]), ["roc"]);
        assert_eq!(labels(&["a", "a/b"]), ["a", "a/b"]);
        assert!(labels(&[]).is_empty());
    }
}
