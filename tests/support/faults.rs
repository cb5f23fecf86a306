//! An HTTP proxy on this machine that plays faults: it stands before a real server, notes what it is asked, and answers some
//! requests as a server or network in trouble would.
//!
//! ```no_run
//! let proxy = Proxy::before(&support::registry());
//! proxy.play(When::nth(2).of("GET /v2/"), Fault::Reset);
//! // ... use proxy.url() ...
//! proxy.heal();
//! ```

use reqwest::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET /v2/app/tags/list?n=1000`
    pub line: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer, the server's own or one made up.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with no more than a status.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// This answer with a header more, or another value of it.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    /// This answer with another body.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.headers.remove(CONTENT_LENGTH);
        self.body = body.into();
        self
    }
}

type Change = Arc<dyn Fn(&Asked, Answer) -> Answer + Send + Sync>;
type Ask = Arc<dyn Fn(Asked) -> Result<Asked, Box<Answer>> + Send + Sync>;

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// This comes instead, and the server is not asked.
    Answers(Answer),
    /// The connection is reset after the request.
    Reset,
    /// The server does what it is asked, and the connection is reset before its answer.
    Lost,
    /// The server is asked something else, or what comes is made up.
    Asked(Ask),
    /// Nothing comes, ever.
    Stall,
    /// Headers and half of the body come, and then nothing.
    StallHalfway,
    /// Headers and half of the body come, then the connection is reset.
    ResetHalfway,
    /// Half of the body comes, as if that was all.
    Truncated,
    /// A body longer than the server's by some bytes, with the length it then has.
    TooLong,
    /// The length that is told is greater than what comes before the connection ends.
    WrongLength,
    /// The body has the right length, but every byte of it is another.
    WrongBytes,
    /// The server's answer, changed: pages that are empty, repeated, or lead in a circle look different for every API.
    Changed(Change),
}

impl Fault {
    /// What the server is asked, changed by `change`, or the answer that comes instead.
    pub fn asked(change: impl Fn(Asked) -> Result<Asked, Box<Answer>> + Send + Sync + 'static) -> Self {
        Self::Asked(Arc::new(change))
    }

    /// An error by status alone.
    pub fn status(status: u16) -> Self {
        Self::Answers(Answer::status(status))
    }

    /// The server's answer, changed by `change`.
    pub fn changed(change: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static) -> Self {
        Self::Changed(Arc::new(change))
    }
}

/// Which requests a fault is for.
#[derive(Clone, Debug)]
pub struct When {
    part: String,
    numbers: RangeInclusive<usize>,
}

impl When {
    /// Every request.
    pub fn always() -> Self {
        Self { part: String::new(), numbers: 1..=usize::MAX }
    }

    /// The `n`th request only, counted from 1.
    pub fn nth(n: usize) -> Self {
        Self { part: String::new(), numbers: n..=n }
    }

    /// The `n`th request and all after it.
    pub fn from(n: usize) -> Self {
        Self { part: String::new(), numbers: n..=usize::MAX }
    }

    /// Of those whose line (`GET /path?query`) holds `part`.
    pub fn of(self, part: &str) -> Self {
        Self { part: part.to_owned(), ..self }
    }
}

struct Rule {
    when: When,
    fault: Fault,
    matched: usize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    asked: Vec<Asked>,
}

/// The proxy. It stops when this is dropped.
pub struct Proxy {
    url: String,
    state: Arc<Mutex<State>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Proxy {
    /// Stands before the server at `upstream`, a URL that may have a path.
    pub fn before(upstream: &str) -> Self {
        let upstream: reqwest::Url = upstream.parse().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let (shared, origin) = (state.clone(), upstream.origin().ascii_serialization());
        // A runtime of its own: tests without one, and those that block theirs, can use it, too.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (client, state, origin) = (client.clone(), shared.clone(), origin.clone());
                        // Whatever becomes of one connection is between it and the tested program.
                        tokio::spawn(async move { drop(serve(stream, client, &state, &origin).await) });
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        let url = format!("http://{}{}", told.recv().unwrap(), upstream.path().trim_end_matches('/'));
        Self { url, state, _stop: stop }
    }

    /// Where it listens: `http://127.0.0.1:PORT`, and the server's path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`
    pub fn authority(&self) -> &str {
        self.url["http://".len()..].split('/').next().unwrap()
    }

    /// Plays `fault` from now on. Of several that are for the same request, the first is played.
    pub fn play(&self, when: When, fault: Fault) {
        self.state.lock().unwrap().rules.push(Rule { when, fault, matched: 0 });
    }

    /// Plays no fault any more, and forgets what it was asked.
    pub fn heal(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }
}

