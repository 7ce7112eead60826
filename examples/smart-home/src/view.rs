//! The live view: the home and its actors on one screen, a few times a second.
//!
//! Everything here follows from a [`Scene`]: nothing asks an actor, looks at a
//! clock or keeps state, so a picture can be tested like any other value. Only
//! [`Screen`] touches the terminal. Colours are the sixteen that every terminal
//! has, and none is needed to understand the picture.

mod screen;
#[cfg(test)]
mod tests;
mod text;

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

use greenroom::{ActorInfo, ActorState};
use home_protocol::At;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};

use crate::rooms::{Picture, RoomNow};

pub(crate) use screen::Screen;

/// The group of the actors that are folded into one row: one for each device, all alike.
pub(crate) const FOLDED_GROUP: &str = "DeviceDriver";

/// From this width on, tables stand side by side.
const WIDE: u16 = 60;

/// Below this width or height there is room for the plain line only.
const TABLES: (u16, u16) = (30, 10);

/// A message that waits longer than this is worth a look.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// Everything that the view shows at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// The time in the home.
    pub(crate) clock: At,
    /// How many times faster than ours it passes; infinite if nothing holds it back.
    pub(crate) speed: f64,
    /// What the rooms are like.
    pub(crate) picture: Picture,
    /// The tree, sorted by path as a snapshot is.
    pub(crate) actors: Vec<ActorRow>,
    /// The latest decisions, the newest first.
    pub(crate) latest: Vec<String>,
    /// How many decisions there have been.
    pub(crate) decisions: u64,
    /// Where all messages went.
    pub(crate) ledger: Totals,
    /// The latest dead letters, the newest first.
    pub(crate) dead_letters: Vec<String>,
    /// How many dead letters there have been.
    pub(crate) dead_letter_count: u64,
    /// Where metrics are served.
    pub(crate) metrics: Option<SocketAddr>,
}

/// One actor or supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActorRow {
    /// Its place in the tree.
    pub(crate) path: String,
    /// The group under which its metrics are counted.
    pub(crate) group: String,
    /// Whether it is a supervisor, which has no mailbox.
    pub(crate) is_supervisor: bool,
    /// What it is doing.
    pub(crate) state: ActorState,
    /// Messages queued.
    pub(crate) depth: usize,
    /// How many it holds at most.
    pub(crate) capacity: usize,
    /// The age of the oldest message not yet handled.
    pub(crate) oldest_age: Duration,
    /// Messages handled over all lives.
    pub(crate) handled: u64,
    /// Messages that failed over all lives.
    pub(crate) failed: u64,
    /// How often it was restarted.
    pub(crate) restarts: u64,
}

impl From<&ActorInfo> for ActorRow {
    fn from(info: &ActorInfo) -> Self {
        let mailbox = info.mailbox.as_ref();
        ActorRow {
            path: info.path.to_string(),
            group: info.group.clone(),
            is_supervisor: mailbox.is_none(),
            state: info.state,
            depth: mailbox.map_or(0, |m| m.depth),
            capacity: mailbox.map_or(0, |m| m.capacity),
            oldest_age: mailbox.map_or(Duration::ZERO, |m| m.oldest_age),
            handled: mailbox.map_or(0, |m| m.handled),
            failed: mailbox.map_or(0, |m| m.failed),
            restarts: info.restarts,
        }
    }
}

impl ActorRow {
    fn share(&self) -> f64 {
        self.depth as f64 / self.capacity.max(1) as f64
    }

    /// How much it deserves to be seen where there is no room for all.
    fn urgency(&self) -> (bool, bool, usize) {
        (
            self.state != ActorState::Running,
            self.failed > 0 || self.oldest_age >= LONG_WAIT,
            self.depth,
        )
    }
}

/// Where all messages went; a [`greenroom::Ledger`] that a test can write down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) handled: u64,
    pub(crate) failed: u64,
    pub(crate) rejected: u64,
    pub(crate) dropped: u64,
    pub(crate) queued: u64,
}

impl From<greenroom::Ledger> for Totals {
    fn from(ledger: greenroom::Ledger) -> Self {
        Totals {
            sent: ledger.sent,
            handled: ledger.handled,
            failed: ledger.failed,
            rejected: ledger.rejected,
            dropped: ledger.dropped,
            queued: ledger.queued,
        }
    }
}

