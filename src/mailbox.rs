//! Messages between cores: a bounded ring per pair, and a wake-up only for one that sleeps.
//!
//! ```text
//! shard A ── Sender ─→ ring of batches (bounded) ─→ Receiver ── shard B
//!              └ overflow: batches that found the ring full; they go first the next time
//! ```
//! A full ring never blocks: two shards that fill each other's rings would wait for ever.
//!
//! No wake-up is lost: the sender puts its batch in, *then* looks whether the other sleeps; the receiver says that it sleeps, *then* looks
//! into its rings once more. Both steps are separated by a sequentially consistent fence, so at least one of them sees the other.

use rtrb::{Consumer, Producer, RingBuffer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Batches; a batch is what one pass of a loop has for another shard.
const RING_BATCHES: usize = 256;

/// Whether a shard's loop sleeps, and how to wake it.
pub struct Sleeper {
    asleep: AtomicBool,
    waker: mio::Waker,
}

impl Sleeper {
    pub fn new(waker: mio::Waker) -> Sleeper {
        Sleeper { asleep: AtomicBool::new(false), waker }
    }

    /// From any thread, after something was put where the shard looks before it sleeps.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            // An event descriptor that can't be written is full, that is: rung already.
            _ = self.waker.wake();
        }
    }

    /// The shard itself, before it looks into its rings for the last time.
    pub fn will_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub fn is_awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

pub struct Sender<T> {
    ring: Producer<Vec<T>>,
    overflow: VecDeque<Vec<T>>,
    to: Arc<Sleeper>,
}

pub struct Receiver<T> {
    ring: Consumer<Vec<T>>,
}

pub fn channel<T>(to: Arc<Sleeper>) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = RingBuffer::new(RING_BATCHES);
    (Sender { ring: producer, overflow: VecDeque::new(), to }, Receiver { ring: consumer })
}

impl<T> Sender<T> {
    pub fn send(&mut self, batch: Vec<T>) {
        self.overflow.push_back(batch);
        self.flush();
    }

    /// Moves what found the ring full; true when all of it is in the ring.
    pub fn flush(&mut self) -> bool {
        let mut moved = false;
        while let Some(batch) = self.overflow.pop_front() {
            if let Err(rtrb::PushError::Full(batch)) = self.ring.push(batch) {
                self.overflow.push_front(batch);
                break;
            }
            moved = true;
        }
        if moved {
            self.to.wake();
        }
        self.overflow.is_empty()
    }
}

impl<T> Receiver<T> {
    pub fn receive(&mut self) -> Option<Vec<T>> {
        self.ring.pop().ok()
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::time::Duration;

    fn sleeper() -> (Poll, Arc<Sleeper>) {
        let poll = Poll::new().expect("epoll");
        let waker = mio::Waker::new(poll.registry(), Token(0)).expect("eventfd");
        (poll, Arc::new(Sleeper::new(waker)))
    }

    #[test]
    fn a_full_ring_keeps_the_order_and_blocks_nobody() {
        let (_poll, sleeper) = sleeper();
        let (mut sender, mut receiver) = channel(sleeper);
        (0..3 * RING_BATCHES).for_each(|n| sender.send(vec![n]));
        let mut got = Vec::new();
        while got.len() < 3 * RING_BATCHES {
            while let Some(batch) = receiver.receive() {
                got.extend(batch);
            }
            sender.flush();
        }
        assert!(got.is_sorted());
    }

    #[test]
    fn a_sleeping_receiver_is_woken_for_every_batch() {
        let (mut poll, sleeper) = sleeper();
        let (mut sender, mut receiver) = channel(sleeper.clone());
        let other = std::thread::spawn(move || {
            for n in 0..20_000u64 {
                sender.send(vec![n]);
                if n % 7 == 0 {
                    std::thread::yield_now();
                }
            }
            while !sender.flush() {
                std::thread::yield_now();
            }
        });
        let (mut next, mut events) = (0, Events::with_capacity(4));
        while next < 20_000 {
            sleeper.will_sleep();
            if receiver.is_empty() {
                poll.poll(&mut events, Some(Duration::from_secs(10))).expect("epoll");
                assert!(!receiver.is_empty() || !events.is_empty(), "a wake-up was lost");
            }
            sleeper.is_awake();
            while let Some(batch) = receiver.receive() {
                for n in batch {
                    assert_eq!(n, next);
                    next += 1;
                }
            }
        }
        other.join().expect("no panic");
    }
}
