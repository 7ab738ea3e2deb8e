//! What stages publish, read from the store: names of files become digests, and what can't be shown is said to be so.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flow_cache::{Digest, Output, Store};
use flow_stage::view::{self, Coordinates, Item, View};

use super::document::{Document, File, Shown};
use super::{document, rows};

/// A file of more bytes than this is not read: no page could hold it.
const MOST: u64 = 64 << 20;

/// Adds what its stages publish to a document.
pub(super) fn fill(document: &mut Document, store: &Store) {
    for (stage, role, output) in std::mem::take(&mut document.published) {
        let (items, problem) = match items(store, &output, &mut document.files) {
            Ok(items) => (items, None),
            Err(error) => (Vec::new(), Some(format!("It can't be shown: {error:#}"))),
        };
        document.views.push(document::View {
            stage,
            output: role,
            items,
            problem,
        });
    }
}

fn items(store: &Store, output: &Output, files: &mut BTreeMap<Digest, File>) -> Result<Vec<Shown>> {
    let folder = Folder::open(store, output)?;
    let items = folder.view()?.items.into_iter().map(|item| {
        let unread = item.clone();
        shown(&folder, item, files).unwrap_or_else(|error| Shown {
            left_out: Some(format!("It can't be shown: {error:#}")),
            ..Shown::from(without_data(unread))
        })
    });
    Ok(items.collect())
}

/// An item as the page shows it.
fn shown(folder: &Folder<'_>, item: Item, files: &mut BTreeMap<Digest, File>) -> Result<Shown> {
    let mut picture = |name: &mut String| -> Result<()> {
        let (digest, file) = folder.picture(name)?;
        files.entry(digest).or_insert(file);
        *name = digest.to_string();
        Ok(())
    };
    let mut shown = Shown::from(item);
    match &mut shown.item {
        Item::Image { file, .. } => picture(file)?,
        Item::Gallery(gallery) => picture(&mut gallery.sprite)?,
        Item::Thumbnails(thumbnails) => picture(&mut thumbnails.sprite)?,
        Item::VegaLite(chart) => rows::inline(&mut chart.spec, &|name| folder.read(name))?,
        Item::Points(points) => {
            let content = folder.read(&points.file)?;
            let coordinates = Coordinates::parse(&content)
                .map_err(|problem| anyhow!("{}: {problem}", points.file))?;
            let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
            ensure!(
                finite(&coordinates.x) && finite(&coordinates.y),
                "{} holds a point without a place",
                points.file
            );
            shown.points = Some(coordinates);
        }
        Item::Text { .. } | Item::Table(_) => {}
    }
    Ok(shown)
}

/// An item of which only its title is shown.
pub(super) fn without_data(item: Item) -> Item {
    let title = item.title().to_string();
    match item {
        Item::Thumbnails(mut thumbnails) => {
            thumbnails.row.clear();
            thumbnails.sprite.clear();
            Item::Thumbnails(thumbnails)
        }
        _ => Item::Text {
            title,
            text: String::new(),
        },
    }
}

/// The files of one `view` output.
pub(super) struct Folder<'a> {
    store: &'a Store,
    files: BTreeMap<String, (Digest, u64)>,
}

impl<'a> Folder<'a> {
    /// Lists what is in it.
    pub fn open(store: &'a Store, output: &Output) -> Result<Folder<'a>> {
        let files = store.files(output)?.into_iter();
        Ok(Folder {
            store,
            files: files
                .map(|(path, digest, size)| (path, (digest, size)))
                .collect(),
        })
    }

    /// What it lists.
    pub fn view(&self) -> Result<View> {
        View::parse(&self.read(view::FILE)?).map_err(|problem| anyhow!(problem))
    }

    /// A file's content.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let found = self.files.get(name);
        let &(digest, size) = found.with_context(|| format!("there is no file {name}"))?;
        ensure!(size <= MOST, "{name} is too large to be shown");
        let output = Output {
            digest,
            size,
            folder: false,
            artifact: String::new(),
            executable: false,
        };
        Ok(self.store.read(&output)?)
    }

    fn picture(&self, name: &str) -> Result<(Digest, File)> {
        let content = self.read(name)?;
        let media = media(&content)
            .with_context(|| format!("{name} is neither a PNG nor a JPEG nor an SVG picture"))?;
        let file = File {
            media,
            data: STANDARD.encode(&content),
        };
        let &(digest, _) = self.files.get(name).context("it was read")?;
        Ok((digest, file))
    }
}

/// What a picture is, by its first bytes rather than by its name.
fn media(content: &[u8]) -> Option<&'static str> {
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
}
