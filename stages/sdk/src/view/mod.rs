//! The artifact `view`: what a stage shows people. A folder with `view.json` and the files that it names;
//! `docs/views.md` is the same in words.
//!
//! [`View`] and [`Item`] are types only, which the engine reads too. [`Writer`] writes a view; [`sheet()`] draws many small
//! images into one file; [`chart`] makes specs of charts that several kinds show.

pub mod chart;
mod check;
mod sample;
#[cfg(feature = "kit")]
mod sheet;
#[cfg(feature = "kit")]
mod text;
#[cfg(feature = "kit")]
mod writer;

pub use sample::{sample, splitmix64};
#[cfg(feature = "kit")]
pub use sheet::{Sheet, sheet};
#[cfg(feature = "kit")]
pub use text::{distinct, short};
#[cfg(feature = "kit")]
pub use writer::{GroupOfRows, Writer};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The version of the format.
pub const VERSION: u32 = 1;

/// The file in the folder that lists what is shown.
pub const FILE: &str = "view.json";

/// Points, or thumbnails, that a stage publishes at most in all; see [`sample()`].
pub const MOST_POINTS: usize = 25_000;

/// What `view.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// [`VERSION`].
    pub view: u32,
    /// What is shown, in order.
    pub items: Vec<Item>,
}

/// One thing that is shown. All text in it is plain text; files are named relative to the folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Item {
    /// A paragraph.
    Text {
        /// What stands above it.
        title: String,
        /// The paragraph; lines are kept.
        text: String,
    },
    /// A table.
    Table(Table),
    /// A picture.
    Image {
        /// What stands above it.
        title: String,
        /// What it shows, for who can't see it.
        alt: String,
        /// A PNG, JPEG or SVG file.
        file: String,
    },
    /// A chart.
    VegaLite(Chart),
    /// Small images in named groups.
    Gallery(Gallery),
    /// A scatter plot of rows of a data set.
    Points(Points),
    /// Images of rows of a data set, which [`Item::Points`] of stages further down show.
    Thumbnails(Thumbnails),
}

/// A table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What stands above it.
    pub title: String,
    /// The header.
    pub columns: Vec<String>,
    /// Lines of as many cells: strings, numbers, true and false, or null for an empty one.
    pub rows: Vec<Vec<Value>>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// What stands above it.
    pub title: String,
    /// What it shows, for who can't see it.
    pub alt: String,
    /// A Vega-Lite spec whose data are `values`, or a `url` that names a file of the folder.
    pub spec: Value,
    /// Charts of several instances of a stage with this name are also laid over each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<String>,
}

/// Small images in named groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gallery {
    /// What stands above it.
    pub title: String,
    /// What it shows, for who can't see it.
    pub alt: String,
    /// A PNG or JPEG file of all images, `columns` beside each other in a line.
    pub sprite: String,
    /// Width and height of each image.
    pub size: [u32; 2],
    /// Images in a line of the sprite.
    pub columns: u32,
    /// The groups.
    pub groups: Vec<Group>,
}

/// A row of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Its images.
    pub images: Vec<Picture>,
}

/// An image in a sprite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// The place in the sprite: 0, 1, 2, … from left to right, line after line.
    pub at: u32,
    /// The row of the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// A few words, such as the class.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
}

/// A scatter plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Points {
    /// What stands above it.
    pub title: String,
    /// What it shows, for who can't see it.
    pub alt: String,
    /// What the axes are, and what is left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// A JSON file that holds [`Coordinates`].
    pub file: String,
    /// The coarse class that the points are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// What the file of [`Points`] holds: columns of one length.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// The row of the data set that each point is.
    pub row: Vec<u64>,
    /// Where it lies.
    pub x: Vec<f64>,
    /// Where it lies, from bottom to top.
    pub y: Vec<f64>,
    /// What it can be coloured by.
    #[serde(default)]
    pub colour: Vec<Colour>,
}

/// Something that points can be coloured by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Colour {
    /// One of some names.
    Category {
        /// What it is, such as `discovered label`.
        name: String,
        /// The names.
        names: Vec<String>,
        /// The place of each point's name in `names`; -1 (or null) for none.
        #[serde(deserialize_with = "or_none")]
        value: Vec<i32>,
    },
    /// A number.
    Number {
        /// What it is, such as `uncertainty`.
        name: String,
        /// The number of each point; null for none.
        value: Vec<Option<f64>>,
    },
}

/// Images of rows of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thumbnails {
    /// A PNG or JPEG file of all images, `columns` beside each other in a line.
    pub sprite: String,
    /// Width and height of each image.
    pub size: [u32; 2],
    /// Images in a line of the sprite.
    pub columns: u32,
    /// The row of the data set of each image, in the sprite's order.
    pub row: Vec<u64>,
}

fn or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i32>, D::Error> {
    let values = Vec::<Option<i32>>::deserialize(deserializer)?;
    Ok(values
        .into_iter()
        .map(|value| value.unwrap_or(-1))
        .collect())
}

impl Colour {
    /// What it is.
    pub fn name(&self) -> &str {
        match self {
            Colour::Category { name, .. } | Colour::Number { name, .. } => name,
        }
    }

    /// How many points it has a value for.
    fn len(&self) -> usize {
        match self {
            Colour::Category { value, .. } => value.len(),
            Colour::Number { value, .. } => value.len(),
        }
    }
}
