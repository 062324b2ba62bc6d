//! Warnings about an import: gaps that the sources report themselves, and gaps between sources.

use std::path::Path;

use dlio_event::Nanos;

/// Maximum number of warnings that are kept; further ones are counted.
const WARNINGS_MAX: usize = 20;
/// Maximum number of sources whose times are kept.
const SOURCES_MAX: usize = 1 << 16;
/// Time without operations from which on two sources are probably not parts of one run, nanoseconds.
const GAP: Nanos = 3_600_000_000_000;
/// Times below this value, which is in 1973, are relative to the start of the source.
const EARLIEST_UNIX_NS: Nanos = 100_000_000_000_000_000;

/// A source and the time range of its operations.
#[derive(Debug, Clone)]
struct Extent {
    source: String,
    first: Nanos,
    last: Nanos,
}

/// Warnings about all sources.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    texts: Vec<String>,
    others: u64,
    extents: Vec<Extent>,
}

impl Warnings {
    /// Adds a warning unless it is known.
    pub(super) fn add(&mut self, text: String) {
        if self.texts.contains(&text) {
            return;
        }
        if self.texts.len() < WARNINGS_MAX { self.texts.push(text) } else { self.others += 1 }
    }

    /// Sets the source of the following operations.
    pub(super) fn source(&mut self, path: &Path) {
        if self.extents.last().is_some_and(|extent| extent.first == Nanos::MAX) {
            self.extents.pop();
        }
        if self.extents.len() < SOURCES_MAX {
            self.extents.push(Extent { source: path.display().to_string(), first: Nanos::MAX, last: 0 });
        }
    }

    /// Extends the time range of the current source.
    pub(super) fn seen(&mut self, start: Nanos, end: Nanos) {
        if let Some(extent) = self.extents.last_mut() {
            (extent.first, extent.last) = (extent.first.min(start), extent.last.max(end));
        }
    }

    /// Returns all warnings, those about gaps first.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.extents.retain(|extent| extent.first < Nanos::MAX);
        self.extents.sort_by_key(|extent| extent.first);
        let mut all: Vec<String> = self.gaps();
        all.append(&mut self.texts);
        if self.others > 0 {
            all.push(format!("{} further warnings of the sources", self.others));
        }
        all
    }

    /// Finds gaps of hours between sources, which are probably not of one run.
    fn gaps(&self) -> Vec<String> {
        let mut gaps: Vec<String> = Vec::new();
        let mut extents = self.extents.iter();
        let Some(mut latest) = extents.next() else { return gaps };
        let mut found = 0;
        for next in extents {
            let gap = next.first.saturating_sub(latest.last);
            if gap >= GAP {
                found += 1;
                if gaps.is_empty() {
                    gaps.push(gap_text(latest, next, gap));
                }
            }
            if next.last > latest.last {
                latest = next;
            }
        }
        if found > 1 {
            gaps.push(format!("{} further gaps of an hour or more lie between other sources", found - 1));
        }
        gaps
    }
}

fn gap_text(before: &Extent, after: &Extent, gap: Nanos) -> String {
    let advice = "they are analyzed and replayed as one run; if they are not, import each with an --out of its own";
    if before.first < EARLIEST_UNIX_NS && after.first >= EARLIEST_UNIX_NS {
        return format!(
            "the times of {} count from its start and those of {} from 1970, so neither is before the other: {advice}",
            before.source, after.source
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "hours for people")]
    let hours = gap as f64 / 3.6e12;
    format!("{hours:.1} hours lie between the end of {} and the start of {}: {advice}", before.source, after.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Nanos = GAP;

    fn warnings(sources: &[(&str, Nanos, Nanos)]) -> Vec<String> {
        let mut warnings = Warnings::default();
        for (name, first, last) in sources {
            warnings.source(Path::new(name));
            warnings.seen(*first, *first);
            warnings.seen(*last, *last);
        }
        warnings.source(Path::new("empty"));
        warnings.finish()
    }

    #[test]
    fn hours_between_sources_are_reported_unless_the_sources_overlap() {
        let day = 20_000 * 24 * HOUR;
        assert_eq!(warnings(&[("a", day, day + 50 * HOUR), ("b", day + HOUR, day + 2 * HOUR)]), Vec::<String>::new());
        let told = warnings(&[("b", day + 23 * HOUR + HOUR / 2, day + 24 * HOUR), ("a", day, day + HOUR)]);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("22.5 hours lie between the end of a and the start of b"), "{told:?}");
        let told = warnings(&[("a", 5, 6), ("b", day, day), ("c", day + 2 * HOUR, day + 2 * HOUR)]);
        assert!(told[0].contains("count from its start") && told[1].starts_with("1 further gap"), "{told:?}");
    }

    #[test]
    fn a_warning_is_kept_once_and_further_ones_are_counted() {
        let mut warnings = Warnings::default();
        for number in 0..2 * WARNINGS_MAX + 5 {
            warnings.add(format!("remark {}", number.min(WARNINGS_MAX + 1)));
        }
        let told = warnings.finish();
        assert_eq!((told.len(), told[0].as_str()), (WARNINGS_MAX + 1, "remark 0"));
    }
}
