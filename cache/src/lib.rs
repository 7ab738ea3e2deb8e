//! A content-addressed store of action results. It knows nothing of workflows: a key goes in, files come out.
//!
//! | module | what it does |
//! |---|---|
//! | `error` | [`Error`]: what can go wrong, as data |
//! | `digest` | [`Digest`] and [`Key`]: blake3 names |
//! | `disk` | folders, times and durability of files |
//! | `envelope` | JSON with its own digest |
//! | `lock` | kernel locks on files, and who holds one: [`Holder`] |
//! | `walk` | what lies below a folder, and what its links mean |
//! | `memo` | digests of input files, remembered by their stat |
//! | `live` | which processes use the store now |
//! | `store` | [`Store`]: where things lie on disk, the format version, atomic writing |
//! | `record` | [`Record`]: what an action made |
//! | `tree` | folders as content |
//! | `inputs` | digests of what lies outside the store; for programs as [`Own`] says |
//! | `note` | what the caller remembers from one process to the next |
//! | `blob` | content, sealed against change, and the one door to it |
//! | `lookup` | [`Lookup`]: whether an action has been done, and all that it made is still there |
//! | `lease` | [`Lease`]: the right to compute one key, held by a kernel lock |
//! | `commit` | [`Draft`] to record: the only way for results into the store |
//! | `fetch` | getting outputs out: materialise, point, export, read |
//! | `lay` | laying outputs out for a stage, and whether it wrote through: [`Lay`], [`Shared`] |
//! | `removal` | removing what others may be using |
//! | `pin` | what stays |
//! | `scan` | all records, all blobs, [`Stats`] |
//! | `snapshot` | taking the user's files in, and what a run keeps of them: [`Bound`] |
//! | `runs` | that what a run left stays as it was |
//! | `verify` | reading everything again: [`Verification`] |
//! | `gc` | making room: [`Budget`] to [`Plan`] |
//!
//! From the bottom up: a module imports those above it in this table, and no other.
//!
//! The format and its guarantees are in `docs/cache.md`.

mod blob;
mod commit;
mod digest;
mod disk;
mod envelope;
mod error;
mod fetch;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod gc;
mod inputs;
mod lay;
mod lease;
mod live;
mod lock;
mod lookup;
mod memo;
mod note;
mod pin;
mod record;
mod removal;
mod runs;
mod scan;
mod snapshot;
mod store;
mod tree;
mod verify;
mod walk;

pub use commit::{Draft, DraftOutput};
pub use digest::{Digest, Key};
pub use disk::remove_folder;
pub use error::{Error, Problem};
pub use gc::{Budget, Evicted, Plan};
pub use inputs::{Own, OwnFiles};
pub use lay::{Lay, Shared};
pub use lease::{Acquired, Claim, Lease};
pub use lock::Holder;
pub use lookup::Lookup;
pub use record::{Output, Record};
pub use scan::Stats;
pub use snapshot::{Bound, Snapshot};
pub use store::{Hear, Store};
pub use verify::Verification;
