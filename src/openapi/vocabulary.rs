//! What parameters, fields and schemas are written with, where no type tells them.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Header, HeaderBuilder, KnownFormat, Object, ObjectBuilder, Ref, RefOr, Required,
        ResponseBuilder, Schema, SchemaFormat, Type,
        link::{Link, LinkBuilder},
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

/// Control characters, within the brackets of a regular expression.
pub const CONTROLS: &str = r"\x00-\x1f\x7f-\x9f";

/// The schema of a type.
pub fn schema_of<T: utoipa::PartialSchema>() -> RefOr<Schema> {
    T::schema()
}

/// Any text.
pub fn any_text() -> Object {
    Object::with_type(Type::String)
}

/// Text that matches `pattern`, such as `example`.
pub fn text(pattern: &str, description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
        .examples([example])
}

/// A whole number that is at least `least`.
pub fn number(least: u32, most: Option<u32>, description: &str) -> ObjectBuilder {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .description(Some(description));
    number.maximum(most)
}

/// Bytes that are no text.
pub fn bytes(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
        .description(Some(description))
}

/// A body that is no text.
pub struct Bytes;

impl PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        bytes("The bytes.").into()
    }
}

impl ToSchema for Bytes {}

/// A parameter of the query that may be left out.
pub fn parameter(name: &str, schema: impl Into<RefOr<Schema>>, description: &str) -> Parameter {
    let mut parameter = header(name, false, schema, description);
    parameter.parameter_in = ParameterIn::Query;
    parameter
}

/// The parameter that goes on with a list, whose cursors have so many characters.
pub fn cursor(length: usize) -> Parameter {
    let cursor = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^[A-Za-z0-9_-]{{{length}}}$")));
    parameter("cursor", cursor, "The `nextCursor` of the page before: nothing else is one.")
}

/// A header field of a request.
pub fn header(
    name: &str,
    required: bool,
    schema: impl Into<RefOr<Schema>>,
    description: &str,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(if required { Required::True } else { Required::False })
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// An answer with these fields, by name and meaning.
pub fn answer(description: &str, fields: &[(&str, &str)]) -> ResponseBuilder {
    let answer = ResponseBuilder::new().description(description);
    fields.iter().fold(answer, |answer, (name, what)| answer.header(*name, plain_field(what)))
}

/// A link to an operation that takes what `from` tells of an answer as this parameter.
pub fn link(operation: &str, parameter: &str, from: &str) -> Link {
    LinkBuilder::new().operation_id(operation).parameter(parameter, from).build()
}

/// A header field of an answer that stands among the description's components.
pub fn common_field(name: &str) -> RefOr<Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{name}")))
}

/// A header field of an answer that is some text.
pub fn plain_field(description: &str) -> Header {
    HeaderBuilder::new().schema(Some(any_text())).description(Some(description)).build()
}
