//! Texts on the page: those of the description are CommonMark.

use pulldown_cmark::{Options, Parser, html::push_html};

/// A text in which nothing is markup.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A text in CommonMark.
pub fn html(text: &str) -> String {
    let mut page = String::new();
    push_html(&mut page, Parser::new_ext(text, Options::empty()));
    page
}

/// A text in CommonMark that is one paragraph, without the paragraph.
pub fn inline(text: &str) -> String {
    let page = html(text);
    let inside = page.trim().strip_prefix("<p>").and_then(|page| page.strip_suffix("</p>"));
    inside.map_or_else(|| page.clone(), str::to_owned)
}
