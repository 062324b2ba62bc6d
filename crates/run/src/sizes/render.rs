//! Sizes as lines of text and as JSON.

use std::fmt::Write as _;

use dlio_event::quantity::{bytes as bytes_of, counted};
use serde_json::{Value, json};

use super::duration::clock;
use super::{CheckpointSizes, DataSizes, ReadSizes, Sizes, SplitSizes};

/// Returns the mark of an estimate.
fn mark(is_exact: bool) -> &'static str {
    if is_exact { "" } else { "≈ " }
}

/// Formats bytes as a number and with a unit.
#[must_use]
pub fn amount(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} bytes") } else { format!("{bytes} bytes ({})", bytes_of(bytes)) }
}

impl Sizes {
    /// Returns one fact per line, each with a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if let Some(data) = &self.data {
            data.text(&mut text);
        }
        if let Some(reads) = &self.reads {
            let _ = writeln!(text, "{}", reads.text());
        }
        if let Some(checkpoints) = &self.checkpoints {
            let _ = writeln!(text, "{}", checkpoints.text());
        }
        let seconds = self.duration.seconds();
        if seconds > 0.0 {
            let parts = self.duration.parts();
            let _ = writeln!(
                text,
                "duration: at least {} ({parts}); not included: reading and writing, as the storage's throughput is not known",
                clock(seconds)
            );
        } else {
            let _ = writeln!(text, "duration: as long as the storage takes, nothing else is waited for");
        }
        if let Some((rate, bytes)) = self.required_rate() {
            let _ = writeln!(
                text,
                "to keep up with the computation: {} per second over all ranks ({bytes} bytes in an epoch)",
                bytes_of(rate)
            );
        }
        text
    }

    /// Returns the sizes as one JSON object.
    pub fn json(&self) -> Value {
        let duration = self.duration;
        json!({
            "dataset": self.data.as_ref().map(DataSizes::json),
            "reads": self.reads.as_ref().map(ReadSizes::json),
            "checkpoint": self.checkpoints.as_ref().map(CheckpointSizes::json),
            "duration": {
                "at_least_seconds": duration.seconds(),
                "computation_seconds": duration.computation,
                "evaluation_seconds": duration.evaluation,
                "preprocessing_seconds": duration.preprocessing,
                "pause_seconds": duration.pauses,
                "not_included": ["reading", "writing"],
            },
            "required_bytes_per_second": self.required_rate().map(|(rate, _)| rate),
        })
    }

    /// Returns the bytes per second that all ranks must read so that their computation never waits, and the bytes per epoch.
    fn required_rate(&self) -> Option<(u64, u64)> {
        let reads = self.reads.as_ref()?;
        let epoch = self.duration.computation / f64::from(reads.epochs.max(1));
        let bytes = reads.epoch_all();
        (epoch > 0.0 && bytes > 0).then(|| (super::dataset::rounded(bytes as f64 / epoch), bytes))
    }
}

impl DataSizes {
    fn text(&self, text: &mut String) {
        let mark = mark(self.is_exact());
        let splits = [("training", &self.train), ("evaluation", &self.eval)];
        for (name, split) in splits.into_iter().filter(|(_, split)| split.files > 0) {
            let indexes = match split.objects - split.files {
                0 => String::new(),
                indexes => format!(" and {indexes} index files"),
            };
            let _ = writeln!(
                text,
                "size of the {name} data: {mark}{} in {} files{indexes}, of which samples {}",
                amount(split.stored),
                split.files,
                amount(split.payload)
            );
        }
        if let Some(method) = &self.method {
            let _ = writeln!(text, "  ≈: {method}");
        }
    }

    fn json(&self) -> Value {
        let split = |split: &SplitSizes| {
            json!({
                "files": split.files,
                "objects": split.objects,
                "stored_bytes": split.stored,
                "payload_bytes": split.payload,
            })
        };
        json!({
            "train": split(&self.train),
            "eval": split(&self.eval),
            "stored_bytes": self.stored(),
            "exact": self.is_exact(),
            "method": self.method,
        })
    }
}

impl ReadSizes {
    fn text(&self) -> String {
        let mark = mark(self.is_exact);
        let ranks = match (self.rank_min, self.rank_max) {
            (min, max) if min == max => amount(max),
            (min, max) => format!("{min} to {}", amount(max)),
        };
        let later = match self.later_all {
            Some(later) if later != self.epoch_all() => format!(", in each later one {mark}{}", amount(later)),
            _ => String::new(),
        };
        let eval = match self.evaluation {
            0 => String::new(),
            bytes => format!(", in each evaluation ≈ {}", amount(bytes)),
        };
        format!(
            "read in an epoch: {mark}{ranks} per rank, {mark}{} by all ranks{later}{eval}; in the run {}{}",
            amount(self.epoch_all()),
            if self.is_exact && self.evaluation == 0 { "" } else { "≈ " },
            amount(self.run)
        )
    }

    fn json(&self) -> Value {
        json!({
            "rank_epoch_bytes_min": self.rank_min,
            "rank_epoch_bytes_max": self.rank_max,
            "epoch_bytes": self.epoch_all(),
            "later_epoch_bytes": self.later_all,
            "evaluation_bytes": self.evaluation,
            "run_bytes": self.run,
            "exact": self.is_exact,
        })
    }
}

impl CheckpointSizes {
    fn text(&self) -> String {
        let each = amount(self.stored);
        let mut text = format!("size of each checkpoint: {each} on storage in {}", counted(self.objects, "file"));
        if self.writes > 0 {
            let _ = write!(text, "; {} saved and kept: {}", self.writes, amount(self.kept()));
        }
        if self.reads > 0 {
            let _ = write!(text, "; {} loaded: {}", self.reads, amount(self.stored.saturating_mul(self.reads)));
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "writes": self.writes,
            "reads": self.reads,
            "objects": self.objects,
            "stored_bytes": self.stored,
            "payload_bytes": self.payload,
            "kept_bytes": self.kept(),
            "read_bytes": self.stored.saturating_mul(self.reads),
            "exact": true,
        })
    }
}
