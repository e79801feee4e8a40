//! How the HTTP API is described: what the descriptions at the handlers are made of, and what becomes
//! of a whole one.
//!
//! Handlers are annotated where they stand, with the types that are really read and written; each module
//! puts its own together, and [`crate::app`] all of them. It knows `problem` only.

mod document;
mod operations;
mod page;
mod problems;
mod vocabulary;

pub use self::{
    document::{Document, LazyDocument},
    operations::{each, finish},
    problems::{add_problems, define_problems, problems},
    vocabulary::{
        Bytes, CONTROLS, answer, any_text, bytes, common_field, cursor, header, link, number,
        parameter, plain_field, schema_of, text,
    },
};

/// Types that stand for the problems with which an operation may answer, among its `responses`: each is
/// made of sets of [`crate::problem::Kind`].
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($set:expr),+;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl ::utoipa::IntoResponses for $name {
            fn responses() -> ::std::collections::BTreeMap<
                String,
                ::utoipa::openapi::RefOr<::utoipa::openapi::Response>,
            > {
                $crate::openapi::problems([$($set),+].into_iter().flatten().copied())
            }
        }
    )*};
}
pub(crate) use refusals;
