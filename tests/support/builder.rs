//! A stand-in for buildkitd: serves what a [`Told`] says over the real control API, on a socket, over TCP with and without
//! TLS, and to a `docker` that passes bytes on.

use bollard_buildkit_proto::google::protobuf::Timestamp as ProtoTime;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use cachedeck::format::usage;
use cachedeck::model::usage::UsageRecord;
use futures::stream::{self, BoxStream, StreamExt as _};
use proto::control_server::{Control, ControlServer};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

/// What a stand-in says.
#[derive(Clone, Default)]
pub struct Told {
    /// Its records.
    pub usage: Vec<proto::UsageRecord>,
    /// Its workers.
    pub workers: Vec<proto::types::WorkerRecord>,
    /// Its builds, as events.
    pub events: Vec<proto::BuildHistoryEvent>,
    /// Its version.
    pub version: String,
    /// Whether it is so old that it knows nothing but records and workers.
    pub old: bool,
    /// Whether it never answers.
    pub silent: bool,
    /// What it answers instead of records.
    pub failure: Option<Status>,
    /// What it answers instead of pruning.
    pub prune_failure: Option<Status>,
    /// Whether the answer breaks off once it has pruned.
    pub prune_breaks: bool,
}

impl Told {
    /// What the builder of the fixtures told, and a policy and builds as a real one has.
    pub fn recorded() -> Self {
        let records = usage::read(include_bytes!("../fixtures/daemon-du.json")).unwrap();
        Self {
            usage: records.iter().map(record).collect(),
            workers: vec![worker()],
            events: vec![
                event("old", 10, None),
                event("broken", 20, Some("gen: exit code 3")),
                event("newest", 30, None),
            ],
            version: "v0.31.0".to_owned(),
            ..Self::default()
        }
    }
}

/// A record as the API has it.
pub fn record(record: &UsageRecord) -> proto::UsageRecord {
    proto::UsageRecord {
        id: record.id.clone(),
        mutable: record.mutable,
        in_use: record.in_use,
        size: record.bytes as i64,
        created_at: record.created.map(time),
        last_used_at: record.last_used.map(time),
        usage_count: record.uses as i64,
        description: record.description.clone(),
        record_type: record.kind.clone(),
        shared: record.shared,
        parents: record.parents.clone(),
        ..Default::default()
    }
}

