//! Programs that are there everywhere, in the place of buildx.

use super::*;
use crate::error::Kind;

fn shell(script: &str) -> Command {
    Command { words: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(), environment: Vec::new() }
}

#[tokio::test]
async fn both_streams_are_heard_to_the_end() {
    let mut heard = Vec::new();
    let command = shell("echo out; echo err >&2; printf 'no end'; exit 3");
    let ended = command.run(&Progress::new(), |said| heard.push(said)).await.unwrap();
    assert_eq!(ended, Ended { success: false, code: Some(3), stopped: false });
    for said in [Said::Out("out".to_owned()), Said::Err("err".to_owned()), Said::Out("no end".to_owned())] {
        assert!(heard.contains(&said), "{said:?} in {heard:?}");
    }
}

#[tokio::test]
async fn the_environment_is_set_and_cleared() {
    let mut command = shell("echo \"$CACHEDECK_TEST_SECRET ${HOME-gone}\"");
    command.environment = vec![("CACHEDECK_TEST_SECRET", Some("canary".to_owned())), ("HOME", None)];
    assert!(!format!("{command:?}").contains("canary"));
    let mut heard = Vec::new();
    command.run(&Progress::new(), |said| heard.push(said)).await.unwrap();
    assert_eq!(heard, [Said::Out("canary gone".to_owned())]);
}

#[tokio::test]
async fn who_is_stopped_ends_by_itself() {
    let progress = Progress::new();
    let command = shell("trap 'echo bye; exit 1' INT; echo ready; while :; do sleep 0.05; done");
    let mut heard = Vec::new();
    let ended = command
        .run(&progress, |said| {
            progress.cancel();
            heard.push(said);
        })
        .await
        .unwrap();
    assert_eq!((ended.code, ended.stopped), (Some(1), true));
    assert_eq!(heard, ["ready", "bye"].map(|word| Said::Out(word.to_owned())));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_not_found() {
    let command = Command { words: vec!["/nonexistent/buildx".to_owned()], environment: Vec::new() };
    let error = command.run(&Progress::new(), |_| {}).await.unwrap_err();
    assert_eq!((error.kind(), error.hint().is_some()), (Kind::NotFound, true));
}

#[tokio::test]
async fn a_program_that_does_not_answer_is_not_waited_for() {
    let words = ["/bin/sh", "-c"].map(str::to_owned);
    let asked = child::ask(&words, &["sleep 600"], Duration::from_millis(50)).await;
    assert_eq!(asked.unwrap_err().kind(), Kind::Unavailable);
}
