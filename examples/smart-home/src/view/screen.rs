//! The terminal: taken over, drawn on, and given back whatever happens.

use std::io::{self, IsTerminal, Stdout};
use std::panic;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::{Buffer, Cell};
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};

use super::{Scene, draw};

/// Each so many frames the whole picture is painted, not just what has changed.
///
/// The terminal is not in raw mode, so that Ctrl-C stays a signal. The price is
/// that it echoes keys into the picture, and others may write to standard error.
const REPAINT_EACH: u64 = 8;

/// The thread whose screen is open.
static OWNER: Mutex<Option<ThreadId>> = Mutex::new(None);

/// The terminal while the view has it; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    frames: u64,
}

impl Screen {
    /// Takes over the terminal.
    ///
    /// A panic of the thread that called this gives the terminal back before
    /// it is reported. Other threads' panics do not: those of actors are their
    /// supervisor's affair, and the view goes on.
    ///
    /// # Errors
    ///
    /// When standard output is not a terminal, or cannot be written to.
    pub(crate) fn open() -> io::Result<Self> {
        if !io::stdout().is_terminal() {
            return Err(io::Error::other("standard output is not a terminal"));
        }
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let owner = *OWNER.lock().unwrap_or_else(PoisonError::into_inner);
                if owner == Some(thread::current().id()) {
                    give_back();
                }
                before(info);
            }));
        });
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        *OWNER.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
        // From here on, dropping it puts things right should the next step fail.
        let screen = Screen {
            terminal,
            frames: 0,
        };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Shows the scene at whatever size the terminal has now.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be written to.
    pub(crate) fn draw(&mut self, scene: &Scene) -> io::Result<()> {
        let shown = self.terminal.draw(|frame| draw(frame, scene))?;
        if self.frames.is_multiple_of(REPAINT_EACH) {
            let picture = shown.buffer.clone();
            repaint(self.terminal.backend_mut(), &picture)?;
        }
        self.frames += 1;
        // Where an echoed line end cannot scroll the picture.
        self.terminal.set_cursor_position((0, 0))?;
        Backend::flush(self.terminal.backend_mut())
    }
}

/// Paints every cell, whatever the terminal shows there.
fn repaint<B: Backend>(backend: &mut B, picture: &Buffer) -> Result<(), B::Error> {
    // Compared with a picture that has no cell in common with it, all of it is new. The
    // character is one for private use, of one column, that nobody's text has.
    let other = Buffer::filled(picture.area, Cell::new("\u{f8ff}"));
    backend.draw(other.diff(picture).into_iter())
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Leaves the terminal as it was found; does nothing the second time.
fn give_back() {
    let owner = OWNER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if owner.is_some() {
        // There is nobody left to tell if it fails.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn a_repaint_heals_what_others_have_written_into_the_picture() {
        let picture = Buffer::with_lines(["a 客厅 b", "", "  ● c  "]);
        // Blank where the second halves of wide characters are: the test backend keeps those.
        let mut backend = TestBackend::with_lines(["^C^ [ A ", "aaaaaaaa", "        "]);
        repaint(&mut backend, &picture).unwrap();
        backend.assert_buffer(&picture);
    }
}
