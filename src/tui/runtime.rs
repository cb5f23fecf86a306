//! Runs effects: jobs as tokio tasks that report over a bounded channel, clipboard, pager, suspension. The only place
//! of the terminal UI that opens stores or touches the disk.

mod building;
mod changes;
mod copying;

use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::location::Location;
use crate::model::text;
use crate::ops::files::{LayerFiles, Pick, extract, merge};
use crate::ops::{find, load, names, verify};
use crate::progress::Progress;
use crate::state::State;
use crate::store::{Store, catalog};
use crate::tui::app::{Message, Order, Report};
use crate::tui::building::Transcript;
use crate::tui::clipboard::{self, Copied};
use crate::tui::contents::{self, Chain, Page};
use crate::tui::json::Tree;
use crate::tui::screen::{Changing, Work};
use crate::tui::shared::{Job, Target, Tone, error_line};
use crate::tui::terminal::Terminal;
use jiff::Timestamp;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// Reports that may wait for the screen to take them; a job that is faster waits.
const REPORTS: usize = 64;
/// Documents longer than this are not shown as a tree.
const DOCUMENT: u64 = 64 << 20;

/// Opens a place.
pub type Open = dyn Fn(&Location) -> Result<Arc<dyn Store>> + Send + Sync;

/// What jobs work with.
#[derive(Clone)]
pub struct World {
    /// Opens a place.
    pub open: Arc<Open>,
    /// Opens one to see what writing there would come to; nothing is made there.
    pub imagine: Arc<Open>,
    /// Opens one to write there; it is made if need be.
    pub make: Arc<Open>,
    /// What is remembered between runs.
    pub state: State,
    /// The clock.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Tells apart plans that are made within a second.
    pub salt: Arc<dyn Fn() -> u32 + Send + Sync>,
}

impl World {
    /// The real one.
    pub fn usual() -> World {
        let salt = || Timestamp::now().subsec_nanosecond().unsigned_abs() ^ std::process::id().rotate_left(12);
        World {
            open: Arc::new(catalog::open),
            imagine: Arc::new(catalog::imagine),
            make: Arc::new(catalog::make),
            state: State::usual(),
            clock: Arc::new(Timestamp::now),
            salt: Arc::new(salt),
        }
    }
}

/// Where jobs report to.
pub struct Runtime {
    sender: mpsc::Sender<Message>,
    stores: Stores,
    world: World,
    /// Held while builders are asked for names.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// Places as their last load opened them, so that other jobs have its connections and tokens.
type Stores = Arc<Mutex<HashMap<String, Arc<dyn Store>>>>;

impl Runtime {
    /// A runtime and the end its reports come out of.
    pub fn new(world: World) -> (Runtime, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(REPORTS);
        (Runtime { sender, stores: Stores::default(), world, asking: Arc::default() }, receiver)
    }

    /// Asks `builders` for names of layers, unless that is being done. Those that can't be asked are left out.
    pub fn ask_names(&self, builders: Vec<Location>) {
        let Ok(asking) = self.asking.clone().try_lock_owned() else { return };
        let (sender, state) = (self.sender.clone(), self.world.state.clone());
        tokio::spawn(async move {
            let open = |location: &Location| {
                catalog::open(location).inspect_err(|why| tracing::info!(%location, "{why}")).ok()
            };
            let stores = spawn_blocking(move || builders.iter().filter_map(open).collect::<Vec<_>>()).await;
            // Nobody waits for it, so builders may take as long as their own limits let them.
            let enough = std::future::pending();
            let names = names::ask(&stores.unwrap_or_default(), &state, enough, Timestamp::now()).await;
            drop(asking);
            // The screen is gone if nobody takes it.
            let _ = sender.send(Message::Named(names)).await;
        });
    }

