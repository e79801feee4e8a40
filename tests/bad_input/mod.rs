//! Bad input of every kind: the right line of the error table, and nothing stored.

mod early;
mod forms;
mod ids;
mod limits;
mod names;
mod requests;
mod truncated;
