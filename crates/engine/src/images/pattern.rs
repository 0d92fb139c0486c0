//! Patterns for names, as Go's `path.Match` has them: `*` and `?` do not match a slash, `[a-z]`
//! and `[^a-z]` are classes, a backslash takes the next character as it is.

/// Whether the whole `text` matches; nothing if the pattern is malformed.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    let tokens = parse(pattern)?;
    Some(matches_all(&tokens, text))
}

enum Token {
    Any,
    One,
    Exactly(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

fn parse(pattern: &str) -> Option<Vec<Token>> {
    let mut characters = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Exactly(characters.next()?),
            '[' => class(&mut characters)?,
            other => Token::Exactly(other),
        });
    }
    Some(tokens)
}

fn class(characters: &mut std::str::Chars<'_>) -> Option<Token> {
    let mut ranges = Vec::new();
    let mut next = characters.next()?;
    let negated = next == '^';
    if negated {
        next = characters.next()?;
    }
    loop {
        if next == ']' && !ranges.is_empty() {
            return Some(Token::Class { negated, ranges });
        }
        let low = literal(next, characters)?;
        next = characters.next()?;
        let mut high = low;
        if next == '-' {
            let end = characters.next()?;
            high = literal(end, characters)?;
            next = characters.next()?;
        }
        ranges.push((low, high));
    }
}

fn literal(character: char, characters: &mut std::str::Chars<'_>) -> Option<char> {
    match character {
        '\\' => characters.next(),
        '-' | ']' => None,
        other => Some(other),
    }
}

/// Greedy with one point of return, so that no pattern takes exponential time.
fn matches_all(tokens: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() || token < tokens.len() {
        let is_matched = match tokens.get(token) {
            Some(Token::Any) => {
                star = Some((token, at));
                token += 1;
                continue;
            }
            Some(other) => text.get(at).is_some_and(|it| matches_one(other, *it)),
            None => false,
        };
        if is_matched {
            token += 1;
            at += 1;
            continue;
        }
        match star {
            Some((star_token, star_at)) if text.get(star_at).is_some_and(|it| *it != '/') => {
                star = Some((star_token, star_at + 1));
                (token, at) = (star_token + 1, star_at + 1);
            }
            _ => return false,
        }
    }
    true
}

fn matches_one(token: &Token, character: char) -> bool {
    match token {
        Token::Any => false,
        Token::One => character != '/',
        Token::Exactly(exactly) => *exactly == character,
        Token::Class { negated, ranges } => {
            let is_in = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
            is_in != *negated && character != '/'
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_go() {
        let cases = [
            ("busybox", "busybox", Some(true)),
            ("busy*", "busybox:latest", Some(true)),
            ("*box", "busybox:latest", Some(false)),
            ("*", "a/b", Some(false)),
            ("*/*", "a/b", Some(true)),
            ("a?c", "abc", Some(true)),
            ("a?c", "a/c", Some(false)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("\\*", "*", Some(true)),
            ("[", "a", None),
            ("[]", "a", None),
            ("a\\", "a", None),
            ("*a*b*c", "xaybzc", Some(true)),
            ("", "", Some(true)),
            ("", "a", Some(false)),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = "*a".repeat(3000);
        assert_eq!(matches(&pattern, &"a".repeat(4000).replace("aaa", "aab")), Some(false));
    }
}