    /// Starts `job`. It stops soon after its progress is cancelled, and reports exactly one end. What changes a place is never
    /// broken off: it looks itself whether it is to stop, between two steps.
    pub fn start(&self, job: Job, order: Order) {
        let (sender, stores, world) = (self.sender.clone(), self.stores.clone(), self.world.clone());
        tokio::spawn(async move {
            let (id, progress) = (job.id, job.progress.clone());
            // A task of its own, so that a panic in it is a failure of the job and no more.
            let work = tokio::spawn({
                let (sender, progress) = (sender.clone(), progress.clone());
                // Cancelling takes effect even where the work itself does not look.
                async move {
                    let changes = matches!(order.work, Work::Change(_));
                    let work = run(job, order, sender, (stores, world));
                    match changes {
                        true => Some(work.await),
                        false => progress.token().run_until_cancelled(work).await,
                    }
                }
            });
            let report = match work.await {
                Ok(Some(Ok(report))) => report,
                Ok(Some(Err(error))) => Report::Failed(error),
                Ok(None) => Report::Failed(Error::cancelled()),
                Err(why) => {
                    Report::Failed(Error::new(Kind::Internal, "this went wrong in cachedeck itself").with_source(why))
                }
            };
            // The screen is gone if nobody takes it.
            let _ = sender.send(Message::Report(id, report)).await;
        });
    }
}

async fn run(
    job: Job,
    order: Order,
    sender: mpsc::Sender<Message>,
    (stores, world): (Stores, World),
) -> Result<Report> {
    let Order { location, from, work, inventory, seen, corrupt } = order;
    let again = matches!(work, Work::Load);
    let open = || open(&location, &stores, again, &world.open);
    match work {
        Work::Load => {
            let store = open()?;
            let (found, versions) = mpsc::channel(REPORTS);
            let id = job.id;
            let forward = forward(versions, &sender, id, Report::Found);
            let (loaded, ()) = tokio::join!(load::load_showing(&store, &job.progress, Some(found)), forward);
            let ledger = changes::ledger(&store, &world).await;
            // The screen is gone if nobody takes it.
            let _ = sender.send(Message::Report(id, Report::Ledger(Box::new(ledger)))).await;
            Ok(Report::Loaded(Box::new(loaded?)))
        }
        Work::Plan(wish) => {
            let known = inventory.zip(seen);
            let store = match open() {
                Ok(store) => store,
                Err(error) => return Ok(Report::NotPlanned(wish, error)),
            };
            let other = match from.map(|from| open_other(&from, &stores, &world)).transpose() {
                Ok(other) => other,
                Err(error) => return Ok(Report::NotPlanned(wish, error)),
            };
            let bench = changes::Bench { store, world: &world, progress: &job.progress, from: other };
            let (plan, inventory, seen) = match changes::plan(&bench, &wish, known, corrupt).await {
                Ok(planned) => planned,
                Err(error) if error.kind() == Kind::Cancelled => return Err(error),
                Err(error) => return Ok(Report::NotPlanned(wish, error)),
            };
            if let Some(inventory) = inventory {
                let _ = sender.send(Message::Report(job.id, Report::Seen(Box::new(inventory), seen))).await;
            }
            Ok(Report::Planned(wish, Box::new(plan)))
        }
        Work::Check(building) => match building::check(&building).await {
            Err(error) if error.kind() == Kind::Cancelled => Err(error),
            came => Ok(Report::Checked(building, came)),
        },
        Work::Estimate(copying) => {
            let plan = async {
                let source = source(&copying.source, inventory, &stores, &world).await?;
                let to = (world.imagine)(&copying.to)?;
                copying::plan(&source, &to, &copying, &job.progress).await
            };
            match plan.await {
                Err(error) if error.kind() == Kind::Cancelled => Err(error),
                came => Ok(Report::Estimated(copying, came.map(Box::new))),
            }
        }
        Work::Change(changing) => {
            if let Changing::Build(building) = *changing {
                let said = Transcript::default();
                // The screen is gone if nobody takes it.
                let _ = sender.send(Message::Report(job.id, Report::Says(said.clone()))).await;
                return Ok(Report::Changed(building::build(*building, job.progress, said).await?));
            }
            let store = match &*changing {
                Changing::Copy(copying) => (world.make)(&copying.to)?,
                _ => open()?,
            };
            let other = from.map(|from| open_other(&from, &stores, &world)).transpose()?;
            let bench = changes::Bench { store, world: &world, progress: &job.progress, from: other };
            let ended = match *changing {
                Changing::Copy(copying) => {
                    let source = source(&copying.source, inventory, &stores, &world).await?;
                    let looking = job.progress.uncounted();
                    let plan = copying::plan(&source, &bench.store, &copying, &looking).await?;
                    // The screen is gone if nobody takes it.
                    let _ = sender.send(Message::Report(job.id, Report::Sends(plan.traffic.clone()))).await;
                    copying::copy(&bench, &source, &copying, plan).await?
                }
                changing => changes::change(&bench, changing).await?,
            };
            let ledger = changes::ledger(&bench.store, &world).await;
            let _ = sender.send(Message::Report(job.id, Report::Ledger(Box::new(ledger)))).await;
            Ok(Report::Changed(ended))
        }
        Work::Verify(level) => {
            let store = open()?;
            let inventory = known(&store, inventory).await?;
            let report = verify::verify(&store, &inventory, level, &job.progress).await?;
            Ok(Report::Verified(level, report))
        }
        Work::Raw { digest, config } => {
            let target = Target { place: job.place, digest };
            Ok(match raw(&open()?, digest, config, inventory).await {
                Ok(tree) => Report::Raw(target, Box::new(tree)),
                Err(error) if error.kind() == Kind::Cancelled => return Err(error),
                Err(error) => Report::NoRaw(target, error),
            })
        }
        Work::Files(chain) => match files(&open()?, &chain, &job, &sender, inventory).await {
            Err(error) if error.kind() != Kind::Cancelled => Ok(Report::NoFiles(chain, error)),
            other => other,
        },
        Work::Peek(file) => {
            let layer = LayerFiles::new(open()?, file.layer);
            match layer.peek(&Pick::entry(file.path.clone(), file.number), &job.progress).await {
                Err(error) if error.kind() == Kind::Cancelled => Err(error),
                Err(error) => Ok(Report::Peeked(file, Err(error))),
                Ok(peek) => blocking(move || Ok(Report::Peeked(file, Ok(Page::of(&peek))))).await,
            }
        }
        Work::Page(file) => {
            let layer = LayerFiles::new(open()?, file.layer);
            let (writer, text) = Readable::new();
            layer.cat(&Pick::entry(file.path, file.number), writer, &job.progress).await?;
            Ok(Report::Paged(text.take()))
        }
        Work::Find { pattern, scope } => {
            let store = open()?;
            let inventory = known(&store, inventory).await?;
            let pattern = find::Pattern::new(&pattern)?;
            let (hits, found) = mpsc::channel(REPORTS);
            let forward = forward(found, &sender, job.id, Report::FoundFile);
            let wanted = |index: &&CacheIndex| scope.is_none_or(|digest| index.digest == digest);
            let indexes: Vec<&CacheIndex> = inventory.indexes.iter().filter(wanted).collect();
            let (report, ()) = tokio::join!(find::find(&store, &indexes, &pattern, &job.progress, hits), forward);
            Ok(Report::FindEnd(report?))
        }
        Work::Extract { layer, path, folder } => {
            let layer = LayerFiles::new(open()?, layer);
            let target = extract::Target { folder: expand(&folder), overwrite: false };
            Ok(Report::Extracted(layer.extract(&Pick::path(path), &target, &job.progress).await?))
        }
        Work::Save { path, text } => {
            let path = expand(&path);
            let bytes = text.len() as u64;
            let written = path.clone();
            blocking(move || write_new(&written, text.as_bytes())).await?;
            Ok(Report::Saved(path, bytes))
        }
        Work::SaveBlob { path, digest } => {
            let store = open()?;
            let path = expand(&path);
            let bytes = save_blob(&store, &digest, &path, &job.progress).await?;
            Ok(Report::Saved(path, bytes))
        }
    }
}

/// Another place than the one that the job is about.
fn open_other(location: &Location, stores: &Stores, world: &World) -> Result<Arc<dyn Store>> {
    open(location, stores, false, &world.open).map_err(|error| error.context(location.title()))
}

/// Where a copy comes from, as it was loaded, else as it is now.
async fn source(
    location: &Location,
    inventory: Option<Arc<Inventory>>,
    stores: &Stores,
    world: &World,
) -> Result<copying::Source> {
    let store = open(location, stores, false, &world.open)?;
    let inventory = known(&store, inventory).await?;
    Ok(copying::Source { store, inventory })
}

/// The place as it was loaded, else as it is now.
async fn known(store: &Arc<dyn Store>, inventory: Option<Arc<Inventory>>) -> Result<Arc<Inventory>> {
    match inventory {
        Some(inventory) => Ok(inventory),
        None => Ok(Arc::new(load::load(store, &Progress::new()).await?)),
    }
}

/// Hands on what comes, as reports of a job, until nobody takes them any more.
async fn forward<T>(
    mut coming: mpsc::Receiver<T>,
    sender: &mpsc::Sender<Message>,
    id: u64,
    report: impl Fn(T) -> Report,
) {
    while let Some(news) = coming.recv().await {
        if sender.send(Message::Report(id, report(news))).await.is_err() {
            return;
        }
    }
}

/// The place at `location`, opened `again` even if it is already: there may be another by now.
fn open(location: &Location, stores: &Stores, again: bool, opens: &Arc<Open>) -> Result<Arc<dyn Store>> {
    // Whole between any two statements, so a panic elsewhere leaves it usable.
    let lock = || stores.lock().unwrap_or_else(PoisonError::into_inner);
    let key = location.reveal();
    if let Some(store) = lock().get(&key).filter(|_| !again) {
        return Ok(store.clone());
    }
    let store = opens(location)?;
    lock().insert(key, store.clone());
    Ok(store)
}

/// Lists one layer as it is read, or merges a chain of them.
async fn files(
    store: &Arc<dyn Store>,
    chain: &Chain,
    job: &Job,
    sender: &mpsc::Sender<Message>,
    inventory: Option<Arc<Inventory>>,
) -> Result<Report> {
    let known = |digest: &Digest| inventory.as_ref()?.blob(digest)?.size;
    job.progress.expect(0, chain.layers.iter().filter_map(known).sum());
    let [layer] = chain.layers[..] else {
        let merged = merge::merge(store, &chain.layers, &job.progress).await?;
        return Ok(Report::Merged(chain.clone(), Box::new(merged)));
    };
    let (batches, listed) = mpsc::channel(REPORTS);
    let forward = forward(listed, sender, job.id, |entries| Report::Listed(chain.clone(), entries));
    let layer = LayerFiles::new(Arc::clone(store), layer);
    let (listing, ()) = tokio::join!(layer.list(&job.progress, batches), forward);
    Ok(Report::ListEnd(chain.clone(), listing?))
}

/// Takes a file for the pager: line by line, without anything that could act on a terminal.
struct Readable {
    text: Arc<std::sync::Mutex<String>>,
    line: Vec<u8>,
}

/// Where the text ends up.
struct Text(Arc<std::sync::Mutex<String>>);

/// Longest text that a pager is given, in bytes.
const LONGEST: usize = 64 << 20;

impl Readable {
    fn new() -> (Readable, Text) {
        let text = Arc::new(std::sync::Mutex::new(String::new()));
        (Readable { text: Arc::clone(&text), line: Vec::new() }, Text(text))
    }

