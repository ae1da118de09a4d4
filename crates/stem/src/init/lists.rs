//! Texts that hold several values: `Drama|War`.

use std::collections::HashSet;

use super::facts::Facts;

/// Longer lists are cut.
const LONGEST: usize = 50;

/// What a column of lists written as texts looks like.
pub(super) struct List {
    pub(super) separator: &'static str,
    /// Different values.
    pub(super) different: usize,
    pub(super) longest: usize,
    pub(super) max_len: usize,
}

/// Whether the texts are lists of values that occur again and again: fewer different values than different texts.
pub(super) fn list_of(facts: &Facts) -> Option<List> {
    let texts = facts.texts()?;
    let found = ["|", ";", ",", " "].into_iter().filter_map(|separator| {
        let (mut pieces, mut lengths, mut lists, mut all) = (HashSet::new(), Vec::new(), 0, 0);
        for (text, &rows) in texts.iter().zip(&facts.counts) {
            let parts: Vec<&str> = text.split(separator).filter(|part| !part.is_empty()).collect();
            lists += usize::from(parts.len() > 1);
            all += parts.len();
            lengths.push((parts.len() as u32, rows));
            pieces.extend(parts);
        }
        let odd = |piece: &&str| {
            let prose = separator == " " && piece.parse::<i64>().is_err();
            let range = separator == "," && piece.contains(['[', ']', '(', ')']);
            prose || range || piece.chars().count() > 40 || piece.starts_with(' ')
        };
        let repeats = all >= 2 * pieces.len() && pieces.len() < texts.len();
        if lists < 2 || 10 * lists < texts.len() || !repeats || pieces.iter().any(odd) {
            return None;
        }
        let lengths: Vec<u32> =
            lengths.iter().flat_map(|&(length, rows)| std::iter::repeat_n(length, rows as usize)).collect();
        let (max_len, longest) = max_len(&lengths)?;
        Some(List { separator, different: pieces.len(), longest, max_len })
    });
    found.min_by_key(|list| list.different)
}

/// Slots for lists of these lengths, and the longest length: all values where lists are short, and those of 95 % of the lists
/// otherwise. `None` where all are empty.
pub(super) fn max_len(lengths: &[u32]) -> Option<(usize, usize)> {
    let mut lengths: Vec<u32> = lengths.iter().copied().filter(|&length| length > 0).collect();
    lengths.sort_unstable();
    let longest = *lengths.last()? as usize;
    let most = lengths[(lengths.len() - 1) * 95 / 100] as usize;
    Some((if longest <= 20 { longest } else { most.min(LONGEST) }, longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lists_are_kept_whole_and_long_ones_cut() {
        assert_eq!(max_len(&[0, 1, 3, 2]), Some((3, 3)));
        let mut lengths = vec![10; 99];
        lengths.push(400);
        assert_eq!(max_len(&lengths), Some((10, 400)));
        assert_eq!(max_len(&[100; 5]), Some((50, 100)));
        assert_eq!(max_len(&[0, 0]), None);
    }
}
