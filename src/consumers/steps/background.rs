//! Work that has time: on threads of its own, to which the system gives what others leave.

use std::thread;

use tokio::sync::oneshot;

/// How much the threads stand behind those that serve requests: with it, a thread gets about a tenth of a
/// core that another one wants as well (nice(2)).
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Runs `work` on a thread of this name; none where it panicked, or there is no thread to be had.
pub async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, outcome) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        // Of this thread alone, as Linux has it; that it cannot be had is no harm.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, NICE);
        // Nobody may wait for it any more.
        let _ = done.send(work());
    });
    started.ok()?;
    outcome.await.ok()
}
