//! A home for what must be driven by one runtime, whichever worker uses it: a thread with a runtime of its
//! own. A leaf: it knows no module.

use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// A thread with a runtime, which ends when this is dropped.
#[derive(Debug)]
pub struct Home {
    /// The runtime's.
    pub handle: Handle,
    _alive: oneshot::Sender<()>,
}

impl Home {
    /// Starts the thread, of this name.
    ///
    /// # Errors
    /// When the system gives no thread, or not what a runtime needs.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // An error is what it waits for: the sender is gone.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _alive: alive })
    }
}
