//! The running process: health, ids, problem pages, stopping, slow clients, a store that is
//! down, memory, metrics.

mod answers;
mod budget;
mod connections;
mod full;
mod leaving;
mod metrics;
mod monitoring;
mod overload;
mod slow;
mod stop;
mod store_down;
