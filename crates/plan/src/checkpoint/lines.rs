//! Summary of the checkpoints in a few lines of text, and as JSON.

use std::fmt::Write as _;

use dlio_event::quantity::counted;
use serde_json::{Value, json};

use super::{CheckpointBytes, CheckpointFile, CheckpointPart, CheckpointPlan};

const GIB: f64 = (1_u64 << 30) as f64;

impl CheckpointPlan {
    /// Summarizes the checkpoints for users. Each line states one fact and ends in a newline. In a run that trains,
    /// `training` is the number of epochs and the number of steps per epoch.
    #[must_use]
    pub fn summary(&self, training: Option<(u32, u64)>) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "checkpoint plan {}", self.fingerprint());
        let _ = writeln!(text, "checkpoints: {}", self.schedule(training));
        let written = self.written();
        let _ = writeln!(
            text,
            "each checkpoint: {} files of {} bytes of tensors ({}), model {} bytes ({}), optimizer {} bytes ({})",
            written.files,
            written.total(),
            gib(written.total()),
            written.model,
            gib(written.model),
            written.optimizer,
            gib(written.optimizer)
        );
        if self.size_bytes() != written.total() {
            let _ = writeln!(text, "counted for throughput: {} bytes ({})", self.size_bytes(), gib(self.size_bytes()));
        }
        if self.parameters() > 0 {
            let _ = writeln!(text, "model: {} parameters", self.parameters());
        }
        if let Some(ranks) = self.subset_of() {
            let _ = writeln!(text, "subset: {} of {ranks} ranks", self.world().size);
        }
        let kinds = self.shares();
        let (min, max) = ends(&kinds);
        let _ = writeln!(text, "bytes per rank: {min} ({}) to {max} ({})", gib(min), gib(max));
        for (ranks, bytes) in kinds {
            let _ = writeln!(
                text,
                "  {}: {}, model {} bytes ({}), optimizer {} bytes ({})",
                counted(ranks, "rank"),
                counted(bytes.files, "file"),
                bytes.model,
                gib(bytes.model),
                bytes.optimizer,
                gib(bytes.optimizer)
            );
        }
        for notice in self.notices() {
            let _ = writeln!(text, "note: {}", notice.text);
        }
        text
    }

    /// Returns one line per file of a rank.
    #[must_use]
    pub fn rank_summary(&self, rank: u32) -> String {
        self.files(rank).iter().fold(String::new(), |mut text, file| {
            let (tensors, bytes) = (file.tensors.len(), file.bytes());
            let _ = writeln!(text, "rank {rank} checkpoint {}: {tensors} tensors, {bytes} bytes", file.name);
            text
        })
    }

    fn schedule(&self, training: Option<(u32, u64)>) -> String {
        if let Some(alone) = self.alone() {
            let (writes, reads) = (alone.writes, alone.reads);
            return format!("{writes} written, then {reads} read, a pause of {} s before each", alone.mean_pause());
        }
        let Some(((epochs, steps), during)) = training.zip(self.during_training()) else {
            return "taken in training".to_owned();
        };
        let folder = |(epoch, step)| self.folder(epoch, step);
        let (first, count) = (during.taken(epochs, steps).next(), during.taken(epochs, steps).count());
        let names = first.map_or_else(String::new, |first| format!(", from {}", folder(first)));
        format!("{count} taken in training{names}")
    }

    /// Returns the sizes that ranks write, in ascending order of bytes, each with the number of ranks that write this
    /// size.
    fn shares(&self) -> Vec<(u64, CheckpointBytes)> {
        let mut kinds = self.kinds();
        kinds.sort_by_key(|(_, bytes)| (bytes.total(), bytes.files));
        let mut shares: Vec<(u64, CheckpointBytes)> = Vec::new();
        for (ranks, bytes) in kinds {
            match shares.last_mut().filter(|(_, last)| *last == bytes) {
                Some((count, _)) => *count += ranks,
                None => shares.push((ranks, bytes)),
            }
        }
        shares
    }

    /// Returns the files of the ranks as JSON objects without newlines. They are the same for every checkpoint.
    pub fn jsonl(&self, rank: Option<u32>) -> impl Iterator<Item = String> {
        let ranks = rank.map_or(0..self.world().size, |rank| rank..rank.saturating_add(1));
        let files = ranks.flat_map(|rank| self.files(rank).into_iter().map(move |file| (rank, file)));
        // Serializing numbers and strings cannot fail.
        files.map(|(rank, file)| serde_json::to_string(&record(rank, &file)).unwrap_or_default())
    }

    /// Returns the totals as one JSON object; for a single rank, also its files.
    #[must_use]
    pub fn totals(&self, rank: Option<u32>, training: Option<(u32, u64)>) -> Value {
        let written = self.written();
        let shares = self.shares();
        let (rank_bytes_min, rank_bytes_max) = ends(&shares);
        let taken = training.zip(self.during_training());
        let taken = taken.map_or(0, |((epochs, steps), during)| during.taken(epochs, steps).count() as u64);
        let share = |(ranks, bytes): (u64, CheckpointBytes)| {
            json!({
                "ranks": ranks, "files": bytes.files, "model_bytes": bytes.model, "optimizer_bytes": bytes.optimizer,
            })
        };
        let mut totals = json!({
            "fingerprint": self.fingerprint().to_string(),
            "ranks": self.world().size,
            "writes": self.alone().map_or(taken, |alone| alone.writes),
            "reads": self.alone().map_or(0, |alone| alone.reads),
            "files": written.files,
            "bytes": written.total(),
            "model_bytes": written.model,
            "optimizer_bytes": written.optimizer,
            "rank_bytes_min": rank_bytes_min,
            "rank_bytes_max": rank_bytes_max,
            "counted_bytes": self.size_bytes(),
            "parameters": self.parameters(),
            "shares": shares.into_iter().map(share).collect::<Vec<_>>(),
        });
        if let Some(rank) = rank {
            totals["rank_files"] = self.files(rank).iter().map(|file| record(rank, file)).collect();
        }
        totals
    }
}

fn record(rank: u32, file: &CheckpointFile) -> Value {
    json!({
        "rank": rank,
        "checkpoint_file": file.name,
        "part": word(file.part),
        "tensors": file.tensors.len(),
        "bytes": file.bytes(),
    })
}

fn word(part: CheckpointPart) -> &'static str {
    match part {
        CheckpointPart::Model => "model",
        CheckpointPart::Layers => "layers",
        CheckpointPart::Optimizer => "optimizer",
    }
}

/// Returns the smallest and the largest size in bytes that a rank writes.
fn ends(shares: &[(u64, CheckpointBytes)]) -> (u64, u64) {
    let total = |share: Option<&(u64, CheckpointBytes)>| share.map_or(0, |(_, bytes)| bytes.total());
    (total(shares.first()), total(shares.last()))
}

fn gib(bytes: u64) -> String {
    format!("{:.3} GiB", bytes as f64 / GIB)
}
