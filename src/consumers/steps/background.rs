//! Work that has time: on threads of its own, to which the system gives what others leave.

use std::thread;

use tokio::sync::oneshot;

/// Runs `work` on a thread of this name; none where it panicked, or there is no thread to be had.
pub async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, outcome) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        step_back();
        // Nobody may wait for it any more.
        let _ = done.send(work());
    });
    started.ok()?;
    outcome.await.ok()
}

/// Puts this thread behind all that serve requests: `SCHED_IDLE` (sched(7)), which whatever else wants the
/// core takes it from at once. A thread that is merely nicer keeps it to the end of its slice, some
/// milliseconds that requests would wait.
#[cfg(target_os = "linux")]
fn step_back() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    // That it cannot be had is no harm.
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// The scheduling policy of the thread that asks, proc_pid_stat(5)'s field 41.
    fn policy() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_the_name = stat.rsplit(')').next().unwrap();
        behind_the_name.split_whitespace().nth(38).unwrap().to_owned()
    }

    #[tokio::test]
    async fn it_is_behind_everything_else() {
        const SCHED_OTHER: &str = "0";
        const SCHED_IDLE: &str = "5";
        assert_eq!(run("test", policy).await.unwrap(), SCHED_IDLE);
        assert_eq!(policy(), SCHED_OTHER, "and only that thread is");
    }
}
