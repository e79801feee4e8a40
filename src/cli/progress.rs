//! How far a long command is, on standard error: a line that moves on a terminal, a line now and
//! then elsewhere.

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

/// The pause between two looks of a person.
const ON_TERMINAL: Duration = Duration::from_millis(100);
/// The pause between two lines of a log.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// How far a command is.
pub(super) struct Progress {
    is_terminal: bool,
    told: Option<Instant>,
}

impl Progress {
    pub(super) fn begin() -> Self {
        // The first line of a log comes after a while: most commands have ended by then.
        let is_terminal = stderr().is_terminal();
        Self { is_terminal, told: (!is_terminal).then(Instant::now) }
    }

    /// Tells it, if it is time to.
    pub(super) fn tell(&mut self, how_far: impl Display) {
        let pause = if self.is_terminal { ON_TERMINAL } else { ELSEWHERE };
        if self.told.is_some_and(|told| told.elapsed() < pause) {
            return;
        }
        self.told = Some(Instant::now());
        // When standard error is closed there is nobody to tell.
        let _ = match self.is_terminal {
            true => write!(stderr(), "\r\x1b[K{how_far}\r"),
            false => writeln!(stderr(), "{how_far}"),
        };
    }

    /// Tells a line that stays.
    pub(super) fn note(&mut self, line: impl Display) {
        self.clear();
        let _ = writeln!(stderr(), "{line}");
    }

    fn clear(&mut self) {
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
