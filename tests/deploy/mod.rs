//! What docs/deploy says: three replicas behind nginx lose nothing and fail nobody, and its files
//! are what the programs that read them take.

mod cluster;
mod files;
mod load;
mod passing;
mod replicas;
