//! A description as a page for people: one text that loads nothing and runs nothing.

mod call;
mod markdown;
mod operation;
mod types;

use std::fmt::Write as _;

use utoipa::openapi::{OpenApi, RefOr, path::Operation, security::SecurityScheme, tag::Tag};

use self::markdown::{escape, html};

/// All of the page's style.
pub const STYLE: &str = include_str!("page/style.css");

/// An operation with what it is asked by.
struct Entry<'a> {
    method: &'static str,
    path: &'a str,
    operation: &'a Operation,
    /// Whether HEAD is answered as well, with the same fields.
    with_head: bool,
}

impl Entry<'_> {
    /// What the page calls it in links.
    fn id(&self) -> String {
        escape(self.operation.operation_id.as_deref().unwrap_or_default())
    }

    fn summary(&self) -> String {
        escape(self.operation.summary.as_deref().unwrap_or_default())
    }
}

/// The whole page.
pub fn render(api: &OpenApi) -> String {
    let entries = entries(api);
    let title = format!("{} {}", escape(&api.info.title), escape(&api.info.version));
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}: the HTTP API</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n{}",
        html(api.info.description.as_deref().unwrap_or_default()),
    );
    page.push_str(
        "<p>The same for programs: <a href=\"openapi.json\">openapi.json</a> (OpenAPI 3.1). The \
         examples are for a shell in which <code>server=http://localhost:3000</code>; where credentials are \
         asked for, send <code>-H \"authorization: Bearer …\"</code> in place of \
         <code>x-tenant-id</code>. What is marked with * has to be there, or always is.</p>\n",
    );
    let tags: Vec<_> = api.tags.iter().flatten().map(|tag| (tag, of_tag(&entries, tag))).collect();
    contents(&mut page, &tags);
    page.push_str("</header>\n<main>\n");
    credentials(&mut page, api);
    for (tag, entries) in &tags {
        let description = html(tag.description.as_deref().unwrap_or_default());
        let (anchor, name) = (anchor(&tag.name), escape(&tag.name));
        let _ = write!(page, "<section id=\"{anchor}\">\n<h2>{name}</h2>\n{description}");
        for entry in entries {
            operation::render(&mut page, api, entry);
        }
        page.push_str("</section>\n");
    }
    types::render(&mut page, api);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// All operations in their order; a HEAD that only stands beside its GET is told with that.
fn entries(api: &OpenApi) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    for (path, item) in &api.paths.paths {
        let with_head = item.get.is_some() && item.head.is_some();
        let head = item.head.as_ref().filter(|_| !with_head);
        let methods = [
            ("GET", item.get.as_ref()),
            ("HEAD", head),
            ("POST", item.post.as_ref()),
            ("PUT", item.put.as_ref()),
            ("PATCH", item.patch.as_ref()),
            ("DELETE", item.delete.as_ref()),
            ("OPTIONS", item.options.as_ref()),
        ];
        entries.extend(methods.into_iter().filter_map(|(method, operation)| {
            let with_head = with_head && method == "GET";
            Some(Entry { method, path, operation: operation?, with_head })
        }));
    }
    entries
}

fn of_tag<'a>(entries: &'a [Entry<'a>], tag: &Tag) -> Vec<&'a Entry<'a>> {
    let has = |entry: &&Entry<'_>| entry.operation.tags.iter().flatten().any(|t| *t == tag.name);
    entries.iter().filter(has).collect()
}

fn contents(page: &mut String, tags: &[(&Tag, Vec<&Entry<'_>>)]) {
    page.push_str("<nav>\n");
    for (tag, entries) in tags {
        let (anchor, name) = (anchor(&tag.name), escape(&tag.name));
        let _ = write!(page, "<h2><a href=\"#{anchor}\">{name}</a></h2>\n<ul>\n");
        for entry in entries {
            let (id, summary) = (entry.id(), entry.summary());
            let _ = writeln!(page, "<li><a href=\"#{id}\">{summary}</a></li>");
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<h2><a href=\"#types\">Types</a></h2>\n</nav>\n");
}

fn credentials(page: &mut String, api: &OpenApi) {
    page.push_str("<section id=\"credentials\">\n<h2>Credentials</h2>\n<dl>\n");
    let schemes = api.components.iter().flat_map(|components| &components.security_schemes);
    for (_, scheme) in schemes {
        let (how, description) = match scheme {
            RefOr::T(SecurityScheme::Http(http)) => ("Authorization: Bearer", &http.description),
            RefOr::T(SecurityScheme::ApiKey(utoipa::openapi::security::ApiKey::Header(key))) => {
                (key.name.as_str(), &key.description)
            }
            _ => continue,
        };
        let description = html(description.as_deref().unwrap_or_default());
        let _ = write!(page, "<dt><code>{}</code></dt>\n<dd>{description}</dd>\n", escape(how));
    }
    page.push_str("</dl>\n</section>\n");
}

/// A tag's name as a place on the page.
fn anchor(name: &str) -> String {
    format!("tag-{}", name.to_lowercase().replace(' ', "-"))
}
