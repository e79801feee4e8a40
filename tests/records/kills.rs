//! `kill -9` at random moments under load: after each restart and once things are settled, all
//! that clients were told holds, and nothing is left over.
//!
//! `GATEHOUSE_TEST_SEED` repeats a run's choices (not the machine's timing); `GATEHOUSE_TEST_KILLS` is the
//! number of kills of all tests here together.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::load::Load;
use crate::harness::App;
use crate::harness::builder::Builder;
use crate::harness::invariants::assert_settled;
use crate::harness::journal::Journal;

/// Kills of all tests together, unless the environment says otherwise.
const KILLS: u32 = 420;
/// The most answers that a server gives, and the longest that it then lives, in milliseconds.
const MOST_ANSWERS: u64 = 10;
const LONGEST_REST: u64 = 60;
/// What the contract allows for settling what a killed process left.
const SETTLED: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nothing_is_lost_or_left_by_kills_on_files_and_sqlite() {
    let kills = Kills { share: 210, between_checks: 5, large: 2 << 20 };
    kills.run(App::builder()).await;
}

#[tokio::test]
async fn nothing_is_lost_or_left_by_kills_on_minio_and_sqlite() {
    let kills = Kills { share: 120, between_checks: 20, large: 11 << 20 };
    kills.run(small_parts(App::builder().minio().await)).await;
}

#[tokio::test]
async fn nothing_is_lost_or_left_by_kills_on_minio_and_postgres() {
    let kills = Kills { share: 90, between_checks: 20, large: 11 << 20 };
    kills.run(small_parts(App::builder().minio().await.postgres().await)).await;
}

/// With the smallest parts that S3 knows.
fn small_parts(builder: Builder) -> Builder {
    builder.set("STORAGE__S3__PART_SIZE", "5MiB")
}

/// A run of kills against one kind of store and database.
struct Kills {
    /// How many of [`KILLS`].
    share: u32,
    /// Kills after which everything must be settled.
    between_checks: u32,
    /// The size of the large images: several parts, where the store has parts.
    large: usize,
}

impl Kills {
    async fn run(self, builder: Builder) {
        let from_env = |name| std::env::var(name).ok().map(|text| text.parse().expect(name));
        let seed = from_env("GATEHOUSE_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
        let all = from_env("GATEHOUSE_TEST_KILLS").unwrap_or(u64::from(KILLS));
        let kills = (all * u64::from(self.share)).div_ceil(u64::from(KILLS));
        eprintln!("GATEHOUSE_TEST_SEED={seed}, {kills} kills");

        let mut rng = Rng::with_seed(seed);
        let builder = super::expiring_soon(builder);
        let (journal, mut app) = (Journal::default(), builder.start().await);
        let load = Load::new(&journal, &mut rng, self.large);
        for kill in 1..=kills {
            load.ask(app.addr);
            load.answered(rng.u64(..=MOST_ANSWERS), Duration::from_secs(3)).await;
            sleep(Duration::from_millis(rng.u64(..LONGEST_REST))).await;
            app.kill();
            load.rest();
            app.start().await;
            if kill % u64::from(self.between_checks) == 0 || kill == kills {
                assert_settled(&app, &journal, SETTLED).await;
            }
        }
        load.end().await;
    }
}
