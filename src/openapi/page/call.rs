//! How an operation is asked by curl.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use utoipa::openapi::{
    OpenApi, RefOr, Required, Schema,
    path::{Parameter, ParameterIn},
};

use super::{
    Entry,
    operation::{all, contents},
    types,
};

/// A command that asks for it, with what is needed and made-up values.
pub fn curl(api: &OpenApi, entry: &Entry<'_>) -> String {
    let Entry { method, path, operation, .. } = entry;
    let (mut target, mut query, mut fields) = ((*path).to_owned(), String::new(), String::new());
    for parameter in all(operation) {
        let value = value(api, parameter);
        let needed = matches!(parameter.required, Required::True);
        match parameter.parameter_in {
            ParameterIn::Path => {
                target = target.replace(&format!("{{{}}}", parameter.name), &value)
            }
            ParameterIn::Query if needed => {
                let separator = if query.is_empty() { '?' } else { '&' };
                let _ = write!(query, "{separator}{}={value}", parameter.name);
            }
            ParameterIn::Header if needed || parameter.name == "x-tenant-id" => {
                let _ = write!(fields, " \\\n  -H \"{}: {value}\"", parameter.name);
            }
            _ => {}
        }
    }
    let method = match *method {
        "GET" => String::new(),
        "HEAD" => " -I".to_owned(),
        method => format!(" -X {method}"),
    };
    let body = body(api, entry);
    format!("curl{method} \"$server{target}{query}\"{fields}{body}")
}

fn body(api: &OpenApi, entry: &Entry<'_>) -> String {
    let Some((media_type, content)) = contents(entry.operation).next() else {
        return String::new();
    };
    if media_type == "multipart/form-data" {
        return " \\\n  -F \"file=@./image.jpg\"".to_owned();
    }
    let media_type = media_type.replace('*', "jpeg");
    let data = match (media_type.as_str(), &content.schema) {
        ("application/json", Some(schema)) => format!("-d '{}'", example(api, schema)),
        _ => "--data-binary @image.jpg".to_owned(),
    };
    format!(" \\\n  -H \"content-type: {media_type}\" \\\n  {data}")
}

fn value(api: &OpenApi, parameter: &Parameter) -> String {
    let json = serde_json::to_value(parameter).unwrap_or_default();
    let own = Some(&json["example"]).filter(|example| !example.is_null()).cloned();
    let schema = parameter.schema.as_ref().map(|schema| example(api, schema));
    match own.or(schema).unwrap_or_default() {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A value of a schema: its example, or the least that it takes.
fn example(api: &OpenApi, schema: &RefOr<Schema>) -> Value {
    let members = types::members(api, schema);
    if !members.is_empty() {
        let needed = members.into_iter().filter(|member| member.required);
        let object: Map<_, _> =
            needed.map(|member| (member.name.to_owned(), example(api, member.schema))).collect();
        return object.into();
    }
    let schema = match schema {
        RefOr::Ref(reference) => match types::resolve(api, reference) {
            Some(schema) => return example(api, schema),
            None => return Value::Null,
        },
        RefOr::T(schema) => serde_json::to_value(schema).unwrap_or_default(),
    };
    let first = |list: &Value| list.as_array().and_then(|list| list.first()).cloned();
    let told = Some(schema["example"].clone()).filter(|example| !example.is_null());
    if let Some(value) =
        told.or_else(|| first(&schema["examples"])).or_else(|| first(&schema["enum"]))
    {
        return value;
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("uuid")) => "01a2064a-6d5e-7381-bda1-893f193e44ac".into(),
        (Some("string"), _) => "text".into(),
        (Some("integer" | "number"), _) => schema["minimum"].as_i64().unwrap_or(1).into(),
        (Some("boolean"), _) => true.into(),
        _ => Value::Object(Map::new()),
    }
}