fn time(time: jiff::Timestamp) -> ProtoTime {
    ProtoTime { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// BuildKit's usual rules.
pub fn worker() -> proto::types::WorkerRecord {
    let sizes = proto::types::GcPolicy {
        reserved_space: 10_000_000_000,
        max_used_space: 100_000_000_000,
        min_free_space: 50_000_000_000,
        ..Default::default()
    };
    let hours = |n: i64| n * 3_600_000_000_000;
    let local = proto::types::GcPolicy {
        filters: ["type==source.local", "type==exec.cachemount", "type==source.git.checkout"].map(str::to_owned).into(),
        keep_duration: hours(48),
        max_used_space: 512_000_000,
        ..Default::default()
    };
    let platform = |architecture: &str| bollard_buildkit_proto::pb::Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        ..Default::default()
    };
    proto::types::WorkerRecord {
        id: "kx0xbp39xmphujv0iy3ye9fy0".to_owned(),
        labels: [("org.mobyproject.buildkit.worker.executor".to_owned(), "oci".to_owned())].into(),
        platforms: vec![platform("amd64"), platform("386")],
        gc_policy: vec![
            local,
            proto::types::GcPolicy { keep_duration: hours(60 * 24), ..sizes.clone() },
            sizes.clone(),
            proto::types::GcPolicy { all: true, ..sizes },
        ],
        ..Default::default()
    }
}

/// A build that began so many seconds after the fixtures were made and took two.
pub fn event(id: &str, second: i64, error: Option<&str>) -> proto::BuildHistoryEvent {
    let begin: jiff::Timestamp = "2026-11-20T17:31:00Z".parse().unwrap();
    let at = |second| Some(ProtoTime { seconds: begin.as_second() + second, nanos: 0 });
    let digest = "sha256:f52dc74bd0a36bd64ef0a1dbd6d8e1b8f66b13d4d01a5b11d1c6ab2b23a7f3a4".to_owned();
    let made = proto::Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: digest.clone(),
        size: 1234,
        ..Default::default()
    };
    let record = proto::BuildHistoryRecord {
        r#ref: id.to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: [
            ("target", "web"),
            ("filename", "Dockerfile"),
            ("build-arg:TOKEN", "canary-build-arg"),
            ("context", "https://me:canary-password@example.com/repo.git"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        exporters: vec![proto::Exporter { r#type: "image".to_owned(), ..Default::default() }],
        error: error.map(|message| bollard_buildkit_proto::google::rpc::Status {
            code: 2,
            message: message.to_owned(),
            details: Vec::new(),
        }),
        created_at: at(second),
        completed_at: at(second + 2),
        exporter_response: match error {
            None => [("image.name".to_owned(), "shop:latest".to_owned())].into(),
            Some(_) => Default::default(),
        },
        results: match error {
            None => [(
                "linux/amd64".to_owned(),
                proto::BuildResultInfo { results: [(0, made)].into(), ..Default::default() },
            )]
            .into(),
            Some(_) => Default::default(),
        },
        pinned: id == "old",
        num_cached_steps: 6,
        num_total_steps: 8,
        num_completed_steps: 8,
        ..Default::default()
    };
    proto::BuildHistoryEvent { r#type: proto::BuildHistoryEventType::Complete.into(), record: Some(record) }
}

struct Answering {
    told: Told,
    /// Its records as they are now.
    records: Mutex<Vec<proto::UsageRecord>>,
    asked: Arc<AtomicUsize>,
    pruned: Pruned,
    pins: Pins,
}

/// Builds, and whether they are to be kept, as was asked.
type Pins = Arc<Mutex<Vec<(String, bool)>>>;

/// Requests to prune, as they came.
type Pruned = Arc<Mutex<Vec<proto::PruneRequest>>>;

impl Answering {
    /// As buildkitd does it: what nothing uses and nothing builds on goes, if a filter fits, until nothing more does.
    fn prune_now(&self, request: &proto::PruneRequest) -> Vec<proto::UsageRecord> {
        let mut records = self.records.lock().unwrap();
        let fits = |id: &str| request.filter.is_empty() || request.filter.iter().any(|f| *f == format!("id=={id}"));
        let mut gone = Vec::new();
        loop {
            let held: Vec<String> = records.iter().flat_map(|record| record.parents.clone()).collect();
            let goes = |r: &proto::UsageRecord| {
                let special = r.shared || ["internal", "frontend"].contains(&r.record_type.as_str());
                !r.in_use && !held.contains(&r.id) && fits(&r.id) && (request.all || !special)
            };
            let (went, stay): (Vec<_>, Vec<_>) = records.drain(..).partition(goes);
            *records = stay;
            if went.is_empty() {
                return gone;
            }
            gone.extend(went);
        }
    }
}

impl Answering {
    async fn begin(&self, old_too: bool) -> Result<(), Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.told.silent {
            std::future::pending::<()>().await;
        }
        if self.told.old && !old_too { Err(Status::unimplemented("unknown method")) } else { Ok(()) }
    }
}

type Events<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl Control for Answering {
    async fn disk_usage(
        &self,
        _: Request<proto::DiskUsageRequest>,
    ) -> Result<Response<proto::DiskUsageResponse>, Status> {
        self.begin(true).await?;
        match &self.told.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(Response::new(proto::DiskUsageResponse { record: self.records.lock().unwrap().clone() })),
        }
    }

    async fn list_workers(
        &self,
        _: Request<proto::ListWorkersRequest>,
    ) -> Result<Response<proto::ListWorkersResponse>, Status> {
        self.begin(true).await?;
        Ok(Response::new(proto::ListWorkersResponse { record: self.told.workers.clone() }))
    }

    async fn info(&self, _: Request<proto::InfoRequest>) -> Result<Response<proto::InfoResponse>, Status> {
        self.begin(false).await?;
        let version = proto::types::BuildkitVersion { version: self.told.version.clone(), ..Default::default() };
        Ok(Response::new(proto::InfoResponse { buildkit_version: Some(version) }))
    }

    type ListenBuildHistoryStream = Events<proto::BuildHistoryEvent>;

    async fn listen_build_history(
        &self,
        request: Request<proto::BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        self.begin(false).await?;
        let events = stream::iter(self.told.events.clone().into_iter().map(Ok));
        // As the real one: it listens for ever where it was not asked to end.
        Ok(Response::new(match request.into_inner().early_exit {
            true => events.boxed(),
            false => events.chain(stream::pending()).boxed(),
        }))
    }

    type PruneStream = Events<proto::UsageRecord>;

    async fn prune(&self, request: Request<proto::PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        self.begin(true).await?;
        let request = request.into_inner();
        self.pruned.lock().unwrap().push(request.clone());
        assert!(!request.filter.is_empty(), "without a filter everything would go");
        if let Some(failure) = &self.told.prune_failure {
            return Err(failure.clone());
        }
        let gone = self.prune_now(&request);
        let broken = self.told.prune_breaks.then(|| Err(Status::unavailable("the connection broke off")));
        Ok(Response::new(stream::iter(gone.into_iter().map(Ok).chain(broken)).boxed()))
    }

    async fn solve(&self, _: Request<proto::SolveRequest>) -> Result<Response<proto::SolveResponse>, Status> {
        panic!("reading builds nothing");
    }

    type StatusStream = Events<proto::StatusResponse>;

    async fn status(&self, _: Request<proto::StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        panic!("reading watches nothing");
    }

    type SessionStream = Events<proto::BytesMessage>;

    async fn session(
        &self,
        _: Request<Streaming<proto::BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        panic!("reading begins no session");
    }

    async fn update_build_history(
        &self,
        request: Request<proto::UpdateBuildHistoryRequest>,
    ) -> Result<Response<proto::UpdateBuildHistoryResponse>, Status> {
        self.begin(true).await?;
        let request = request.into_inner();
        assert!(!request.delete && !request.finalize, "only pins are changed");
        self.pins.lock().unwrap().push((request.r#ref, request.pinned));
        Ok(Response::new(proto::UpdateBuildHistoryResponse {}))
    }
}

/// A stand-in that runs as long as this lives.
pub struct Builder {
    folder: TempDir,
    /// Where it listens on TCP.
    pub port: u16,
    /// How many questions it was asked.
    pub asked: Arc<AtomicUsize>,
    pruned: Pruned,
    pins: Pins,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Builder {
    /// Begins to answer on a socket and on TCP.
    pub fn start(told: Told) -> Self {
        Self::start_with(told, None)
    }

    /// The same, with TLS on TCP.
    pub fn start_with(told: Told, tls: Option<ServerTlsConfig>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let unix = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        unix.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (records, pruned, pins) = (Mutex::new(told.usage.clone()), Pruned::default(), Pins::default());
        let service =
            Arc::new(Answering { told, records, asked: asked.clone(), pruned: pruned.clone(), pins: pins.clone() });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let unix = tokio::net::UnixListener::from_std(unix).unwrap();
                let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
                let unix = stream::unfold(unix, |l| async move { Some((l.accept().await.map(|(s, _)| s), l)) });
                let tcp = stream::unfold(tcp, |l| async move { Some((l.accept().await.map(|(s, _)| s), l)) });
                let control = || ControlServer::from_arc(service.clone());
                let mut secured = Server::builder();
                if let Some(tls) = tls {
                    secured = secured.tls_config(tls).unwrap();
                }
                let one = Server::builder().add_service(control()).serve_with_incoming(unix);
                let other = secured.add_service(control()).serve_with_incoming(tcp);
                tokio::select! {
                    ended = one => ended.unwrap(),
                    ended = other => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { folder, port, asked, pruned, pins, stop: Some(stop), thread: Some(thread) }
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// The socket as an address.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A folder that holds a `docker` and a `buildx` which lead here, to be put on the PATH. The environment says how they are:
    /// `STAND_IN_STATUS` is what builders are (running, stopped, …), and with `STAND_IN_REFUSES` dialling fails with that text.
    pub fn programs(&self) -> PathBuf {
        let folder = self.folder.path().join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        let script = DOCKER.replace("SOCKET", &self.socket().display().to_string());
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join("docker");
        std::fs::write(&path, &script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// Builds that were pinned or let go.
    pub fn pins(&self) -> Vec<(String, bool)> {
        self.pins.lock().unwrap().clone()
    }

    /// What it was asked to prune: the filters of each request.
    pub fn pruned(&self) -> Vec<Vec<String>> {
        self.pruned.lock().unwrap().iter().map(|request| request.filter.clone()).collect()
    }

    /// What the programs were called with, a line each.
    pub fn calls(&self) -> Vec<String> {
        let said = std::fs::read_to_string(self.folder.path().join("bin/calls")).unwrap_or_default();
        said.lines().map(str::to_owned).collect()
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it is told where it was.
            let _ = thread.join();
        }
    }
}

/// As much of docker as it takes: `buildx inspect`, and anything with `dial-stdio`, which connects stdin and stdout.
const DOCKER: &str = r#"#!/usr/bin/env python3
import os, socket, sys, threading
arguments = sys.argv[1:]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "calls"), "a") as calls:
    calls.write(" ".join(arguments) + "\n")
if "inspect" in arguments:
    print("Name:   " + arguments[-1] + "\nDriver: kubernetes\n\nNodes:\nName:     n0\nStatus:   "
          + os.environ.get("STAND_IN_STATUS", "running"))
    sys.exit(0)
if os.environ.get("STAND_IN_REFUSES"):
    sys.stderr.write(os.environ["STAND_IN_REFUSES"] + "\n")
    sys.exit(1)
if "dial-stdio" not in arguments:
    sys.stderr.write("unknown command\n")
    sys.exit(1)
connection = socket.socket(socket.AF_UNIX)
connection.connect("SOCKET")
def out():
    while data := connection.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=out, daemon=True).start()
while data := os.read(0, 65536):
    connection.sendall(data)
connection.shutdown(socket.SHUT_WR)
threading.Event().wait(5)
"#;
