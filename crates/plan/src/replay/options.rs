//! Options of a replay: what is replayed, where and how fast.

use super::{Address, EndpointRule, Error, Recorded, ReplayKind, Rule, Share, address};

/// Timing of the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// At the recorded times.
    Open,
    /// In the order of each lane, with the recorded pauses between the completion of an operation and the start of the
    /// next one.
    Closed,
    /// Like `Closed`, and no operation starts before the operations in other lanes that it followed: see
    /// [`super::Edges`].
    Dependent,
    /// In the order of each lane, without pauses.
    Asap,
}

/// Handling of late operations (open timing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The rest of the schedule is delayed.
    Stretch,
    /// They are issued immediately, until the schedule is met again.
    CatchUp,
    /// They are skipped and counted.
    Skip,
}

/// Mapping of recorded ranks to ranks of the replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Adjacent recorded ranks stay together.
    Block,
    /// Recorded ranks are assigned in turn.
    Modulo,
}

/// Kinds of operations that are replayed; all kinds if none is named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operations(Vec<String>);

impl Operations {
    /// Parses `read`, `write`, `stat`, `list` and `delete`. Reads and writes include their openings and closings.
    ///
    /// # Errors
    /// [`Error::Option`] if a word is unknown.
    pub fn parse(words: &[String]) -> Result<Self, Error> {
        const KNOWN: [&str; 5] = ["read", "write", "stat", "list", "delete"];
        match words.iter().find(|word| !KNOWN.contains(&word.as_str())) {
            Some(word) => Err(Error::Option(format!("--op {word}: expected one of {}", KNOWN.join(", ")))),
            None => Ok(Self(words.to_vec())),
        }
    }

    pub(super) fn contains(&self, kind: ReplayKind) -> bool {
        let kind = match kind {
            // If a file is only written, its openings and closings belong to the writes.
            ReplayKind::Open | ReplayKind::Close => {
                return self.contains(ReplayKind::Read) || self.contains(ReplayKind::Write);
            }
            ReplayKind::Sync => ReplayKind::Write,
            kind => kind,
        };
        self.0.is_empty() || self.0.iter().any(|word| word == kind.name())
    }
}

/// Options of a replay: what is replayed, where and how fast.
#[derive(Debug, Clone)]
pub struct Options {
    /// Mapping of recorded ranks to ranks.
    pub mapping: Mapping,
    /// Speed-up factor relative to the recording.
    pub speed: f64,
    /// Start of the replayed part, in seconds after the first event of the trace.
    pub from: Option<f64>,
    /// End (exclusive) of the replayed part, in seconds after the first event of the trace.
    pub to: Option<f64>,
    /// Kinds of operations.
    pub operations: Operations,
    /// Recorded ranks to replay; empty for all.
    pub ranks: Vec<u32>,
    /// Parts of recorded names, at least one of which must occur in a name; empty for all objects.
    pub objects: Vec<String>,
    /// Rules for rewriting names; the first that applies is used. If there are rules, one must apply.
    pub rules: Vec<Rule>,
    /// Rules for endpoints. Endpoints without a rule are replaced by the endpoints of the configuration.
    pub endpoints: Vec<EndpointRule>,
    /// Share of the objects whose operations are replayed; `None` for all.
    pub sample: Option<Share>,
    /// Failed attempts are repeated, except for parts of uploads.
    pub failed: bool,
    /// Spans of the training loop are operations too.
    pub dependent: bool,
    /// Factor for offsets and sizes.
    pub scale: f64,
    /// Objects are written as a whole, even files that were recorded in pieces.
    pub whole: bool,
    /// Folder that relative paths are resolved against.
    pub folder: String,
}

impl Options {
    pub(super) fn check(&self, recorded: &[u32]) -> Result<(), Error> {
        let positive = |name: &str, value: f64| {
            let fine = value.is_finite() && value > 0.0;
            if fine { Ok(()) } else { Err(Error::Option(format!("--{name} {value}: expected a number above 0"))) }
        };
        positive("speed", self.speed)?;
        positive("scale-size", self.scale)?;
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Error::Option(format!("--from {from} --to {to}: nothing lies between")));
        }
        match self.ranks.iter().find(|rank| !recorded.contains(rank)) {
            Some(rank) => Err(Error::Option(format!("--rank {rank}: the trace has no such rank"))),
            None => Ok(()),
        }
    }

    /// Returns whether a row begins in the chosen part of the trace.
    pub(super) fn within(&self, row: &Recorded, began: i64) -> bool {
        let seconds = row.start.saturating_sub(began) as f64 / 1e9;
        self.from.is_none_or(|from| seconds >= from) && self.to.is_none_or(|to| seconds < to)
    }

    pub(super) fn admits(&self, kind: ReplayKind, row: &Recorded, began: i64) -> bool {
        let objects = &self.objects;
        self.operations.contains(kind)
            && self.within(row, began)
            && (objects.is_empty() || objects.iter().any(|part| row.uri.contains(part.as_str())))
            && self.sample.is_none_or(|share| share.has(&row.uri))
    }

    /// Returns the address of a recorded object in the replay.
    ///
    /// # Errors
    /// [`Error::Unmapped`] if no rule applies, or [`Error::Address`].
    pub fn target(&self, uri: &str) -> Result<Address, Error> {
        if self.rules.is_empty() {
            return address(uri, &self.folder);
        }
        if let Some(rewritten) = self.rules.iter().find_map(|rule| rule.apply(uri)) {
            return address(&rewritten, &self.folder);
        }
        let from: Vec<String> = self.rules.iter().map(Rule::from).collect();
        Err(Error::Unmapped { uri: uri.to_owned(), from: from.join(", ") })
    }

    /// Returns the target endpoints of the rules, without duplicates.
    #[must_use]
    pub fn routes(&self) -> Vec<&str> {
        let mut routes: Vec<&str> = Vec::new();
        for rule in &self.endpoints {
            if !routes.contains(&rule.to.as_str()) {
                routes.push(&rule.to);
            }
        }
        routes
    }

    fn rule(&self, endpoint: &str) -> Option<&EndpointRule> {
        self.endpoints.iter().find(|rule| rule.from == endpoint.trim_end_matches('/'))
    }

    /// Marks the rule that a recorded endpoint needs as used.
    pub(super) fn meet(&self, endpoint: Option<&str>) {
        if let Some(rule) = endpoint.and_then(|endpoint| self.rule(endpoint)) {
            rule.used.set();
        }
    }

    /// Returns the number of the rule for a recorded endpoint, from 1; 0 if no rule applies.
    pub(super) fn route(&self, endpoint: Option<&str>) -> u16 {
        let rule = endpoint.and_then(|endpoint| self.rule(endpoint));
        let index = rule.and_then(|rule| self.routes().iter().position(|route| *route == rule.to));
        index.and_then(|index| u16::try_from(index + 1).ok()).unwrap_or(0)
    }

    /// Scales a recorded number of bytes to the replay.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes, rounded")]
    pub(super) fn scaled(&self, bytes: u64) -> u64 {
        if (self.scale - 1.0).abs() < f64::EPSILON { bytes } else { (bytes as f64 * self.scale).round() as u64 }
    }

    /// Scales a recorded duration in nanoseconds to the speed of the replay.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of nanoseconds")]
    pub(super) fn paced(&self, nanos: i64) -> u64 {
        let nanos = nanos.max(0);
        if (self.speed - 1.0).abs() < f64::EPSILON {
            return nanos.unsigned_abs();
        }
        (nanos as f64 / self.speed).round() as u64
    }
}
