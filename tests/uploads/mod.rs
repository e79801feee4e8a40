//! What a good upload is answered, and what then lies in the store.

mod answers;
mod by_curl;
mod concurrent;
mod formats;
mod large;
mod names;
mod transfer;
