//! The reload: on SIGHUP, or when the settings file has changed, all settings are read and checked
//! as at the start, and the services table is replaced. It knows where requests go and what the
//! settings are, nothing of who serves them.
//!
//! Settings that cannot be used change nothing. Of those that can, only the services table takes
//! effect; what else differs is named as waiting for a restart.

use std::{
    collections::BTreeSet,
    fs, io, mem,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    gateway::{Changes, Registry},
    settings::{self, Settings, Sources},
};

/// How often the settings file is looked at. A change takes effect at the second look.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reloads the services table whenever it is asked to.
pub struct Reload {
    sources: Sources,
    hangups: Signal,
    file: WatchedFile,
}

impl Reload {
    /// From now on SIGHUP does not end the process, and no change of the file is missed: so this
    /// comes before anything else of a server's start. It needs a runtime around it.
    ///
    /// # Errors
    /// When the system does not let the signal be handled.
    pub fn new(sources: Sources) -> io::Result<Self> {
        let hangups = signal(SignalKind::hangup())?;
        let file = WatchedFile::new(sources.file_path());
        Ok(Self { sources, hangups, file })
    }

    /// Waits for reasons to reload, and does; it never ends. Signals that come meanwhile, or came
    /// since [`Reload::new`], are one reason together. `running` is what the server started with.
    pub async fn run(mut self, running: Settings, registry: Arc<Registry>) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = self.hangups.recv() => self.reload(&running, &registry),
                _ = looks.tick() => if self.file.has_changed() {
                    self.reload(&running, &registry);
                },
            }
        }
    }

    fn reload(&mut self, running: &Settings, registry: &Registry) {
        // Before it is read for the settings: what changes between the two is seen again.
        self.file.remember();
        match self.load() {
            Ok(settings) if settings.serve_consumers() && !running.serve_consumers() => {
                let reason = "consumers becomes a module of this process, which started without its records; restart it";
                tracing::error!(reason, "reload refused; the services table stays as it was");
            }
            Ok(settings) => {
                tell_changes(&registry.replace(&settings.services));
                tell_waiting(&running.differing_keys(&settings));
            }
            Err(reason) => {
                tracing::error!(reason, "reload refused; the services table stays as it was");
            }
        }
    }

    fn load(&self) -> Result<Settings, String> {
        if self.file.is_pipe() {
            return Err(format!(
                "the settings file {} is a pipe, which can be read only once; name a file, or restart instead",
                self.file.path.display()
            ));
        }
        settings::load(&self.sources).map_err(|error| error.to_string())
    }
}

fn tell_changes(changes: &Changes) {
    let names = |names: &[String]| (!names.is_empty()).then(|| names.join(", "));
    let Changes { added, removed, changed } = changes;
    if changes.is_empty() {
        tracing::info!("settings read again; the services table is the same");
    } else {
        tracing::info!(
            added = names(added),
            removed = names(removed),
            changed = names(changed),
            "services table reloaded"
        );
    }
}

fn tell_waiting(keys: &BTreeSet<String>) {
    if !keys.is_empty() {
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let keys = keys.join(", ");
        tracing::warn!(keys, "these settings have changed and need a restart to take effect");
    }
}

/// The settings file, watched by its content. That tells a file written in place, one renamed
/// over it and a link that was swapped (as Kubernetes does) alike, on network and bind mounts too,
/// where the system's own notices do not come; and reading so small a file costs next to nothing.
struct WatchedFile {
    path: PathBuf,
    /// As it was when the settings were last read.
    loaded: Content,
    /// As it was at the last look.
    last: Content,
}

type Content = Result<Vec<u8>, io::ErrorKind>;

impl WatchedFile {
    fn new(path: &Path) -> Self {
        let content = read(path);
        Self { path: path.to_owned(), loaded: content.clone(), last: content }
    }

    /// Takes another look: whether it is not what was loaded, and has stayed so since the last
    /// look, so that no half of a file is taken for the whole. A file that is gone is on its way
    /// to be replaced: that counts as no change.
    fn has_changed(&mut self) -> bool {
        let before = mem::replace(&mut self.last, read(&self.path));
        self.last == before && self.last != self.loaded && self.last != Err(io::ErrorKind::NotFound)
    }

    /// Takes what is there now for what was loaded.
    fn remember(&mut self) {
        self.loaded = read(&self.path);
    }

    fn is_pipe(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|data| data.file_type().is_fifo())
    }
}

/// The content, if it is a file's: pipes would be drained, and may block.
fn read(path: &Path) -> Content {
    match fs::metadata(path) {
        Ok(data) if !data.is_file() => Err(io::ErrorKind::InvalidInput),
        _ => fs::read(path).map_err(|error| error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watched file with the content `old`.
    fn watched() -> (tempfile::TempDir, PathBuf, WatchedFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        fs::write(&path, "old").unwrap();
        let file = WatchedFile::new(&path);
        (folder, path, file)
    }

    #[test]
    fn a_file_has_changed_once_it_stays_as_it_is() {
        let (_folder, path, mut file) = watched();
        assert!(!file.has_changed());
        for part in ["", "ha", "half"] {
            fs::write(&path, part).unwrap();
            assert!(!file.has_changed(), "{part}");
        }
        assert!(file.has_changed());
        file.remember();
        assert!(!file.has_changed());
        fs::write(&path, "old").unwrap();
        assert!(!file.has_changed());
        assert!(file.has_changed());
    }

    #[test]
    fn a_file_that_is_gone_has_not_changed() {
        let (_folder, path, mut file) = watched();
        fs::remove_file(&path).unwrap();
        assert!(!file.has_changed() && !file.has_changed());
        fs::write(&path, "old").unwrap();
        assert!(!file.has_changed() && !file.has_changed());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(!file.has_changed());
        assert!(file.has_changed());
    }
}