/// Draws the scene at any size, one cell included.
pub(crate) fn draw(frame: &mut Frame<'_>, scene: &Scene) {
    let area = frame.area();
    if area.width < TABLES.0 || area.height < TABLES.1 {
        let line = Paragraph::new(plain_line(scene)).wrap(Wrap { trim: true });
        frame.render_widget(line, area);
    } else if area.width < WIDE {
        draw_stacked(frame, scene, area);
    } else {
        draw_wide(frame, scene, area);
    }
}

/// Returns the scene in one line, for where there is no terminal.
pub(crate) fn plain_line(scene: &Scene) -> String {
    let Totals {
        handled, queued, ..
    } = scene.ledger;
    let restarts: u64 = scene.actors.iter().map(|actor| actor.restarts).sum();
    let mut line = format!(
        "{:#}  {handled} handled, {queued} queued, {}, {}, {}",
        scene.clock,
        counted(restarts, "restart"),
        counted(scene.decisions, "decision"),
        counted(scene.dead_letter_count, "dead letter"),
    );
    if let Some(last) = scene.latest.first() {
        line.push_str("; last: ");
        line.push_str(&text::clean(last));
    }
    line
}

fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

// ===== where things stand =====

fn draw_wide(frame: &mut Frame<'_>, scene: &Scene, area: Rect) {
    // Blank lines hold the parts together better than boxes would, where there is room for them.
    let gap = u16::from(area.height >= 20);
    let rest = area.height - 2 - 3 * gap;
    let gutter = if area.width < 100 { 2 } else { 4 };
    let columns = [
        // The smaller part: rooms have fewer numbers.
        Constraint::Length((area.width - gutter) * 46 / 100),
        Constraint::Fill(1),
    ];

    let rooms = scene.picture.rooms.len() + 1;
    let entries = {
        let with_headings = entries(scene, Headings::Shown);
        if with_headings.len() + 1 + 5 <= usize::from(rest) {
            with_headings
        } else {
            entries(scene, Headings::LeftOut)
        }
    };
    let body = lines(rooms.max(entries.len() + 1)).min(rest - 3);
    let [header, _, body, _, bottom, _, footer] = area.layout(&Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(gap),
        Constraint::Length(body),
        Constraint::Length(gap),
        Constraint::Fill(1),
        Constraint::Length(gap),
        Constraint::Length(1),
    ]));

    let columns = Layout::horizontal(columns).spacing(gutter);
    draw_header(frame, scene, header);
    let [left, right] = body.layout(&columns);
    draw_rooms(frame, &scene.picture.rooms, left);
    draw_mailboxes(frame, &entries, right);
    let [left, right] = bottom.layout(&columns);
    draw_decisions(frame, scene, left);
    draw_dead_letters(frame, scene, right);
    draw_footer(frame, &scene.ledger, footer);
}

fn draw_stacked(frame: &mut Frame<'_>, scene: &Scene, area: Rect) {
    let entries = entries(scene, Headings::LeftOut);
    let wanted = [
        scene.picture.rooms.len() + 1,
        entries.len() + 1,
        scene.latest.len().max(1) + 1,
        scene.dead_letters.len().max(1) + 1,
    ];
    let [rooms, mailboxes, decisions, dead_letters] =
        share_lines(wanted.map(lines), area.height - 2);
    let [header, rooms, mailboxes, decisions, dead_letters, _, footer] =
        area.layout(&Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(rooms),
            Constraint::Length(mailboxes),
            Constraint::Length(decisions),
            Constraint::Length(dead_letters),
            Constraint::Fill(1),
            Constraint::Length(1),
        ]));
    draw_header(frame, scene, header);
    draw_rooms(frame, &scene.picture.rooms, rooms);
    draw_mailboxes(frame, &entries, mailboxes);
    draw_decisions(frame, scene, decisions);
    draw_dead_letters(frame, scene, dead_letters);
    draw_footer(frame, &scene.ledger, footer);
}

/// Gives each part of a stack its lines: first a title and two lines to each that there is room for, then the rest in order.
fn share_lines(wanted: [u16; 4], mut rest: u16) -> [u16; 4] {
    let mut given = [0; 4];
    for (given, wanted) in given.iter_mut().zip(wanted) {
        let least = wanted.min(3);
        if least <= rest {
            *given = least;
            rest -= least;
        }
    }
    for (given, wanted) in given.iter_mut().zip(wanted) {
        if *given > 0 {
            let more = (wanted - *given).min(rest);
            *given += more;
            rest -= more;
        }
    }
    given
}

