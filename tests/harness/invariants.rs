//! What must hold between what clients were told, the database and the store once everything is
//! settled, whatever has failed before: every violation of it is found and named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};

use super::App;
use super::events::Events;
use super::journal::{Content, Journal};
use super::minio::Minio;
use super::text::sha256;

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An acknowledged change is lost, or something stands there that nobody asked for.
    NotAsTold { key: String, found: String, possible: String },
    /// A record has no object.
    NoObject { key: String },
    /// A record says something else than its object: the member, what it says and what is.
    Differs { key: String, member: &'static str, record: String, object: String },
    /// An object has no record.
    NoRecord { key: String },
    /// A multipart upload that nobody works on.
    Multipart { key: String },
    /// A file that is no object.
    Temporary { file: String },
    /// An intent that is not settled.
    Intent { key: String, kind: String },
    /// A lease that nobody gives back.
    Lease { key: String },
    /// A tenant's sums are not those of its records.
    Usage { tenant: String, row: (i64, i64), records: (i64, i64) },
    /// An image's events are not those of what has become of it.
    Events { image: String, told: String, became: String },
    /// A tenant's events are not numbered from 1 to its last one.
    Numbers { tenant: String, numbers: Vec<i64>, last: i64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsTold { key, found, possible } => {
                write!(f, "{key}: there is {found}, and there must be {possible}")
            }
            Self::NoObject { key } => write!(f, "{key}: a record without its object"),
            Self::Differs { key, member, record, object } => {
                write!(f, "{key}: its record's {member} is {record}, the object's {object}")
            }
            Self::NoRecord { key } => write!(f, "{key}: an object without a record"),
            Self::Multipart { key } => write!(f, "{key}: an unfinished multipart upload"),
            Self::Temporary { file } => write!(f, "{file}: a file that is left over"),
            Self::Intent { key, kind } => write!(f, "{key}: an unsettled intent, {kind}"),
            Self::Lease { key } => write!(f, "{key}: a lease that is not given back"),
            Self::Usage { tenant, row, records } => write!(
                f,
                "tenant {tenant}: its (bytes, images) are {row:?}, those of its records {records:?}"
            ),
            Self::Events { image, told, became } => {
                write!(f, "image {image}: its events tell {told}, and it became {became}")
            }
            Self::Numbers { tenant, numbers, last } => {
                write!(f, "tenant {tenant}: its events are {numbers:?}, its last one is {last}")
            }
        }
    }
}

