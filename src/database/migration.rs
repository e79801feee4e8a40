//! Migrations: each module brings those of its tables, in both dialects; they run in the order
//! of their versions, each once.

use std::borrow::Cow;

use sqlx::{
    AnyConnection, AssertSqlSafe, SqlSafeStr,
    migrate::{Migrate, MigrateError, Migration as Step, MigrationType, Migrator},
};

use super::Dialect;

/// One change of the schema. Once released it never changes.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Unique among all modules' migrations; they run in its order.
    pub version: i64,
    /// What it is about.
    pub name: &'static str,
    /// The statements for SQLite.
    pub sqlite: &'static str,
    /// The statements for Postgres.
    pub postgres: &'static str,
}

/// Brings the schema up to date.
///
/// # Errors
/// A sentence for the operator, and whether trying again could help.
pub(super) async fn run(
    connection: &mut AnyConnection,
    dialect: Dialect,
    migrations: &[Migration],
) -> Result<usize, MigrateError> {
    let steps = migrations.iter().map(|migration| {
        let sql = match dialect {
            Dialect::Sqlite => migration.sqlite,
            Dialect::Postgres => migration.postgres,
        };
        let sql = AssertSqlSafe(sql).into_sql_str();
        Step::new(
            migration.version,
            Cow::Borrowed(migration.name),
            MigrationType::Simple,
            sql,
            false,
        )
    });
    let mut steps: Vec<_> = steps.collect();
    steps.sort_unstable_by_key(|step| step.version);
    let migrator = Migrator { migrations: Cow::Owned(steps), ..Migrator::DEFAULT };
    let table = migrator.table_name.clone();
    connection.ensure_migrations_table(&table).await?;
    let before = connection.list_applied_migrations(&table).await?.len();
    migrator.run_direct(None, connection, false).await?;
    Ok(migrations.len().saturating_sub(before))
}