fn lines(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

// ===== the parts =====

fn draw_header(frame: &mut Frame<'_>, scene: &Scene, area: Rect) {
    let clock = format!("{} ", scene.clock).bold();
    let speed = format!(" {}", text::speed(scene.speed)).dim();
    let mut tail = vec![speed];
    if let Some(at) = scene.metrics.filter(|_| area.width >= WIDE) {
        tail.push("  ".into());
        tail.push(format!("http://{at}/metrics").cyan());
    }
    let [left, day, right] = area.layout(&Layout::horizontal([
        Constraint::Length(lines(clock.width())),
        Constraint::Fill(1),
        Constraint::Length(lines(tail.iter().map(Span::width).sum())),
    ]));
    let passed = f64::from(scene.clock.minute_of_day()) / 1440.0;
    let is_day = (6 * 60..18 * 60).contains(&scene.clock.minute_of_day());
    let color = if is_day { Color::Yellow } else { Color::Blue };
    frame.render_widget(clock, left);
    frame.render_widget(Line::from(text::bar(passed, day.width, color)), day);
    frame.render_widget(Line::from(tail), right);
}

/// How the columns of the rooms are set, by the width that there is.
#[derive(Clone, Copy)]
struct RoomColumns {
    name: u16,
    here: (&'static str, u16),
    /// Left out, as humidity is, where a leak would not be seen for them.
    lamps: Option<(&'static str, u16)>,
    open: u16,
}

impl RoomColumns {
    fn within(width: u16, rooms: &[RoomNow]) -> Self {
        let longest = rooms.iter().map(|room| Span::raw(&room.name).width()).max();
        let (name_max, here, lamps) = match width {
            0..34 => (11, ("in", 2), None),
            34..42 => (11, ("in", 2), Some(("lit", 3))),
            _ => (14, ("here", 4), Some(("lamps", 5))),
        };
        let name = lines(longest.unwrap_or(0)).clamp(5, name_max);
        // A blank after each of them.
        let numbers = 6 + here.1 + 1 + lamps.map_or(0, |(_, lamps)| 4 + lamps + 1);
        RoomColumns {
            name,
            here,
            lamps,
            open: width.saturating_sub(name + 1 + numbers),
        }
    }

    fn widths(&self) -> Vec<u16> {
        let mut widths = vec![self.name, 5];
        widths.extend(self.lamps.map(|_| 3));
        widths.push(self.here.1);
        widths.extend(self.lamps.map(|(_, lamps)| lamps));
        widths.push(self.open);
        widths
    }
}

fn draw_rooms(frame: &mut Frame<'_>, rooms: &[RoomNow], area: Rect) {
    let columns = RoomColumns::within(area.width, rooms);
    let mut header = vec![Cell::from("Rooms".bold()), right("°C".dim())];
    header.extend(columns.lamps.map(|_| right("%".dim())));
    header.push(centred(columns.here.0.dim()));
    header.extend(columns.lamps.map(|(lamps, _)| centred(lamps.dim())));
    header.push(Cell::from("open".dim()));

    let shown = rows_that_fit(rooms.len(), area);
    let mut rows: Vec<Row<'_>> = rooms[..shown]
        .iter()
        .map(|room| room_row(room, columns))
        .collect();
    if shown < rooms.len() {
        rows.push(more(rooms.len() - shown));
    }
    let table = Table::new(rows, columns.widths()).header(Row::new(header));
    frame.render_widget(table.column_spacing(1), area);
}

/// How many of `count` rows are shown below a header: all, or as many as leave a line to say how many are not.
fn rows_that_fit(count: usize, area: Rect) -> usize {
    let room = usize::from(area.height.saturating_sub(1));
    if count <= room {
        count
    } else {
        room.saturating_sub(1)
    }
}

fn room_row(room: &RoomNow, columns: RoomColumns) -> Row<'static> {
    let number = |value: Option<f64>, decimals: usize| {
        right(match value {
            Some(value) => Span::raw(format!("{value:.decimals$}")),
            None => "–".dim(),
        })
    };
    let mut open = Line::default();
    if room.wet {
        open.push_span("LEAK".red().bold());
        open.push_span(" ");
    }
    let left = usize::from(columns.open).saturating_sub(open.width());
    open.push_span(text::fit(&room.open.join(", "), left));

    let name = text::fit(&room.name, usize::from(columns.name));
    let mut cells = vec![Cell::from(name), number(room.temperature, 1)];
    if columns.lamps.is_some() {
        cells.push(number(room.humidity, 0));
    }
    cells.push(centred(if room.occupied {
        "●".cyan()
    } else {
        "".into()
    }));
    if columns.lamps.is_some() {
        cells.push(centred(match room.lamps_on {
            0 => "".into(),
            lamps => lamps.to_string().yellow(),
        }));
    }
    cells.push(Cell::from(open));
    Row::new(cells)
}

/// Whether supervisors are shown above the actors that they supervise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Headings {
    Shown,
    LeftOut,
}

/// A line of the mailboxes.
struct Entry {
    name: String,
    /// How full the fullest mailbox is.
    share: f64,
    row: ActorRow,
}

/// Returns the lines of the mailboxes: supervisors before their own actors, drivers folded.
fn entries(scene: &Scene, headings: Headings) -> Vec<Entry> {
    let (folded, others): (Vec<&ActorRow>, Vec<&ActorRow>) = scene
        .actors
        .iter()
        .partition(|row| !row.is_supervisor && row.group == FOLDED_GROUP);
    let name = |row: &ActorRow| -> String {
        let own = own_name(row);
        let mut alike = others.iter().filter(|other| own_name(other) == own);
        if row.is_supervisor {
            row.path.clone()
        } else if headings == Headings::LeftOut && alike.nth(1).is_some() {
            // Nothing above it tells the thermostat of the kitchen from its lights.
            let above = row.path.len() - own.len() - 1;
            let from = row.path[..above].rfind('/').map_or(0, |slash| slash + 1);
            row.path[from..].to_owned()
        } else {
            own.to_owned()
        }
    };
    let mut entries: Vec<Entry> = others
        .iter()
        .filter(|row| !row.is_supervisor || headings == Headings::Shown)
        .map(|row| Entry {
            name: name(row),
            share: row.share(),
            row: (*row).clone(),
        })
        .collect();
    if let Some(drivers) = fold(&folded) {
        entries.push(drivers);
    }
    // By path alone, the actors after a nested supervisor would stand under the wrong heading.
    entries.sort_by(|a, b| place(&a.row).cmp(&place(&b.row)));
    entries
}

/// The last part of an actor's path.
fn own_name(row: &ActorRow) -> &str {
    row.path.rsplit('/').next().unwrap_or_default()
}

/// Sorts a supervisor right before its own actors, and those before its nested supervisors.
fn place(row: &ActorRow) -> (&str, bool, &str) {
    if row.is_supervisor {
        return (&row.path, false, "");
    }
    let (above, name) = row.path.rsplit_once('/').unwrap_or(("", &row.path));
    (above, true, name)
}

/// Makes one entry of many actors: sums of what is counted, the worst of what is not.
fn fold(rows: &[&ActorRow]) -> Option<Entry> {
    let first = rows.first()?;
    let sum = |count: fn(&ActorRow) -> u64| rows.iter().map(|row| count(row)).sum();
    let mut row = ActorRow {
        state: ActorState::Running,
        depth: rows.iter().map(|row| row.depth).sum(),
        capacity: rows.iter().map(|row| row.capacity).sum(),
        oldest_age: rows.iter().map(|row| row.oldest_age).max()?,
        handled: sum(|row| row.handled),
        failed: sum(|row| row.failed),
        restarts: sum(|row| row.restarts),
        ..(*first).clone()
    };
    if let Some(unwell) = rows.iter().find(|row| row.state != ActorState::Running) {
        row.state = unwell.state;
    }
    Some(Entry {
        name: counted(rows.len() as u64, "driver"),
        share: rows.iter().map(|row| row.share()).fold(0.0, f64::max),
        row,
    })
}

/// How the columns of the mailboxes are set, by the width that there is.
struct Columns {
    bar: u16,
    /// Whether the capacity is written behind the depth.
    capacity: bool,
    /// Whether the messages handled are shown: the names need the room more.
    handled: bool,
    failed: &'static str,
    restarts: &'static str,
}

impl Columns {
    fn within(width: u16) -> Self {
        let (bar, capacity) = match width {
            0..42 => (0, false),
            42..50 => (4, false),
            50..64 => (6, true),
            _ => (8, true),
        };
        let (failed, restarts) = if width < 64 {
            ("fail", "↻")
        } else {
            ("failed", "restarts")
        };
        Columns {
            bar,
            capacity,
            handled: width >= 38,
            failed,
            restarts,
        }
    }

    fn depth_width(&self) -> usize {
        if self.capacity { 9 } else { 4 }
    }

    /// The widths of the columns in `width`; the names take what the numbers leave.
    fn widths(&self, width: u16) -> Vec<u16> {
        let queue = self.bar + u16::from(self.bar > 0) + lines(self.depth_width());
        let restarts = lines(Span::raw(self.restarts).width().max(2));
        let mut widths = vec![queue, 5];
        widths.extend(self.handled.then_some(5));
        widths.extend([lines(self.failed.len()), restarts]);
        let taken: u16 = widths.iter().map(|width| width + 1).sum();
        widths.insert(0, width.saturating_sub(taken));
        widths
    }
}

fn draw_mailboxes(frame: &mut Frame<'_>, entries: &[Entry], area: Rect) {
    let columns = Columns::within(area.width);
    let widths = columns.widths(area.width);
    let name_width = usize::from(widths[0]);
    let shown = rows_that_fit(entries.len(), area);
    let entries_shown = the_most_urgent(entries, shown);
    let mut rows: Vec<Row<'_>> = entries_shown
        .iter()
        .map(|entry| mailbox_row(entry, &columns, name_width))
        .collect();
    if shown < entries.len() {
        rows.push(more(entries.len() - shown));
    }
    let queue = if columns.bar > 0 { "queue" } else { "len" };
    let title = text::fit("Mailboxes", name_width);
    let mut header = vec![
        Cell::from(title.bold()),
        right(queue.dim()),
        right("age".dim()),
    ];
    header.extend(columns.handled.then(|| right("done".dim())));
    header.extend([right(columns.failed.dim()), right(columns.restarts.dim())]);
    let table = Table::new(rows, widths).header(Row::new(header));
    frame.render_widget(table.column_spacing(1), area);

    // Headings have no columns: they take the whole of the line that the table left blank for them.
    for (entry, line) in entries_shown.iter().zip(area.rows().skip(1)) {
        if entry.row.is_supervisor {
            frame.render_widget(heading(&entry.row, usize::from(line.width)), line);
        }
    }
}

/// Picks those that must be seen, in their own order.
fn the_most_urgent(entries: &[Entry], count: usize) -> Vec<&Entry> {
    let mut picked: Vec<usize> = (0..entries.len()).collect();
    picked.sort_by_key(|&at| Reverse(entries[at].row.urgency()));
    picked.truncate(count);
    picked.sort_unstable();
    picked.into_iter().map(|at| &entries[at]).collect()
}

fn heading(row: &ActorRow, width: usize) -> Line<'static> {
    let mut line = Line::from(text::fit(&row.path, width).dim());
    let mut add = |what: String| {
        line.push_span("  ");
        line.push_span(what.yellow());
    };
    if row.state != ActorState::Running {
        add(row.state.as_str().to_owned());
    }
    if row.restarts > 0 {
        add(counted(row.restarts, "restart"));
    }
    line
}

