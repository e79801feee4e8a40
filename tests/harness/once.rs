//! What is made once in the cache folder, and is there from then on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::golang;

/// The folder of this name in the cache, or of this path; where it is not, `make` fills it, in one
/// process at a time.
pub fn folder(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = golang::cache().join(name);
    let (beside, last) = (folder.parent().unwrap(), folder.file_name().unwrap());
    fs::create_dir_all(beside).expect("a cache folder");
    let lock = File::create(beside.join(last).with_extension("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    if !folder.exists() {
        // Into a folder of its own, so that half of it is never taken for the whole.
        let fresh = tempfile::tempdir_in(beside).expect("a folder to install into");
        make(fresh.path());
        fs::rename(fresh.keep(), &folder).expect("move it into place");
    }
    folder
}
