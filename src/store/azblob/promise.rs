//! What a container promises about changes, as far as may be known without changing anything.

use super::Place;
use super::account::whole;
use crate::error::{Error, Result};
use crate::model::plan::{Promise, Undo};
use azure_core::Method;
use jiff::SignedDuration;
use serde::Deserialize;

/// What is younger stays: uploads go blob by blob, and the manifest comes last.
const GRACE: SignedDuration = SignedDuration::from_hours(24);
/// Longer than any export takes.
const SETTLE: SignedDuration = SignedDuration::from_hours(6);
/// The longest answer about the account that is read.
const LIMIT: u64 = 1 << 20;

pub(super) async fn promise(place: &Place) -> Result<Promise> {
    let mut caveats = vec![
        "an export that takes longer than the settling time may miss what was freed; a slow export can't be told from none, \
         for writers never renew what they find"
            .to_owned(),
    ];
    let exact = match retention(place).await {
        Ok(None) => true,
        Ok(Some(days)) => {
            caveats.push(format!(
                "the account keeps what is deleted for {days} days more (soft delete): until then it takes its space"
            ));
            false
        }
        Err(error) => {
            tracing::debug!(%error, "the account does not tell what it keeps");
            let why = "whether the account keeps what is deleted (soft delete) may not be known: if so, its space is free \
                       only after that";
            caveats.push(why.to_owned());
            false
        }
    };
    Ok(Promise { grace: GRACE, settle: SETTLE, undo: Undo::UntilFreed, exact, caveats })
}

/// For how many days the account keeps what is deleted; `None` if it does not.
async fn retention(place: &Place) -> Result<Option<u64>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Properties {
        delete_retention_policy: Option<Policy>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Policy {
        enabled: String,
        days: Option<u64>,
    }
    let what = "asking what the account keeps";
    let url = place.container.service_url(&[("restype", "service"), ("comp", "properties")]);
    let answer = place.container.ask(Method::Get, url).await.map_err(|e| place.container.classify(what, e))?;
    let bytes = whole(answer, LIMIT).await.map_err(|e| Error::io(what, e))?;
    let properties = bytes.as_deref().and_then(|bytes| azure_core::xml::read_xml::<Properties>(bytes).ok());
    let properties = properties.ok_or_else(|| Error::corrupt(format!("{what}: the answer makes no sense")))?;
    let policy = properties.delete_retention_policy.filter(|policy| policy.enabled == "true");
    Ok(policy.map(|policy| policy.days.unwrap_or_default()))
}
