//! Tenants: the parsed id, and the extractor by which handlers come to act for one.
//!
//! Authority is an argument's type: a handler can only get a [`Tenant`] from the request, where
//! the gateway put it after its checks; storage keys are made from a [`TenantId`] only.

use std::{
    fmt,
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{HeaderMap, HeaderName},
};

use crate::problem::{Kind, Problem};

/// The request header that names the tenant.
pub const HEADER: HeaderName = HeaderName::from_static("x-tenant-id");

/// A tenant's id: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, not ending in `.`.
///
/// It is the first segment of every key of the tenant's objects, so it can hold no separator
/// and never be a dot segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Parses an id.
    ///
    /// # Errors
    /// [`Kind::TenantInvalid`] if it breaks the rule above.
    pub fn parse(id: &str) -> Result<Self, Kind> {
        let bytes = id.as_bytes();
        let valid = (1..=63).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes[bytes.len() - 1] != b'.'
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
        if valid { Ok(Self(id.into())) } else { Err(Kind::TenantInvalid) }
    }

    /// Reads the id that the client sent, if any. An empty header counts as none.
    ///
    /// # Errors
    /// [`Kind::TenantInvalid`] if the header is repeated or its value breaks the rule.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Kind> {
        let mut values = headers.get_all(&HEADER);
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Kind::TenantInvalid);
        }
        match first.to_str() {
            Ok("") => Ok(None),
            Ok(id) => Self::parse(id).map(Some),
            Err(_) => Err(Kind::TenantInvalid),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text that can be kept without a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tenant a request acts for, as the gateway settled it. An extractor.
#[derive(Clone, Debug)]
pub struct Tenant(pub TenantId);

impl FromRequest for Tenant {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let tenant = request.extensions().get::<Tenant>().cloned();
        ready(tenant.ok_or_else(|| Problem::new(Kind::TenantMissing)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rule_of_the_contract_holds() {
        let longest = "a".repeat(63);
        for good in ["a", "9", "tenant-abc", "A.b_c-d", longest.as_str()] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in
            ["", ".", "..", "-a", "_a", "a.", "a/b", "a\\b", "a b", "ä", "a\0", too_long.as_str()]
        {
            assert_eq!(TenantId::parse(bad), Err(Kind::TenantInvalid), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_one_plain_path_segment(id in any::<String>()) {
            if let Ok(tenant) = TenantId::parse(&id) {
                prop_assert_eq!(tenant.as_str(), &id);
                prop_assert!(!id.contains(['/', '\\', '\0', '%']) && id != "." && id != "..");
            }
        }
    }
}
