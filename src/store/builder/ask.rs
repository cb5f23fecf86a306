//! Asks one buildkitd for all it tells, and turns the answers into model. What an old version does not know stays unknown
//! and hides nothing else.

use super::way::{Connection, Way, explained};
use crate::error::{Error, Kind, Result};
use crate::model::builder::{Build, Part, Produced, Rule, Worker};
use crate::model::location::mask_url;
use crate::model::text;
use crate::model::usage::UsageRecord;
use bollard_buildkit_proto::google::protobuf::Timestamp as ProtoTime;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use jiff::Timestamp;
use std::future::Future;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The longest answer that is taken: a builder with a million records stays below.
const LONGEST: usize = 256 << 20;

/// Builds read at most; builders keep 50 by themselves.
const MOST_BUILDS: usize = 10_000;

/// Texts of a builder are cut after so many bytes.
const LONGEST_TEXT: usize = 4 << 10;

/// What a question comes to.
type Answer<T> = std::result::Result<T, Status>;

/// Everything one buildkitd says.
pub struct Answers {
    pub version: Option<String>,
    pub records: Part<UsageRecord>,
    pub workers: Part<Worker>,
    pub builds: Part<Build>,
}

/// Asks all there is to ask, all at once. An error means that it can't be asked at all.
pub async fn everything(way: &Way, timeout: Duration) -> Result<Answers> {
    let connection = way.connect(timeout).await?;
    let (usage, workers, info, builds) = tokio::join!(
        within(timeout, usage(client(&connection))),
        within(timeout, workers(client(&connection))),
        within(timeout, info(client(&connection))),
        within(timeout, builds(client(&connection))),
    );
    if let Err(status) = &usage
        && !is_unknown(status)
    {
        return Err(failed(way, &connection, status).await);
    }
    let part = |status: &Status| unknown(status, info.as_ref().ok().and_then(Option::as_deref));
    let (workers, of_workers) = match workers {
        Ok((workers, version)) => (Ok(workers), version),
        Err(status) => (Err(part(&status)), None),
    };
    Ok(Answers {
        records: usage.map_err(|status| part(&status)),
        workers,
        builds: builds.map_err(|status| part(&status)),
        version: info.ok().flatten().or(of_workers),
    })
}

/// Asks for the records alone.
pub async fn records(way: &Way, timeout: Duration) -> Result<Vec<UsageRecord>> {
    let connection = way.connect(timeout).await?;
    match within(timeout, usage(client(&connection))).await {
        Ok(records) => Ok(records),
        Err(status) => Err(failed(way, &connection, &status).await),
    }
}

/// Lets the builder keep a build in its history, or no longer. buildkitd writes the record of whatever it is told, so it is looked
/// for first: [`Kind::NotFound`] if there is none.
pub async fn keep_build(way: &Way, timeout: Duration, id: &str, kept: bool) -> Result<()> {
    let connection = way.connect(timeout).await?;
    let known = match within(timeout, builds(client(&connection))).await {
        Ok(known) => known,
        Err(status) => return Err(failed(way, &connection, &status).await),
    };
    if !known.iter().any(|build| build.id == id) {
        return Err(Error::not_found(format!("no build {}", text::safe(id))));
    }
    let request = proto::UpdateBuildHistoryRequest { r#ref: id.to_owned(), pinned: kept, ..Default::default() };
    let mut client = client(&connection);
    match within(timeout, async { client.update_build_history(request).await }).await {
        Ok(_) => Ok(()),
        Err(status) => Err(failed(way, &connection, &status).await),
    }
}

pub(super) fn client(connection: &Connection) -> ControlClient<Channel> {
    ControlClient::new(connection.channel.clone()).max_decoding_message_size(LONGEST)
}

pub(super) async fn within<T>(timeout: Duration, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
    let late = || Status::deadline_exceeded(format!("no answer within {timeout:?}"));
    tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| Err(late()))
}

async fn usage(mut client: ControlClient<Channel>) -> Answer<Vec<UsageRecord>> {
    let answer = client.disk_usage(proto::DiskUsageRequest::default()).await?.into_inner();
    let mut records: Vec<_> = answer.record.into_iter().map(record).collect();
    records.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(records)
}

async fn workers(mut client: ControlClient<Channel>) -> Answer<(Vec<Worker>, Option<String>)> {
    let answer = client.list_workers(proto::ListWorkersRequest::default()).await?.into_inner();
    let version = answer.record.iter().find_map(|worker| Some(worker.buildkit_version.as_ref()?.version.clone()));
    Ok((answer.record.into_iter().map(worker).collect(), version.filter(|version| !version.is_empty())))
}

async fn info(mut client: ControlClient<Channel>) -> Answer<Option<String>> {
    let answer = client.info(proto::InfoRequest::default()).await?.into_inner();
    Ok(answer.buildkit_version.map(|version| version.version).filter(|version| !version.is_empty()))
}

