//! What a request wants to be true of the object that it replaces or removes.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Fault, Stat};

/// An entity tag, or any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagPattern {
    /// `*`.
    Any,
    /// This tag, without quotes.
    Tag(String),
}

impl TagPattern {
    /// Whether an object has a fitting tag.
    pub(crate) fn fits(&self, stat: &Stat) -> bool {
        match self {
            TagPattern::Any => true,
            TagPattern::Tag(tag) => stat.tag.to_string() == *tag,
        }
    }
}

/// What must hold of the object that a write replaces or a delete removes. The default asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// `If-Match`: it exists and has such a tag.
    pub(crate) matches: Option<TagPattern>,
    /// `If-None-Match`: it does not exist, or has no such tag.
    pub(crate) differs: Option<TagPattern>,
    /// It was modified in this second.
    pub(crate) modified: Option<SystemTime>,
    /// It has so many bytes.
    pub(crate) size: Option<u64>,
}

impl Condition {
    /// Whether nothing is asked for.
    pub(crate) fn is_always(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all that is asked for is that the object does not exist.
    pub(crate) fn is_absent(&self) -> bool {
        *self == Self { differs: Some(TagPattern::Any), ..Self::default() }
    }

    /// Checks the object that is there.
    ///
    /// # Errors
    /// [`Fault::NoSuchKey`] where an object is needed and there is none, else [`Fault::Condition`].
    pub(crate) fn check(&self, present: Option<&Stat>) -> Result<(), Fault> {
        let Some(stat) = present else {
            return if self.matches.is_some() { Err(Fault::NoSuchKey) } else { Ok(()) };
        };
        let second = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let holds = self.matches.as_ref().is_none_or(|pattern| pattern.fits(stat))
            && !self.differs.as_ref().is_some_and(|pattern| pattern.fits(stat))
            && self.modified.is_none_or(|time| second(time) == second(stat.modified))
            && self.size.is_none_or(|size| size == stat.size);
        if holds { Ok(()) } else { Err(Fault::Condition) }
    }
}

/// An object to remove, if it is as expected. One that does not exist is no error.
#[derive(Debug, Clone)]
pub(crate) struct Deletion {
    pub(crate) key: String,
    pub(crate) condition: Condition,
}

#[cfg(test)]
impl Deletion {
    /// Removes the object whatever it is.
    pub(crate) fn of(key: String) -> Self {
        Self { key, condition: Condition::default() }
    }
}
