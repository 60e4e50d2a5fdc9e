//! Nothing waits for ever for a wake-up, and nothing waits long.

use crate::harness::{Dir, Server, ok};
use std::time::{Duration, Instant};

/// What a busy test machine may take; a lost wake-up takes for ever, or until the next one for another reason.
const PATIENCE: Duration = Duration::from_secs(2);

#[test]
fn servers_that_start_at_the_same_time_all_become_ready() {
    for _ in 0..4 {
        let starts: Vec<_> = (0..6)
            .map(|_| {
                std::thread::spawn(|| {
                    let dir = Dir::new();
                    let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes"]);
                    assert_eq!(server.client().call("set k v"), ok());
                })
            })
            .collect();
        starts.into_iter().for_each(|start| start.join().expect("ready and answering"));
    }
}

/// Each write finds its shard asleep in another way: in the middle of a sync, just after one, or at rest.
#[test]
fn a_single_write_after_any_pause_is_answered_soon() {
    for mode in ["everysec", "always"] {
        let dir = Dir::new();
        let server = Server::start(&dir, &["--shards", "2", "--appendonly", "yes", "--appendfsync", mode]);
        let mut client = server.client();
        let mut longest = Duration::ZERO;
        // A plain linear congruential generator: the pauses are the same in every run.
        let mut random = 1u64;
        for i in 0..300 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_micros((random >> 33) % 15_000));
            let begun = Instant::now();
            assert_eq!(client.call(&format!("set key:{i} value")), ok());
            longest = longest.max(begun.elapsed());
        }
        println!("{mode}: the longest reply took {longest:?}");
        assert!(longest < PATIENCE, "{mode}: a reply took {longest:?}");
    }
}