    fn end_line(&mut self) {
        let mut text = self.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if text.len() < LONGEST {
            text.push_str(&contents::plain(&self.line));
            text.push('\n');
        }
        self.line.clear();
    }
}

impl std::io::Write for Readable {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line();
            } else if self.line.len() < LONGEST {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if !self.line.is_empty() {
            self.end_line();
        }
        Ok(())
    }
}

impl Text {
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

async fn raw(
    store: &Arc<dyn Store>,
    digest: Digest,
    config: Option<Digest>,
    inventory: Option<Arc<Inventory>>,
) -> Result<Tree> {
    let index = inventory.as_ref().and_then(|inventory| inventory.version(&digest));
    let manifest = match index {
        Some(index) => load::manifest(store, index, DOCUMENT).await?,
        None => store.read(&digest, DOCUMENT).await?,
    };
    let config = match config {
        Some(config) => Some((config, store.read(&config, DOCUMENT).await)),
        None => None,
    };
    blocking(move || {
        let mut tree = Tree::default();
        tree.add(&format!("manifest {}", digest.short()), &manifest);
        if let Some((digest, read)) = config {
            let title = format!("config {}", digest.short());
            match read {
                Ok(bytes) => tree.add(&title, &bytes),
                Err(error) if error.kind() == Kind::Cancelled => return Err(error),
                // The manifest is worth seeing all the same.
                Err(error) => {
                    tree.add_problem(&title, &error_line(&error));
                }
            }
        }
        Ok(tree)
    })
    .await
}

async fn save_blob(store: &Arc<dyn Store>, digest: &Digest, path: &Path, progress: &Progress) -> Result<u64> {
    let stat = store.stat(digest).await?;
    progress.expect(1, stat.size);
    let mut reader = store.open(digest).await?;
    let mut file = create_new(path)?;
    let mut buffer = vec![0; 256 << 10];
    let mut done = 0;
    loop {
        progress.check()?;
        let read = reader.read(&mut buffer).await.map_err(|e| Error::io(format!("reading blob {digest}"), e))?;
        if read == 0 {
            return Ok(done);
        }
        file.write_all(&buffer[..read]).map_err(|e| Error::io(format!("writing {}", path.display()), e))?;
        done += read as u64;
        progress.add(0, read as u64);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|why| Error::new(Kind::Internal, "a task broke off").with_source(why))?
}

/// `~/` is the home folder, as in a shell.
fn expand(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.to_owned(),
    }
}

