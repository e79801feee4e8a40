//! Named points at which a test lets the process die or pause, to see what a crash at exactly
//! that moment leaves. A release build has none of it.
//!
//! `GATEHOUSE_FAULT=NAME:abort` ends the process when it first comes to the point of that name, as
//! `kill -9` would. `GATEHOUSE_FAULT=NAME:hold=FILE` makes that file there, and goes on once somebody
//! has removed it; until then the thread stands still.
//!
//! | point | when it is passed |
//! |---|---|
//! | `upload.opening` | an upload in parts is written down, and not begun at the store |
//! | `upload.created` | the store has begun it, and its id there is not written down |
//! | `upload.opened` | its id there is written down |
//! | `commit.prepared` | all of an upload is written down, and its object is not there |
//! | `commit.stored` | its object is there, and its record is not |
//! | `commit.recorded` | its record is there, and its client was not told |
//! | `session.opened` | an upload in more than one request is written down |
//! | `session.saved` | how far it has come is written down |
//! | `delete.prepared` | a deletion is written down |
//! | `delete.removed` | the object is gone, and its record is not |
//! | `delete.recorded` | the record is gone, and the client was not told |
//! | `steps.read` | an image's steps are about to run |
//! | `steps.stored` | its variants are in the store, and nothing is written down of them |
//! | `adopt.prepared` | the record that an object is to get is written down |

/// A point of this name is passed.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::point(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    };
    use std::{
        env,
        fs::{self, File},
        path::Path,
        process, thread,
        time::Duration,
    };

    /// The point that was asked for, and what is to happen there.
    static FAULT: LazyLock<Option<(String, String)>> = LazyLock::new(|| {
        let fault = env::var("GATEHOUSE_FAULT").ok()?;
        let (name, action) = fault.split_once(':')?;
        Some((name.to_owned(), action.to_owned()))
    });

    static HELD: AtomicBool = AtomicBool::new(false);

    #[allow(clippy::disallowed_methods, reason = "a test asks for a thread that stands still")]
    pub(super) fn point(name: &str) {
        let Some((_, action)) = FAULT.as_ref().filter(|(wanted, _)| wanted == name) else { return };
        match action.strip_prefix("hold=").map(Path::new) {
            // Only the first to come is held.
            Some(file) if !HELD.swap(true, Ordering::Relaxed) => {
                if File::create(file).is_ok() {
                    while fs::exists(file).unwrap_or(false) {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            }
            Some(_) => {}
            None => process::abort(),
        }
    }
}
