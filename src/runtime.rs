//! The only file that knows the executor: pinned threads, local tasks, and waiting for an epoll set. Another runtime could
//! replace glommio here and in `disk_uring`.
//!
//! How a shard's loop waits (`Idle`):
//! ```text
//! no disk request under way    epoll_wait, on this thread: nothing else could happen here
//! disk requests under way      park in the executor, which wakes for the epoll set, for a completion, or for the time
//! work left, requests too      one turn of the executor without sleeping: requests go out, completions come in
//! ```
//! glommio 0.9 has no public wait for a foreign descriptor. `TcpStream::from_raw_fd` starts polling its descriptor for reading at once,
//! so a stream made of a copy of the epoll descriptor wakes when the set is ready; the read that follows ends in ENOTSOCK, and the
//! stream has served. It is kept when something else woke the loop first: its poll is still armed.

use glommio::net::TcpStream;
use glommio::timer::Timer;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// When the executor looks for I/O although tasks are ready: never, the loop's own turns are the only points where it does.
///
/// A short time here would stop shards for ever. glommio 0.9 sets this timer, then runs the ready tasks *if the timer has not fired
/// yet*, else it takes the queue for empty and sleeps (`run` and `run_task_queues` in its `executor/mod.rs`). A thread that loses its
/// processor between the two for longer than this time, which a busy machine does, sleeps with ready tasks and maybe without any timer.
const PREEMPT: Duration = Duration::from_hours(24);
/// Besides, the same happens when the executor's event descriptor is written between the two (its helper thread for renames does that).
/// So there is always a timer: two, in case one has just fired and its task is among those that sleep. What is lost is found by the
/// next beat. They beat only while the executor turns, that is while a disk request is under way.
const BEATS: [Duration; 2] = [Duration::from_millis(3), Duration::from_millis(5)];
/// Not over yet when the executor looks at it first, over when it has looked for I/O.
const TURN: Duration = Duration::from_micros(1);
const RING_DEPTH: usize = 128;
/// Registered buffers of each ring: locked memory.
const IO_MEMORY_BYTES: usize = 64 * 1024;

pub struct Thread(ExecutorJoinHandle<()>);

impl Thread {
    pub fn join(self) -> Result<(), String> {
        self.0.join().map_err(|error| error.to_string())
    }
}

/// Runs what `make` makes on a thread of its own, pinned to `cpu`.
pub fn spawn_pinned<F: Future<Output = ()> + 'static>(
    name: &str,
    cpu: usize,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<Thread, String> {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(name)
        .preempt_timer(PREEMPT)
        .ring_depth(RING_DEPTH)
        .io_memory(IO_MEMORY_BYTES);
    let run = move || async move {
        BEATS.into_iter().for_each(|period| spawn_local(beat(period)));
        make().await;
    };
    builder.spawn(run).map(Thread).map_err(|error| format!("starting {name} on CPU {cpu}: {error}"))
}

async fn beat(period: Duration) {
    loop {
        Timer::new(period).await;
    }
}

