//! Ways to buildkitd: a socket, TCP with or without TLS, or a program that passes bytes on. Ways that go through buildx make
//! sure first that the builder runs, since dialling would start it, and reading must start nothing.

use super::child::{self, Said};
use crate::error::{Error, Kind, Result};
use crate::model::text;
use hyper_util::rt::TokioIo;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

/// How a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String, Option<Tls>),
    /// buildkitd in a container.
    Container {
        /// Docker's context, or the address of its API, where it is not the usual one.
        context: Option<String>,
        /// The container.
        container: String,
        /// The builder of buildx that it belongs to.
        builder: Option<String>,
    },
    /// Whatever buildx does: the builder and, where it has several nodes, a platform of this one.
    Buildx(String, Option<String>),
}

/// Files of TLS, as buildx keeps them for its remote driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities to trust; those of the system where there is none.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have; that of the host where there is none.
    pub server: Option<String>,
}

/// A connection that was made.
#[derive(Debug)]
pub struct Connection {
    /// What requests go through.
    pub channel: Channel,
    /// What the program in between says.
    pub said: Option<Said>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Way {
    /// Reads an address as `buildctl --addr` has it. [`Kind::Invalid`] if it is none.
    pub fn parse(address: &str, tls: Option<Tls>) -> Result<Self> {
        let known = "addresses are unix://PATH, tcp://HOST:PORT and docker-container://NAME";
        let invalid = |what: String| Error::invalid(what).with_hint(known);
        let (scheme, rest) = address
            .split_once("://")
            .ok_or_else(|| invalid(format!("no address of a builder: {}", text::safe(address))))?;
        let missing = |what| invalid(format!("{scheme}:// names no {what}"));
        match scheme {
            "unix" if rest.is_empty() => Err(missing("path")),
            "unix" => Ok(Way::Unix(rest.into())),
            "tcp" => {
                let host = rest.trim_end_matches('/');
                let uri = host.parse::<http::uri::Authority>();
                match uri {
                    Ok(uri) if uri.host().is_empty() || host.contains('@') => Err(missing("host")),
                    Ok(uri) if uri.port().is_none() => Err(missing("port")),
                    Ok(uri) => Ok(Way::Tcp(uri.to_string(), tls)),
                    Err(_) => Err(missing("host and port")),
                }
            }
            "docker-container" => {
                let (container, query) = rest.split_once('?').unwrap_or((rest, ""));
                let context = query.split('&').find_map(|part| part.strip_prefix("context="));
                let container = container.trim_end_matches('/');
                // What begins with a dash would be an option to docker.
                if container.is_empty() || container.starts_with('-') {
                    return Err(missing("container"));
                }
                Ok(Way::Container {
                    context: context.map(str::to_owned),
                    container: container.to_owned(),
                    builder: None,
                })
            }
            other => Err(invalid(format!("can't reach builders through {}://", text::safe(other)))),
        }
    }

    /// For people.
    pub fn title(&self) -> String {
        match self {
            Way::Unix(path) => format!("unix://{}", path.display()),
            Way::Tcp(host, _) => format!("tcp://{host}"),
            Way::Container { container, .. } => format!("docker-container://{container}"),
            Way::Buildx(builder, _) => format!("buildx:{builder}"),
        }
    }

    /// Whether what is said can be overheard: TCP without TLS that leaves this machine.
    pub fn is_open(&self) -> bool {
        let Way::Tcp(host, None) = self else { return false };
        let host = host.parse::<http::uri::Authority>().map(|a| a.host().to_owned()).unwrap_or_default();
        let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host != "localhost" && !ip.is_ok_and(|ip| ip.is_loopback())
    }

    /// Connects within `timeout`.
    pub async fn connect(&self, timeout: Duration) -> Result<Connection> {
        let late = |_| Error::new(Kind::Unavailable, format!("{}: no connection within {timeout:?}", self.title()));
        tokio::time::timeout(timeout, self.dial(timeout)).await.map_err(late)?
    }

    async fn dial(&self, timeout: Duration) -> Result<Connection> {
        match self {
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.refused(error))?;
                Ok(Connection { channel: self.speak(stream, None).await?, said: None })
            }
            Way::Tcp(host, tls) => {
                let stream = TcpStream::connect(host).await.map_err(|error| self.refused(error))?;
                Ok(Connection { channel: self.speak(stream, tls.as_ref()).await?, said: None })
            }
            Way::Container { context, container, .. } => {
                let mut words = vec!["docker".to_owned()];
                if let Some(context) = context {
                    let option = if context.contains("://") { "--host" } else { "--context" };
                    words.push(format!("{option}={context}"));
                }
                words.extend(["exec", "-i", container, "buildctl", "dial-stdio"].map(str::to_owned));
                if !child::is_there("docker") {
                    return Err(without_docker(&format!("container {container}")));
                }
                self.pass_through(&words).await
            }
            Way::Buildx(builder, platform) => {
                let mut words = running(builder, timeout).await?;
                words.extend(["dial-stdio", "--builder", builder, "--progress", "quiet"].map(str::to_owned));
                words.extend(platform.iter().flat_map(|p| ["--platform".to_owned(), p.clone()]));
                self.pass_through(&words).await
            }
        }
    }

    async fn pass_through(&self, words: &[String]) -> Result<Connection> {
        let (pipes, said) = child::start(words)?;
        match self.speak(pipes, None).await {
            Ok(channel) => Ok(Connection { channel, said: Some(said) }),
            Err(error) => Err(explained(error, self, &said.whole().await)),
        }
    }

    /// Speaks HTTP/2 over a stream that is there.
    async fn speak(&self, stream: impl Stream + 'static, tls: Option<&Tls>) -> Result<Channel> {
        let failed = |error: tonic::transport::Error| {
            Error::new(Kind::Unavailable, format!("{}: no connection", self.title())).with_source(error)
        };
        let host = match (self, tls) {
            (Way::Tcp(_, Some(Tls { server: Some(server), .. })), _) => server.as_str(),
            (Way::Tcp(host, _), _) => host.as_str(),
            _ => "localhost",
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let uri = format!("{scheme}://{host}").parse::<Uri>();
        let uri = uri.map_err(|_| Error::invalid(format!("no host name: {}", text::safe(host))))?;
        let mut endpoint = Endpoint::from(uri);
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls.config()?).map_err(|error| {
                Error::invalid(format!("{}: its certificates can't be used", self.title())).with_source(error)
            })?;
        }
        // It is one stream: a second connection would have to be dialled anew.
        let once = Mutex::new(Some(TokioIo::new(Box::new(stream) as Box<dyn Stream>)));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            async { stream.ok_or_else(|| std::io::Error::new(ErrorKind::NotConnected, "the connection is closed")) }
        });
        let channel = endpoint.connect_with_connector(connector).await.map_err(failed);
        channel.map_err(|error| if tls.is_some() { about_tls(error) } else { error })
    }

    /// Why nobody answers.
    fn refused(&self, error: std::io::Error) -> Error {
        let kind = error.kind();
        let refused = Error::io(self.title(), error);
        match (self, kind) {
            (Way::Unix(_), ErrorKind::NotFound) => refused.with_hint("is buildkitd running, and is this its socket?"),
            (Way::Unix(_), ErrorKind::PermissionDenied) => {
                let own = "a rootless buildkitd has its socket below $XDG_RUNTIME_DIR";
                refused.with_hint(format!("join the group that owns the socket (`buildkitd --group`); {own}"))
            }
            (Way::Unix(_), ErrorKind::ConnectionRefused) => {
                Error::new(Kind::Unavailable, format!("{}: nobody listens there any more", self.title()))
                    .with_hint("start buildkitd again")
            }
            // A host that is not found is not a builder that does not exist.
            (Way::Tcp(..), _) => {
                Error::new(Kind::Unavailable, refused.to_string()).with_hint("is buildkitd listening there?")
            }
            _ => refused,
        }
    }
}

