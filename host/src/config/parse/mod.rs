//! From the tree to a [`Project`]: every key typed, every unknown one reported, what this release does not do refused.
//!
//! Reading never stops at an error: what cannot be read is left out of the project, which then is not handed out.
//! [`Declared`] knows the names of what was left out, so that one error does not bring others with it.

mod feature;
mod format;
mod join;
mod like;
mod output;
mod schema;
mod serve;
mod settings;
mod source;
mod udf;
mod view;
mod window;

use std::path::Path;

use super::diagnostics::{Span, Spanned};
use super::project::{Entity, EntityKey, Project, Service, ServiceFeature};
use super::section::{Reports, Section, Value};
use super::tree::{Kind, Table};
use crate::record::{ColumnType, EVENT_TIMESTAMP};

/// The longest name: it is part of keys and file names.
const NAME_LENGTH: usize = 128;

/// The names that the file gives to things, read or not.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) entities: Vec<String>,
    pub(super) sources: Vec<String>,
    pub(super) udfs: Vec<String>,
    /// Each view with its features.
    pub(super) views: Vec<(String, Vec<String>)>,
}

impl Declared {
    fn of(root: &Table) -> Self {
        let names = |table: &Table| table.entries.iter().map(|entry| entry.key.value.clone()).collect::<Vec<_>>();
        let section = |table: &Table, key: &str| match table.get(key).map(|entry| &entry.node.kind) {
            Some(Kind::Table(table)) => table.clone(),
            _ => Table::default(),
        };
        let views = section(root, "views");
        let features = |entry: &super::tree::Entry| match &entry.node.kind {
            Kind::Table(view) => names(&section(view, "features")),
            _ => Vec::new(),
        };
        Self {
            entities: names(&section(root, "entities")),
            sources: names(&section(root, "sources")),
            udfs: names(&section(root, "udfs")),
            views: views.entries.iter().map(|entry| (entry.key.value.clone(), features(entry))).collect(),
        }
    }

    /// Whether all of it was read.
    pub(super) fn all_in(&self, project: &Project) -> bool {
        self.entities.len() == project.entities.len()
            && self.sources.len() == project.sources.len()
            && self.udfs.len() == project.udfs.len()
            && self
                .views
                .iter()
                .map(|(_, features)| features.len())
                .eq(project.views.iter().map(|view| view.features.len()))
    }
}

/// Reads the whole document. The project is complete only where nothing was reported.
pub(super) fn project(mut root: Table, folder: &Path, reports: &Reports) -> (Project, Declared) {
    let declared = Declared::of(&root);
    let broken = like::resolve(&mut root, reports);
    let mut document = Section::root(&root, reports);
    let (name, data_dir) = project_section(&mut document);
    let serve = serve::serve(&mut document, folder);
    let runtime = settings::runtime(&mut document);
    let checkpoint = settings::checkpoint(&mut document);
    let dead_letters = settings::dead_letters(&mut document);
    let online = settings::online(&mut document);
    let entities = each(&mut document, "entities", |name, value| entity(name, value));
    let project_name = name.value.clone();
    let sources = each(&mut document, "sources", |name, value| {
        let inherits_unknown = broken.contains(&name.value);
        source::read(name, value, folder, &project_name, inherits_unknown)
    });
    let udfs = each(&mut document, "udfs", |name, value| udf::read(name, value, folder));
    let views = each(&mut document, "views", |name, value| view::read(name, value, folder));
    let services = each(&mut document, "services", |name, value| service(name, value, folder));
    document.not_yet("on-demand", "[on-demand] is");
    document.finish();
    let project = Project {
        name,
        folder: folder.to_owned(),
        data_dir: folder.join(data_dir),
        serve,
        runtime,
        checkpoint,
        dead_letters,
        online,
        entities,
        sources,
        udfs,
        views,
        services,
    };
    (project, declared)
}

fn project_section(document: &mut Section<'_>) -> (Spanned<String>, String) {
    let mut name = None;
    let mut data_dir = None;
    if let Some(mut section) = document.require("project").and_then(|value| value.section()) {
        name = section.require("name").and_then(|value| value.string());
        if let Some(name) = &name {
            check_name(&section, name, "the project's name");
        }
        data_dir = section.get("data-dir").and_then(|value| value.string());
        section.finish();
    }
    let name = name.unwrap_or_else(|| Spanned::new(String::new(), Span::default()));
    (name, data_dir.map_or_else(|| "data".to_owned(), |folder| folder.value))
}

