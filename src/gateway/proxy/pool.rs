//! A worker's idle connections, by instance.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{call::Call, connection::Connection, instance::Instance};

/// How long an idle connection is kept: less than servers keep theirs (Node.js 5 s, nginx
/// 75 s, Go for ever), so that it is this side that closes.
const MAX_IDLE_TIME: Duration = Duration::from_secs(4);
/// An upstream that closes after every answer, without a word, has closed by then.
const PROBATION: Duration = Duration::from_millis(20);
/// How many idle connections a worker keeps to one instance.
const MAX_IDLE: usize = 256;
/// How often idle ones are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The idle connections of one worker.
#[derive(Default)]
pub(super) struct Pool {
    #[expect(clippy::vec_box, reason = "they come and go with every request, and are large")]
    /// The one used last is at the end, and is used next: the others can grow old.
    idle: RefCell<BTreeMap<u64, Vec<Box<Connection>>>>,
    swept: Cell<bool>,
}

impl Pool {
    /// An idle connection to `instance`. It may have been closed meanwhile: sending tells. For a
    /// request that cannot be sent twice, it is one that the upstream is known to keep open.
    pub(super) fn take(&self, instance: &Instance, repeatable: bool) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&instance.id())?;
        let now = Instant::now();
        let fit = |c: &Connection| repeatable || c.is_reused() || now - c.idle_since > PROBATION;
        while let Some(at) = stack.iter().rposition(|c| fit(c)) {
            if now - stack[at].idle_since >= MAX_IDLE_TIME {
                // All before it are older still.
                stack.drain(..=at);
                return None;
            }
            let mut connection = stack.remove(at);
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    /// Whether there is an idle connection to `instance`.
    pub(super) fn has_idle(&self, instance: &Instance) -> bool {
        self.idle.borrow().get(&instance.id()).is_some_and(|stack| !stack.is_empty())
    }

    fn put(self: &Rc<Self>, instance: &Instance, mut connection: Box<Connection>) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        match idle.get_mut(&instance.id()) {
            Some(stack) if stack.len() < MAX_IDLE => stack.push(connection),
            Some(_) => {}
            None => {
                idle.insert(instance.id(), vec![connection]);
            }
        }
        if !self.swept.replace(true) {
            actix_rt::spawn(sweep(Rc::downgrade(self)));
        }
    }

    /// Closes what is too old or has been closed by the other side. Whether any is left.
    fn close_stale(&self) -> bool {
        let now = Instant::now();
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, stack| {
            stack.retain_mut(|c| now - c.idle_since < MAX_IDLE_TIME && c.is_open());
            !stack.is_empty()
        });
        !idle.is_empty()
    }
}

/// Runs while a worker has idle connections.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.close_stale() {
            pool.swept.set(false);
            return;
        }
    }
}

/// A connection in use, by whom, and where it goes afterwards.
pub(super) struct Lease {
    pub(super) connection: Box<Connection>,
    pub(super) call: Call,
    pool: Rc<Pool>,
}

impl Lease {
    pub(super) fn new(connection: Box<Connection>, call: Call, pool: &Rc<Pool>) -> Self {
        Self { connection, call, pool: Rc::clone(pool) }
    }

    /// To the pool if another request may follow on the connection; else it is closed.
    pub(super) fn give_back(mut self) {
        if self.connection.settle() {
            self.pool.put(self.call.instance(), self.connection);
        }
    }
}
