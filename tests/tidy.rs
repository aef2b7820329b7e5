//! The code's own tidiness: what no lint looks at.

use std::{path::Path, process::Command};

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
