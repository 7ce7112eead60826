//! The camera at the front door, as Frigate publishes what it sees.

use serde_json::json;

use super::{CAMERA, DAY_MS, HOME, MINUTE_MS, Published, STEP_MS, World, lag};
use crate::random::Random;

/// What the camera sees now, and what it will see by chance.
#[derive(Debug)]
pub(super) struct Camera {
    random: Random,
    seen: Vec<Seen>,
}

/// Something that the camera follows.
#[derive(Debug)]
struct Seen {
    id: String,
    label: &'static str,
    zone: &'static str,
    start_ms: i64,
    end_ms: i64,
    score: f64,
    /// What was published about it last.
    published: Option<&'static str>,
}

impl Camera {
    pub(super) fn new(seed: u64) -> Camera {
        Camera {
            random: Random::new(seed, "camera", 0),
            seen: Vec::new(),
        }
    }

    /// Begins to follow something for some seconds, or goes on if it sees one of these already.
    pub(super) fn notice(
        &mut self,
        label: &'static str,
        zone: &'static str,
        ms: i64,
        seconds: i64,
    ) {
        let end_ms = ms + seconds * 1000;
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.label == label) {
            seen.end_ms = seen.end_ms.max(end_ms);
            return;
        }
        let name: String = (0..6)
            .map(|_| char::from(b'a' + self.random.whole(0, 26) as u8))
            .collect();
        self.seen.push(Seen {
            // As Frigate names events: when it began, and six letters.
            id: format!("{:.6}-{name}", ms as f64 / 1000.0),
            label,
            zone,
            start_ms: ms,
            end_ms,
            score: self.random.between(0.68, 0.86),
            published: None,
        });
    }
}

impl World {
    /// Publishes what the camera sees.
    pub(super) fn watch(&mut self, ms: i64) {
        self.pass_by(ms);
        let ts_ms = lag(self.seed, self.start_ms, HOME.len(), ms);
        let mut events = Vec::new();
        for seen in &mut self.camera.seen {
            let kind = match seen.published {
                None => "new",
                _ if ms >= seen.end_ms => "end",
                Some("new") if ms - seen.start_ms >= 2 * STEP_MS => "update",
                Some(_) => continue,
            };
            let before = seen.describe(ts_ms, false);
            if kind == "update" {
                seen.score = (seen.score + 0.08).min(0.98);
            }
            let after = seen.describe(ts_ms, kind == "end");
            seen.published = Some(kind);
            events.push(json!({"type": kind, "before": before, "after": after}));
        }
        self.camera
            .seen
            .retain(|seen| seen.published != Some("end"));
        self.pending
            .extend(events.into_iter().map(|event| Published {
                ts_ms,
                topic: String::from("frigate/events"),
                payload: event.to_string().into_bytes(),
            }));
    }

    /// Cats come by mostly at night, cars in the street mostly by day.
    fn pass_by(&mut self, ms: i64) {
        if (ms - self.start_ms) % MINUTE_MS != 0 {
            return;
        }
        let hour = ms.rem_euclid(DAY_MS) / (60 * MINUTE_MS);
        let night = !(6..21).contains(&hour);
        let (cats, cars) = if night {
            (0.008, 0.002)
        } else {
            (0.002, 0.012)
        };
        if self.camera.random.chance(cats) {
            self.camera.notice("cat", "driveway", ms, 50);
        }
        if self.camera.random.chance(cars) {
            self.camera.notice("car", "street", ms, 20);
        }
    }
}

impl Seen {
    /// The part of Frigate's description of a tracked object that automations look at.
    fn describe(&self, now_ms: i64, ended: bool) -> serde_json::Value {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let score = (self.score * 1000.0).round() / 1000.0;
        json!({
            "id": self.id,
            "camera": CAMERA,
            "label": self.label,
            "sub_label": null,
            "score": score,
            "top_score": score,
            "false_positive": false,
            "frame_time": seconds(now_ms),
            "start_time": seconds(self.start_ms),
            "end_time": ended.then(|| seconds(now_ms)),
            "stationary": false,
            "current_zones": if ended { vec![] } else { vec![self.zone] },
            "entered_zones": [self.zone],
            "has_clip": true,
            "has_snapshot": true,
        })
    }
}
