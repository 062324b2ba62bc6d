//! Listing in key order: which keys a page takes, which it folds into a common prefix, where the next one begins.
//!
//! A store walks its keys in order and asks the [`Pager`] about each; the answer tells it how far to skip.

use super::Stat;
use dlio_storage::random::hex;

/// Where a listing begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    Start,
    /// After this key.
    After(String),
    /// After every key with this prefix.
    Past(String),
}

impl From {
    /// Whether `key` lies before the beginning.
    pub(crate) fn skips_key(&self, key: &str) -> bool {
        match self {
            From::Start => false,
            From::After(last) => key <= last.as_str(),
            From::Past(prefix) => key < prefix.as_str() || key.starts_with(prefix.as_str()),
        }
    }

    /// Whether every key that starts with `folder` lies before the beginning.
    pub(crate) fn skips_folder(&self, folder: &str) -> bool {
        match self {
            From::Start => false,
            From::After(last) => folder < last.as_str() && !last.starts_with(folder),
            From::Past(prefix) => {
                folder.starts_with(prefix.as_str()) || (folder < prefix.as_str() && !prefix.starts_with(folder))
            }
        }
    }

    /// The text of a continuation token: opaque to clients, safe in XML and in a query string.
    pub(crate) fn token(&self) -> Option<String> {
        let (kind, text) = match self {
            From::Start => return None,
            From::After(key) => ('k', key),
            From::Past(prefix) => ('p', prefix),
        };
        Some(format!("{kind}{}", hex(text.as_bytes())))
    }

    /// Reads a continuation token back; `None` when it is not one of ours.
    pub(crate) fn parse_token(token: &str) -> Option<Self> {
        let (kind, digits) = token.split_at_checked(1)?;
        if digits.len() % 2 != 0 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let bytes = (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16));
        let text = String::from_utf8(bytes.collect::<Result<_, _>>().ok()?).ok()?;
        match kind {
            "k" => Some(From::After(text)),
            "p" => Some(From::Past(text)),
            _ => None,
        }
    }
}

/// What a client asks of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    pub(crate) from: From,
    /// Objects and common prefixes together.
    pub(crate) limit: usize,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Stat)>,
    pub(crate) prefixes: Vec<String>,
    /// Where the next page begins; `None`: this is the last.
    pub(crate) next: Option<From>,
}

/// What to do with a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It belongs on the page: call [`Pager::take`] with its [`Stat`], unless it has vanished.
    Take,
    /// Go on after all keys with this prefix.
    Skip(String),
    /// The page is complete.
    Stop,
}

/// Fills a page from keys in ascending order.
pub(crate) struct Pager {
    query: Query,
    page: Page,
    last: From,
}

impl Pager {
    pub(crate) fn new(query: Query) -> Self {
        Self { query, page: Page::default(), last: From::Start }
    }

    /// Asks about the next key.
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
        self.last = From::Past(group.clone());
        Step::Skip(group)
    }

    /// Puts a key that was answered with [`Step::Take`] on the page.
    pub(crate) fn take(&mut self, key: String, stat: Stat) {
        self.last = From::After(key.clone());
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
        for from in [From::After("a/é\u{1}".into()), From::Past("x/".into())] {
            assert_eq!(From::parse_token(&from.token().unwrap()), Some(from));
        }
        for foreign in ["", "k0", "kzz", "q61", "é", "kff"] {
            assert_eq!(From::parse_token(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_folder_is_skipped_only_when_all_its_keys_lie_before() {
        let after = From::After("b/m".into());
        assert!(after.skips_folder("a/") && !after.skips_folder("b/") && !after.skips_folder("c/"));
        let past = From::Past("b/".into());
        assert!(past.skips_folder("b/") && past.skips_folder("b/c/") && past.skips_folder("a/"));
        assert!(!past.skips_folder("b0/") && past.skips_key("b/z") && !past.skips_key("b0"));
        assert!(!From::Past("b/c/".into()).skips_folder("b/"));
    }
}
