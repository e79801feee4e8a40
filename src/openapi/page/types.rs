//! Types on the page: where they are named, and what they are made of.

use std::fmt::Write as _;

use serde_json::Value;
use utoipa::openapi::{
    OpenApi, RefOr, Schema,
    schema::{AdditionalProperties, ArrayItems, Object, Ref},
};

use super::markdown::{escape, inline};

/// Adds all types of the description.
pub fn render(page: &mut String, api: &OpenApi) {
    page.push_str("<section id=\"types\">\n<h2>Types</h2>\n");
    for (name, schema) in api.components.iter().flat_map(|components| &components.schemas) {
        let name = escape(name);
        let _ = write!(page, "<article id=\"type-{name}\">\n<h3>{name}</h3>\n");
        if let Some(text) = description(schema) {
            let _ = writeln!(page, "<p>{}</p>", inline(text));
        }
        let members = members(api, schema);
        if members.is_empty() {
            let _ = writeln!(page, "<p>{}</p>", kind(schema));
        } else {
            table(page, &members);
        }
        page.push_str("</article>\n");
    }
    page.push_str("</section>\n");
}

/// A member of an object.
pub struct Member<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it is.
    pub schema: &'a RefOr<Schema>,
    /// Whether it is always there.
    pub required: bool,
}

fn table(page: &mut String, members: &[Member<'_>]) {
    page.push_str("<table>\n<thead><tr><th>Member<th>Type<th>Meaning</thead>\n");
    for Member { name, schema, required } in members {
        let needed = if *required { " *" } else { "" };
        let _ = writeln!(
            page,
            "<tr><td><code>{}</code>{needed}<td>{}<td>{}",
            escape(name),
            kind(schema),
            inline(description(schema).unwrap_or_default()),
        );
    }
    page.push_str("</table>\n");
}

/// The members of an object, those of all that it is made of.
pub fn members<'a>(api: &'a OpenApi, schema: &'a RefOr<Schema>) -> Vec<Member<'a>> {
    match schema {
        RefOr::Ref(reference) => {
            resolve(api, reference).map(|schema| members(api, schema)).unwrap_or_default()
        }
        RefOr::T(Schema::AllOf(all)) => {
            let mut found: Vec<Member<'a>> = Vec::new();
            for member in all.items.iter().flat_map(|schema| members(api, schema)) {
                match found.iter_mut().find(|known| known.name == member.name) {
                    Some(known) => known.required |= member.required,
                    None => found.push(member),
                }
            }
            found
        }
        RefOr::T(Schema::Object(object)) => object
            .properties
            .iter()
            .map(|(name, schema)| Member { name, schema, required: object.required.contains(name) })
            .collect(),
        RefOr::T(_) => Vec::new(),
    }
}

/// The schema that a reference names.
pub fn resolve<'a>(api: &'a OpenApi, reference: &Ref) -> Option<&'a RefOr<Schema>> {
    api.components.as_ref()?.schemas.get(name_of(reference))
}

fn name_of(reference: &Ref) -> &str {
    reference.ref_location.rsplit('/').next().unwrap_or_default()
}

/// What a schema says of itself.
pub fn description(schema: &RefOr<Schema>) -> Option<&str> {
    match schema {
        RefOr::Ref(reference) => Some(reference.description.as_str()).filter(|d| !d.is_empty()),
        RefOr::T(Schema::Object(object)) => object.description.as_deref(),
        RefOr::T(Schema::Array(array)) => array.description.as_deref(),
        RefOr::T(Schema::OneOf(one)) => one.description.as_deref(),
        RefOr::T(Schema::AllOf(all)) => all.description.as_deref(),
        RefOr::T(_) => None,
    }
}

/// What a schema is, in a few words.
pub fn kind(schema: &RefOr<Schema>) -> String {
    let joined = |items: &[RefOr<Schema>], word: &str| {
        let items: Vec<_> = items.iter().map(kind).filter(|item| !item.is_empty()).collect();
        items.join(word)
    };
    match schema {
        RefOr::Ref(reference) => {
            let name = escape(name_of(reference));
            format!("<a href=\"#type-{name}\">{name}</a>")
        }
        RefOr::T(Schema::Object(object)) => kind_of_object(object),
        RefOr::T(Schema::Array(array)) => match &array.items {
            ArrayItems::RefOrSchema(items) => format!("array of {}", kind(items)),
            ArrayItems::False => "array".to_owned(),
        },
        RefOr::T(Schema::OneOf(one)) => joined(&one.items, " or "),
        RefOr::T(Schema::AnyOf(any)) => joined(&any.items, " or "),
        RefOr::T(Schema::AllOf(all)) => joined(&all.items, " and "),
        RefOr::T(_) => String::new(),
    }
}

fn kind_of_object(object: &Object) -> String {
    if let Some(values) = &object.enum_values {
        let values: Vec<_> = values.iter().map(code).collect();
        return values.join(", ");
    }
    if !object.properties.is_empty() {
        let names: Vec<_> = object
            .properties
            .iter()
            .map(|(name, schema)| {
                let needed = if object.required.contains(name) { " *" } else { "" };
                format!("<code>{}</code>{needed}: {}", escape(name), kind(schema))
            })
            .collect();
        return names.join("; ");
    }
    if let Some(AdditionalProperties::RefOr(values)) = object.additional_properties.as_deref() {
        return format!("object of {}", kind(values));
    }
    let json = serde_json::to_value(object).unwrap_or_default();
    let types = match &json["type"] {
        Value::Array(types) => {
            types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        Value::String(one) => one.clone(),
        _ => "anything".to_owned(),
    };
    match json["format"].as_str() {
        Some(format) => format!("{types} ({})", escape(format)),
        None => types,
    }
}

fn code(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("<code>{}</code>", escape(&text))
}