async fn builds(mut client: ControlClient<Channel>) -> Answer<Vec<Build>> {
    let request = proto::BuildHistoryRequest { early_exit: true, ..Default::default() };
    let mut events = client.listen_build_history(request).await?.into_inner();
    let mut builds: Vec<Build> = Vec::new();
    while let Some(event) = events.message().await? {
        let gone = event.r#type == i32::from(proto::BuildHistoryEventType::Deleted);
        if let Some(record) = event.record.filter(|_| !gone) {
            // Of a build that goes on there may be several events.
            builds.retain(|known| known.id != record.r#ref);
            builds.push(build(record));
        }
        if builds.len() == MOST_BUILDS {
            break;
        }
    }
    builds.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    Ok(builds)
}

fn record(record: proto::UsageRecord) -> UsageRecord {
    // Before BuildKit 0.9 there was one parent at most.
    #[allow(deprecated)]
    let only = Some(record.parent).filter(|parent| !parent.is_empty() && record.parents.is_empty());
    UsageRecord {
        id: record.id,
        parents: record.parents.into_iter().chain(only).collect(),
        kind: record.record_type,
        description: cut(record.description),
        bytes: bytes(record.size),
        created: record.created_at.and_then(time),
        last_used: record.last_used_at.and_then(time),
        uses: bytes(record.usage_count),
        in_use: record.in_use,
        mutable: record.mutable,
        shared: record.shared,
    }
}

fn worker(worker: proto::types::WorkerRecord) -> Worker {
    let rule = |rule: proto::types::GcPolicy| Rule {
        all: rule.all,
        keep: Duration::from_nanos(bytes(rule.keep_duration)),
        filters: rule.filters,
        reserved_bytes: bytes(rule.reserved_space),
        max_used_bytes: bytes(rule.max_used_space),
        min_free_bytes: bytes(rule.min_free_space),
    };
    let platform = |platform: bollard_buildkit_proto::pb::Platform| {
        let parts = [platform.os, platform.architecture, platform.variant];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    };
    Worker {
        id: worker.id,
        labels: worker.labels.into_iter().collect(),
        platforms: worker.platforms.into_iter().map(platform).collect(),
        rules: worker.gc_policy.into_iter().map(rule).collect(),
    }
}

/// What of a build's options is shown. Others may hold secrets.
const SHOWN: [&str; 7] = ["target", "filename", "platform", "context", "source", "vcs:source", "vcs:revision"];

fn build(record: proto::BuildHistoryRecord) -> Build {
    let attributes = record.frontend_attrs.iter().filter_map(|(key, value)| {
        let shown = SHOWN.contains(&key.as_str());
        shown.then(|| (key.clone(), cut(mask_url(value).into_owned())))
    });
    let mut results: Vec<_> = record.result.into_iter().flat_map(|result| produced(None, result)).collect();
    results.extend(record.results.into_iter().flat_map(|(platform, result)| produced(Some(platform), result)));
    results.sort();
    results.dedup();
    Build {
        id: record.r#ref,
        frontend: record.frontend,
        target: record.frontend_attrs.get("target").filter(|target| !target.is_empty()).cloned(),
        attributes: attributes.collect(),
        created: record.created_at.and_then(time),
        completed: record.completed_at.and_then(time),
        error: record.error.map(|error| cut(error.message)),
        pinned: record.pinned,
        cached_steps: number(record.num_cached_steps),
        completed_steps: number(record.num_completed_steps),
        total_steps: number(record.num_total_steps),
        warnings: number(record.num_warnings),
        exporters: record.exporters.into_iter().map(|exporter| exporter.r#type).collect(),
        // Longer values are whole documents, packed.
        response: record.exporter_response.into_iter().filter(|(_, value)| value.len() <= 512).collect(),
        results,
    }
}

fn produced(platform: Option<String>, result: proto::BuildResultInfo) -> Vec<Produced> {
    let one = |descriptor: proto::Descriptor| Produced {
        platform: platform.clone(),
        media_type: descriptor.media_type,
        digest: descriptor.digest,
        bytes: bytes(descriptor.size),
    };
    let documents = result.result_deprecated.into_iter().chain(result.results.into_values()).chain(result.attestations);
    documents.map(one).collect()
}

/// A time; BuildKit's zero time is none.
fn time(time: ProtoTime) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok().filter(|time| time.as_second() > -62_135_596_800)
}

/// A number that BuildKit counts as signed: what is not known is negative.
fn bytes(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn number(n: i32) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        let end = (0..=LONGEST_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// Whether only this question is not known.
fn is_unknown(status: &Status) -> bool {
    status.code() == Code::Unimplemented
}

/// Why one part is not known.
fn unknown(status: &Status, version: Option<&str>) -> String {
    let version = version.map(|version| format!(" ({version})")).unwrap_or_default();
    match status.code() {
        Code::Unimplemented => format!("this BuildKit{version} does not tell"),
        _ => text::safe_within(status.message(), 300).into_owned(),
    }
}

/// The error that a status is.
pub(super) async fn failed(way: &Way, connection: &Connection, status: &Status) -> Error {
    let kind = match status.code() {
        Code::Unimplemented => Kind::Unsupported,
        Code::PermissionDenied => Kind::Denied,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => Kind::Invalid,
        Code::Cancelled | Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unknown => {
            Kind::Unavailable
        }
        _ => Kind::Internal,
    };
    let error = Error::new(kind, format!("{}: {}", way.title(), text::safe_within(status.message(), 600)));
    match &connection.said {
        Some(said) => explained(error, way, &said.whole().await),
        None => error,
    }
}
