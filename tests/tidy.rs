//! The code's own tidiness: what no lint looks at.

use std::{collections::BTreeSet, path::Path, process::Command};

/// Lines of a file before its tests. More doesn't fit a mind.
const LINES_MAX: usize = 400;

fn tracked_files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "not a git checkout");
    String::from_utf8(listed.stdout)
        .expect("names are text")
        .lines()
        .map(ToOwned::to_owned)
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the examples are below the root")
}

fn read(file: &str) -> Option<String> {
    // A file that is deleted and not yet committed is still listed.
    std::fs::read_to_string(root().join(file)).ok()
}

#[test]
fn every_source_file_fits_a_mind_and_says_what_it_is_for() {
    let mut complaints = Vec::new();
    let rust =
        |file: &String| Path::new(file).extension().is_some_and(|extension| extension == "rs");
    for file in tracked_files().iter().filter(|file| rust(file)) {
        let Some(text) = read(file) else { continue };
        let is_test = file.contains("/tests/") || file.ends_with("tests.rs");
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > LINES_MAX && !is_test {
            complaints.push(format!(
                "{file}: {lines} lines before its tests; split it ({LINES_MAX} at most)"
            ));
        }
        if !text.starts_with("//!") {
            complaints.push(format!("{file}: begin it with `//!` and what it is for"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            let leftover = ["TO", "DO"].concat();
            if line.contains(&format!("{leftover}:")) || line.contains(&["FIX", "ME"].concat()) {
                complaints.push(format!("{file}:{number}: finish it, or say it in an issue"));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_page_has_one_title_and_no_link_to_a_missing_file() {
    let mut complaints = Vec::new();
    for file in tracked_files().iter().filter(|file| file.ends_with(".md")) {
        let Some(text) = read(file) else { continue };
        let mut in_code = false;
        let mut titles = 0;
        for line in text.lines() {
            in_code ^= line.starts_with("```");
            titles += usize::from(!in_code && line.starts_with("# "));
        }
        if titles != 1 {
            complaints.push(format!("{file}: has {titles} titles; one `# ` line names a page"));
        }
        let folder = Path::new(file).parent().expect("a file is in a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or(target);
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !root().join(folder).join(target).exists() {
                complaints.push(format!("{file}: links to {target}, which is missing"));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_design_note_has_a_status() {
    for file in tracked_files().iter().filter(|file| file.starts_with("docs/design/")) {
        let Some(text) = read(file) else { continue };
        assert!(
            text.lines().take(6).any(|line| line.contains("Status:")),
            "{file}: say its Status in the first lines"
        );
    }
}

/// A folder, and the folders that it may import.
type Layer = (&'static str, &'static [&'static str]);

/// The folders of a crate, each with the folders that it may import. A folder imports only folders above it in this list,
/// so there is no cycle.
const LAYERS: [(&str, &[Layer]); 2] = [
    (
        "crates/protocol/src",
        &[
            ("format", &[]),
            ("journal", &["format"]),
            ("epoch", &["format"]),
            ("state", &["format", "journal"]),
            ("slot", &["format", "journal", "epoch", "state"]),
            ("checkpoint", &["format", "journal", "epoch", "state", "slot"]),
            ("control", &["format", "journal", "epoch", "checkpoint"]),
            ("deferred", &["format"]),
            ("request", &["format", "deferred"]),
            ("schema", &["format"]),
            ("audit", &["format", "journal", "epoch", "state", "checkpoint"]),
            ("backup", &["format", "journal", "epoch"]),
        ],
    ),
    (
        "crates/holocron/src",
        &[
            ("metrics", &[]),
            ("api", &["metrics"]),
            ("testing", &["api"]),
            ("transport", &["api"]),
            ("store_io", &["api", "transport"]),
            ("election", &["api", "store_io"]),
            ("audit", &[]),
            ("client", &["api", "transport", "store_io"]),
            ("session", &["metrics", "api", "transport", "store_io"]),
            ("inspect", &["transport", "store_io"]),
            ("backup", &["api", "transport", "store_io", "audit", "client"]),
            ("host", &["metrics", "api", "transport", "store_io", "client", "session", "inspect"]),
        ],
    ),
];

/// Modules that every folder may import: names and numbers, the clock as a number, and the planted bugs.
const EVERYWHERE: [&str; 3] = ["ids", "time", "planted"];

/// The text of a file without its tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// The first segments of all paths that begin with `crate::` in `use` declarations and elsewhere, except in comments.
fn imported(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(tree) => found.extend(first_segments(tree)),
            None => drop(found.insert(identifier(rest).to_owned())),
        }
    }
    found
}

/// The first segment of each branch of a `use` tree, whose opening brace was read.
fn first_segments(tree: &str) -> Vec<String> {
    let (mut depth, mut segments, mut begins) = (0, Vec::new(), true);
    for (at, character) in tree.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && character.is_alphanumeric() => {
                segments.push(identifier(&tree[at..]).to_owned());
                begins = false;
            }
            _ => {}
        }
    }
    segments
}

fn identifier(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_');
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn no_folder_imports_one_that_is_not_below_it() {
    let files = tracked_files();
    let mut complaints = Vec::new();
    for (root, layers) in LAYERS {
        for (at, (folder, allowed)) in layers.iter().enumerate() {
            let before: Vec<&str> = layers[..at].iter().map(|(name, _)| *name).collect();
            assert!(allowed.iter().all(|name| before.contains(name)), "{root}/{folder}: a cycle");
            let inside = format!("{root}/{folder}/");
            for file in files.iter().filter(|file| file.starts_with(&inside) && is_source(file)) {
                let Some(text) = read(file) else { continue };
                let folders = layers.iter().map(|(name, _)| *name);
                let others: BTreeSet<&str> = folders.filter(|name| name != folder).collect();
                for import in imported(production(&text)) {
                    let is_folder = others.contains(import.as_str());
                    if is_folder && !allowed.contains(&import.as_str()) {
                        complaints
                            .push(format!("{file}: imports {import}, which is not below {folder}"));
                    }
                }
            }
        }
        for file in files.iter().filter(|file| file.starts_with(root) && is_source(file)) {
            let folder = file[root.len() + 1..].split('/').next().unwrap_or_default();
            let name = folder.strip_suffix(".rs").unwrap_or(folder);
            let known = layers.iter().any(|(layer, _)| *layer == name)
                || EVERYWHERE.contains(&name)
                || name == "lib";
            if !known {
                complaints.push(format!("{file}: is in none of the folders of {root}"));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Whether it is a source file with more than tests.
fn is_source(file: &str) -> bool {
    file.ends_with(".rs") && !file.ends_with("tests.rs") && !file.ends_with("/fake.rs")
}

#[test]
fn the_rules_import_nothing_that_acts() {
    let manifest = read("crates/protocol/Cargo.toml").expect("it is there");
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    for crate_that_acts in ["tokio", "holocron-store", "rand", "tracing", "object_store"] {
        assert!(!dependencies.contains(crate_that_acts), "protocol depends on {crate_that_acts}");
    }
    let root = read("crates/protocol/src/lib.rs").expect("it is there");
    assert!(root.contains("#![no_std]"), "protocol could read a clock");
}

/// Lines of a function, from its signature to its closing brace: it fits a screen.
const FUNCTION_LINES_MAX: usize = 75;

#[test]
fn every_function_fits_a_screen() {
    let mut complaints = Vec::new();
    for file in tracked_files().iter().filter(|file| file.contains("/src/") && is_source(file)) {
        let Some(text) = read(file) else { continue };
        let mut begun: Option<(usize, String)> = None;
        for (number, line) in (1..).zip(production(&text).lines()) {
            let indent = &line[..line.len() - line.trim_start().len()];
            let code = line.trim_start();
            let is_fn =
                code.starts_with("fn ") || (code.contains(" fn ") && code.starts_with("pub"));
            if is_fn && begun.is_none() && !code.ends_with(';') {
                begun = Some((number, indent.to_owned()));
            } else if let Some((first, of)) = &begun
                && line == format!("{of}}}")
            {
                let lines = number - first + 1;
                if lines > FUNCTION_LINES_MAX {
                    complaints.push(format!("{file}:{first}: a function of {lines} lines"));
                }
                begun = None;
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Words that tell an operator nothing: a host, a session or a client did it, and it has a name.
const BANNED_IN_LOGS: [&str; 9] = [
    "somebody",
    "nobody",
    "whoever",
    "lest ",
    "for ever",
    "everybody",
    "anybody",
    "let go",
    "fate",
];

#[test]
fn log_lines_name_their_subject() {
    let mut complaints = Vec::new();
    for file in tracked_files().iter().filter(|file| file.contains("/src/") && is_source(file)) {
        let Some(text) = read(file) else { continue };
        for (at, _) in text.match_indices("tracing::") {
            let Some(end) = text[at..].find(");") else { continue };
            let line = &text[at..at + end];
            for word in BANNED_IN_LOGS {
                if line.to_lowercase().contains(word) {
                    let number = text[..at].lines().count();
                    complaints.push(format!("{file}:{number}: says \"{word}\" in a log line"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
