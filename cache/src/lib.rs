//! A content-addressed store of action results. It knows nothing of workflows: a key goes in, files come out.
//!
//! | module | what it does |
//! |---|---|
//! | `digest` | [`Digest`] and [`Key`]: blake3 names |
//! | `error` | [`Error`]: what can go wrong, as data |
//! | `store` | [`Store`]: where things lie on disk, and the format version |
//! | `record` | [`Record`] and [`Lookup`]: what an action made, and whether it is still whole |
//! | `lease` | [`Lease`]: the right to compute one key, held by a kernel lock |
//! | `commit` | [`Draft`] to record: the only way to write into the store |
//! | `tree` | folders as blobs |
//! | `fetch` | getting outputs out: materialise, export, read |
//! | `memo` | digests of input files, remembered by their stat |
//!
//! The format and its guarantees are in `docs/cache.md`.

mod blob;
mod commit;
mod digest;
mod error;
mod fetch;
mod lease;
mod live;
mod memo;
mod record;
mod store;
mod tree;

pub use commit::{Draft, DraftOutput};
pub use digest::{Digest, Key};
pub use error::Error;
pub use lease::{Acquired, Holder, Lease};
pub use record::{Lookup, Output, Record};
pub use store::Store;