fn mailbox_row(entry: &Entry, columns: &Columns, name_width: usize) -> Row<'static> {
    let row = &entry.row;
    if row.is_supervisor {
        return Row::new([Cell::default()]);
    }
    let (sign, style) = match row.state {
        ActorState::Running => ("●", Style::new().green()),
        ActorState::Stopped => ("○", Style::new().red()),
        ActorState::Paused => ("‖", Style::new().yellow()),
        _ => ("↻", Style::new().yellow()),
    };
    let mut name = Line::from(vec![
        Span::styled(sign, style),
        " ".into(),
        Span::raw(text::fit(&entry.name, name_width.saturating_sub(2))),
    ]);
    if row.state != ActorState::Running {
        let word = row.state.as_str();
        // Where there is no room for the word, sign and colour say it.
        if name.width() + 1 + word.len() <= name_width {
            name.push_span(" ");
            name.push_span(Span::styled(word, style));
        }
    }

    let depth = if columns.capacity {
        format!("{}/{}", row.depth, row.capacity)
    } else {
        text::short(row.depth as u64)
    };
    let depth = format!("{depth:>width$}", width = columns.depth_width());
    let full = match entry.share {
        0.9.. => Color::Red,
        0.5.. => Color::Yellow,
        _ => Color::Cyan,
    };
    let mut queue = Vec::new();
    if columns.bar > 0 {
        queue.extend(text::bar(entry.share, columns.bar, full));
        queue.push(" ".into());
    }
    queue.push(if row.depth == 0 {
        depth.dim()
    } else {
        depth.into()
    });

    let age = Span::raw(text::age(row.oldest_age));
    let count = |count: u64, color: Color| match count {
        0 => right("·".dim()),
        _ => right(text::short(count).fg(color)),
    };
    let mut cells = vec![
        Cell::from(name),
        Cell::from(Line::from(queue).right_aligned()),
        right(if row.oldest_age >= LONG_WAIT {
            age.yellow()
        } else {
            age
        }),
    ];
    let handled = || right(text::short(row.handled).into());
    cells.extend(columns.handled.then(handled));
    cells.push(count(row.failed, Color::Red));
    cells.push(count(row.restarts, Color::Yellow));
    Row::new(cells)
}

