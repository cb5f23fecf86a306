//! A wire to a server on this machine, whatever the two speak, that fails after so many bytes of answers. For what is no plain
//! HTTP; see [`super::faults`] for what is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The connection is reset.
    Reset,
    /// It ends, as if all was said.
    End,
    /// Nothing comes any more.
    Silence,
    /// Every byte that follows is another.
    Noise,
}

/// The wire. It is cut when this is dropped.
pub struct Wire {
    /// Where it begins, on this machine.
    pub port: u16,
    fault: Arc<Mutex<Option<(usize, Break)>>>,
    passed: Arc<AtomicUsize>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Wire {
    /// To the server on `port`, whole so far.
    pub fn to(port: u16) -> Self {
        let (fault, passed) = (Arc::<Mutex<Option<(usize, Break)>>>::default(), Arc::<AtomicUsize>::default());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let begin = listener.local_addr().unwrap().port();
        let (plan, count) = (fault.clone(), passed.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((client, _)) = listener.accept().await {
                        let (fault, count) = (*plan.lock().unwrap(), count.clone());
                        // Whatever becomes of one connection is between it and the tested program.
                        tokio::spawn(async move { drop(pass(client, port, fault, &count).await) });
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { port: begin, fault, passed, _stop: stop }
    }

    /// Connections made from now on fail after so many bytes of answers, each; with `None` they don't.
    pub fn fail(&self, fault: Option<(usize, Break)>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Bytes of answers that came through so far.
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }
}

async fn pass(
    client: TcpStream,
    port: u16,
    fault: Option<(usize, Break)>,
    passed: &AtomicUsize,
) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut asked, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = server.into_split();
    let asking = async move { tokio::io::copy(&mut asked, &mut to_server).await.map(|_| asked) };
    let answering = async move {
        let mut left = fault.map_or(usize::MAX, |(after, _)| after);
        let mut noisy = false;
        let mut buffer = [0; 4096];
        loop {
            if left == 0 {
                match fault.map(|(_, how)| how) {
                    Some(Break::Noise) => (left, noisy) = (usize::MAX, true),
                    Some(Break::Silence) => std::future::pending().await,
                    how => return Ok::<_, std::io::Error>((to_client, how == Some(Break::Reset))),
                }
            }
            let most = left.min(buffer.len());
            let read = answers.read(&mut buffer[..most]).await?;
            if read == 0 {
                return Ok((to_client, false));
            }
            if noisy {
                buffer[..read].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            }
            to_client.write_all(&buffer[..read]).await?;
            passed.fetch_add(read, Ordering::SeqCst);
            left -= read;
        }
    };
    // Once the program hangs up there is nobody left to answer.
    tokio::select! {
        _ = asking => {}
        done = answering => {
            let (to_client, reset) = done?;
            if reset {
                to_client.as_ref().set_zero_linger()?;
            }
        }
    }
    Ok(())
}
