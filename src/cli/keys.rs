//! `gatehouse keys`: API keys are made, listed and revoked beside a running server.

use std::time::{Duration, SystemTime};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    database::Database,
    gateway::{Act, ApiKey, KeyRecord, KeyStore},
    problem,
    tenant::{Reach, Scopes, TenantId},
};

/// What a key may do unless scopes are named.
const USUAL_SCOPES: &str = "images:read images:write";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key; it is shown this once, on the last line
    #[command(after_help = CREATE)]
    Create {
        /// The tenant it acts for; '*' for any, which requests name by x-tenant-id
        #[arg(long, value_name = "TENANT", value_parser = reach)]
        tenant: Reach,
        /// What it may do; repeat it for more [default: images:read images:write]
        #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
        scopes: Vec<String>,
        /// When it ends by itself, such as 30d
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List all keys, without the keys themselves
    #[command(after_help = LIST)]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key for good; servers refuse it within 5 s
    #[command(after_help = REVOKE)]
    Revoke {
        /// The key's id, as `keys list` shows it
        id: String,
    },
}

const CREATE: &str = "\
Examples:
  gatehouse keys create --tenant acme           a key that may read and write
  gatehouse keys create --tenant acme --scope images:read --expires-in 90d
  gatehouse keys create --tenant '*'            for a gateway in front of this process
  gatehouse keys create --tenant acme --json    for machines";

const LIST: &str = "\
Examples:
  gatehouse keys list
  gatehouse keys list --json";

const REVOKE: &str = "\
Examples:
  gatehouse keys revoke 01a2064a-6d5e-7381-bda1-893f193e44ac";

fn reach(text: &str) -> Result<Reach, String> {
    if text == "*" {
        return Ok(Reach::Any);
    }
    let tenant = TenantId::parse(text);
    tenant.map(Reach::One).map_err(|_| "it is no tenant's id; write one, or '*'".to_owned())
}

fn scope(text: &str) -> Result<String, String> {
    let is_scope = !text.is_empty() && Scopes::are_valid(text);
    is_scope
        .then(|| text.to_owned())
        .ok_or_else(|| "it is no scope; write one such as images:read".to_owned())
}

/// Runs the command; what it prints.
///
/// # Errors
/// A sentence on what failed.
pub(super) async fn run(command: Command, database: Database) -> Result<String, String> {
    let store = KeyStore::new(database);
    match command {
        Command::Create { tenant, scopes, expires_in, json } => {
            let scopes = if scopes.is_empty() { USUAL_SCOPES.to_owned() } else { scopes.join(" ") };
            create(&store, tenant, Scopes::parse(&scopes), expires_in, json).await
        }
        Command::List { json } => {
            let keys = store.list().await.map_err(|error| problem::chain(&error))?;
            Ok(if json {
                Value::Array(keys.iter().map(described).collect()).to_string()
            } else {
                table(&keys)
            })
        }
        Command::Revoke { id } => {
            if !store.revoke(&id).await.map_err(|error| problem::chain(&error))? {
                return Err(format!(
                    "there is no key {id}; `gatehouse keys list` shows those there are"
                ));
            }
            Act::KeyRevoked.tell(&id, "");
            Ok(format!("{id} is revoked; servers refuse it within 5 s"))
        }
    }
}

async fn create(
    store: &KeyStore,
    reach: Reach,
    scopes: Scopes,
    expires_in: Option<Duration>,
    json: bool,
) -> Result<String, String> {
    let expires_at = match expires_in {
        Some(time) => Some(
            SystemTime::now()
                .checked_add(time)
                .ok_or("the key would never expire; leave --expires-in out")?,
        ),
        None => None,
    };
    let key = ApiKey::generate().map_err(|_| "the system has no random bytes")?;
    let record = store.add(&key, reach, scopes, expires_at).await;
    let record = record.map_err(|error| problem::chain(&error))?;
    let KeyRecord { id, reach, scopes, .. } = &record;
    Act::KeyCreated.tell(id, &format!("tenant {reach}, scopes {scopes}"));
    if json {
        let mut told = described(&record);
        told["key"] = key.expose().into();
        return Ok(told.to_string());
    }
    let end = record.expires_at.map_or_else(|| "never".to_owned(), shown);
    Ok(format!(
        "Key {id} for tenant {reach}, scopes {scopes}, expires {end}.\n\
         It is shown only now; keep it as you would a password:\n{}",
        key.expose()
    ))
}

fn described(key: &KeyRecord) -> Value {
    json!({
        "id": key.id, "tenant": key.reach.to_string(), "scopes": key.scopes.to_string(),
        "createdAt": shown(key.created_at), "expiresAt": key.expires_at.map(shown),
        "revokedAt": key.revoked_at.map(shown), "lastUsedAt": key.last_used_at.map(shown),
    })
}

fn table(keys: &[KeyRecord]) -> String {
    let mut lines =
        vec![format!("{:36}  {:20}  {:8}  {:24}  SCOPES", "ID", "TENANT", "STATE", "LAST USED")];
    for key in keys {
        let has_ended = key.expires_at.is_some_and(|end| end <= SystemTime::now());
        let state = match (key.revoked_at, has_ended) {
            (Some(_), _) => "revoked",
            (None, true) => "expired",
            (None, false) => "good",
        };
        let used = key.last_used_at.map_or_else(|| "never".to_owned(), shown);
        let (id, tenant, scopes) = (&key.id, key.reach.to_string(), &key.scopes);
        lines.push(format!("{id:36}  {tenant:20}  {state:8}  {used:24}  {scopes}"));
    }
    lines.join("\n")
}

fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
