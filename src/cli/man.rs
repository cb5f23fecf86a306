//! `man`: the manual, generated from what parses the command line, one page a command.

use super::Command;
use super::failure::{Exit, Outcome};
use super::session::{Needs, Session};
use super::topics;
use crate::error::{Error, Result};
use clap::Parser;
use clap_mangen::Man as Page;
use std::io::Write as _;
use std::path::PathBuf;

/// Print the manual page, or write all pages into a folder
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck man | man -l -
  cachedeck man --out ~/.local/share/man/man1")]
pub(super) struct Man {
    /// Write a page for each command there
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Command for Man {
    const NAME: &'static str = "man";
    const NEEDS: Needs = Needs { format: false, config: false };

    fn run(self, session: &mut Session) -> Outcome {
        let pages = pages().map_err(|e| Error::io("making the manual", e))?;
        match &self.out {
            None => {
                if let Some((_, main)) = pages.first() {
                    session.out.raw(main)?;
                    session.out.flush()?;
                }
            }
            Some(folder) => write(folder, &pages)?,
        }
        Ok(Exit::Done)
    }
}

/// All pages with their file names, the main one first.
fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = super::root();
    root.build();
    // Clap's own words point from -h to --help, which are one here.
    let root = one_help(root).mut_subcommands(one_help);
    let mut main = Vec::new();
    let page = Page::new(root.clone());
    page.render(&mut main)?;
    for (title, text) in [("EXIT STATUS", topics::EXIT_CODES), ("ENVIRONMENT", topics::ENVIRONMENT)] {
        let (_, lines) = text.split_once('\n').unwrap_or_default();
        writeln!(main, ".SH \"{title}\"\n.nf\n{}\n.fi", lines.replace('-', "\\-"))?;
    }
    let mut pages = vec![("cachedeck.1".to_owned(), main)];
    for command in root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        let name = format!("cachedeck-{}", command.get_name());
        let mut page = Vec::new();
        Page::new(command.clone().name(name.clone()).version(env!("CARGO_PKG_VERSION"))).render(&mut page)?;
        pages.push((format!("{name}.1"), page));
    }
    Ok(pages)
}

fn one_help(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| match argument.get_id().as_str() {
        "help" => argument.help("Print help").long_help(None::<&str>),
        _ => argument,
    })
}

fn write(folder: &std::path::Path, pages: &[(String, Vec<u8>)]) -> Result<()> {
    let what = |path: &std::path::Path| format!("writing {}", path.display());
    std::fs::create_dir_all(folder).map_err(|e| Error::io(what(folder), e))?;
    for (name, page) in pages {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(|e| Error::io(what(&path), e))?;
    }
    Ok(())
}
