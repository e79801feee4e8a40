//! From a token's claims to a principal: whom it is for, and what it may do.

use serde_json::{Map, Value};

use super::super::Refusal;
use crate::tenant::{Principal, Reach, Scopes, TenantId};

/// How long a subject may be that the log is told.
const LONGEST_SUBJECT: usize = 128;

/// Where the tenant stands among the claims.
#[derive(Clone, Debug)]
pub(super) struct ClaimPath(String);

impl ClaimPath {
    /// A claim's name, or names with dots between.
    pub(super) fn parse(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The claim. A name with dots of its own, as namespaced claims have, goes first.
    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        if let Some(claim) = claims.get(&self.0) {
            return Some(claim);
        }
        let mut names = self.0.split('.');
        let first = claims.get(names.next()?)?;
        names.try_fold(first, |claim, name| claim.get(name))
    }

    /// Whom verified claims are for.
    ///
    /// # Errors
    /// [`Refusal::NoTenant`] when they name no tenant that there can be.
    pub(super) fn principal(&self, claims: &Map<String, Value>) -> Result<Principal, Refusal> {
        let tenant = self.find(claims).and_then(Value::as_str);
        let tenant = tenant.and_then(|tenant| TenantId::parse(tenant).ok());
        let tenant = tenant.ok_or(Refusal::NoTenant)?;
        let scopes = scopes(claims.get("scope")).and(scopes(claims.get("scp")));
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let subject: String = subject.chars().take(LONGEST_SUBJECT).collect();
        Ok(Principal::new(format!("jwt:{subject}"), Reach::One(tenant), scopes))
    }
}

/// The scopes of a claim: a list with blanks between (RFC 8693, section 4.2), or as some issuers
/// write it, an array.
fn scopes(claim: Option<&Value>) -> Scopes {
    match claim {
        Some(Value::String(list)) => Scopes::parse(list),
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .fold(Scopes::default(), |scopes, more| scopes.and(Scopes::parse(more))),
        _ => Scopes::default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tenant(path: &str, claims: Value) -> Option<String> {
        let Value::Object(claims) = claims else { panic!("no object") };
        let principal = ClaimPath::parse(path).principal(&claims).ok()?;
        match principal.reach() {
            Reach::One(tenant) => Some(tenant.to_string()),
            Reach::Any => panic!("a token for all"),
        }
    }

    #[test]
    fn the_tenant_stands_where_settings_say() {
        let claims = json!({
            "tenant_id": "acme", "app": { "org": { "id": "deep" }, "list": ["x"] }, "a.b": "dotted",
            "https://app.example/tenant": "space", "a": { "b": "below" },
        });
        for (path, wanted) in [
            ("tenant_id", Some("acme")),
            ("app.org.id", Some("deep")),
            ("a.b", Some("dotted")),
            ("https://app.example/tenant", Some("space")),
            ("app.org", None),
            ("app.list", None),
            ("app.list.0", None),
            ("app.org.id.more", None),
            ("tenant", None),
            ("", None),
        ] {
            assert_eq!(tenant(path, claims.clone()).as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn what_is_no_tenants_id_is_none() {
        for claim in [
            json!("*"),
            json!(""),
            json!("a/b"),
            json!(".."),
            json!(7),
            json!(["acme"]),
            json!(null),
        ] {
            assert_eq!(tenant("t", json!({ "t": claim })), None, "{claim}");
        }
    }

    #[test]
    fn scopes_come_as_a_text_or_a_list() {
        for claims in [
            json!({ "scope": "a b c" }),
            json!({ "scp": "a b c" }),
            json!({ "scp": ["a", "b", "c"] }),
            json!({ "scope": "a", "scp": ["b c", 7] }),
        ] {
            let both = scopes(claims.get("scope")).and(scopes(claims.get("scp")));
            assert_eq!(both, Scopes::parse("a b c"), "{claims}");
        }
    }
}
