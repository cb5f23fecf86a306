//! Leads names to what was copied.

use super::plan::Version;
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::plan::{Fate, Plan, Purpose, Row, RunId, Step, Subject};
use crate::model::text;
use crate::ops::apply::Site;
use crate::ops::prune::fingerprint;
use std::collections::{BTreeSet, HashSet};

/// The plan that leads the names of `versions` to them, and writes the documents. Where configs are kept alone, in s3, azblob and gha,
/// what has just `arrived` is not asked for again first: that takes a request each, and who prunes there goes by age. In a folder
/// `reset=true` may take it any time.
pub(super) async fn names(
    site: &Site<'_>,
    versions: &[(usize, Version)],
    arrived: &HashSet<Digest>,
    id: RunId,
) -> Result<Plan> {
    let to = site.store;
    let bare = to.capabilities().bare_configs;
    let references = to.references().await?;
    let seen = (to.identity(), fingerprint(&to.identity(), &references));
    let mut plan = Plan::new(id, Purpose::Copy, (site.clock)(), to.location(), seen, to.promise().await?);
    let mut written = BTreeSet::new();
    let mut leads = Vec::new();
    for (_, version) in versions {
        let (Some(documents), Some(digest)) = (&version.documents, version.digest) else { continue };
        let config = Digest::of(documents.config.as_bytes());
        let all = documents.manifest.iter().map(|manifest| (digest, manifest)).chain([(config, &documents.config)]);
        let mut all: Vec<_> = all.collect();
        all.reverse();
        for (digest, text) in all {
            if written.insert(digest) {
                plan.steps.push(Step::Write { digest, text: text.clone() });
            }
        }
        let mut needs: BTreeSet<Digest> = version.cache.layers.iter().map(|layer| layer.blob).collect();
        if !bare {
            needs.insert(config);
        }
        let names: Vec<String> = version.names.iter().map(|named| text::safe(&named.name).into_owned()).collect();
        plan.rows.push(Row {
            fate: Fate::Write,
            subject: Subject::Version,
            names,
            digest: Some(digest),
            reason: format!("a copy of {}", text::safe(&version.title)),
            count: needs.len() as u64,
            bytes: version.bytes,
            frees: 0,
            time: version.cache.created(),
            group: None,
        });
        for named in version.names.iter().filter(|named| named.leads_to != version.digest) {
            leads.push(Step::Lead {
                name: named.name.clone(),
                digest,
                was: named.was.as_ref().and_then(|was| was.version.clone()),
                before: named.leads_to,
                needs: needs.iter().filter(|need| !(bare && arrived.contains(need))).copied().collect(),
            });
        }
    }
    plan.steps.extend(leads);
    Ok(plan)
}
