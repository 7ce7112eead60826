//! What authors say, made fit for one line of the log.

use std::fmt;

/// The longest text that is kept of what an author says, in bytes.
pub(crate) const TEXT_MAX: usize = 512;

/// A text for the log: one line, of at most [`TEXT_MAX`] bytes, whatever an author's error says.
pub(crate) struct Line<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Head<'a, 'b> {
            to: &'a mut fmt::Formatter<'b>,
            room: usize,
            is_cut: bool,
        }
        impl fmt::Write for Head<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for c in text.chars() {
                    let c = if c.is_control() { ' ' } else { c };
                    let Some(room) = self.room.checked_sub(c.len_utf8()) else {
                        // Where this stops the author's text; the log's own errors are returned as such.
                        self.is_cut = true;
                        return Err(fmt::Error);
                    };
                    self.room = room;
                    self.to.write_char(c)?;
                }
                Ok(())
            }
        }
        let mut head = Head {
            to: f,
            room: TEXT_MAX - MORE.len(),
            is_cut: false,
        };
        match fmt::write(&mut head, format_args!("{}", self.0)) {
            Err(_) if head.is_cut => f.write_str(MORE),
            written => written,
        }
    }
}

/// What ends a text that was cut.
const MORE: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_the_log_is_one_line_and_bounded() {
        assert_eq!(Line("no\nlamp\r\n").to_string(), "no lamp  ");
        let cut = Line("é".repeat(10_000)).to_string();
        assert!(cut.len() <= TEXT_MAX && cut.len() > TEXT_MAX - 4);
        assert!(cut.ends_with("é…"), "{cut}");
        let whole = "x".repeat(TEXT_MAX - MORE.len());
        assert_eq!(Line(&whole).to_string(), whole);
    }
}
