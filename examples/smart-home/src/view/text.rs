//! Numbers, times and bars in very little room.

use std::time::Duration;

use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Span;

/// Returns a count in at most five characters: `9999`, `12.3k`, `456k`, `7.8M`.
pub(super) fn short(count: u64) -> String {
    const UNITS: [char; 6] = ['k', 'M', 'G', 'T', 'P', 'E'];
    if count < 10_000 {
        return count.to_string();
    }
    // Tenths in whole numbers, cut off and not rounded: 999,999 must not become `1000k`.
    let (mut tenths, mut unit) = (count / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1000, unit + 1);
    }
    let unit = UNITS[unit];
    if tenths < 1000 {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    } else {
        format!("{}{unit}", tenths / 10)
    }
}

/// Returns an age in at most five characters; nothing for zero, so that what is at rest looks so.
pub(super) fn age(age: Duration) -> String {
    let (millis, seconds) = (age.as_millis(), age.as_secs());
    match seconds {
        0 if age.is_zero() => String::new(),
        0 if millis == 0 => "<1ms".to_owned(),
        0 => format!("{millis}ms"),
        1..10 => format!("{seconds}.{}s", millis / 100 % 10),
        10..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds / 60),
        6_000..360_000 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", (seconds / 86_400).min(9_999)),
    }
}

/// Returns how fast home time passes: `x60`, or `full speed` where nothing holds it back.
pub(super) fn speed(speed: f64) -> String {
    if speed.is_finite() && speed > 0.0 {
        // At most two decimals, and none that are zero.
        format!("x{}", (speed * 100.0).round() / 100.0)
    } else {
        "full speed".to_owned()
    }
}

/// Cuts `text` to `width` columns, with an ellipsis in place of what is left out.
pub(super) fn fit(text: &str, width: usize) -> String {
    let text = clean(text);
    if Span::raw(&text).width() <= width {
        return text;
    }
    let mut kept = String::new();
    for char in text.chars() {
        kept.push(char);
        if Span::raw(&kept).width() >= width {
            kept.pop();
            break;
        }
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// Makes one line of `text`: what devices and errors say may hold escape codes and line ends.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

/// A line of `width` columns, of which the part `share` (0 to 1) is heavy.
pub(super) fn bar(share: f64, width: u16, color: Color) -> Vec<Span<'static>> {
    let width = usize::from(width);
    // Whatever is not nothing shows, and only what is full looks full.
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let filled = match (share * width as f64).floor() as usize {
        0 if share > 0.0 => 1.min(width),
        filled => filled.min(width),
    };
    vec![
        Span::styled("━".repeat(filled), Style::new().fg(color)),
        "─".repeat(width - filled).dim(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_five_characters_at_most() {
        for (count, expected) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (99_999, "99.9k"),
            (999_999, "999k"),
            (1_000_000, "1.0M"),
            (12_345_678, "12.3M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short(count), expected);
        }
    }

    #[test]
    fn ages_take_five_characters_at_most() {
        for (millis, expected) in [
            (0, ""),
            (999, "999ms"),
            (1_250, "1.2s"),
            (99_900, "99s"),
            (100_000, "1m"),
            (5_999_000, "99m"),
            (6_000_000, "1h"),
            (360_000_000, "4d"),
        ] {
            assert_eq!(age(Duration::from_millis(millis)), expected);
        }
        assert_eq!(age(Duration::from_nanos(1)), "<1ms");
        assert_eq!(age(Duration::MAX), "9999d");
    }

    #[test]
    fn a_speed_is_as_short_as_it_can_be() {
        assert_eq!(
            [60.0, 0.5, 1.0 / 3.0, f64::INFINITY, 0.0].map(speed),
            ["x60", "x0.5", "x0.33", "full speed", "full speed"]
        );
    }

    #[test]
    fn text_that_is_too_long_ends_in_an_ellipsis() {
        assert_eq!(fit("kitchen", 7), "kitchen");
        assert_eq!(fit("kitchen", 6), "kitch…");
        assert_eq!(fit("kitchen", 1), "…");
        assert_eq!(fit("kitchen", 0), "");
        assert_eq!(fit("客厅客厅", 6), "客厅…");
        assert_eq!(fit("a\u{1b}[2Jb\nc", 20), "a [2Jb c");
    }

    #[test]
    fn a_bar_shows_little_as_something_and_only_all_as_full() {
        let heavy = |share| bar(share, 10, Color::Cyan)[0].content.chars().count();
        assert_eq!(
            [0.0, 0.001, 0.5, 0.999, 1.0, 7.0, f64::NAN].map(heavy),
            [0, 1, 5, 9, 10, 10, 0]
        );
        assert_eq!(bar(0.5, 0, Color::Cyan).len(), 2);
    }
}
