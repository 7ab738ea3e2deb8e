//! Whether there was a standard output when flow began. Later nobody can tell: before `main` Rust's runtime opens `/dev/null` in the
//! place of one that is closed.

#![allow(unsafe_code, reason = "a function that runs before `main`")]

use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

// SAFETY: the system calls each function that this section lists, before `main`. This one uses nothing that needs Rust's runtime:
// a system call, and an atomic.
#[used]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_os = "macos"), unsafe(link_section = ".init_array"))]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    let flags = rustix::io::fcntl_getfd(rustix::stdio::stdout());
    WAS_CLOSED.store(flags.is_err(), Ordering::Relaxed);
}

/// Whether flow was started without one (`>&-`).
pub fn was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}
