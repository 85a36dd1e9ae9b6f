//! A configuration with its lists, as files in a folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::moved::Moved;
use crate::problem::Problem;

/// The configuration among the files.
pub const FILE: &str = "sinkscope.toml";

/// Writes all of it into a folder, and gives back the files. What is there is left as it is, unless `force` says otherwise.
///
/// # Errors
/// When something is there, or cannot be written; then nothing else is.
pub fn write(moved: &Moved, folder: &Path, force: bool) -> Result<Vec<PathBuf>, Problem> {
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let text = configuration(moved).map_err(|error| {
        Problem::error(shown(folder), None, format!("cannot be written as TOML: {error}"))
    })?;
    let files = moved.files.iter().map(|(path, text)| (folder.join(path), text.as_str()));
    let files: Vec<(PathBuf, &str)> = files.chain([(folder.join(FILE), text.as_str())]).collect();
    if let Some((path, _)) = files.iter().find(|(path, _)| !force && path.exists()) {
        let hint = "name another folder with --out, or say --force";
        return Err(Problem::error(shown(path), None, "is there already, and nothing was written").hint(hint));
    }
    for (path, text) in &files {
        one(path, text, force)
            .map_err(|error| Problem::error(shown(path), None, format!("cannot be written: {error}")))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// Writes a file; without `force` it must be a new one, and no link to another.
fn one(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!force);
    options.open(path)?.write_all(text.as_bytes())
}

/// The configuration as TOML, without sections that say nothing.
fn configuration(moved: &Moved) -> Result<String, toml::ser::Error> {
    let text = toml::to_string_pretty(&moved.spec)?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let mut out = format!("# Carried over from {} by `sinkscope import`.\n", moved.product);
    for (at, line) in lines.iter().enumerate() {
        let is_table = |line: &&&str| line.starts_with('[') && line.ends_with(']');
        if is_table(&line) {
            let is_list = line.starts_with("[[");
            if !is_list && lines.get(at + 1).is_none_or(|next| is_table(&next)) {
                continue;
            }
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
    }
    Ok(out)
}
