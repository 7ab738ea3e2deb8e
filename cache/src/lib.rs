//! A content-addressed store of action results. It knows nothing of workflows: a key goes in, files come out.
//!
//! | module | what it does |
//! |---|---|
//! | `digest` | [`Digest`] and [`Key`]: blake3 names |
//! | `error` | [`Error`]: what can go wrong, as data |
//! | `store` | [`Store`]: where things lie on disk, the format version, atomic writing |
//! | `record` | [`Record`] and [`Lookup`]: what an action made, and whether all of it is still there |
//! | `lease` | [`Lease`]: the right to compute one key, held by a kernel lock |
//! | `commit` | [`Draft`] to record: the only way for results into the store |
//! | `blob`, `tree` | files and folders as content, sealed against change |
//! | `fetch` | getting outputs out: materialise, export, read |
//! | `memo` | digests of input files, remembered by their stat |
//! | `note` | what the caller remembers from one process to the next |
//! | `live` | which processes use the store now |
//! | `scan` | all records, all blobs, [`Stats`] |
//! | `verify` | reading everything again: [`Verification`] |
//! | `runs` | that what a run left stays as it was |
//! | `pin`, `gc` | what is to stay, and making room: [`Budget`] to [`Plan`] |
//!
//! The format and its guarantees are in `docs/cache.md`.

mod blob;
mod commit;
mod digest;
mod error;
mod fetch;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod gc;
mod lease;
mod live;
mod memo;
mod note;
mod pin;
mod record;
mod runs;
mod scan;
mod store;
mod tree;
mod verify;

pub use commit::{Draft, DraftOutput};
pub use digest::{Digest, Key};
pub use error::Error;
pub use gc::{Budget, Evicted, Plan};
pub use lease::{Acquired, Holder, Lease};
pub use record::{Lookup, Output, Record};
pub use scan::Stats;
pub use store::{Hear, Store};
pub use verify::{Problem, Verification};
