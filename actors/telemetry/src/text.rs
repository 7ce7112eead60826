//! The Prometheus text format 0.0.4, written by hand.
//!
//! The runtime counts messages in fixed buckets of its own, and no exporter
//! renders histograms that it did not record itself.

use std::borrow::Cow;
use std::fmt::Write;

use greenroom::{Family, HistogramReading, MetricKind, Value};

/// The media type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the names of the runtime's metrics begin with.
const PREFIX: &str = "greenroom_";

/// Renders the metrics of the runtime.
pub(crate) fn render(families: &[Family]) -> String {
    let mut text = String::with_capacity(families.len() * 1024);
    for family in families {
        let name = family.metric.name();
        let kind = match family.metric.kind() {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        line(
            &mut text,
            format_args!("# HELP {name} {}", help(family.metric.help())),
        );
        line(&mut text, format_args!("# TYPE {name} {kind}"));
        for sample in &family.samples {
            let labels = labels(&sample.labels);
            match &sample.value {
                Value::Number(value) => {
                    let value = number(*value);
                    line(&mut text, format_args!("{name}{} {value}", braced(&labels)));
                }
                Value::Histogram(reading) => histogram(&mut text, name, &labels, reading),
                // `Value` may grow; what this format has no line for is not shown.
                _ => {}
            }
        }
    }
    text
}

fn histogram(text: &mut String, name: &str, labels: &str, reading: &HistogramReading) {
    let comma = if labels.is_empty() { "" } else { "," };
    for (bound, count) in &reading.buckets {
        let bound = number(*bound);
        line(
            text,
            format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"),
        );
    }
    let HistogramReading { sum, count, .. } = reading;
    let (sum, braced) = (number(*sum), braced(labels));
    line(
        text,
        format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"),
    );
    line(text, format_args!("{name}_sum{braced} {sum}"));
    line(text, format_args!("{name}_count{braced} {count}"));
}

/// Returns the lines of a rendering by another hand, without those of the runtime's names.
///
/// A name that appears in two places would make the whole scrape invalid.
pub(crate) fn without_ours(rendered: &str) -> impl Iterator<Item = &str> {
    rendered.lines().filter(|line| {
        let name = line
            .strip_prefix("# HELP ")
            .or_else(|| line.strip_prefix("# TYPE "))
            .unwrap_or(line);
        !name.is_empty() && !name.starts_with(PREFIX)
    })
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}

/// Returns a number as Prometheus reads it; a whole one has no fraction and never an exponent.
fn number(value: f64) -> Cow<'static, str> {
    if value.is_finite() {
        Cow::Owned(value.to_string())
    } else if value.is_nan() {
        Cow::Borrowed("NaN")
    } else if value > 0.0 {
        Cow::Borrowed("+Inf")
    } else {
        Cow::Borrowed("-Inf")
    }
}

fn labels(labels: &[(&'static str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{comma}{name}=\"{}\"", label_value(value));
    }
    text
}

fn braced(labels: &str) -> Cow<'static, str> {
    if labels.is_empty() {
        Cow::Borrowed("")
    } else {
        Cow::Owned(format!("{{{labels}}}"))
    }
}

fn label_value(value: &str) -> Cow<'_, str> {
    escape(value, &['\\', '\n', '"'])
}

/// In a help text a quote stands for itself.
fn help(text: &str) -> Cow<'_, str> {
    escape(text, &['\\', '\n'])
}

fn escape<'a>(text: &'a str, special: &[char]) -> Cow<'a, str> {
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        if special.contains(&c) {
            escaped.push('\\');
        }
        escaped.push(if c == '\n' { 'n' } else { c });
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_prometheus_reads_them() {
        for (value, spelled) in [
            (0.0, "0"),
            (3.0, "3"),
            (0.000_001, "0.000001"),
            (67.108_864, "67.108864"),
            (1e21, "1000000000000000000000"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), spelled);
        }
    }

    #[test]
    fn a_label_value_is_escaped_and_a_help_text_keeps_its_quotes() {
        assert_eq!(label_value("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
        assert_eq!(help("a\"b\\c\nd"), r#"a"b\\c\nd"#);
        assert_eq!(label_value("Küche"), "Küche");
    }

    #[test]
    fn names_of_the_runtime_are_left_out_of_the_rendering_of_others() {
        let rendered = "# HELP app_hits x\n# TYPE app_hits counter\napp_hits 1\n\n\
                        # HELP greenroom_x y\n# TYPE greenroom_x gauge\ngreenroom_x{a=\"b\"} 1\n\n\
                        app_greenroom_depth 2\n";
        let kept: Vec<&str> = without_ours(rendered).collect();
        let expected = [
            "# HELP app_hits x",
            "# TYPE app_hits counter",
            "app_hits 1",
            "app_greenroom_depth 2",
        ];
        assert_eq!(kept, expected);
    }
}
