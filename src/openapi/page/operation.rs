//! One operation on the page.

use std::fmt::Write as _;

use utoipa::openapi::{
    Content, OpenApi, RefOr, Required, Response,
    path::{Operation, Parameter, ParameterIn},
    security::SecurityRequirement,
};

use super::{
    Entry, call,
    markdown::{escape, html, inline},
    types,
};
use crate::problem::{Kind, MEDIA_TYPE};

/// Adds an operation.
pub fn render(page: &mut String, api: &OpenApi, entry: &Entry<'_>) {
    let Entry { method, path, operation, with_head } = entry;
    let head = if *with_head { " <span class=\"method\">HEAD</span>" } else { "" };
    let _ = write!(
        page,
        "<article id=\"{id}\">\n<h3><a href=\"#{id}\">{summary}</a></h3>\n\
         <p class=\"call\"><span class=\"method\">{method}</span>{head} <code>{path}</code></p>\n{description}",
        id = entry.id(),
        summary = entry.summary(),
        path = escape(path).replace('/', "/<wbr>"),
        description = html(operation.description.as_deref().unwrap_or_default()),
    );
    let scopes = scopes(operation);
    if !scopes.is_empty() {
        let _ = writeln!(page, "<p>Scope: <code>{}</code></p>", escape(&scopes.join(" ")));
    }
    parameters(page, operation);
    body(page, operation);
    let example = escape(&call::curl(api, entry));
    let _ = writeln!(page, "<pre><code>{example}</code></pre>");
    responses(page, operation);
    page.push_str("</article>\n");
}

/// The scopes that a credential needs.
fn scopes(operation: &Operation) -> Vec<String> {
    let requirement = operation.security.iter().flatten().next();
    let json = requirement.and_then(|one: &SecurityRequirement| serde_json::to_value(one).ok());
    let scopes = json.as_ref().and_then(|json| json.as_object()?.values().next()?.as_array());
    let scopes = scopes.into_iter().flatten().filter_map(|scope| scope.as_str());
    scopes.map(str::to_owned).collect()
}

/// An operation's parameters.
pub fn all(operation: &Operation) -> impl Iterator<Item = &Parameter> {
    operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    })
}

fn parameters(page: &mut String, operation: &Operation) {
    if all(operation).next().is_none() {
        return;
    }
    page.push_str("<table>\n<thead><tr><th>Parameter<th>In<th>Type<th>Meaning</thead>\n");
    for parameter in all(operation) {
        let place = match parameter.parameter_in {
            ParameterIn::Path => "path",
            ParameterIn::Header => "header",
            _ => "query",
        };
        let needed = if matches!(parameter.required, Required::True) { " *" } else { "" };
        let schema = parameter.schema.as_ref();
        let described = parameter.description.as_deref();
        let meaning = described.or_else(|| schema.and_then(types::description));
        let _ = writeln!(
            page,
            "<tr><td><code>{}</code>{needed}<td>{place}<td>{}<td>{}",
            escape(&parameter.name),
            schema.map(types::kind).unwrap_or_default(),
            inline(meaning.unwrap_or_default()),
        );
    }
    page.push_str("</table>\n");
}

/// The media types and contents of an operation's body.
pub fn contents(operation: &Operation) -> impl Iterator<Item = (&String, &Content)> {
    let body = operation.request_body.iter().filter_map(|body| match body {
        RefOr::T(body) => Some(&body.content),
        RefOr::Ref(_) => None,
    });
    body.flatten().filter_map(|(media_type, content)| match content {
        RefOr::T(content) => Some((media_type, content)),
        RefOr::Ref(_) => None,
    })
}

fn body(page: &mut String, operation: &Operation) {
    for (media_type, content) in contents(operation) {
        let schema = content.schema.as_ref();
        let kind = schema.map(types::kind).unwrap_or_default();
        let _ = writeln!(page, "<p>Body: <code>{}</code>, {kind}</p>", escape(media_type));
    }
}

fn responses(page: &mut String, operation: &Operation) {
    page.push_str("<table>\n<thead><tr><th>Status<th>Answer</thead>\n");
    for (status, response) in &operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let _ = write!(page, "<tr><td><code>{}</code><td>", escape(status));
        match response.content.get(MEDIA_TYPE) {
            Some(RefOr::T(content)) => problems(page, content),
            _ => answer(page, response),
        }
    }
    page.push_str("</table>\n");
}

fn answer(page: &mut String, response: &Response) {
    page.push_str(&inline(&response.description));
    for (media_type, content) in &response.content {
        let RefOr::T(content) = content else { continue };
        let kind = content.schema.as_ref().map(types::kind).unwrap_or_default();
        let _ = write!(page, " <code>{}</code>, {kind}.", escape(media_type));
    }
    let fields: Vec<_> =
        response.headers.keys().map(|name| format!("<code>{}</code>", escape(name))).collect();
    let _ = writeln!(page, " <small>{}</small>", fields.join(", "));
}

/// The types of problem, each with a link to its page.
fn problems(page: &mut String, content: &Content) {
    let kinds = content.examples.keys().filter_map(|slug| Kind::of_slug(slug));
    let links: Vec<_> = kinds
        .map(|kind| {
            let (slug, title) = (kind.slug(), escape(kind.title()));
            format!("<a href=\"problems/{slug}\"><code>{slug}</code></a> {title}")
        })
        .collect();
    let _ = writeln!(page, "{}", links.join("<br>"));
}
