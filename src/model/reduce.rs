//! Smaller forms of a cache.

use crate::model::cache::{Cache, Outcome};
use crate::model::digest::Digest;
use crate::model::graph::{RecordGraph, min_layers};
use std::collections::HashSet;

/// The cache as a fresh `mode=min` export of the same build would hold it: all records, and those results whose blobs are all
/// among the ones that the build's own results need. That is how BuildKit's exporter chooses (`CacheExportModeRemoteOnly`).
pub fn min_form(cache: &Cache) -> Cache {
    let needed = min_layers(cache, &RecordGraph::new(cache));
    let needed: HashSet<Digest> = needed.into_iter().map(|layer| cache.layers[layer].blob).collect();
    let mut cache = cache.clone();
    let whole: Vec<bool> = whole(&cache, &needed);
    let stays = |outcome: &Outcome| match outcome {
        Outcome::Layer { layer, .. } => whole[*layer],
        Outcome::Chain { layers, .. } => layers.iter().all(|&layer| needed.contains(&cache.layers[layer].blob)),
    };
    for record in &mut cache.records {
        record.results.retain(stays);
    }
    drop_unused(&mut cache);
    cache
}

/// Of each entry, whether its blob and those of all below it are among `blobs`.
fn whole(cache: &Cache, blobs: &HashSet<Digest>) -> Vec<bool> {
    let mut whole: Vec<Option<bool>> = vec![None; cache.layers.len()];
    for start in 0..cache.layers.len() {
        let mut above = Vec::new();
        let mut next = Some(start);
        let mut is_whole = true;
        while let Some(at) = next {
            if let Some(known) = whole[at] {
                is_whole = known;
                break;
            }
            above.push(at);
            next = cache.layers[at].parent;
        }
        for at in above.into_iter().rev() {
            is_whole &= blobs.contains(&cache.layers[at].blob);
            whole[at] = Some(is_whole);
        }
    }
    whole.into_iter().map(|whole| whole == Some(true)).collect()
}

/// Takes entries out of the layer table that no result needs, and renumbers the rest.
fn drop_unused(cache: &mut Cache) {
    let mut used = vec![false; cache.layers.len()];
    for outcome in cache.records.iter().flat_map(|record| &record.results) {
        let tops = match outcome {
            Outcome::Layer { layer, .. } => std::slice::from_ref(layer),
            Outcome::Chain { layers, .. } => layers.as_slice(),
        };
        for &top in tops {
            // A chain names its entries without their parents, but no entry may be without the one below it.
            let mut next = Some(top);
            while let Some(at) = next.filter(|&at| !used[at]) {
                used[at] = true;
                next = cache.layers[at].parent;
            }
        }
    }
    let mut count = 0;
    let numbers: Vec<usize> = used
        .iter()
        .map(|&used| {
            count += usize::from(used);
            count.saturating_sub(1)
        })
        .collect();
    let mut at = 0;
    cache.layers.retain_mut(|layer| {
        at += 1;
        layer.parent = layer.parent.map(|parent| numbers[parent]);
        used[at - 1]
    });
    renumber(cache, &numbers);
}

/// Puts the layer table into the order that BuildKit writes it in: by blob, then by the parent's number.
pub fn sort_layers(cache: &mut Cache) {
    let mut order: Vec<usize> = (0..cache.layers.len()).collect();
    order.sort_by_key(|&at| (cache.layers[at].blob, cache.layers[at].parent.map_or(-1, |parent| parent as i64)));
    let mut numbers = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        numbers[old] = new;
    }
    let mut layers: Vec<_> = order.iter().map(|&old| cache.layers[old].clone()).collect();
    for layer in &mut layers {
        layer.parent = layer.parent.map(|parent| numbers[parent]);
    }
    cache.layers = layers;
    renumber(cache, &numbers);
}

fn renumber(cache: &mut Cache, numbers: &[usize]) {
    for outcome in cache.records.iter_mut().flat_map(|record| &mut record.results) {
        match outcome {
            Outcome::Layer { layer, .. } => *layer = numbers[*layer],
            Outcome::Chain { layers, .. } => layers.iter_mut().for_each(|layer| *layer = numbers[*layer]),
        }
    }
}
