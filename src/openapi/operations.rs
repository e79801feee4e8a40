//! What is done to the operations of a whole description.

use utoipa::openapi::{HttpMethod, OpenApi, PathItem, RefOr, path::Operation, schema::Components};

use super::{
    add_problems,
    vocabulary::{common_field, plain_field},
};
use crate::problem::Kind;

/// What every answer has.
const ID: &str = "x-request-id";

/// Calls `change` with each operation, its path and its method.
pub fn each(api: &mut OpenApi, mut change: impl FnMut(&str, &HttpMethod, &mut Operation)) {
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in of_path(item) {
            change(path, &method, operation);
        }
    }
}

fn of_path(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let all = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
        (HttpMethod::Options, &mut item.options),
        (HttpMethod::Head, &mut item.head),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Trace, &mut item.trace),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds what every operation has in common, and makes each HEAD what it is beside its GET: the same
/// without a body.
pub fn finish(mut api: OpenApi) -> OpenApi {
    let id = plain_field("The request's id: the client's own if it sent a good one.");
    api.components.get_or_insert_with(Components::new).headers.insert(ID.to_owned(), id.into());
    each(&mut api, |_, method, operation| {
        add_problems(&mut operation.responses, [Kind::Internal]);
        for response in operation.responses.responses.values_mut() {
            let RefOr::T(response) = response else { continue };
            response.headers.insert(ID.to_owned(), common_field(ID));
            if *method == HttpMethod::Head {
                response.content.clear();
            }
        }
    });
    for item in api.paths.paths.values_mut() {
        let Some(get) = item.get.as_ref().and_then(|get| get.operation_id.clone()) else {
            continue;
        };
        let Some(head) = &mut item.head else { continue };
        head.operation_id = Some(format!("{get}Head"));
        let summary = head.summary.take().unwrap_or_default();
        head.summary = Some(format!("{summary} (the fields only)"));
    }
    api
}
