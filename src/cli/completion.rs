//! `completion`: scripts that complete the command line, generated from what parses it.

use super::Command;
use super::failure::{Exit, Outcome};
use super::session::{Needs, Session};
use clap::Parser;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck completion bash > ~/.local/share/bash-completion/completions/cachedeck
  cachedeck completion zsh > \"${fpath[1]}/_cachedeck\"
  cachedeck completion fish > ~/.config/fish/completions/cachedeck.fish")]
pub(super) struct Completion {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Command for Completion {
    const NAME: &'static str = "completion";
    const NEEDS: Needs = Needs { format: false, config: false };

    fn run(self, session: &mut Session) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::root(), "cachedeck", &mut script);
        session.out.raw(&script)?;
        session.out.flush()?;
        Ok(Exit::Done)
    }
}
