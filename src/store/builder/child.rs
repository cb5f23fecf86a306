//! A program whose stdin and stdout are a connection to buildkitd. It ends with the connection, and what it says on stderr
//! is kept for when that fails.

use crate::error::{Error, Kind, Result};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// What is kept of stderr, in bytes.
const MOST: usize = 8 << 10;

/// How long a program that closed the connection may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a program said on stderr so far, and whether it is done with that.
#[derive(Clone, Debug, Default)]
pub struct Said(Arc<Mutex<(String, bool)>>);

impl Said {
    /// Waits a moment for the end of it, then gives what there is. Untrusted text.
    pub async fn whole(&self) -> String {
        let deadline = tokio::time::Instant::now() + LAST_WORDS;
        loop {
            {
                let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if said.1 || tokio::time::Instant::now() > deadline {
                    return said.0.trim().to_owned();
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn listen(self, mut stderr: impl AsyncRead + Unpin) {
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if said.0.len() < MOST {
                said.0.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
    }
}

/// Both pipes of a running program as one stream. Dropping it ends the program and what that started.
#[derive(Debug)]
pub struct Pipes {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// Starts `words`. [`Kind::NotFound`] if there is no such program.
pub fn start(words: &[String]) -> Result<(Pipes, Said)> {
    let (program, arguments) = words.split_first().ok_or_else(|| Error::new(Kind::Internal, "no program to start"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: `docker` starts its plugins, which have to end with it; and Ctrl-C is ours to handle.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Error::io(format!("starting {program}"), error))?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::new(Kind::Internal, format!("starting {program}: it has no pipes")));
    };
    let said = Said::default();
    tokio::spawn(said.clone().listen(stderr));
    Ok((Pipes { child, stdin, stdout }, said))
}

/// Runs `words` to their end, for at most `timeout`. Gives whether it went well, what was said on stdout, and on stderr.
pub async fn run(words: &[String], timeout: Duration) -> Result<(bool, String, String)> {
    let (mut pipes, said) = start(words)?;
    let mut out = Vec::new();
    let ended = async {
        // Nothing will be written.
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut pipes.stdin).await;
        let mut stdout = (&mut pipes.stdout).take(1 << 20);
        stdout.read_to_end(&mut out).await?;
        pipes.child.wait().await
    };
    let ended = tokio::time::timeout(timeout, ended).await;
    let command = words.join(" ");
    match ended {
        Err(_) => Err(Error::new(Kind::Unavailable, format!("`{command}` did not end within {timeout:?}"))),
        Ok(Err(error)) => Err(Error::io(format!("running `{command}`"), error)),
        Ok(Ok(status)) => Ok((status.success(), String::from_utf8_lossy(&out).into_owned(), said.whole().await)),
    }
}

/// Whether a program of that name is on the PATH.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder: PathBuf| folder.join(program)).any(|file| file.is_file())
}

impl Drop for Pipes {
    fn drop(&mut self) {
        // While it has an id it was not waited for, so the number is still its own.
        let id = self.child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

impl AsyncRead for Pipes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(cx)
    }
}
