//! Traces: scenarios in plain text, one per file in `tests/traces/<folder>`, events above the `---`, what came of each
//! below. A line that starts with `#` is a comment. `HOLOCRON_RECORD=1` writes the lower halves anew; they are reviewed
//! like code.

use std::{
    env, fs, panic,
    path::{Path, PathBuf},
};

/// Plays the events of a trace and says what came of each.
pub(crate) type Play = fn(&str) -> String;

/// A folder, how many traces are in it at least, and what plays them.
pub(crate) type Folder = (&'static str, usize, Play);

/// Plays every trace of these folders. Each must come out as recorded.
pub(crate) fn check(folders: &[Folder]) {
    for &(folder, count_min, play) in folders {
        let files = files(folder);
        assert!(files.len() >= count_min, "some traces are gone: {files:?}");
        if env::var_os("HOLOCRON_RECORD").is_some() {
            files.iter().for_each(|file| record(file, play));
        }
    }
    let changed = changed(folders);
    assert!(changed.is_empty(), "HOLOCRON_RECORD=1 records anew:\n{}", changed.join("\n"));
}

/// The traces of these folders that don't come out as recorded, each with the first line that differs.
pub(crate) fn changed(folders: &[Folder]) -> Vec<String> {
    folders.iter().flat_map(|&(folder, _, play)| changed_in(folder, play)).collect()
}

fn record(file: &Path, play: Play) {
    let text = fs::read_to_string(file).unwrap();
    let (events, _) = parts(&text);
    fs::write(file, format!("{events}---\n{}", play(events))).unwrap();
}

fn changed_in(folder: &str, play: Play) -> Vec<String> {
    let changed = files(folder).into_iter().filter_map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        let (events, recorded) = parts(&text);
        let what = match panic::catch_unwind(|| play(events)) {
            Ok(played) => difference(recorded, &played)?,
            Err(_) => "it panics, see above".to_owned(),
        };
        let name = file.file_name().expect("a file of a folder").to_string_lossy();
        Some(format!("{folder}/{name}: {what}"))
    });
    changed.collect()
}

/// The events of a trace, a line each.
pub(crate) fn events(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

fn parts(text: &str) -> (&str, &str) {
    text.split_once("---\n").unwrap_or((text, ""))
}

fn difference(recorded: &str, played: &str) -> Option<String> {
    if recorded == played {
        return None;
    }
    let mut lines = (recorded.lines(), played.lines());
    loop {
        let line = (lines.0.next(), lines.1.next());
        if line.0 != line.1 || line == (None, None) {
            let [recorded, played] = [line.0, line.1].map(|line| line.unwrap_or("the end"));
            return Some(format!("{recorded:?} was recorded, {played:?} came out"));
        }
    }
}
