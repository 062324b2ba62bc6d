//! What of a trace is replayed, where and how fast.

use super::{Address, Error, Recorded, ReplayKind, address};

/// When operations are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// At the recorded moments.
    Open,
    /// In the order of each lane, with the recorded pauses between completion and next start.
    Closed,
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

/// A rewriting of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// How the recorded name begins.
    pub from: String,
    /// What stands there instead.
    pub to: String,
}

impl Rule {
    /// Reads `FROM=TO`.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (from, to) = text
            .split_once('=')
            .filter(|(_, to)| !to.is_empty())
            .ok_or_else(|| Error::Option(format!("--map {text}: expected FROM=TO, two beginnings of names")))?;
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }
}

/// Which kinds of operation: all if none is named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operations(Vec<String>);

impl Operations {
    /// Reads `read`, `write`, `stat`, `list`, `delete`.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn parse(words: &[String]) -> Result<Self, Error> {
        match words.iter().find(|word| !ReplayKind::ALL.iter().any(|kind| kind.name() == *word)) {
            Some(word) => {
                let known = ReplayKind::ALL.map(ReplayKind::name).join(", ");
                Err(Error::Option(format!("--op {word}: expected one of {known}")))
            }
            None => Ok(Self(words.to_vec())),
        }
    }

    fn contains(&self, kind: ReplayKind) -> bool {
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
    /// Factor for offsets and sizes.
    pub scale: f64,
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

    pub(super) fn admits(&self, kind: ReplayKind, row: &Recorded, began: i64) -> bool {
        let seconds = row.start.saturating_sub(began) as f64 / 1e9;
        let objects = &self.objects;
        self.operations.contains(kind)
            && self.from.is_none_or(|from| seconds >= from)
            && self.to.is_none_or(|to| seconds < to)
            && (objects.is_empty() || objects.iter().any(|part| row.uri.contains(part.as_str())))
    }

    /// Where the replay finds a recorded object.
    ///
    /// # Errors
    /// [`Error::Unmapped`] or [`Error::Address`].
    pub fn target(&self, uri: &str) -> Result<Address, Error> {
        if self.rules.is_empty() {
            return address(uri, &self.folder);
        }
        let rewritten = self.rules.iter().find_map(|rule| Some((rule, uri.strip_prefix(rule.from.as_str())?)));
        if let Some((rule, rest)) = rewritten {
            return address(&format!("{}{rest}", rule.to), &self.folder);
        }
        let from: Vec<&str> = self.rules.iter().map(|rule| rule.from.as_str()).collect();
        Err(Error::Unmapped { uri: uri.to_owned(), from: from.join(", ") })
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