impl Tls {
    fn config(&self) -> Result<ClientTlsConfig> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|e| Error::io(format!("reading {}", path.display()), e));
        let mut config = ClientTlsConfig::new().assume_http2(true);
        config = match &self.ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(read(ca)?)),
            None => config.with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(match &self.server {
            Some(server) => config.domain_name(server),
            None => config,
        })
    }
}

fn about_tls(error: Error) -> Error {
    match error.to_string().contains("ertificate") {
        true => Error::new(Kind::Unauthenticated, error.to_string())
            .with_hint("cacert= is what signed the server's certificate; cert= and key= are what it knows us by"),
        false => error,
    }
}

/// Adds what a program in between said to `error`, and what that means.
pub fn explained(error: Error, way: &Way, said: &str) -> Error {
    if said.is_empty() {
        return error;
    }
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    let what = format!("{}: {}", way.title(), text::safe_within(&last.join("; "), 600));
    let has = |words: &[&str]| words.iter().any(|word| said.to_lowercase().contains(word));
    let bootstrap = match way {
        Way::Container { container, builder: None, .. } => format!("docker start {container}"),
        Way::Container { builder: Some(builder), .. } | Way::Buildx(builder, _) => {
            format!("docker buildx inspect --bootstrap {builder}")
        }
        Way::Unix(_) | Way::Tcp(..) => return Error::new(error.kind(), what),
    };
    match () {
        () if has(&["no such container"]) => Error::not_found(what).with_hint(match way {
            Way::Container { builder: Some(_), .. } => format!("it was not started yet: `{bootstrap}`"),
            _ => "`docker ps` shows those that run".to_owned(),
        }),
        () if has(&["is not running", "is paused"]) => {
            Error::new(Kind::Unavailable, what).with_hint(format!("start it: `{bootstrap}`"))
        }
        () if has(&["cannot connect to the docker daemon", "is the docker daemon running"]) => {
            Error::new(Kind::Unavailable, what).with_hint("start Docker, or set DOCKER_HOST to where it is")
        }
        () if has(&["permission denied"]) => {
            Error::new(Kind::Denied, what).with_hint("join the group docker, or use a rootless Docker")
        }
        () if has(&["no builder", "not found"]) => {
            Error::not_found(what).with_hint("`docker buildx ls` shows builders")
        }
        () => Error::new(error.kind(), what),
    }
}

