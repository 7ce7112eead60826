//! Times as RFC 3339 writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;
/// From the first of March of the year 0 to that of 1970 the days of January and February 1970 are too many.
const EPOCH: i64 = 719_468;
/// Days of 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;

/// Writes a time in UTC, with as many digits behind the second as it needs: none, 3, 6 or 9.
///
/// `None` if it is not within the years 0 to 9999.
pub(super) fn write(time: SystemTime) -> Option<String> {
    let (seconds, nanos) = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => (i64::try_from(since.as_secs()).ok()?, since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).ok()?.checked_neg()?;
            match before.subsec_nanos() {
                0 => (seconds, 0),
                nanos => (seconds.checked_sub(1)?, 1_000_000_000 - nanos),
            }
        }
    };
    let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date_of(day);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    };
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"
    ))
}

/// Reads a time; `None` if it is none. What is less than a nanosecond is cut off, and a leap second is the next one.
pub(super) fn read(text: &str) -> Option<SystemTime> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4)?;
    rest.is(b"-")?;
    let month = rest.number(2)?;
    rest.is(b"-")?;
    let day = rest.number(2)?;
    rest.is(b"Tt")?;
    let hour = rest.number(2)?;
    rest.is(b":")?;
    let minute = rest.number(2)?;
    rest.is(b":")?;
    let second = rest.number(2)?;
    let nanos = match rest.is(b".") {
        Some(_) => rest.fraction()?,
        None => 0,
    };
    let offset = match rest.is(b"Zz+-")? {
        b'Z' | b'z' => 0,
        sign => {
            let hours = rest.number(2)?;
            rest.is(b":")?;
            let minutes = rest.number(2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            if sign == b'-' { -offset } else { offset }
        }
    };
    let is_time = hour < 24 && minute < 60 && second <= 60;
    let is_date = (1..=12).contains(&month) && day >= 1 && day <= days_of(year, month);
    if !rest.0.is_empty() || !is_time || !is_date {
        return None;
    }
    let seconds = day_of(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole = match seconds < 0 {
        true => UNIX_EPOCH.checked_sub(whole)?,
        false => UNIX_EPOCH.checked_add(whole)?,
    };
    whole.checked_add(Duration::from_nanos(u64::from(nanos)))
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Takes one of these characters.
    fn is(&mut self, any: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        any.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn digit(&mut self) -> Option<i64> {
        self.is(b"0123456789").map(|digit| i64::from(digit - b'0'))
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        (0..digits).try_fold(0, |number, _| Some(number * 10 + self.digit()?))
    }

    /// Takes all digits, of which nine count.
    fn fraction(&mut self) -> Option<u32> {
        let mut nanos = u32::try_from(self.digit()?).ok()? * 100_000_000;
        let mut place = 10_000_000;
        while let Some(digit) = self.digit() {
            nanos += u32::try_from(digit).ok()? * place;
            place /= 10;
        }
        Some(nanos)
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The number of a day, counted from 1970. Years are counted from March, so that a leap day is a year's last.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * ERA + year * 365 + year / 4 - year / 100 + of_year - EPOCH
}

/// The year, month and day of such a number.
fn date_of(day: i64) -> (i64, i64, i64) {
    let day = day + EPOCH;
    let (era, day) = (day.div_euclid(ERA), day.rem_euclid(ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (year * 365 + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    (year, month, day)
}
