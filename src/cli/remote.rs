//! What commands that speak to a running server share: where it is, and how its answers are shown.

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Global, Overrides, PROBLEMS, print};
use crate::control::client::{Client, Trouble};
use crate::plain;

/// Flags that say where the server is.
#[derive(Debug, Default, clap::Args)]
pub struct Remote {
    /// Reach the server here: unix:PATH or address:port [default: control.listen of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<String>,
    /// Reach the server by the control.sock in its state folder
    #[arg(long, value_name = "DIR", conflicts_with = "control")]
    pub state: Option<String>,
    /// Send the first token of this file [default: control.token_file of the configuration]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Remote {
    /// Asks the server, and prints what it says as JSON or as `shown`.
    pub fn run<T: Serialize>(
        &self,
        global: &Global,
        ask: impl FnOnce(&Client) -> Result<T, Trouble>,
        shown: impl FnOnce(&T) -> String,
    ) -> ExitCode {
        match self.ask(global, ask) {
            Ok(said) if self.json => {
                print(&format!("{}\n", serde_json::to_string_pretty(&said).unwrap_or_default()));
                ExitCode::SUCCESS
            }
            Ok(said) => {
                print(&shown(&said));
                ExitCode::SUCCESS
            }
            Err(code) => code,
        }
    }

    /// Asks the server.
    ///
    /// # Errors
    /// The exit code, when it does not answer: what is wrong has been said.
    pub fn ask<T>(
        &self,
        global: &Global,
        ask: impl FnOnce(&Client) -> Result<T, Trouble>,
    ) -> Result<T, ExitCode> {
        ask(&self.client(global)?).map_err(|trouble| fail(&trouble))
    }

    /// What the flags say of the configuration.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            control: self.control.clone(),
            state: self.state.clone(),
            token_file: self.token_file.as_ref().map(|file| file.to_string_lossy().into_owned()),
            ..Overrides::default()
        }
    }

    /// The client of the configured server.
    pub(super) fn client(&self, global: &Global) -> Result<Client, ExitCode> {
        let control = global.load(Some(&self.overrides()))?.control;
        Client::new(control.listen.as_ref(), control.token_file.as_deref()).map_err(|trouble| fail(&trouble))
    }
}

/// Says what is wrong on standard error.
pub(super) fn fail(trouble: &Trouble) -> ExitCode {
    eprintln!("error: {}", plain::escaped(&trouble.failure.error));
    if !trouble.failure.hint.is_empty() {
        eprintln!("  hint: {}", plain::escaped(&trouble.failure.hint));
    }
    ExitCode::from(PROBLEMS)
}

/// Rows under headings, in columns; columns of numbers are told by a heading that begins with a space. A cell stays in its place
/// whatever is in it.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Cow<'_, str>>> =
        rows.iter().map(|row| row.iter().map(|cell| plain::escaped(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.trim().len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).zip(headings).map(|((cell, &width), heading)| {
            if heading.starts_with(' ') { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = line(&mut headings.iter().map(|heading| heading.trim()));
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(AsRef::as_ref)));
    }
    text
}

/// A number of things in words.
pub(super) fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<String>>();
        assert_eq!(
            table(&["order", " names", "title"], &[row(&["a", "12345", "One"]), row(&["longer", "1", ""])]),
            "order   names  title\na       12345  One\nlonger      1\n"
        );
        assert_eq!(
            table(&["order", "why"], &[row(&["a\u{1b}", "x\nb  y\r"]), row(&["b", ""])]),
            "order    why\na\\u001b  x\\nb  y\\r\nb\n"
        );
    }
}
