//! Which types of events a webhook is told of.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema, Type},
};

use crate::consumers::{error::Error, records::Change};

/// All types, those to come too.
const ALL: &str = "*";

/// Which types of events a webhook is told of, as its column has them: [`ALL`], or each between blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Types(String);

impl Types {
    /// All that there will ever be.
    pub fn all() -> Self {
        Self(ALL.to_owned())
    }

    /// Those of these names.
    ///
    /// # Errors
    /// [`Error::WebhookInvalid`] for none, or for one that there is not.
    pub fn parse(names: &[String]) -> Result<Self, Error> {
        if names == [ALL] {
            return Ok(Self::all());
        }
        let is_known = |name: &String| Change::ALL.iter().any(|known| known.as_str() == name);
        if names.is_empty() || !names.iter().all(is_known) {
            return Err(Error::WebhookInvalid(
                "The events must be a list of types, such as [\"image.created\"], or [\"*\"] for all; docs/events.md has them.",
            ));
        }
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        Ok(Self(format!(" {} ", names.join(" "))))
    }

    /// Those of a column.
    pub(super) fn of_column(column: String) -> Self {
        Self(column)
    }

    /// As the column has them.
    pub(super) fn column(self) -> String {
        self.0
    }

    /// What a column with this type is like, for SQL's LIKE; [`ALL`] is to be looked for beside it.
    pub(super) fn pattern(change: Change) -> String {
        format!("% {} %", change.as_str())
    }

    /// As clients see them.
    pub fn told(&self) -> Vec<&str> {
        self.0.split_ascii_whitespace().collect()
    }
}

/// What [`Types::parse`] takes.
impl PartialSchema for Types {
    fn schema() -> RefOr<Schema> {
        let one_of = |names: Vec<&'static str>| {
            let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
            ArrayBuilder::new().items(name).min_items(Some(1))
        };
        let some = one_of(Change::ALL.iter().map(|change| change.as_str()).collect());
        let types = OneOfBuilder::new().item(some).item(one_of(vec![ALL]).max_items(Some(1)));
        types.description(Some("Types of events, or `*` alone for all, those to come too.")).into()
    }
}

impl ToSchema for Types {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("EventTypes")
    }
}