/// Waits until everything is settled, which must be while no client asks for anything. Nothing
/// that was begun before can change anything then, and the journal is told so.
///
/// # Panics
/// With all violations, if there still are any after this time.
pub async fn assert_settled(app: &App, journal: &Journal, within: Duration) {
    let until = Instant::now() + within;
    loop {
        let world = World::read(app, journal).await;
        let violations = world.violations(journal);
        if violations.is_empty() {
            world.settle(journal);
            return;
        }
        if Instant::now() > until {
            let list: Vec<_> = violations.iter().map(|v| format!("\n  {v}")).collect();
            panic!("not settled within {within:?}:{}\n{}", list.concat(), app.log_text());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All violations there are now.
pub async fn violations(app: &App, journal: &Journal) -> Vec<Violation> {
    World::read(app, journal).await.violations(journal)
}

/// All that there is: rows, objects, and what is unfinished.
struct World {
    records: BTreeMap<String, Record>,
    objects: BTreeMap<String, Object>,
    intents: Vec<(String, String)>,
    leases: Vec<String>,
    usage: BTreeMap<String, (i64, i64)>,
    events: Events,
    multiparts: Vec<String>,
    temporary: Vec<String>,
}

pub(super) struct Record {
    pub(super) id: String,
    tenant: String,
    customer: String,
    size: i64,
    sha256: Option<String>,
    etag: String,
    pub(super) upload: String,
    pub(super) version: i64,
}

struct Object {
    sha256: String,
    size: u64,
    /// S3's; that of a file is the server's own business.
    etag: Option<String>,
}

impl World {
    async fn read(app: &App, journal: &Journal) -> Self {
        let (objects, multiparts, temporary) = match app.bucket() {
            Some((bucket, store)) => {
                let mut multiparts = Vec::new();
                for key in journal.keys() {
                    if store.unfinished(bucket, &key).await > 0 {
                        multiparts.push(key);
                    }
                }
                (bucket_objects(store, bucket).await, multiparts, Vec::new())
            }
            None => {
                let (objects, temporary) = files(&app.root());
                (objects, Vec::new(), temporary)
            }
        };
        let mut database = connect(&app.database()).await;
        let world = Self {
            records: records(&mut database).await,
            objects,
            intents: pairs(&mut database, "SELECT stored_name, kind FROM intents").await,
            leases: pairs(&mut database, "SELECT stored_name, intent FROM leases")
                .await
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            usage: usage(&mut database).await,
            events: Events::read(&mut database).await,
            multiparts,
            temporary,
        };
        database.close().await.expect("close a connection");
        world
    }

    fn violations(&self, journal: &Journal) -> Vec<Violation> {
        let mut found = self.as_told(journal);
        found.extend(self.records_and_objects());
        found.extend(self.multiparts.iter().map(|key| Violation::Multipart { key: key.clone() }));
        let temporary = self.temporary.iter();
        found.extend(temporary.map(|file| Violation::Temporary { file: file.clone() }));
        let intents = self.intents.iter().cloned();
        found.extend(intents.map(|(key, kind)| Violation::Intent { key, kind }));
        found.extend(self.leases.iter().map(|key| Violation::Lease { key: key.clone() }));
        found.extend(self.sums());
        found.extend(self.events.violations(&self.records));
        found
    }

    /// Every name has what clients were told, or may have.
    fn as_told(&self, journal: &Journal) -> Vec<Violation> {
        let asked: BTreeSet<_> = journal.keys().into_iter().collect();
        let all = asked.into_iter().chain(self.records.keys().cloned()).collect::<BTreeSet<_>>();
        let violation = |key: String| {
            let possible = journal.possible(&key);
            let (content, id) = self.content(&key);
            let same = |(wanted, its): &(Content, Option<String>)| {
                *wanted == content && (its.is_none() || *its == id)
            };
            (!possible.iter().any(same)).then(|| Violation::NotAsTold {
                key,
                found: format!("{content:?} {id:?}"),
                possible: format!("{possible:?}"),
            })
        };
        all.into_iter().filter_map(violation).collect()
    }

    /// What stands under a name by its record, and the record's id.
    fn content(&self, key: &str) -> (Content, Option<String>) {
        let Some(record) = self.records.get(key) else { return (Content::Absent, None) };
        let size = u64::try_from(record.size).unwrap_or_default();
        let sha256 = record.sha256.clone().unwrap_or_default();
        (Content::Image { sha256, size }, Some(record.id.clone()))
    }

    fn records_and_objects(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for (key, record) in &self.records {
            let Some(object) = self.objects.get(key) else {
                found.push(Violation::NoObject { key: key.clone() });
                continue;
            };
            let mut compare = |member, record: String, object: String| {
                if record != object {
                    found.push(Violation::Differs { key: key.clone(), member, record, object });
                }
            };
            let owners = format!("{}/customer/{}", record.tenant, record.customer);
            compare("owner", owners, key.rsplit_once('/').expect("a key").0.to_owned());
            compare("sha256", record.sha256.clone().unwrap_or_default(), object.sha256.clone());
            compare("size", record.size.to_string(), object.size.to_string());
            if let Some(etag) = &object.etag {
                compare("etag", record.etag.clone(), etag.clone());
            }
        }
        let strays = self.objects.keys().filter(|key| !self.records.contains_key(*key));
        found.extend(strays.map(|key| Violation::NoRecord { key: key.clone() }));
        found
    }

    fn sums(&self) -> Vec<Violation> {
        let mut sums = BTreeMap::<_, (i64, i64)>::new();
        for record in self.records.values() {
            let sum = sums.entry(record.tenant.clone()).or_default();
            *sum = (sum.0 + record.size, sum.1 + 1);
        }
        let tenants: BTreeSet<_> = sums.keys().chain(self.usage.keys()).cloned().collect();
        let violation = |tenant: String| {
            let of = |map: &BTreeMap<_, _>| map.get(&tenant).copied().unwrap_or_default();
            let (row, records) = (of(&self.usage), of(&sums));
            (row != records).then_some(Violation::Usage { tenant, row, records })
        };
        tenants.into_iter().filter_map(violation).collect()
    }

    fn settle(&self, journal: &Journal) {
        for key in journal.keys() {
            let (content, id) = self.content(&key);
            journal.settle(&key, content, id);
        }
    }
}

/// A connection of the test's own to a server's database.
pub async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.unwrap_or_else(|e| panic!("{url}: {e}"))
}

async fn records(database: &mut AnyConnection) -> BTreeMap<String, Record> {
    const SQL: &str = "SELECT stored_name, id, tenant, customer, size, sha256, object_etag, upload, version \
         FROM images";
    let record = |row: &AnyRow| Record {
        id: row.get("id"),
        tenant: row.get("tenant"),
        customer: row.get("customer"),
        size: row.get("size"),
        sha256: row.get("sha256"),
        etag: row.get("object_etag"),
        upload: row.get("upload"),
        version: row.get("version"),
    };
    let rows = sqlx::query(SQL).fetch_all(database).await.expect("the records");
    rows.iter().map(|row| (row.get("stored_name"), record(row))).collect()
}

async fn pairs(database: &mut AnyConnection, sql: &'static str) -> Vec<(String, String)> {
    sqlx::query_as(sql).fetch_all(database).await.expect("rows")
}

async fn usage(database: &mut AnyConnection) -> BTreeMap<String, (i64, i64)> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as("SELECT tenant, bytes, images FROM usage")
        .fetch_all(database)
        .await
        .expect("the sums");
    rows.into_iter().map(|(tenant, bytes, images)| (tenant, (bytes, images))).collect()
}

async fn bucket_objects(store: &Minio, bucket: &str) -> BTreeMap<String, Object> {
    let client = store.client();
    let mut objects = BTreeMap::new();
    for key in store.keys(bucket).await {
        // What is removed meanwhile is not there.
        let Ok(object) = client.get_object().bucket(bucket).key(&key).send().await else {
            continue;
        };
        let etag = object.e_tag().unwrap_or_default().trim_matches('"').to_owned();
        let Ok(body) = object.body.collect().await else { continue };
        let bytes = body.into_bytes();
        let (sha256, size) = (sha256(&bytes), bytes.len() as u64);
        objects.insert(key, Object { sha256, size, etag: Some(etag) });
    }
    objects
}

/// The objects below a local store's folder, and what is neither one nor the running server's.
fn files(root: &Path) -> (BTreeMap<String, Object>, Vec<String>) {
    let (mut objects, mut others) = (BTreeMap::new(), Vec::new());
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let name = path.strip_prefix(root).unwrap().to_str().expect("UTF-8").to_owned();
            let is_object = name.split('/').count() == 4 && !name.starts_with('.');
            if path.is_dir() {
                folders.push(path);
            } else if !is_object {
                others.push(name);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let (sha256, size) = (sha256(&bytes), bytes.len() as u64);
                objects.insert(name, Object { sha256, size, etag: None });
            }
        }
    }
    // The last server's lock is not left over: as long as it runs, what is beside it is its own.
    others.sort();
    if let Some(lock) = others.iter().rposition(|name| is_lock(name)) {
        others.remove(lock);
    }
    (objects, others)
}

/// Whether this file is a server's lock; their names are in the order of the starts.
fn is_lock(name: &str) -> bool {
    name.starts_with(".gatehouse/") && name.ends_with(".lock")
}
