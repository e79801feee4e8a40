//! Clearing the store of what earlier processes left in it.

use std::{collections::HashSet, time::Duration};

use crate::{
    consumers::records::{Reconciler, Settling},
    problem,
    storage::SharedStorage,
};

/// How often the store is swept, and how soon again where that failed: twice as late each time.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
const SWEEP_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Clears what processes that are gone left unfinished: at the start, or as soon as the store can
/// be reached, and now and then.
pub(super) async fn sweep(storage: SharedStorage, reconciler: Option<Reconciler>) {
    let [soonest, latest] = SWEEP_AGAIN;
    let mut failing: Option<Duration> = None;
    loop {
        let pause = match swept(&storage, reconciler.as_ref()).await {
            Ok(cleared) => {
                if cleared > 0 {
                    tracing::info!(
                        cleared,
                        "unfinished uploads of an earlier process were removed"
                    );
                }
                failing = None;
                SWEEP_EVERY
            }
            Err(error) => {
                if failing.is_none() {
                    let cause = problem::chain(&error);
                    tracing::warn!(cause, "unfinished uploads may be left; trying again");
                }
                *failing.insert(failing.map_or(soonest, |pause| latest.min(pause * 2)))
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn swept(
    storage: &SharedStorage,
    reconciler: Option<&Reconciler>,
) -> Result<usize, Settling> {
    match reconciler {
        Some(reconciler) => Ok(reconciler.sweep().await? + reconciler.sweep_made().await?),
        None => Ok(storage.sweep(&HashSet::new()).await?),
    }
}
