//! Similar names: what somebody who mistyped a command or a flag may have meant.

/// The candidate nearest to `name`, if any is near enough to be worth a hint.
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|it| (distance(name, it), it))
        .filter(|(distance, it)| *distance <= limit && *distance < it.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words (the restricted
/// Damerau–Levenshtein distance: swapped letters are the commonest slip).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let commands = ["run", "rm", "rmi", "start", "inspect", "images"];
        assert_eq!(closest("rnu", commands), Some("run"));
        assert_eq!(closest("strat", commands), Some("start"));
        assert_eq!(closest("imgaes", commands), Some("images"));
        assert_eq!(closest("swarm", commands), None);
    }
}
