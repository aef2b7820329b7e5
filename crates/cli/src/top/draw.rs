//! Draws a sample.

use core::time::Duration;

use holocron::{Clock as _, HostStatus, SystemClock};
use holocron_protocol::{checkpoint::retain::Copying, epoch::record::HostState, ids::HostName};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize as _},
    text::Line,
    widgets::{Block, Paragraph, Row, Table},
};

use super::sample::Sample;
use crate::{settle::slots_of, status::sentences, table::thousands, times::lasting};

const HEADER: [&str; 12] = [
    "host",
    "state",
    "slots",
    "coming",
    "going",
    "load",
    "share",
    "commands/s",
    "queries/s",
    "active",
    "vnodes",
    "requests/s",
];
const WIDTHS: [u16; 12] = [16, 10, 7, 7, 7, 9, 7, 11, 10, 9, 10, 11];
/// A host whose load is further off its share than this, in percent, stands out.
const OFF_PERCENT: f64 = 10.0;

/// What is shown: the newest sample, and the one before for rates.
#[derive(Default)]
pub(super) struct Screen {
    now: Option<Sample>,
    before: Option<Sample>,
    paused: bool,
    scrolled: usize,
}

impl Screen {
    pub(super) const fn pause(&mut self) {
        self.paused = !self.paused;
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn scroll(&mut self, lines: i32) {
        let hosts = self.now.as_ref().map_or(0, |sample| sample.record.hosts.len());
        let moved = i64::try_from(self.scrolled).unwrap_or(0) + i64::from(lines);
        self.scrolled = usize::try_from(moved.max(0)).unwrap_or(0).min(hosts.saturating_sub(1));
    }

    pub(super) fn sampled(&mut self, sample: Sample) {
        self.before = self.now.replace(sample);
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let Some(now) = &self.now else {
            return frame.render_widget(Paragraph::new("asking the hosts…"), frame.area());
        };
        let notes = notes(now);
        let hosts = u16::try_from(now.record.hosts.len()).unwrap_or(u16::MAX);
        let [title, table, below, epochs] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(hosts.saturating_add(2)),
            Constraint::Length(u16::try_from(notes.len()).unwrap_or(u16::MAX).saturating_add(1)),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        frame.render_widget(self.title(now), title);
        self.draw_hosts(frame, now, table);
        frame.render_widget(Paragraph::new(notes), below);
        let lines = now
            .epochs
            .iter()
            .map(|(epoch, reason)| Line::from(format!("{:>6}  {reason}", epoch.get())));
        let block = Block::bordered().title(" epochs, newest first ");
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), epochs);
    }

    fn title(&self, now: &Sample) -> Paragraph<'static> {
        let record = &now.record;
        let ago = Duration::from_millis(SystemClock.wall_ms().saturating_sub(record.wall_ms));
        let paused = if self.paused { "  PAUSED (p goes on)" } else { "" };
        let first = format!(
            "epoch {}, {} ago; {} leads; {} hosts, {} slots{paused}",
            record.epoch.get(),
            lasting(ago),
            record.leader.host,
            record.hosts.len(),
            thousands(record.slot_count.into()),
        );
        Paragraph::new(vec![Line::from(first).bold(), Line::from("")])
    }

    fn draw_hosts(&self, frame: &mut Frame<'_>, now: &Sample, area: Rect) {
        let rows = now.record.hosts.keys().skip(self.scrolled).map(|name| self.row(now, name));
        let header = Row::new(HEADER).style(Style::new().reversed());
        let table = Table::new(rows, WIDTHS.map(Constraint::Length)).header(header);
        frame.render_widget(table, area);
    }

    fn row(&self, now: &Sample, name: &HostName) -> Row<'static> {
        let record = &now.record;
        let entry = &record.hosts[name];
        let state = match entry.state {
            HostState::Draining => "draining",
            HostState::Active if record.leader.host == *name => "leads",
            HostState::Active => "active",
        };
        let slots = thousands(slots_of(record, name) as u64);
        let Some(Ok(status)) = now.answers.get(name) else {
            return Row::new([name.to_string(), "no answer".into(), slots])
                .style(Style::new().red());
        };
        let rates = self.rates(now, name, status);
        let share = share(now, name, status);
        let cells = [
            name.to_string(),
            state.to_owned(),
            slots,
            thousands(status.slots_waiting.into()),
            thousands(status.slots_going.into()),
            thousands(status.load),
            share.map_or_else(|| "-".to_owned(), |share| format!("{share:.0}%")),
            rates[0].clone(),
            rates[1].clone(),
            thousands(status.vnodes_active),
            thousands(status.vnodes_known),
            rates[2].clone(),
        ];
        let is_off = share.is_some_and(|share| (share - 100.0).abs() > OFF_PERCENT);
        let moves = status.slots_waiting + status.slots_going > 0;
        let style = if moves {
            Style::new().cyan()
        } else if is_off {
            Style::new().yellow()
        } else {
            Style::new()
        };
        Row::new(cells).style(style)
    }

    /// Commands, queries and store requests per second since the sample before, of the same session.
    fn rates(&self, now: &Sample, name: &HostName, status: &HostStatus) -> [String; 3] {
        let before = self.before.as_ref().and_then(|sample| {
            let status = sample.answers.get(name)?.as_ref().ok()?;
            Some((now.at.duration_since(sample.at), status))
        });
        let Some((span, before)) = before.filter(|(_, before)| before.session == status.session)
        else {
            return ["-".into(), "-".into(), "-".into()];
        };
        let per_second = |now: u64, before: u64| {
            let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
            thousands(now.saturating_sub(before).saturating_mul(1_000) / millis)
        };
        [
            per_second(status.commands, before.commands),
            per_second(status.queries, before.queries),
            per_second(status.requests, before.requests),
        ]
    }
}

/// A host's load in percent of its share; `None` if no load is known, or it gets none.
fn share(now: &Sample, name: &HostName, status: &HostStatus) -> Option<f64> {
    let load: u64 = now.answers.values().flatten().map(|status| status.load).sum();
    let weights: u64 = now.record.hosts.values().map(|host| u64::from(host.share())).sum();
    let weight = now.record.hosts[name].share();
    if load == 0 || weight == 0 {
        return None;
    }
    let share = load as f64 * f64::from(weight) / weights as f64;
    Some(100.0 * status.load as f64 / share)
}

/// What the leader is about to do, who copies, who doesn't answer.
fn notes(now: &Sample) -> Vec<Line<'static>> {
    let statuses = || now.answers.values().flatten();
    let mut notes: Vec<Line<'static>> = statuses()
        .filter_map(|status| status.leading.as_ref())
        .flat_map(sentences)
        .map(|sentence| Line::from(sentence).cyan())
        .collect();
    for status in statuses().filter(|status| status.copying == Copying::Remaining) {
        notes.push(Line::from(format!("{} copies the states of slots that it got", status.name)));
    }
    for (name, answer) in &now.answers {
        if let Err(why) = answer {
            notes.push(Line::from(format!("{name} did not answer: {why}")).red());
        }
    }
    notes
}

#[cfg(test)]
mod tests;
