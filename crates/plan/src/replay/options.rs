//! What of a trace is replayed, where and how fast.

use super::{Address, EndpointRule, Error, Recorded, ReplayKind, Rule, Share, address};

/// When operations are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// At the recorded moments.
    Open,
    /// In the order of each lane, with the recorded pauses between completion and next start.
    Closed,
    /// As closed, and no operation before those that it followed in other lanes: see [`super::Edges`].
    Dependent,
    /// In the order of each lane, without pauses.
    Asap,
}

/// What happens to operations that are late (open timing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The rest of the schedule moves.
    Stretch,
    /// They are done at once, until the schedule is met again.
    CatchUp,
    /// They are left out and counted.
    Skip,
}

/// How recorded ranks come to the ranks of the replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Neighbours stay together.
    Block,
    /// Dealt out in turn.
    Modulo,
}

/// Which kinds of operation: all if none is named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operations(Vec<String>);

impl Operations {
    /// Reads `read`, `write`, `stat`, `list`, `delete`; openings and closings go with reads and writes.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn parse(words: &[String]) -> Result<Self, Error> {
        const KNOWN: [&str; 5] = ["read", "write", "stat", "list", "delete"];
        match words.iter().find(|word| !KNOWN.contains(&word.as_str())) {
            Some(word) => Err(Error::Option(format!("--op {word}: expected one of {}", KNOWN.join(", ")))),
            None => Ok(Self(words.to_vec())),
        }
    }

    pub(super) fn contains(&self, kind: ReplayKind) -> bool {
        let kind = match kind {
            // A file that is only written has its openings and closings with its writes.
            ReplayKind::Open | ReplayKind::Close => {
                return self.contains(ReplayKind::Read) || self.contains(ReplayKind::Write);
            }
            ReplayKind::Sync => ReplayKind::Write,
            kind => kind,
        };
        self.0.is_empty() || self.0.iter().any(|word| word == kind.name())
    }
}

/// What of a trace is replayed, where and how fast.
#[derive(Debug, Clone)]
pub struct Options {
    /// Recorded ranks to ranks.
    pub mapping: Mapping,
    /// Factor by which time runs faster than recorded.
    pub speed: f64,
    /// First moment, seconds after the trace's first event.
    pub from: Option<f64>,
    /// First moment that is left out.
    pub to: Option<f64>,
    /// Kinds of operation.
    pub operations: Operations,
    /// Recorded ranks; empty: all.
    pub ranks: Vec<u32>,
    /// Parts of recorded names, of which one must occur; empty: all objects.
    pub objects: Vec<String>,
    /// Rewriting of names, the first that fits; if there is any, one must fit.
    pub rules: Vec<Rule>,
    /// Endpoints; what no rule fits goes to the endpoints of the configuration.
    pub endpoints: Vec<EndpointRule>,
    /// The share of the objects whose operations are done; `None`: all.
    pub sample: Option<Share>,
    /// Attempts that failed are made again, but for parts of uploads.
    pub failed: bool,
    /// The spans of the training loop are operations too.
    pub dependent: bool,
    /// Factor for offsets and sizes.
    pub scale: f64,
    /// Objects are written whole, also files that were recorded in pieces.
    pub whole: bool,
    /// Where relative paths begin.
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

    /// Whether a row begins in the chosen part of the trace.
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

    /// Where the replay finds a recorded object.
    ///
    /// # Errors
    /// [`Error::Unmapped`] or [`Error::Address`].
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

    /// Endpoints that rules lead to, each once.
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

    /// Notes which rule a recorded endpoint needs.
    pub(super) fn meet(&self, endpoint: Option<&str>) {
        if let Some(rule) = endpoint.and_then(|endpoint| self.rule(endpoint)) {
            rule.used.set();
        }
    }

    /// The number of the route of a recorded endpoint, from 1; 0: no rule fits.
    pub(super) fn route(&self, endpoint: Option<&str>) -> u16 {
        let rule = endpoint.and_then(|endpoint| self.rule(endpoint));
        let index = rule.and_then(|rule| self.routes().iter().position(|route| *route == rule.to));
        index.and_then(|index| u16::try_from(index + 1).ok()).unwrap_or(0)
    }

    /// A recorded number of bytes at the size of the replay.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes, rounded")]
    pub(super) fn scaled(&self, bytes: u64) -> u64 {
        if (self.scale - 1.0).abs() < f64::EPSILON { bytes } else { (bytes as f64 * self.scale).round() as u64 }
    }

    /// A recorded time span at the speed of the replay.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of nanoseconds")]
    pub(super) fn paced(&self, nanos: i64) -> u64 {
        let nanos = nanos.max(0);
        if (self.speed - 1.0).abs() < f64::EPSILON {
            return nanos.unsigned_abs();
        }
        (nanos as f64 / self.speed).round() as u64
    }
}
