//! Columns: lines of cells, aligned.
//!
//! Docker's client aligns with cells of at least ten characters and three spaces between them; so
//! do we. A line's last cell is not padded.

/// The least width of a column, the space after it included.
const LEAST: usize = 10;
/// The space between columns.
const GAP: usize = 3;

/// Aligns lines whose cells are separated by tabs.
pub(crate) fn align(lines: &[String]) -> String {
    align_to(lines, LEAST)
}

/// The same with columns of at least `least` characters.
pub(crate) fn align_to(lines: &[String], least: usize) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|it| it.split('\t').collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (index, cell) in row.iter().enumerate().take(row.len() - 1) {
            let width = (cell.chars().count() + GAP).max(least);
            match widths.get_mut(index) {
                Some(it) => *it = width.max(*it),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if index + 1 < row.len() {
                let pad = widths[index] - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.push('\n');
    }
    text
}

/// Shortens `text` to `room` characters, the last of which is an ellipsis if anything is lost.
pub(crate) fn ellipsis(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned_as_dockers_are() {
        let lines = ["REPOSITORY\tTAG\tSIZE".to_owned(), "bb\tlatest\t1.98MB".to_owned()];
        assert_eq!(align(&lines), "REPOSITORY   TAG       SIZE\nbb           latest    1.98MB\n");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(ellipsis("abcdef", 4), "abc…");
        assert_eq!(ellipsis("abcd", 4), "abcd");
    }
}
