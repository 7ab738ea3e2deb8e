//! The report: one page where people look rather than read, as a file or live while a run goes on.
//!
//! - [`document`]: all that a page shows, as one JSON document.
//! - [`gather`]: the document of a workflow's plan and the store; [`past`]: of an earlier run.
//! - `details`: what is said of one stage.
//! - `layout`: where the boxes and edges of the DAG lie.
//! - `items`: what stages publish in their `view` outputs; `rows` reads the data of charts.
//! - `compare`: charts of several instances laid over each other; [`sweep`]: charts of a sweep's table, `heat` those by two axes.
//! - [`both()`]: the pages of two sides as one.
//! - [`figures`]: what is on it as files for papers.
//! - [`budget`]: what is left out where a page would be too large.
//! - [`page`]: the document, scripts and styles as one HTML file.
//! - [`server`]: the page live, on loopback.
//!
//! The page itself, in `page/`, is plain JavaScript without a framework, a file for each concern; `vendor/` has Vega.

mod both;
pub mod budget;
mod compare;
mod details;
pub mod document;
pub mod figures;
pub mod gather;
mod heat;
mod items;
mod layout;
pub mod page;
pub mod past;
mod rows;
pub mod server;
pub mod sweep;

pub use both::{Side, both};
pub use document::Document;
pub use gather::Subject;

use flow_cache::Store;

/// Adds what stages publish to a document, and leaves out what a page has no room for.
pub fn complete(document: &mut Document, store: &Store) {
    items::fill(document, store);
    compare::add(document);
    let room = budget::PAGE.saturating_sub(page::frame_size(document));
    budget::fit(document, room);
}
