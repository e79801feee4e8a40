//! The services table: what a name stands for right now. Swapped whole on a reload.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use super::{proxy::Upstream, settings::ServicesSettings};

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
    /// Where its requests go.
    pub target: Target,
}

impl Service {
    /// Whether it is the module `name` of this process.
    pub fn is_module(&self, name: &str) -> bool {
        matches!(&self.target, Target::Module(module) if module == name)
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
pub struct Registry(ArcSwap<HashMap<String, Arc<Service>>>);

impl Registry {
    /// A table of checked settings; entries without a valid target are left out.
    pub fn new(settings: &ServicesSettings) -> Self {
        let services = settings.0.iter().filter_map(|(name, service)| {
            let target = match (&service.module, service.upstream()) {
                (Some(module), None) => Target::Module(module.clone()),
                (None, Some(Ok(upstream))) => Target::Remote(Arc::new(upstream)),
                _ => return None,
            };
            let tenant_required = service.tenant_required;
            let service = Service { name: name.as_str().into(), tenant_required, target };
            Some((name.clone(), Arc::new(service)))
        });
        Self(ArcSwap::from_pointee(services.collect()))
    }

    /// The service of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<Arc<Service>> {
        self.0.load().get(name).cloned()
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
}
