//! Who gets in, and as whom: a file a threat.

mod api_keys;
mod credentials;
mod expect;
mod jose;
mod jwks;
pub(crate) mod matrix;
mod scopes;
mod separate;
mod suspension;
mod tenants;
mod tokens;

use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::http::{Request, Response};
use crate::harness::issuer::{self, Issuer};
use crate::harness::upstream::Upstream;

/// Everything below this is the remote service `up`.
const UP: &str = "/consumer-api/service/up";

/// A gateway that asks for the tokens of an issuer, in front of the service `up`.
struct Guarded {
    app: App,
    issuer: Issuer,
    upstream: Upstream,
}

impl Guarded {
    async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let (issuer, upstream) = (Issuer::of(&[issuer::rsa_key()]).await, Upstream::ok().await);
        let builder = change(App::builder()).issuer(&issuer).service("up", &upstream.url(""), "");
        Self { app: builder.start().await, issuer, upstream }
    }

    /// The answer to a GET of the service with this token.
    async fn get(&self, token: &str) -> Response {
        get(token).send(self.app.addr).await
    }
}

/// A GET of the service `up` with this token.
fn get(token: &str) -> Request {
    Request::get(&format!("{UP}/x")).bearer(token)
}

/// A good token for a tenant.
fn token(tenant: &str) -> String {
    issuer::rsa_key().token(&issuer::claims(tenant))
}
