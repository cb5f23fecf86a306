//! `completion`: scripts that complete the command line, generated from what parses it.

use super::Command;
use super::failure::{Exit, Outcome};
use super::session::{Needs, Session};
use clap::{Parser, ValueEnum};
use clap_complete::shells;
use clap_complete_nushell::Nushell;

/// Print a completion script for a shell
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck completion bash > ~/.local/share/bash-completion/completions/cachedeck
  cachedeck completion zsh > \"${fpath[1]}/_cachedeck\"
  cachedeck completion fish > ~/.config/fish/completions/cachedeck.fish
  cachedeck completion nushell | save ($nu.user-autoload-dirs | first | path join cachedeck.nu)")]
pub(super) struct Completion {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Nushell,
    #[value(name = "powershell")]
    Pwsh,
    Elvish,
}

impl Command for Completion {
    const NAME: &'static str = "completion";
    const NEEDS: Needs = Needs { format: false, config: false };

    fn run(self, session: &mut Session) -> Outcome {
        let mut script = Vec::new();
        let (root, name) = (&mut super::root(), "cachedeck");
        match self.shell {
            Shell::Bash => clap_complete::generate(shells::Bash, root, name, &mut script),
            Shell::Zsh => clap_complete::generate(shells::Zsh, root, name, &mut script),
            Shell::Fish => clap_complete::generate(shells::Fish, root, name, &mut script),
            Shell::Nushell => clap_complete::generate(Nushell, root, name, &mut script),
            Shell::Pwsh => clap_complete::generate(shells::PowerShell, root, name, &mut script),
            Shell::Elvish => clap_complete::generate(shells::Elvish, root, name, &mut script),
        }
        session.out.raw(&script)?;
        session.out.flush()?;
        Ok(Exit::Done)
    }
}
