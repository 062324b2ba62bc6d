//! Progress of long tasks on standard error: a live line on a terminal, an occasional plain line elsewhere, nothing for
//! short tasks.
//!
//! The code that works updates counters; a thread reads and shows them, so a single file that takes minutes shows
//! progress, too.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dlio_event::{Nanos, TimeSource};
use dlio_run::front_end::ProgressLine;
use dlio_run::message::Verbosity;
use dlio_run::outputs::meter::{Estimate, FIRST_AFTER, Pace, Tally, Task};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Interval at which counts are read.
const TICK: Duration = Duration::from_millis(200);

/// Shows the progress of one task at a time.
#[derive(Clone)]
pub(crate) struct Screen {
    clock: Arc<dyn TimeSource>,
    desk: Arc<Mutex<ScreenState>>,
}

/// State that is shared with the thread of a screen.
struct ScreenState {
    /// Live lines; `None` if standard error is no terminal.
    bars: Option<MultiProgress>,
    shown: Option<Shown>,
}

/// The displayed task.
struct Shown {
    task: Task,
    /// Destination of plain lines, without a terminal.
    say: ProgressLine,
    tally: Arc<Tally>,
    began: Nanos,
    estimate: Estimate,
    pace: Pace,
    bar: Option<ProgressBar>,
}

impl Screen {
    /// Creates a screen with live lines on `bars`, or with plain lines.
    pub(crate) fn new(bars: Option<MultiProgress>, clock: Arc<dyn TimeSource>) -> Self {
        Self { clock, desk: Arc::new(Mutex::new(ScreenState { bars, shown: None })) }
    }

    /// Starts the thread that reads the counts as long as the screen exists.
    pub(crate) fn live(self) -> Self {
        let (desk, clock) = (Arc::downgrade(&self.desk), Arc::clone(&self.clock));
        let look = move || {
            loop {
                #[expect(clippy::disallowed_methods, reason = "the thread that shows progress measures nothing")]
                std::thread::sleep(TICK);
                let Some(desk) = Weak::upgrade(&desk) else { return };
                lock(&desk).tick(clock.now());
            }
        };
        // Without the thread only the progress is missing.
        drop(std::thread::Builder::new().name("progress".to_owned()).spawn(look));
        self
    }

    /// Creates a screen on standard error for commands without a log; `None` with `--quiet`.
    pub(crate) fn stderr(verbosity: Verbosity) -> Option<Self> {
        let bars = bars();
        let clock = Arc::new(dlio_engine::MonotonicClock);
        (verbosity > Verbosity::Quiet).then(|| Self::new(bars, clock).live())
    }

    /// Shows a task, with the counts of `tally`, until the returned meter is dropped.
    pub(crate) fn begin(&self, task: Task, tally: &Arc<Tally>) -> Meter {
        self.show(task, tally, Box::new(crate::log::note))
    }

    /// Does the same as [`Self::begin`], with another destination of plain lines.
    pub(crate) fn show(&self, task: Task, tally: &Arc<Tally>, say: ProgressLine) -> Meter {
        let (began, mut estimate) = (self.clock.now(), Estimate::default());
        estimate.observe(began, &task, &tally.counts());
        let mut desk = lock(&self.desk);
        desk.end();
        desk.shown =
            Some(Shown { task, say, tally: Arc::clone(tally), began, estimate, pace: Pace::default(), bar: None });
        Meter { desk: Arc::clone(&self.desk) }
    }
}

