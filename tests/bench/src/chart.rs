//! The result as a picture: a dot for each framework on a logarithmic scale, as SVG.

use std::fmt::Write;

use crate::plan::{Peer, Subject};
use crate::results::Results;
use crate::workloads::Workload;

const LEFT: f64 = 90.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 64.0;
const WIDTH: f64 = 860.0;
const LINE: f64 = 24.0;
const PANEL_HEAD: f64 = 34.0;
const PANEL_FOOT: f64 = 34.0;

/// A series of dots: what it is called, its colour, and whose best variant it shows.
struct Series {
    name: &'static str,
    colour: &'static str,
    shows: fn(Subject) -> bool,
}

const SERIES: [Series; 8] = [
    Series {
        name: "greenroom",
        colour: "#0a7d33",
        shows: |s| s == Subject::Greenroom,
    },
    Series {
        name: "greenroom-tokio",
        colour: "#7cc48f",
        shows: |s| s == Subject::GreenroomTokio,
    },
    Series {
        name: "actix",
        colour: "#d1495b",
        shows: |s| s.peer() == Some(Peer::Actix),
    },
    Series {
        name: "kameo",
        colour: "#edae49",
        shows: |s| s.peer() == Some(Peer::Kameo),
    },
    Series {
        name: "ractor",
        colour: "#8d5fb5",
        shows: |s| s.peer() == Some(Peer::Ractor),
    },
    Series {
        name: "flume",
        colour: "#2f7fb8",
        shows: |s| s.peer() == Some(Peer::Flume),
    },
    Series {
        name: "tokio",
        colour: "#444444",
        shows: |s| s.peer() == Some(Peer::Tokio),
    },
    Series {
        name: "erlang",
        colour: "#b05f9b",
        shows: |s| s.peer() == Some(Peer::Erlang),
    },
];

/// One dot: its series, its row in a panel, and its time.
struct Dot {
    series: &'static Series,
    row: usize,
    ns: f64,
}

struct Panel {
    threads: usize,
    rows: Vec<Workload>,
    dots: Vec<Dot>,
}

