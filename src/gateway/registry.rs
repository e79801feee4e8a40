//! The services table: what a name stands for right now. Swapped whole on a reload.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::http::header::HeaderMap;
use arc_swap::ArcSwap;

use super::{
    headers::Framing,
    metrics,
    proxy::Upstream,
    settings::{ScopeSettings, ServiceSettings, ServicesSettings},
};
use crate::{settings::Secret, tenant::Scopes};

/// Whether `name` is one that a service can have: `[a-z0-9][a-z0-9-]{0,62}`.
pub fn is_service_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// A service of the table.
#[derive(Debug)]
pub struct Service {
    /// Its name, as in the path.
    pub name: Arc<str>,
    /// Whether a request to it needs a tenant.
    pub tenant_required: bool,
    /// What a request's credential must allow.
    pub required_scopes: RequiredScopes,
    /// Whether the client's credential travels on, where one is asked for.
    pub forward_credentials: bool,
    /// Sent as `x-api-key`.
    pub upstream_api_key: Option<Secret>,
    /// Where its requests go.
    pub target: Target,
}

/// What a request's credential must allow.
#[derive(Debug, Default)]
pub struct RequiredScopes {
    /// For GET and HEAD.
    pub read: Scopes,
    /// For all other methods.
    pub write: Scopes,
}

impl Service {
    /// The service of these settings, if they have one valid target.
    fn of(name: &str, settings: &ServiceSettings) -> Option<Self> {
        let name = name.into();
        let target = match (&settings.module, settings.upstream()) {
            (Some(module), None) => Target::Module(module.clone()),
            (None, Some(Ok(upstream))) => Target::Remote(upstream.start(&name)),
            _ => return None,
        };
        let (read, write) =
            settings.required_scopes.as_ref().map(ScopeSettings::parse).unwrap_or_default();
        Some(Self {
            name,
            tenant_required: settings.tenant_required,
            required_scopes: RequiredScopes { read, write },
            forward_credentials: settings.forward_credentials,
            upstream_api_key: settings.upstream_api_key.clone(),
            target,
        })
    }

    /// Whether it is the module `name` of this process.
    pub fn is_module(&self, name: &str) -> bool {
        matches!(&self.target, Target::Module(module) if module == name)
    }

    /// Whether a request announces a body that is larger than its remote service takes.
    pub fn is_exceeded_by(&self, headers: &HeaderMap) -> bool {
        match (&self.target, Framing::of(headers)) {
            (Target::Remote(upstream), Ok(Framing::Length(length))) => {
                upstream.max_body_size.is_some_and(|max| length > max)
            }
            _ => false,
        }
    }
}

/// Where a service's requests go.
#[derive(Debug)]
pub enum Target {
    /// A module of this process.
    Module(String),
    /// A remote service.
    Remote(Arc<Upstream>),
}

/// The table, shared by all workers.
#[derive(Debug)]
pub struct Registry(ArcSwap<Table>);

/// Sorted: among a few names that is found faster than by a hash.
type Table = BTreeMap<String, Entry>;

/// A service, and the settings it was made of.
#[derive(Debug)]
struct Entry {
    settings: ServiceSettings,
    service: Arc<Service>,
}

/// What became of the table's names when it was replaced, each list in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services that were not there.
    pub added: Vec<String>,
    /// Services that are not there any more.
    pub removed: Vec<String>,
    /// Services whose settings are others now.
    pub changed: Vec<String>,
}

impl Registry {
    /// A table of checked settings; entries without a valid target are left out.
    pub fn new(settings: &ServicesSettings) -> Self {
        Self(ArcSwap::from_pointee(table(settings, &Table::new())))
    }

    /// The service of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<Arc<Service>> {
        self.0.load().get(name).map(|entry| Arc::clone(&entry.service))
    }

    /// Sets the metrics of the services' instances to how they do now.
    pub fn tell_instances(&self) {
        let table = self.0.load();
        let remotes = table.values().filter_map(|entry| match &entry.service.target {
            Target::Remote(upstream) => Some(&**upstream),
            Target::Module(_) => None,
        });
        metrics::tell_instances(remotes);
    }

    /// Puts the table of these checked settings in the place of the current one, for requests
    /// that come from now on. A service whose settings are the same stays the very same, with its
    /// connections and whatever else is known of it. One caller at a time.
    pub fn replace(&self, settings: &ServicesSettings) -> Changes {
        let old = self.0.load_full();
        let new = table(settings, &old);
        let changes = Changes::between(&old, &new);
        self.0.store(Arc::new(new));
        changes
    }
}

/// The table of these settings, with the services of `old` that are the same.
fn table(settings: &ServicesSettings, old: &Table) -> Table {
    let entries = settings.0.iter().filter_map(|(name, settings)| {
        let service = match old.get(name) {
            Some(entry) if entry.settings == *settings => Arc::clone(&entry.service),
            _ => Arc::new(Service::of(name, settings)?),
        };
        Some((name.clone(), Entry { settings: settings.clone(), service }))
    });
    entries.collect()
}

impl Changes {
    /// Whether the table is as it was.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn between(old: &Table, new: &Table) -> Self {
        let names = |of: &Table, is_one: &dyn Fn(&str, &Entry) -> bool| {
            let chosen = of.iter().filter(|(name, entry)| is_one(name, entry));
            chosen.map(|(name, _)| name.clone()).collect()
        };
        Self {
            added: names(new, &|name, _| !old.contains_key(name)),
            removed: names(old, &|name, _| !new.contains_key(name)),
            changed: names(new, &|name, entry| {
                old.get(name).is_some_and(|old| !Arc::ptr_eq(&old.service, &entry.service))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_follow_the_rule() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "a-b", "orders", longest.as_str()] {
            assert!(is_service_name(good), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "A", "a_b", "a.b", "a/b", too_long.as_str()] {
            assert!(!is_service_name(bad), "{bad}");
        }
    }

    /// A table of remote services, each with its limit in bytes.
    fn services(limits: &[(&str, u64)]) -> ServicesSettings {
        let entries = limits.iter().map(|(name, limit)| {
            let service = ServiceSettings {
                url: Some(format!("http://{name}")),
                max_body_size: Some(bytesize::ByteSize(*limit)),
                ..ServiceSettings::default()
            };
            ((*name).to_owned(), service)
        });
        ServicesSettings(entries.collect())
    }

    #[test]
    fn a_service_whose_settings_are_the_same_stays_the_very_same() {
        let registry = Registry::new(&services(&[("same", 1), ("other", 1), ("gone", 1)]));
        let (same, other) = (registry.find("same").unwrap(), registry.find("other").unwrap());
        let changes = registry.replace(&services(&[("same", 1), ("other", 2), ("new", 1)]));
        assert!(Arc::ptr_eq(&same, &registry.find("same").unwrap()));
        assert!(!Arc::ptr_eq(&other, &registry.find("other").unwrap()));
        assert!(registry.find("gone").is_none() && registry.find("new").is_some());
        let named = |name: &str| vec![name.to_owned()];
        let (added, removed, changed) = (named("new"), named("gone"), named("other"));
        assert_eq!(changes, Changes { added, removed, changed });
    }

    #[test]
    fn a_table_that_is_the_same_has_no_changes() {
        let registry = Registry::new(&services(&[("a", 1), ("b", 2)]));
        assert!(registry.replace(&services(&[("b", 2), ("a", 1)])).is_empty());
    }
}
