//! A token that is kept, in place if it is short.

/// As long as `Long` lets it be without being larger.
const SHORT: usize = 22;

/// One token. Most are short: then who looks at its node need not fetch it from elsewhere.
#[derive(Clone)]
pub(super) enum Token {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl Token {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                let len = text.len() as u8;
                Token::Short { len, bytes }
            }
            None => Token::Long(text.into()),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Token::Short { len, bytes } => &bytes[..usize::from(*len)],
            Token::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_it_was_made_of_and_takes_three_words() {
        for len in 0..40 {
            let text = vec![b'x'; len];
            assert_eq!(Token::of(&text).as_bytes(), text);
        }
        assert_eq!(size_of::<Token>(), 24);
    }
}
