//! `sinkscope completions` and `sinkscope man`: the command line told to shells and to `man`, made of what parses it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Command;

use super::{PROBLEMS, say};
use crate::problem::Problem;

/// The program's name.
const NAME: &str = "sinkscope";

/// Arguments of `sinkscope completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell: its completion script goes to standard output
    pub shell: Shell,
}

/// Shells that complete.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Shell {
    /// Bash: put it into /usr/share/bash-completion/completions/sinkscope
    Bash,
    /// Zsh: put it into a folder of `$fpath` as _sinkscope
    Zsh,
    /// Fish: put it into ~/.config/fish/completions/sinkscope.fish
    Fish,
}

/// Arguments of `sinkscope man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The folder that the pages are written to, one for each command; it is made if need be
    pub folder: PathBuf,
}

/// Prints a completion script.
pub fn completions(mut command: Command, args: &CompletionsArgs) -> ExitCode {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // Into memory first: it does not expect that a reader may have gone.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut script);
    match io::Write::write_all(&mut io::stdout().lock(), &script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(PROBLEMS),
    }
}

/// Writes the man pages.
pub fn man(command: Command, args: &ManArgs) -> ExitCode {
    let written =
        std::fs::create_dir_all(&args.folder).and_then(|()| clap_mangen::generate_to(command, &args.folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let place = args.folder.display().to_string();
            say(&[Problem::error(place, None, format!("cannot be written to: {error}"))
                .hint("name a folder that you may write to")]);
            ExitCode::from(PROBLEMS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    /// The names of all commands, as pages are named.
    fn all(command: &Command, name: &str, names: &mut Vec<String>) {
        names.push(name.to_owned());
        command.get_subcommands().for_each(|one| all(one, &format!("{name}-{}", one.get_name()), names));
    }

    #[test]
    fn each_command_has_a_page_and_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("man/man1");
        man(Cli::command(), &ManArgs { folder: folder.clone() });
        let mut names = Vec::new();
        all(&Cli::command(), NAME, &mut names);
        assert!(names.len() > 25 && names.contains(&"sinkscope-audit-verify".to_owned()), "{names:?}");
        for name in &names {
            let page = std::fs::read_to_string(folder.join(format!("{name}.1"))).unwrap();
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), names.len());
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
            let script = String::from_utf8(script).unwrap();
            for name in names.iter().filter_map(|name| name.rsplit('-').next()) {
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
    }
}