/// Returns the chart, or `None` when nothing was measured.
pub(crate) fn svg(results: &Results) -> Option<String> {
    let panels: Vec<Panel> = [1, 2]
        .into_iter()
        .map(|threads| panel(results, threads))
        .filter(|panel| !panel.dots.is_empty())
        .collect();
    let times = || panels.iter().flat_map(|p| &p.dots).map(|dot| dot.ns);
    let decade_below = times().reduce(f64::min)?.max(1.0).log10().floor();
    let decade_above = times().reduce(f64::max)?.max(10.0).log10().ceil();
    let scale = Scale {
        from: decade_below,
        to: decade_above.max(decade_below + 1.0),
    };
    let rows: usize = panels.iter().map(|panel| panel.rows.len()).sum();
    let height = TOP + rows as f64 * LINE + panels.len() as f64 * (PANEL_HEAD + PANEL_FOOT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    legend(&mut svg, &panels);
    let mut top = TOP;
    for panel in &panels {
        draw(&mut svg, panel, &scale, top);
        top += PANEL_HEAD + panel.rows.len() as f64 * LINE + PANEL_FOOT;
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn panel(results: &Results, threads: usize) -> Panel {
    let rows: Vec<Workload> = Workload::all()
        .iter()
        .copied()
        .filter(|workload| results.has(*workload, threads))
        .collect();
    let mut dots = Vec::new();
    for (row, &workload) in rows.iter().enumerate() {
        for series in &SERIES {
            let subjects = Subject::all()
                .iter()
                .copied()
                .filter(|s| (series.shows)(*s));
            if let Some((_, ns)) = results.best(subjects, workload, threads) {
                dots.push(Dot { series, row, ns });
            }
        }
    }
    Panel {
        threads,
        rows,
        dots,
    }
}

/// Powers of ten across the width.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    fn x(&self, ns: f64) -> f64 {
        let share = (ns.max(1.0).log10() - self.from) / (self.to - self.from);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }
}

fn legend(svg: &mut String, panels: &[Panel]) {
    push(
        svg,
        format_args!(
            "<text x=\"14\" y=\"24\" font-size=\"15\" font-weight=\"bold\">Time of one operation \
             (the best variant of each; further left is better)</text>"
        ),
    );
    let shown = SERIES.iter().filter(|series| {
        let mut dots = panels.iter().flat_map(|panel| &panel.dots);
        dots.any(|dot| dot.series.name == series.name)
    });
    let mut x = 20.0;
    for series in shown {
        let Series { name, colour, .. } = series;
        push(
            svg,
            format_args!(
                "<circle cx=\"{x}\" cy=\"44\" r=\"5\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"48\">{name}</text>",
                x + 9.0
            ),
        );
        x += 26.0 + 7.0 * name.len() as f64;
    }
}

fn draw(svg: &mut String, panel: &Panel, scale: &Scale, top: f64) {
    let s = if panel.threads == 1 { "" } else { "s" };
    push(
        svg,
        format_args!(
            "<text x=\"14\" y=\"{}\" font-weight=\"bold\">{} thread{s}</text>",
            top + 20.0,
            panel.threads
        ),
    );
    let (first, last) = (
        top + PANEL_HEAD,
        top + PANEL_HEAD + panel.rows.len() as f64 * LINE,
    );
    let mut decade = scale.from;
    while decade <= scale.to {
        let ns = 10_f64.powf(decade);
        let (x, label) = (scale.x(ns), tick(ns));
        push(
            svg,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{first}\" y2=\"{last}\" stroke=\"#dddddd\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                last + 16.0
            ),
        );
        decade += 1.0;
    }
    for (row, workload) in panel.rows.iter().enumerate() {
        let y = first + (row as f64 + 0.5) * LINE;
        push(
            svg,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{workload}</text>\
                 <line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#eeeeee\"/>",
                LEFT - 10.0,
                y + 4.0,
                WIDTH - RIGHT
            ),
        );
    }
    // Greenroom comes first in the series and is to be seen, so it is drawn last.
    for dot in panel.dots.iter().rev() {
        let Series { name, colour, .. } = dot.series;
        push(
            svg,
            format_args!(
                "<circle cx=\"{:.1}\" cy=\"{}\" r=\"5\" fill=\"{colour}\" stroke=\"#ffffff\">\
                 <title>{name} {:.1} ns</title></circle>",
                scale.x(dot.ns),
                first + (dot.row as f64 + 0.5) * LINE,
                dot.ns
            ),
        );
    }
}

fn push(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "{line}");
}

fn tick(ns: f64) -> String {
    match ns {
        ns if ns >= 1e6 => format!("{:.0} ms", ns / 1e6),
        ns if ns >= 1e3 => format!("{:.0} µs", ns / 1e3),
        ns => format!("{ns:.0} ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::results;

    #[test]
    fn a_chart_shows_the_best_variant_of_each() {
        let results = results(&[
            (Subject::Greenroom, Workload::Tell, 1, 20.0),
            (Subject::FlumeBounded, Workload::Tell, 1, 54.0),
            (Subject::FlumeUnbounded, Workload::Tell, 1, 48.0),
        ]);
        let svg = svg(&results).expect("there is something to show");
        assert!(svg.contains("<title>flume 48.0 ns</title>"), "{svg}");
        assert!(!svg.contains("54.0"), "{svg}");
        assert!(!svg.contains("2 threads") && !svg.contains("kameo"));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_measured_makes_no_chart() {
        assert_eq!(svg(&Results::default()), None);
    }

    #[test]
    fn a_decade_is_as_wide_as_the_next() {
        let scale = Scale { from: 1.0, to: 3.0 };
        assert_eq!(scale.x(10.0), LEFT);
        assert_eq!(scale.x(1_000.0), WIDTH - RIGHT);
        assert_eq!(scale.x(100.0), (LEFT + WIDTH - RIGHT) / 2.0);
    }
}
