//! `gatehouse jobs`: what is done after uploads, looked at and changed beside running servers.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failed, failed, tenants::tenant};
use crate::{
    database::Database,
    jobs::{Filter, Jobs, Listed, Position, Which},
    tenant::TenantId,
};

/// Jobs that are looked up at once.
const PAGE: u64 = 500;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// List jobs, the oldest first
    #[command(after_help = LIST)]
    List {
        #[command(flatten)]
        chosen: Chosen,
        /// At most so many
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have jobs tried again now, dead letters too; those that run stay as they are
    #[command(after_help = RETRY)]
    Retry(Named),
    /// Remove jobs; what they were to do is not done
    #[command(after_help = DROP)]
    Drop(Named),
}

const LIST: &str = "\
Examples:
  gatehouse jobs list                               what waits and what runs
  gatehouse jobs list --dead --tenant acme          a tenant's dead letters, and why each failed
  gatehouse jobs list --queue webhooks --limit 1000 --json";

const RETRY: &str = "\
Examples:
  gatehouse jobs retry --all --dead                 all dead letters
  gatehouse jobs retry --all --dead --tenant acme   those of a tenant";

const DROP: &str = "\
Examples:
  gatehouse jobs drop ID
  gatehouse jobs drop --all --dead --queue QUEUE";

/// Jobs by what they are.
#[derive(Args, Clone, Debug)]
pub(super) struct Chosen {
    /// Only those of this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only those of this tenant
    #[arg(long, value_parser = tenant)]
    tenant: Option<TenantId>,
    /// Only dead letters: those that failed for good
    #[arg(long)]
    dead: bool,
}

/// Jobs by their ids, or all that are chosen.
#[derive(Args, Clone, Debug)]
pub(super) struct Named {
    /// The jobs' ids, as `jobs list` shows them
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// All that the options below choose
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    chosen: Chosen,
}

impl Chosen {
    fn filter(self) -> Filter {
        let tenant = self.tenant.map(|tenant| tenant.as_str().to_owned());
        Filter { queue: self.queue, tenant, subject: None, dead: self.dead }
    }
}

impl Named {
    fn which(self) -> Result<Which, Failed> {
        let is_chosen = self.chosen.queue.is_some() || self.chosen.tenant.is_some();
        if !self.all && (is_chosen || self.chosen.dead) {
            let message = "name jobs by their ids, or by --all with --queue, --tenant and --dead";
            return Err((message.to_owned(), 2));
        }
        Ok(if self.all { Which::All(self.chosen.filter()) } else { Which::Ids(self.ids) })
    }
}

/// Runs the command; what it prints.
///
/// # Errors
/// When the database fails, or a job that is named cannot be found or changed.
pub(super) async fn run(command: Command, database: Database) -> Result<String, Failed> {
    let jobs = Jobs::new(database);
    match command {
        Command::List { chosen, limit, json } => {
            list(&jobs, &chosen.filter(), limit, json).await.map_err(failed)
        }
        Command::Retry(named) => {
            let which = named.which()?;
            let wanted = number(&which);
            let count = jobs.retry(which).await.map_err(failed)?;
            all_of(wanted, count, "due now", "gone, or running")
        }
        Command::Drop(named) => {
            let which = named.which()?;
            let wanted = number(&which);
            let count = jobs.drop(which).await.map_err(failed)?;
            all_of(wanted, count, "dropped", "gone already")
        }
    }
}

fn number(which: &Which) -> Option<u64> {
    match which {
        Which::Ids(ids) => Some(ids.iter().collect::<std::collections::HashSet<_>>().len() as u64),
        Which::All(_) => None,
    }
}

/// What became of so many jobs; a failure where it did not become of all that were named.
fn all_of(wanted: Option<u64>, count: u64, what: &str, others: &str) -> Result<String, Failed> {
    let shown = |count| if count == 1 { "1 job is".into() } else { format!("{count} jobs are") };
    let told = format!("{} {what}", shown(count));
    match wanted.and_then(|wanted| wanted.checked_sub(count)) {
        None | Some(0) => Ok(told),
        Some(rest) => Err((
            format!(
                "{told}; {} {others}: `gatehouse jobs list` shows those there are",
                shown(rest)
            ),
            1,
        )),
    }
}

async fn list(
    jobs: &Jobs,
    filter: &Filter,
    limit: u64,
    json: bool,
) -> crate::database::Result<String> {
    let mut found: Vec<Listed> = Vec::new();
    let mut after: Option<Position> = None;
    loop {
        // One more than asked for: whether there are more is told.
        let rest = limit.saturating_add(1).saturating_sub(found.len() as u64).min(PAGE);
        let page = jobs.list(filter.clone(), after, rest).await?;
        let is_last = page.is_empty();
        found.extend(page);
        after = found.last().map(Listed::position);
        if is_last || found.len() as u64 > limit {
            break;
        }
    }
    let has_more = found.len() as u64 > limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    if json {
        return Ok(Value::Array(found.iter().map(described).collect()).to_string());
    }
    let mut lines = match found.len() {
        0 => vec!["There are no such jobs.".to_owned()],
        _ => table(&found),
    };
    if has_more {
        lines.push(format!("There are more than these {limit}; --limit shows them."));
    }
    Ok(lines.join("\n"))
}

fn described(job: &Listed) -> Value {
    json!({
        "id": job.id, "queue": job.queue, "tenant": job.tenant, "subject": job.subject,
        "kind": job.kind, "state": job.state.as_str(), "attempts": job.attempts,
        "dueAt": job.due_at.map(shown), "error": job.error, "createdAt": shown(job.created_at),
        "diedAt": job.died_at.map(shown),
    })
}

fn table(jobs: &[Listed]) -> Vec<String> {
    let widest = |of: fn(&Listed) -> &str, least| {
        jobs.iter().map(|job| of(job).chars().count()).max().unwrap_or_default().max(least)
    };
    let (id, queue) = (widest(|job| &job.id, 2), widest(|job| &job.queue, 5));
    let (tenant, kind) = (widest(|job| &job.tenant, 6), widest(|job| &job.kind, 4));
    let mut lines = vec![format!(
        "{:id$}  {:queue$}  {:kind$}  {:tenant$}  {:7}  {:5}  {:24}  ERROR",
        "ID", "QUEUE", "KIND", "TENANT", "STATE", "TRIES", "DUE"
    )];
    for job in jobs {
        let due = job.due_at.map_or_else(|| "never".to_owned(), shown);
        let Listed { attempts, state, .. } = job;
        let line = format!(
            "{:id$}  {:queue$}  {:kind$}  {:tenant$}  {:7}  {attempts:5}  {due:24}  {}",
            job.id,
            job.queue,
            job.kind,
            job.tenant,
            state.as_str(),
            job.error.as_deref().unwrap_or_default(),
        );
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