/// One request a connection.
async fn serve(
    mut stream: TcpStream,
    client: reqwest::Client,
    state: &Mutex<State>,
    origin: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(asked) = read(&mut stream).await? else { return Ok(()) };
    let fault = {
        let mut state = state.lock().unwrap();
        state.asked.push(asked.clone());
        let mut played = None;
        for rule in state.rules.iter_mut().filter(|rule| asked.line.contains(&rule.when.part)) {
            rule.matched += 1;
            if rule.when.numbers.contains(&rule.matched) {
                played = played.or_else(|| Some(rule.fault.clone()));
            }
        }
        played
    };
    let answer = match &fault {
        Some(Fault::Answers(answer)) => answer.clone(),
        Some(Fault::Reset) => return Ok(stream.set_zero_linger()?),
        Some(Fault::Stall) => return std::future::pending().await,
        Some(Fault::Lost) => {
            forward(&asked, &client, origin).await?;
            return Ok(stream.set_zero_linger()?);
        }
        Some(Fault::Asked(change)) => match change(asked.clone()) {
            Ok(asked) => forward(&asked, &client, origin).await?,
            Err(answer) => *answer,
        },
        _ => forward(&asked, &client, origin).await?,
    };
    let answer = match &fault {
        Some(Fault::Changed(change)) => change(&asked, answer),
        Some(Fault::Truncated) => {
            let half = answer.body.len() / 2;
            let body = answer.body[..half].to_vec();
            answer.with_body(body)
        }
        Some(Fault::TooLong) => {
            let body = [&answer.body[..], b"and more"].concat();
            answer.with_body(body)
        }
        Some(Fault::WrongBytes) => {
            let body = answer.body.iter().map(|byte| byte.wrapping_add(1)).collect::<Vec<_>>();
            answer.with_body(body)
        }
        _ => answer,
    };
    let is_head = asked.line.starts_with("HEAD ");
    let extra = if matches!(fault, Some(Fault::WrongLength)) { 7 } else { 0 };
    let mut head = format!("HTTP/1.1 {} Played\r\n", answer.status);
    for (name, value) in &answer.headers {
        let ours = [CONNECTION, TRANSFER_ENCODING].contains(name) || (*name == CONTENT_LENGTH && !is_head);
        if !ours {
            head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
        }
    }
    if !is_head && !matches!(answer.status, 204 | 304) {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len() + extra));
    }
    head.push_str("connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    if is_head {
        return Ok(stream.shutdown().await?);
    }
    let halfway = matches!(fault, Some(Fault::StallHalfway | Fault::ResetHalfway));
    let sent = if halfway { &answer.body[..answer.body.len() / 2] } else { &answer.body[..] };
    stream.write_all(sent).await?;
    stream.flush().await?;
    match fault {
        Some(Fault::StallHalfway) => std::future::pending().await,
        Some(Fault::ResetHalfway) => Ok(stream.set_zero_linger()?),
        _ => Ok(stream.shutdown().await?),
    }
}

/// Reads a request; `None` if none comes.
async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value.trim()).unwrap());
    }
    let mut body = bytes.split_off(end + 4);
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(TRANSFER_ENCODING);
        return Ok(chunks(stream, body).await?.map(|body| Asked { line, headers, body }));
    }
    let length = headers.get(CONTENT_LENGTH).map_or(0, |value| value.to_str().unwrap().parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Asked { line, headers, body }))
}

/// Reads a body in chunks, of which `begun` was read already; `None` if it breaks off.
async fn chunks(stream: &mut TcpStream, begun: Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    let (mut raw, mut body) = (begun, Vec::new());
    loop {
        let Some(at) = raw.windows(2).position(|two| two == b"\r\n") else {
            if stream.read_buf(&mut raw).await? == 0 {
                return Ok(None);
            }
            continue;
        };
        let size = String::from_utf8_lossy(&raw[..at]).into_owned();
        let size = size.split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else { return Ok(None) };
        while raw.len() < at + 2 + size + 2 {
            if stream.read_buf(&mut raw).await? == 0 {
                return Ok(None);
            }
        }
        body.extend_from_slice(&raw[at + 2..at + 2 + size]);
        raw.drain(..at + 2 + size + 2);
        if size == 0 {
            return Ok(Some(body));
        }
    }
}

/// Asks the server. `Host` stays as the program gave it: signatures are made with it, and answers hold it.
async fn forward(asked: &Asked, client: &reqwest::Client, origin: &str) -> Result<Answer, reqwest::Error> {
    let (method, path) = asked.line.split_once(' ').unwrap();
    let mut request = reqwest::Request::new(method.parse().unwrap(), format!("{origin}{path}").parse().unwrap());
    *request.headers_mut() = asked.headers.clone();
    request.headers_mut().remove(CONNECTION);
    *request.body_mut() = (!asked.body.is_empty()).then(|| asked.body.clone().into());
    let response = client.execute(request).await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
}