fn draw_decisions(frame: &mut Frame<'_>, scene: &Scene, area: Rect) {
    let title = ("Decisions", scene.decisions);
    draw_list(frame, title, &scene.latest, Style::new(), area);
}

fn draw_dead_letters(frame: &mut Frame<'_>, scene: &Scene, area: Rect) {
    let title = ("Dead letters", scene.dead_letter_count);
    draw_list(
        frame,
        title,
        &scene.dead_letters,
        Style::new().yellow(),
        area,
    );
}

/// A title with a count, and below it as many lines as there is room for, the first one in the style of what is new.
fn draw_list(
    frame: &mut Frame<'_>,
    (title, count): (&'static str, u64),
    items: &[String],
    newest: Style,
    area: Rect,
) {
    let mut title = Line::from(title.bold());
    let mut list = Vec::new();
    if items.is_empty() {
        list.push(Line::from("none".dim()));
    } else {
        title.push_span(format!("  {}", text::short(count)).dim());
    }
    let fitting = items
        .iter()
        .take(usize::from(area.height.saturating_sub(1)));
    for (at, item) in fitting.enumerate() {
        let style = if at == 0 { newest } else { Style::new() };
        let item = text::fit(item, usize::from(area.width));
        list.push(Line::styled(item, style));
    }
    list.insert(0, title);
    frame.render_widget(Paragraph::new(list), area);
}

/// The law of conservation, as long as there is room for.
fn draw_footer(frame: &mut Frame<'_>, totals: &Totals, area: Rect) {
    let Totals {
        sent,
        handled,
        failed,
        rejected,
        dropped,
        queued,
    } = *totals;
    let found: u128 = [handled, failed, rejected, dropped, queued]
        .map(u128::from)
        .iter()
        .sum();
    let balanced = u128::from(sent) == found;
    let (sign, verdict) = if balanced {
        ("=", "balanced".green())
    } else {
        ("≠", "NOT balanced".red().bold())
    };
    let sums = [
        format!(
            "{sent} sent {sign} {handled} handled + {failed} failed + {rejected} rejected + {dropped} dropped + {queued} queued"
        ),
        {
            let [sent, handled, failed, rejected, dropped, queued] =
                [sent, handled, failed, rejected, dropped, queued].map(text::short);
            format!(
                "{sent} {sign} {handled} handled + {failed} failed + {rejected} rejected + {dropped} dropped + {queued} queued"
            )
        },
        format!("{} sent, {} queued", text::short(sent), text::short(queued)),
    ];
    let room = usize::from(area.width).saturating_sub(verdict.width() + 2);
    let fitting = sums.into_iter().find(|sum| Span::raw(sum).width() <= room);
    let mut line = Line::default();
    if let Some(sum) = fitting {
        line.push_span(sum.dim());
        line.push_span("  ");
    }
    line.push_span(verdict);
    frame.render_widget(line, area);
}

// ===== cells =====

fn right(span: Span<'_>) -> Cell<'_> {
    Cell::from(Line::from(span).right_aligned())
}

fn centred(span: Span<'_>) -> Cell<'_> {
    Cell::from(Line::from(span).centered())
}

/// The last row of a table that does not show all.
fn more(count: usize) -> Row<'static> {
    Row::new([Cell::from(format!("… {count} more").dim())])
}
