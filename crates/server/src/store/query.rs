//! Listings in key order: selects the keys of a page, folds keys into common prefixes, and computes where the next
//! page begins.
//!
//! A store iterates over its keys in order and passes each to the [`Pager`], whose answer says how far to skip.

use super::stat::Stat;
use dlio_storage::random::hex;

/// Start of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListStart {
    Start,
    /// After this key.
    After(String),
    /// After all keys with this prefix.
    Past(String),
}

impl ListStart {
    /// Returns whether `key` lies before the start.
    pub(crate) fn skips_key(&self, key: &str) -> bool {
        match self {
            ListStart::Start => false,
            ListStart::After(last) => key <= last.as_str(),
            ListStart::Past(prefix) => key < prefix.as_str() || key.starts_with(prefix.as_str()),
        }
    }

    /// Returns whether all keys with the prefix `folder` lie before the start.
    pub(crate) fn skips_folder(&self, folder: &str) -> bool {
        match self {
            ListStart::Start => false,
            ListStart::After(last) => folder < last.as_str() && !last.starts_with(folder),
            ListStart::Past(prefix) => {
                folder.starts_with(prefix.as_str()) || (folder < prefix.as_str() && !prefix.starts_with(folder))
            }
        }
    }

    /// Returns the continuation token: opaque to clients, safe in XML and in a query string.
    pub(crate) fn token(&self) -> Option<String> {
        let (kind, text) = match self {
            ListStart::Start => return None,
            ListStart::After(key) => ('k', key),
            ListStart::Past(prefix) => ('p', prefix),
        };
        Some(format!("{kind}{}", hex(text.as_bytes())))
    }

    /// Parses a continuation token; `None` if this server did not create it.
    pub(crate) fn parse_token(token: &str) -> Option<Self> {
        let (kind, digits) = token.split_at_checked(1)?;
        if digits.len() % 2 != 0 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let bytes = (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16));
        let text = String::from_utf8(bytes.collect::<Result<_, _>>().ok()?).ok()?;
        match kind {
            "k" => Some(ListStart::After(text)),
            "p" => Some(ListStart::Past(text)),
            _ => None,
        }
    }
}

/// A request for a page of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    pub(crate) from: ListStart,
    /// Most objects and common prefixes on the page, counted together.
    pub(crate) limit: usize,
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Stat)>,
    pub(crate) prefixes: Vec<String>,
    /// Start of the next page; `None`: this is the last page.
    pub(crate) next: Option<ListStart>,
}

/// The next action of a store that iterates over its keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Adds it to the page with [`Pager::take`] and its [`Stat`], unless the object has vanished.
    Take,
    /// Skips all keys with this prefix.
    Skip(String),
    /// Stops, because the page is complete.
    Stop,
}

/// Fills a page from keys in ascending order.
pub(crate) struct Pager {
    query: Query,
    page: Page,
    last: ListStart,
}

impl Pager {
    pub(crate) fn new(query: Query) -> Self {
        Self { query, page: Page::default(), last: ListStart::Start }
    }

    /// Decides about the next key.
    pub(crate) fn offer(&mut self, key: &str) -> Step {
        let Some(rest) = key.strip_prefix(self.query.prefix.as_str()) else { return Step::Stop };
        if self.page.objects.len() + self.page.prefixes.len() >= self.query.limit {
            if self.query.limit > 0 {
                self.page.next = Some(self.last.clone());
            }
            return Step::Stop;
        }
        let delimiter = self.query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let Some((position, delimiter)) = delimiter.and_then(|text| rest.find(text).map(|at| (at, text))) else {
            return Step::Take;
        };
        let group = key[..self.query.prefix.len() + position + delimiter.len()].to_owned();
        self.page.prefixes.push(group.clone());
        self.last = ListStart::Past(group.clone());
        Step::Skip(group)
    }

    /// Adds a key to the page for which the answer was [`Step::Take`].
    pub(crate) fn take(&mut self, key: String, stat: Stat) {
        self.last = ListStart::After(key.clone());
        self.page.objects.push((key, stat));
    }

    pub(crate) fn finish(self) -> Page {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_a_foreign_one_does_not() {
        for from in [ListStart::After("a/é\u{1}".into()), ListStart::Past("x/".into())] {
            assert_eq!(ListStart::parse_token(&from.token().unwrap()), Some(from));
        }
        for foreign in ["", "k0", "kzz", "q61", "é", "kff"] {
            assert_eq!(ListStart::parse_token(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_folder_is_skipped_only_when_all_its_keys_lie_before() {
        let after = ListStart::After("b/m".into());
        assert!(after.skips_folder("a/") && !after.skips_folder("b/") && !after.skips_folder("c/"));
        let past = ListStart::Past("b/".into());
        assert!(past.skips_folder("b/") && past.skips_folder("b/c/") && past.skips_folder("a/"));
        assert!(!past.skips_folder("b0/") && past.skips_key("b/z") && !past.skips_key("b0"));
        assert!(!ListStart::Past("b/c/".into()).skips_folder("b/"));
    }
}
