//! The rules of patterns, one by one and against a matcher that knows nothing but the rules.

use super::{Pattern, PatternError};

/// A pattern and a subject, token by token.
pub(super) fn naive(pattern: &str, subject: &str) -> bool {
    fn go(pattern: &[&str], subject: &[&str]) -> bool {
        match (pattern, subject) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            ([p, pattern @ ..], [s, subject @ ..]) => (*p == "*" || p == s) && go(pattern, subject),
            _ => false,
        }
    }
    let tokens: Vec<&str> = subject.split('.').collect();
    !tokens.contains(&"") && go(&pattern.split('.').collect::<Vec<_>>(), &tokens)
}

/// Numbers that a seed decides: `SEED`, or 1.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
        println!("SEED={seed}");
        Dice(seed)
    }

    /// One of `n`.
    pub(super) fn roll(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n as u64) as usize
    }

    fn token(&mut self) -> &'static str {
        [
            "a",
            "b",
            "ab",
            "A",
            "küche",
            "as-long-as-no-token-should-be",
        ][self.roll(6)]
    }

    /// Of few tokens as a rule, and now and then of as many as there may be.
    pub(super) fn pattern(&mut self) -> String {
        let len = match self.roll(50) {
            0 => Pattern::TOKENS_MAX - self.roll(2),
            _ => 1 + self.roll(5),
        };
        let mut tokens: Vec<&str> = (0..len)
            .map(|_| match self.roll(3) {
                0 => "*",
                _ => self.token(),
            })
            .collect();
        if self.roll(3) == 0 {
            tokens[len - 1] = ">";
        }
        tokens.join(".")
    }

    /// One that matches the pattern, but for what may have been done to it.
    pub(super) fn subject(&mut self, pattern: &str) -> String {
        let mut tokens: Vec<&str> = Vec::new();
        for token in pattern.split('.') {
            let repeat = if token == ">" { 1 + self.roll(3) } else { 1 };
            for _ in 0..repeat {
                let is_literal = token != ">" && token != "*";
                tokens.push(if is_literal { token } else { self.token() });
            }
        }
        let at = self.roll(tokens.len());
        match self.roll(10) {
            0 => tokens[at] = "",
            1 => tokens[at] = "*",
            2 => tokens[at] = ">",
            3 => tokens[at] = self.token(),
            4 => {
                tokens.remove(at);
            }
            5 => tokens.insert(at, self.token()),
            _ => {}
        }
        tokens.join(".")
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

#[test]
fn a_hundred_thousand_random_pairs_are_as_the_rules_say() {
    let mut dice = Dice::new();
    let mut matched = 0;
    for _ in 0..100_000 {
        let text = dice.pattern();
        let subject = dice.subject(&text);
        let expected = naive(&text, &subject);
        let found = pattern(&text).matches(&subject);
        assert_eq!(found, expected, "{text} {subject:?}");
        matched += usize::from(found);
    }
    assert!((40_000..90_000).contains(&matched), "{matched} matched");
}

#[test]
fn a_wildcard_is_one_token_and_the_last_one_is_all_that_follow() {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("a.b", &["a.b"], &["a", "a.B", "a.b.c", "b.a", "a.*", "a.>"]),
        ("a.*", &["a.b", "a.*", "a.>"], &["a", "a.b.c", "b.b"]),
        ("*.*", &["a.b"], &["a", "a.b.c"]),
        ("a.>", &["a.b", "a.b.c", "a.>"], &["a", "b.a"]),
        (">", &["a", "a.b", "living room"], &[]),
        ("*.b.>", &["a.b.c", "a.b.c.d"], &["a.b", "a.c.b"]),
    ];
    for (text, yes, no) in cases {
        for subject in yes {
            assert!(pattern(text).matches(subject), "{text} {subject}");
        }
        for subject in no {
            assert!(!pattern(text).matches(subject), "{text} {subject}");
        }
    }
}

