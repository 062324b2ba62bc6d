//! Progress lines: when they are due, their text, and the estimated time to completion. Pure functions of time and
//! counts.

use std::collections::VecDeque;

use dlio_event::Nanos;

/// Tasks that end within this time, in nanoseconds, show no progress.
pub const FIRST_AFTER: Nanos = 2_000_000_000;
/// Interval between two plain lines, in nanoseconds.
const LINE_EVERY: Nanos = 10_000_000_000;
/// Window of the estimate, in nanoseconds.
const WINDOW: Nanos = 30_000_000_000;
/// Interval between two observations in the window, in nanoseconds.
const OBSERVE_EVERY: Nanos = 500_000_000;

/// Importance of a part of a line; the least important part is left out first on narrow terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Rate,
    Utilisation,
    Share,
    /// Never left out.
    All,
}

/// A task and its size.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// First word of the line, such as `Generating`.
    pub label: String,
    /// What is counted, such as `files`; empty if only bytes are counted.
    pub unit: &'static str,
    /// Total number of units; 0 if unknown.
    pub total: u64,
    /// Total number of bytes; 0 if unknown.
    pub total_bytes: u64,
    /// Bytes of one unit; 0 if unknown. Shows progress before the first unit is done.
    pub bytes_each: u64,
    /// Number of units in later tasks.
    pub later: u64,
    /// Number of ranks that do the same, each with its share; the counts are those of rank 0.
    pub ranks: u32,
}

/// Counts of a task at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Number of units that are done.
    pub done: u64,
    /// Number of these units that were complete already, so that no byte was moved.
    pub kept: u64,
    /// Bytes moved, including those of unfinished units.
    pub bytes: u64,
    /// Accelerator utilization so far, in percent; `None` if the task has none.
    pub au: Option<f64>,
}

impl Task {
    /// Creates a task of `total` units; 0 if their number is unknown.
    #[must_use]
    pub fn counting(label: &str, unit: &'static str, total: u64) -> Self {
        Self { label: label.to_owned(), unit, total, ..Self::default() }
    }

    /// Returns the share that is done, from 0 to 1; `None` if the total is unknown.
    fn share(&self, counts: &Counts) -> Option<f64> {
        if self.total_bytes > 0 {
            return Some((counts.bytes as f64 / self.total_bytes as f64).min(1.0));
        }
        if self.total == 0 {
            return None;
        }
        let (total, done) = (self.total as f64, counts.done as f64);
        let moved = counts.done.saturating_sub(counts.kept);
        // Bytes of a file arrive before the file is done, so they count as a part of it.
        let under_way = if self.bytes_each > 0 {
            (counts.bytes as f64 / self.bytes_each as f64 - moved as f64).clamp(0.0, total - done.min(total))
        } else {
            0.0
        };
        Some(((done + under_way) / total).min(1.0))
    }

    /// Returns a line about the task after `elapsed` nanoseconds, with the time to completion from `estimate`.
    #[must_use]
    pub fn line(&self, counts: &Counts, elapsed: Nanos, estimate: &Estimate) -> String {
        self.line_within(usize::MAX, counts, (elapsed, estimate))
    }

    /// Returns the line in at most `width` columns. If they are too few, rate, utilization and share are left out, in
    /// this order.
    #[must_use]
    pub fn line_within(&self, width: usize, counts: &Counts, times: (Nanos, &Estimate)) -> String {
        let mut parts = self.parts(counts, times);
        loop {
            let texts: Vec<&str> = parts.iter().map(|(_, text)| text.as_str()).collect();
            let line = format!("{}: {}", self.label, texts.join(", "));
            let least =
                parts.iter().enumerate().filter(|(_, (worth, _))| *worth < Worth::All).min_by_key(|(_, part)| part.0);
            match least.map(|(at, _)| at) {
                Some(at) if line.chars().count() > width => _ = parts.remove(at),
                _ => return line,
            }
        }
    }

