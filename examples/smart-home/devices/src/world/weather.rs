//! The weather outside, as a pure function of the seed and the time.
//!
//! The home stands at 50° north and 0° east and lives in UTC, so that the hour of a timestamp is
//! the hour on its clocks.

use std::f64::consts::{PI, TAU};

use crate::random::noise;

use super::{DAY_MS, HOUR_MS};

/// The weather at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outdoors {
    /// °C.
    pub(super) temperature: f64,
    /// Relative, in percent.
    pub(super) humidity: f64,
    /// hPa.
    pub(super) pressure: f64,
    /// lx on open ground.
    pub(super) illuminance: f64,
    /// °C, a hand below the surface.
    pub(super) soil_temperature: f64,
    /// Percent.
    pub(super) soil_moisture: f64,
}

impl Outdoors {
    pub(super) fn at(seed: u64, ms: i64) -> Outdoors {
        let days = ms as f64 / DAY_MS as f64;
        let hours = ms as f64 / HOUR_MS as f64;
        let hour = hours.rem_euclid(24.0);
        let day_of_year = days.rem_euclid(365.2425);
        let curve = |channel: u64, x: f64| noise(seed, channel, x);

        // Coldest around 20 January, warmest half a year later, as in central Europe.
        let season = (TAU * (day_of_year - 20.0) / 365.2425).cos();
        let mean = 9.5 - 8.5 * season;
        let front = 4.5 * curve(1, days / 2.7);
        let cloud = (0.55 + 0.15 * season + 0.5 * curve(2, hours / 9.0) + 0.12 * curve(3, hours))
            .clamp(0.0, 1.0);

        // A clear sky lets days get warmer and nights colder.
        let swing = (3.0 - 1.0 * season) * (1.25 - 0.9 * cloud);
        let diurnal = swing * (TAU * (hour - 15.0) / 24.0).cos();
        let temperature = mean + front + diurnal + 0.5 * curve(4, hours / 1.5);

        Outdoors {
            temperature,
            humidity: (80.0 + 14.0 * cloud - 3.2 * diurnal + 5.0 * curve(5, hours / 3.0))
                .clamp(30.0, 99.0),
            pressure: 1013.0 + 13.0 * curve(6, days / 2.2) + 3.0 * curve(7, hours / 7.0),
            illuminance: illuminance(day_of_year, hour, cloud),
            soil_temperature: (mean + 0.5 * front + 1.5 + 0.2 * diurnal).max(0.3),
            soil_moisture: 46.0 + 12.0 * curve(8, days / 4.0) + 6.0 * season,
        }
    }
}

fn illuminance(day_of_year: f64, hour: f64, cloud: f64) -> f64 {
    let latitude = 50.0_f64.to_radians();
    let declination = (-23.44_f64).to_radians() * (TAU * (day_of_year + 10.0) / 365.2425).cos();
    let angle = PI * (hour - 12.0) / 12.0;
    let sine =
        latitude.sin() * declination.sin() + latitude.cos() * declination.cos() * angle.cos();
    let sky = 1.0 - 0.8 * cloud;
    if sine > 0.0 {
        110_000.0 * sine.powf(1.2) * sky + 400.0
    } else {
        // Twilight: a tenth for every three degrees that the sun is below the horizon.
        400.0 * 10_f64.powf(sine.asin().to_degrees() / 3.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::DEFAULT_START_MS;

    fn hours(days: i64) -> impl Iterator<Item = (i64, Outdoors)> {
        (0..days * 24).map(|hour| (hour, Outdoors::at(42, DEFAULT_START_MS + hour * HOUR_MS)))
    }

    #[test]
    fn a_year_stays_within_what_the_region_knows() {
        for (_, weather) in hours(365) {
            assert!((-15.0..38.0).contains(&weather.temperature), "{weather:?}");
            assert!((30.0..100.0).contains(&weather.humidity), "{weather:?}");
            assert!((990.0..1035.0).contains(&weather.pressure), "{weather:?}");
            assert!(
                (0.0..130_000.0).contains(&weather.illuminance),
                "{weather:?}"
            );
            assert!((0.0..100.0).contains(&weather.soil_moisture), "{weather:?}");
        }
    }

    #[test]
    fn winter_nights_are_dark_and_noon_is_bright() {
        for (hour, weather) in hours(10) {
            match hour % 24 {
                0..=4 | 20..=23 => assert!(weather.illuminance < 1.0, "{hour}: {weather:?}"),
                12 => assert!(weather.illuminance > 3_000.0, "{hour}: {weather:?}"),
                _ => {}
            }
        }
    }

    #[test]
    fn july_is_warmer_than_january() {
        let mean = |from: usize| -> f64 {
            let month: Vec<f64> = hours(365)
                .skip(from * 24)
                .take(30 * 24)
                .map(|(_, weather)| weather.temperature)
                .collect();
            month.iter().sum::<f64>() / month.len() as f64
        };
        assert!(mean(170) > mean(0) + 10.0);
    }

    #[test]
    fn the_temperature_moves_smoothly() {
        let mut before = Outdoors::at(7, DEFAULT_START_MS).temperature;
        for minute in 1..3 * 24 * 60 {
            let now = Outdoors::at(7, DEFAULT_START_MS + minute * 60_000).temperature;
            assert!((now - before).abs() < 0.1);
            before = now;
        }
    }
}