fn without_docker(what: &str) -> Error {
    Error::new(Kind::Unavailable, format!("{what} can't be reached: there is no docker on the PATH")).with_hint(
        "install the docker command, or give the builder's address: addr=unix://PATH or addr=tcp://HOST:PORT",
    )
}

/// The words that buildx is called with, if `builder` runs. To dial one that does not would start it.
async fn running(builder: &str, timeout: Duration) -> Result<Vec<String>> {
    let ways: [&[&str]; 3] = [&["docker", "buildx"], &["buildx"], &["docker-buildx"]];
    let mut last = None;
    for way in ways.iter().filter(|way| child::is_there(way[0])) {
        let way: Vec<String> = way.iter().map(|word| (*word).to_owned()).collect();
        let inspect = [way.as_slice(), &["inspect".to_owned(), builder.to_owned()]].concat();
        let (well, out, said) = child::run(&inspect, timeout).await?;
        let said = format!("{said}\n{}", out.lines().filter(|line| line.starts_with("Error:")).collect::<String>());
        let through = Way::Buildx(builder.to_owned(), None);
        let failed = || Error::new(Kind::Unavailable, format!("builder {builder} can't be reached"));
        if !well {
            // Docker without the plugin; buildx may be there by itself.
            let lacks = ["not a docker command", "unknown command"].iter().any(|words| said.contains(words));
            let error = explained(failed(), &through, &said);
            if !lacks {
                return Err(error);
            }
            last = Some(error.with_hint("install the buildx plugin of docker"));
            continue;
        }
        let states: Vec<&str> = out.lines().filter_map(|line| Some(line.strip_prefix("Status:")?.trim())).collect();
        if states.contains(&"running") {
            return Ok(way);
        }
        if states.is_empty() {
            return Err(explained(failed(), &through, said.trim()));
        }
        let what = format!("builder {builder} is {}", text::safe(states[0]));
        let hint = format!("start it: `docker buildx inspect --bootstrap {builder}`");
        return Err(Error::new(Kind::Unavailable, what).with_hint(hint));
    }
    Err(last.unwrap_or_else(|| without_docker(&format!("builder {builder}"))))
}