    fn parts(&self, counts: &Counts, (elapsed, estimate): (Nanos, &Estimate)) -> Vec<(Worth, String)> {
        let mut parts = Vec::new();
        if !self.unit.is_empty() {
            let of = if self.total >= counts.done.max(1) { format!(" of {}", self.total) } else { String::new() };
            parts.push((Worth::All, format!("{}{of} {}", counts.done, self.unit)));
        }
        if self.total_bytes > 0 {
            parts.push((Worth::All, format!("{} of {}", size(counts.bytes), size(self.total_bytes))));
        }
        if self.ranks > 1 && !parts.is_empty() {
            parts[0].1.push_str(" on rank 0");
        }
        let share = self.share(counts);
        parts.extend(share.map(|share| (Worth::Share, format!("{:.0} %", (share * 100.0).floor()))));
        if counts.bytes > 0 {
            let rate = counts.bytes as f64 * f64::from(self.ranks.max(1)) / (elapsed as f64 / 1e9).max(1e-9);
            let over = if self.ranks > 1 { format!(" over {} ranks", self.ranks) } else { String::new() };
            parts.push((Worth::Rate, format!("{:.1} MB/s{over}", rate / 1e6)));
        }
        parts.extend(counts.au.map(|au| (Worth::Utilisation, format!("AU {au:.1} %"))));
        if let (Some(share), Some(per_second)) = (share, estimate.per_second()) {
            let left = (1.0 - share) / per_second;
            let more = self.later as f64 / self.total.max(1) as f64 / per_second;
            let run = if self.later > 0 { format!(" (run {})", duration(left + more)) } else { String::new() };
            parts.push((Worth::All, format!("ETA {}{run}", duration(left))));
        }
        if parts.is_empty() {
            parts.push((Worth::All, format!("{} so far", duration((elapsed / 1_000_000_000) as f64))));
        }
        parts
    }
}

/// Estimate of the current speed.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    seen: VecDeque<(Nanos, f64)>,
}

impl Estimate {
    /// Records how far `task` has come at time `now`; the first call records its start.
    pub fn observe(&mut self, now: Nanos, task: &Task, counts: &Counts) {
        let Some(share) = task.share(counts) else { return };
        // The last observation is replaced until it is far enough from the previous one.
        if let [.., (before, _), _] = self.seen.make_contiguous()
            && now.saturating_sub(*before) < OBSERVE_EVERY
        {
            self.seen.pop_back();
        }
        self.seen.push_back((now, share));
        while self.seen.len() > 2 && now.saturating_sub(self.seen[1].0) >= WINDOW {
            self.seen.pop_front();
        }
    }

    /// Returns the share of the task per second; `None` if nothing was done within the window.
    fn per_second(&self) -> Option<f64> {
        let ((from, first), (to, last)) = (self.seen.front()?, self.seen.back()?);
        let seconds = to.saturating_sub(*from) as f64 / 1e9;
        (last > first && seconds > 0.0).then(|| (last - first) / seconds)
    }
}

/// Decides when plain lines about a task are due.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Time of the last line.
    last: Option<Nanos>,
}

