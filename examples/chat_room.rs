//! A chat room: who is in it follows what is said, without polling, and a host that dies in the middle interrupts nobody.

#![expect(clippy::print_stdout, reason = "an example prints")]

use core::time::Duration;

use holocron::{CallError, Client, Host};
use serde::{Deserialize, Serialize};

/// How many lines a room keeps. Who is further behind misses some, and sees that by their numbers.
const KEPT: usize = 100;
const GUESTS: u64 = 8;
const LINES: u64 = 60;

/// What was said, and when in the order of the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    number: u64,
    by: String,
    text: String,
}

/// A room.
#[derive(Default, Serialize, Deserialize)]
struct Room {
    said: u64,
    lines: Vec<Line>,
}

#[holocron::vnode(kind = "room")]
impl Room {
    /// Says something; returns the line's number.
    #[command]
    fn say(&mut self, by: &str, text: &str) -> u64 {
        self.said += 1;
        let line = Line { number: self.said, by: by.to_owned(), text: text.to_owned() };
        self.lines.push(line);
        if self.lines.len() > KEPT {
            self.lines.remove(0);
        }
        self.said
    }

    /// The lines that the room still has.
    #[query]
    fn lines(&self) -> Vec<Line> {
        self.lines.clone()
    }
}

/// Follows the room until the last line; returns how many lines were seen.
async fn follow(client: Client) -> Result<u64, CallError> {
    let mut watch = client.get::<Room>("lobby").watch_as::<Vec<Line>>(RoomQuery::lines());
    let mut seen = 0;
    while seen < LINES {
        // A slow guest gets the newest state, with all that was said meanwhile.
        let (_, lines) = watch.next().await?;
        for line in lines.iter().filter(|line| line.number > seen) {
            assert_eq!(line.number, seen + 1, "a line was missed");
        }
        seen = lines.last().map_or(seen, |line| line.number);
    }
    Ok(seen)
}

async fn start(store: &str, name: &str) -> Result<Host, holocron::StartError> {
    Host::builder(store).name(name).vnode::<Room>().start().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = format!("file://{}", folder.path().display());
    let mut first = Some(start(&store, "first").await?);
    let second = start(&store, "second").await?;
    let client = Client::connect(&store).await?.with_deadline(Duration::from_secs(60));
    let guests: Vec<_> = (0..GUESTS).map(|_| tokio::spawn(follow(client.clone()))).collect();

    let room = client.get::<Room>("lobby");
    for number in 1..=LINES {
        let by = if number % 2 == 0 { "alice" } else { "bob" };
        assert_eq!(room.say(by, &format!("line {number}")).await?, number);
        if number == LINES / 2
            && let Some(first) = first.take()
        {
            // Like a crash: nothing is handed over.
            first.stop().await;
            println!("a host died after {number} lines");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for guest in guests {
        assert_eq!(guest.await??, LINES);
    }
    println!("{GUESTS} guests have seen all {LINES} lines in their order");
    second.leave().await;
    Ok(())
}
