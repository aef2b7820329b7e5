//! `holocron top`: a cluster live in the terminal.
//!
//! It asks every host for its status once per interval, and shows what changed since the time before as rates. The newest
//! record comes from the host that knows it; the store is read only at the start, and when no host answers.

mod draw;
mod sample;

use core::time::Duration;
use std::io::IsTerminal as _;

use clap::Args;
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures::StreamExt as _;
use ratatui::DefaultTerminal;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use self::{draw::Screen, sample::Sampler};
use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail},
    store::ClusterArguments,
};

/// Show a cluster live in the terminal
///
/// One line per host: its share of the load, slots that come and go, rates, vnodes. Below: what the leader is about to do, hosts
/// that don't answer, and the last epochs with their reasons. Needs a terminal; `status` prints the same once.
///
/// Keys: q or Esc ends it, p pauses it, arrows scroll the hosts.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron top --store file:///tmp/h
  holocron top --store s3://bucket/prefix --every 5"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Seconds between two looks. Longer asks hosts less often, and shows steadier rates.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    every: u64,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    if !std::io::stdout().is_terminal() {
        return Err(Fail::failed("top needs a terminal; `holocron status` prints the same once"));
    }
    let sampler = Sampler::open(arguments.cluster, arguments.deadline).await?;
    let mut terminal = ratatui::try_init()
        .map_err(|error| Fail::failed(format!("the terminal can't be used: {error}")))?;
    let ended = show(&mut terminal, sampler, Duration::from_secs(arguments.every)).await;
    ratatui::restore();
    ended
}

/// Hosts that a page key scrolls.
const PAGE: i32 = 10;

/// What a key does.
enum Pressed {
    Quit,
    Pause,
    Scroll(i32),
    Nothing,
}

async fn show(
    terminal: &mut DefaultTerminal,
    mut sampler: Sampler,
    every: Duration,
) -> Result<(), Fail> {
    let mut keys = EventStream::new();
    let mut ticks = interval_at(Instant::now(), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut screen = Screen::default();
    loop {
        tokio::select! {
            biased;
            event = keys.next() => match event {
                Some(Ok(event)) => match pressed(&event) {
                    Pressed::Quit => return Ok(()),
                    Pressed::Pause => screen.pause(),
                    Pressed::Scroll(lines) => screen.scroll(lines),
                    Pressed::Nothing => {}
                },
                Some(Err(error)) => return Err(Fail::failed(format!("keys can't be read: {error}"))),
                None => return Ok(()),
            },
            _ = ticks.tick() => {
                if screen.is_paused() {
                    continue;
                }
                screen.sampled(sampler.sample().await);
            }
        }
        let drawn = terminal.draw(|frame| screen.draw(frame));
        drawn.map_err(|error| Fail::failed(format!("the terminal can't be drawn on: {error}")))?;
    }
}

fn pressed(event: &Event) -> Pressed {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
        return Pressed::Nothing;
    };
    let is = |keys: &[KeyCode]| keys.contains(code);
    if is(&[KeyCode::Char('q'), KeyCode::Esc]) {
        return Pressed::Quit;
    }
    if is(&[KeyCode::Char('c')]) && modifiers.contains(KeyModifiers::CONTROL) {
        return Pressed::Quit;
    }
    if is(&[KeyCode::Char('p'), KeyCode::Char(' ')]) {
        return Pressed::Pause;
    }
    let lines = [
        (KeyCode::Down, 1),
        (KeyCode::Up, -1),
        (KeyCode::PageDown, PAGE),
        (KeyCode::PageUp, -PAGE),
    ];
    lines
        .iter()
        .find(|(key, _)| key == code)
        .map_or(Pressed::Nothing, |(_, lines)| Pressed::Scroll(*lines))
}
