//! Takes the terminal and gives it back: after quitting, after an error, after a panic and before suspending.
//!
//! Nothing else in the program touches raw mode or the alternate screen.

use crate::error::{Error, Result};
use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste, EnableFocusChange,
    EnableMouseCapture,
};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use std::io::{self, Stdout, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// What ratatui draws through.
pub type Backend = CrosstermBackend<Stdout>;

/// The terminal while it is ours. Dropping it gives it back.
pub struct Terminal {
    inner: ratatui::Terminal<Backend>,
    mouse: bool,
    ours: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal. From now on a panic gives it back before it is reported. Without `colour` no colour code is
    /// ever written, not even those that end a frame.
    pub fn enter(mouse: bool, colour: bool) -> Result<Terminal> {
        if !colour {
            crossterm::style::force_color_output(false);
        }
        let inner = ratatui::Terminal::new(CrosstermBackend::new(io::stdout())).map_err(failed)?;
        let ours = Arc::new(AtomicBool::new(false));
        let mut terminal = Terminal { inner, mouse, ours: Arc::clone(&ours) };
        let report = std::panic::take_hook();
        let here = std::thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            // A job that panics elsewhere ends as a failure of that job; the screen goes on.
            if std::thread::current().id() == here || !ours.load(SeqCst) {
                give_back(&ours);
                report(panic);
            }
        }));
        terminal.take()?;
        Ok(terminal)
    }

    fn take(&mut self) -> Result<()> {
        self.ours.store(true, SeqCst);
        let taken = enable_raw_mode().and_then(|()| {
            execute!(io::stdout(), EnterAlternateScreen, Hide, EnableBracketedPaste, EnableFocusChange)?;
            if self.mouse { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) }
        });
        taken.map_err(failed)
    }

    /// Draws one frame.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> Result<()> {
        self.inner.draw(draw).map(drop).map_err(failed)
    }

    /// Forgets what is on the screen, so that the next frame draws everything.
    pub fn redraw(&mut self) -> Result<()> {
        // Not `clear`: it asks the terminal where the cursor is, and whoever reads keys takes the answer away.
        let size = self.inner.size().map_err(failed)?;
        self.inner.resize(Rect::from(size)).map_err(failed)
    }

    /// Width and height.
    pub fn size(&self) -> (u16, u16) {
        self.inner.size().map_or((80, 24), |size| (size.width, size.height))
    }

    /// Gives the terminal back while `f` runs, and takes it again.
    pub fn lend<T>(&mut self, f: impl FnOnce() -> T) -> Result<T> {
        give_back(&self.ours);
        let result = f();
        self.take()?;
        self.redraw()?;
        Ok(result)
    }

    /// Writes bytes that are not part of a frame, such as a clipboard sequence.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(failed)
    }

    /// Stops the process as the shell's job control would, and comes back when it is continued.
    #[cfg(unix)]
    pub fn suspend(&mut self) -> Result<()> {
        use rustix::process::{Signal, kill_current_process_group};
        // SIGSTOP and not SIGTSTP: the latter is caught to get here.
        self.lend(|| kill_current_process_group(Signal::STOP))?.map_err(|why| failed(why.into()))
    }

    /// There is no job control here.
    #[cfg(not(unix))]
    pub fn suspend(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back(&self.ours);
    }
}

/// Undoes everything [`Terminal::take`] did, once. Failures are ignored: there is nobody left to tell.
fn give_back(ours: &AtomicBool) {
    if ours.swap(false, SeqCst) {
        let _ = execute!(
            io::stdout(),
            DisableMouseCapture,
            DisableFocusChange,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            Show
        );
        let _ = disable_raw_mode();
    }
}

fn failed(why: io::Error) -> Error {
    Error::io("cannot use the terminal", why).with_hint("`cachedeck ls` needs none")
}

/// What the system asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Quit: SIGTERM, SIGHUP, SIGINT.
    Quit,
    /// Suspend: SIGTSTP from elsewhere than the keyboard.
    Suspend,
    /// The process goes on after a stop: the screen must be drawn anew.
    Continue,
}

/// The signals the program answers to.
#[cfg(unix)]
pub struct Signals {
    streams: [(tokio::signal::unix::Signal, Signal); 5],
}

#[cfg(unix)]
impl Signals {
    /// Starts listening. Needs a running tokio.
    pub fn listen() -> Result<Signals> {
        use rustix::process::Signal as Raw;
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |raw: Raw, means| signal(SignalKind::from_raw(raw.as_raw())).map(|stream| (stream, means));
        let streams: io::Result<_> = (|| {
            Ok([
                listen(Raw::TERM, Signal::Quit)?,
                listen(Raw::HUP, Signal::Quit)?,
                listen(Raw::INT, Signal::Quit)?,
                listen(Raw::TSTP, Signal::Suspend)?,
                listen(Raw::CONT, Signal::Continue)?,
            ])
        })();
        streams.map(|streams| Signals { streams }).map_err(|why| Error::io("cannot listen for signals", why))
    }

    /// The next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Signal {
        let waiting = self.streams.iter_mut().map(|(stream, means)| {
            let means = *means;
            Box::pin(async move {
                stream.recv().await;
                means
            })
        });
        futures::future::select_all(waiting).await.0
    }
}

/// Without Unix signals there is nothing to listen to.
#[cfg(not(unix))]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Nothing to start.
    pub fn listen() -> Result<Signals> {
        Ok(Signals)
    }

    /// Never comes.
    pub async fn next(&mut self) -> Signal {
        futures::future::pending().await
    }
}
