//! `like = "other"` of sources: everything not said is taken from the other source, key by key.

use super::super::diagnostics::suggestion;
use super::super::section::Reports;
use super::super::tree::{Entry, Kind, Table};

/// Lays every source over the one that it is like, and takes `like` out. Gives the sources of which that failed, so
/// that nobody calls missing what they were to inherit.
pub(super) fn resolve(root: &mut Table, reports: &Reports) -> Vec<String> {
    let mut broken = Vec::new();
    let Some(sources) = root.entries.iter_mut().find(|entry| entry.key.value == "sources") else { return broken };
    let Kind::Table(sources) = &mut sources.node.kind else { return broken };
    let written = sources.clone();
    for source in &mut sources.entries {
        let (chain, whole) = chain(&written, &source.key.value, reports);
        if !whole {
            broken.push(source.key.value.clone());
        }
        let Kind::Table(table) = &mut source.node.kind else { continue };
        table.entries.retain(|entry| entry.key.value != "like");
        for base in chain {
            let Some(Kind::Table(from)) = written.get(&base).map(|entry| &entry.node.kind) else { continue };
            for entry in &from.entries {
                let key = entry.key.value.as_str();
                if key != "like" && table.get(key).is_none() && !is_answered(table, key) {
                    let inherited = Some(format!("sources.{base}"));
                    table.entries.push(Entry { inherited, ..entry.clone() });
                }
            }
        }
    }
    broken
}

/// Whether a nearer source said the other of two keys that exclude each other.
fn is_answered(table: &Table, key: &str) -> bool {
    let other = match key {
        "url" => "listen",
        "listen" => "url",
        _ => return false,
    };
    table.get(other).is_some()
}

/// The sources that `name` is like, the nearest first, and whether the last of them is like no other.
fn chain(sources: &Table, name: &str, reports: &Reports) -> (Vec<String>, bool) {
    let mut chain: Vec<String> = Vec::new();
    let mut current = sources.get(name);
    while let Some((source, Kind::Table(table))) = current.map(|entry| (entry, &entry.node.kind)) {
        let Some(like) = table.get("like") else { return (chain, true) };
        let Kind::String { text, .. } = &like.node.kind else {
            let message = format!("`like` must be a source's name, not {}", like.node.kind.described());
            reports.error(like.node.span, message);
            return (chain, false);
        };
        if text == name || chain.contains(text) {
            // One report a circle: from the member of it that is written first.
            if text == name && first_written(sources, &chain) > first_written(sources, &[name.to_owned()]) {
                let way = [name].into_iter().chain(chain.iter().map(String::as_str)).chain([name]);
                let message = format!("`like` goes in a circle: {}", way.collect::<Vec<_>>().join(" → "));
                reports.error(sources.get(name).map_or(like.key.span, |entry| entry.key.span), message);
            }
            return (chain, false);
        }
        current = sources.get(text);
        if current.is_none() {
            let known = sources.entries.iter().map(|entry| entry.key.value.as_str());
            let hint = suggestion(text, known.filter(|known| *known != source.key.value));
            reports.error(like.node.span, format!("unknown source `{text}`{hint}"));
            return (chain, false);
        }
        chain.push(text.clone());
    }
    (chain, true)
}

/// Where the first of these sources stands; beyond all of them for none.
fn first_written(sources: &Table, names: &[String]) -> usize {
    let first = sources.entries.iter().position(|entry| names.contains(&entry.key.value));
    first.unwrap_or(sources.entries.len())
}
