//! What the gateway adds to the description of its modules: the credential, the tenant and the limits
//! that it looks at before them, and how remote services are reached.

use utoipa::{
    ToSchema as _,
    openapi::{
        HttpMethod, OpenApi, PathItem, Ref, RefOr, ResponseBuilder, ResponsesBuilder,
        SecurityRequirement,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        path::{PathItemBuilder, PathsBuilder},
        schema::Components,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
        tag::Tag,
    },
};

use super::{Module, ScopeSettings};
use crate::{
    openapi::{self, add_problems, common_field, header, plain_field, text},
    problem::Kind,
    tenant::TenantId,
};

/// What a request may be refused with before a service gets it.
const REFUSED: [Kind; 9] = [
    Kind::PathInvalid,
    Kind::TenantMissing,
    Kind::TenantInvalid,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::ServiceNotFound,
    Kind::RateLimited,
    Kind::StorageUnavailable,
    Kind::UpstreamUnavailable,
];

/// What may keep a request from a remote service, or its answer from the client.
const NOT_RELAYED: [Kind; 7] = [
    Kind::BodyInvalid,
    Kind::TooLarge,
    Kind::RequestTimeout,
    Kind::Overloaded,
    Kind::UpstreamUnreachable,
    Kind::UpstreamInvalid,
    Kind::UpstreamTimeout,
];

/// What answers tell of limits.
const LIMITS: [(&str, &str); 2] = [
    ("RateLimit-Policy", "The limit that the request counted against, if there is one."),
    ("RateLimit", "What is left of it."),
];

const RELAYED: &str = "The request goes to the service of this name as it is: its path behind the name byte \
for byte, its query, fields and body, and the answer comes back in the same way. The rest of the path may have any \
number of segments, and none. What a service is, and whether it needs a tenant or a scope, stands in the settings.";

/// The description of a gateway for the paths below `prefix` that has these modules, each as the service
/// of its name. Where there is no prefix there are no remote services.
pub fn openapi(prefix: &str, modules: &[Module]) -> OpenApi {
    let mut whole = OpenApi::default();
    for module in modules {
        let mut api = (module.openapi)();
        openapi::each(&mut api, |path, method, operation| {
            let scope = scope(module, path, method);
            guard(operation, &[scope.as_str()]);
        });
        whole = whole.nest(format!("{prefix}/{}", module.name), api);
    }
    if !prefix.is_empty() {
        let mut services = Tag::new("Services");
        services.description = Some("Whatever else stands behind the gateway.".to_owned());
        whole.tags.get_or_insert_with(Vec::new).push(services);
        let path = format!("{prefix}/{{service}}/{{rest}}");
        let paths = PathsBuilder::new().path(path, remote());
        whole.paths.merge(paths.build());
    }
    let components = whole.components.get_or_insert_with(Components::new);
    components.schemas.insert(TenantId::name().into_owned(), openapi::schema_of::<TenantId>());
    for (name, what) in LIMITS {
        components.headers.insert(name.to_owned(), plain_field(what).into());
    }
    for (name, scheme) in schemes() {
        components.add_security_scheme(name, scheme);
    }
    whole
}

/// The scope that [`super::checks`] will ask for.
fn scope(module: &Module, path: &str, method: &HttpMethod) -> String {
    let ScopeSettings { read, write } = ScopeSettings::of_modules();
    let of_service =
        if matches!(method, HttpMethod::Get | HttpMethod::Head) { read } else { write };
    let own = (module.scope)(path.trim_start_matches('/'));
    own.map_or(of_service, str::to_owned)
}

/// Adds what the gateway looks at, and what it answers then.
fn guard(operation: &mut Operation, scopes: &[&str]) {
    let credentials =
        ["bearer", "apiKey"].map(|name| SecurityRequirement::new(name, scopes.iter().copied()));
    operation.security = Some(credentials.into());
    operation.parameters.get_or_insert_with(Vec::new).push(tenant().into());
    add_problems(&mut operation.responses, REFUSED);
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        for (name, _) in LIMITS {
            response.headers.insert(name.to_owned(), common_field(name));
        }
    }
}

fn tenant() -> Parameter {
    header(
        "x-tenant-id",
        false,
        Ref::from_schema_name(TenantId::name()),
        "Whom the request acts for. In open mode it must be there; with a credential it may be left out, since \
         the credential tells, and must not differ.",
    )
}

fn schemes() -> [(&'static str, SecurityScheme); 2] {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("A token of the issuer that the settings name, or an API key."))
        .build();
    let mut key = ApiKeyValue::new("x-api-key");
    key.description = Some("An API key (`gatehouse keys create`).".to_owned());
    [
        ("bearer", SecurityScheme::Http(bearer)),
        ("apiKey", SecurityScheme::ApiKey(ApiKey::Header(key))),
    ]
}

/// All that can be asked of remote services.
fn remote() -> PathItem {
    let methods = [
        (HttpMethod::Get, "relay"),
        (HttpMethod::Head, "relayHead"),
        (HttpMethod::Post, "relayPost"),
        (HttpMethod::Put, "relayPut"),
        (HttpMethod::Patch, "relayPatch"),
        (HttpMethod::Delete, "relayDelete"),
        (HttpMethod::Options, "relayOptions"),
    ];
    let item = methods.into_iter().fold(PathItemBuilder::new(), |item, (method, id)| {
        let name =
            text("^[a-z0-9][a-z0-9-]{0,62}$", "The service's name in the settings.", "orders");
        let whatever = ResponseBuilder::new().description("What the service answers.").build();
        let mut operation = OperationBuilder::new()
            .tag("Services")
            .operation_id(Some(id))
            .summary(Some("Ask a remote service"))
            .description(Some(RELAYED))
            .parameter(segment("service", name.build()))
            .parameter(segment("rest", openapi::any_text()))
            .responses(ResponsesBuilder::new().response("default", whatever).build())
            .build();
        guard(&mut operation, &[]);
        add_problems(&mut operation.responses, NOT_RELAYED);
        item.operation(method, operation)
    });
    item.build()
}

fn segment(name: &str, schema: utoipa::openapi::Object) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(utoipa::openapi::Required::True)
        .schema(Some(schema))
        .build()
}