fn lock(desk: &Mutex<ScreenState>) -> MutexGuard<'_, ScreenState> {
    // A panic has been reported; what is shown afterwards does not matter.
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScreenState {
    /// Reads the counts and updates the line if it is due.
    fn tick(&mut self, now: Nanos) {
        let Some(Shown { task, say, tally, began, estimate, pace, bar }) = &mut self.shown else { return };
        let counts = tally.counts();
        estimate.observe(now, task, &counts);
        let elapsed = now.saturating_sub(*began);
        if elapsed < FIRST_AFTER {
            return;
        }
        match &self.bars {
            Some(bars) => {
                let width = crate::terminal::error_width().unwrap_or(usize::MAX);
                let line = task.line_within(width, &counts, (elapsed, estimate));
                bar.get_or_insert_with(|| live_line(bars)).set_message(line);
            }
            None if pace.is_due(*began, now) => say(&task.line(&counts, elapsed, estimate)),
            None => {}
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.shown.take().and_then(|shown| shown.bar) {
            bar.finish_and_clear();
        }
    }
}

/// Returns the live lines on standard error, if it is a terminal.
pub(crate) fn bars() -> Option<MultiProgress> {
    std::io::stderr().is_terminal().then(MultiProgress::new)
}

/// Creates a line that is redrawn, and cut at the width of the terminal.
fn live_line(bars: &MultiProgress) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    match ProgressStyle::with_template("{wide_msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Handle of a shown task, which disappears when the handle is dropped.
#[must_use]
pub(crate) struct Meter {
    desk: Arc<Mutex<ScreenState>>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        lock(&self.desk).end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A clock that changes only when it is set.
    #[derive(Default)]
    struct Set(AtomicU64);

    impl TimeSource for Set {
        fn now(&self) -> Nanos {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Returns the plain lines of a task with one tick per second; `work` does the work of that second.
    fn lines(task: Task, seconds: u64, work: impl Fn(u64, &Tally)) -> Vec<String> {
        let (clock, said) = (Arc::new(Set::default()), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&said);
        let screen = Screen::new(None, clock.clone());
        let say = move |line: &str| heard.lock().unwrap().push(line.to_owned());
        let tally = Arc::new(Tally::default());
        let meter = screen.show(task, &tally, Box::new(say));
        for second in 1..=seconds {
            work(second, &tally);
            clock.0.store(second * 1_000_000_000, Ordering::Relaxed);
            lock(&screen.desk).tick(clock.now());
        }
        drop(meter);
        // A finished task prints no more lines.
        lock(&screen.desk).tick(clock.now() + 60_000_000_000);
        said.lock().unwrap().clone()
    }

    fn files(total: u64) -> Task {
        Task { label: "Verifying".into(), unit: "files", total, ranks: 1, ..Task::default() }
    }

    #[test]
    fn work_of_half_a_minute_says_four_lines_and_the_last_is_nearly_done() {
        let said = lines(files(32), 32, |_, tally| {
            tally.add(false);
            tally.bytes().fetch_add(10_000_000, Ordering::Relaxed);
        });
        assert_eq!(said.len(), 4);
        assert_eq!(said[0], "Verifying: 2 of 32 files, 6 %, 10.0 MB/s, ETA 0:30");
        assert_eq!(said[3], "Verifying: 32 of 32 files, 100 %, 10.0 MB/s, ETA 0:00");
    }

    #[test]
    fn work_that_ends_within_two_seconds_says_nothing() {
        assert!(lines(files(1), 1, |_, tally| tally.add(false)).is_empty());
    }

    #[test]
    fn one_large_file_moves_on_by_its_bytes() {
        let task = Task { bytes_each: 100_000_000, ..files(1) };
        let said = lines(task, 12, |_, tally| {
            tally.bytes().fetch_add(5_000_000, Ordering::Relaxed);
        });
        let expected =
            ["Verifying: 0 of 1 files, 10 %, 5.0 MB/s, ETA 0:18", "Verifying: 0 of 1 files, 60 %, 5.0 MB/s, ETA 0:08"];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_wait_without_progress_keeps_speaking() {
        let said = lines(files(4), 25, |second, tally| tally.set(u64::from(second > 0)));
        assert_eq!(said.len(), 3);
        assert!(said[2].starts_with("Verifying: 1 of 4 files, 25 %, ETA "), "{}", said[2]);
    }
}
