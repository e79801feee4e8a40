//! The memory that the budget counts: a part as a rope of blocks.
//!
//! Incoming chunks are copied, since a small slice can pin a far larger allocation: only so
//! does resident memory follow what the budget counts. A part is never one contiguous
//! allocation. Full-sized blocks are reused: left to the allocator, 128 MiB of counted blocks
//! took 240 to 280 MiB of memory, against 165 with the pool.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::budget::{Hold, Share, UsedUp};

/// A full block. The first blocks of a part are smaller, so that a small object takes little.
const BLOCK: usize = 64 * 1024;
const SMALLEST: usize = 4 * 1024;

/// Full blocks that were used before: together with those in use never more than the budget.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    idle: Vec<Vec<u8>>,
    /// Bytes of all blocks in use, the small ones included.
    in_use: usize,
}

/// A part that is being filled.
#[derive(Debug)]
pub(super) struct Filling {
    pool: Arc<Pool>,
    hold: Arc<Hold>,
    goal: usize,
    len: usize,
    full: Vec<Bytes>,
    open: Option<Block>,
}

/// A part that grows no more. Cheap to clone, so that it can be sent again.
#[derive(Clone, Debug)]
pub(super) struct Part {
    blocks: Arc<[Bytes]>,
    len: usize,
}

/// Memory that is counted; given back when the last reference to its bytes goes.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
    hold: Arc<Hold>,
}

impl Pool {
    /// A block of `capacity` bytes, of a budget of `total`.
    fn take(&self, capacity: usize, total: usize) -> Vec<u8> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.in_use += capacity;
        let used_before = if capacity == BLOCK { blocks.idle.pop() } else { None };
        blocks.trim(total);
        drop(blocks);
        used_before.unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    /// Takes back a block of a budget of `total`.
    fn put(&self, mut block: Vec<u8>, total: usize) {
        let capacity = block.capacity();
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.in_use = blocks.in_use.saturating_sub(capacity);
        if capacity == BLOCK {
            block.clear();
            blocks.idle.push(block);
        }
        blocks.trim(total);
    }
}

impl Blocks {
    /// Keeps what is free while uploads are many, but only an eighth of all while they are few,
    /// so that a rush does not leave the process large.
    fn trim(&mut self, total: usize) {
        let few = total / 8;
        let spare = if self.in_use < few { few } else { total.saturating_sub(self.in_use) };
        self.idle.truncate(spare / BLOCK);
    }
}

impl Filling {
    /// An empty part of at most `goal` bytes.
    pub(super) fn new(pool: &Arc<Pool>, share: &Share, goal: usize) -> Self {
        Self {
            pool: Arc::clone(pool),
            hold: Arc::new(share.hold(goal)),
            goal,
            len: 0,
            full: Vec::new(),
            open: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.goal
    }

    /// Whether the next byte needs memory that is not held yet.
    pub(super) fn needs_memory(&self) -> bool {
        self.open.as_ref().is_none_or(|b| b.bytes.len() == b.bytes.capacity())
    }

    /// Moves bytes from the front of `chunk` into this part: at least one, at most what the
    /// current block has room for. Waits for memory if a new block is needed.
    pub(super) async fn push(&mut self, chunk: &mut Bytes) -> Result<(), UsedUp> {
        if self.needs_memory() {
            let capacity = self.next_capacity(chunk.len());
            self.hold.grow(capacity).await?;
            self.close_block();
            self.open = Some(Block {
                bytes: self.pool.take(capacity, self.hold.total()),
                pool: Arc::clone(&self.pool),
                hold: Arc::clone(&self.hold),
            });
        }
        let room_in_part = self.goal - self.len;
        if let Some(Block { bytes, .. }) = &mut self.open {
            let n = chunk.len().min(bytes.capacity() - bytes.len()).min(room_in_part);
            bytes.extend_from_slice(&chunk.split_to(n));
            self.len += n;
        }
        Ok(())
    }

    /// What is there so far, while the filling goes on. The open block's bytes are copied: up to
    /// 64 KiB that the budget does not count, for as long as they are sent.
    pub(super) fn so_far(&self) -> Part {
        let open = self.open.iter().map(|block| Bytes::copy_from_slice(&block.bytes));
        Part { blocks: self.full.iter().cloned().chain(open).collect(), len: self.len }
    }

    /// Ends the filling; the bytes are promised back to the budget once they are sent.
    pub(super) fn seal(mut self) -> Part {
        self.close_block();
        self.hold.seal();
        Part { blocks: self.full.into(), len: self.len }
    }

    /// Doubles up to a full block: a small object holds about its size, a large one little
    /// more than its size.
    fn next_capacity(&self, chunk: usize) -> usize {
        let wanted = chunk.max(self.len).clamp(SMALLEST, BLOCK);
        wanted.next_multiple_of(SMALLEST).min(self.goal - self.len)
    }

    fn close_block(&mut self) {
        if let Some(block) = self.open.take() {
            self.full.push(Bytes::from_owner(block));
        }
    }
}

impl Part {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes, in order.
    pub(super) fn blocks(&self) -> &[Bytes] {
        &self.blocks
    }

    /// The part as an HTTP body.
    pub(super) fn body(&self) -> PartBody {
        PartBody { blocks: self.blocks.iter().cloned().collect(), left: self.len as u64 }
    }
}

/// A [`Part`] on its way.
#[derive(Debug)]
pub(super) struct PartBody {
    blocks: VecDeque<Bytes>,
    left: u64,
}

impl Body for PartBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let block = self.blocks.pop_front();
        self.left -= block.as_ref().map_or(0, |b| b.len() as u64);
        Poll::Ready(block.map(|b| Ok(Frame::data(b))))
    }

    fn is_end_stream(&self) -> bool {
        self.blocks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.bytes), self.hold.total());
    }
}

#[cfg(test)]
mod tests;
