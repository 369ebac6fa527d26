//! What a misspelt word probably meant.

/// The candidate closest to `word`, ignoring case, if it is close enough to be worth proposing: at most two edits,
/// and fewer than the word has characters. The first of equally close candidates wins.
///
/// ```
/// use lifecycle_diagnostics::nearest;
///
/// assert_eq!(nearest("COPPY", ["ADD", "COPY"]), Some("COPY"));
/// assert_eq!(nearest("frobnicate", ["ADD", "COPY"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MOST_EDITS: usize = 2;
    let word: Vec<char> = word.to_lowercase().chars().collect();
    candidates
        .into_iter()
        // Lengths alone rule most candidates out, and keep a megabyte of "word" from costing more than one look.
        .filter(|candidate| word.len().abs_diff(candidate.chars().count()) <= MOST_EDITS)
        .map(|candidate| (edits(&word, &candidate.to_lowercase()), candidate))
        .filter(|&(edits, _)| edits <= MOST_EDITS && edits < word.len())
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn edits(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (index, wanted) in to.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, &given) in from.iter().enumerate() {
            let substitution = diagonal + usize::from(given != wanted);
            diagonal = row[column + 1];
            row[column + 1] = substitution.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("copy", "cpoy", 2),
            ("x", "x", 0),
        ] {
            assert_eq!(
                edits(&from.chars().collect::<Vec<_>>(), to),
                expected,
                "{from} {to}"
            );
        }
    }

    #[test]
    fn a_short_word_is_not_rewritten_whole() {
        assert_eq!(nearest("xy", ["ab"]), None);
        assert_eq!(nearest("", ["ab"]), None);
    }

    #[test]
    fn closest_wins_and_case_is_ignored() {
        assert_eq!(nearest("chmd", ["chown", "chmod"]), Some("chmod"));
        assert_eq!(nearest("run", ["RUM", "RUN"]), Some("RUN"));
    }
}
