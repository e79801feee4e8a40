//! Reads merged settings into their types without the conversions that `config` itself would
//! make (7 to `true`, 2.6 to 3): a value of a file has exactly its type; one of the
//! environment is text, which the type asked for parses. It knows no key.

use std::{collections::BTreeMap, fmt};

use config::{Value, ValueKind};
use serde::de::{
    Deserializer, Error as _, Expected, IntoDeserializer, Unexpected, Visitor,
    value::{MapDeserializer, SeqDeserializer},
};

use super::layers::is_of_variable;

/// What is wrong with a value and what would be right: the rest of a sentence that begins with
/// its key. Text that may be a secret is never in it.
#[derive(Debug)]
pub(super) struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(value) => value.to_string(),
            Unexpected::Unsigned(number) => number.to_string(),
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Float(number) => number.to_string(),
            Unexpected::Str(text) => format!("{text:?}"),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a section".to_owned(),
            other => other.to_string(),
        };
        Self(format!("is {found}; write {expected}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::invalid_value(Unexpected::Str(variant), &one_of(expected).as_str())
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("is not known; there is {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(format!("has no {field}; add it"))
    }
}

/// `"a", "b" or "c"`.
fn one_of(values: &[&str]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// A value to read strictly.
pub(super) struct Strict(pub(super) Value);

impl Strict {
    /// The value's text, if it is of the environment, where everything is text.
    fn variable(&self) -> Option<&str> {
        match &self.0.kind {
            ValueKind::String(text) if is_of_variable(&self.0) => Some(text),
            _ => None,
        }
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, Error> {
        let found = match &self.0.kind {
            ValueKind::Nil => Unexpected::Other("nothing"),
            ValueKind::Boolean(value) => Unexpected::Bool(*value),
            ValueKind::I64(number) => Unexpected::Signed(*number),
            ValueKind::U64(number) => Unexpected::Unsigned(*number),
            ValueKind::I128(_) | ValueKind::U128(_) => Unexpected::Other("a very large number"),
            ValueKind::Float(number) => Unexpected::Float(*number),
            ValueKind::String(text) => Unexpected::Str(text),
            ValueKind::Array(_) => Unexpected::Seq,
            ValueKind::Table(_) => Unexpected::Map,
        };
        Err(Error::invalid_type(found, &expected))
    }
}

impl IntoDeserializer<'_, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Whole numbers, each with what would be right.
macro_rules! integers {
    ($($method:ident $visit:ident $type:ty: $form:literal,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number: Option<$type> = match (self.variable(), &self.0.kind) {
                (Some(text), _) => text.parse().ok(),
                (None, ValueKind::I64(number)) => (*number).try_into().ok(),
                (None, ValueKind::U64(number)) => (*number).try_into().ok(),
                _ => None,
            };
            match number {
                Some(number) => visitor.$visit(number),
                None => self.unexpected($form),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(value) => visitor.visit_bool(value),
            ValueKind::I64(number) => visitor.visit_i64(number),
            ValueKind::I128(number) => visitor.visit_i128(number),
            ValueKind::U64(number) => visitor.visit_u64(number),
            ValueKind::U128(number) => visitor.visit_u128(number),
            ValueKind::Float(number) => visitor.visit_f64(number),
            ValueKind::String(text) => visitor.visit_string(text),
            ValueKind::Array(_) => self.deserialize_seq(visitor),
            ValueKind::Table(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (self.variable(), &self.0.kind) {
            (Some("true"), _) => visitor.visit_bool(true),
            (Some("false"), _) => visitor.visit_bool(false),
            (None, ValueKind::Boolean(value)) => visitor.visit_bool(*value),
            _ => self.unexpected("true or false"),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8: "a whole number from -128 to 127",
        deserialize_i16 visit_i16 i16: "a whole number from -32768 to 32767",
        deserialize_i32 visit_i32 i32: "a whole number from -2147483648 to 2147483647",
        deserialize_i64 visit_i64 i64: "a whole number such as 10",
        deserialize_u8 visit_u8 u8: "a whole number from 0 to 255",
        deserialize_u16 visit_u16 u16: "a whole number from 0 to 65535",
        deserialize_u32 visit_u32 u32: "a whole number from 0 to 4294967295",
        deserialize_u64 visit_u64 u64: "a whole number such as 10, not below 0",
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = match (self.variable(), &self.0.kind) {
            (Some(text), _) => text.parse().ok(),
            (None, ValueKind::Float(number)) => Some(*number),
            (None, ValueKind::I64(number)) => Some(*number as f64),
            _ => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => visitor.visit_f64(number),
            None => self.unexpected("a number such as 0.5"),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.kind {
            ValueKind::String(text) => visitor.visit_string(text),
            // It may be a secret that lacks its quotes: its value is not told.
            _ => Err(Error::custom("is not text; write it in quotes, such as \"text\"")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.kind {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A variable's list is split on commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let origin = self.0.origin().map(str::to_owned);
        let items: Vec<_> = match (self.variable(), &self.0.kind) {
            (Some(text), _) => {
                text.split(',').map(|item| Value::new(origin.as_ref(), item.trim())).collect()
            }
            (None, ValueKind::Array(items)) => items.clone(),
            _ => return self.unexpected("a list such as [\"a\", \"b\"]"),
        };
        visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Strict)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.kind {
            // In the keys' order, so that of several faults the same one is told each time.
            ValueKind::Table(table) => {
                let entries: BTreeMap<_, _> = table.into_iter().collect();
                let entries = entries.into_iter().map(|(key, value)| (key, Strict(value)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
            // Within it there may be a secret: its value is not told.
            _ => Err(Error::custom("is a value, but names a section; set the keys below it")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0.kind {
            ValueKind::String(text) => visitor.visit_enum(text.into_deserializer()),
            _ => self.unexpected(&one_of(variants)),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