/// Reads each of the named tables of a section.
fn each<'a, T>(
    document: &mut Section<'a>,
    key: &'static str,
    mut read: impl FnMut(Spanned<String>, Value<'a>) -> Option<T>,
) -> Vec<T> {
    let Some(section) = document.get(key).and_then(|value| value.section()) else { return Vec::new() };
    let read_one = |(name, value): (Spanned<String>, Value<'a>)| {
        check_name(&section, &name, "a name");
        read(name, value)
    };
    section.entries().into_iter().filter_map(read_one).collect()
}

/// Names become parts of keys, fields, file names and SQL: letters, digits, `_` and `-`.
fn check_name(section: &Section<'_>, name: &Spanned<String>, what: &str) {
    let text = &name.value;
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        let message = format!("`{text}` cannot be {what}: letters, digits, `_` and `-`, no digit first");
        section.reports.error(name.span, message);
    } else if text.len() > NAME_LENGTH {
        section.reports.error(name.span, format!("`{text}` is longer than {NAME_LENGTH} letters"));
    } else {
        check_reserved(section, name);
    }
}

/// Names that begin with two underscores are Millrace's own.
fn check_reserved(section: &Section<'_>, name: &Spanned<String>) {
    if name.value.starts_with("__") {
        section.reports.error(name.span, format!("`{}` is reserved: it begins with `__`", name.value));
    }
}

fn entity(name: Spanned<String>, value: Value<'_>) -> Option<Entity> {
    let mut section = value.section()?;
    let mut keys = Vec::new();
    if let Some(table) = section.require("keys").and_then(|value| value.section()) {
        let entries = table.entries();
        if entries.is_empty() {
            table.reports.error(table.span, format!("entity `{}` needs at least one key", name.value));
        }
        for (key, value) in entries {
            check_name(&table, &key, "a key");
            if key.value == EVENT_TIMESTAMP {
                let message = format!("`{EVENT_TIMESTAMP}` is the name of every row's time: a key has another");
                table.reports.error(key.span, message);
            }
            if let Some(kind) = value.column_type() {
                if matches!(kind.value, ColumnType::Float32 | ColumnType::Float64) {
                    let message =
                        "a key cannot be a float, whose equal values may differ in their bits: use int64 or utf8";
                    value.error(message);
                } else if !kind.value.is_scalar() {
                    value.error(format!("a key cannot be {}: use its parts, as keys of their own", kind.value));
                }
                keys.push(EntityKey { name: key, kind });
            }
        }
    }
    section.finish();
    keys.sort_by(|one, other| one.name.value.cmp(&other.name.value));
    Some(Entity { name, keys })
}

fn service(name: Spanned<String>, value: Value<'_>, folder: &Path) -> Option<Service> {
    let mut section = value.section()?;
    let mut features = Vec::new();
    if let Some(list) = section.require("features").and_then(|value| value.items()) {
        if list.is_empty() {
            section.reports.error(section.span, format!("service `{}` has no features", name.value));
        }
        features = list.iter().filter_map(|item| service_feature(&section, &item.string()?)).collect();
    }
    section.not_yet("on-demand", "on-demand transforms are");
    let outputs = output::read(&mut section, folder);
    section.finish();
    Some(Service { name, features, outputs })
}

/// `view`, `view:feature`, `view:feature as name`.
fn service_feature(section: &Section<'_>, text: &Spanned<String>) -> Option<ServiceFeature> {
    let part = |part: &str| Spanned::new(part.trim().to_owned(), text.span);
    let (reference, alias) = match text.value.split_once(" as ") {
        Some((reference, alias)) => (reference, Some(part(alias))),
        None => (text.value.as_str(), None),
    };
    let (view, feature) = match reference.split_once(':') {
        Some((view, feature)) => (part(view), Some(part(feature))),
        None => (part(reference), None),
    };
    if let Some(alias) = &alias {
        check_name(section, alias, "a feature's name");
        if feature.is_none() {
            let message = format!("`{}`: a view as a whole has no other name; say `view:feature as name`", text.value);
            section.reports.error(text.span, message);
            return None;
        }
    }
    Some(ServiceFeature { view, feature, alias })
}