/// A task on this thread that nobody joins.
pub fn spawn_local(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Lets the loop know that something has happened in a task beside it.
#[derive(Clone, Default)]
pub struct Bell(Rc<BellState>);

#[derive(Default)]
struct BellState {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    pub fn ring(&self) {
        self.0.rung.set(true);
        if let Some(waker) = self.0.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn take(&self) -> bool {
        self.0.rung.replace(false)
    }

    fn listen(&self, cx: &Context<'_>) {
        *self.0.waker.borrow_mut() = Some(cx.waker().clone());
    }
}

/// Waits for an epoll set beside the executor's own events.
pub struct Idle {
    epoll: OwnedFd,
    /// Polling a copy of `epoll`.
    armed: Option<TcpStream>,
    bell: Bell,
}

impl Idle {
    pub fn new(epoll: BorrowedFd<'_>, bell: Bell) -> std::io::Result<Idle> {
        Ok(Idle { epoll: epoll.try_clone_to_owned()?, armed: None, bell })
    }

    /// Returns when the set has something ready, the bell was rung, or the time is over.
    pub async fn wait(&mut self, limit: Duration) {
        if self.bell.take() {
            return;
        }
        if self.armed.is_none() {
            let Ok(copy) = self.epoll.as_fd().try_clone_to_owned() else { return self.turn().await };
            self.armed = Some(stream_of(copy));
        }
        let mut timer = Timer::new(limit);
        poll_fn(|cx| self.poll(cx, &mut timer)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<()> {
        if self.bell.take() {
            return Poll::Ready(());
        }
        self.bell.listen(cx);
        if Pin::new(timer).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let stream = self.armed.as_mut().expect("armed by wait");
        let read = futures_lite::AsyncRead::poll_read(Pin::new(stream), cx, &mut [0]);
        if read.is_ready() {
            // ENOTSOCK: the set is ready, and this stream can't wait again.
            self.armed = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// One turn of the executor: what was submitted goes to the kernel, completions run their tasks. Sleeps for `TURN` at most.
    pub async fn turn(&mut self) {
        self.bell.take();
        // The executor does I/O when no task is ready. A timer that is over when it is first polled would not let it come to that.
        let mut was_pending = false;
        while !was_pending {
            let mut timer = Timer::new(TURN);
            poll_fn(|cx| {
                let turn = Pin::new(&mut timer).poll(cx);
                was_pending |= turn.is_pending();
                turn
            })
            .await;
        }
    }
}

#[allow(unsafe_code)]
fn stream_of(fd: OwnedFd) -> TcpStream {
    // SAFETY: the descriptor is owned and given away here; the stream closes it. Reading it fails, which is expected.
    unsafe { TcpStream::from_raw_fd(fd.into_raw_fd()) }
}

/// The descriptor of mio's set.
#[allow(unsafe_code)]
pub fn epoll_of(poll: &mio::Poll) -> BorrowedFd<'_> {
    use std::os::fd::AsRawFd;
    // SAFETY: the set owns its descriptor and outlives the borrow.
    unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Interest, Poll as Epoll, Token, Waker as Wake};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    fn run(test: impl FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send + 'static) {
        spawn_pinned("test", crate::machine::affinity()[0], test).expect("an executor").join().expect("no panic");
    }

    #[test]
    fn no_wake_up_of_another_thread_is_lost() {
        run(|| {
            Box::pin(async {
                let mut epoll = Epoll::new().expect("epoll");
                let waker = Arc::new(Wake::new(epoll.registry(), Token(0)).expect("eventfd"));
                let mut idle = Idle::new(epoll.as_fd_for_test(), Bell::default()).expect("dup");
                let mut events = Events::with_capacity(4);
                let seen = Arc::new(AtomicU64::new(0));
                let (waker_there, seen_there) = (waker.clone(), seen.clone());
                // Each wake-up waits for the one before to be seen: one that is lost stops everything.
                let other = std::thread::spawn(move || {
                    for round in 0..2000 {
                        while seen_there.load(Ordering::SeqCst) < round {
                            std::thread::yield_now();
                        }
                        waker_there.wake().expect("eventfd");
                    }
                });
                let begun = Instant::now();
                while seen.load(Ordering::SeqCst) < 2000 {
                    idle.wait(Duration::from_secs(5)).await;
                    epoll.poll(&mut events, Some(Duration::ZERO)).expect("epoll");
                    seen.fetch_add(events.iter().count() as u64, Ordering::SeqCst);
                    assert!(begun.elapsed() < Duration::from_secs(60), "a wake-up was lost");
                }
                other.join().expect("no panic");
            })
        });
    }

    /// With a preempt timer of 1 ms and without beats this stops for ever: see `PREEMPT`.
    #[test]
    fn an_executor_that_loses_its_processor_for_a_while_goes_on() {
        let cpu = crate::machine::affinity()[0];
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let spinners: Vec<_> = (0..2)
            .map(|_| {
                let over = over.clone();
                std::thread::spawn(move || {
                    let mut set = rustix::thread::CpuSet::new();
                    set.set(cpu);
                    rustix::thread::sched_setaffinity(None, &set).expect("one of our own processors");
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let (done, wait) = std::sync::mpsc::channel();
        let turns = Arc::new(AtomicU64::new(0));
        let turned = turns.clone();
        let task = move || async move {
            let epoll = Epoll::new().expect("epoll");
            let mut idle = Idle::new(epoll.as_fd_for_test(), Bell::default()).expect("dup");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(3) {
                idle.turn().await;
                turned.fetch_add(1, Ordering::Relaxed);
            }
            done.send(()).expect("the test waits");
        };
        let _thread = spawn_pinned("test", cpu, task).expect("an executor");
        let outcome = wait.recv_timeout(Duration::from_secs(20));
        over.store(true, Ordering::Relaxed);
        spinners.into_iter().for_each(|spinner| spinner.join().expect("no panic"));
        assert!(outcome.is_ok(), "stuck after {} turns", turns.load(Ordering::Relaxed));
    }

    #[test]
    fn waiting_ends_with_the_bell_the_time_or_a_turn() {
        run(|| {
            Box::pin(async {
                let epoll = Epoll::new().expect("epoll");
                let bell = Bell::default();
                let mut idle = Idle::new(epoll.as_fd_for_test(), bell.clone()).expect("dup");
                let begun = Instant::now();
                idle.wait(Duration::from_millis(20)).await;
                assert!(begun.elapsed() >= Duration::from_millis(20));
                let ringer = bell.clone();
                spawn_local(async move { ringer.ring() });
                idle.wait(Duration::from_secs(100)).await;
                bell.ring();
                idle.wait(Duration::from_secs(100)).await;
                idle.turn().await;
                assert!(begun.elapsed() < Duration::from_secs(50));
            })
        });
    }

    #[test]
    fn turns_let_timers_and_requests_of_tasks_complete() {
        run(|| {
            Box::pin(async {
                let epoll = Epoll::new().expect("epoll");
                let mut idle = Idle::new(epoll.as_fd_for_test(), Bell::default()).expect("dup");
                let is_done = Rc::new(Cell::new(false));
                let done = is_done.clone();
                spawn_local(async move {
                    Timer::new(Duration::from_millis(2)).await;
                    let path = std::env::temp_dir().join(format!("shardis-turn-{}", std::process::id()));
                    let file = glommio::io::BufferedFile::create(&path).await.expect("a file");
                    file.write_at(vec![1; 100], 0).await.expect("written");
                    file.close().await.expect("closed");
                    std::fs::remove_file(path).expect("there");
                    done.set(true);
                });
                let begun = Instant::now();
                while !is_done.get() {
                    idle.turn().await;
                    assert!(begun.elapsed() < Duration::from_secs(20), "turns do not let the executor do anything");
                }
            })
        });
    }

    #[test]
    fn a_set_that_is_ready_already_does_not_wait() {
        run(|| {
            Box::pin(async {
                let mut epoll = Epoll::new().expect("epoll");
                let (mut ours, theirs) = mio::net::UnixStream::pair().expect("socket pair");
                epoll.registry().register(&mut ours, Token(1), Interest::READABLE).expect("epoll_ctl");
                let mut idle = Idle::new(epoll.as_fd_for_test(), Bell::default()).expect("dup");
                for _ in 0..3 {
                    std::io::Write::write_all(&mut &theirs, b"x").expect("room");
                    idle.wait(Duration::from_secs(100)).await;
                    let mut events = Events::with_capacity(4);
                    epoll.poll(&mut events, Some(Duration::ZERO)).expect("epoll");
                    assert_eq!(events.iter().count(), 1);
                }
            })
        });
    }

    #[test]
    fn turns_are_enough_for_a_disk_request() {
        run(|| {
            Box::pin(async {
                let epoll = Epoll::new().expect("epoll");
                let mut idle = Idle::new(epoll.as_fd_for_test(), Bell::default()).expect("dup");
                let is_done = Rc::new(Cell::new(false));
                let done = is_done.clone();
                spawn_local(async move {
                    glommio::io::Directory::open("/").await.expect("there is one").close().await.expect("closed");
                    done.set(true);
                });
                let begun = Instant::now();
                while !is_done.get() {
                    idle.turn().await;
                    assert!(begun.elapsed() < Duration::from_secs(10), "turns do no I/O");
                }
            })
        });
    }

    trait ForTest {
        fn as_fd_for_test(&self) -> BorrowedFd<'_>;
    }

    impl ForTest for Epoll {
        fn as_fd_for_test(&self) -> BorrowedFd<'_> {
            super::epoll_of(self)
        }
    }
}