#[test]
fn a_subject_with_an_empty_token_matches_nothing() {
    for subject in ["", ".", ".a", "a.", "a..b", "a.b..", "a.b.c.d."] {
        for text in [">", "*", "*.*", "a.>", "a.*.b", "*.*.*", "a.b.>"] {
            assert!(!pattern(text).matches(subject), "{text} {subject}");
        }
    }
    // Also far behind the last token that a pattern can name.
    let long = ["a"; 10_000].join(".");
    assert!(pattern(">").matches(&long));
    assert!(!pattern(">").matches(&format!("{long}.")));
    assert!(!pattern(">").matches(&format!("{long}..a")));
}

#[test]
fn a_subject_may_have_more_tokens_than_a_pattern() {
    let most = Pattern::TOKENS_MAX;
    let subject = |tokens| vec!["a"; tokens].join(".");
    let stars = pattern(&vec!["*"; most].join("."));
    let rest = pattern(&format!("{}.>", vec!["*"; most - 1].join(".")));
    for (tokens, exact, open) in [
        (most - 1, false, false),
        (most, true, true),
        (most + 1, false, true),
        (10_000, false, true),
    ] {
        assert_eq!(stars.matches(&subject(tokens)), exact, "{tokens}");
        assert_eq!(rest.matches(&subject(tokens)), open, "{tokens}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_the_place_and_what_to_do() {
    use PatternError::*;
    let parse = |text: &str| Pattern::parse(text).unwrap_err();
    let said = |text: &str| parse(text).to_string();
    assert_eq!(parse(""), Empty);
    for (text, at) in [(".", 0), (".a", 0), ("a.", 2), ("a..b", 2), ("é.*..", 5)] {
        let pattern = text.to_owned();
        assert_eq!(parse(text), EmptyToken { pattern, at });
    }
    for (text, at) in [
        ("a b", 1),
        (" ", 0),
        ("a.\tb", 2),
        ("é\u{a0}", 2),
        ("a\0", 1),
    ] {
        let pattern = text.to_owned();
        assert_eq!(parse(text), WhiteSpace { pattern, at });
    }
    for (text, at) in [("kit*", 3), ("a.**", 2), ("a.>>", 2), ("a.b>.c", 3)] {
        let pattern = text.to_owned();
        assert_eq!(parse(text), PartOfToken { pattern, at });
    }
    for (text, at) in [(">.a", 0), ("a.>.b", 2), ("a.>.>", 2), ("a.>.", 2)] {
        let pattern = text.to_owned();
        assert_eq!(parse(text), RestNotLast { pattern, at });
    }
    let long = vec!["a"; Pattern::TOKENS_MAX + 1].join(".");
    let error = TooManyTokens {
        pattern: long.clone(),
        tokens: 33,
    };
    assert_eq!(parse(&long), error);
    let bytes = Pattern::BYTES_MAX + 1;
    assert_eq!(parse(&"a".repeat(bytes)), TooLong { bytes });
    assert!(Pattern::parse(&"a".repeat(bytes - 1)).is_ok());

    assert_eq!(
        said("home..temperature"),
        "the pattern \"home..temperature\" has no token at byte 5: write one there, or take a dot away"
    );
    for (text, what) in [
        ("", "`>` matches every subject"),
        ("a b", "take it out"),
        ("kit*", "one whole token"),
        ("a.>.b", "end it there"),
        (&long, "33 tokens and 32 is the most"),
        (&"a".repeat(2_000), "2000 bytes is too long and 1024"),
    ] {
        assert!(said(text).contains(what), "{}", said(text));
    }
}

#[test]
fn a_pattern_is_shown_as_it_was_written() {
    let pattern: Pattern = "home.*.>".parse().unwrap();
    assert_eq!(
        (pattern.as_str(), pattern.to_string().as_str()),
        ("home.*.>", "home.*.>")
    );
}