fn create_new(path: &Path) -> Result<std::fs::File> {
    std::fs::File::create_new(path).map_err(|why| {
        let exists = why.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::io(format!("cannot write {}", path.display()), why);
        if exists { error.with_hint("choose another name: nothing is overwritten") } else { error }
    })
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = create_new(path)?;
    file.write_all(bytes).map_err(|why| Error::io(format!("writing {}", path.display()), why))
}

/// Puts `text` on the clipboard and says how; if there is no way, shows the text itself so that it can be selected.
pub fn copy(text: &str, terminal: &mut Terminal) -> Message {
    let shown = text::fit_end(&text::safe(text), 60, text::ELLIPSIS).into_owned();
    match clipboard::copy(text, |bytes| terminal.write(bytes).is_ok()) {
        Copied::Desktop(program) => Message::Said(Tone::Done, format!("copied with {program}: {shown}")),
        Copied::Terminal => Message::Said(Tone::Done, format!("copied through the terminal: {shown}")),
        Copied::No => Message::Show("no clipboard took it; select it here".to_owned(), text.to_owned()),
    }
}

/// Shows `text` in `$PAGER` (or less, or more) while the terminal is lent to it.
pub fn page(text: &str, terminal: &mut Terminal) -> Result<Message> {
    let pager = std::env::var("PAGER").ok().filter(|p| !p.trim().is_empty()).unwrap_or_else(|| "less".to_owned());
    let shown = pager.clone();
    let ended = terminal.lend(move || {
        // Through a shell, as `$PAGER` may hold arguments; the text itself goes through the pipe.
        let mut child = Command::new("sh").arg("-c").arg(&pager).stdin(Stdio::piped()).env("LESS", "-S").spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A pager that was quit early closes the pipe.
            let _ = input.write_all(text.as_bytes());
        }
        child.wait()
    })?;
    Ok(match ended {
        Ok(status) if status.success() => Message::Said(Tone::Note, String::new()),
        Ok(status) => Message::Said(Tone::Failed, format!("{}: {status}", text::safe(&shown))),
        Err(why) => Message::Said(Tone::Failed, format!("{} does not start: {why}", text::safe(&shown))),
    })
}
