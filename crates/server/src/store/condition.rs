//! Preconditions of requests that replace or remove an object.

use std::time::{SystemTime, UNIX_EPOCH};

use super::error::StoreError;
use super::stat::Stat;

/// An entity tag, or a wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagPattern {
    /// `*`.
    Any,
    /// This tag, without quotes.
    Tag(String),
}

impl TagPattern {
    /// Returns whether the object's tag matches.
    pub(crate) fn fits(&self, stat: &Stat) -> bool {
        match self {
            TagPattern::Any => true,
            TagPattern::Tag(tag) => stat.tag.to_string() == *tag,
        }
    }
}

/// Precondition of a write or a delete on the existing object. The default has no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// `If-Match`: the object exists and its tag matches.
    pub(crate) matches: Option<TagPattern>,
    /// `If-None-Match`: the object does not exist, or its tag does not match.
    pub(crate) differs: Option<TagPattern>,
    /// The object was modified in this second.
    pub(crate) modified: Option<SystemTime>,
    /// The object has this size in bytes.
    pub(crate) size: Option<u64>,
}

impl Condition {
    /// Returns whether there is no condition.
    pub(crate) fn is_always(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the only condition is that the object does not exist.
    pub(crate) fn is_absent(&self) -> bool {
        *self == Self { differs: Some(TagPattern::Any), ..Self::default() }
    }

    /// Checks the condition against the existing object.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`] if the condition needs an object and there is none, otherwise
    /// [`StoreError::Condition`].
    pub(crate) fn check(&self, present: Option<&Stat>) -> Result<(), StoreError> {
        let Some(stat) = present else {
            return if self.matches.is_some() { Err(StoreError::NoSuchKey) } else { Ok(()) };
        };
        let second = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let holds = self.matches.as_ref().is_none_or(|pattern| pattern.fits(stat))
            && !self.differs.as_ref().is_some_and(|pattern| pattern.fits(stat))
            && self.modified.is_none_or(|time| second(time) == second(stat.modified))
            && self.size.is_none_or(|size| size == stat.size);
        if holds { Ok(()) } else { Err(StoreError::Condition) }
    }
}

/// A conditional removal of an object. Removing an object that does not exist is no error.
#[derive(Debug, Clone)]
pub(crate) struct Deletion {
    pub(crate) key: String,
    pub(crate) condition: Condition,
}

#[cfg(test)]
impl Deletion {
    /// Removes the object unconditionally.
    pub(crate) fn of(key: String) -> Self {
        Self { key, condition: Condition::default() }
    }
}
