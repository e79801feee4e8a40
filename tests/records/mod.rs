//! That every image has a record, and that nothing is ever lost, whatever fails.

mod checker;
mod faults;
mod kills;
mod load;
mod outages;
mod quotas;
mod races;
