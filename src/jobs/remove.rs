//! How jobs go that have become needless. What a run that is under way comes to is not written then.

use std::time::Duration;

use super::{Jobs, PAGE, job::millis};
use crate::database::{Batch, Result};

/// Pages that a request has time for.
const PAGES: usize = 40;

/// Adds the removal of the job of this id, whatever its state.
pub fn remove(batch: Batch, id: &str) -> Batch {
    batch.statement("DELETE FROM jobs WHERE id = $1").bind(id.to_owned())
}

/// Adds the removal of all jobs of `queue` that are a tenant's, also of those that run.
pub fn drop_of_tenant(batch: Batch, queue: &str, tenant: &str) -> Batch {
    const SQL: &str = "DELETE FROM jobs WHERE tenant = $1 AND queue = $2";
    batch.statement(SQL).bind(tenant.to_owned()).bind(queue.to_owned())
}

impl Jobs {
    /// Removes jobs of `queue` about this that nobody runs, dead letters too: so many at once that others
    /// need not wait, and no more than a request has time for. What is left must end by itself.
    ///
    /// # Errors
    /// When the database fails; some may be gone then.
    pub async fn drop_about(&self, queue: &'static str, subject: &str) -> Result<()> {
        for kind in ["due_at IS NOT NULL AND owner IS NULL", "due_at IS NULL"] {
            let subject = subject.to_owned();
            let which = format!("queue = $1 AND subject = $2 AND {kind} LIMIT $3");
            self.remove_pages(PAGES, &which, move |batch| {
                batch.bind(queue.to_owned()).bind(subject.clone())
            })
            .await?;
        }
        Ok(())
    }

    /// Removes dead letters of `queue` that are older than this, as [`Jobs::drop_about`] does.
    ///
    /// # Errors
    /// When the database fails; some may be gone then.
    pub async fn forget_dead(&self, queue: &'static str, older_than: Duration) -> Result<()> {
        let now = self.database().dialect().now();
        let which = format!("queue = $1 AND due_at IS NULL AND died_at <= {now} - $2 LIMIT $3");
        self.remove_pages(usize::MAX, &which, move |batch| {
            batch.bind(queue.to_owned()).bind(millis(older_than))
        })
        .await
    }

    /// Removes the jobs of this condition, which ends with the limit that is bound behind what `bind`
    /// binds: up to so many pages, each in a transaction of its own.
    async fn remove_pages(
        &self,
        most: usize,
        which: &str,
        bind: impl Fn(Batch) -> Batch + Clone + Send + 'static,
    ) -> Result<()> {
        let lock = self.database().dialect().skip_locked();
        let sql = format!(
            "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE {which}{lock}) RETURNING id"
        );
        for _ in 0..most {
            let (sql, bind) = (sql.clone(), bind.clone());
            let removed = self.write(move |connection| {
                Box::pin(async move {
                    let batch = bind(Batch::new(connection).statement(&sql)).bind(PAGE);
                    Ok(batch.run(connection).await?.rows.len() as i64)
                })
            });
            if removed.await? < PAGE {
                break;
            }
        }
        Ok(())
    }
}
