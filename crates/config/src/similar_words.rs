//! Suggestions for misspelled words ("did you mean …?").

/// Returns the number of edits (insertions, deletions, replacements, swapped neighbors) from one word to another.
pub(crate) fn distance(from: &str, to: &str) -> usize {
    strsim::osa_distance(from, to)
}

/// Returns the maximum number of edits for a suggestion; 0 if the word is too long for one.
pub(crate) fn near_enough(word: &str) -> usize {
    const LONGEST: usize = 100;
    if word.len() > LONGEST { 0 } else { (word.chars().count() / 3).clamp(1, 4) }
}

/// Returns the most similar of some words, if one is similar enough.
#[must_use]
pub fn word<'a>(found: &str, words: &[&'a str]) -> Option<&'a str> {
    let most = near_enough(found);
    if most == 0 {
        return None;
    }
    let found = found.to_lowercase();
    words.iter().map(|word| (distance(&found, word), *word)).filter(|&(d, _)| d <= most).min().map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("npz", "npz"), 0);
        assert_eq!(distance("pytroch", "pytorch"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
