//! Names from the builders at hand and from what they told before. A convenience: nothing here fails, and nobody waits for a
//! builder longer than they want to.

use super::StepNames;
use crate::state::State;
use crate::store::Store;
use futures::future::{FutureExt as _, join_all};
use jiff::Timestamp;
use std::sync::Arc;

/// Names of steps that `builders` tell, all asked at once, and of those that were told before. What is new is kept in `state`.
/// Builders that have not answered when `enough` is over are left out; why one gives no names is told in the log.
pub async fn ask(
    builders: &[Arc<dyn Store>],
    state: &State,
    enough: impl Future<Output = ()>,
    now: Timestamp,
) -> StepNames {
    let enough = enough.shared();
    let one = |builder: &Arc<dyn Store>| {
        let (builder, enough) = (builder.clone(), enough.clone());
        async move {
            let told = tokio::select! {
                told = builder.usage() => told.map_err(|error| error.to_string()),
                () = enough => Err("it takes too long to answer".to_owned()),
            };
            (builder.location().title(), told)
        }
    };
    let (answers, learnt) = tokio::join!(join_all(builders.iter().map(one)), state.learnt());
    let remembered = StepNames::from_learnt(learnt);
    let (mut names, mut new) = (StepNames::default(), Vec::new());
    for (builder, told) in answers {
        match told {
            Ok(records) => {
                let told = StepNames::from_builder(&records);
                let told_now = told.to_learn(&builder, now);
                new.extend(told_now.into_iter().filter(|step| !remembered.by_time.contains_key(&step.created)));
                names.extend(told);
            }
            Err(why) => tracing::info!(builder, "no names of steps: {why}"),
        }
    }
    state.learn(new, now).await;
    names.extend(remembered);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::usage;
    use crate::model::location::Location;
    use crate::ops::names::Source;
    use crate::store::memory::Memory;

    const RECORDED: &[u8] = include_bytes!("../../../tests/fixtures/daemon-du.json");

    fn builder() -> Arc<dyn Store> {
        let builder = Memory::new(Location::new("memory"));
        builder.set_usage(usage::read(RECORDED).unwrap());
        Arc::new(builder)
    }

    fn sources(names: &StepNames) -> Vec<Source> {
        let mut all: Vec<_> = names.by_time.values().map(|name| name.source).collect();
        all.dedup();
        all
    }

    #[tokio::test]
    async fn names_outlive_their_builder() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(None, Some(folder.path()));
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        assert!(ask(&[], &state, std::future::pending(), now).await.is_empty());
        let told = ask(&[builder()], &state, std::future::pending(), now).await;
        assert_eq!((sources(&told), told.len()), (vec![Source::Builder], StepNames::read(RECORDED).unwrap().len()));
        let before = ask(&[], &state, std::future::pending(), now).await;
        assert_eq!((sources(&before), before.len()), (vec![Source::Remembered], told.len()));
        assert!(state.learnt().await.iter().all(|step| step.learnt == now && !step.builder.is_empty()));
    }

    #[tokio::test]
    async fn without_a_folder_builders_still_tell() {
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        let told = ask(&[builder()], &State::at(None, None), std::future::pending(), now).await;
        assert_eq!(sources(&told), [Source::Builder]);
    }
}
