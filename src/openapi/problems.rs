//! Problems in a description: grouped by status, each type with an example that says what it means.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        ContentBuilder, Header, Ref, RefOr, Response, ResponseBuilder, Responses,
        example::ExampleBuilder, schema::Components,
    },
};

use super::vocabulary::plain_field;
use crate::problem::{Body, Kind, MEDIA_TYPE};

/// Adds to a description's components what its problems refer to: their schema, and an example of each.
pub fn define_problems(components: &mut Components) {
    components.schemas.insert(Body::name().into_owned(), Body::schema());
    for kind in Kind::ALL {
        let value = serde_json::to_value(Body::example(*kind)).unwrap_or_default();
        let example = ExampleBuilder::new().summary(kind.title()).description(kind.help());
        let example = example.value(Some(value)).build();
        components.examples.insert(kind.slug().to_owned(), example.into());
    }
}

/// The responses of these types of problem, by status.
pub fn problems(kinds: impl IntoIterator<Item = Kind>) -> BTreeMap<String, RefOr<Response>> {
    let slugs: BTreeSet<_> = kinds.into_iter().map(Kind::slug).collect();
    let mut by_status = BTreeMap::<_, Vec<Kind>>::new();
    // In the order of the table, whatever they were asked for in.
    for kind in Kind::ALL.iter().filter(|kind| slugs.contains(kind.slug())) {
        by_status.entry(kind.status().as_str().to_owned()).or_default().push(*kind);
    }
    by_status.into_iter().map(|(status, kinds)| (status, response(&kinds).into())).collect()
}

/// Adds types of problem to an operation's responses, beside those that it has.
pub fn add_problems(responses: &mut Responses, kinds: impl IntoIterator<Item = Kind>) {
    let all: Vec<_> = kinds_of(responses).into_iter().chain(kinds).collect();
    responses.responses.extend(problems(all));
}

/// The types of problem that an operation's responses have.
fn kinds_of(responses: &Responses) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for response in responses.responses.values() {
        let RefOr::T(response) = response else { continue };
        if let Some(RefOr::T(content)) = response.content.get(MEDIA_TYPE) {
            kinds.extend(content.examples.keys().filter_map(|slug| Kind::of_slug(slug)));
        }
    }
    kinds
}

fn response(kinds: &[Kind]) -> Response {
    let lines = kinds.iter().map(|kind| format!("- `{}`: {}.", kind.slug(), kind.title()));
    let examples = kinds.iter().map(|kind| {
        let example = Ref::new(format!("#/components/examples/{}", kind.slug()));
        (kind.slug(), RefOr::Ref(example))
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Body::name())))
        .examples_from_iter(examples)
        .build();
    let response = ResponseBuilder::new()
        .description(lines.collect::<Vec<_>>().join("\n"))
        .content(MEDIA_TYPE, content);
    let response = match field(kinds) {
        Some((name, field)) => response.header(name, field),
        None => response,
    };
    response.build()
}

/// The field that goes with problems of one status.
fn field(kinds: &[Kind]) -> Option<(&'static str, Header)> {
    Some(match kinds.first()?.status().as_u16() {
        401 => ("WWW-Authenticate", plain_field("What credential is asked for (RFC 6750).")),
        405 => ("Allow", plain_field("The methods that there are.")),
        416 => ("Content-Range", plain_field("`bytes */` and the size of what there is.")),
        423 | 429 | 503 => ("Retry-After", plain_field("Seconds until it is worth another try.")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_of_one_status_are_one_response() {
        let mut responses = Responses::new();
        add_problems(&mut responses, [Kind::TenantMissing, Kind::NotFound]);
        add_problems(&mut responses, [Kind::PathInvalid, Kind::TenantMissing]);
        assert_eq!(responses.responses.keys().collect::<Vec<_>>(), ["400", "404"]);
        let kinds = kinds_of(&responses);
        assert_eq!(kinds, [Kind::PathInvalid, Kind::TenantMissing, Kind::NotFound]);
        let RefOr::T(bad) = &responses.responses["400"] else { panic!("no response") };
        assert!(bad.description.contains("- `path-invalid`: Invalid path."), "{}", bad.description);
    }
}
