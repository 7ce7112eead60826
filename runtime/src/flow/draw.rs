//! A flow graph as text for those who draw: DOT and Mermaid.
//!
//! Nodes are numbered and named in quotes, so no name can be a word of the language. All edges of one look between two
//! nodes are one arrow with a line for each message.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Edge, EdgeKind, FlowGraph};

/// How an arrow looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    kind: EdgeKind,
    is_undeclared: bool,
}

/// What is drawn: an arrow from one node to another, with its lines.
type Arrows = BTreeMap<(Option<usize>, Option<usize>, Look), Vec<String>>;

impl FlowGraph {
    /// Returns the graph for Graphviz.
    ///
    /// A told message is a plain arrow, one that is asked a bold one, an event a dashed one and
    /// what an actor sends itself a dotted one. What is [not declared](super::Differences::undeclared) is red.
    /// Events that nobody hears lead to `nobody`, and those that nobody publishes come from there. Where
    /// traffic was observed each message has its rate, with a `~` where it is an estimate.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut dot = "digraph flow {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        let arrows = self.arrows();
        for (n, label) in self.labels().enumerate() {
            line(
                &mut dot,
                format_args!("  n{n} [label={}];", quoted(&[label])),
            );
        }
        if has_nobody(&arrows) {
            dot.push_str("  nobody [shape=circle];\n");
        }
        for ((from, to, look), lines) in &arrows {
            let style = match look.kind {
                EdgeKind::Tell => "",
                EdgeKind::Ask => ", style=bold",
                EdgeKind::Event => ", style=dashed",
                EdgeKind::Own => ", style=dotted",
            };
            let colour = if look.is_undeclared {
                ", color=red"
            } else {
                ""
            };
            let (from, to, label) = (id(*from), id(*to), quoted(lines));
            line(
                &mut dot,
                format_args!("  {from} -> {to} [label={label}{style}{colour}];"),
            );
        }
        dot.push_str("}\n");
        dot
    }

    /// Returns the graph as a Mermaid flowchart, which many places that show Markdown draw.
    ///
    /// It shows the same as [`to_dot`](Self::to_dot), where a bold arrow is a thick one, and one of events, as one of what
    /// an actor sends itself, a dotted one.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut mermaid = "flowchart LR\n".to_owned();
        let arrows = self.arrows();
        for (n, label) in self.labels().enumerate() {
            line(
                &mut mermaid,
                format_args!("    n{n}[\"{}\"]", entities(&label)),
            );
        }
        if has_nobody(&arrows) {
            mermaid.push_str("    nobody((\"nobody\"))\n");
        }
        let mut red = Vec::new();
        for (n, ((from, to, look), lines)) in arrows.iter().enumerate() {
            let arrow = match look.kind {
                EdgeKind::Tell => "-->",
                EdgeKind::Ask => "==>",
                EdgeKind::Event | EdgeKind::Own => "-.->",
            };
            if look.is_undeclared {
                red.push(n.to_string());
            }
            let lines: Vec<String> = lines.iter().map(|line| entities(line)).collect();
            let (from, to, label) = (id(*from), id(*to), lines.join("<br/>"));
            line(
                &mut mermaid,
                format_args!("    {from} {arrow}|\"{label}\"| {to}"),
            );
        }
        if !red.is_empty() {
            line(
                &mut mermaid,
                format_args!("    linkStyle {} stroke:red", red.join(",")),
            );
        }
        mermaid
    }

    fn labels(&self) -> impl Iterator<Item = String> {
        self.nodes.iter().map(|node| match node.actors {
            0 | 1 => node.name.clone(),
            n => format!("{} × {n}", node.name),
        })
    }

    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for edge in &self.edges {
            let look = Look {
                kind: edge.kind,
                is_undeclared: self.is_undeclared(edge),
            };
            let ends = (self.position(&edge.from), self.position(&edge.to), look);
            arrows.entry(ends).or_default().push(text(edge));
        }
        let differences = self.differences();
        let look = Look {
            kind: EdgeKind::Event,
            is_undeclared: false,
        };
        for event in &differences.unheard {
            for publisher in event.publishers.iter().filter_map(|p| self.position(p)) {
                let ends = (Some(publisher), None, look);
                arrows.entry(ends).or_default().push(event.event.clone());
            }
        }
        for event in &differences.unfed {
            for subscriber in event.subscribers.iter().filter_map(|s| self.position(s)) {
                let ends = (None, Some(subscriber), look);
                arrows.entry(ends).or_default().push(event.event.clone());
            }
        }
        arrows
    }
}

fn has_nobody(arrows: &Arrows) -> bool {
    arrows
        .keys()
        .any(|(from, to, _)| from.is_none() || to.is_none())
}

fn id(node: Option<usize>) -> String {
    node.map_or_else(|| "nobody".to_owned(), |n| format!("n{n}"))
}

/// A message with what is to be known of it.
fn text(edge: &Edge) -> String {
    let mut text = edge.message.clone();
    if edge.is_lossy {
        text.push_str(" (lossy)");
    }
    if let Some(traffic) = edge.observed {
        // Writing to a string does not fail.
        let about = if traffic.is_estimate() { "~" } else { "" };
        let _ = write!(text, " {about}{:.1}/s", traffic.per_second);
        if traffic.dropped > 0 {
            let _ = write!(text, ", {} dropped", traffic.dropped);
        }
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

/// A string of DOT, with a break between two lines.
fn quoted(lines: &[String]) -> String {
    let mut text = "\"".to_owned();
    for (n, line) in lines.iter().enumerate() {
        if n > 0 {
            text.push_str("\\n");
        }
        for c in line.chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c if c.is_control() => text.push(' '),
                c => text.push(c),
            }
        }
    }
    text.push('"');
    text
}

/// A text inside quotes of Mermaid, where what HTML, Markdown or Mermaid itself would read is a number.
fn entities(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            '"' | '#' | '&' | '<' | '>' | '`' | ';' | '\\' | '*' | '|' | '{' | '}' | '[' | ']' => {
                let _ = write!(text, "#{};", u32::from(c));
            }
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text
}
