//! Tenants and principals: the parsed id, and the extractors by which handlers come to act for
//! somebody.
//!
//! Authority is an argument's type: a handler can only get a [`Tenant`] or a [`Principal`] from the
//! request, where the gateway put them after its checks; storage keys are made from a
//! [`TenantId`] only.

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

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
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

impl PartialSchema for TenantId {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9_-])?$"))
            .description(Some("A tenant's id."))
            .examples(["tenant-abc"]);
        id.into()
    }
}

impl ToSchema for TenantId {}

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

/// Who a request comes from, as its verified credential says. An extractor; cloning it is cheap.
/// In open mode there is none, and handlers that ask for one answer `unauthenticated`.
#[derive(Clone, Debug)]
pub struct Principal(Arc<Authority>);

#[derive(Debug)]
struct Authority {
    id: Arc<str>,
    reach: Reach,
    scopes: Scopes,
}

/// Whom a principal may act for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One tenant.
    One(TenantId),
    /// Any tenant that the request names: a gateway in front, say.
    Any,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(tenant) => fmt::Display::fmt(tenant, f),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Principal {
    /// A principal that the log knows by `id`.
    pub fn new(id: String, reach: Reach, scopes: Scopes) -> Self {
        Self(Arc::new(Authority { id: id.into(), reach, scopes }))
    }

    /// What the log calls it; never a secret.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The same as text that can be kept without a copy.
    pub fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.0.id)
    }

    /// Whom it may act for.
    pub fn reach(&self) -> &Reach {
        &self.0.reach
    }

    /// What it may do.
    pub fn scopes(&self) -> &Scopes {
        &self.0.scopes
    }

    /// The tenant that it acts for in a request that names this one, or none.
    ///
    /// # Errors
    /// [`Kind::Forbidden`] if the request names another's.
    pub fn acting_for(&self, named: Option<TenantId>) -> Result<Option<TenantId>, Kind> {
        match (&self.0.reach, named) {
            (Reach::Any, named) => Ok(named),
            (Reach::One(own), Some(named)) if *own != named => Err(Kind::Forbidden),
            (Reach::One(own), _) => Ok(Some(own.clone())),
        }
    }
}

impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let principal = request.extensions().get::<Principal>().cloned();
        ready(principal.ok_or_else(|| Problem::new(Kind::Unauthenticated)))
    }
}

/// A set of scopes (RFC 6749, section 3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Box<[Box<str>]>);

impl Scopes {
    /// The scopes of a list with blanks between, as `scope` claims and settings have them.
    pub fn parse(list: &str) -> Self {
        Self(list.split_ascii_whitespace().map(Into::into).collect())
    }

    /// Whether a list has only what scopes can be made of.
    pub fn are_valid(list: &str) -> bool {
        list.bytes().all(|b| b == b' ' || (b.is_ascii_graphic() && !b"\"\\".contains(&b)))
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.into_iter().chain(other.0).collect())
    }

    /// Whether all of `needed` are among them.
    pub fn include(&self, needed: &Self) -> bool {
        needed.0.iter().all(|scope| self.0.contains(scope))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
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

    #[test]
    fn a_principal_acts_for_its_own_tenant_only_or_for_whom_it_names() {
        let id = |text: &str| TenantId::parse(text).unwrap();
        let of = |reach| Principal::new("p".to_owned(), reach, Scopes::default());
        let one = of(Reach::One(id("acme")));
        assert_eq!(one.acting_for(None), Ok(Some(id("acme"))));
        assert_eq!(one.acting_for(Some(id("acme"))), Ok(Some(id("acme"))));
        for other in ["other", "Acme", "acme-1"] {
            assert_eq!(one.acting_for(Some(id(other))), Err(Kind::Forbidden), "{other}");
        }
        let any = of(Reach::Any);
        assert_eq!(any.acting_for(None), Ok(None));
        assert_eq!(any.acting_for(Some(id("other"))), Ok(Some(id("other"))));
    }

    #[test]
    fn scopes_are_whole_words() {
        let scopes = Scopes::parse(" images:read  orders:write ");
        for (needed, included) in [
            ("", true),
            ("images:read", true),
            ("orders:write images:read", true),
            ("images", false),
            ("images:write", false),
            ("images:read images:write", false),
            ("IMAGES:READ", false),
        ] {
            assert_eq!(scopes.include(&Scopes::parse(needed)), included, "{needed}");
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
