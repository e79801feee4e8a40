//! The description of a listener's whole API: each module's, behind what stands in front of it.

use std::sync::LazyLock;

use utoipa::{
    OpenApi as _,
    openapi::{Info, License, Server, schema::Components},
};

use super::MODULES;
use crate::{
    consumers, gateway,
    openapi::{self, Document},
    operations,
};

/// What a reader has to know first.
const INTRODUCTION: &str = include_str!("introduction.md");

/// The gateway's listener: everything there is.
pub(super) static GATEWAY: LazyLock<Document> = LazyLock::new(|| describe(gateway::PREFIX));

/// The listener of `consumers.listen`, without the gateway's path.
pub(super) static CONSUMERS: LazyLock<Document> = LazyLock::new(|| describe(""));

/// The description of the gateway's listener, as `/openapi.json` answers it.
pub fn openapi() -> &'static str {
    GATEWAY.json()
}

fn describe(prefix: &str) -> Document {
    let mut info = Info::new("gatehouse", env!("CARGO_PKG_VERSION"));
    info.description = Some(INTRODUCTION.to_owned());
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    let mut api = gateway::openapi(prefix, MODULES);
    (api.info, api.servers) = (info, Some(vec![Server::new("/")]));
    api.merge(consumers::signed_openapi());
    api.merge(operations::Described::openapi());
    let components = api.components.get_or_insert_with(Components::new);
    openapi::define_problems(components);
    Document::new(&openapi::finish(api))
}