impl Pace {
    /// Whether a line about a task that began at `began` is due at `now`; if so, it counts as printed.
    pub fn is_due(&mut self, began: Nanos, now: Nanos) -> bool {
        let waited = self.last.is_none_or(|last| now.saturating_sub(last) >= LINE_EVERY);
        let due = waited && now.saturating_sub(began) >= FIRST_AFTER;
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// Formats bytes in decimal units, like throughputs.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Formats seconds as `m:ss` or `h:mm:ss`, rounded up to whole seconds.
fn duration(seconds: f64) -> String {
    const LONGEST: f64 = 359_999.0;
    const ROUNDING: f64 = 1e-6;
    if seconds > LONGEST {
        return "more than 99 h".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a hundred hours")]
    let whole = (seconds - ROUNDING).max(0.0).ceil() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn files(total: u64) -> Task {
        Task { label: "Generating".into(), unit: "files", total, ranks: 1, ..Task::default() }
    }

    fn done(done: u64, bytes: u64) -> Counts {
        Counts { done, bytes, ..Counts::default() }
    }

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long() {
        let (task, mut estimate) = (files(64), Estimate::default());
        estimate.observe(0, &task, &done(0, 0));
        let counts = done(16, 4_000_000_000);
        estimate.observe(8 * SECOND, &task, &counts);
        let line = task.line(&counts, 8 * SECOND, &estimate);
        assert_eq!(line, "Generating: 16 of 64 files, 25 %, 500.0 MB/s, ETA 0:24");
        let of_four = Task { ranks: 4, ..task };
        let line = of_four.line(&counts, 8 * SECOND, &estimate);
        assert_eq!(line, "Generating: 16 of 64 files on rank 0, 25 %, 2000.0 MB/s over 4 ranks, ETA 0:24");
    }

    #[test]
    fn bytes_of_a_file_under_way_count_before_it_is_done() {
        let task = Task { bytes_each: 1_000, ..files(2) };
        let mut estimate = Estimate::default();
        estimate.observe(0, &task, &done(0, 0));
        estimate.observe(10 * SECOND, &task, &done(0, 500));
        assert!(task.line(&done(0, 500), 10 * SECOND, &estimate).ends_with(", 25 %, 0.0 MB/s, ETA 0:30"));
        // Files that existed already have moved no bytes.
        let kept = Counts { done: 1, kept: 1, bytes: 500, au: None };
        assert_eq!(task.share(&kept), Some(0.75));
        assert_eq!(task.share(&done(1, 5_000)), Some(1.0), "more bytes than expected are no more than all");
    }

    #[test]
    fn the_time_to_go_follows_the_last_half_minute() {
        let (task, mut estimate) = (files(1_000), Estimate::default());
        // A hundred files exist already and take one second in total; the others take one second each.
        estimate.observe(0, &task, &done(0, 0));
        for second in 1..=60 {
            estimate.observe(second * SECOND, &task, &done(99 + second, 0));
        }
        assert!(task.line(&done(159, 0), 60 * SECOND, &estimate).ends_with("ETA 14:01"));
        assert!(estimate.seen.len() < 70, "the window is bounded");
    }

    #[test]
    fn later_epochs_are_part_of_the_run() {
        let task =
            Task { label: "Epoch 2 of 5".into(), unit: "steps", total: 10, later: 30, ranks: 1, ..Task::default() };
        let mut estimate = Estimate::default();
        estimate.observe(0, &task, &done(0, 0));
        let counts = Counts { done: 5, au: Some(50.0), ..Counts::default() };
        estimate.observe(5 * SECOND, &task, &counts);
        let line = task.line(&counts, 5 * SECOND, &estimate);
        assert_eq!(line, "Epoch 2 of 5: 5 of 10 steps, 50 %, AU 50.0 %, ETA 0:05 (run 0:35)");
        // A narrow terminal keeps the time to completion.
        let counts = Counts { bytes: 5_000_000, ..counts };
        let within = |width| task.line_within(width, &counts, (5 * SECOND, &estimate));
        assert_eq!(
            within(72),
            "Epoch 2 of 5: 5 of 10 steps, 50 %, 1.0 MB/s, AU 50.0 %, ETA 0:05 (run 0:35)".replace("1.0 MB/s, ", "")
        );
        assert_eq!(within(54), "Epoch 2 of 5: 5 of 10 steps, 50 %, ETA 0:05 (run 0:35)");
        assert_eq!(within(20), "Epoch 2 of 5: 5 of 10 steps, ETA 0:05 (run 0:35)");
    }

    #[test]
    fn without_a_total_there_is_no_estimate() {
        let task = Task { label: "Listing".into(), unit: "objects", ..Task::default() };
        let mut estimate = Estimate::default();
        estimate.observe(0, &task, &done(0, 0));
        estimate.observe(SECOND, &task, &done(3, 0));
        assert_eq!(task.line(&done(3, 0), SECOND, &estimate), "Listing: 3 objects");
    }

    #[test]
    fn bytes_alone_are_a_task_too() {
        let task = Task { label: "Importing".into(), total_bytes: 2_500_000_000, ..Task::default() };
        let mut estimate = Estimate::default();
        estimate.observe(0, &task, &done(0, 0));
        estimate.observe(5 * SECOND, &task, &done(0, 500_000_000));
        let line = task.line(&done(0, 500_000_000), 5 * SECOND, &estimate);
        assert_eq!(line, "Importing: 500.0 MB of 2.5 GB, 20 %, 100.0 MB/s, ETA 0:20");
    }

    #[test]
    fn lines_begin_after_two_seconds_and_come_every_ten() {
        let mut pace = Pace::default();
        let due: Vec<u64> = (0..40).filter(|second| pace.is_due(0, second * SECOND)).collect();
        assert_eq!(due, [2, 12, 22, 32]);
        assert!(!Pace::default().is_due(0, SECOND), "short work has no progress");
    }

    #[test]
    fn sizes_and_times_have_their_units() {
        assert_eq!([size(0), size(999), size(1_000), size(999_960_000)], ["0 B", "999 B", "1.0 kB", "1.0 GB"]);
        assert_eq!([duration(0.2), duration(61.0), duration(3_725.0)], ["0:01", "1:01", "1:02:05"]);
        assert_eq!(duration(f64::INFINITY), "more than 99 h");
    }
}
