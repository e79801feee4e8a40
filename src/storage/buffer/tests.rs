//! That buffers hold what was pushed, count what they hold, and give it back.

use futures_util::FutureExt;
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::{super::Budget, *};

const KIB: usize = 1024;

fn fill(filling: &mut Filling, bytes: &[u8]) {
    let mut chunk = Bytes::copy_from_slice(bytes);
    while !chunk.is_empty() {
        filling.push(&mut chunk).now_or_never().expect("no waiting").unwrap();
    }
}

#[test]
fn a_small_object_takes_little() {
    let budget = Budget::new(1024 * KIB);
    let pool: Arc<Pool> = Arc::default();
    for (size, chunk, most) in [
        (1, 1, 4),
        (KIB, KIB, 4),
        (10 * KIB, 1000, 16),
        (100 * KIB, 16 * KIB, 128),
        (100 * KIB, 64 * KIB, 128),
        (100_000, 1460, 192),
    ] {
        let mut filling = Filling::new(&pool, &budget.share("a"), 512 * KIB);
        for piece in vec![7; size].chunks(chunk) {
            fill(&mut filling, piece);
        }
        let used = budget.used();
        assert!(used >= size && used <= most * KIB, "{size} bytes hold {used}");
    }
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_slow_client_holds_what_it_sent() {
    let budget = Budget::new(32 * 1024 * KIB);
    let pool: Arc<Pool> = Arc::default();
    let mut filling = Filling::new(&pool, &budget.share("a"), 8 * 1024 * KIB);
    for sent in 1..2000 {
        fill(&mut filling, &[0; KIB]);
        assert!(budget.used() <= sent * KIB + 2 * BLOCK);
    }
}

#[test]
fn bytes_are_counted_until_the_last_reference_goes() {
    let budget = Budget::new(1024 * KIB);
    let mut filling = Filling::new(&Arc::<Pool>::default(), &budget.share("a"), 512 * KIB);
    fill(&mut filling, &[1; 200_000]);
    let part = filling.seal();
    let held = budget.used();
    let last = part.blocks()[0].clone();
    drop(part);
    assert_eq!(budget.used(), held);
    drop(last);
    assert_eq!(budget.used(), 0);
}

#[test]
fn full_blocks_are_used_again_and_few_are_kept() {
    let budget = Budget::new(1024 * KIB);
    let pool: Arc<Pool> = Arc::default();
    let kept = || pool.0.lock().unwrap().idle.len();
    for _ in 0..3 {
        let [mut one, mut other] =
            ["a", "b"].map(|owner| Filling::new(&pool, &budget.share(owner), 512 * KIB));
        fill(&mut one, &[1; 512 * KIB]);
        assert!(one.is_full());
        assert_eq!(kept(), 0, "all blocks are in use");
        fill(&mut other, &[1; 256 * KIB]);
        drop(one);
        assert_eq!(kept(), 8, "half of the budget is free");
        let small: Vec<_> = (0..8)
            .map(|owner| {
                let mut small = Filling::new(&pool, &budget.share(&owner.to_string()), 512 * KIB);
                fill(&mut small, &[1; 48 * KIB]);
                small
            })
            .collect();
        assert_eq!(kept(), 6, "blocks in use and kept are within the budget");
        drop((other, small));
        assert_eq!(kept(), 2, "an eighth of the budget");
    }
}

proptest! {
    #[test]
    fn a_part_is_what_was_pushed(chunks in proptest::collection::vec(0_usize..100_000, 0..20)) {
        let budget = Budget::new(16 * 1024 * KIB);
        let goal = 300 * KIB;
        let mut filling = Filling::new(&Arc::<Pool>::default(), &budget.share("a"), goal);
        let mut sent = Vec::new();
        for (i, len) in chunks.into_iter().enumerate() {
            let len = len.min(goal - sent.len());
            let chunk: Vec<u8> = (0..len).map(|n| (n * 31 + i) as u8).collect();
            fill(&mut filling, &chunk);
            sent.extend(chunk);
        }
        prop_assert_eq!(filling.len(), sent.len());
        prop_assert_eq!(filling.is_full(), sent.len() == goal);
        let part = filling.seal();
        prop_assert_eq!(part.len(), sent.len());
        for _ in 0..2 {
            let body = part.body();
            prop_assert_eq!(body.size_hint().exact(), Some(sent.len() as u64));
            let collected = body.collect().now_or_never().expect("no waiting");
            prop_assert!(collected.unwrap().to_bytes() == sent);
        }
    }
}
